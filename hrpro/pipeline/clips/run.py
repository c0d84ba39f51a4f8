"""All that ``hrpro clips`` makes of results: clips, playlist, contact sheet, thumbnails."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hrpro.errors import UsageError
from hrpro.pipeline.clips.make import Clips, Footage, make_clips, open_footage
from hrpro.pipeline.clips.plan import ClipOptions, plan_films
from hrpro.pipeline.clips.playlist import check_playlist_path, write_playlist
from hrpro.pipeline.clips.sheet import (
    EventPicture,
    check_sheet_path,
    event_pictures,
    write_sheets,
    write_thumbnail,
)
from hrpro.pipeline.console.progress import Reporter
from hrpro.pipeline.gather import gather
from hrpro.pipeline.render.palette import result_colors
from hrpro.pipeline.results.events import EventOptions
from hrpro.pipeline.results.model import Results
from hrpro.wording import some


@dataclass(frozen=True)
class ClipOutputs:
    """What to make, and where.

    Raises:
        UsageError: nothing, or names that do not fit.
    """

    out: Path | None = None
    """Folder of the clips."""
    playlist: Path | None = None
    sheet: Path | None = None
    """Contact sheet."""
    thumbnails: bool = False
    """A picture beside every clip."""

    def __post_init__(self) -> None:
        if self.out is None and self.playlist is None and self.sheet is None:
            raise UsageError("say what to make: -o FOLDER, --playlist FILE or --sheet FILE")
        if self.out is not None and self.out.is_file():
            raise UsageError(f"{self.out}: is a file; name a folder for the clips")
        if self.thumbnails and self.out is None:
            raise UsageError("--thumbnails lie beside the clips: give their folder with -o")
        if self.playlist is not None:
            check_playlist_path(self.playlist)
        if self.sheet is not None:
            check_sheet_path(self.sheet)


def run_clips(
    paths: Sequence[Path],
    outputs: ClipOutputs,
    options: ClipOptions | None = None,
    *,
    videos: Path | None = None,
    classes: Collection[str] | None = None,
    events: EventOptions | None = None,
    reporter: Reporter | None = None,
) -> Clips:
    """Make clips of the events in result files.

    Args:
        paths: see `hrpro.pipeline.gather.gather`.
        outputs: what to make.
        options: what clips are to be like.
        videos: folder in which the videos are looked for first.
        classes: these only.
        events: what is made of detections; see `gather`.
        reporter: where progress goes; silent by default.

    Raises:
        UsageError: see `make_clips`; no such class.
        HrproError: a file cannot be read or written.
    """
    reporter = reporter or Reporter(quiet=True)
    results = gather(paths, reporter.problem, events)
    return clips_of(of_classes(results, classes), outputs, options, videos, reporter)


def clips_of(
    results: Results,
    outputs: ClipOutputs,
    options: ClipOptions | None = None,
    videos: Path | None = None,
    reporter: Reporter | None = None,
) -> Clips:
    """As `run_clips`, of results at hand."""
    options, reporter = options or ClipOptions(), reporter or Reporter(quiet=True)
    footage = open_footage(results, videos, reporter)
    films = plan_films(footage.videos, options)
    if outputs.playlist is not None:
        write_playlist(films, outputs.playlist)
        reporter.line(f"wrote {outputs.playlist}")
    made = Clips((), tuple(footage.failed))
    if outputs.out is not None:
        made = make_clips(footage, films, outputs.out, options, reporter)
    if outputs.sheet is not None or outputs.thumbnails:
        shown = list(_pictures(footage))
        if outputs.sheet is not None:
            labels = {each.event.label for each in shown}
            for path in write_sheets(shown, outputs.sheet, result_colors(results, labels)):
                reporter.line(f"wrote {path}")
        if outputs.thumbnails and outputs.out is not None:
            by_event = {(each.video_id, each.event): each for each in shown}
            there = {clip.path for clip in made.clips}
            for film in films:
                path, first = outputs.out / film.name, film.pieces[0]
                if path in there:
                    picture = by_event[first.video_id, first.events[0]]
                    write_thumbnail(picture, path.with_suffix(".jpg"))
    return made


def of_classes(results: Results, classes: Collection[str] | None) -> Results:
    """What is of some classes.

    Raises:
        UsageError: there is nothing of one of them.
    """
    if classes is None:
        return results
    found = {event.label for video in results.videos for event in video.spans}
    if absent := sorted(set(classes) - found):
        raise UsageError(f"--classes: there is no {', '.join(absent)}; there are {some(found, 10)}")
    videos = (
        replace(video, events=tuple(each for each in video.spans if each.label in classes))
        for video in results.videos
    )
    return replace(results, videos=tuple(videos))


def _pictures(footage: Footage) -> Iterator[EventPicture]:
    for video, path in footage.videos:
        yield from event_pictures(video, footage.infos[path])
