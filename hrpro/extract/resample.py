"""Presentation times: clean them up, and resample frames to a fixed rate by them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TypeVar

from hrpro.extract.packets import MAX_GAP_S

T = TypeVar("T")

# Containers round presentation times to their tick; Matroska's and FLV's, the coarsest in common
# use for camera rates, is 1 ms. Without this allowance every other frame of a video at exactly
# the target rate would be a hair late, and its predecessor shown twice.
ROUNDING_S = Fraction(1, 1000)
# How far frames may be moved from their own time.
MAX_STEP_BACK_S = Fraction(1, 20)
_CERTAIN = 50


class Timeline:
    """Turns the presentation times of frames into strictly increasing ones that start at 0.

    Time 0 is the first displayed frame. No frame is moved away from its own time:

    - without a time: one nominal period after the predecessor;
    - a time that repeats or steps back a little: just after the predecessor;
    - a longer step back, or a leap of more than `MAX_GAP_S`: left out, as players do with what
      comes too late. Only where all of `_CERTAIN` frames in a row do not fit, their clock is taken
      for the right one, and they go on behind what came before.

    Clocks that were set are recognised before: see `hrpro.extract.packets.DecodingClock`.
    """

    def __init__(self, period_s: Fraction) -> None:
        self.missing = 0  # frames without a time
        self.left_out = 0  # frames that came too late, or with an absurd time
        self._period_s = period_s
        self._last: Fraction | None = None
        self._start_s: Fraction | None = None
        self._misfits = 0

    def place(self, time_s: Fraction | None) -> Fraction | None:
        """Return the time of the next frame in seconds from the first, None to leave it out."""
        following = Fraction(0) if self._last is None else self._last + self._period_s
        if time_s is None:
            self.missing += 1
            self._last = following
            return following
        if self._start_s is None or self._misfits == _CERTAIN:
            self._start_s = time_s - following
        placed = time_s - self._start_s
        if self._last is not None:
            if not self._last - MAX_STEP_BACK_S <= placed <= self._last + MAX_GAP_S:
                self.left_out += 1
                self._misfits += 1
                return None
            if placed <= self._last:
                placed = self._last + self._period_s / 4
        self._misfits = 0
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
            yield shown  # type: ignore[misc]  # the first starts at 0: never None
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
