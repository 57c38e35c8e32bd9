"""A-ViT's two losses: tokens should halt early, and around a block that is chosen.

Source: Yin et al., "A-ViT: Adaptive Tokens for Efficient Vision Transformer", CVPR 2022, section
3.2, and the two published codes where they differ from it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from encoders.reduction.avit import Halting

_LOWEST, _HIGHEST = 0.01, 0.99  # of a clamped share in the published codes


def ponder_loss(halting: Halting) -> Tensor:
    """The mean of rho, the blocks that a token goes through plus its remainder.

    In the paper's form over patch tokens; in the published codes over class tokens too.
    """
    counted = halting.patches if halting.config.form == "paper" else halting.valid
    return (halting.ponder * counted).sum() / counted.sum().clamp(min=1)


def halting_shares(halting: Halting) -> Tensor:
    """How the halting scores are distributed over blocks, `[blocks]`.

    In the paper's form the mean over samples and patch tokens, made to sum to one. NVIDIA's code
    averages over all tokens of all samples but the first (so that a batch of one has no
    distribution: there the only sample counts here), the student's over all tokens but the class
    token of the first sample; both clamp the shares to 0.01 .. 0.99.
    """
    scores, form = halting.scores, halting.config.form
    if form == "paper":
        counted = halting.patches.to(scores.dtype)
        means = (scores * counted).sum((1, 2)) / counted.sum().clamp(min=1)
        return means / means.sum().clamp(min=1e-12)
    chosen = halting.valid
    if form == "nvidia":
        chosen = chosen.clone()
        if len(chosen) > 1:
            chosen[0] = False
    else:
        chosen = halting.patches.clone()
        chosen[1:] = False
    counted = chosen.to(scores.dtype)
    means = (scores * counted).sum((1, 2)) / counted.sum().clamp(min=1)
    return (means / means.sum()).clamp(_LOWEST, _HIGHEST)


def target_shares(blocks: int, depth: float, form: str) -> Tensor:
    """What the distribution should be: a Gaussian of width 1 around a block, float64 `[blocks]`.

    Args:
        blocks: Blocks of the pass.
        depth: The block where most tokens should halt, from 0.
        form: In the paper's it sums to one; the student's is then clamped; NVIDIA's sums to more,
            for it is scaled so that the blocks before `depth` sum to 0.98.
    """
    places = torch.arange(blocks, dtype=torch.float64)
    density = (-0.5 * (places - depth).square()).exp() / math.sqrt(2 * math.pi)
    if form == "nvidia":
        return density * 0.98 / density[places < depth].sum()
    shares = density / density.sum()
    return shares.clamp(_LOWEST, _HIGHEST) if form == "student" else shares


def distribution_loss(halting: Halting) -> Tensor:
    """Kullback-Leibler divergence of the target from the distribution of halting scores.

    The sum over blocks in the paper's form, their mean in the published codes.
    """
    config, blocks = halting.config, len(halting.scores)
    depth = 2 * blocks / 3 if config.target_depth is None else config.target_depth
    shares = halting_shares(halting)
    target = target_shares(blocks, depth, config.form).to(shares)
    # Of a target that is 0 nothing is lost; log 0 would be infinite.
    tiny = torch.finfo(shares.dtype).tiny
    terms = torch.xlogy(target, target) - target * shares.clamp(min=max(tiny, 1e-12)).log()
    return terms.sum() if config.form == "paper" else terms.mean()
