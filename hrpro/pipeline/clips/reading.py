"""Parts of a video, picture and sound, without reading all that lies between them."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer

from hrpro.errors import VideoError
from hrpro.extract.frames import Decoding
from hrpro.extract.geometry import FrameConverter, Orientation
from hrpro.extract.losses import DecodeReport
from hrpro.extract.packets import PacketReader
from hrpro.extract.probe import OpenVideo, VideoInfo, is_cut_anywhere, naming, open_video
from hrpro.extract.pyav import rational, tick_s
from hrpro.extract.resample import Timeline
from hrpro.pipeline.results.ranges import Range, joined

SOUND_RATE = 48_000
SOUND_LAYOUT = "stereo"

_SKIPPED_S = 4.0
"""Shorter gaps are decoded: a jump would lead to a key frame that lies as far back."""
_BACK_S = (0.0, 10.0)
"""Where a jump leads too far, it is tried from so much earlier, then from the begin."""
_RUN_UP_S = 0.2
"""Decoders of sound need a few packets before what they give is right."""
_SOUND_JITTER_S = Fraction(1, 50)


@dataclass(frozen=True)
class Shown:
    """A picture and when it is on display, in seconds of the file's clock."""

    start_s: float
    end_s: float
    _frame: av.VideoFrame
    _convert: FrameConverter

    @cached_property
    def picture(self) -> np.ndarray:
        """Upright RGB with square pixels, uint8 `[height, width, 3]`."""
        return self._convert([self._frame])[0]


@dataclass(frozen=True)
class Heard:
    """A piece of sound, float32 `[2, num_samples]` at `SOUND_RATE`, and when it begins."""

    start_s: float
    samples: np.ndarray

    @property
    def end_s(self) -> float:
        """When it ends, in seconds of the file's clock."""
        return self.start_s + self.samples.shape[1] / SOUND_RATE


def can_jump(container: InputContainer) -> bool:
    """Whether times after a jump are those that reading from the begin would give."""
    # AVI has no presentation times: they are counted from its first picture.
    return not is_cut_anywhere(container) and container.format.name != "avi"


def pictures(
    info: VideoInfo, ranges: Sequence[Range], short_side: int | None = None
) -> Iterator[Shown]:
    """Yield the pictures that are on display within ranges of time, in order, each once.

    Those of short gaps come along. Longer gaps are jumped over where the format allows it; else
    the video is read through, once.

    Args:
        info: the video.
        ranges: in any order.
        short_side: resize the pictures so that the shorter side has so many pixels.

    Raises:
        VideoError: the video cannot be decoded.
    """
    with naming(info.path), open_video(info.path, stream=info.stream) as opened:
        convert = FrameConverter(
            Orientation(info.rotation, info.mirrored),
            rational(opened.stream.sample_aspect_ratio),
            short_side,
            None,
        )
        for start_s, end_s in _reads(opened.container, ranges):
            for shown in _from(opened, info, start_s, convert):
                if shown.start_s >= end_s:
                    break
                if shown.end_s > start_s:
                    yield shown


def sound(info: VideoInfo, ranges: Sequence[Range]) -> Generator[Heard]:
    """Yield the sound within ranges of time, in order; nothing if the video has none.

    What is around the ranges may come along. Damaged packets are left out.
    """
    with naming(info.path), open_video(info.path) as (container, *_):
        source = container.streams.best("audio")
        if not isinstance(source, AudioStream) or source.codec_context is None or not source.rate:
            return
        for start_s, end_s in _reads(container, ranges):
            from_s = start_s - _RUN_UP_S
            if can_jump(container) and from_s > _SKIPPED_S:
                _jump(container, source, from_s + info.clock_start_s)
            for heard in _decoded(container, source, info.clock_start_s):
                if heard.start_s >= end_s:
                    break
                if heard.end_s > start_s:
                    yield heard


def _reads(container: InputContainer, ranges: Sequence[Range]) -> list[Range]:
    """The parts to be read without a jump."""
    return joined(ranges, _SKIPPED_S if can_jump(container) else math.inf)


def _from(
    opened: OpenVideo, info: VideoInfo, start_s: float, convert: FrameConverter
) -> Iterator[Shown]:
    """Yield the pictures from a time on; a few earlier ones may come first."""
    if can_jump(opened.container):
        for back_s in _BACK_S:
            if start_s - back_s > _SKIPPED_S and _jump(
                opened.container, opened.stream, start_s - back_s + info.clock_start_s
            ):
                found = _shown(opened, info, convert)
                first = None
                with suppress(VideoError):  # nothing can be decoded from there on
                    first = next(found, None)
                if first is not None and first.start_s <= start_s:
                    yield first
                    yield from found
                    return
        _jump(opened.container, opened.stream, min(0.0, info.clock_start_s))
    yield from _shown(opened, info, convert)


def _jump(container: InputContainer, stream: av.stream.Stream, time_s: float) -> bool:
    """Go to the key frame before a time of the container's clock; False if that fails."""
    try:
        container.seek(int(time_s / tick_s(stream)), stream=stream)
    except av.FFmpegError:
        return False
    return True


def _shown(opened: OpenVideo, info: VideoInfo, convert: FrameConverter) -> Iterator[Shown]:
    """Decode from where the container is; a picture is on display until the next one."""
    decoding = Decoding(opened.container, opened.stream, DecodeReport())
    timeline = Timeline(decoding.period_s)
    tick = tick_s(opened.stream)
    begin_s: float | None = None
    start_s = 0.0
    last: av.VideoFrame | None = None
    for frame, time_s in decoding:
        if begin_s is None:
            begin_s = info.start_s if time_s is None else float(time_s) - info.clock_start_s
        if (placed := timeline.place(time_s)) is None:
            continue
        if last is not None:
            yield Shown(start_s, begin_s + float(placed), last, convert)
        start_s, last = begin_s + float(placed), frame
    if last is not None:
        own_s = float(last.duration * tick if last.duration else decoding.period_s)
        yield Shown(start_s, start_s + own_s, last, convert)


def _decoded(
    container: InputContainer, source: AudioStream, clock_start_s: float
) -> Iterator[Heard]:
    """Decode sound from where the container is, in one format, whatever its own."""
    resampler = _resampler()
    for packet in PacketReader(container, source, DecodeReport(), _SOUND_JITTER_S):
        try:
            frames = source.decode(packet)
        except av.FFmpegError:
            continue  # a damaged packet costs its own few milliseconds
        for frame in frames:
            try:
                resampled = resampler.resample(frame)
            except ValueError:  # the format changes within the stream
                resampler = _resampler()
                resampled = resampler.resample(frame)
            for each in resampled:
                if each.pts is not None and each.time_base is not None:
                    start_s = float(each.pts * each.time_base) - clock_start_s
                    yield Heard(start_s, each.to_ndarray())


def _resampler() -> av.AudioResampler:
    return av.AudioResampler(format="fltp", layout=SOUND_LAYOUT, rate=SOUND_RATE)
