"""The options of the TORE family: K, and how tokens are reduced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from encoders.config import EncoderConfig
from encoders.families.tore.surgery import PatchVit
from encoders.reduction.config import Reduction
from encoders.reduction.plan import OPTIONS, ReductionPlan, make_plan


class ToreOptions:
    """What options mean for one encoder; what was checked once is not checked again.

    Args:
        config: The encoder's, whose defaults count where options are left out.
        backbone: Its Vision Transformer.

    Raises:
        ValueError: The configuration asks for what this model cannot do.
    """

    def __init__(self, config: EncoderConfig, backbone: PatchVit) -> None:
        self.config = config
        self._depth = backbone.depth
        self._patches = backbone.grid[0] * backbone.grid[1]
        vit: Any = backbone.vit
        self._attention = backbone.attention
        self._class_token = getattr(vit, "cls_token", None) is not None
        self._plans: dict[tuple[Any, ...], ReductionPlan] = {}
        self.plan({})

    @property
    def default_split_block(self) -> int:
        """TORE's K where the caller does not choose one."""
        chosen = self.config.default_split_block
        return 2 * self._depth // 3 if chosen is None else chosen

    def split(self, split_block: int | Tensor | None) -> int:
        """K, the default for None.

        Raises:
            ValueError: It is outside [0, depth].
        """
        split = self.default_split_block if split_block is None else int(split_block)
        if not 0 <= split <= self._depth:
            raise ValueError(f"split_block {split} is outside [0, {self._depth}]")
        return split

    def resolve(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """As `GlimpseEncoder.resolve_options`."""
        if unknown := sorted(set(options) - {"split_block", *OPTIONS}):
            known = ", ".join(map(repr, ("split_block", *OPTIONS)))
            raise ValueError(
                f"encoder {self.config.name!r} has no options {unknown}; it has {known}"
            )
        plan = self.plan(options)
        resolved: dict[str, Any] = {"split_block": self.split(options.get("split_block"))}
        # What the encoder does by itself must be named where it is switched off.
        if self.config.reduction is not None:
            resolved["reduction"] = str(plan.reduction)
        if self.config.max_tokens:
            resolved["max_tokens"] = plan.max_tokens
        return {**resolved, **plan.options()}

    def plan(self, options: Mapping[str, Any]) -> ReductionPlan:
        """The reductions that options and configuration ask for.

        Raises:
            ValueError: They cannot be run here.
        """
        chosen = tuple(options.get(name) for name in OPTIONS)
        if chosen in self._plans:
            return self._plans[chosen]
        given = {name: getattr(self.config, name) for name in OPTIONS}
        given |= {name: options[name] for name in OPTIONS if options.get(name) is not None}
        plan = make_plan(given)
        self._refuse_without_weights(plan)
        plan.reduction.check(self._depth, self._patches, self._class_token)
        require_reduction(options.get("reduction_in"), plan.reduction)
        if not isinstance(chosen[0], Reduction):  # one of many, as in the schedules of training
            self._plans[chosen] = plan
        return plan

    def _refuse_without_weights(self, plan: ReductionPlan) -> None:
        """Refuses reductions where blocks have no attention weights.

        Raises:
            ValueError: Angular attention, and a reduction or a bounded memory.
        """
        if self._attention == "softmax" or not plan.options():
            return
        raise ValueError(
            f"{plan}: encoder {self.config.name!r} has angular attention, which has neither "
            "attention weights for a reduction to read nor places for merged tokens; choose an "
            "encoder with softmax attention, or reduction='none' and max_tokens=0"
        )

    def plan_of_call(self, options: Mapping[str, Any]) -> ReductionPlan:
        """The plan of the keyword arguments of a call.

        Raises:
            TypeError: An argument that no call has.
            ValueError: As `plan`.
        """
        if unknown := sorted(set(options) - set(OPTIONS)):
            raise TypeError(
                f"unexpected options {unknown}; expected split_block, outputs, {', '.join(OPTIONS)}"
            )
        return self.plan(options)

    def check_glimpse_size(self, patches: int, options: Mapping[str, Any]) -> None:
        """As `GlimpseEncoder.check_glimpse_size`."""
        most = self.plan(options).max_tokens
        if 0 < most < patches:
            raise ValueError(
                f"max_tokens={most} is less than the {patches} patches of one glimpse; expected at "
                f"least {patches}, or 0 for no bound"
            )


def require_reduction(place: str | None, reduction: Reduction) -> None:
    """Refuses a place for a reduction that there is not.

    Raises:
        ValueError: A place, and no reduction.
    """
    if place is not None and reduction.name == Reduction.name:
        raise ValueError(
            f"reduction_in={place!r} without a reduction; give one, e.g. reduction='tome:r=4', or "
            "leave reduction_in out"
        )
