"""One folder with every kind of video that must not break a batch, good and bad mixed.

`GOOD` gives videos with the number of snippets that must come out of them, `BAD` gives files with
what the one line about them must say. Names are part of the test: quotes, dashes, unicode, and the
same stem in two folders.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
from videos import (
    damage_packets,
    make_sound,
    make_video,
    noise,
    numbered,
    truncate,
)

Maker = Callable[[Path], object]


class Good(NamedTuple):
    """A video that must give features."""

    make: Maker
    num_snippets: int
    warning: str = ""
    """What the summary must say about it; nothing by default."""
    padded: bool = False
    truncated: bool = False


def video(frames: int = 40, fps: Fraction | int = 25, **options) -> Maker:
    return lambda path: make_video(path, frames, fps, **options)


def lying_header(path: Path) -> None:
    make_video(path, 40, codec="mpeg4")
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.index(b"avih") + 8 + 16, 9999)
    struct.pack_into("<I", data, data.index(b"strh") + 8 + 32, 9999)
    path.write_bytes(data)


def changed_resolution(path: Path) -> None:
    small = make_video(path.with_suffix(".small"), 20, container="h264")
    large = make_video(path.with_suffix(".large"), 20, painter=numbered(128, 64), container="h264")
    path.write_bytes(small.read_bytes() + large.read_bytes())
    small.unlink()
    large.unlink()


def still_picture(path: Path) -> None:
    make_video(path, 1, codec="png", pix_fmt="rgb24", container="image2pipe")


def forged_size(path: Path) -> None:
    make_video(path, 3, codec="rawvideo", pix_fmt="uyvy422")
    data = bytearray(path.read_bytes())
    struct.pack_into("<II", data, data.index(b"strf") + 12, 65_535, 65_535)
    path.write_bytes(data)


def text(content: str) -> Maker:
    return lambda path: path.write_text(content, encoding="utf-8")


DISABLED = {"avoid_negative_ts": "disabled"}
VARIABLE = [0, 1, 2, 27, 28, *range(30, 60, 2)]
"""Presentation times in ticks of 1/25 s: fast, a gap of a second, slow; ends at 2.36 s or so."""

GOOD: dict[str, Good] = {
    "plain.mp4": Good(video(), 2),
    # streams
    "streams/music video with a cover.mp4": Good(video(cover_art=True, audio_s=0.5), 2),
    "streams/two cameras.mkv": Good(
        video(second_video=numbered(32, 32)), 2, warning="2 video streams: took"
    ),
    "streams/long sound.mp4": Good(video(audio_s=4), 2),
    # damage that can be lived with
    "damaged/packets in the middle.mp4": Good(
        lambda path: damage_packets(make_video(path, 40, gop=1), [7, 8, 20]),
        2,
        "3 damaged packets skipped",
    ),
    "damaged/cut off.mkv": Good(
        lambda path: truncate(make_video(path, 200, gop=10, painter=noise()), 0.5),
        6,
        "decoded",
        truncated=True,
    ),
    "damaged/ten in a row.mp4": Good(
        lambda path: damage_packets(make_video(path, 60, gop=1), range(40, 50)),
        3,
        "0.40 s of the picture lost (1.60-2.00 s); 10 damaged packets skipped",
    ),
    "damaged/lying header.avi": Good(lying_header, 2, "of 399.96 s", truncated=True),
    "damaged/no index.h264": Good(
        video(container="h264"), 2, "40 frames without a presentation time"
    ),
    # time
    "time/variable rate.mkv": Good(video(len(VARIABLE), times=VARIABLE), 3),
    "time/starts before zero.mkv": Good(
        video(times=[k - 20 for k in range(40)], container_options=DISABLED),
        2,
        "20 frames without a presentation time",  # Matroska's demuxer drops negative ones
    ),
    "time/starts late.ts": Good(video(times=[k + 250 for k in range(40)]), 2),
    "time/B-frames to the end.mp4": Good(video(37, b_frames=3), 2),
    "time/B-frames.avi": Good(video(codec="mpeg4", b_frames=2), 2),
    "time/1 fps.mp4": Good(video(3, 1), 4),
    "time/23.976.mp4": Good(video(40, Fraction(24000, 1001)), 2),
    "time/29.97.mp4": Good(video(60, Fraction(30000, 1001)), 3),
    "time/120.mp4": Good(video(160, 120), 2),
    "time/240.mp4": Good(video(320, 240), 2),
    "time/nine frames.mp4": Good(video(9), 1, padded=True),
    "time/one frame.mp4": Good(video(1), 1, padded=True),
    "time/one frame without a length.gif": Good(
        video(1, codec="gif", pix_fmt="gray"), 1, padded=True
    ),
    # pictures
    "picture/on its side.mp4": Good(video(rotation=90), 2),
    "picture/upside down.mp4": Good(video(rotation=180), 2),
    "picture/wide pixels.mp4": Good(video(pixel_aspect=Fraction(16, 11)), 2),
    "picture/odd.mkv": Good(video(painter=numbered(33, 17), codec="ffv1", pix_fmt="bgr0"), 2),
    "picture/tiny.mkv": Good(video(painter=numbered(2, 2), codec="ffv1", pix_fmt="bgr0"), 2),
    "picture/changes size.h264": Good(
        changed_resolution, 2, "40 frames without a presentation time"
    ),
    "picture/10 bit.mp4": Good(video(codec="libx265", pix_fmt="yuv420p10le"), 2),
    "picture/4-2-2.mp4": Good(video(pix_fmt="yuv422p"), 2),
    "picture/4-4-4.mp4": Good(video(pix_fmt="yuv444p"), 2),
    "picture/grey.mkv": Good(video(codec="ffv1", pix_fmt="gray"), 2),
    "picture/grey 10 bit.mkv": Good(video(codec="ffv1", pix_fmt="gray10le"), 2),
    "picture/alpha.mkv": Good(video(codec="ffv1", pix_fmt="yuva420p"), 2),
    "picture/alpha.webm": Good(video(codec="libvpx-vp9", pix_fmt="yuva420p"), 2),
    "picture/full range.mp4": Good(video(colorspace=1, color_range=2), 2),
    "picture/BT.601.mp4": Good(video(colorspace=5, color_range=1), 2),
    # names
    "names/-v.mp4": Good(video(), 2),
    'names/it\'s a "test" $(touch x);`id`.mp4': Good(video(), 2),
    "names/ünïcödé 滑雪 🎿.mp4": Good(video(), 2),
    "names/[x]*?%03d.mp4": Good(video(), 2),
    "names/same stem.mp4": Good(video(), 2),
    "names/below/same stem.mp4": Good(video(24), 1),
    "names/same stem.avi": Good(video(56, codec="mpeg4"), 3),
}

BAD: dict[str, tuple[Maker, str]] = {
    "bad/empty.mp4": (lambda path: path.touch(), "empty"),
    "bad/notes.mp4": (text("These are only notes.\n" * 50), "text file"),
    "bad/noise.mp4": (
        lambda path: path.write_bytes(np.random.default_rng(0).bytes(50_000)),
        "not a video",
    ),
    "bad/picture.mp4": (still_picture, "still picture"),
    "bad/sound.mp4": (lambda path: make_sound(path), "no video stream (sound only)"),
    "bad/music with a cover.mp4": (lambda path: make_sound(path, cover_art=True), "cover art"),
    "bad/no moov.mp4": (lambda path: truncate(make_video(path, 30), 0.5), "index (moov)"),
    "bad/all packets damaged.mp4": (
        lambda path: damage_packets(make_video(path, 12, gop=1), range(12)),
        "no frame can be decoded",
    ),
    "bad/forged size.avi": (forged_size, "67 megapixels"),
    "bad/line.mkv": (
        video(2, painter=numbered(800, 2), codec="ffv1", pix_fmt="gray"),
        "too elongated",
    ),
    "bad/pipe.mp4": (lambda path: os.mkfifo(path), "not a regular file"),
    "bad/gone.mp4": (lambda path: path.symlink_to("nowhere.mp4"), "no such file"),
    "bad/playlist.mp4": (
        text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n../plain.mp4\n#EXT-X-ENDLIST\n"),
        "playlist",
    ),
    "bad/concat.mkv": (text("ffconcat version 1.0\nfile '../plain.mp4'\n"), "playlist"),
    "bad/link to the network.mp4": (
        text("[InternetShortcut]\nURL=http://127.0.0.1:9/a.mp4\n"),
        "playlist",
    ),
    "bad/session.mpg": (
        text("v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nm=video 5004 RTP/AVP 96\n"),
        "playlist",
    ),
}


def make_hostile_folder(folder: Path) -> Path:
    """Make all of `GOOD` and `BAD` below `folder`."""
    for name, good in GOOD.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        good.make(_plain(path))
        _plain(path).rename(path)
    for name, (make, _) in BAD.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        make(path)
    return folder


def _plain(path: Path) -> Path:
    # The names are for the reader; FFmpeg's muxers would take '%03d' for a pattern.
    return path.with_name("being made" + path.suffix)
