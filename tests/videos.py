"""Tiny videos made on the fly, sound and broken, for the tests of the reader and all above it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

Painter = Callable[[int], np.ndarray]  # frame number -> uint8 RGB [H, W, 3]
Voice = Callable[[np.ndarray], np.ndarray]  # times in seconds -> sound, -1 to 1, of each

# Nearly lossless, so that a frame's number can be read from its grey level.
_OPTIONS = {
    "libx264": {"qp": "4", "preset": "ultrafast"},
    "libx265": {
        "x265-params": "log-level=none:qp=4:pools=1:frame-threads=1",
        "preset": "ultrafast",
    },
    "libvpx-vp9": {"crf": "4", "b:v": "0", "deadline": "realtime", "cpu-used": "8"},
    "mpeg4": {"qmin": "1", "qmax": "2"},
    "mpeg2video": {"qmin": "1", "qmax": "2"},
    "mjpeg": {"qmin": "1", "qmax": "2"},
}


def numbered(width: int = 64, height: int = 48) -> Painter:
    """Paint uniform pictures whose grey level tells the frame number (modulo 56)."""
    return lambda number: np.full((height, width, 3), 16 + 4 * (number % 56), np.uint8)


def number_of(picture: np.ndarray) -> int:
    """Read the frame number back from a picture of `numbered`."""
    return round((float(picture.mean()) - 16) / 4)


def corners(width: int = 64, height: int = 48) -> Painter:
    """Paint red, green, blue and white quarters: top left, top right, bottom left, bottom right."""
    picture = np.zeros((height, width, 3), np.uint8)
    top, left = height // 2, width // 2
    picture[:top, :left] = (255, 0, 0)
    picture[:top, left:] = (0, 255, 0)
    picture[top:, :left] = (0, 0, 255)
    picture[top:, left:] = (255, 255, 255)
    return lambda number: picture


def noise(width: int = 64, height: int = 48) -> Painter:
    """Paint pictures that compress badly, so that every packet has bytes to damage."""
    return lambda number: np.random.default_rng(number).integers(
        0, 256, (height, width, 3), dtype=np.uint8
    )


def make_video(
    path: Path,
    frames: int = 10,
    fps: Fraction | int = 25,
    *,
    painter: Painter | None = None,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    container: str | None = None,
    container_options: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
    b_frames: int = 0,
    gop: int | None = None,
    times: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    rotation: int = 0,
    hflip: bool = False,
    vflip: bool = False,
    pixel_aspect: Fraction | None = None,
    colorspace: int | None = None,
    color_range: int | None = None,
    audio_s: float = 0.0,
    voice: Voice | None = None,
    cover_art: bool = False,
    second_video: Painter | None = None,
) -> Path:
    """Write a video.

    Args:
        path: the suffix chooses the container unless `container` does.
        frames: how many; 0 gives a file with the other streams only.
        fps: nominal rate.
        painter: pictures by number; `numbered()` by default.
        codec: encoder.
        pix_fmt: stored pixel format.
        container: format name for names without a telling suffix.
        container_options: e.g. `{"movflags": "faststart"}`.
        options: added to the encoder's.
        b_frames: B-frames in a row.
        gop: frames from one key frame to the next.
        times: presentation times in ticks of `time_base`; one frame after the other by default.
        time_base: seconds per tick; 1 / fps by default.
        rotation: display rotation in degrees counterclockwise.
        hflip: mirror left to right after the rotation.
        vflip: mirror top to bottom after the rotation.
        pixel_aspect: width of a pixel by its height.
        colorspace: FFmpeg's AVColorSpace (1 BT.709, 5 BT.601); declared and used.
        color_range: FFmpeg's AVColorRange (1 limited, 2 full); declared and used.
        audio_s: seconds of sound.
        voice: the sound; silence by default.
        cover_art: add an attached picture, as music files have.
        second_video: pictures of a second video stream, which is marked as the default one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    painter = painter or numbered()
    time_base = time_base or Fraction(1) / Fraction(fps)
    if "gray" in pix_fmt and color_range is None:
        color_range = 2  # swscale makes grey of full range, whatever one asks for
    with av.open(str(path), "w", format=container, options=container_options or {}) as file:
        art = _add_cover_art(file) if cover_art else None
        streams = []
        for paint in [painter] * bool(frames) + [second_video] * bool(second_video):
            height, width = paint(0).shape[:2]
            stream = file.add_stream(
                codec, rate=Fraction(fps), options={**_OPTIONS.get(codec, {}), **(options or {})}
            )
            stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
            context = stream.codec_context
            context.time_base = time_base
            context.thread_count = 1
            if codec not in ("ffv1", "gif", "apng", "rawvideo", "png", "mjpeg", "prores_ks"):
                context.max_b_frames = b_frames
            if gop:
                context.gop_size = gop
            if pixel_aspect:
                context.sample_aspect_ratio = pixel_aspect
            if colorspace is not None:
                context.colorspace = colorspace
            if color_range is not None:
                context.color_range = color_range
            if rotation or hflip or vflip:
                stream.set_display_rotation(rotation, hflip, vflip)
            streams.append((stream, paint))
        if second_video:
            streams[0][0].disposition = av.stream.Disposition(0)
            streams[1][0].disposition = av.stream.Disposition.default
        sound = file.add_stream("aac", rate=16000) if audio_s else None
        if art:
            file.mux(_cover_art_packet(art))
        for stream, paint in streams:
            for number in range(frames or 10):
                frame = _frame(paint(number), pix_fmt, colorspace, color_range)
                frame.pts = times[number] if times else number
                frame.time_base = time_base
                file.mux(stream.encode(frame))
            file.mux(stream.encode())
        if sound:
            _write_sound(file, sound, audio_s, voice)
    return path


