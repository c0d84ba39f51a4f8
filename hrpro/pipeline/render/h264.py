"""Write a video again as H.264 that browsers and phones play, every frame at its own time."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av.codec.context import Flags
from av.container import OutputContainer
from av.video.frame import PictureType
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter
from av.video.stream import VideoStream

from hrpro.errors import HrproError
from hrpro.extract.decode import DecodeReport, FrameReader, VideoInfo, prefetch
from hrpro.extract.probe import naming, open_video
from hrpro.extract.pyav import tick_s
from hrpro.files import atomic_path
from hrpro.pipeline.render.sound import Sound

# Seconds per tick. Nearly all camera rates, 29.97 and 59.94 among them, and milliseconds are whole
# ticks in it, and it is as fine as MPEG-4 (at most 65535 ticks a second) allows.
CLOCK = Fraction(1, 60_000)
PREFETCH_BYTES = 128 << 20

Paint = Callable[[np.ndarray, float], None]
"""Draws on a picture, uint8 RGB `[height, width, 3]`, that is shown from a time in seconds on."""

_log = logging.getLogger(__name__)


def rewrite_video(
    info: VideoInfo,
    out_path: Path,
    *,
    short_side: int,
    painter: Callable[[int, int], Paint] | None = None,
    crf: int = 21,
    keyframe_s: float | None = None,
    progress: Callable[[float], None] | None = None,
) -> DecodeReport:
    """Write a video upright, with square pixels, as H.264 (yuv420p).

    Every frame keeps its time in the file's own clock; where that begins before the first picture,
    the first picture is shown from there on, because not all players show nothing. Sound is kept.
    Memory does not grow with the length of the video.

    Args:
        info: the video, as `probe` describes it.
        out_path: .mp4 (or .m4v, .mov, .mkv). It appears when it is complete.
        short_side: pixels of the short side of the picture.
        painter: called once with width and height; what it returns draws on each picture.
        crf: x264's constant rate factor; less is better and larger.
        keyframe_s: at most so many seconds from one key frame to the next, for quick seeking.
        progress: called with the time in seconds that is written, in the file's own clock.

    Returns:
        What decoding met: damage that was skipped, an early end.

    Raises:
        VideoError: the video cannot be decoded.
        HrproError: the new one cannot be written.
    """
    with (
        FrameReader(
            info.path, fps=None, short_side=short_side, crop=None, stream=info.stream
        ) as reader,
        prefetch(reader.timed(), _prefetch_depth(info, short_side)) as timed,
    ):
        pictures = _in_file_clock(_with_ends(timed, reader.report), info.start_s)
        first = next(pictures)
        height, width = first[2].shape[:2]
        paint = painter(width, height) if painter is not None else None
        with (
            atomic_path(out_path) as temporary,
            naming_output(out_path),
            av.open(
                f"file:{temporary.absolute()}", "w", options=container_options(out_path)
            ) as output,
        ):
            encoder = Encoder(output, width, height, info.average_fps, crf, keyframe_s)
            with closing(Sound(info.path, info.clock_start_s, output)) as sound:
                for start_s, end_s, picture in chain([first], pictures):
                    if paint is not None:
                        paint(picture, start_s)
                    sound.write_until(start_s)
                    encoder.write(picture, start_s, end_s)
                    if progress is not None:
                        progress(end_s)
                encoder.finish()
                sound.write_until(math.inf)
    return reader.report


def end_of(info: VideoInfo) -> float:
    """Return when the picture of a video ends, in seconds of its file's clock.

    By the header, else by reading through it.
    """
    return info.end_s or _scanned_end(info)


class Encoder:
    """Encodes upright RGB pictures, each with its own time, as the video stream of a file."""

    def __init__(
        self,
        output: OutputContainer,
        width: int,
        height: int,
        fps: Fraction | None,
        crf: int = 21,
        keyframe_s: float | None = None,
        num_threads: int = 0,
    ) -> None:
        """Add the stream; `fps` only guides the rate control, the times decide.

        With `keyframe_s`, at most so many seconds pass from one key frame to the next. The bytes
        depend on the number of threads, which follows the processors unless `num_threads` says it.
        """
        self._output = output
        self._to_yuv = VideoReformatter()
        self._next_tick = 0
        self._keyframe_ticks = None if keyframe_s is None else round(keyframe_s / CLOCK)
        self._next_keyframe = 0
        name = _encoder_name()
        stream = output.add_stream(name, rate=(fps or Fraction(25)).limit_denominator(1001))
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.time_base = CLOCK
        context.thread_count = num_threads
        # Without B-frames the pictures are stored in the order they are shown, and containers
        # then keep the duration of every frame, that of the last one included.
        context.options = {"bf": "0"}
        if name == "libx264":
            context.options |= {"preset": "veryfast", "crf": str(crf)}
        else:
            context.bit_rate = max(1_000_000, 5 * width * height)
        context.flags |= Flags.frame_duration
        context.color_range = ColorRange.MPEG
        context.colorspace = Colorspace.ITU709
        context.color_primaries = ColorPrimaries.BT709
        context.color_trc = ColorTrc.BT709
        self._stream = stream

    def write(self, picture: np.ndarray, start_s: float, end_s: float) -> None:
        """Encode one picture, uint8 RGB `[height, width, 3]`, shown from `start_s` to `end_s`."""
        frame = self._to_yuv.reformat(
            av.VideoFrame.from_ndarray(picture, format="rgb24"),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
        )
        frame.time_base = CLOCK
        frame.pts = max(round(start_s / CLOCK), self._next_tick)
        frame.duration = max(1, round(end_s / CLOCK) - frame.pts)
        self._next_tick = frame.pts + 1
        if self._keyframe_ticks is not None and frame.pts >= self._next_keyframe:
            frame.pict_type = PictureType.I
            self._next_keyframe = frame.pts + self._keyframe_ticks
        self._output.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Write what the encoder still holds."""
        self._output.mux(self._stream.encode(None))


