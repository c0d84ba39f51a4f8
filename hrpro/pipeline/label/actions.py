"""What the page may ask for, and which values each action sets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError

from hrpro.errors import HrproError
from hrpro.localize.data.points import DECIMALS
from hrpro.pipeline.label.state import DETECTION, DONE, POINT, Point, Review, Values, VideoLabels
from hrpro.pipeline.label.suggestions import VideoSuggestions

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


class Move(_Action):
    """Another time for a point."""

    type: Literal["move"]
    point: str
    time_s: FiniteFloat = Field(ge=0)


class Relabel(_Action):
    """Another class for a point, or for a detection, which accepts it."""

    type: Literal["relabel"]
    point: str | None = None
    detection: str | None = None
    label: str


class Delete(_Action):
    """No such point."""

    type: Literal["delete"]
    point: str


class Judge(_Action):
    """Yes, no, or nothing said yet about a detection."""

    type: Literal["accept", "reject", "reopen"]
    detection: str


class Retime(_Action):
    """Another span for a detection, which accepts it."""

    type: Literal["retime"]
    detection: str
    start_s: FiniteFloat = Field(ge=0)
    end_s: FiniteFloat = Field(ge=0)


class Done(_Action):
    """Whether a video needs no more labels."""

    type: Literal["done"]
    done: bool


class Step(_Action):
    """Back or forth in what this window did in this video."""

    type: Literal["undo", "redo"]


Action = Annotated[
    Add | Move | Relabel | Delete | Judge | Retime | Done | Step, Field(discriminator="type")
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
        raise RefusedError(f"{place}: {first['msg']}" if place else first["msg"]) from error


class Change:
    """Works out what an action sets in a video.

    Args:
        labels: the labels of the video.
        suggestions: what the model found in it.
        duration_s: its length, if that is known.
        new_id: name for the point that may be added.
    """

    def __init__(
        self,
        labels: VideoLabels,
        suggestions: VideoSuggestions,
        duration_s: float | None,
        new_id: str,
    ) -> None:
        self._labels = labels
        self._suggestions = suggestions
        self._duration_s = duration_s
        self._new_id = new_id

    def values(self, action: Action) -> Values:
        """Return the values that an action sets; undo and redo are not among these actions.

        Raises:
            RefusedError: a time outside of the video, neither point nor detection.
            ConflictError: no such point or detection any more.
        """
        match action:
            case Add():
                return {POINT + self._new_id: self._new_point(action)}
            case Move():
                point = self._known_point(action.point)
                time_s = self._inside(action.time_s)
                return {POINT + action.point: point.model_copy(update={"time_s": time_s})}
            case Delete():
                self._known_point(action.point)
                return {POINT + action.point: None, **self._reopened_with(action.point)}
            case Relabel(point=str(key), detection=None):
                point = self._known_point(key)
                return {POINT + key: point.model_copy(update={"label": action.label})}
            case Relabel(point=None, detection=str(key)):
                review = self._review(key)
                return self._accepted(key, review.model_copy(update={"label": action.label}))
            case Retime():
                start_s, end_s = self._inside(action.start_s), self._inside(action.end_s)
                if start_s >= end_s:
                    raise RefusedError("the end of a detection must lie after its start")
                span = {"start_s": start_s, "end_s": end_s}
                review = self._review(action.detection).model_copy(update=span)
                return self._accepted(action.detection, review)
            case Judge(type="accept"):
                return self._accepted(action.detection, self._review(action.detection))
            case Judge():
                return self._not_accepted(action.detection, action.type)
            case Done():
                return {DONE: action.done or None}
        raise RefusedError("relabel either a point or a detection")

    def _new_point(self, action: Add) -> Point:
        point = Point(label=action.label, time_s=self._inside(action.time_s))
        if any((p.label, p.time_s) == (point.label, point.time_s) for p in self._points()):
            raise RefusedError(f"{point.label!r} is there already at {point.time_s:.2f} s")
        return point

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
        """Accept a detection as `review` has it, with a point in its middle.

        A point that a person has set within the span already is enough: two would be two actions.
        """
        middle_s = self._inside((review.start_s + review.end_s) / 2)
        values: Values = {}
        point_id = review.point
        if point_id is None and not self._has_point(review):
            point_id = self._new_id
        if point_id is not None:
            point = Point(label=review.label, time_s=middle_s, source="accepted")
            values[POINT + point_id] = point
        update = {"status": "accepted", "point": point_id}
        return {DETECTION + detection_id: review.model_copy(update=update), **values}

    def _has_point(self, review: Review) -> bool:
        return any(
            point.label == review.label and review.start_s <= point.time_s <= review.end_s
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

    def _reopened_with(self, point_id: str) -> Values:
        """Return what becomes of a detection whose point is deleted: it is open again."""
        return {
            DETECTION + detection_id: None
            for detection_id, review in self._labels.reviews.items()
            if review.point == point_id
        }
