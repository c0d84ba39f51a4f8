"""``hrpro convert``: from the file of one tool to that of another."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from hrpro.errors import DataError, UsageError
from hrpro.extract.probe import VideoInfo, probe
from hrpro.pipeline.results.formats import check_outputs, format_of, read_results, write_results
from hrpro.pipeline.results.interchange.rates import Rates, exact_rate
from hrpro.pipeline.results.model import Results, VideoResult
from hrpro.video_ids import KnownVideos, video_id_of


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
        told = Rates(fps, rates)
        results = replace(
            results,
            videos=tuple(
                replace(video, fps=float(told.of(video.video_id))) for video in results.videos
            ),
        )
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
    """Look at the video files; by absolute paths, which tell two of one name apart."""
    infos: dict[str, VideoInfo] = {}
    for path in videos:
        absolute = os.path.abspath(path)  # noqa: PTH100 (resolve() would follow links)
        if absolute in infos:
            raise UsageError(f"{path}: --video names this video twice")
        infos[absolute] = probe(path)
    return infos


def _with_videos(source: Path, results: Results, infos: dict[str, VideoInfo]) -> Results:
    """Put what the video files tell into the results, by name."""
    if len(results.videos) == 1 == len(infos):
        ((path, info),) = infos.items()
        only = replace(_told(results.videos[0], info), video_id=video_id_of(path))
        return replace(results, videos=(only,))
    matches = KnownVideos(infos).match_all(video.video_id for video in results.videos)
    for match in matches.values():
        if match.problem and match.near is None:
            raise DataError(f"{source}: {match.problem}")
    named = {match.video_id for match in matches.values()}
    if absent := [path for path in infos if path not in named]:
        some = ", ".join(sorted(matches)[:5]) or "no video"
        name = video_id_of(absent[0])
        raise DataError(f"{source}: has nothing about {name!r} (it is about {some})")
    return replace(
        results,
        videos=tuple(
            _told(video, infos[path]) if (path := matches[video.video_id].video_id) else video
            for video in results.videos
        ),
    )


def _told(video: VideoResult, info: VideoInfo) -> VideoResult:
    return replace(
        video,
        path=str(info.path),
        duration_s=info.duration_s or video.duration_s,
        fps=float(info.average_fps) if info.average_fps else video.fps,
    )
