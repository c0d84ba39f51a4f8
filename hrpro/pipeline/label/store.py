"""The labels on disk: the journal, and the files that follow from it."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

from hrpro.errors import DataError
from hrpro.files import atomic_path
from hrpro.pipeline.label.actions import ConflictError
from hrpro.pipeline.label.dataset import OLD_POINTS, POINTS
from hrpro.pipeline.label.journal import Journal
from hrpro.pipeline.label.playable import stamp
from hrpro.pipeline.label.points_file import FrameRate, difference, points_text, write_durably
from hrpro.pipeline.label.state import DETECTION, Entry, Labels, Review, Values
from hrpro.pipeline.results.model import Detection, Results, VideoResult, write_results_json
from hrpro.video_ids import KnownVideos

FOLDER = "label"


class LabelStore:
    """Keeps the labels of a dataset. The caller sees to it that one thread at a time does.

    ``label/journal.jsonl`` is the truth, ``points.csv`` follows it after every entry. Lines of
    ``points.csv`` that a person changed become an entry of the journal.

    Args:
        folder: the dataset.
        frame_rate: for a ``points.csv`` that counts frames.
        was_killed: whether the last process may have stopped between the two files.
        videos: those of the dataset, which ``points.csv`` may spell otherwise.

    Attributes:
        labels: as they are now.
        earlier: number of the last entry of earlier sessions.
        videos: those of the dataset.

    Raises:
        DataError: the journal or ``points.csv`` is damaged.
        HrproError: the folder cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        frame_rate: FrameRate,
        was_killed: bool = False,
        videos: KnownVideos | None = None,
    ) -> None:
        self.labels = Labels()
        self.videos = videos or KnownVideos([])
        self._own = folder / FOLDER
        self._points = folder / POINTS
        self._frame_rate = frame_rate
        self._journal = Journal(self._own / "journal.jsonl")
        self._start(folder / OLD_POINTS, was_killed)
        self.earlier = self.labels.number

    def commit(
        self,
        client: str,
        action: dict[str, object],
        videos: dict[str, Values],
        of: int | None = None,
        action_id: str | None = None,
    ) -> None:
        """Write an entry into the journal, go on by it, and rewrite what follows from it.

        What changes nothing, such as accepting twice, leaves no entry that could be undone.

        Raises:
            HrproError: the journal cannot be written; then nothing is changed.
        """
        if all(
            self.labels.video(video_id).get(name) == value
            for video_id, values in videos.items()
            for name, value in values.items()
        ):
            return
        entry = Entry(
            number=self.labels.number + 1,
            at=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            client=client,
            id=action_id,
            action=action,
            of=of,
            videos=videos,
        )
        self._journal.append(entry)
        self.labels.apply(entry)
        if action["type"] != "import":  # the file that is imported says so itself
            self._write_points()
        if any(name.startswith(DETECTION) for values in videos.values() for name in values):
            self._write_reviewed()

    def take_over_edits(self) -> set[str]:
        """Take over what somebody wrote into ``points.csv`` since; return the videos it concerns.

        Raises:
            ConflictError: the file is wrong as it is now.
        """
        if stamp(self._points) == self._stamp or _is_empty(self._points):
            return set()
        try:
            return self._import(self._points)
        except DataError as error:
            raise ConflictError(f"{error} (it was changed outside of this page)") from error

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()

    def _start(self, old_points: Path, was_killed: bool) -> None:
        """Take up the labels where they were left, and what was changed in points.csv since."""
        entries = self._journal.read()
        for entry in entries:
            self.labels.apply(entry)
        if not _is_empty(self._points):
            if was_killed and self._lags_behind(entries):
                self._write_points()
            else:
                self._import(self._points)
        elif entries:
            self._write_points()  # a file that is gone is not a wish to lose all work
        elif not _is_empty(old_points):
            self._import(old_points)
            self._write_points()
        self._stamp = stamp(self._points)

    def _lags_behind(self, entries: list[Entry]) -> bool:
        """Whether the last process was killed between the journal and points.csv."""
        before = Labels()
        for entry in entries[:-1]:
            before.apply(entry)
        return bool(entries) and not self._difference(self._points, before)

    def _import(self, source: Path) -> set[str]:
        changes = self._difference(source, self.labels)
        if changes:
            # The journal keeps the points, this the rest: other columns, comments, frames.
            copy = self._own / "imported" / f"points-{self.labels.number + 1}.csv"
            with atomic_path(copy) as temporary:
                temporary.write_bytes(source.read_bytes())
            self.commit("file", {"type": "import", "file": source.name}, changes)
        self._stamp = stamp(self._points)
        return set(changes)

    def _difference(self, source: Path, labels: Labels) -> dict[str, Values]:
        return difference(source, labels, labels.number + 1, self._frame_rate, self.videos)

    def _write_points(self) -> None:
        write_durably(self._points, points_text(self.labels))
        self._stamp = stamp(self._points)

    def _write_reviewed(self) -> None:
        """Write the accepted detections for the record, in the format of ActivityNet."""
        videos = []
        for video_id, labels in sorted(self.labels.videos.items()):
            accepted = [each for each in labels.reviews.values() if each.status == "accepted"]
            if accepted:
                videos.append(VideoResult(video_id, detections=tuple(map(_detection, accepted))))
        results = Results(tuple(videos), {"name": "reviewed by a person"})
        with atomic_path(self._own / "reviewed.json") as temporary:
            write_results_json(results, temporary)


def _detection(review: Review) -> Detection:
    return Detection(review.label, review.score, review.start_s, review.end_s)


def _is_empty(path: Path) -> bool:
    return not path.is_file() or path.stat().st_size == 0
