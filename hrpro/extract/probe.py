"""Open a video file safely, check it, and say what it is."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av

from hrpro.errors import VideoError
from hrpro.extract.frames import Decoding, TimedFrame, stated_fps
from hrpro.extract.geometry import MAX_PIXELS, Orientation, display_size
from hrpro.extract.losses import DecodeReport
from hrpro.extract.pyav import Hardware, open_input, pixel_format, rational, tick_s
from hrpro.extract.streams import choose_stream

# Demuxers that read the one file they are given. Playlists (hls, dash, concat, sdp, rtsp, image
# sequences, lavfi, ...) are not among them: these would fetch what a hostile file names.
_FORMATS = (
    "mov,mp4,matroska,webm,avi,asf,flv,live_flv,mpegts,mpeg,mpegvideo,ogg,gif,apng,mxf,nut,ivf,"
    "h261,h263,h264,hevc,vvc,av1,obu,vc1,m4v,mjpeg,mpjpeg,dv,rm,gxf,nsv,wtv,dhav,yuv4mpegpipe,"
    "cavsvideo,dirac,smjpeg,swf,amv,rpl,webp_anim"
)
# Those whose timestamps begin anywhere.
_CUT_ANYWHERE = {
    *("mpegts", "mpeg", "mpegvideo", "h261", "h263", "h264", "hevc", "vvc", "av1", "obu", "vc1"),
    *("m4v", "dirac", "cavsvideo", "dv", "wtv", "nsv", "dhav"),
}
_RUN_IN_S = Fraction(1, 20)
_OPEN_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": _FORMATS}
_CODEC_OPTIONS = {"max_pixels": str(MAX_PIXELS)}
_REFUSE_DAMAGE = {"err_detect": "explode"}
_PLAYLIST_STARTS = (
    b"#EXTM3U",
    b"ffconcat",
    b"<?xml",
    b"<MPD",
    b"v=0",
    b"[playlist]",
    b"[InternetShortcut]",
)
_PICTURE_STARTS = (b"\x89PNG", b"\xff\xd8\xff", b"II*\0", b"MM\0*")


@dataclass(frozen=True)
class VideoInfo:
    """What a video file says about itself. Headers lie: `FrameReader.report` has the truth."""

    path: Path
    width: int  # of the upright picture with square pixels
    height: int
    rotation: int  # degrees counterclockwise that turn the stored picture upright: 0, 90, 180, 270
    codec: str
    pixel_format: str
    average_fps: Fraction | None
    duration_s: float | None  # from the first displayed frame to the end, by the header
    has_audio: bool
    start_s: float  # when the first displayed frame is to be shown, in the file's own clock
    clock_start_s: float = 0.0  # the timestamp in the container at which that clock is 0
    mirrored: bool = False
    stream: int = 0  # index of the video stream among all streams
    note: str = ""  # which stream was taken, if there are several
    timecode: str | None = None  # of the first frame, as cameras and editors number it

    @property
    def end_s(self) -> float | None:
        """End of the picture by the header, in the file's own clock."""
        return None if self.duration_s is None else self.start_s + self.duration_s


def probe(path: str | Path, stream: int | None = None) -> VideoInfo:
    """Open a video, decode its first frame, and describe it.

    Args:
        path: a local file.
        stream: see `choose_stream`.

    Raises:
        VideoError: not a usable video; one line that names the file, the reason and the remedy.
    """
    with naming(path), open_video(path, stream=stream) as opened:
        decoding = Decoding(opened.container, opened.stream, DecodeReport())
        return describe(path, opened, decoding, next(decoding))


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Put the file's name before any error about its content, and keep it on one line."""
    try:
        yield
    except VideoError as error:
        name = shown(path)
        message = str(error)
        raise VideoError(
            message if message.startswith(f"{name}: ") else f"{name}: {message}"
        ) from error
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"{shown(path)}: cannot decode: {error.strerror or error}") from error


def shown(path: str | Path) -> str:
    """Write a path for a message: as it is, or quoted if it would break the line."""
    text = str(path)
    return text if text.isprintable() else repr(text)


class OpenVideo(NamedTuple):
    """An opened file and its video stream."""

    container: av.container.InputContainer
    stream: av.video.stream.VideoStream
    note: str
    """Which stream was taken, if there are several."""


@contextmanager
def open_video(
    path: str | Path,
    stream: int | None = None,
    *,
    hardware: Hardware | None = None,
    for_threads: bool = False,
) -> Iterator[OpenVideo]:
    """Open a file and choose its video stream; the container is closed at the end.

    Nothing but this file is read: no URL, no playlist, no name pattern.

    Args:
        path: a local file.
        stream: see `choose_stream`.
        hardware: the decoder to take instead of FFmpeg's own.
        for_threads: refuse what a decoder with several threads would conceal in its own way.

    Raises:
        VideoError: without the file name, see `naming`.
        Exception: the `hardware` cannot be had for it, for many a reason.
    """
    _check_file(path)
    try:
        container = open_input(
            # With the prefix and an absolute path no name is taken for an option, a URL or a
            # protocol ("-x.mp4", "http:a.mp4", "concat:a|b").
            f"file:{Path(path).absolute()}",
            container_options=_OPEN_OPTIONS,
            codec_options=_CODEC_OPTIONS,
            hardware=hardware,
        )
    except (av.FFmpegError, ValueError) as error:
        if hardware is not None:
            raise  # the file may be sound
        raise VideoError(_why_not(path)) from error
    with container:
        chosen, note = choose_stream(container, stream)
        # One thread: frame threads lose frames when a packet near the end is damaged.
        chosen.thread_type = "NONE"
        chosen.codec_context.thread_count = 1
        chosen.codec_context.options = _CODEC_OPTIONS | (_REFUSE_DAMAGE if for_threads else {})
        yield OpenVideo(container, chosen, note)


