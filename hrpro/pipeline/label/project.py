"""A dataset that is being labelled: what the page shows of it, and what the page changes."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

from hrpro.annotations import VideoAnnotation
from hrpro.errors import DataError, HrproError
from hrpro.localize.data.config import CLASS_KEYS
from hrpro.pipeline.datasets.classes import ClassList, current_name
from hrpro.pipeline.label.actions import (
    Action,
    Change,
    ConflictError,
    Mark,
    RefusedError,
    Request,
    Step,
)
from hrpro.pipeline.label.annotations_file import AnnotationsFile
from hrpro.pipeline.label.class_edits import under_present_names
from hrpro.pipeline.label.class_keys import class_keys
from hrpro.pipeline.label.class_requests import ClassEdit
from hrpro.pipeline.label.dataset import LabelDataset
from hrpro.pipeline.label.export import export
from hrpro.pipeline.label.folder_events import event_results
from hrpro.pipeline.label.folder_lock import FolderLock, PageMemory
from hrpro.pipeline.label.media import MediaLibrary
from hrpro.pipeline.label.state import Values
from hrpro.pipeline.label.store import FOLDER, LabelStore
from hrpro.pipeline.label.suggestions import Suggestions, read_suggestions
from hrpro.pipeline.render.palette import class_colors
from hrpro.pipeline.results.model import Results
from hrpro.wording import count

_log = logging.getLogger(__name__)

LOOK_EVERY_S = 2.0
"""The folder is looked into no more often than this."""


class UnknownVideoError(HrproError):
    """No video of this name in the dataset."""


class Project:
    """The labels of a dataset folder. Threads may share it; one process at a time has it.

    Every action is on the disk before its method returns.

    Args:
        folder: the dataset.
        reaction_s: reaction time for this session, instead of the one in ``dataset.yaml``.
        needs_videos: False for what can be done without, as with the classes.
        stream: which of several video streams the page shows; see
            `hrpro.extract.streams.choose_stream`.

    Raises:
        UsageError: no videos, published point labels that would be overwritten, or another
            process labels the same dataset.
        DataError: the folder is not there, or a file in it is damaged.
        HrproError: the folder cannot be written.
    """

    def __init__(
        self,
        folder: str | Path,
        reaction_s: float | None = None,
        needs_videos: bool = True,
        stream: int | None = None,
    ) -> None:
        self.dataset = LabelDataset(folder, reaction_s, needs_videos)
        self._own = self.dataset.folder / FOLDER
        self._lock = threading.RLock()
        # Counts what the page has to know of; the stamps tell since when something is as it is.
        self._revision = 0
        self._session = uuid4().hex
        self._labels_changed_at: dict[str, int] = {}
        self._media_changed_at: dict[str, int] = {}
        self._settings_changed_at = 0
        self._looked_at = time.monotonic()
        with ExitStack() as on_failure:
            self._folder_lock = FolderLock(self.dataset.folder, FOLDER)
            on_failure.callback(self._folder_lock.release)
            self._suggestions = Suggestions()
            self.media = MediaLibrary(self.dataset.videos, self._own, self._note_media, stream)
            self._store = LabelStore(
                self.dataset.folder,
                self._frame_rate,
                self._folder_lock.was_killed,
                self.dataset.known,
                self._annotations_file(),
            )
            self._folder_lock.begin()
            self._rename_classes()  # what was interrupted, if anything was; reads suggestions
            on_failure.pop_all()

    def load_suggestions(self) -> None:
        """Read what a model found; a damaged file is left out with a warning."""
        try:
            read = read_suggestions(self._own / "suggestions.json")
            self._suggestions = read.renamed(self.dataset.config.renamed)
        except DataError as error:
            _log.warning("%s; ignored (hrpro label --model RUN makes it anew)", error)

    def _annotations_file(self) -> AnnotationsFile | None:
        if self.dataset.no_marks is not None:
            return None
        return AnnotationsFile(self.dataset.annotations, self.dataset.known, self._facts)

    def _facts(self, video_id: str) -> VideoAnnotation:
        """What an entry of annotations.json says of a video, but for its actions."""
        subset = self.dataset.subsets.get(video_id)
        if video_id not in self.dataset.videos:
            return VideoAnnotation(video_id, subset)
        facts = self.media.want(video_id)
        return VideoAnnotation(video_id, subset, facts.duration_s, facts.fps)

    def announce(self, url: str, port: int) -> None:
        """Tell a second process, and the next start, where this one is to be found."""
        self._folder_lock.announce(url, port)

    @property
    def page(self) -> PageMemory:
        """What the page of this dataset goes by, from one start to the next."""
        return self._folder_lock.page

    def close(self) -> None:
        """Stop the work in the background and let go of the folder."""
        self.media.stop()
        self._store.close()
        self._folder_lock.release()

    # ------------------------------------------------------------------- what the page shows

    def state(self) -> dict[str, Any]:
        """Return everything but the labels themselves."""
        with self._lock:
            classes = self._classes()
            keys = class_keys(classes, self.dataset.config.label.keys)
            label, counts = self.dataset.config.label, self.count_labels()
            colors = class_colors(classes, label.colors)
            return {
                "dataset": self.dataset.name,
                "dataset_id": self.page.id,
                "session": self._session,
                "classes": [
                    {
                        "name": name,
                        "key": key,
                        "color": colors[name],
                        "description": label.descriptions.get(name, ""),
                        "num_labels": sum(each[name] for each in counts.values()),
                    }
                    for name, key in zip(classes, keys, strict=True)
                ],
                "class_keys": "".join(CLASS_KEYS),
                "subjects": list(self.dataset.config.subjects),
                "no_marks": self.dataset.no_marks,
                "reaction_s": self.dataset.reaction_s,
                "revision": self._revision,
                "model": self._suggestions.model,
                "videos": [self._overview(video_id) for video_id in self._order()],
            }

    def video(self, video_id: str, client: str = "") -> dict[str, Any]:
        """Return the labels of a video; its copy, if it needs one, is made next.

        Args:
            video_id: the video.
            client: the window whose actions can be undone.

        Raises:
            UnknownVideoError: there is no such video.
        """
        facts = self.media.want(self._known(video_id))
        with self._lock:
            labels = self._store.labels.video(video_id)
            return {
                "id": video_id,
                "duration_s": facts.duration_s,
                "fps": facts.fps,
                "session": self._session,
                "revision": self._revision,
                "done": labels.done,
                "points": [
                    {"id": point_id, **point.model_dump()}
                    for point_id, point in labels.points.items()
                ],
                "intervals": [
                    {"id": interval_id, **interval.model_dump(exclude={"more"})}
                    for interval_id, interval in labels.intervals.items()
                ],
                "shown": None if labels.shown is None else sorted(labels.shown),
                "detections": list(self._detections(video_id)),
                "can_undo": labels.to_undo(client, self._store.earlier) is not None,
                "can_redo": labels.to_redo(client, self._store.earlier) is not None,
            }

    def changes(self, since: int) -> dict[str, Any]:
        """Return what has changed after a revision, in the folder, too: a second ``init``."""
        with self._lock:
            self._look_into_folder()
            everything = since > self._revision or since < 0

            def later(stamps: dict[str, int]) -> list[str]:
                return [video for video, at in stamps.items() if everything or at > since]

            playing = dict.fromkeys([*later(self._media_changed_at), *self.media.in_progress()])
            return {
                "session": self._session,
                "revision": self._revision,
                "videos": later(self._labels_changed_at),
                "playback": {video_id: self.media.state(video_id) for video_id in playing},
                "settings": everything or self._settings_changed_at > since,
            }

    def export_events(self, suffix: str) -> tuple[str, bytes]:
        """Return name and content of a file with the verified events; see `export`.

        Raises:
            RefusedError: there are none yet.
            UsageError: no such format, or a package for it is missing.
        """
        with self._lock:
            videos = tuple(event_results(self._store.labels, self.dataset.videos, self.media.want))
        if not videos:
            raise RefusedError("nothing is labelled yet")
        return export(Results(videos), self.dataset.name, suffix)

    def _look_into_folder(self) -> None:
        now = time.monotonic()
        if now - self._looked_at < LOOK_EVERY_S:
            return
        self._looked_at = now
        if self.dataset.read_again():
            self.media.add(self.dataset.videos)
            self._store.know_videos(self.dataset.known)
            self._settings_changed_at = self._next_revision()

    def media_file(self, video_id: str) -> Path | None:
        """Return the file that a browser plays; None while there is none.

        Names never become paths here: they are looked up among the videos of the dataset.

        Raises:
            UnknownVideoError: there is no such video.
        """
        return self.media.file(self._known(video_id))

    def frame_times(self, video_id: str) -> list[float] | None:
        """Return when each frame of a video is shown, in seconds; None if its rate is constant.

        Raises:
            UnknownVideoError: there is no such video.
        """
        return self.media.frame_times(self._known(video_id))

    def _known(self, video_id: str) -> str:
        if video_id not in self.dataset.videos:
            raise UnknownVideoError("there is no such video")
        return video_id

    def _overview(self, video_id: str) -> dict[str, Any]:
        labels = self._store.labels.video(video_id)
        suggested = self._suggestions.video(video_id)
        reviews = labels.reviews
        return {
            "id": video_id,
            "num_points": len(labels.points),
            "num_intervals": len(labels.intervals),
            "done": labels.done,
            "subset": self.dataset.subsets.get(video_id),
            "uncertainty": suggested.uncertainty,
            "num_open": sum(name not in reviews for name in suggested.by_id),
            **self.media.state(video_id),
        }

    def _order(self) -> list[str]:
        """Most uncertain first, then as in the folder; test videos last."""

        def rank(video_id: str) -> tuple[bool, float]:
            uncertainty = self._suggestions.video(video_id).uncertainty
            certainty = 1.0 if uncertainty is None else -uncertainty
            return self.dataset.subsets.get(video_id) == "test", certainty

        return sorted(self.dataset.videos, key=rank)

    def _detections(self, video_id: str) -> Iterator[dict[str, Any]]:
        reviews = self._store.labels.video(video_id).reviews
        for detection_id, found in self._suggestions.video(video_id).by_id.items():
            review = reviews.get(detection_id)
            shown = review or found
            yield {
                "id": detection_id,
                **{name: getattr(shown, name) for name in ("label", "score", "start_s", "end_s")},
                "subject": review.subject if review else None,
                "status": review.status if review else "open",
            }

    def _classes(self) -> list[str]:
        return self.dataset.classes(
            {name for each in self.count_labels().values() for name in each}
        )

    def _frame_rate(self, video_id: str) -> float | None:
        known = self.dataset.frame_rate(video_id)
        return known or (self.media.want(video_id).fps if video_id in self.dataset.videos else None)

    # ------------------------------------------------------------------ what the page changes

    def act(self, video_id: str, request: Request) -> dict[str, Any]:
        """Carry out an action; return the video as `video` does, and the point that is new.

        An action that comes once more, because its answer was lost, is only answered again.

        Raises:
            UnknownVideoError: there is no such video.
            RefusedError: the action makes no sense.
            ConflictError: it is about something that is gone.
            HrproError: it cannot be saved.
        """
        duration_s = self.media.want(self._known(video_id)).duration_s
        with self._lock:
            labels = self._store.labels
            if request.id not in labels.carried_out:
                self._take_over_edits()
                self._carry_out(video_id, request, duration_s)
                self._note_labels([video_id])
            created = labels.carried_out.get(request.id)
            return {**self.video(video_id, request.client), "created": created}

    def _take_over_edits(self) -> None:
        if changed := self._store.take_over_edits():
            self._note_labels(changed)
            self._note_labels(self._store.rename_classes(self.dataset.config.renamed))

    def _carry_out(self, video_id: str, request: Request, duration_s: float | None) -> None:
        action, of = request.action, None
        if isinstance(action, Step):
            of, values = self._step(video_id, request.client, action)
        else:
            action = self._under_present_name(action)
            self._check_class(getattr(action, "label", None))
            if isinstance(action, Mark) and self.dataset.no_marks is not None:
                raise RefusedError(self.dataset.no_marks)
            labels = self._store.labels.video(video_id)
            suggested = self._suggestions.video(video_id)
            new_id = f"p{self._store.labels.number + 1}"
            add_points = self.dataset.subsets.get(video_id) != "test"
            change = Change(labels, suggested, duration_s, new_id, add_points)
            values = change.values(action)
        wanted = action.model_dump(exclude_none=True)
        self._store.commit(request.client, wanted, {video_id: values}, of, request.id)

    def _under_present_name(self, action: Action) -> Action:
        """An action of a tab that has not heard of the new name of a class."""
        label = getattr(action, "label", None)
        present = current_name(label, self.dataset.config.renamed) if label else None
        return action if present is None else action.model_copy(update={"label": present})

    def edit_classes(self, edit: ClassEdit) -> dict[str, Any]:
        """Change the classes and everything that is labelled by them; return the state.

        ``dataset.yaml`` is written first. Should this be interrupted, the next start goes on.

        Raises:
            UsageError: the edit makes no sense.
            RefusedError: a deleted class has labels, or a published file has the class.
            HrproError: something cannot be written.
        """
        with self._lock:
            self._take_over_edits()
            before = ClassList.of(self.dataset.config, self._classes())
            after = edit.apply(before)
            gone = set(before.names) - set(after.names)
            self._check_published(gone)
            deleted = {name for name in gone if after.renamed.get(name, name) is None}
            if deleted and not getattr(edit, "with_labels", False):
                self._check_unused(deleted)
            self.dataset.set_classes(after)
            self._rename_classes()
            self._settings_changed_at = self._next_revision()
            return self.state()

    def count_labels(self) -> dict[str, Counter[str]]:
        """Return how many ``points``, ``intervals`` and ``videos`` (as listed) each class has."""
        labels = self._store.labels
        shown = (video.shown or frozenset() for video in labels.videos.values())
        return {
            "points": Counter(point.label for _, _, point in labels.points()),
            "intervals": Counter(interval.label for _, _, interval in labels.intervals()),
            "videos": Counter(label for labels in shown for label in labels),
        }

    def _rename_classes(self) -> None:
        """Bring all files in line with the names in ``dataset.yaml``."""
        renamed = self.dataset.config.renamed
        self._note_labels(self._store.rename_classes(renamed))
        self.load_suggestions()

    def _check_published(self, gone: set[str]) -> None:
        if self.dataset.no_marks and (there := sorted(gone & self.dataset.marked_classes)):
            raise RefusedError(f"{there[0]!r} cannot change: {self.dataset.no_marks}")

    def _check_unused(self, names: set[str]) -> None:
        counts = self.count_labels()
        for name in sorted(names):
            if number := sum(count_of[name] for count_of in counts.values()):
                raise RefusedError(
                    f"{name!r} has {count(number, 'label')}: merge it into another class, or "
                    "delete its labels, too (--with-labels)"
                )

    def add_class(self, name: str) -> dict[str, Any]:
        """Add a class to ``dataset.yaml``; return the state.

        Raises:
            UsageError: not a name, or ``dataset.yaml`` is wrong.
        """
        with self._lock:
            self.dataset.add_class(name)
            self._settings_changed_at = self._next_revision()
            return self.state()

    def set_reaction(self, reaction_s: float) -> dict[str, Any]:
        """Write the reaction time into ``dataset.yaml``; return the state.

        Raises:
            UsageError: out of range, or ``dataset.yaml`` is wrong.
        """
        with self._lock:
            self.dataset.set_reaction(reaction_s)
            self._settings_changed_at = self._next_revision()
            return self.state()

    def _check_class(self, label: str | None) -> None:
        if label is not None and label not in self._classes():
            raise RefusedError(f"there is no class {label!r}; add it first")

    def _step(self, video_id: str, client: str, step: Step) -> tuple[int, Values]:
        labels = self._store.labels.video(video_id)
        last = labels.to_undo if step.type == "undo" else labels.to_redo
        edit = last(client, self._store.earlier)
        if edit is None:
            raise ConflictError(f"nothing to {step.type} here")
        values = edit.before if step.type == "undo" else edit.after
        return edit.number, under_present_names(values, self.dataset.config.renamed)  # since then

    def _next_revision(self) -> int:
        self._revision += 1
        return self._revision

    def _note_labels(self, video_ids: Iterable[str]) -> None:
        for video_id in video_ids:
            self._labels_changed_at[video_id] = self._next_revision()

    def _note_media(self, video_id: str) -> None:
        with self._lock:
            self._media_changed_at[video_id] = self._next_revision()
