"""Which of several video streams of a file is the video."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

import av

from hrpro.errors import VideoError
from hrpro.extract.pyav import rational, tick_s

VideoStream = av.video.stream.VideoStream

# A stream that lasts less than this share of the longest one is a thumbnail or a trailer.
_SHORT_SHARE = Fraction(1, 2)
# One with no more than this share of the pixels of the largest one is a preview.
_SMALL_SHARE = Fraction(1, 4)
# Containers that list no streams: a damaged one seems to have more of them from then on.
_UNLISTED = frozenset({"flv", "live_flv", "mpeg"})
_LATE_S = 1
_CLOCK = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")


@dataclass(frozen=True)
class _Candidate:
    stream: VideoStream
    length_s: Fraction | None

    @property
    def pixels(self) -> int:
        context = self.stream.codec_context
        return context.width * context.height if context else 0

    def __str__(self) -> str:
        context = self.stream.codec_context
        size = f"{context.width}x{context.height}" if self.pixels else "unknown size"
        length = "" if self.length_s is None else f", {float(self.length_s):.2f} s"
        return f"{self.stream.index} ({size}{length})"


def choose_stream(
    container: av.container.InputContainer, wanted: int | None = None
) -> tuple[VideoStream, str]:
    """Choose the video stream, and say in one line which, if there are several.

    Cover art, stills and thumbnails do not count, nor do streams much shorter than the longest or
    much smaller than the largest. Of the others the default one is taken if only some are marked
    so, else the one with most pixels, else the first.

    Args:
        container: the opened file.
        wanted: index of a stream, counted from 0 over all streams of the file, sound included, as
            FFmpeg does; chosen by these rules if None.

    Raises:
        VideoError: no video stream, no such stream, or no decoder for it.
    """
    pictures = av.stream.Disposition.attached_pic | av.stream.Disposition.still_image
    pictures |= av.stream.Disposition.timed_thumbnails
    streams = [stream for stream in container.streams.video if not stream.disposition & pictures]
    if wanted is not None:
        stream = next((s for s in container.streams.video if s.index == wanted), None)
        if stream is None:
            there = ", ".join(str(s.index) for s in container.streams.video) or "none"
            raise VideoError(f"stream {wanted} is not a video stream (there are {there})")
        return _decodable(stream), ""
    if not streams:
        what = "cover art only" if container.streams.video else "sound only"
        raise VideoError(f"no video stream ({what})" if container.streams else "no video stream")
    if container.format.name in _UNLISTED:
        streams = _from_the_begin(streams)
    candidates = [_Candidate(stream, _length_s(stream)) for stream in streams]
    chosen = _best(candidates)
    if len(candidates) == 1:
        return _decodable(chosen.stream), ""
    others = ", ".join(str(each) for each in candidates if each is not chosen)
    note = f"{len(candidates)} video streams: took {chosen}; --stream takes another: {others}"
    return _decodable(chosen.stream), note


def _from_the_begin(streams: list[VideoStream]) -> list[VideoStream]:
    starts = [
        None if stream.start_time is None else stream.start_time * tick_s(stream)
        for stream in streams
    ]
    first = min((start for start in starts if start is not None), default=None)
    if first is None:
        return streams
    return [
        stream
        for stream, start in zip(streams, starts, strict=True)
        if start is not None and start <= first + _LATE_S
    ]


def _best(candidates: list[_Candidate]) -> _Candidate:
    if decodable := [each for each in candidates if each.stream.codec_context is not None]:
        candidates = decodable
    longest_s = max((each.length_s or Fraction(0) for each in candidates), default=Fraction(0))
    candidates = [
        each
        for each in candidates
        if each.length_s is None or each.length_s >= _SHORT_SHARE * longest_s
    ]
    most = max(each.pixels for each in candidates)
    candidates = [each for each in candidates if each.pixels > _SMALL_SHARE * most or not most]
    default = av.stream.Disposition.default
    marked = [each for each in candidates if each.stream.disposition & default]
    return max(marked or candidates, key=lambda each: each.pixels)


def _decodable(stream: VideoStream) -> VideoStream:
    if stream.codec_context is None:
        raise VideoError("this FFmpeg has no decoder for its codec; convert it to MP4 (H.264)")
    return stream


def _length_s(stream: VideoStream) -> Fraction | None:
    """Return what the headers say of the length of a stream, in seconds."""
    for name, value in stream.metadata.items():  # Matroska: DURATION, or DURATION-eng
        if name.upper().startswith("DURATION") and (match := _CLOCK.match(value)):
            hours, minutes, seconds = match.groups()
            return Fraction(hours) * 3600 + Fraction(minutes) * 60 + Fraction(seconds)
    if stream.duration:
        return stream.duration * tick_s(stream)
    rate = rational(stream.average_rate)
    return stream.frames / rate if stream.frames and rate else None
