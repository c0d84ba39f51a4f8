"""What the page may ask for, and which values each action sets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal, TypeVar
from uuid import uuid4

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from hrpro.errors import HrproError
from hrpro.localize.data.points import DECIMALS
from hrpro.pipeline.label.state import (
    DETECTION,
    DONE,
    INTERVAL,
    POINT,
    Interval,
    Point,
    Review,
    Values,
    VideoLabels,
)
from hrpro.pipeline.label.suggestions import VideoSuggestions
from hrpro.pipeline.label.video_labels_file import listing

END_SLACK_S = 0.5
"""Headers and players do not quite agree on where a video ends."""


class RefusedError(HrproError):
    """An action that makes no sense; nothing was changed."""


class ConflictError(HrproError):
    """An action on something that another window has changed meanwhile."""


class _Action(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Add(_Action):
    """A new point."""

    type: Literal["add"]
    label: str
    time_s: FiniteFloat = Field(ge=0)


class Mark(_Action):
    """A new interval: start and end of an action."""

    type: Literal["mark"]
    label: str
    start_s: FiniteFloat = Field(ge=0)
    end_s: FiniteFloat = Field(ge=0)


class Move(_Action):
    """Another time for a point."""

    type: Literal["move"]
    point: str
    time_s: FiniteFloat = Field(ge=0)


class _OnOne(_Action):
    """Something done to one thing."""

    point: str | None = None
    interval: str | None = None
    detection: str | None = None

    @model_validator(mode="after")
    def _names_one(self) -> _OnOne:
        if sum(each is not None for each in (self.point, self.interval, self.detection)) != 1:
            raise ValueError("name one point, interval or detection")
        return self


class Relabel(_OnOne):
    """Another class for a point or an interval, or for a detection, which accepts it."""

    type: Literal["relabel"]
    label: str


class Who(_OnOne):
    """Who does it: a subject, or none; of a detection, this accepts it."""

    type: Literal["who"]
    subject: str | None = Field(None, min_length=1, max_length=100)


class Delete(_OnOne):
    """No such point or interval."""

    type: Literal["delete"]


class Judge(_Action):
    """Yes, no, or nothing said yet about a detection."""

    type: Literal["accept", "reject", "reopen"]
    detection: str


class Retime(_OnOne):
    """Another span for an interval, or for a detection, which accepts it."""

    type: Literal["retime"]
    start_s: FiniteFloat = Field(ge=0)
    end_s: FiniteFloat = Field(ge=0)


class Done(_Action):
    """Whether a video needs no more labels."""

    type: Literal["done"]
    done: bool


class Tick(_Action):
    """Whether the video shows a class, somewhere."""

    type: Literal["tick"]
    label: str
    shown: bool


class Listed(_Action):
    """The video shows what is ticked and nothing else; it needs no more labels."""

    type: Literal["listed"]


class Step(_Action):
    """Back or forth in what this window did in this video."""

    type: Literal["undo", "redo"]


Action = Annotated[
    Add | Mark | Move | Relabel | Who | Delete | Judge | Retime | Done | Tick | Listed | Step,
    Field(discriminator="type"),
]


class Request(BaseModel):
    """Body of a request: an action, its name, and the window that it comes from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    client: str = Field(min_length=1, max_length=100)
    id: str = Field(default_factory=lambda: uuid4().hex, min_length=1, max_length=100)
    """An action that is sent again under its name is not done again."""
    action: Action


_REQUEST = TypeAdapter(Request)


def read_request(body: bytes) -> Request:
    """Read the body of a request.

    Raises:
        RefusedError: it is not JSON, or not an action; says what is wrong with it.
    """
    try:
        return _REQUEST.validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        reason = first["msg"].removeprefix("Value error, ")
        raise RefusedError(f"{place}: {reason}" if place else reason) from error


_Spanning = TypeVar("_Spanning", Review, Interval)


