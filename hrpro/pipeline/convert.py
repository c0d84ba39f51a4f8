"""``hrpro convert``: from the file of one tool to that of another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from hrpro.errors import DataError, UsageError
from hrpro.extract.probe import VideoInfo, probe
from hrpro.pipeline.results.formats import check_outputs, format_of, read_results, write_results
from hrpro.pipeline.results.interchange.notes import lies_outside, reading_lines
from hrpro.pipeline.results.interchange.rates import Rates, exact_rate, rate_of
from hrpro.pipeline.results.interchange.timecode import timecode_seconds
from hrpro.pipeline.results.model import Results, VideoResult
from hrpro.video_ids import KnownVideos, video_id_of


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
    tell: Callable[[str], None] = lambda line: None,
) -> list[Path]:
    """Read one file and write another; return what was written.

    Args:
        source: the file to read; its suffix tells the format, and for .json and .csv its content.
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
    results = read_results(source, known, source_format)
    results = _with_videos(source, results, infos)
    if fps is not None:
        told = tuple(
            replace(video, fps=float(known.of(video.video_id))) for video in results.videos
        )
        results = replace(results, videos=told)
    results = _from_first_frame(results, infos, timecode, tell)
    for line in reading_lines(source, results):
        tell(line)
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
    """Look into video files; by path, since two may have one name."""
    infos: dict[str, VideoInfo] = {}
    for path in map(Path, videos):
        if path.as_posix() in infos:
            raise UsageError(f"{path}: --video names it twice")
        infos[path.as_posix()] = probe(path)
    return infos


def _with_videos(source: Path, results: Results, infos: dict[str, VideoInfo]) -> Results:
    """Put what the video files tell into the results, by name."""
    found = results.videos
    if len(found) == 1 == len(infos):
        (info,) = infos.values()
        video = replace(found[0], video_id=video_id_of(info.path.name))
        return replace(results, videos=(_told(video, info),))
    known = {video.video_id: video for video in found}
    for name, match in KnownVideos(known).match_all(infos).items():
        if match.video_id is None:
            some = ", ".join(sorted(known)[:5]) or "no video"
            problem = match.problem or f"has nothing about {video_id_of(Path(name).name)!r}"
            raise DataError(f"{source}: {problem} (it is about {some})")
        known[match.video_id] = _told(known[match.video_id], infos[name])
    return replace(results, videos=tuple(known.values()))


def _told(video: VideoResult, info: VideoInfo) -> VideoResult:
    return replace(
        video,
        path=str(info.path),
        duration_s=info.duration_s or video.duration_s,
        fps=float(info.average_fps) if info.average_fps else video.fps,
    )


def _from_first_frame(
    results: Results,
    infos: dict[str, VideoInfo],
    timecode: str | None,
    tell: Callable[[str], None],
) -> Results:
    """Take the timecode of the first frame off the times, where the user or the video tells it."""
    own = {str(info.path): info.timecode for info in infos.values()}
    videos = []
    for video in results.videos:
        first = timecode or own.get(video.path or "")
        if first and video.detections:
            moved = _moved(video, -timecode_seconds(first, rate_of(video)))
            if timecode or (_num_inside(moved) > _num_inside(video)):
                video = moved
                tell(f"note: {video.video_id}: times count in timecode; its first frame is {first}")
        videos.append(video)
    return replace(results, videos=tuple(videos))


def _num_inside(video: VideoResult) -> int:
    return sum(not lies_outside(video, found) for found in video.detections)


def _moved(video: VideoResult, shift_s: float) -> VideoResult:
    detections = tuple(
        replace(found, start_s=found.start_s + shift_s, end_s=found.end_s + shift_s)
        for found in video.detections
    )
    return replace(video, detections=detections)
