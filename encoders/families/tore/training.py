"""How TORE encoders are trained: K is drawn, reductions grow, halting has losses of its own."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from torch import Tensor

from encoders.families.tore.model import build_encoder
from encoders.layers.angular import risen_threshold, set_sparse_threshold
from encoders.protocol import Belief
from encoders.reduction.config import eased_share
from encoders.reduction.halting_losses import distribution_loss, ponder_loss
from encoders.training.family import Blueprint, FamilyTraining, Moment, Weighted


class ToreTraining(FamilyTraining):
    """Draws the split block K of every batch, unless the configuration has one.

    Args:
        encoder: A `GlimpseEncoder`.
        config: Hyper-parameters.
    """

    options: ClassVar[frozenset[str]] = frozenset(("split_block",))

    @classmethod
    def build(cls, blueprint: Blueprint) -> Any:
        """A new encoder; see `FamilyTraining.build`. All its sizes are in `shape`."""
        if sizes := blueprint.sizes:
            raise ValueError(
                f"--sizes {' '.join(f'{key}={value}' for key, value in sizes.items())}: sizes of "
                "the family 'tore' are options of their own (--width, --depth, --num-heads, ...)"
            )
        config = blueprint.shape.config(blueprint.name, blueprint.image_size, blueprint.class_names)
        return build_encoder(config, blueprint.seed)

    def believe(
        self,
        model: Any,
        patches: Tensor,
        patch_ids: Tensor,
        outputs: Collection[str],
        moment: Moment,
    ) -> tuple[Belief, dict[str, Weighted]]:
        """Runs the encoder; see `FamilyTraining.believe`."""
        split = 0 if moment.warming_up else int(moment.chance * (self.encoder.depth + 1))
        if self.config.split_block is not None:
            split = self.config.split_block
        sparse = self.config.sparse_branch * moment.total_steps
        passed = moment.step / sparse if sparse else 1.0
        set_sparse_threshold(self.encoder, risen_threshold(passed))
        belief = model(patches, patch_ids, split, outputs, **self._reduction(moment))
        return belief, self._halting_losses(belief)

    def scored(self) -> Mapping[str, Mapping[str, Any]]:
        """K = 0, half and full depth."""
        depth = self.encoder.depth
        return {f"_k{k}": {"split_block": k} for k in sorted({0, depth // 2, depth})}

    def _reduction(self, moment: Moment) -> dict[str, Any]:
        """The encoder's reduction as strong as it is at this step; nothing where it has none."""
        reduction = self.encoder.plan.reduction
        if reduction.name == "none":
            return {}
        begin, full = (
            share * moment.total_steps
            for share in (self.config.reduction_warmup, self.config.reduction_full)
        )
        return {"reduction": reduction.eased(eased_share(moment.step, begin, full))}

    def _halting_losses(self, belief: Belief) -> dict[str, Weighted]:
        losses: dict[str, Weighted] = {}
        for halting in () if belief.reduced is None else belief.reduced.halting:
            for name, weight, loss in (
                ("ponder", self.config.ponder_weight, ponder_loss),
                ("distribution", self.config.distribution_weight, distribution_loss),
            ):
                value = loss(halting)
                before = losses.get(name)
                losses[name] = (weight, value if before is None else before[1] + value)
        return losses