class Change:
    """Works out what an action sets in a video.

    One action has one point. So whatever has a start and an end, a detection that was accepted or
    an interval that was marked, adds a point in its middle and keeps it there, unless a person has
    set one of its class within it.

    Args:
        labels: the labels of the video.
        suggestions: what the model found in it.
        duration_s: its length, if that is known.
        new_id: name for the point that may be added.
        add_points: whether intervals add points, which no test video needs.
    """

    def __init__(
        self,
        labels: VideoLabels,
        suggestions: VideoSuggestions,
        duration_s: float | None,
        new_id: str,
        add_points: bool = True,
    ) -> None:
        self._labels = labels
        self._suggestions = suggestions
        self._duration_s = duration_s
        self._new_id = new_id
        self._add_points = add_points

    def values(self, action: Action) -> Values:
        """Return the values that an action sets; undo and redo are not among these actions.

        Raises:
            RefusedError: a time outside of the video, an end before its start, something twice.
            ConflictError: no such point, interval or detection any more.
        """
        match action:
            case Add():
                return {POINT + self._new_id: self._new_point(action)}
            case Move():
                point = self._known_point(action.point)
                time_s = self._inside(action.time_s)
                return {POINT + action.point: point.model_copy(update={"time_s": time_s})}
            case Mark():
                return self._new_interval(action)
            case Delete(point=str(key)):
                self._known_point(key)
                return {POINT + key: None, **self._without_point(key)}
            case Delete(interval=str(key)):
                interval = self._known_interval(key)
                own = {POINT + interval.point: None} if interval.point else {}
                return {INTERVAL + key: None, **own}
            case Relabel():
                return self._changed(action, {"label": action.label})
            case Who():
                return self._changed(action, {"subject": action.subject})
            case Retime(point=None):
                return self._changed(action, self._span(action))
            case Judge(type="accept"):
                return self._accepted(action.detection, self._review(action.detection))
            case Judge():
                return self._not_accepted(action.detection, action.type)
            case Done():
                return {DONE: action.done or None}
            case Tick():
                change = frozenset.union if action.shown else frozenset.difference
                return listing(change(self._shown(), {action.label}), self._labels.shown)
            case Listed():
                return {**listing(self._shown(), self._labels.shown), DONE: True}
        raise RefusedError(f"{action.type}: not for this")

    def _shown(self) -> frozenset[str]:
        """The classes that are listed; those of points and intervals, where none is."""
        if self._labels.shown is not None:
            return self._labels.shown
        return self._labels.marked

    def _new_point(self, action: Add) -> Point:
        point = Point(label=action.label, time_s=self._inside(action.time_s))
        if any((p.label, p.time_s) == (point.label, point.time_s) for p in self._points()):
            raise RefusedError(f"{point.label!r} is there already at {point.time_s:.2f} s")
        return point

    def _new_interval(self, action: Mark) -> Values:
        interval = Interval(label=action.label, **self._span(action))
        new = (interval.label, interval.start_s, interval.end_s)
        if any((i.label, i.start_s, i.end_s) == new for i in self._labels.intervals.values()):
            raise RefusedError(f"{interval.label!r} is there already at {interval.start_s:.2f} s")
        return self._marked(f"i{self._new_id}", interval)

    def _span(self, action: Mark | Retime) -> dict[str, float]:
        start_s, end_s = self._inside(action.start_s), self._inside(action.end_s)
        if start_s >= end_s:
            raise RefusedError("the end must lie after the start")
        return {"start_s": start_s, "end_s": end_s}

    def _changed(self, action: Relabel | Who | Retime, update: Mapping[str, object]) -> Values:
        """Return what it is that becomes of a point, an interval or a detection."""
        if action.point is not None:
            point = self._known_point(action.point)
            return {POINT + action.point: point.model_copy(update=update)}
        if action.interval is not None:
            interval = self._known_interval(action.interval)
            return self._marked(action.interval, interval.model_copy(update=update))
        key = str(action.detection)
        return self._accepted(key, self._review(key).model_copy(update=update))

    def _points(self) -> Iterable[Point]:
        return self._labels.points.values()

    def _inside(self, time_s: float) -> float:
        if self._duration_s is not None and time_s > self._duration_s:
            if time_s > self._duration_s + END_SLACK_S:
                raise RefusedError(
                    f"{time_s:.2f} s lies after the end of the video ({self._duration_s:.2f} s)"
                )
            time_s = self._duration_s
        return round(time_s, DECIMALS)

    def _known_point(self, point_id: str) -> Point:
        point = self._labels.get(POINT + point_id)
        if not isinstance(point, Point):
            raise ConflictError("this point is gone: it was deleted in another window")
        return point

    def _known_interval(self, interval_id: str) -> Interval:
        interval = self._labels.get(INTERVAL + interval_id)
        if not isinstance(interval, Interval):
            raise ConflictError("this interval is gone: it was deleted in another window")
        return interval

    def _review(self, detection_id: str) -> Review:
        """Return the review of a detection; of one that is still open, as if it was accepted."""
        review = self._labels.get(DETECTION + detection_id)
        if isinstance(review, Review):
            return review
        found = self._suggestions.by_id.get(detection_id)
        if found is None:
            raise ConflictError("this detection is gone: the model has made new ones")
        return Review(
            status="accepted",
            label=found.label,
            score=found.score,
            start_s=found.start_s,
            end_s=found.end_s,
        )

    def _accepted(self, detection_id: str, review: Review) -> Values:
        """Accept a detection as `review` has it."""
        review, point = self._with_point(review, "accepted")
        accepted = review.model_copy(update={"status": "accepted"})
        return {DETECTION + detection_id: accepted, **point}

    def _marked(self, interval_id: str, interval: Interval) -> Values:
        """Set an interval."""
        point: Values = {}
        if self._add_points or interval.point is not None:
            interval, point = self._with_point(interval, "marked")
        return {INTERVAL + interval_id: interval, **point}

    def _with_point(
        self, action: _Spanning, source: Literal["accepted", "marked"]
    ) -> tuple[_Spanning, Values]:
        """Return what has a start and an end with its point, and what sets that."""
        point_id = action.point
        if point_id is None and not self._has_point(action):
            point_id = self._new_id
        if point_id is None:
            return action, {}
        point = Point(
            label=action.label,
            time_s=self._inside((action.start_s + action.end_s) / 2),
            source=source,
            subject=action.subject,
        )
        return action.model_copy(update={"point": point_id}), {POINT + point_id: point}

    def _has_point(self, action: Review | Interval) -> bool:
        return any(
            point.label == action.label
            and action.start_s <= point.time_s <= action.end_s
            and (None in (point.subject, action.subject) or point.subject == action.subject)
            for point in self._points()
        )

    def _not_accepted(self, detection_id: str, judgement: str) -> Values:
        """Reject or reopen a detection; the point that it added goes."""
        review = self._review(detection_id)
        values: Values = {POINT + review.point: None} if review.point else {}
        if judgement == "reopen":
            values[DETECTION + detection_id] = None
        else:
            update = {"status": "rejected", "point": None}
            values[DETECTION + detection_id] = review.model_copy(update=update)
        return values

    def _without_point(self, point_id: str) -> Values:
        """Return what becomes of the owner of a point that is deleted.

        A detection is open again; an interval stays, without a point.
        """
        values: Values = {
            DETECTION + detection_id: None
            for detection_id, review in self._labels.reviews.items()
            if review.point == point_id
        }
        for interval_id, interval in self._labels.intervals.items():
            if interval.point == point_id:
                values[INTERVAL + interval_id] = interval.model_copy(update={"point": None})
        return values
