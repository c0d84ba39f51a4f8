"""The preview video: every frame of the original at its own time, with the detections on top."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from hrpro.extract.decode import DecodeReport, probe
from hrpro.files import check_kind
from hrpro.pipeline.render.h264 import Paint, end_of, rewrite_video
from hrpro.pipeline.render.overlay import Overlay, Span
from hrpro.pipeline.results.formats import check_outputs
from hrpro.pipeline.results.model import Detection

PREVIEW_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv")
MIN_SHORT_SIDE = 160  # smaller videos are enlarged: no text could be read on them


def render_preview(
    video_path: str | Path,
    detections: Iterable[Detection],
    out_path: str | Path,
    ground_truth: Iterable[Span] | None = None,
    colors: Mapping[str, str] | None = None,
    max_height: int | None = None,
    progress: Callable[[float, float], None] | None = None,
    stream: int | None = None,
) -> DecodeReport:
    """Write the video again with its detections drawn on it.

    Top left a bar with label and score for each class, at the bottom a timeline with a playhead,
    and the ground truth beside it if given. H.264 (yuv420p) that browsers and phones play, upright
    with square pixels; every frame keeps its time in the video file's
    own clock; sound is kept. A short side below 160 pixels is
    enlarged to 160. Memory does not grow with the length of the video.

    Args:
        video_path: the video the detections belong to.
        detections: what was found in it; all of them are shown, so filter them before.
        out_path: the preview: .mp4 (or .m4v, .mov, .mkv). It appears when it is complete.
        ground_truth: the true actions of the video (anything with `label`, `start_s`, `end_s`).
        colors: ``#rrggbb`` by class; by default as `class_colors` chooses for these.
        max_height: scale the preview down to at most this many lines.
        progress: called with the time that is written and the duration, both in seconds.
        stream: which of several video streams; see `hrpro.extract.streams.choose_stream`.

    Returns:
        What decoding met: damage that was skipped, an early end.

    Raises:
        UsageError: `out_path` has another suffix, or is the video itself.
        VideoError: the video cannot be decoded.
        HrproError: the preview cannot be written.
    """
    video_path, out_path = Path(video_path), Path(out_path)
    check_preview_path(out_path)
    check_outputs([], [out_path], inputs=[video_path])
    info = probe(video_path, stream)
    duration_s = end_of(info)

    def painter(width: int, height: int) -> Paint:
        truth = None if ground_truth is None else list(ground_truth)
        return Overlay(width, height, duration_s, list(detections), truth, colors).draw

    return rewrite_video(
        info,
        out_path,
        short_side=_short_side(info.width, info.height, max_height),
        painter=painter,
        progress=progress and (lambda done_s: progress(done_s, max(done_s, duration_s))),
    )


def check_preview_path(path: str | Path) -> None:
    """Refuse a preview name of an unknown kind, before hours of work are spent.

    Raises:
        UsageError: the suffix is none of a video that browsers know.
    """
    check_kind(path, PREVIEW_SUFFIXES, "a preview")


def _short_side(width: int, height: int, max_height: int | None) -> int:
    """Return the short side of the preview, in pixels."""
    short_side = max(min(width, height), MIN_SHORT_SIDE)
    if max_height is None:
        return short_side
    return max(2, min(short_side, max_height * min(width, height) // height))
