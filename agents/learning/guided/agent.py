"""A glimpse policy that teachers have guided."""

from __future__ import annotations

from agents.learning.windows.agent import WindowAgent


class GuidedAgent(WindowAgent):
    """A window policy trained by `GuidedLearner`; it acts without teacher and without trying."""

    name = "guided"
