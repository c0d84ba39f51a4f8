"""A dataset folder that is being labelled: its videos, labels and suggestions, kept on disk."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from hrpro.annotations import VideoAnnotation, read_ground_truth
from hrpro.errors import DataError, HrproError, UsageError
from hrpro.extract.sources import find_videos
from hrpro.files import atomic_path, read_json, write_json
from hrpro.localize.dataset_config import DatasetConfig, read_dataset_config
from hrpro.localize.layout import POINT_FILES, Layout, find_layout, read_split
from hrpro.pipeline.batch import video_ids
from hrpro.pipeline.dataset_yaml import add_class, set_reaction
from hrpro.pipeline.label import palette
from hrpro.pipeline.label.actions import Action, Change, ConflictError, RefusedError, Step
from hrpro.pipeline.label.journal import Journal
from hrpro.pipeline.label.media import MediaLibrary
from hrpro.pipeline.label.playable import stamp
from hrpro.pipeline.label.points_file import difference, points_text, write_durably
from hrpro.pipeline.label.state import POINT, Entry, Labels, Review, Values
from hrpro.pipeline.label.suggestions import Suggestions, read_suggestions
from hrpro.pipeline.results import Detection, Results, VideoResult, write_results_json
from hrpro.problems import Problems

FOLDER = "label"
PUBLISHED_POINTS, POINTS, OLD_POINTS = POINT_FILES
NO_VIDEO = "there is no such video"

_log = logging.getLogger(__name__)


class UnknownVideoError(HrproError):
    """No video of this name in the dataset."""


class Project:
    """The labels of a dataset folder. Threads may share it; one process at a time has it.

    Every action is in the journal, on the disk, before its method returns; ``points.csv`` follows.

    Args:
        folder: the dataset.
        reaction_s: reaction time for this session, instead of the one in ``dataset.yaml``.

    Raises:
        UsageError: no videos, published point labels that would be overwritten, or another
            process labels the same dataset.
        DataError: the folder is not there, or a file in it is damaged.
        HrproError: the folder cannot be written.
    """

    def __init__(self, folder: str | Path, reaction_s: float | None = None) -> None:
        self.folder = Path(folder)
        self.config = read_dataset_config(folder)
        self._layout = find_layout(folder, self.config)
        _refuse_published_points(self._layout)
        self.videos = _find_videos(self._layout, self.config)
        self.name = self.config.name or self.folder.resolve().name
        self._reaction_s = reaction_s
        self._subsets = _subsets(self._layout)
        self._truth = _ground_truth(self._layout)
        self._own = self.folder / FOLDER
        self._make_folder()
        # Counts what the page has to know of; the stamps tell since when something is as it is.
        self._revision = 0
        self._changed_at: dict[str, int] = {}
        self._media_changed_at: dict[str, int] = {}
        self._settings_changed_at = 0
        self._lock = threading.RLock()
        self._process_lock = FileLock(self._own / "lock", timeout=0)
        self._take_process_lock()
        try:
            self._suggestions = _suggestions(self._own / "suggestions.json")
            self.media = MediaLibrary(self.videos, self._own, self._note_media)
            self._points_path = self.folder / POINTS
            self._journal = Journal(self._own / "journal.jsonl")
            self._labels = Labels()
            self._replay()
        except BaseException:
            self._process_lock.release()
            raise

    def announce(self, url: str) -> None:
        """Tell a second process where this one is to be found."""
        path = self._own / "server.json"
        with atomic_path(path) as temporary:
            temporary.touch(0o600)
        path.chmod(0o600)  # the address holds the token
        write_json(path, {"url": url})
        path.chmod(0o600)

    def close(self) -> None:
        """Stop the work in the background and let go of the folder."""
        self.media.stop()
        self._journal.close()
        (self._own / "server.json").unlink(missing_ok=True)
        self._process_lock.release()

    # ------------------------------------------------------------------- what the page shows

    def state(self) -> dict[str, Any]:
        """Return everything but the labels themselves."""
        with self._lock:
            classes = self._classes()
            keys = palette.keys(classes, self.config.label.keys)
            return {
                "dataset": self.name,
                "classes": [
                    {"name": label, "key": key, "color": colour}
                    for label, key, colour in zip(
                        classes, keys, palette.colours(len(classes)), strict=True
                    )
                ],
                "reaction_s": self._current_reaction_s(),
                "revision": self._revision,
                "model": self._suggestions.model,
                "videos": [self._overview(video_id) for video_id in self._order()],
            }

    def video(self, video_id: str, client: str = "") -> dict[str, Any]:
        """Return the labels of a video; its copy, if it needs one, is made next.

        Raises:
            UnknownVideoError: there is no such video.
        """
        if video_id not in self.videos:
            raise UnknownVideoError(NO_VIDEO)
        facts = self.media.want(video_id)
        with self._lock:
            labels = self._labels.video(video_id)
            return {
                "id": video_id,
                "duration_s": facts.duration_s,
                "fps": facts.fps,
                "revision": self._revision,
                "done": labels.done,
                "points": [
                    {"id": point_id, **point.model_dump()}
                    for point_id, point in labels.points.items()
                ],
                "detections": list(self._detections(video_id)),
                "can_undo": labels.to_undo(client) is not None,
                "can_redo": labels.to_redo(client) is not None,
            }

    def changes(self, since: int) -> dict[str, Any]:
        """Return what has changed after a revision."""
        with self._lock:
            everything = since > self._revision or since < 0

            def later(stamps: dict[str, int]) -> list[str]:
                return [video for video, at in stamps.items() if everything or at > since]

            playing = dict.fromkeys([*later(self._media_changed_at), *self.media.in_progress()])
            return {
                "revision": self._revision,
                "videos": later(self._changed_at),
                "playback": {video_id: self.media.state(video_id) for video_id in playing},
                "settings": everything or self._settings_changed_at > since,
            }

    def _overview(self, video_id: str) -> dict[str, Any]:
        labels = self._labels.video(video_id)
        suggested = self._suggestions.video(video_id)
        reviews = labels.reviews
        return {
            "id": video_id,
            "num_points": len(labels.points),
            "done": labels.done,
            "subset": self._subsets.get(video_id),
            "uncertainty": suggested.uncertainty,
            "num_open": sum(name not in reviews for name in suggested.by_id),
            **self.media.state(video_id),
        }

    def _order(self) -> list[str]:
        """Most uncertain first, then as in the folder; test videos last."""

        def rank(video_id: str) -> tuple[bool, float]:
            uncertainty = self._suggestions.video(video_id).uncertainty
            certain = 1.0 if uncertainty is None else -uncertainty
            return self._subsets.get(video_id) == "test", certain

        return sorted(self.videos, key=rank)

    def _detections(self, video_id: str) -> Iterator[dict[str, Any]]:
        reviews = self._labels.video(video_id).reviews
        for detection_id, found in self._suggestions.video(video_id).by_id.items():
            review = reviews.get(detection_id)
            shown = review or found
            yield {
                "id": detection_id,
                **{name: getattr(shown, name) for name in ("label", "score", "start_s", "end_s")},
                "status": review.status if review else "open",
            }

    def _classes(self) -> list[str]:
        """Return the classes as ``dataset.yaml`` has them, then those that only points have."""
        used = {point.label for _, _, point in self._labels.points()}
        if self.config.classes is None:
            used |= {label for each in self._truth.values() for label in each.labels}
        listed = self.config.classes or ()
        return [*listed, *sorted(used - set(listed))]

    def _current_reaction_s(self) -> float:
        return self.config.label.reaction_s if self._reaction_s is None else self._reaction_s

    # ------------------------------------------------------------------ what the page changes

    def act(self, video_id: str, client: str, action: Action) -> dict[str, Any]:
        """Carry out an action; return the video as `video` does, and the new point if there is one.

        Raises:
            UnknownVideoError: there is no such video.
            RefusedError: the action makes no sense.
            ConflictError: it is about something that is gone.
            HrproError: it cannot be saved; nothing was changed.
        """
        if video_id not in self.videos:
            raise UnknownVideoError(NO_VIDEO)
        duration_s = self.media.want(video_id).duration_s
        with self._lock:
            self._import_changed_points()
            if isinstance(action, Step):
                of, values = self._step(video_id, client, action)
            else:
                label = getattr(action, "label", None)
                if label is not None and label not in self._classes():
                    raise RefusedError(f"there is no class {label!r}; add it first")
                of, values = None, self._change(video_id, duration_s).values(action)
            new = {name for name, value in values.items() if value is not None}
            new = {name for name in new if self._labels.video(video_id).get(name) is None}
            self._commit(client, action.model_dump(exclude_none=True), {video_id: values}, of)
            created = next((n.removeprefix(POINT) for n in new if n.startswith(POINT)), None)
            return {**self.video(video_id, client), "created": created}

    def add_class(self, name: str) -> dict[str, Any]:
        """Add a class to ``dataset.yaml``; return the state.

        Raises:
            UsageError: not a name, or ``dataset.yaml`` is wrong.
        """
        with self._lock:
            add_class(self.folder, name)
            return self._with_new_settings()

    def set_reaction(self, reaction_s: float) -> dict[str, Any]:
        """Write the reaction time into ``dataset.yaml``; return the state.

        Raises:
            UsageError: out of range, or ``dataset.yaml`` is wrong.
        """
        with self._lock:
            set_reaction(self.folder, reaction_s)
            self._reaction_s = None
            return self._with_new_settings()

    def _with_new_settings(self) -> dict[str, Any]:
        self.config = read_dataset_config(self.folder)
        self._revision += 1
        self._settings_changed_at = self._revision
        return self.state()

    def _change(self, video_id: str, duration_s: float | None) -> Change:
        return Change(
            self._labels.video(video_id),
            self._suggestions.video(video_id),
            duration_s,
            f"p{self._labels.number + 1}",
        )

    def _step(self, video_id: str, client: str, step: Step) -> tuple[int, Values]:
        labels = self._labels.video(video_id)
        edit = labels.to_undo(client) if step.type == "undo" else labels.to_redo(client)
        if edit is None:
            raise ConflictError(f"nothing to {step.type} here")
        return edit.number, edit.before if step.type == "undo" else edit.after

    def _commit(
        self,
        client: str,
        action: dict[str, object],
        videos: dict[str, Values],
        of: int | None = None,
    ) -> None:
        """Write an entry into the journal, then go on by it, then write what follows from it."""
        entry = Entry(
            number=self._labels.number + 1,
            at=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            client=client,
            action=action,
            of=of,
            videos=videos,
        )
        self._journal.append(entry)
        self._labels.apply(entry)
        self._revision += 1
        for video_id in videos:
            self._changed_at[video_id] = self._revision
        if action["type"] == "import":
            return  # the file says so itself
        self._write_points()
        if any(name.startswith("detection:") for values in videos.values() for name in values):
            self._write_reviewed()

    def _note_media(self, video_id: str) -> None:
        with self._lock:
            self._revision += 1
            self._media_changed_at[video_id] = self._revision

    # ------------------------------------------------------------------------ files on disk

    def _replay(self) -> None:
        """Take up the labels where they were left, and what was changed in points.csv since."""
        entries = self._journal.read()
        for entry in entries:
            self._labels.apply(entry)
        source = self._points_path
        if _is_empty(source):
            if not entries and not _is_empty(old := self.folder / OLD_POINTS):
                source = old
            elif not entries:
                self._points_stamp = stamp(source)
                return
            else:
                self._write_points()  # a file that is gone is not a wish to lose all work
                return
        changes = self._difference(source, self._labels)
        if changes and self._was_cut_off(entries, source):
            self._write_points()
        elif changes:
            self._import(source, changes)
        self._points_stamp = stamp(self._points_path)

    def _was_cut_off(self, entries: list[Entry], source: Path) -> bool:
        """Whether the last run was killed between the journal and points.csv."""
        if not (self._own / "server.json").exists():
            return False
        before = Labels()
        for entry in entries[:-1]:
            before.apply(entry)
        return not self._difference(source, before)

    def _import_changed_points(self) -> None:
        """Take over what somebody wrote into points.csv while we run."""
        if stamp(self._points_path) != self._points_stamp and not _is_empty(self._points_path):
            try:
                changes = self._difference(self._points_path, self._labels)
            except DataError as error:
                raise ConflictError(f"{error} (it was changed outside of this page)") from error
            if changes:
                self._import(self._points_path, changes)

    def _import(self, source: Path, changes: dict[str, Values]) -> None:
        number = self._labels.number + 1
        copy = self._own / "imported" / f"points-{number}.csv"
        with atomic_path(copy) as temporary:
            temporary.write_bytes(source.read_bytes())
        self._commit("file", {"type": "import", "file": source.name}, changes)

    def _difference(self, source: Path, labels: Labels) -> dict[str, Values]:
        return difference(source, labels, labels.number + 1, self._frame_rate)

    def _frame_rate(self, video_id: str) -> float | None:
        truth = self._truth.get(video_id)
        known = (truth and truth.fps) or self.config.fps
        return known or (self.media.want(video_id).fps if video_id in self.videos else None)

    def _write_points(self) -> None:
        write_durably(self._points_path, points_text(self._labels))
        self._points_stamp = stamp(self._points_path)

    def _write_reviewed(self) -> None:
        videos = []
        for video_id, labels in sorted(self._labels.videos.items()):
            accepted = [each for each in labels.reviews.values() if each.status == "accepted"]
            if not accepted:
                continue
            facts = self.media.facts(video_id)
            videos.append(
                VideoResult(
                    video_id,
                    duration_s=facts and facts.duration_s,
                    fps=facts and facts.fps,
                    detections=tuple(map(_detection, accepted)),
                )
            )
        results = Results(tuple(videos), {"name": self._suggestions.model, "reviewed": True})
        with atomic_path(self._own / "reviewed.json") as temporary:
            write_results_json(results, temporary)

    def _make_folder(self) -> None:
        try:
            self._own.mkdir(exist_ok=True)
        except OSError as error:
            raise HrproError(
                f"{self._own}: cannot write: {error.strerror or error}; copy the dataset to a "
                "folder of yours"
            ) from error

    def _take_process_lock(self) -> None:
        try:
            self._process_lock.acquire()
        except Timeout:
            try:
                where = f" at {read_json(self._own / 'server.json')['url']}"
            except (DataError, KeyError, TypeError):
                where = ""
            raise UsageError(
                f"{self.folder}: is being labelled already{where}; open that page, in as many "
                "windows as you like"
            ) from None


def _detection(review: Review) -> Detection:
    return Detection(review.label, review.score, review.start_s, review.end_s)


def _is_empty(path: Path) -> bool:
    return not path.is_file() or path.stat().st_size == 0


def _refuse_published_points(layout: Layout) -> None:
    if layout.points == layout.folder / PUBLISHED_POINTS:
        raise UsageError(
            f"{layout.points}: training reads these published point labels, which are left as "
            f"they are; to label these videos yourself, make a dataset of them: hrpro init NAME "
            f"--videos {layout.videos}"
        )


def _find_videos(layout: Layout, config: DatasetConfig) -> dict[str, Path]:
    """Return the videos by their ids, in the order of the folder."""
    if not layout.videos.is_dir():
        raise UsageError(f"{layout.videos}: no such folder; put the videos to label there")
    sources = find_videos([layout.videos])
    ids = video_ids(sources)
    found = {ids[source.key]: source.path for source in sources}
    return {name: path for name, path in found.items() if name not in config.excluded_videos}


def _subsets(layout: Layout) -> dict[str, str]:
    return {
        video_id: subset
        for subset, path in (("train", layout.split_train), ("test", layout.split_test))
        if path is not None
        for video_id in read_split(path, Problems())
    }


def _ground_truth(layout: Layout) -> dict[str, VideoAnnotation]:
    return {} if layout.ground_truth is None else read_ground_truth(layout.ground_truth)


def _suggestions(path: Path) -> Suggestions:
    try:
        return read_suggestions(path)
    except DataError as error:
        _log.warning("%s; ignored (hrpro label --model RUN makes it anew)", error)
        return Suggestions()
