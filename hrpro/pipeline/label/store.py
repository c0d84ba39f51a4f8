"""The labels on disk: the journal, and the files that follow from it."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

from hrpro.errors import DataError
from hrpro.files import atomic_path
from hrpro.localize.data.layout import LABELS
from hrpro.pipeline.datasets.classes import Renamed
from hrpro.pipeline.label.actions import ConflictError
from hrpro.pipeline.label.annotations_file import AnnotationsFile
from hrpro.pipeline.label.class_edits import rename_values
from hrpro.pipeline.label.dataset import OLD_POINTS, POINTS
from hrpro.pipeline.label.journal import Journal
from hrpro.pipeline.label.label_file import LabelFile
from hrpro.pipeline.label.points_file import FrameRate, PointsFile
from hrpro.pipeline.label.state import Entry, Labels, Review, Values
from hrpro.pipeline.label.verified import verified_events
from hrpro.pipeline.label.video_labels_file import VideoLabelsFile
from hrpro.pipeline.results.model import Detection, Results, VideoResult, write_results_json
from hrpro.video_ids import KnownVideos

FOLDER, JOURNAL = "label", "journal.jsonl"


class LabelStore:
    """Keeps the labels of a dataset. The caller sees to it that one thread at a time does.

    ``label/journal.jsonl`` is the truth; ``points.csv`` follows it after every entry,
    ``annotations.json`` after every entry about intervals, ``labels.csv`` about video labels.
    What a person changed in these files becomes an entry of the journal.

    Args:
        folder: the dataset.
        frame_rate: for a ``points.csv`` that counts frames.
        was_killed: whether the last process may have stopped between the files.
        videos: those of the dataset, which the files may spell otherwise.
        annotations: where the intervals go; None for a dataset without any.

    Attributes:
        labels: as they are now.
        earlier: number of the last entry of earlier sessions.

    Raises:
        DataError: the journal, ``points.csv`` or ``annotations.json`` is damaged.
        HrproError: the folder cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        frame_rate: FrameRate,
        was_killed: bool = False,
        videos: KnownVideos | None = None,
        annotations: AnnotationsFile | None = None,
    ) -> None:
        self.labels = Labels()
        self._own = folder / FOLDER
        self._points = PointsFile(folder / POINTS, frame_rate, videos or KnownVideos([]))
        self._shown = VideoLabelsFile(folder / LABELS, videos or KnownVideos([]))
        self._annotations = annotations
        self._journal = Journal(self._own / JOURNAL)
        self._start(folder / OLD_POINTS, was_killed)
        self.earlier = self.labels.number

    @property
    def _files(self) -> list[LabelFile]:
        return [self._points, self._shown, *filter(None, [self._annotations])]

    def know_videos(self, videos: KnownVideos) -> None:
        """Take over the videos of the dataset, after some were added."""
        self._points.videos = self._shown.videos = videos
        if self._annotations is not None:
            self._annotations.videos = videos

    def commit(
        self,
        client: str,
        action: dict[str, object],
        videos: dict[str, Values],
        of: int | None = None,
        action_id: str | None = None,
    ) -> None:
        """Write an entry into the journal, go on by it, and rewrite what follows from it.

        What changes nothing, such as accepting twice, leaves no entry that could be undone. Undo
        and redo always leave one: else they would stay where they are for ever.

        Raises:
            HrproError: the journal cannot be written; then nothing is changed.
        """
        if of is None and all(
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
            for file in self._files:
                if any(map(file.holds, videos.values())):
                    file.write(self.labels, videos)
        self._write_reviewed()

    def take_over_edits(self) -> set[str]:
        """Take over what somebody wrote into the files since; return the videos it concerns.

        Raises:
            ConflictError: a file is wrong as it is now.
        """
        changed = [file for file in self._files if file.was_changed and not file.is_empty]
        try:
            return {video_id for file in changed for video_id in self._import(file)}
        except DataError as error:
            raise ConflictError(f"{error} (it was changed outside of this page)") from error

    def rename_classes(self, renamed: Renamed) -> set[str]:
        """Bring the labels in line with the present names; return the videos it concerns.

        Raises:
            HrproError: the journal cannot be written.
        """
        changes = rename_values(self.labels, renamed)
        if changes:
            self.commit("classes", {"type": "classes", "renamed": dict(renamed)}, changes)
        return set(changes)

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()

    def _start(self, old_points: Path, was_killed: bool) -> None:
        """Take up the labels where they were left, and what was changed in the files since."""
        entries = self._journal.read()
        before = Labels()
        for entry in entries:
            self.labels.apply(entry)
        for entry in entries[:-1]:
            before.apply(entry)
        for file in self._files:
            if not file.is_empty:
                if was_killed and entries and self._lags_behind(file, before):
                    file.write(self.labels)
                else:
                    self._import(file)
            elif any(map(file.holds, (values for e in entries for values in e.videos.values()))):
                file.write(self.labels)  # a file that is gone is not a wish to lose all work
        if not entries and self._points.is_empty and _has_content(old_points):
            self._import(self._points, old_points)
            self._points.write(self.labels)
        for file in self._files:
            file.note()

    def _lags_behind(self, file: LabelFile, before: Labels) -> bool:
        """Whether the last process was killed between the journal and this file."""
        return bool(file.difference(self.labels)) and not file.difference(before)

    def _import(self, file: LabelFile, source: Path | None = None) -> set[str]:
        changes = file.difference(self.labels, source)
        source = source or file.path
        if changes:
            # The journal keeps the labels, this the rest: other columns, comments, frames.
            name = f"{file.path.stem}-{self.labels.number + 1}{file.path.suffix}"
            with atomic_path(self._own / "imported" / name) as temporary:
                temporary.write_bytes(source.read_bytes())
            self.commit("file", {"type": "import", "file": source.name}, changes)
        file.note()
        return set(changes)

    def _write_reviewed(self) -> None:
        """Write the accepted detections, and as events all that was verified.

        So the file is right for those who look at the detections of a model and for those who want
        to know what happens; the format is that of result files.
        """
        videos = []
        for video_id, labels in sorted(self.labels.videos.items()):
            accepted = [each for each in labels.reviews.values() if each.status == "accepted"]
            detections, events = tuple(map(_detection, accepted)), verified_events(labels)
            if events:
                videos.append(VideoResult(video_id, detections=detections, events=events))
        results = Results(tuple(videos), {"name": "reviewed by a person"})
        with atomic_path(self._own / "reviewed.json") as temporary:
            write_results_json(results, temporary)


def _detection(review: Review) -> Detection:
    return Detection(review.label, review.score, review.start_s, review.end_s)


def _has_content(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0
