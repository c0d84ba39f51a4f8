"""What a video is, and whether browsers play the file as it is, at the times that we count."""

from __future__ import annotations

from pathlib import Path

import av
from pydantic import BaseModel, ConfigDict

from hrpro.errors import VideoError
from hrpro.extract.decode import VideoInfo, probe
from hrpro.extract.probe import naming, open_video
from hrpro.pipeline.render.h264 import end_of

MP4_SUFFIXES = {".mp4", ".m4v", ".mov"}
_VIDEO_CODECS = {"mp4": {"h264"}, "webm": {"vp8", "vp9", "av1"}}
_AUDIO_CODECS = {"mp4": {"aac", "mp3"}, "webm": {"opus", "vorbis"}}
# Full range is marked in the stream, and browsers heed that.
_PIXEL_FORMATS = {"yuv420p", "yuvj420p"}
# Players do not agree on what they show before the first picture.
_LATE_PICTURE_S = 0.0005
_MANY_PACKETS = 64
_SHARE_OF_FRAME = 0.1


class MediaFacts(BaseModel):
    """What is known of a video file; kept on disk, since it takes a moment to find out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size_bytes: int
    mtime_ns: int
    stream: int | None = None
    """Index of the video stream that was asked for."""
    duration_s: float | None = None
    fps: float | None = None
    width: int | None = None
    height: int | None = None
    obstacle: str | None = None
    """Why browsers need a copy; None if they play the file itself."""
    error: str | None = None
    """Why the video cannot be used at all, in one line."""

    def fits(self, path: Path, stream: int | None) -> bool:
        """Whether this is still the file, and the stream of it, that was looked at."""
        return (*stamp(path), stream) == (self.size_bytes, self.mtime_ns, self.stream)


def stamp(path: Path) -> tuple[int, int]:
    """Return size in bytes and time of the last change; zeros for a file that is gone."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def look_at(path: Path, stream: int | None = None) -> MediaFacts:
    """Open a video and find out how browsers get to see it; errors become part of the answer.

    Args:
        path: the file.
        stream: which of several video streams; see `hrpro.extract.streams.choose_stream`.
    """
    size_bytes, mtime_ns = stamp(path)
    try:
        info = probe(path, stream)
        duration_s = end_of(info)
        obstacle = _obstacle(path, info)
    except VideoError as error:
        reason = str(error).removeprefix(f"{path}: ")
        return MediaFacts(size_bytes=size_bytes, mtime_ns=mtime_ns, stream=stream, error=reason)
    return MediaFacts(
        size_bytes=size_bytes,
        mtime_ns=mtime_ns,
        stream=stream,
        duration_s=round(duration_s, 6),
        fps=float(info.average_fps) if info.average_fps else None,
        width=info.width,
        height=info.height,
        obstacle=obstacle,
    )


def frame_times(path: Path, fps: float | None) -> list[float] | None:
    """Return when each frame of a playable video is shown, on the clock of players.

    Args:
        path: the file that browsers play.
        fps: its rate, if it is a constant one.

    Returns:
        Seconds, in order; None if every frame is where the rate says, to a tenth of a frame.

    Raises:
        VideoError: the file cannot be read.
    """
    with naming(path), open_video(path) as (container, stream, _):
        times = sorted(
            float(packet.pts * packet.time_base)
            for packet in container.demux(stream)
            if packet.pts is not None and packet.time_base is not None and not packet.is_discard
        )
    if fps and all(abs(time_s * fps - k) < _SHARE_OF_FRAME for k, time_s in enumerate(times)):
        return None
    return [round(time_s, 6) for time_s in times]


def _obstacle(path: Path, info: VideoInfo) -> str | None:
    """Return what keeps browsers from playing a file as we see it, or None."""
    suffix = path.suffix.lower()
    kind = "mp4" if suffix in MP4_SUFFIXES else suffix.removeprefix(".")
    with naming(path), open_video(path, info.stream) as (container, stream, _):
        demuxer = container.format.name
        if kind not in _VIDEO_CODECS or kind not in demuxer:
            return f"browsers do not open {demuxer} files"
        if info.codec not in _VIDEO_CODECS[kind]:
            return f"browsers do not decode {info.codec} everywhere"
        if info.pixel_format not in _PIXEL_FORMATS:
            return f"browsers do not decode {info.pixel_format} everywhere"
        if len(container.streams.video) > 1:  # browsers choose one of them by other rules
            return "it has several pictures"
        for audio in container.streams.audio:
            codec = audio.codec_context and audio.codec_context.codec.canonical_name
            if codec not in _AUDIO_CODECS[kind]:
                return f"browsers do not decode {codec or 'unknown'} sound everywhere"
        # Browsers flip nothing, and square pixels are not all of theirs.
        if info.mirrored:
            return "it is stored mirrored"
        if info.start_s > _LATE_PICTURE_S or info.clock_start_s:
            return "its clock does not start at 0 with the first picture"
        if _hides_frames(container, stream):
            return "its first frames are to be hidden (edit list)"
    return None


def _hides_frames(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream
) -> bool:
    """Whether frames at the begin are decoded but not shown; players do not agree on those."""
    for index, packet in enumerate(container.demux(stream)):
        if packet.is_discard:
            return True
        if index == _MANY_PACKETS or (packet.is_keyframe and index):
            return False
    return False
