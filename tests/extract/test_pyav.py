"""What the versions of PyAV call the same thing."""

from __future__ import annotations

from fractions import Fraction

import pytest

from hrpro.extract.pyav import rational

pytestmark = pytest.mark.core


class AVRational:
    """Stands in for the type of PyAV 19: false where unknown, and not a `numbers.Rational`."""

    def __init__(self, numerator: int, denominator: int) -> None:
        self.numerator, self.denominator = numerator, denominator

    def __bool__(self) -> bool:
        return self.numerator != 0 and self.denominator != 0


def test_a_rate_is_a_fraction_whatever_pyav_calls_it():
    assert rational(Fraction(30000, 1001)) == Fraction(30000, 1001)
    rate = rational(AVRational(30000, 1001))
    assert isinstance(rate, Fraction) and rate == Fraction(30000, 1001)


def test_an_unknown_rate_is_none_whatever_pyav_calls_it():
    for unknown in (None, AVRational(0, 1), AVRational(0, 0), AVRational(1, 0)):
        assert rational(unknown) is None
