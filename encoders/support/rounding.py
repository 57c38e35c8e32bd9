"""How numbers are written for people: alike in tables, pictures and pages."""

from __future__ import annotations

import decimal
import math
import re

# What processors that add in another order agree on; anything beyond is no part of a result.
SIGNIFICANT_DIGITS = 9

_LARGEST = decimal.Context(prec=400, rounding=decimal.ROUND_HALF_UP)  # all floats fit


def settled(value: float) -> float:
    """A number without the digits that depend on the order of additions."""
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")


def written(value: float, spec: str, sign: str = "") -> str:
    """A number as people read it, ties rounded away from zero: 6.25 as 6.3, 28.35 as 28.4.

    What is rounded is the decimal number of nine significant digits, not the binary one next to it,
    which may lie on the other side of a tie. Nothing is written as "-0.0".

    Args:
        value: Any number.
        spec: Format specification of a float, without a sign, e.g. ".1f", ",.2f", "#.3g" or ".0%";
            "d" for whole numbers.
        sign: "+" to write a plus before positive values.
    """
    if not math.isfinite(value):
        return format(value, sign)
    rounded = float(_rounded(value, spec)) + 0.0  # the zero turns the minus of a -0.0 into a plus
    return format(int(rounded) if spec.endswith("d") else rounded, sign + spec)


def _rounded(value: float, spec: str) -> decimal.Decimal:
    """The decimal number that `spec` shows; the float next to it is shown alike, being no tie."""
    exact = decimal.Decimal(f"{value:.{SIGNIFICANT_DIGITS}g}")
    kind = spec[-1:]
    digits = int(found[1]) if (found := re.search(r"\.(\d+)", spec)) else 6
    if kind in ("f", "F", "%", "d"):
        places = {"d": 0, "%": digits + 2}.get(kind, digits)
        return exact.quantize(decimal.Decimal(1).scaleb(-places), context=_LARGEST)
    if kind in ("e", "E", "g", "G"):
        kept = digits + 1 if kind in "eE" else max(digits, 1)
        return decimal.Context(prec=kept, rounding=decimal.ROUND_HALF_UP).plus(exact)
    return exact
