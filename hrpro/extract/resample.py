"""Presentation times: clean them up, and resample frames to a fixed rate by them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TypeVar

T = TypeVar("T")

# Containers round presentation times to their tick; Matroska's and FLV's, the coarsest in common
# use for camera rates, is 1 ms. Without this allowance every other frame of a video at exactly
# the target rate would be a hair late, and its predecessor shown twice.
ROUNDING_S = Fraction(1, 1000)


class Timeline:
    """Turns the presentation times of frames into strictly increasing ones that start at 0.

    Time 0 is the first displayed frame. Frames that do not fit are placed so that none is lost and
    the others keep their time:

    - without a time: one nominal period after the predecessor;
    - a time that repeats or steps back: just after the predecessor.

    Whole clocks that were set are not its business: see `hrpro.extract.packets.DecodingClock`.
    """

    def __init__(self, period_s: Fraction) -> None:
        self.missing = 0  # frames without a time
        self.disordered = 0  # frames whose time steps back by more than a period
        self._period_s = period_s
        self._last: Fraction | None = None
        self._start_s: Fraction | None = None

    def place(self, time_s: Fraction | None) -> Fraction:
        """Return the time of the next frame in seconds from the first displayed frame."""
        following = Fraction(0) if self._last is None else self._last + self._period_s
        self.missing += time_s is None
        if time_s is not None and self._start_s is None:
            self._start_s = time_s - following
        if time_s is None or self._last is None or self._start_s is None:
            self._last = following
            return following
        placed = time_s - self._start_s
        if placed <= self._last:
            self.disordered += placed < self._last - self._period_s
            placed = self._last + self._period_s / 4
        self._last = placed
        return placed


def resample(frames: Iterable[tuple[Fraction, Fraction, T]], fps: Fraction) -> Iterator[T]:
    """Yield, for k = 0, 1, 2, ..., the frame on display at time k / fps.

    That is the last frame with `start_s <= k / fps`, up to the rounding of timestamps; the output
    ends with the last frame's `end_s`. A frame is shown late by less than one of its own periods
    and never early, so that what happens at a time on the screen (a click, a label) and the
    output at that time are the same picture. FFmpeg's `fps=FPS:round=up` picks the same frames;
    its default, `round=near`, may show a frame up to half an output period before its time.

    Args:
        frames: `(start_s, end_s, frame)` with increasing starts, the first at 0.
        fps: output rate in frames per second.
    """
    index = 0
    shown: T | None = None
    end = Fraction(0)
    for start, frame_end, frame in frames:
        until = _first_index(start, fps)
        for _ in range(index, until):
            yield shown  # type: ignore[misc]
        index = max(index, until)
        shown, end = frame, frame_end
    if shown is None:
        return
    # However short, a video shows its only frame once.
    for _ in range(index, max(_first_index(end, fps), 1)):
        yield shown


def _first_index(time_s: Fraction, fps: Fraction) -> int:
    """Return the first k >= 0 with k / fps >= time_s, up to the rounding of timestamps."""
    return max(0, math.ceil((time_s - ROUNDING_S) * fps))
