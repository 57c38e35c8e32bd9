"""A plain pre-norm Vision Transformer, part by part as timm has it, without importing timm.

timm imports all of its models, and with them torchvision and torch's compiler: two thirds of what
an environment with an encoder would import. Encoders whose configuration spells their shape out are
made of these modules instead. They have the names of timm's `Block`, `Attention`, `Mlp`,
`PatchEmbed` and `VisionTransformer` for all parts and weights, draw the same random weights in the
same order and compute the same, which tests hold them to; models that are named, and those with
options beyond `PLAIN_OPTIONS`, are timm's own.

Source: Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021, equations 1 to 4.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoders.layers.angular import AngularAttention
from encoders.support.choices import ATTENTION_KINDS, AttentionKind, TokenOrder

PLAIN_OPTIONS = frozenset(
    {
        "embed_dim",
        "depth",
        "num_heads",
        "mlp_ratio",
        "qkv_bias",
        "no_embed_class",
    }
)
"""Options of timm's `VisionTransformer` that `PlainVisionTransformer` has too."""

OWN_OPTIONS = frozenset({"attention", "attention_order"})
"""Options that timm's does not have."""

_EPS = 1e-6  # of layer norms; PyTorch's own is 1e-5
_STD = 0.02  # of initial weights


class SelfAttention(nn.Module):
    """Multi-head self-attention.

    Args:
        dim: Channels D.
        num_heads: Heads; they divide D.
        qkv_bias: Whether queries, keys and values have a bias.

    Raises:
        ValueError: Heads that do not divide the channels.
    """

    def __init__(self, dim: int, num_heads: int, qkv_bias: bool = True) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"{num_heads} attention heads do not divide {dim} channels")
        self.num_heads = num_heads
        self.head_dim = dim // num_heads
        self.attn_dim = dim
        self.scale = self.head_dim**-0.5
        self.fused_attn = True
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        # What others have in these places; blocks of both kinds are run by the same code.
        self.q_norm, self.k_norm, self.norm = nn.Identity(), nn.Identity(), nn.Identity()
        self.attn_drop, self.proj_drop = nn.Dropout(0.0), nn.Dropout(0.0)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        """Attends from every token to every token.

        Args:
            x: `[B, n, D]`.
            attn_mask: float, added to the scores `[B, heads, n, n]`, to which it is broadcast.
        """
        batch, count, width = x.shape
        projected = self.qkv(x).reshape(batch, count, 3, self.num_heads, self.head_dim)
        query, key, value = projected.permute(2, 0, 3, 1, 4).unbind(0)
        if self.fused_attn:
            mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=attn_mask)
        else:
            scores = (query * self.scale) @ key.transpose(-2, -1)
            if attn_mask is not None:
                scores = scores + attn_mask
            mixed = scores.softmax(dim=-1) @ value
        return self.proj(mixed.transpose(1, 2).reshape(batch, count, width))


class FeedForward(nn.Module):
    """Two linear layers and a GELU between them.

    Args:
        dim: Channels D.
        hidden: Channels between the layers.
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Changes every token `[..., D]` by itself."""
        return self.fc2(self.act(self.fc1(x)))


class TransformerBlock(nn.Module):
    """Attention and MLP, each after a layer norm and added to what came in.

    Args:
        dim: Channels D.
        num_heads: Heads of the attention.
        mlp_ratio: Hidden channels of the MLP by D.
        qkv_bias: Whether queries, keys and values have a bias.
        attention: Softmax attention, or the linear-angular kind.
        attention_order: What lies next to what in the latter's depthwise branch.

    Raises:
        ValueError: An attention of neither kind.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        attention: AttentionKind = "softmax",
        attention_order: TokenOrder = "grid",
    ) -> None:
        super().__init__()
        if attention not in ATTENTION_KINDS:
            raise ValueError(
                f"attention={attention!r}; expected one of {', '.join(ATTENTION_KINDS)}"
            )
        self.norm1 = nn.LayerNorm(dim, eps=_EPS)
        self.attn: SelfAttention | AngularAttention
        if attention == "angular":
            self.attn = AngularAttention(dim, num_heads, qkv_bias, attention_order)
        else:
            self.attn = SelfAttention(dim, num_heads, qkv_bias)
        self.ls1, self.drop_path1 = nn.Identity(), nn.Identity()  # as in `SelfAttention`
        self.norm2 = nn.LayerNorm(dim, eps=_EPS)
        self.mlp = FeedForward(dim, int(dim * mlp_ratio))
        self.ls2, self.drop_path2 = nn.Identity(), nn.Identity()

    def forward(self, x: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        """Runs the block on `[B, n, D]`; the mask is that of the attention."""
        x = x + self.attn(self.norm1(x), attn_mask)
        return x + self.mlp(self.norm2(x))


class PatchProjection(nn.Module):
    """A linear map from patches to tokens, written as a convolution.

    Args:
        img_size: Height and width in pixels.
        patch_size: Side of a patch.
        embed_dim: Channels D of a token.
    """

    def __init__(self, img_size: tuple[int, int], patch_size: int, embed_dim: int) -> None:
        super().__init__()
        self.patch_size = (patch_size, patch_size)
        self.img_size = img_size
        self.grid_size = (img_size[0] // patch_size, img_size[1] // patch_size)
        self.num_patches = self.grid_size[0] * self.grid_size[1]
        self.proj = nn.Conv2d(3, embed_dim, kernel_size=patch_size, stride=patch_size)
        self.norm = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Tokens `[B, G, D]` of images `[B, 3, H, W]`."""
        return self.proj(x).flatten(2).transpose(1, 2)