def _frame(
    picture: np.ndarray, pix_fmt: str, colorspace: int | None, color_range: int | None
) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
    # FFmpeg numbers full range 2 and BT.709 1 in both of its enumerations.
    frame = frame.reformat(format=pix_fmt, dst_colorspace=colorspace, dst_color_range=color_range)
    if colorspace is not None:
        frame.colorspace = colorspace
    if color_range is not None:
        frame.color_range = color_range
    return frame


def _add_cover_art(file: av.container.OutputContainer) -> av.video.stream.VideoStream:
    art = file.add_stream("mjpeg", rate=25)
    art.width, art.height, art.pix_fmt = 32, 32, "yuvj420p"
    art.disposition = av.stream.Disposition.attached_pic
    return art


def _cover_art_packet(art: av.video.stream.VideoStream) -> list[av.Packet]:
    frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 200, np.uint8)).reformat(
        format="yuvj420p"
    )
    frame.pts = 0
    return art.encode(frame) + art.encode()


def _write_sound(
    file: av.container.OutputContainer,
    sound: av.audio.stream.AudioStream,
    seconds: float,
    voice: Voice | None,
) -> None:
    for start in range(0, int(seconds * 16000), 1024):
        times_s = np.arange(start, start + 1024) / 16000
        samples = np.zeros(1024) if voice is None else voice(times_s)
        frame = av.AudioFrame.from_ndarray(
            samples[None].astype(np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate = 16000
        frame.pts = start
        file.mux(sound.encode(frame))
    file.mux(sound.encode())


def make_sound(path: Path, *, cover_art: bool = False) -> Path:
    """Write a file with sound but without video."""
    return make_video(path, frames=0, audio_s=0.5, cover_art=cover_art)


def packet_spans(path: Path) -> list[tuple[int, int]]:
    """Return position and size in bytes of every video packet of an MP4."""
    with av.open(str(path)) as file:
        return [(p.pos, p.size) for p in file.demux(video=0) if p.size]


def damage_packets(path: Path, numbers: Sequence[int]) -> Path:
    """Overwrite whole packets of an MP4 with random bytes."""
    data = bytearray(path.read_bytes())
    spans = packet_spans(path)
    generator = random.Random(0)
    for number in numbers:
        position, size = spans[number]
        # Not the length field in front: what follows then has no valid unit at all.
        data[position : position + size] = b"\xff\xff\xff\xff" + generator.randbytes(size - 4)
    path.write_bytes(data)
    return path


def truncate(path: Path, share: float) -> Path:
    """Keep only the first part of a file."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def with_timecode(source: Path, target: Path, timecode: str) -> Path:
    """Copy a video without encoding it again, with the timecode of its first frame."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = old.streams.video[0]
        copy = new.add_stream_from_template(stream)
        copy.metadata["timecode"] = timecode
        for packet in old.demux(stream):
            if packet.dts is not None:
                packet.stream = copy
                new.mux(packet)
    return target
