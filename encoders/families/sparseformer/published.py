"""SparseFormer's weights as its authors publish them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from encoders.checkpoints.formats import PublishedFormat, Wishes, count
from encoders.families.sparseformer.config import SparseFormerConfig, SparseFormerShape
from encoders.families.sparseformer.model import build_sparseformer

_PATCH_SIZE = 16  # scenes are seen by patches; the network knows none
_PUBLISHED_REPEATS = 4
_PUBLISHED_WIDTHS = (256, 320, 384)  # tiny, small and base

# The first code's names; those of the second, which both of its forms share, are this package's.
_FIRST_NAMES = (
    ("token_roi.weight", "initial_roi.weight"),
    ("token_embedding.weight", "initial_embedding.weight"),
    (".tuo_proj.", ".out_proj."),
    (".ffn.0.", ".norm2."),
    (".ffn.1.", ".mlp.fc1."),
    (".ffn.3.", ".mlp.fc2."),
    (".ln_attn.", ".norm1."),
    (".attn.in_proj_", ".attn.qkv."),
    (".attn.out_proj.", ".attn.proj."),
    ("head.norm.", "norm."),
    ("head.classifier.", "proj."),
)


class SparseFormerFormat(PublishedFormat):
    """The files `sparseformer_*.pth` of both papers, and those of the first code."""

    kind: ClassVar[str] = "SparseFormer"
    takes: ClassVar[frozenset[str]] = frozenset(("mean", "std", "patch_size", "repeats"))

    @classmethod
    def renamed(cls, tensors: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """Names of the second code below `network.`; see `PublishedFormat.renamed`."""
        found = {}
        for name, tensor in tensors.items():
            for theirs, ours in _FIRST_NAMES:
                name = name.replace(theirs, ours)
            found[f"network.{name}"] = tensor
        marks = ("network.initial_roi.weight", "network.feat_extractor.conv1.weight")
        return found if all(mark in found for mark in marks) else None

    @classmethod
    def build(cls, tensors: Mapping[str, Tensor], wishes: Wishes) -> Any:
        """Sizes are read off the tensors; see `PublishedFormat.build`."""

        def shape(name: str) -> tuple[int, ...]:
            return tuple(tensors[f"network.{name}"].shape)

        bootstrapped = "network.cls_embedding.weight" in tensors
        width = shape("initial_embedding.weight")[1]
        if "network.proj.weight" in tensors and "network.proj.bias" not in tensors:
            raise ValueError(
                "proj.weight without proj.bias: a projection beside images and text (CLIP), whose "
                "activations are others as well; expected one of the models with a class head"
            )
        if bootstrapped and (wishes.mean is None or wishes.std is None):
            raise ValueError(
                "no file of the bootstrapped form says how colours were normalised; give mean and "
                "std (--mean, --std), 0.5 0.5 0.5 both for a network that began as AugReg's ViT"
            )
        layers = count(tensors, "network.layers.{}.")
        config = SparseFormerConfig(
            **wishes.described(wishes.patch_size or _PATCH_SIZE),
            num_classes=shape("proj.weight")[0] if "network.proj.weight" in tensors else 0,
            shape=SparseFormerShape(
                form="btsp" if bootstrapped else "v1",
                latents=shape("initial_roi.weight")[0],
                points=shape("layers.0.roi_offset_bias")[0] // 2,
                features=shape("feat_extractor.conv1.weight")[0],
                width=width,
                cortex_width=shape("norm.weight")[0],
                repeats=_repeats(tensors, wishes, width, bootstrapped),
                cortex_depth=layers - 3,
                bottleneck=shape("layers.0.adaptive_mixing.parameter_generator.1.weight")[0],
                early_transition="network.layers.1.0.weight" in tensors,
            ),
        )
        return build_sparseformer(config)


def _repeats(tensors: Mapping[str, Tensor], wishes: Wishes, width: int, bootstrapped: bool) -> int:
    """How often the first unit runs, which tells it in the bootstrapped form alone.

    Raises:
        ValueError: Nobody knows, or what is said is not what the tensors say.
    """
    if bootstrapped:
        stages = len(tensors["network.layers.0.stage_embedding.weight"])
        if wishes.repeats not in (None, stages):
            raise ValueError(f"repeats={wishes.repeats}: the tensors say {stages}; leave it out")
        return stages
    if wishes.repeats is not None:
        return wishes.repeats
    if width in _PUBLISHED_WIDTHS:
        return _PUBLISHED_REPEATS
    raise ValueError(
        f"give repeats (--repeats): no tensor tells how often the first unit of width {width} "
        f"runs; {_PUBLISHED_REPEATS} times in those that were published"
    )
