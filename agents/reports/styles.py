"""How each agent looks in every figure: the same colour and shape on any page."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

# Okabe & Ito, "Color Universal Design", 2008: told apart with any kind of colour vision. Its
# yellow, too pale for lines on white, is left out. First on light paper, then on dark.
_BLACK = ("#000000", "#F2F2F2")
_KNOWN = {
    "random": (("#767676", "#A6A6A6"), "o"),
    "checkerboard": (("#56B4E9", "#56B4E9"), "s"),
    "raster": (("#0072B2", "#4DA6DE"), "v"),
    "center_out": (("#E69F00", "#E69F00"), "P"),
    "ame": (("#009E73", "#1FBF94"), "^"),
    "ame_normalised": (("#CC79A7", "#DE95BD"), "D"),
    "oracle": (_BLACK, ""),
    "oracle_unlabelled": (_BLACK, "o"),
}
# For agents with names of their own: trained ones.
_OTHER_COLORS = (
    ("#D55E00", "#F2813A"),
    ("#882255", "#D774A5"),
    ("#332288", "#9C8FEB"),
    ("#44AA99", "#5CC7B5"),
)
_OTHER_MARKERS = ("o", "s", "^", "D", "v")


@dataclasses.dataclass(frozen=True)
class AgentStyle:
    """How one agent's line looks.

    Attributes:
        label: What the legend calls it.
        color: On light paper, "#rrggbb".
        dark_color: The same hue, legible on dark paper.
        marker: Matplotlib's letter of a shape: o, s, v, ^, D or P; "" for none.
        dashed: Whether it is no competitor but an upper bound.
    """

    label: str
    color: str
    dark_color: str
    marker: str
    dashed: bool

    @property
    def line(self) -> dict[str, Any]:
        """Keyword arguments of matplotlib's `plot`."""
        return {
            "label": f"{self.label} (upper bound)" if self.dashed else self.label,
            "color": self.color,
            "marker": self.marker,
            "linestyle": "--" if self.dashed else "-",
        }


def agent_styles(agents: Iterable[tuple[str, bool]]) -> list[AgentStyle]:
    """Styles of the agents of one figure; those without parameters always look the same.

    Args:
        agents: Label of each agent, and whether it is told the answer.
    """
    styles, others = [], 0
    for label, privileged in agents:
        if label in _KNOWN:
            colors, marker = _KNOWN[label]
        else:
            # Four colours and five shapes: twenty agents before two look alike.
            colors = _OTHER_COLORS[others % len(_OTHER_COLORS)]
            marker = _OTHER_MARKERS[others % len(_OTHER_MARKERS)]
            others += 1
        styles.append(AgentStyle(label, *colors, marker, privileged))
    return styles
