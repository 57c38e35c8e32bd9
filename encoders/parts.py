"""The parts of an encoder, told apart: which of them an output reads, and whether they changed.

Whoever was made with some outputs of an encoder (an agent that was trained on latents, say) works
with every encoder whose parts behind those outputs are the same, whatever else it can do::

    known = part_hashes(encoder, outputs=("latent", "entropy"))
    changed = changed_parts(known, part_hashes(other, outputs=("latent", "entropy")))
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor

from encoders.storage import hash_tensors

WHOLE = "encoder"


@dataclasses.dataclass(frozen=True, eq=False)
class EncoderPart:
    """One part of an encoder.

    Attributes:
        tensors: Its weights, by the names that `state_dict` gives them.
        settings: What else alters its outputs, as plain JSON types: heads, epsilons, colours.
        outputs: Outputs that read it; None = all.
    """

    tensors: Mapping[str, Tensor]
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    outputs: frozenset[str] | None = None

    def is_read_by(self, outputs: Collection[str]) -> bool:
        """Whether any of some outputs depends on it."""
        return self.outputs is None or not self.outputs.isdisjoint(outputs)


def encoder_parts(encoder: Any) -> dict[str, EncoderPart]:
    """The parts of an encoder by name.

    A family tells its own by a method `parts()`: TORE has `backbone` (every output reads it; the
    normalisation of colours belongs to it), `class_head` (logits), `decoder` (attention, entropy,
    cells and pixels) and `pixel_head` (pixels), those that the encoder has. Of a family without
    that method everything is one part, `encoder`.
    """
    parts = getattr(encoder, "parts", None)
    if callable(parts):
        return dict(parts())
    settings = encoder.config.to_dict()
    for label in ("name", "class_names", "weights", "format_version"):
        settings.pop(label, None)
    return {WHOLE: EncoderPart(encoder.state_dict(), settings)}


def parts_read(encoder: Any, outputs: Collection[str]) -> tuple[str, ...]:
    """Names of the parts on which some outputs depend.

    Args:
        encoder: Of any family.
        outputs: Names of `encoders.OUTPUTS`, or of further heads.

    Returns:
        In the order of `encoder_parts`, e.g. `("backbone", "decoder")` for latent and entropy.
    """
    parts = encoder_parts(encoder)
    return tuple(name for name, part in parts.items() if part.is_read_by(outputs))


def part_hashes(encoder: Any, outputs: Collection[str] | None = None) -> dict[str, str]:
    """SHA-256 of every part: over its weights, and the settings that alter what it computes.

    Two encoders that agree in the parts behind an output compute the same output. Names of the
    encoder and of its classes are no matter.

    Args:
        encoder: Of any family.
        outputs: Only the parts that these outputs read; None = all parts.

    Returns:
        64 hexadecimal digits by the name of the part.
    """
    return {
        name: _hash_part(part)
        for name, part in encoder_parts(encoder).items()
        if outputs is None or part.is_read_by(outputs)
    }


def changed_parts(known: Mapping[str, str], given: Mapping[str, str]) -> tuple[str, ...]:
    """Names of the parts that two results of `part_hashes` do not have in common, sorted.

    A part that only one of them has counts as changed.
    """
    names = sorted({*known, *given})
    return tuple(name for name in names if known.get(name) != given.get(name))


def _hash_part(part: EncoderPart) -> str:
    digest = hashlib.sha256(hash_tensors(part.tensors).encode())
    digest.update(json.dumps(part.settings, sort_keys=True).encode())
    return digest.hexdigest()
