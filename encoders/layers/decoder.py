"""The masked-autoencoder decoder: what the seen patches say about the unseen ones.

Source: He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022, section 3.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoders.config import DecoderConfig
from encoders.layers.entropy import attention_entropy, entropy_of_rows
from encoders.layers.positions import sincos_positions
from encoders.layers.transformer import TransformerBlock
from encoders.layers.vit import (
    TokenSet,
    attention_map,
    attention_map_in_parts,
    run_block,
    run_block_with_attention,
)

# Elements of an attention map that processors hold in their caches; larger tensors are also given
# back to the system after each use, and fetching them again costs as much as the arithmetic.
_CACHED_ELEMENTS = 2**20

# Parts of a belief that are made from the last block's attention.
_ENTROPIES = {"entropy": False, "normalised_entropy": True}  # whether rows are renormalised
_ENTROPIES_ALONE = frozenset(_ENTROPIES)
_FROM_ATTENTION = _ENTROPIES_ALONE | {"attention"}
_DECODED = _FROM_ATTENTION | {"cells", "pixels"}


@dataclasses.dataclass
class Decoded:
    """What a decoder computed; None where it was not asked.

    Attributes:
        attention: Softmax attention of the last block, `[B, heads, 1+G, 1+G]`, class token first.
        features: Output of the last block for every patch, `[B, G, Dd]`.
        pixels: `[B, G, p*p*3]`, channel last, in normalised colours.
    """

    attention: Tensor | None = None
    features: Tensor | None = None
    pixels: Tensor | None = None


class GlimpseDecoder(nn.Module):
    """Mask tokens where nothing was seen, a few blocks, and a linear map to pixels.

    Args:
        config: Width, depth and heads.
        encoder_width: Channels of the encoder's tokens.
        grid: Rows and columns of patches.
        patch_size: Side of a patch in pixels.
    """

    def __init__(
        self, config: DecoderConfig, encoder_width: int, grid: tuple[int, int], patch_size: int
    ) -> None:
        super().__init__()
        self.width = config.width
        self.num_heads = config.num_heads
        self.grid = grid
        self.num_patches = grid[0] * grid[1]
        self.embed = nn.Linear(encoder_width, config.width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, config.width))
        self.pos_embed = nn.Parameter(sincos_positions(config.width, grid, num_prefix_tokens=1))
        self.blocks = nn.ModuleList(
            TransformerBlock(config.width, config.num_heads) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.width, eps=1e-6)
        self.pred = nn.Linear(config.width, patch_size**2 * 3)
        self._init_weights()

    def rows_at_once(self, device: torch.device) -> int:
        """How many rows to decode in one go where speed matters and gradients do not."""
        if device.type != "cpu":
            return sys.maxsize
        return max(1, _CACHED_ELEMENTS // (self.num_heads * (1 + self.num_patches) ** 2))

    def forward(
        self,
        tokens: Tensor,
        source: Tensor,
        *,
        attention: bool = False,
        features: bool = False,
        pixels: bool = False,
    ) -> Decoded:
        """Decodes a set of seen patches to the whole grid, computing no more than is asked.

        Args:
            tokens: `[B, 1+N, D]`, class token first, after the encoder's final norm.
            source: int64 `[B, G]`: which of the N tokens stands for each patch, counted from 1; 0
                where none does and a mask token stands instead, -1 where that is so of a patch that
                was seen.
            attention: Return the last block's attention.
            features: Return the last block's output.
            pixels: Return pixels.
        """
        grid, last = self._before_last_block(tokens, source), self.blocks[-1]
        result = Decoded()
        if attention and not (features or pixels):
            result.attention = attention_map(last, grid.values)
            return result
        if attention:
            grid, result.attention = run_block_with_attention(last, grid)
        elif features or pixels:
            grid, _ = run_block(last, grid)
        x = grid.values
        if features:
            result.features = x[:, 1:]
        if pixels:
            result.pixels = self.pred(self.norm(x[:, 1:]))
        return result

    def decode(self, tokens: Tensor, source: Tensor, outputs: Collection[str]) -> dict[str, Tensor]:
        """Decodes to the parts of a belief that need a decoder.

        Args:
            tokens: `[B, 1+N, D]`, as for `forward`.
            source: int64 `[B, G]`, as for `forward`.
            outputs: What to compute, of `encoders.protocol.DECODER_OUTPUTS`; other names are
                passed over.

        Returns:
            The parts by name, as `encoders.protocol.Belief` describes them.
        """
        rows = len(tokens) if torch.is_grad_enabled() else self.rows_at_once(tokens.device)
        pairs = zip(tokens.split(rows), source.split(rows), strict=True)
        parts = [self._decode_rows(*pair, outputs) for pair in pairs]
        if len(parts) == 1:
            return parts[0]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _before_last_block(self, tokens: Tensor, source: Tensor) -> TokenSet:
        grid = TokenSet(self._fill_grid(self.embed(tokens), source) + self.pos_embed)
        for block in list(self.blocks)[:-1]:
            grid, _ = run_block(block, grid)
        return grid

    def _entropies(
        self, tokens: Tensor, source: Tensor, outputs: Collection[str], queries: int
    ) -> dict[str, Tensor]:
        """Entropy maps alone, from so many queries' attention at a time."""
        grid = self._before_last_block(tokens, source)
        bits: dict[str, list[Tensor]] = {name: [] for name in _ENTROPIES if name in outputs}
        for part in attention_map_in_parts(self.blocks[-1], grid.values, queries):
            for name, rows in bits.items():
                kind = _ENTROPIES[name]
                rows.append(entropy_of_rows(part, num_prefix_tokens=1, renormalise=kind))
        return {
            name: torch.cat(rows, 1)[:, 1:].masked_fill(source != 0, 0.0).unflatten(1, self.grid)
            for name, rows in bits.items()
        }

    def _decode_rows(
        self, tokens: Tensor, source: Tensor, outputs: Collection[str]
    ) -> dict[str, Tensor]:
        queries = _CACHED_ELEMENTS // (self.num_heads * (1 + self.num_patches))
        in_parts = tokens.device.type == "cpu" and not torch.is_grad_enabled()
        if (
            in_parts
            and queries <= self.num_patches
            and _ENTROPIES_ALONE.issuperset(_DECODED.intersection(outputs))
        ):
            return self._entropies(tokens, source, outputs, max(1, queries))
        decoded = self(
            tokens,
            source,
            attention=not _FROM_ATTENTION.isdisjoint(outputs),
            features="cells" in outputs,
            pixels="pixels" in outputs,
        )
        parts: dict[str, Tensor] = {}
        if decoded.pixels is not None:
            parts["pixels"] = decoded.pixels
        if decoded.features is not None:
            parts["cells"] = decoded.features.unflatten(1, self.grid)
        if decoded.attention is None:
            return parts
        if "attention" in outputs:
            parts["attention"] = decoded.attention
        for name, renormalise in _ENTROPIES.items():
            if name in outputs:
                bits = attention_entropy(decoded.attention, source != 0, renormalise=renormalise)
                parts[name] = bits.unflatten(1, self.grid)
        return parts

    def _fill_grid(self, embedded: Tensor, source: Tensor) -> Tensor:
        index = F.pad(source.clamp(min=0), (1, 0))  # the class token stands for itself
        gathered = embedded.gather(1, index[..., None].expand(-1, -1, embedded.shape[-1]))
        missing = (index == 0)[..., None]
        missing[:, 0] = False
        return torch.where(missing, self.mask_token.to(embedded.dtype), gathered)

    def _init_weights(self) -> None:
        nn.init.normal_(self.mask_token, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
