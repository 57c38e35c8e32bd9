"""Whether an encoder is the one that an agent was trained with, as far as the agent reads it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from agents.learning.record import trained_options
from encoders.parts import changed_parts, part_hashes
from encoders.storage import weights_hash

HOW_TO_INSIST = (
    "--allow-other-encoder (in Python allow_other_encoder=True) lets it act all the same"
)


def check_encoder(
    description: Mapping[str, Any],
    observer: Any,
    source: str,
    outputs: Collection[str],
    *,
    allow_other_encoder: bool = False,
) -> tuple[str, ...]:
    """Refuses an observer whose beliefs are not the ones an agent was trained on.

    Args:
        description: What `agent.json` says.
        observer: The environment's.
        source: What messages call the agent.
        outputs: Parts of the belief that the agent reads. Parts of the encoder on which none of
            them depends may differ.
        allow_other_encoder: Do not refuse another encoder or other options of it.

    Returns:
        How the observer differs from that of the training, in words; empty unless it is allowed to.

    Raises:
        ValueError: No encoder, another one, or other options of it.
    """
    if observer is None:
        raise ValueError(f"{source}: trained with an encoder, and the environment has none")
    encoder = observer.encoder
    differences = []
    if changed := _changed(description, encoder, outputs):
        words = " and ".join(part.replace("_", " ") for part in changed)
        differences.append(f"another {words} (encoder {encoder.config.name!r})")
        if not allow_other_encoder:
            raise ValueError(
                f"{source}: trained with encoder {description['encoder']!r}, and the environment's "
                f"encoder {encoder.config.name!r} has another {words}: its beliefs mean something "
                f"else to the policy; {HOW_TO_INSIST}"
            )
    for name, trained in trained_options(description).items():
        if (given := observer.options.get(name)) != trained:
            differences.append(f"{name}={given}, trained with {trained}")
            if not allow_other_encoder:
                raise ValueError(
                    f"{source}: trained with {name}={trained}, the environment has "
                    f"{name}={given}; {HOW_TO_INSIST}"
                )
    return tuple(differences)


def _changed(
    description: Mapping[str, Any], encoder: Any, outputs: Collection[str]
) -> tuple[str, ...]:
    """Names of the parts that are not those of the training."""
    known = description.get("encoder_parts")
    if known is None:  # of a release that knew the weights as a whole alone
        same = weights_hash(encoder) == description["encoder_hash"]
        return () if same else ("set of weights",)
    return changed_parts(known, part_hashes(encoder, outputs))
