"""The labels on disk: the journal, and the files that follow from it."""

from __future__ import annotations

import json
import os
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from hrpro.errors import DataError, HrproError, UsageError
from hrpro.files import atomic_path, read_json
from hrpro.pipeline.label.actions import ConflictError
from hrpro.pipeline.label.dataset import OLD_POINTS, POINTS
from hrpro.pipeline.label.journal import Journal
from hrpro.pipeline.label.playable import stamp
from hrpro.pipeline.label.points_file import FrameRate, difference, points_text, write_durably
from hrpro.pipeline.label.state import DETECTION, Entry, Labels, Review, Values
from hrpro.pipeline.results.model import Detection, Results, VideoResult, write_results_json
from hrpro.video_ids import KnownVideos

FOLDER = "label"


class FolderLock:
    """Keeps a second process from labelling the same dataset, and tells it where the first one is.

    Args:
        folder: the dataset; its folder ``label/`` is made.

    Raises:
        UsageError: another process has it; names its address.
        HrproError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        own = folder / FOLDER
        try:
            own.mkdir(exist_ok=True)
            self._lock = FileLock(own / "lock", timeout=0)
            self._lock.acquire()
        except Timeout:
            raise UsageError(
                f"{folder}: is being labelled already{_address(own)}; open that page, in as many "
                "windows as you like"
            ) from None
        except OSError as error:
            raise HrproError(
                f"{own}: cannot write: {error.strerror or error}; copy the dataset to a folder of "
                "yours"
            ) from error
        self._address = own / "server.json"
        self._announced = False
        self.was_killed = self._address.exists()
        """Whether the process that had the folder before never came to its end."""
        self.last_port = _last_port(self._address) if self.was_killed else None
        """Where that process served: its page, if it is still open, sends there what it has."""

    def announce(self, url: str) -> None:
        """Leave the address of the page for a second process."""
        self._announced = True
        self._address.unlink(missing_ok=True)
        # The address holds the token: nobody else may read it, not even for a moment.
        handle = os.open(self._address, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump({"url": url}, file)

    def release(self) -> None:
        """Let go of the folder."""
        if self._announced:  # else the mark of one that was killed stays
            self._address.unlink(missing_ok=True)
        self._lock.release()


def _address(own: Path) -> str:
    try:
        return f" at {read_json(own / 'server.json')['url']}"
    except (DataError, KeyError, TypeError):
        return ""


def _last_port(address: Path) -> int | None:
    try:
        return urlsplit(read_json(address)["url"]).port
    except (DataError, KeyError, TypeError, ValueError, AttributeError):
        return None


class LabelStore:
    """Keeps the labels of a dataset. The caller sees to it that one thread at a time does.

    ``label/journal.jsonl`` is the truth, ``points.csv`` follows it after every entry. Lines of
    ``points.csv`` that a person changed become an entry of the journal.

    Args:
        folder: the dataset.
        frame_rate: for a ``points.csv`` that counts frames.
        was_killed: whether the last process may have stopped between the two files.
        videos: those of the dataset, which ``points.csv`` may spell otherwise.

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
        self._videos = videos or KnownVideos([])
        self._own = folder / FOLDER
        self._points = folder / POINTS
        self._frame_rate = frame_rate
        self._journal = Journal(self._own / "journal.jsonl")
        self._start(folder / OLD_POINTS, was_killed)

    def commit(
        self,
        client: str,
        action: dict[str, object],
        videos: dict[str, Values],
        of: int | None = None,
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
        return difference(source, labels, labels.number + 1, self._frame_rate, self._videos)

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
