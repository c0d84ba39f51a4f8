"""What has been labelled so far, and how it came about: values, and a history to undo.

A journal entry says which values it sets. Everything here follows from the entries in their order,
so that a server that starts again is in the state in which the last one was stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, FiniteFloat

Source = Literal["click", "accepted", "marked", "file"]
POINT, INTERVAL, DETECTION, DONE = "point:", "interval:", "detection:", "done"
"""Names of values: ``point:ID``, ``interval:ID``, ``detection:ID``, and ``done`` for the video as a
whole."""
SHOWS, LISTED = "shows:", "listed"
"""And ``shows:CLASS`` for each class of a video of which somebody has ``listed`` all."""
NOT_UNDONE = {"import", "classes"}
"""Actions that are not of one video: what was read from files, and other names for classes."""


class Point(BaseModel):
    """A point label: this action happens here."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: str
    time_s: FiniteFloat
    source: Source = "click"
    """How it came: a key, a detection that was accepted, an interval that was marked, or a line
    somebody wrote in the file."""
    subject: str | None = None
    """Who does it."""
    modifiers: tuple[str, ...] = ()
    """How; comes from files and rides along."""


class Interval(BaseModel):
    """An action that a person has marked from its start to its end."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: str
    start_s: FiniteFloat
    end_s: FiniteFloat
    source: Source = "marked"
    point: str | None = None
    """The point that it added."""
    subject: str | None = None
    modifiers: tuple[str, ...] = ()
    more: dict[str, Any] = {}
    """What else a file from elsewhere says of it."""


class Review(BaseModel):
    """What a person said of a detection. A detection without one is open."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: Literal["accepted", "rejected"]
    label: str
    score: FiniteFloat
    start_s: FiniteFloat
    end_s: FiniteFloat
    point: str | None = None
    """The point that it added."""
    subject: str | None = None


Value: TypeAlias = Point | Interval | Review | bool
Values: TypeAlias = dict[str, Value | None]
"""Name of a value -> what it becomes; None removes it."""


