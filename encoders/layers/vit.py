"""Transformer blocks of timm, run one at a time."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import Attention
from torch import Tensor, nn


def run_block_with_attention(
    block: Any, tokens: Tensor, *, attention_only: bool = False
) -> tuple[Tensor | None, Tensor]:
    """Runs one block and hands out its softmax attention.

    Args:
        block: A timm pre-norm block.
        tokens: `[B, n, D]`.
        attention_only: Stop at the attention: no values, no MLP.

    Returns:
        The block's output `[B, n, D]` (None with `attention_only`) and the attention
        `[B, heads, n, n]`, in at least float32.
    """
    attention_layer = block.attn
    batch, count, width = tokens.shape
    parts = 2 if attention_only else 3
    projection = attention_layer.qkv
    bias = None if projection.bias is None else projection.bias[: parts * width]
    projected = F.linear(block.norm1(tokens), projection.weight[: parts * width], bias)
    projected = projected.view(batch, count, parts, attention_layer.num_heads, -1)
    query, key, *value = projected.permute(2, 0, 3, 1, 4).unbind(0)
    query, key = attention_layer.q_norm(query), attention_layer.k_norm(key)
    scores = (query * attention_layer.scale) @ key.transpose(-2, -1)
    if scores.dtype in (torch.bfloat16, torch.float16):
        scores = scores.float()
    attention = scores.softmax(dim=-1)
    if attention_only:
        return None, attention
    mixed = (attention.to(value[0].dtype) @ value[0]).transpose(1, 2).reshape(batch, count, width)
    tokens = tokens + block.drop_path1(block.ls1(attention_layer.proj(mixed)))
    return tokens + block.drop_path2(block.ls2(block.mlp(block.norm2(tokens)))), attention


def set_fused_attention(module: nn.Module, enabled: bool) -> None:
    """Chooses between fused and explicit attention in every timm attention layer of `module`.

    The explicit form is faster to train on CPUs, whose fused backward pass is slow, and the only
    one that `torch.utils.flop_counter` counts on every build.
    """
    # timm declares the switch final, for TorchScript.
    layers: list[Any] = [child for child in module.modules() if isinstance(child, Attention)]
    for layer in layers:
        layer.fused_attn = enabled