class PlainVisionTransformer(nn.Module):
    """timm's `VisionTransformer` with a class token's pooling and no options but `PLAIN_OPTIONS`.

    With `attention="angular"` it is one of ours, which timm does not have.

    Args:
        img_size: Height and width in pixels.
        patch_size: Side of a patch.
        num_classes: Outputs of the class head; 0 for none.
        embed_dim: Channels D of a token.
        depth: Blocks.
        num_heads: Heads of each.
        mlp_ratio: Hidden channels of an MLP by D.
        qkv_bias: Whether queries, keys and values have a bias.
        no_embed_class: Whether the patches alone have rows in the position table.
        attention: Of every block: "softmax" or "angular" (`encoders.layers.angular`).
        attention_order: Of the angular kind: what lies next to what, "grid" or "arrival".

    Raises:
        ValueError: Heads that do not divide the channels, or an attention that is not known.
    """

    def __init__(
        self,
        img_size: tuple[int, int] = (224, 224),
        patch_size: int = 16,
        num_classes: int = 1000,
        embed_dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        no_embed_class: bool = False,
        attention: AttentionKind = "softmax",
        attention_order: TokenOrder = "grid",
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.embed_dim = embed_dim
        self.global_pool = "token"
        self.num_prefix_tokens = 1
        self.no_embed_class = no_embed_class
        self.pool_include_prefix = False
        self.patch_embed = PatchProjection(img_size, patch_size, embed_dim)
        self.cls_token = nn.Parameter(torch.empty(1, 1, embed_dim))
        rows = self.patch_embed.num_patches + (0 if no_embed_class else 1)
        self.pos_embed = nn.Parameter(torch.empty(1, rows, embed_dim))
        self.pos_drop = nn.Dropout(0.0)
        self.norm_pre = nn.Identity()
        attending = (attention, attention_order)
        self.blocks = nn.Sequential(
            *(
                TransformerBlock(embed_dim, num_heads, mlp_ratio, qkv_bias, *attending)
                for _ in range(depth)
            )
        )
        self.norm = nn.LayerNorm(embed_dim, eps=_EPS)
        self.fc_norm = nn.Identity()
        self.head_drop = nn.Dropout(0.0)
        self.head = self._new_head()
        self._init_weights()

    def forward_features(self, x: Tensor) -> Tensor:
        """Tokens `[B, 1 + G, D]` of images `[B, 3, H, W]` after the last norm."""
        tokens, prefix = self.patch_embed(x), self.cls_token.expand(len(x), -1, -1)
        if self.no_embed_class:
            tokens = torch.cat([prefix, tokens + self.pos_embed], dim=1)
        else:
            tokens = torch.cat([prefix, tokens], dim=1) + self.pos_embed
        return self.norm(self.blocks(tokens))

    def forward_head(self, x: Tensor) -> Tensor:
        """Class logits `[B, C]` of what `forward_features` returns."""
        return self.head(x[:, 0])

    def forward(self, x: Tensor) -> Tensor:
        """Class logits `[B, C]` of images `[B, 3, H, W]`."""
        return self.forward_head(self.forward_features(x))

    def reset_classifier(self, num_classes: int) -> None:
        """Gives the model a new class head; 0 for none."""
        self.num_classes = num_classes
        self.head = self._new_head()
        self.head.train(self.training)

    def _new_head(self) -> nn.Module:
        if self.num_classes == 0:
            return nn.Identity()
        return nn.Linear(self.embed_dim, self.num_classes)

    def _init_weights(self) -> None:
        """As timm does: layers in the order in which they were made, after the two tables."""
        _draw_weights(self.pos_embed)
        nn.init.normal_(self.cls_token, std=1e-6)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                _draw_weights(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)


@torch.no_grad()
def _draw_weights(weights: Tensor) -> None:
    """Normal numbers by inversion of the distribution function; from uniform ones, as timm does.

    timm cuts them at plus and minus two, not two standard deviations.
    """
    weights.uniform_(-1, 1).erfinv_().mul_(_STD * math.sqrt(2)).clamp_(-2, 2)
