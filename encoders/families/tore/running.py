"""Angular attention to what was seen, from a running sum instead of from the tokens.

Of angular attention a query needs `sum_j k_j v_j^T` alone, to which a new token adds its own term:
what was added before need not be read again. That is exact where keys and values of a token never
change once it is cached, and where no cached token asks for anything itself. Both hold in the
model's last block, where it is the aggregator's only one (K = depth - 1) and the outputs read the
class token alone: a step then costs the same whatever was seen. In a block further down every
cached token asks, the sum it is answered with grows with every glimpse, so all tokens change and
with them the keys and values of every later block; there is no sum to keep.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from encoders.families.tore.state import ToreState
from encoders.families.tore.sums import RunningSums
from encoders.families.tore.surgery import PatchVit
from encoders.layers.angular import AngularAttention, angular_layer
from encoders.layers.calls import call
from encoders.layers.vit import after_attention


def sums_suffice(vit: PatchVit, split_block: int, outputs: Collection[str]) -> bool:
    """Whether the aggregator can do with running sums.

    Args:
        vit: The Vision Transformer.
        split_block: K.
        outputs: Parts of the belief that are computed.
    """
    angular = angular_layer(vit.blocks[-1]) is not None
    return angular and split_block == vit.depth - 1 and vit.leading_tokens(outputs) == 1


def class_token_from_sums(vit: PatchVit, state: ToreState) -> tuple[Tensor, np.ndarray]:
    """Runs the last block for the class token, adding first what came since the last time.

    Args:
        vit: The Vision Transformer, whose blocks have angular attention.
        state: The cache, split before the last block; its sums are brought up to date.

    Returns:
        The class token after the last block, `[B, 1, D]`; and how many tokens of each row were
        added, int64 `[B]`.
    """
    block: Any = vit.blocks[-1]
    layer = angular_layer(block)
    assert layer is not None  # sums_suffice
    if state.sums is None:
        state.sums = RunningSums.empty(len(state), layer, state.buffer)
    added = state.token_counts.numpy() - state.sums.counts.numpy()
    if added.any():
        _add_new(block, layer, state, state.sums, int(added.max()))
    prefix = state.buffer[:, :1]
    entering = call(block.norm1, prefix)
    key, value = layer.keys_and_values(entering)
    products = state.sums.products.to(value) + F.normalize(key, dim=-1).mT @ value
    mixed = layer.from_sum(layer.queries(entering), value, products)
    before = value.new_zeros(len(state), layer.num_heads, layer.reach, layer.head_dim)
    behind = state.sums.nearest.to(value).unflatten(2, value.shape[1::2]).transpose(1, 2)
    near = torch.cat([before, value, behind], 2)
    mixed = layer.finish(mixed, layer.weigh(near[:, :, :, None]))
    return after_attention(block, prefix, mixed), added


def _add_new(
    block: Any, layer: AngularAttention, state: ToreState, sums: RunningSums, most: int
) -> None:
    """Adds the cached tokens that came since, `most` in the row with most of them."""
    device = state.buffer.device
    start = sums.counts[:, None]
    index = start + torch.arange(most)
    valid = (index < state.token_counts[:, None]).to(device)
    index = index.clamp(max=max(state.capacity - 1, 0)).to(device)
    places = (index + state.num_prefix_tokens)[..., None].expand(-1, -1, state.buffer.shape[2])
    tokens = call(block.norm1, state.buffer.gather(1, places))
    key, value = layer.keys_and_values(tokens)
    unit = F.normalize(key, dim=-1) * valid[:, None, :, None].to(key)
    sums.products += (unit.mT @ value).to(sums.products)
    near = _next_to_class_token(layer, state) - start.to(device)
    fresh = (near >= 0) & (near < most)
    fresh &= valid.gather(1, near.clamp(0, most - 1))
    chosen = near.clamp(0, most - 1)[..., None].expand(-1, -1, state.buffer.shape[2])
    values = value.transpose(1, 2).flatten(2).gather(1, chosen).to(sums.nearest)
    sums.nearest = torch.where(fresh[..., None], values, sums.nearest)
    sums.counts = state.token_counts.clone()


def _next_to_class_token(layer: AngularAttention, state: ToreState) -> Tensor:
    """Numbers of the tokens behind the class token, from 0, -1 = none: int64 `[B, reach]`."""
    if layer.order == "arrival":
        places = torch.arange(layer.reach, device=state.buffer.device)
        return places.expand(len(state), -1)
    first = state.source[:, : layer.reach] - 1
    return F.pad(first, (0, layer.reach - first.shape[1]), value=-1)
