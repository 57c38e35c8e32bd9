"""Who a trained agent is compared with: those that can see through its encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from encoders.support.notices import warn


def able(agents: Sequence[str], settings: dict[str, Any], *, asked_for: bool) -> tuple[str, ...]:
    """The agents that see what they look at through an encoder.

    Args:
        agents: Names or run folders.
        settings: Of the environment; `encoder` names the encoder.
        asked_for: Whether somebody named them; if not, those that cannot see are left out, and a
            warning says so.

    Raises:
        ValueError: Somebody named one that cannot see.
    """
    from agents.registry import agent_class
    from encoders.create import create_encoder
    from encoders.protocol import OUTPUTS

    encoder = settings.get("encoder")
    if encoder is None:
        return tuple(agents)
    source: Any = create_encoder(encoder, device="cpu") if isinstance(encoder, str) else encoder
    chosen = []
    for agent in agents:
        wanted = agent_class(agent).required
        missing = [part for part in wanted if part in OUTPUTS and part not in source.outputs]
        if not missing:
            chosen.append(agent)
            continue
        why = (
            f"agent {agent!r} looks at {', '.join(missing)}, and encoder {source.config.name!r} "
            f"has {', '.join(source.outputs)}"
        )
        if asked_for:
            raise ValueError(f"{why}; leave it out of --agents")
        warn(f"{why}; the comparison goes without it")
    return tuple(chosen)
