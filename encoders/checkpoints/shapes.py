"""What the tensors of a Vision Transformer say of its shape."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from torch import Tensor

from encoders.checkpoints.tensors import listed
from encoders.checkpoints.weight_files import CheckpointError

_REQUIRED = ("pos_embed", "blocks.0.attn.qkv.weight", "blocks.0.mlp.fc1.weight")

# Dimensions of the tensors that sizes are read from.
_RANKS = {
    "patch_embed.proj.weight": 4,
    "pos_embed": 3,
    "reg_token": 3,
    "blocks.0.mlp.fc1.weight": 2,
    "head.weight": 2,
    "decoder_embed.weight": 2,
}


@dataclasses.dataclass(frozen=True)
class WeightsShape:
    """Sizes and parts of a Vision Transformer, read off its tensors.

    Attention heads are missing here: no tensor tells their number.

    Attributes:
        patch_size: Side of a patch in pixels.
        width: Channels of a token.
        depth: Number of blocks.
        mlp_width: Channels inside the MLP of a block.
        num_classes: Outputs of the class head; 0 for none.
        reg_tokens: Number of registers.
        class_token: Whether there is a class token.
        distilled: Whether there is a distillation token.
        layer_scale: Whether blocks scale their outputs.
        qkv_bias: Whether queries, keys and values have a bias.
        qk_norm: Whether queries and keys are normalised.
        pre_norm: Whether tokens are normalised before the first block.
        fc_norm: Whether the latent is normalised after pooling.
        decoder: Width and depth of the decoder, or None.
    """

    patch_size: int
    width: int
    depth: int
    mlp_width: int
    num_classes: int
    reg_tokens: int
    class_token: bool
    distilled: bool
    layer_scale: bool
    qkv_bias: bool
    qk_norm: bool
    pre_norm: bool
    fc_norm: bool
    decoder: tuple[int, int] | None

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> WeightsShape:
        """Reads the shape of tensors under the names of timm and the official MAE.

        Args:
            tensors: With a patch embedding among them.

        Raises:
            CheckpointError: They do not make up a plain Vision Transformer.
        """
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        if missing := [name for name in _REQUIRED if name not in shapes]:
            raise CheckpointError(f"not a plain Vision Transformer: missing {listed(missing)}")
        for name, rank in _RANKS.items():
            if name in shapes and len(shapes[name]) != rank:
                raise CheckpointError(
                    f"{name} has shape {shapes[name]}, expected {rank} dimensions"
                )
        width, channels, height, side = shapes["patch_embed.proj.weight"]
        if channels != 3 or height != side:
            raise CheckpointError(
                f"patch_embed.proj.weight has shape {(width, channels, height, side)}, expected "
                "(width, 3, side, side)"
            )
        decoder = None
        if "decoder_embed.weight" in shapes:
            decoder = shapes["decoder_embed.weight"][0], _depth(shapes, "decoder_blocks")
        return cls(
            patch_size=side,
            width=width,
            depth=_depth(shapes, "blocks"),
            mlp_width=shapes["blocks.0.mlp.fc1.weight"][0],
            num_classes=shapes["head.weight"][0] if "head.weight" in shapes else 0,
            reg_tokens=shapes["reg_token"][1] if "reg_token" in shapes else 0,
            class_token="cls_token" in shapes,
            distilled="dist_token" in shapes,
            layer_scale="blocks.0.ls1.gamma" in shapes,
            qkv_bias="blocks.0.attn.qkv.bias" in shapes,
            qk_norm="blocks.0.attn.q_norm.weight" in shapes,
            pre_norm="norm_pre.weight" in shapes,
            fc_norm="fc_norm.weight" in shapes,
            decoder=decoder,
        )

    @property
    def num_prefix_tokens(self) -> int:
        """Tokens before those of the patches."""
        return int(self.class_token) + int(self.distilled) + self.reg_tokens

    def vit_arguments(self, num_heads: int, no_embed_class: bool) -> dict[str, float | str | None]:
        """The keyword arguments with which timm builds such a Vision Transformer.

        Args:
            num_heads: Attention heads.
            no_embed_class: Whether the prefix tokens have no rows in the position table.
        """
        # timm rounds the product down, so aim at the middle where the ratio is not a whole number.
        mlp_width = self.mlp_width + (0.5 if self.mlp_width % self.width else 0)
        return {
            "embed_dim": self.width,
            "depth": self.depth,
            "num_heads": num_heads,
            "mlp_ratio": mlp_width / self.width,
            "qkv_bias": self.qkv_bias,
            "qk_norm": self.qk_norm,
            "init_values": 1e-5 if self.layer_scale else None,
            "class_token": self.class_token,
            "reg_tokens": self.reg_tokens,
            "pre_norm": self.pre_norm,
            "distilled": self.distilled,
            "fc_norm": self.fc_norm,
            "global_pool": "avg" if self.fc_norm or not self.class_token else "token",
            "no_embed_class": no_embed_class,
        }


def _depth(names: Mapping[str, object], stem: str) -> int:
    """Number of blocks whose tensors are called `stem.0. ...`, `stem.1. ...`."""
    pattern = re.compile(rf"^{stem}\.(\d+)\.")
    matches = (pattern.match(name) for name in names)
    return 1 + max((int(match[1]) for match in matches if match), default=-1)
