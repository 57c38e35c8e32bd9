"""Numbers for people, against decimal arithmetic by hand."""

import decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.support.rounding import settled, written


@pytest.mark.parametrize(
    ("value", "spec", "text"),
    [
        (6.25, ".1f", "6.3"),  # a tie as a binary number, too: Python says 6.2
        (100 * 0.2835, ".1f", "28.4"),  # 28.349999999999998
        (-6.25, ".1f", "-6.3"),
        (-0.04, ".1f", "0.0"),
        (0.145, ".0%", "15%"),
        (0.0962165, "#.3g", "0.0962"),
        (12.25, "#.3g", "12.3"),
        (0.1, "#.3g", "0.100"),
        (1234567.5, ",.0f", "1,234,568"),
        (2.5, "d", "3"),
        (0.00012345, ".2e", "1.23e-04"),
        (1 / 3, ".3g", "0.333"),
        (1e300, ".1f", f"{1e300:.1f}"),
        (float("nan"), ".1f", "nan"),
    ],
)
def test_ties_are_rounded_away_from_zero(value, spec, text):
    assert written(value, spec) == text


def test_a_plus_is_written_where_it_is_asked_for():
    assert [written(value, ".1f", "+") for value in (0.25, -0.25, 0)] == ["+0.3", "-0.3", "+0.0"]


@given(st.integers(-10_000, 10_000), st.integers(1, 5_000))
def test_shares_are_rounded_as_their_decimals_are(hits, scenes):
    value = 100 * hits / scenes
    exact = decimal.Decimal(f"{value:.9g}")
    expected = exact.quantize(decimal.Decimal("0.1"), rounding=decimal.ROUND_HALF_UP) + 0
    assert written(value, ".1f") == str(expected).replace("-0.0", "0.0") or float(expected) == 0
    assert abs(decimal.Decimal(written(value, ".1f")) - exact) <= decimal.Decimal("0.05")


def test_settled_numbers_lack_the_last_digits():
    assert settled(0.1 + 0.2) == 0.3
