"""What detection gives: labelled, scored spans per video, and the result JSON that holds them.

The JSON is the ActivityNet detection format, so that evaluation code made for it works unchanged,
plus a few keys: ``events`` (what remains of the detections for people: one span per action, in
time order), ``videos`` (where each video is, how long, when its picture starts), ``model`` (what
made the detections), and on request ``curves`` (the class activation sequences behind them).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hrpro.errors import DataError
from hrpro.wording import some

#: The version string of ActivityNet's own detection files; it names the format, not this program.
FORMAT_VERSION = "VERSION 1.3"


@dataclass(frozen=True)
class Detection:
    """One action that was found: a label, a score, and where it starts and ends in seconds.

    `subject` (who does it) and `modifiers` (how) come from people and other tools, and ride along.

    Raises:
        DataError: the label is empty, a number is not finite, or the end lies before the start.
    """

    label: str
    score: float
    start_s: float
    end_s: float
    subject: str | None = field(default=None, kw_only=True)
    modifiers: tuple[str, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.label, str) or not self.label:
            raise DataError(f"the label must be a non-empty text, not {self.label!r}")
        for name in ("score", "start_s", "end_s"):
            object.__setattr__(self, name, _finite(getattr(self, name), name.removesuffix("_s")))
        if self.end_s < self.start_s:
            raise DataError(f"the end {self.end_s:g} lies before the start {self.start_s:g}")


@dataclass(frozen=True)
class Curves:
    """Class activation sequences of one video: how strongly each class fires over time.

    Value k of a class belongs to the time ``start_s + k * step_s``.

    Raises:
        DataError: a number is not finite, or the step is not positive.
    """

    start_s: float
    step_s: float
    classes: Mapping[str, Sequence[float]]

    def __post_init__(self) -> None:
        for name in ("start_s", "step_s"):
            object.__setattr__(self, name, _finite(getattr(self, name), name.removesuffix("_s")))
        if self.step_s <= 0:
            raise DataError(f"the step of the curves must be above 0, not {self.step_s:g}")
        values = {
            label: tuple(_finite(value, "curve") for value in curve)
            for label, curve in self.classes.items()
        }
        object.__setattr__(self, "classes", values)


@dataclass(frozen=True)
class VideoResult:
    """The detections of one video, highest score first.

    `path`, `duration_s` and `fps` (frames per second) are None where a file does not tell them,
    and so are `start_s` and the `curves`. All times are in the video file's own clock, the one that
    players show: the picture lasts from `start_s` to `duration_s`. Mostly `start_s` is 0; it is not
    where sound begins before the picture, or where the first pictures cannot be shown.
    """

    video_id: str
    path: str | None = None
    duration_s: float | None = None
    fps: float | None = None
    detections: tuple[Detection, ...] = ()
    curves: Curves | None = None
    start_s: float | None = None
    events: tuple[Detection, ...] | None = None
    """What the detections say for people, in time order; None where nobody made events of them."""

    def __post_init__(self) -> None:
        ranked = sorted(self.detections, key=lambda detection: -detection.score)
        object.__setattr__(self, "detections", tuple(ranked))
        if self.events is not None:
            object.__setattr__(self, "events", tuple(sorted(self.events, key=time_order)))

    @property
    def spans(self) -> tuple[Detection, ...]:
        """In time order, the events, or all detections where nobody made events of them."""
        if self.events is not None:
            return self.events
        return tuple(sorted(self.detections, key=time_order))

    def filter(
        self,
        min_score: float | None = None,
        top_k: int | None = None,
        classes: Collection[str] | None = None,
    ) -> VideoResult:
        """Keep what is of `classes` and scores at least `min_score`, the best `top_k` of it.

        That goes for the detections, and in the same way for the events.
        """

        def kept(spans: Sequence[Detection]) -> tuple[Detection, ...]:
            wanted = [
                each
                for each in sorted(spans, key=lambda each: -each.score)
                if (min_score is None or each.score >= min_score)
                and (classes is None or each.label in classes)
            ]
            return tuple(wanted[:top_k])

        events = None if self.events is None else kept(self.events)
        return replace(self, detections=kept(self.detections), events=events)

    def with_each(self, change: Callable[[Detection], Detection]) -> VideoResult:
        """The same with every detection, and every event, changed in one way."""
        events = None if self.events is None else tuple(map(change, self.events))
        return replace(self, detections=tuple(map(change, self.detections)), events=events)

    def for_people(self) -> VideoResult:
        """The same with the events in place of the detections, if there are events."""
        return self if self.events is None else replace(self, detections=self.events, events=None)


@dataclass(frozen=True)
class Note:
    """What a person should know of how a file was read."""

    where: str
    """Place in the file: a line number, or words such as ``observation 'first'``; may be empty."""
    what: str
    marks: int = 0
    """How many marks were left out because of it."""


@dataclass(frozen=True)
class Results:
    """The detections of a run: its videos, and the `model` that made them (a JSON object).

    `notes` say what the reader of a file left out and took for granted; they are not compared.
    """

    videos: tuple[VideoResult, ...] = ()
    model: dict[str, Any] = field(default_factory=dict)
    notes: tuple[Note, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "videos", tuple(self.videos))
        object.__setattr__(self, "notes", tuple(self.notes))
        seen: set[str] = set()
        for video in self.videos:
            if video.video_id in seen:
                raise DataError(f"two videos have the name {video.video_id!r}")
            seen.add(video.video_id)

    def video(self, video_id: str) -> VideoResult:
        """Return the result of one video.

        Raises:
            DataError: there is no such video; lists some that are there.
        """
        for video in self.videos:
            if video.video_id == video_id:
                return video
        known = some((video.video_id for video in self.videos), 5) or "none at all"
        raise DataError(f"no video {video_id!r} in the results (there are {known})")

    def filter(
        self,
        min_score: float | None = None,
        top_k: int | None = None,
        classes: Collection[str] | None = None,
    ) -> Results:
        """Filter every video, see :meth:`VideoResult.filter`; `top_k` counts per video."""
        videos = tuple(video.filter(min_score, top_k, classes) for video in self.videos)
        return replace(self, videos=videos)

    def for_people(self) -> Results:
        """The same with events in place of detections, in every video that has events."""
        return replace(self, videos=tuple(video.for_people() for video in self.videos))


def to_json(results: Results) -> dict[str, Any]:
    """Return `results` as the JSON object of the result file."""
    return {
        "version": FORMAT_VERSION,
        "results": {
            video.video_id: [_detection_json(detection) for detection in video.detections]
            for video in results.videos
        },
        **_events_json(results),
        "external_data": {},
        "videos": {
            video.video_id: {
                "path": video.path,
                "duration": video.duration_s,
                "fps": video.fps,
                **({} if video.start_s is None else {"start_s": video.start_s}),
            }
            for video in results.videos
        },
        "model": results.model,
        **_curves_json(results),
    }


def _detection_json(detection: Detection) -> dict[str, Any]:
    row: dict[str, Any] = {
        "label": detection.label,
        "score": detection.score,
        "segment": [detection.start_s, detection.end_s],
    }
    if detection.subject is not None:
        row["subject"] = detection.subject
    if detection.modifiers:
        row["modifiers"] = list(detection.modifiers)
    return row


def _events_json(results: Results) -> dict[str, Any]:
    events = {
        video.video_id: [_detection_json(event) for event in video.events]
        for video in results.videos
        if video.events is not None
    }
    return {"events": events} if events else {}


def _curves_json(results: Results) -> dict[str, Any]:
    curves = {
        video.video_id: {
            "start": video.curves.start_s,
            "step": video.curves.step_s,
            "classes": {label: list(curve) for label, curve in video.curves.classes.items()},
        }
        for video in results.videos
        if video.curves is not None
    }
    return {"curves": curves} if curves else {}


def from_json(value: Any, left_out: Callable[[str, DataError], None] | None = None) -> Results:
    """Read the JSON object of a result file; plain ActivityNet detection files are welcome.

    Args:
        value: the object.
        left_out: is told where a detection cannot be read, and why, and the others are returned.

    Raises:
        DataError: something is missing or malformed; says what and in which video.
    """
    if not isinstance(value, Mapping) or not isinstance(value.get("results"), Mapping):
        raise DataError('not a result file: it has no object "results"')
    about = value.get("videos", {})
    model = value.get("model", {})
    curves, events = value.get("curves", {}), value.get("events", {})
    if not all(isinstance(each, Mapping) for each in (about, model, curves, events)):
        raise DataError('"events", "videos", "model" and "curves" must be objects')
    found = value["results"]
    video_ids = list(dict.fromkeys([*found, *events, *about, *curves]))
    videos = []
    for video_id in video_ids:
        try:
            video = _video(video_id, found.get(video_id, []), about.get(video_id, {}), left_out)
            happened = None
            if video_id in events:
                happened = _detections(video_id, events[video_id], "event", left_out)
            videos.append(replace(video, events=happened, curves=_curves(curves.get(video_id))))
        except DataError as error:
            raise DataError(f"video {video_id!r}: {error}") from error
    return Results(tuple(videos), dict(model))


def write_results_json(results: Results, path: Path) -> None:
    """Write the result JSON, one detection a line, so that people and ``diff`` can read it."""
    value = to_json(results)
    members = [
        f' "{key}": ' + (_rows_text(member) if key in ("results", "events") else _dump(member))
        for key, member in value.items()
    ]
    path.write_text("{\n" + ",\n".join(members) + "\n}\n", encoding="utf-8")


def _rows_text(rows_of: Mapping[str, list[dict[str, Any]]]) -> str:
    videos = [
        f"  {_dump(video_id)}: [" + ",".join(f"\n   {_dump(row)}" for row in rows) + "]"
        for video_id, rows in rows_of.items()
    ]
    return "{\n" + ",\n".join(videos) + "\n }"


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _video(
    video_id: str,
    rows: Any,
    about: Any,
    left_out: Callable[[str, DataError], None] | None,
) -> VideoResult:
    if not isinstance(about, Mapping):
        raise DataError("what is known of the video must be an object")
    path, *numbers = (about.get(key) for key in ("path", "duration", "fps", "start_s"))
    if path is not None and not isinstance(path, str):
        raise DataError(f"the path must be a text, not {path!r}")
    detections = _detections(video_id, rows, "detection", left_out)
    duration_s, fps, start_s = (
        None if number is None else _finite(number, name)
        for number, name in zip(numbers, ("duration", "fps", "start_s"), strict=True)
    )
    return VideoResult(video_id, path, duration_s, fps, detections, start_s=start_s)


def _detections(
    video_id: str, rows: Any, what: str, left_out: Callable[[str, DataError], None] | None
) -> tuple[Detection, ...]:
    if not isinstance(rows, list):
        raise DataError(f"the {what}s must be a list")
    detections = []
    for number, row in enumerate(rows, start=1):
        try:
            detections.append(_detection(row))
        except DataError as error:
            if left_out is None:
                raise DataError(f"{what} {number}: {error}") from error
            left_out(f"video {video_id!r}: {what} {number}", error)
    return tuple(detections)


def _curves(value: Any) -> Curves | None:
    if value is None:
        return None
    if not isinstance(value, Mapping) or not isinstance(value.get("classes"), Mapping):
        raise DataError('the curves must be an object with "start", "step" and "classes"')
    if not all(isinstance(curve, list) for curve in value["classes"].values()):
        raise DataError("a curve must be a list of numbers")
    step: Any = value.get("step")  # `Curves` refuses what is no number
    return Curves(value.get("start", 0.0), step, value["classes"])


def _detection(row: Any) -> Detection:
    if not isinstance(row, Mapping):
        raise DataError(f"must be an object, not {row!r}")
    missing = [key for key in ("label", "score", "segment") if key not in row]
    if missing:
        raise DataError(f"has no {' and no '.join(missing)}")
    segment = row["segment"]
    if not isinstance(segment, list) or len(segment) != 2:
        raise DataError(f"the segment must be [start, end] in seconds, not {segment!r}")
    subject, modifiers = row.get("subject"), row.get("modifiers", [])
    if not (subject is None or isinstance(subject, str)):
        raise DataError(f"the subject must be a text, not {subject!r}")
    if not (isinstance(modifiers, list) and all(isinstance(each, str) for each in modifiers)):
        raise DataError(f"the modifiers must be a list of texts, not {modifiers!r}")
    return Detection(
        row["label"], row["score"], *segment, subject=subject, modifiers=tuple(modifiers)
    )


def time_order(detection: Detection) -> tuple[float, float, str]:
    """By which spans are sorted that are to be in time order."""
    return detection.start_s, detection.end_s, detection.label


def _finite(value: Any, name: str) -> float:
    """Return `value` as a plain float; NumPy numbers are welcome, texts and booleans are not."""
    if isinstance(value, str | bytes | bool):
        raise DataError(f"the {name} must be a number, not {value!r}")
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"the {name} must be a number, not {value!r}") from None
    if not math.isfinite(number):
        raise DataError(f"the {name} must be a finite number, not {value!r}")
    return number
