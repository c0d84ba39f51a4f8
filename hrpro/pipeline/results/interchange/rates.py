"""Frame rates: exact ones, and which video has which, for the formats that count in frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from hrpro.errors import UsageError
from hrpro.pipeline.results.model import VideoResult
from hrpro.video_ids import match

_NTSC_TOLERANCE = 2e-4  # people and files write 29.97 or 23.98 and mean 30000/1001 and 24000/1001


def exact_rate(fps: Fraction | float) -> Fraction:
    """Return frames per second as the fraction that is meant: 29.97 is 30000/1001."""
    near = Fraction(fps).limit_denominator(100_000)
    ntsc = Fraction(round(near * Fraction(1001, 1000)) * 1000, 1001)
    if near.denominator > 1 and ntsc and abs(near / ntsc - 1) < _NTSC_TOLERANCE:
        return ntsc
    return near


def parse_rate(text: str) -> Fraction:
    """Read a frame rate that a person typed: 25, 29.97, 30000/1001.

    Raises:
        UsageError: not a number above 0 and up to 1000.
    """
    try:
        rate = exact_rate(Fraction(text.strip()))
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= 1000:
        raise UsageError(f"--fps {text}: give frames per second, such as 25 or 30000/1001")
    return rate


def to_frame(time_s: float, rate: Fraction) -> int:
    """Return the frame nearest to a time; frame 0 starts at 0 s."""
    return max(0, round(Fraction(time_s) * rate))


def to_seconds(frame: int, rate: Fraction) -> float:
    """Return the time at which a frame starts."""
    return float(frame / rate)


def to_frames(start_s: float, end_s: float, rate: Fraction) -> tuple[int, int]:
    """Return the first frame of a span and the one after its last; a point takes one frame."""
    start = to_frame(start_s, rate)
    return start, max(start + 1, to_frame(end_s, rate))


def from_frames(start: int, end: int, rate: Fraction) -> tuple[float, float]:
    """Return start and end in seconds, undoing `to_frames`: one frame alone is a point."""
    end = start if end == start + 1 else end
    return to_seconds(start, rate), to_seconds(end, rate)


@dataclass(frozen=True)
class Rates:
    """What the user said about frame rates and timecode."""

    default: Fraction | None = None
    """For videos of which nothing else is known."""
    of_videos: Mapping[str, Fraction] = field(default_factory=dict)
    """By video id or path."""

    timecode: str | None = None
    """That of the first frame, where files count in timecode."""

    def knows(self, video_id: str) -> bool:
        """Whether the user gave this video."""
        return match(video_id, self.of_videos).video_id is not None

    def of(self, video_id: str, stated: float | None = None) -> Fraction:
        """Return the rate of a video: the user's, or what the file states.

        Raises:
            UsageError: neither is there; says how to give it.
        """
        named = match(video_id, self.of_videos).video_id
        known = self.default if named is None else self.of_videos[named]
        if known is None and stated:
            known = exact_rate(stated)
        if known is None:
            raise UsageError(
                f"{video_id}: this format counts in frames; give the frame rate with --fps, or "
                "the video with --video"
            )
        return known


def rate_of(video: VideoResult) -> Fraction:
    """Return the frame rate that a result states.

    Raises:
        UsageError: it states none; says how to give it.
    """
    return Rates().of(video.video_id, video.fps)
