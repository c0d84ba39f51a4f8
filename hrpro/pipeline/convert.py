"""``hrpro convert``: from the file of one tool to that of another."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from hrpro.errors import DataError, HrproError, UsageError
from hrpro.extract.probe import VideoInfo, probe
from hrpro.localize.data.config import read_dataset_config
from hrpro.localize.data.layout import POINT_FILES
from hrpro.pipeline.results.events import EventOptions
from hrpro.pipeline.results.formats import check_outputs, format_of, read_results, write_results
from hrpro.pipeline.results.interchange.notes import lies_outside, reading_lines
from hrpro.pipeline.results.interchange.rates import Rates, exact_rate, rate_of
from hrpro.pipeline.results.interchange.timecode import timecode_seconds
from hrpro.pipeline.results.model import Detection, Results, VideoResult
from hrpro.video_ids import KnownVideos, video_id_of
from hrpro.wording import some


def convert(
    source: str | Path,
    target: str | Path,
    *,
    fps: Fraction | None = None,
    videos: Sequence[str | Path] = (),
    timecode: str | None = None,
    source_format: str | None = None,
    target_format: str | None = None,
    points: bool = False,
    events: EventOptions | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> list[Path]:
    """Read one file and write another; return what was written.

    Args:
        source: the file to read; its suffix tells the format, and for .json and .csv its content.
            A dataset folder is read for its verified events: what people have labelled.
        target: the file to write; its suffix tells the format.
        fps: frames per second of the videos, where neither file nor `videos` tell.
        videos: video files that the marks are about; they tell frame rate, length and place. One
            video for a file about one video needs no name in common, others do.
        timecode: that of the first frame, ``"10:30:00:00"``, where the file counts from
            elsewhere. By default times are taken to count from the first frame, unless they lie
            in the video only by its own timecode.
        source_format: use this format to read, whatever the suffix: ``"eaf"``, ``"points.csv"``.
        target_format: the same for writing.
        points: make the middle of every action a point.
        events: make events of all detections, or take those away that there are. By default what
            is in the file is written, and of a result file with events those, except to .json.
        tell: takes lines on how much was read, what was left out and why, and what looks wrong.

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
    known = Rates(default, rates, timecode)
    results = (
        _read_dataset(source, target)
        if source.is_dir()
        else read_results(source, known, source_format)
    )
    results = _with_videos(source, results, infos)
    if fps is not None:
        told = Rates(fps, rates)
        results = replace(
            results,
            videos=tuple(
                replace(video, fps=float(told.of(video.video_id))) for video in results.videos
            ),
        )
    results, said = _from_first_frame(results, infos, timecode)
    said = [*reading_lines(source, results), *said]
    results = (events or EventOptions()).apply(results)
    if points:
        results = middles(results)
    try:
        written = write_results(results, target, target_format)
    except UsageError as error:
        raise UsageError(f"{target}: {error}") from error
    for line in said:
        tell(line)
    return written


def _read_dataset(folder: Path, target: Path) -> Results:
    # Only here: this knows videos, which files of other tools need not.
    from hrpro.pipeline.label.folder_events import read_verified

    own = (folder / name for name in (*POINT_FILES, *read_dataset_config(folder).ground_truth))
    if target.resolve() in {path.resolve() for path in own}:
        raise UsageError(f"{target}: the dataset itself is labelled by this file; choose another")
    return read_verified(folder)


def middles(results: Results) -> Results:
    """Return results in which every action is the point in its middle."""

    def middle(found: Detection) -> Detection:
        middle_s = (found.start_s + found.end_s) / 2
        return replace(found, start_s=middle_s, end_s=middle_s)

    return replace(results, videos=tuple(video.with_each(middle) for video in results.videos))


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
        about = some(matches, 5) or "no video"
        name = video_id_of(absent[0])
        raise DataError(f"{source}: has nothing about {name!r} (it is about {about})")
    return replace(
        results,
        videos=tuple(
            _told(video, infos[known]) if (known := matches[video.video_id].video_id) else video
            for video in results.videos
        ),
    )


def _told(video: VideoResult, info: VideoInfo) -> VideoResult:
    return replace(
        video,
        path=str(info.path),
        duration_s=info.end_s or video.duration_s,
        start_s=info.start_s,
        fps=float(info.average_fps) if info.average_fps else video.fps,
    )


def _from_first_frame(
    results: Results,
    infos: dict[str, VideoInfo],
    timecode: str | None,
) -> tuple[Results, list[str]]:
    """Take the timecode of the first frame off the times, where the user or the video tells it.

    Returns:
        The results, and a line for each video of which the times were moved.
    """
    said = []
    own = {str(info.path): info.timecode for info in infos.values()}
    videos = []
    for video in results.videos:
        moved = _moved(video, timecode or own.get(video.path or ""), strict=timecode is not None)
        if moved is not None and (timecode or _num_inside(moved) > _num_inside(video)):
            first = timecode or own[video.path or ""]
            said.append(f"note: {video.video_id}: times count from its timecode, {first}")
            video = moved
        videos.append(video)
    return replace(results, videos=tuple(videos)), said


def _num_inside(video: VideoResult) -> int:
    return sum(not lies_outside(video, found) for found in video.detections)


def _moved(video: VideoResult, first: str | None, strict: bool) -> VideoResult | None:
    """Return a video of which the times count from timecode `first` instead of 00:00:00:00."""
    if first is None or not video.detections:
        return None
    try:
        start_s = timecode_seconds(first, rate_of(video))
    except HrproError as error:
        if strict:
            raise UsageError(f"--timecode {first}: {error}") from error
        return None  # the tag of a file that nobody asked for
    return video.with_each(
        lambda found: replace(found, start_s=found.start_s - start_s, end_s=found.end_s - start_s)
    )
