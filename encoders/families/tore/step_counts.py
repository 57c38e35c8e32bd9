"""How many tokens one step of TORE took in, ran and merged, and what that cost."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np

from encoders.flops.count import Cost
from encoders.flops.ledger import FlopLedger
from encoders.layers.vit import BlockCount
from encoders.reduction.plan import ReductionPlan


@dataclasses.dataclass
class StepCounts:
    """Tokens of one `observe`, counted as it runs; arrays are int64 `[B]`.

    Attributes:
        new: Patches of the glimpse.
        cached: Patch tokens cached before it.
        seen: Patches seen after it, as far as they would be encoded anew.
        extracted: Tokens through each block of the extractor; empty where that did not run.
        aggregated: The same of the aggregator.
        kept: Patch tokens that came out of the aggregator.
        merging: What merging down to a bound cost, in multiply-accumulates.
        late: Tokens that earlier steps left out of the running sums.
    """

    new: np.ndarray
    cached: np.ndarray
    seen: np.ndarray
    extracted: Mapping[int, BlockCount] = dataclasses.field(default_factory=dict)
    aggregated: Mapping[int, BlockCount] = dataclasses.field(default_factory=dict)
    kept: np.ndarray = dataclasses.field(init=False)
    merging: np.ndarray = dataclasses.field(init=False)
    late: np.ndarray = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.kept = self.merging = self.late = np.zeros_like(self.cached)

    def cost(
        self, ledger: FlopLedger, split_block: int, outputs: frozenset[str], plan: ReductionPlan
    ) -> Cost:
        """What the step took, and what it would have taken without recycling or a bound."""
        count = functools.partial(ledger.count_rows, split_block=split_block, outputs=outputs)
        if plan.options():
            extractor = ledger.blocks.ran(self.extracted, plan.in_extractor)
            if not self.extracted:
                extractor, _ = ledger.blocks.run(self.new, 0, split_block, None)
            aggregator = self.merging + ledger.blocks.ran(self.aggregated, plan.in_aggregator)
            spent = ledger.parts(self.new, self.cached, extractor, aggregator, self.kept, outputs)
        else:
            spent = count(self.new, self.cached)
            if self.late.any():
                aggregator = spent.aggregator + ledger.adding(self.late)
                spent = dataclasses.replace(spent, aggregator=aggregator)
        unbounded = dataclasses.replace(plan, max_tokens=0) if plan.max_tokens else plan
        anew = count(self.seen, np.zeros_like(self.seen), plan=unbounded)
        return Cost(spent=spent, without_recycling=anew)
