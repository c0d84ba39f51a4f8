"""Timecode, HH:MM:SS:FF, in which editors and cameras count frames.

Non-drop timecode at 29.97 and 59.94 frames per second counts 30 and 60 to the second and falls
behind the clock (3.6 s per hour), but every frame has its own number and none is skipped.
Drop-frame timecode skips numbers, not frames, and keeps up with the clock; a semicolon, comma or
point before the frames tells it (Premiere Pro writes semicolons throughout).
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

from hrpro.errors import DataError
from hrpro.pipeline.results.interchange.rates import to_seconds

TIMECODE = r"\d\d[:;]\d\d[:;]\d\d[:;.,]\d\d\d?"
"""A pattern without groups."""
_PARTS = re.compile(r"(\d\d)[:;](\d\d)[:;](\d\d)([:;.,])(\d\d\d?)")


def to_timecode(frame: int, rate: Fraction) -> str:
    """Write a frame number as non-drop timecode."""
    seconds, frame = divmod(frame, math.ceil(rate))
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}:{frame:02d}"


def from_timecode(timecode: str, rate: Fraction, is_drop: bool = False) -> int:
    """Return the frame number of a timecode.

    Raises:
        DataError: not a timecode, or it has more frames in a second than `rate`.
    """
    match = _PARTS.fullmatch(timecode.strip())
    if match is None:
        raise DataError(f"{timecode!r} is not a timecode such as 01:00:00:00")
    hours, minutes, seconds, mark, frames = match.groups()
    per_second = math.ceil(rate)
    if int(frames) >= per_second:
        raise DataError(
            f"{timecode} has more than {per_second} frames in a second; is the frame rate right?"
        )
    total_minutes = int(hours) * 60 + int(minutes)
    frame = (total_minutes * 60 + int(seconds)) * per_second + int(frames)
    if (is_drop or mark != ":") and per_second % 30 == 0 and rate.denominator == 1001:
        frame -= per_second // 15 * (total_minutes - total_minutes // 10)
    return frame


def timecode_seconds(timecode: str, rate: Fraction) -> float:
    """Return how long after 00:00:00:00 the frame of a timecode begins, in seconds.

    Raises:
        DataError: as `from_timecode`.
    """
    return to_seconds(from_timecode(timecode, rate), rate)


def timecode_after(timecode: str | None, time_s: float, rate: Fraction | None) -> str | None:
    """Return the timecode so many seconds after another; None where that cannot be told.

    Args:
        timecode: non-drop; None is passed on.
        time_s: seconds to go on.
        rate: frames per second.
    """
    if timecode is None or rate is None or ":" not in timecode[-4:]:
        return None
    try:
        return to_timecode(from_timecode(timecode, rate) + round(time_s * rate), rate)
    except DataError:
        return None  # the tag of a file that nobody asked for
