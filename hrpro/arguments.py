"""Checks of single values that people give, as options or from Python: errors of one line.

Options have their kind from the command line; what comes from Python may be of any.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from numbers import Integral, Real

from hrpro.errors import UsageError


def check_number(
    option: str, value: object, wanted: str, low: float = 0.0, *, open_low: bool = False
) -> None:
    """Refuse what is no finite number from `low` on.

    Args:
        option: as the command line spells it.
        value: what was given.
        wanted: what to give instead, in words.
        low: the least that fits.
        open_low: it must be more than that.

    Raises:
        UsageError: names the option, the value and what is wanted.
    """
    if isinstance(value, Real) and not isinstance(value, bool):
        number = float(value)
        if (number > low if open_low else number >= low) and number < math.inf:
            return
        raise UsageError(f"{option} {number:g}: give {wanted}")
    raise UsageError(f"{option} {value!r}: give {wanted}, as a number")


def check_whole(option: str, value: object, wanted: str, low: int = 0) -> None:
    """Refuse what is no whole number from `low` on; see `check_number`."""
    if not isinstance(value, Integral) or isinstance(value, bool) or int(value) < low:
        raise UsageError(f"{option} {value!r}: give {wanted}")


def check_choice(option: str, value: object, choices: Collection[str]) -> None:
    """Refuse what is none of some words.

    Raises:
        UsageError: names the option, the value and the words.
    """
    if value not in choices:
        raise UsageError(f"{option} {value!r}: choose one of {', '.join(choices)}")