def is_cut_anywhere(container: av.container.InputContainer) -> bool:
    """Whether the format is one of broadcasts and bare streams, whose clock may begin and be set
    anywhere: its times are known only to who reads it from the begin."""
    return container.format.name in _CUT_ANYWHERE


def describe(
    path: str | Path, opened: OpenVideo, decoding: Decoding, first: TimedFrame
) -> VideoInfo:
    """Collect the facts about an opened video, given its first frame."""
    container, stream, note = opened
    frame = first.frame
    orientation = Orientation.of(frame)
    aspect = rational(stream.sample_aspect_ratio)
    width, height = display_size(frame.width, frame.height, aspect, orientation)
    clock_start_s = _clock_start_s(container, decoding)
    first_s = clock_start_s if first.time_s is None else first.time_s
    clock_start_s = min(clock_start_s, first_s)  # damaged files say later
    end_s = _header_end_s(container, stream)
    return VideoInfo(
        path=Path(path),
        width=width,
        height=height,
        rotation=orientation.rotation,
        mirrored=orientation.mirrored,
        codec=stream.codec_context.codec.canonical_name,
        pixel_format=pixel_format(frame),
        average_fps=stated_fps(stream),
        duration_s=float(end_s - first_s) if end_s is not None and end_s > first_s else None,
        has_audio=bool(container.streams.audio),
        start_s=float(first_s - clock_start_s),
        clock_start_s=float(clock_start_s),
        stream=stream.index,
        note=note,
        timecode=_timecode(container, stream),
    )


def _timecode(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream
) -> str | None:
    """Return the timecode tag of the video, of a timecode track, or of the whole file."""
    holders = (stream, *container.streams, container)
    return next((found for each in holders if (found := each.metadata.get("timecode"))), None)


def _clock_start_s(container: av.container.InputContainer, decoding: Decoding) -> Fraction:
    """Return the timestamp at which players begin to count.

    Broadcasts and raw streams are cut out of something longer: players count from the first packet
    of any stream. The other containers have a time line of their own, and players count from its 0,
    which may lie before the first picture. A little before it, encoders of sound run in.
    """
    start = container.start_time
    start_s = None if start is None else Fraction(start, av.time_base)
    if not is_cut_anywhere(container):
        return start_s if start_s is not None and start_s < -_RUN_IN_S else Fraction(0)
    if start_s is None:
        start_s = decoding.losses.first_packet_s
    return start_s or Fraction(0)


def _header_end_s(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream
) -> Fraction | None:
    """Return the timestamp at which the picture ends by the header."""
    # The stream's own duration comes first: the sound may outlast the picture.
    if stream.duration:
        return ((stream.start_time or 0) + stream.duration) * tick_s(stream)
    if not container.duration:
        return None
    start = (container.start_time or 0) if is_cut_anywhere(container) else 0
    return Fraction(start + container.duration, av.time_base)


def _check_file(path: str | Path) -> None:
    text = str(path)
    if "\0" in text:
        raise VideoError("not a file name")
    try:
        status = Path(path).stat()
    except FileNotFoundError:
        if "://" in text:
            raise VideoError("URLs are not opened; download the video first") from None
        raise VideoError("no such file") from None
    except OSError as error:
        raise VideoError(f"cannot read: {error.strerror or error}") from error
    if stat.S_ISDIR(status.st_mode):
        raise VideoError("a folder, not a video")
    # A pipe or a device would wait for ever.
    if not stat.S_ISREG(status.st_mode):
        raise VideoError("not a regular file; copy the video to a file first")
    if status.st_size == 0:
        raise VideoError("the file is empty; fetch or copy it again")


def _why_not(path: str | Path) -> str:
    """Guess from the first bytes why a file did not open."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(512)
    except OSError as error:
        return f"cannot read: {error.strerror or error}"
    if head.lstrip().startswith(_PLAYLIST_STARTS):
        return "a playlist or other text that names files; give the video files themselves"
    if head.startswith(_PICTURE_STARTS) or head[8:12] in (b"WEBP", b"WAVE"):
        return "a still picture or a sound, not a video"
    if head[4:8] == b"ftyp":
        return "an MP4/MOV without its index (moov): it was cut off; record or fetch it again"
    if not any(byte < 9 for byte in head):
        return "a text file, not a video"
    return "not a video that FFmpeg can read; convert it to MP4 (H.264)"
