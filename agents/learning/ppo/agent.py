"""A glimpse policy that PPO has learnt."""

from __future__ import annotations

from agents.learning.windows.agent import WindowAgent


class PpoAgent(WindowAgent):
    """A window policy trained by `PpoLearner`."""

    name = "ppo"
