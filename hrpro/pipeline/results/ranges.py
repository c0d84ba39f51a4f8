"""Ranges of time on one clock."""

from __future__ import annotations

from collections.abc import Iterable

Range = tuple[float, float]
"""Start and end in seconds."""


def joined(ranges: Iterable[Range], gap_s: float = 0.0) -> list[Range]:
    """Put ranges in order and join those that overlap or lie no further apart than `gap_s`."""
    together: list[Range] = []
    for start_s, end_s in sorted(ranges):
        if together and start_s <= together[-1][1] + gap_s:
            together[-1] = together[-1][0], max(together[-1][1], end_s)
        else:
            together.append((start_s, end_s))
    return together