def _encoder_name() -> str:
    for name in ("libx264", "libopenh264"):
        if name in av.codecs_available:
            return name
    _log.warning(
        "this FFmpeg has no H.264 encoder; the video becomes MPEG-4, which browsers do not play "
        "(remedy: python -m pip install --force-reinstall --only-binary :all: av)"
    )
    return "mpeg4"


def container_options(path: Path) -> dict[str, str]:
    """Options of the file that is written."""
    # The index goes to the front, so that a browser can start before it has the whole file.
    return {} if path.suffix.lower() == ".mkv" else {"movflags": "+faststart"}


@contextmanager
def naming_output(path: Path) -> Iterator[None]:
    """Name the file in errors of writing it."""
    try:
        yield
    except av.FFmpegError as error:
        reason = error.strerror or error
        raise HrproError(f"{path}: cannot write the video: {reason}") from error


def _with_ends(
    pictures: Iterator[tuple[float, np.ndarray]], report: DecodeReport
) -> Iterator[tuple[float, float, np.ndarray]]:
    """Yield `(start_s, end_s, picture)`: a picture is shown until the next one, the last until
    the video ends. Pictures are cut to even sides, as yuv420p wants them."""
    start_s, picture = next(pictures)
    for next_start_s, next_picture in pictures:
        yield start_s, next_start_s, even(picture)
        start_s, picture = next_start_s, next_picture
    yield start_s, report.duration_s, even(picture)


def _in_file_clock(
    pictures: Iterator[tuple[float, float, np.ndarray]], first_s: float
) -> Iterator[tuple[float, float, np.ndarray]]:
    """Shift the times of pictures by that of the first one, which is shown from 0 on."""
    start_s, end_s, picture = next(pictures)
    yield start_s, end_s + first_s, picture
    for start_s, end_s, picture in pictures:
        yield start_s + first_s, end_s + first_s, picture


def even(picture: np.ndarray) -> np.ndarray:
    """Cut a picture to even sides, as yuv420p wants them."""
    height, width = (side // 2 * 2 for side in picture.shape[:2])
    return np.ascontiguousarray(picture[:height, :width])


def _prefetch_depth(info: VideoInfo, short_side: int) -> int:
    num_pixels = info.width * info.height * (short_side / min(info.width, info.height)) ** 2
    return round(min(max(PREFETCH_BYTES / (3 * num_pixels), 2), 32))


def _scanned_end(info: VideoInfo) -> float:
    """Return when a video ends whose header does not tell, by reading through its packets."""
    end_s = info.clock_start_s + info.start_s
    with (
        naming(info.path),
        open_video(info.path, stream=info.stream) as (container, stream, _),
        suppress(av.FFmpegError),
    ):
        for packet in container.demux(stream):
            if packet.pts is not None:
                end = packet.pts + (packet.duration or 0)
                end_s = max(end_s, float(end * tick_s(stream)))
    return end_s - info.clock_start_s
