"""Copies of videos that browsers cannot play: H.264, small, quick to seek, at the same times."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hrpro.extract.decode import probe
from hrpro.pipeline.render.h264 import end_of, rewrite_video

LONG_SIDE = 1280
CRF = 23
KEYFRAME_S = 0.5
"""A step back by one frame decodes at most this much."""


def make_proxy(
    video: Path, proxy: Path, progress: Callable[[float], None], stream: int | None = None
) -> float:
    """Write an MP4 that browsers play, with each frame at its time in the clock of the original.

    Args:
        video: the original.
        proxy: the file to write; it appears when it is complete.
        progress: called with the share that is done, 0 to 1; what it raises stops the work.
        stream: which of several video streams; see `hrpro.extract.streams.choose_stream`.

    Returns:
        When the original really ends, in seconds of its clock: headers lie.

    Raises:
        VideoError: the original cannot be decoded.
        HrproError: the copy cannot be written.
    """
    info = probe(video, stream)
    duration_s = end_of(info)
    short_side, long_side = sorted((info.width, info.height))
    if long_side > LONG_SIDE:
        short_side = short_side * LONG_SIDE // long_side
    report = rewrite_video(
        info,
        proxy,
        short_side=max(short_side, 2),
        crf=CRF,
        keyframe_s=KEYFRAME_S,
        progress=lambda done_s: progress(min(done_s / duration_s, 1.0) if duration_s else 0.0),
    )
    return info.start_s + report.duration_s
