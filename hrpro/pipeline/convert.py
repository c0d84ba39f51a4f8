"""``hrpro convert``: from the file of one tool to that of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from hrpro.errors import DataError, UsageError
from hrpro.extract.probe import VideoInfo, probe
from hrpro.pipeline.results.formats import check_outputs, format_of, read_results, write_results
from hrpro.pipeline.results.interchange.rates import Rates, exact_rate
from hrpro.pipeline.results.model import Results, VideoResult


def convert(
    source: str | Path,
    target: str | Path,
    *,
    fps: Fraction | None = None,
    videos: Sequence[str | Path] = (),
    source_format: str | None = None,
    target_format: str | None = None,
    points: bool = False,
) -> list[Path]:
    """Read one file and write another; return what was written.

    Args:
        source: the file to read; its suffix tells the format, and for .json and .csv its content.
        target: the file to write; its suffix tells the format.
        fps: frames per second of the videos, where neither file nor `videos` tell.
        videos: video files that the marks are about; they tell frame rate, length and place. One
            video for a file about one video needs no name in common, others do.
        source_format: use this format to read, whatever the suffix: ``"eaf"``, ``"points.csv"``.
        target_format: the same for writing.
        points: make the middle of every action a point.

    Raises:
        UsageError: unknown format, missing frame rate, a video that is not in the file.
        DataError: the file cannot be read; names file and line or element.
        VideoError: a video cannot be opened.
    """
    source, target = Path(source), Path(target)
    format_of(target, target_format)
    check_outputs((), [target], [source])
    infos = _probe(videos)
    rates = {name: exact_rate(info.average_fps) for name, info in infos.items() if info.average_fps}
    default = fps
    if default is None and len(rates) == 1 == len(infos):
        (default,) = rates.values()
    results = read_results(source, Rates(default, rates), source_format)
    results = _with_videos(source, results, infos)
    if fps is not None:
        told = tuple(
            replace(video, fps=float(rates.get(video.video_id, fps))) for video in results.videos
        )
        results = replace(results, videos=told)
    if points:
        results = middles(results)
    try:
        return write_results(results, target, target_format)
    except UsageError as error:
        raise UsageError(f"{target}: {error}") from error


def middles(results: Results) -> Results:
    """Return results in which every action is the point in its middle."""
    return replace(
        results,
        videos=tuple(
            replace(
                video,
                detections=tuple(
                    replace(found, start_s=middle_s, end_s=middle_s)
                    for found in video.detections
                    for middle_s in [(found.start_s + found.end_s) / 2]
                ),
            )
            for video in results.videos
        ),
    )


def _probe(videos: Sequence[str | Path]) -> dict[str, VideoInfo]:
    infos: dict[str, VideoInfo] = {}
    for path in map(Path, videos):
        if path.stem in infos:
            raise UsageError(f"{path}: --video names two videos {path.stem!r}")
        infos[path.stem] = probe(path)
    return infos


def _with_videos(source: Path, results: Results, infos: dict[str, VideoInfo]) -> Results:
    """Put what the video files tell into the results, by name."""
    found = results.videos
    if len(found) == 1 == len(infos):
        found = (replace(found[0], video_id=next(iter(infos))),)
    known = {video.video_id for video in found}
    if absent := sorted(infos.keys() - known):
        some = ", ".join(sorted(known)[:5]) or "no video"
        raise DataError(f"{source}: has nothing about {absent[0]!r} (it is about {some})")
    return replace(results, videos=tuple(_told(video, infos) for video in found))


def _told(video: VideoResult, infos: dict[str, VideoInfo]) -> VideoResult:
    info = infos.get(video.video_id)
    if info is None:
        return video
    return replace(
        video,
        path=str(info.path),
        duration_s=info.end_s or video.duration_s,
        start_s=info.start_s,
        fps=float(info.average_fps) if info.average_fps else video.fps,
    )
