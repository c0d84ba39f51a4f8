"""All that ``hrpro clips`` makes of results: clips, playlist, contact sheet, thumbnails."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hrpro.errors import UsageError
from hrpro.pipeline.clips.make import Clips, make_clips, open_footage
from hrpro.pipeline.clips.plan import ClipOptions, Film, plan_films
from hrpro.pipeline.clips.playlist import check_playlist_path, write_playlist
from hrpro.pipeline.clips.sheet import (
    EventPicture,
    check_sheet_path,
    event_pictures,
    write_sheets,
    write_thumbnail,
)
from hrpro.pipeline.console.progress import Reporter
from hrpro.pipeline.render.palette import result_colors
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


def clips_of(
    results: Results,
    outputs: ClipOutputs,
    options: ClipOptions | None = None,
    videos: Path | None = None,
    reporter: Reporter | None = None,
) -> Clips:
    """Make clips of the events of results.

    Args:
        results: their `spans` are the events.
        outputs: what to make.
        options: what clips are to be like.
        videos: folder in which the videos are looked for first.
        reporter: where progress goes; silent by default.

    Raises:
        UsageError: points, and neither lead nor lag.
        HrproError: a file cannot be written.
    """
    options, reporter = options or ClipOptions(), reporter or Reporter(quiet=True)
    footage = open_footage(results, videos, reporter)
    films = plan_films(footage.videos, options)
    if outputs.playlist is not None:
        write_playlist(films, outputs.playlist)
        reporter.line(f"wrote {outputs.playlist}")
    made = Clips((), footage.failed)
    if outputs.out is not None:
        made = make_clips(footage, films, outputs.out, options, reporter)
    if outputs.sheet is not None or outputs.thumbnails:
        shown = [
            picture
            for video, path in footage.videos
            for picture in event_pictures(video, footage.infos[path])
        ]
        if outputs.sheet is not None:
            colors = result_colors(results, {each.event.label for each in shown})
            for path in write_sheets(shown, outputs.sheet, colors):
                reporter.line(f"wrote {path}")
            if not shown:
                reporter.line(f"{outputs.sheet}: not written, there is no event to show")
        if outputs.thumbnails and outputs.out is not None:
            _write_thumbnails(shown, films, {clip.path for clip in made.clips}, outputs.out)
    return made


def _write_thumbnails(
    shown: Sequence[EventPicture], films: Sequence[Film], made: Collection[Path], out: Path
) -> None:
    """Put the picture of its first event beside every film that was made."""
    by_event = {(each.video_id, each.event): each for each in shown}
    for film in films:
        path, first = out / film.name, film.pieces[0]
        if path in made:
            picture = by_event[first.video_id, first.events[0]]
            write_thumbnail(picture, path.with_suffix(".jpg"))


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