class Entry(BaseModel):
    """One line of the journal."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: int
    """Counted from 1."""
    at: str
    """When, in UTC."""
    client: str
    """Which window of which browser."""
    id: str | None = None
    """Name that the window gave the action, so that it counts once, however often it is sent."""
    action: dict[str, object]
    """What was asked for."""
    of: int | None = None
    """For ``undo`` and ``redo``: the entry that is taken back or done again."""
    videos: dict[str, Values] = {}
    """What it sets, by video."""


@dataclass(frozen=True)
class Edit:
    """An entry that can be undone: each value before and after it."""

    number: int
    before: Values
    after: Values
    set_before: dict[str, int]
    """Number of the entry that had set each value before it; 0 for none."""
    moved_by: int
    """Number of the entry that did, undid or redid it last."""


@dataclass
class History:
    """What one window did in one video, oldest first."""

    done: list[Edit] = field(default_factory=list)
    undone: list[Edit] = field(default_factory=list)


class VideoLabels:
    """The labels of one video."""

    def __init__(self) -> None:
        self._values: dict[str, Value] = {}
        # Number of the entry that has set a value; undo and redo bring the old numbers back.
        # Values alone would not do: somebody else may have set the same ones since.
        self._set_by: dict[str, int] = {}
        self._histories: dict[str, History] = {}

    @property
    def points(self) -> dict[str, Point]:
        """The points by their ids, in order of time."""
        found = [
            (name.removeprefix(POINT), value)
            for name, value in self._values.items()
            if isinstance(value, Point)
        ]
        return dict(sorted(found, key=lambda item: (item[1].time_s, item[1].label, item[0])))

    @property
    def intervals(self) -> dict[str, Interval]:
        """The intervals by their ids, in order of time."""
        found = [
            (name.removeprefix(INTERVAL), value)
            for name, value in self._values.items()
            if isinstance(value, Interval)
        ]
        return dict(sorted(found, key=lambda item: (item[1].start_s, item[1].end_s, item[0])))

    @property
    def reviews(self) -> dict[str, Review]:
        """What was said of detections, by their ids."""
        return {
            name.removeprefix(DETECTION): value
            for name, value in self._values.items()
            if isinstance(value, Review)
        }

    @property
    def shown(self) -> frozenset[str] | None:
        """The classes that the video shows, as somebody has listed them; None if nobody has."""
        if self._values.get(LISTED) is not True:
            return None
        names = (name for name, value in self._values.items() if value is True)
        return frozenset(name.removeprefix(SHOWS) for name in names if name.startswith(SHOWS))

    @property
    def marked(self) -> frozenset[str]:
        """The classes of the points and intervals."""
        points, intervals = self.points.values(), self.intervals.values()
        return frozenset([p.label for p in points] + [i.label for i in intervals])

    @property
    def done(self) -> bool:
        """Whether the video was marked as done."""
        return self._values.get(DONE) is True

    @property
    def values(self) -> Mapping[str, Value]:
        """All values by their names."""
        return self._values

    def get(self, name: str) -> Value | None:
        """One value by its name."""
        return self._values.get(name)

    def to_undo(self, client: str, earlier: int = 0) -> Edit | None:
        """The last thing the window did and nothing has changed since, neither it nor another.

        So an undo never takes back what somebody else does. When the window has nothing more to
        take back, what was done before the program was started is next, whoever did it.

        Args:
            client: the window.
            earlier: number of the last entry of earlier sessions.
        """
        return self._last(
            client, "done", lambda edit: dict.fromkeys(edit.after, edit.number), earlier
        )

    def to_redo(self, client: str, earlier: int = 0) -> Edit | None:
        """What the window undid last, if nothing has changed since what that had brought back."""
        return self._last(client, "undone", lambda edit: edit.set_before, earlier)

    def _last(
        self, client: str, stack: str, set_by: Callable[[Edit], dict[str, int]], earlier: int
    ) -> Edit | None:
        """Return the last edit of a stack whose values are all still set by these entries."""
        own: list[Edit] = getattr(self._histories.get(client, History()), stack)
        left = [
            edit
            for history in self._histories.values()
            for edit in getattr(history, stack)
            if edit.moved_by <= earlier
        ]
        left.sort(key=lambda edit: edit.moved_by)
        return next(
            (
                edit
                for edit in (*reversed(own), *reversed(left))
                if all(self._set_by.get(name, 0) == n for name, n in set_by(edit).items())
            ),
            None,
        )

    def apply(self, entry: Entry, values: Mapping[str, Value | None]) -> None:
        """Set what an entry sets in this video and note it in the history of its window."""
        history = self._histories.setdefault(entry.client, History())
        kind = entry.action.get("type")
        set_by = dict.fromkeys(values, entry.number)
        if kind == "undo":
            set_by = self._move("done", history.undone, entry).set_before
        elif kind == "redo":
            set_by = dict.fromkeys(values, self._move("undone", history.done, entry).number)
        elif kind not in NOT_UNDONE:
            before = {name: self.get(name) for name in values}
            set_before = {name: self._set_by.get(name, 0) for name in values}
            edit = Edit(entry.number, before, dict(values), set_before, entry.number)
            history.done.append(edit)
            history.undone.clear()
        self._set_by.update(set_by)
        for name, value in values.items():
            if value is None:
                self._values.pop(name, None)
            else:
                self._values[name] = value

    def _move(self, source: str, target: list[Edit], entry: Entry) -> Edit:
        """Put an edit on a stack of the window that took it from where it was, its own or not."""
        for history in self._histories.values():
            edits: list[Edit] = getattr(history, source)
            for edit in edits:
                if edit.number == entry.of:
                    edits.remove(edit)
                    target.append(replace(edit, moved_by=entry.number))
                    return edit
        raise ValueError(f"entry {entry.number} undoes or redoes {entry.of}, which is not there")


class Labels:
    """The labels of all videos, out of journal entries."""

    def __init__(self) -> None:
        self.videos: dict[str, VideoLabels] = {}
        self.number = 0
        """Number of the last entry."""
        self.carried_out: dict[str, str | None] = {}
        """Ids of actions -> the point or interval that came into being, if one did."""

    def apply(self, entry: Entry) -> None:
        """Go on by one entry."""
        if entry.id is not None:
            self.carried_out[entry.id] = self._created(entry)
        for video_id, values in entry.videos.items():
            self.video(video_id).apply(entry, values)
        self.number = entry.number

    def _created(self, entry: Entry) -> str | None:
        new = [
            name
            for video_id, values in entry.videos.items()
            for name, value in values.items()
            if isinstance(value, Point | Interval) and self.video(video_id).get(name) is None
        ]
        new.sort(key=lambda name: name.startswith(POINT))  # an interval rather than its point
        return new[0].partition(":")[2] if new else None

    def video(self, video_id: str) -> VideoLabels:
        """The labels of one video; empty ones for a video that was not labelled yet."""
        return self.videos.setdefault(video_id, VideoLabels())

    def points(self) -> Iterator[tuple[str, str, Point]]:
        """Yield video id, point id and point: videos by name, their points by time."""
        for video_id in sorted(self.videos):
            for point_id, point in self.videos[video_id].points.items():
                yield video_id, point_id, point

    def intervals(self) -> Iterator[tuple[str, str, Interval]]:
        """Yield video id, interval id and interval, in the same order."""
        for video_id in sorted(self.videos):
            for interval_id, interval in self.videos[video_id].intervals.items():
                yield video_id, interval_id, interval
