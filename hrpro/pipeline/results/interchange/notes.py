"""What was read of a file and what was not: collected by the readers, told by the commands.

A mark that cannot be read costs that mark, not the file. Readers put such marks into `Notes`, with
the reason, and go on; a file of which nothing at all could be read is an error.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from hrpro.errors import DataError
from hrpro.pipeline.results.model import Detection, Note, Results, VideoResult
from hrpro.problems import Problems
from hrpro.wording import and_more, count

LENGTH_TOLERANCE_S = 0.1
"""By which a mark may end after its video: files round, and headers are not exact."""
_SHOWN = 3  # reasons, and places of each


class Notes:
    """Notes on one file, in the order of the file."""

    def __init__(self) -> None:
        self._notes: list[Note] = []

    def left_out(self, where: str | int, why: str | Exception, marks: int = 1) -> None:
        """Marks that are not read: a line number or the words that name the place, and why."""
        self._notes.append(Note(str(where), str(why), marks))

    def say(self, what: str, where: str | int = "") -> None:
        """Something to know that costs no mark; said once, however often it is found."""
        note = Note(str(where), what)
        if note not in self._notes:
            self._notes.append(note)

    def take(self, problems: Problems, path: Path) -> None:
        """Add what another reader found wrong in the file."""
        for each in problems:
            where = each.where.removeprefix(str(path)).lstrip(": ")
            what = f"{each.what}; {each.remedy}" if each.remedy else each.what
            if each.severity == "warning":
                self.say(what, where)
            else:
                self.left_out(where, what)

    def results(self, path: Path, videos: Iterable[VideoResult]) -> Results:
        """Return what was read, with these notes.

        Raises:
            DataError: marks were left out and none is left; names the first.
        """
        results = Results(tuple(videos), notes=tuple(self._notes))
        lost = [note for note in self._notes if note.marks]
        if lost and not any(video.detections for video in results.videos):
            more = and_more(len(lost) - 1)
            raise DataError(f"{_place(path, lost[0].where)}: {lost[0].what}{more}")
        return results


def reading_lines(
    source: str | Path, results: Results, only_problems: bool = False
) -> Iterator[str]:
    """Yield what a command tells of a file that it read: a line of counts, then one per warning.

    With `only_problems` there is no line of counts if all marks were read.
    """
    marks = sum(len(video.detections) for video in results.videos)
    line = f"read {count(marks, 'mark')} of {count(len(results.videos), 'video')} from {source}"
    reasons: defaultdict[str, list[Note]] = defaultdict(list)
    for note in results.notes:
        if note.marks:
            reasons[note.what].append(note)
    if reasons:
        lost = sum(note.marks for note in results.notes)
        told = [f"{why} ({_places(notes)})" for why, notes in list(reasons.items())[:_SHOWN]]
        more = ["..."] if len(reasons) > _SHOWN else []
        line += f", left out {lost}: {'; '.join(told + more)}"
    if reasons or not only_problems:
        yield line
    for note in results.notes:
        if not note.marks:
            yield f"note: {_place(Path(source), note.where)}: {note.what}"
    for video in results.videos:
        yield from outside_lines(video)


def outside_lines(video: VideoResult) -> Iterator[str]:
    """Yield a warning if marks lie outside of a video whose length is known."""
    outside = [found for found in video.detections if lies_outside(video, found)]
    if outside:
        first = min(outside, key=lambda found: found.start_s)
        yield (
            f"warning: {video.video_id}: {len(outside)} of {count(len(video.detections), 'mark')} "
            f"outside of the video, which is {video.duration_s:.1f} s long ({first.label} at "
            f"{first.start_s:.1f}-{first.end_s:.1f} s); are video, frame rate and timecode right?"
        )


def lies_outside(video: VideoResult, found: Detection) -> bool:
    """Whether a mark begins before its video or ends after it, by more than rounding."""
    late = video.duration_s is not None and found.end_s > video.duration_s + LENGTH_TOLERANCE_S
    return late or (video.duration_s is not None and found.start_s < -LENGTH_TOLERANCE_S)


def _place(path: Path, where: str) -> str:
    if not where:
        return str(path)
    return f"{path}:{where}" if where.isdecimal() else f"{path}: {where}"


def _places(notes: list[Note]) -> str:
    names = [f"line {note.where}" if note.where.isdecimal() else note.where for note in notes]
    more = f", ... {len(names)} places" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
