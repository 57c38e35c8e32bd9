"""From what a reduction is to what it does to the tokens of one pass."""

from __future__ import annotations

from encoders.reduction.avit import AvitPass
from encoders.reduction.avit_masked import MaskedAvitPass
from encoders.reduction.base import ReductionPass
from encoders.reduction.config import Avit, Evit, Reduction, Tome
from encoders.reduction.evit import EvitPass
from encoders.reduction.tome import TomePass


def make_pass(reduction: Reduction, depth: int, start: int, stop: int) -> ReductionPass:
    """Makes the pass of a reduction through some blocks of a model.

    Args:
        reduction: What to do.
        depth: Blocks of the model.
        start: First block of the pass.
        stop: One past its last block.
    """
    if isinstance(reduction, Evit):
        return EvitPass(reduction, depth)
    if isinstance(reduction, Tome):
        return TomePass(reduction, depth)
    if isinstance(reduction, Avit):
        if reduction.form != "paper":
            return MaskedAvitPass(reduction, start, stop)
        return AvitPass(reduction, start, stop)
    return ReductionPass()
