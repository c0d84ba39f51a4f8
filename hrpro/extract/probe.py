"""Open a video file safely, check it, and say what it is."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av

from hrpro.errors import VideoError
from hrpro.extract.frames import DecodeReport, decode_frames, presentation_time_s
from hrpro.extract.geometry import MAX_PIXELS, Orientation, display_size
from hrpro.extract.pyav import open_input, rational

# Demuxers that read the one file they are given. Playlists (hls, dash, concat, sdp, rtsp, image
# sequences, lavfi, ...) are not among them: these would fetch what a hostile file names.
_FORMATS = (
    "mov,mp4,matroska,webm,avi,asf,flv,live_flv,mpegts,mpeg,mpegvideo,ogg,gif,apng,mxf,nut,ivf,"
    "h261,h263,h264,hevc,vvc,av1,obu,vc1,m4v,mjpeg,mpjpeg,dv,rm,gxf,nsv,wtv,dhav,yuv4mpegpipe,"
    "cavsvideo,dirac,smjpeg,swf,amv,rpl,webp_anim"
)
_OPEN_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": _FORMATS}
_CODEC_OPTIONS = {"max_pixels": str(MAX_PIXELS)}
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
    duration_s: float | None  # by the header
    has_audio: bool
    start_s: float  # presentation time of the first displayed frame in the file's own clock
    mirrored: bool = False
    timecode: str | None = None  # of the first frame, as cameras and editors number it


def probe(path: str | Path) -> VideoInfo:
    """Open a video, decode its first frame, and describe it.

    Raises:
        VideoError: not a usable video; one line that names the file, the reason and the remedy.
    """
    with naming(path), open_video(path) as (container, stream):
        frames = decode_frames(container, stream, DecodeReport())
        return describe(path, container, stream, next(frames))


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


@contextmanager
def open_video(
    path: str | Path, threads: int = 1
) -> Iterator[tuple[av.container.InputContainer, av.video.stream.VideoStream]]:
    """Open a file and choose its video stream; the container is closed at the end.

    Nothing but this file is read: no URL, no playlist, no name pattern. Cover art is not a video.

    Raises:
        VideoError: without the file name, see `naming`.
    """
    _check_file(path)
    try:
        container = open_input(
            # With the prefix and an absolute path no name is taken for an option, a URL or a
            # protocol ("-x.mp4", "http:a.mp4", "concat:a|b").
            f"file:{Path(path).absolute()}",
            container_options=_OPEN_OPTIONS,
            codec_options=_CODEC_OPTIONS,
        )
    except (av.FFmpegError, ValueError) as error:
        raise VideoError(_why_not(path)) from error
    with container:
        stream = _choose_stream(container)
        # One thread by default: frame threads lose frames when a packet near the end is damaged.
        stream.thread_type = "NONE" if threads == 1 else "AUTO"
        stream.codec_context.thread_count = threads
        stream.codec_context.options = _CODEC_OPTIONS
        yield container, stream


def describe(
    path: str | Path,
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
    first: av.VideoFrame,
) -> VideoInfo:
    """Collect the facts about an opened video, given its first frame."""
    orientation = Orientation.of(first)
    width, height = display_size(
        first.width, first.height, rational(stream.sample_aspect_ratio), orientation
    )
    return VideoInfo(
        path=Path(path),
        width=width,
        height=height,
        rotation=orientation.rotation,
        mirrored=orientation.mirrored,
        codec=stream.codec_context.codec.canonical_name,
        pixel_format=first.format.name,
        average_fps=rational(stream.average_rate) or rational(stream.guessed_rate),
        duration_s=_header_duration(container, stream),
        has_audio=bool(container.streams.audio),
        start_s=float(presentation_time_s(first, stream) or 0),
        timecode=_timecode(container, stream),
    )


def _timecode(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream
) -> str | None:
    """Return the timecode tag of the video, of a timecode track, or of the whole file."""
    holders = (stream, *container.streams, container)
    return next((found for each in holders if (found := each.metadata.get("timecode"))), None)


def _header_duration(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream
) -> float | None:
    # The stream's own comes first: the sound may outlast the picture.
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else None


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


def _choose_stream(
    container: av.container.InputContainer,
) -> av.video.stream.VideoStream:
    """Choose the default video stream, else the first; cover art does not count."""
    disposition = av.stream.Disposition
    videos = [
        stream
        for stream in container.streams.video
        if not stream.disposition & disposition.attached_pic
    ]
    if not videos:
        what = "cover art only" if container.streams.video else "sound only"
        raise VideoError(f"no video stream ({what})" if container.streams else "no video stream")
    stream = next((s for s in videos if s.disposition & disposition.default), videos[0])
    if stream.codec_context is None:
        raise VideoError("this FFmpeg has no decoder for its codec; convert it to MP4 (H.264)")
    return stream
