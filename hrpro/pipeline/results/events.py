"""From ranked detections to events: one span per action, in time order, as people want them.

A localizer leaves many overlapping detections of each action; mAP wants them all, as only their
order counts. People ask how often something happens, and when. So for them, of each class only
what scores above the class's threshold counts, each action once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from itertools import groupby
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hrpro.arguments import check_number
from hrpro.errors import DataError, UsageError
from hrpro.pipeline.results.model import Detection, Results, time_order
from hrpro.wording import some

RULES_KEY = "event_rules"
"""What the model of a result file calls the rules of its events, made or recommended."""
DEFAULT_THRESHOLD = 0.4
"""Where nobody has chosen one."""
_SAME = 0.5
"""Share of the shorter of two spans of one class from which on they are the same action."""
_LEFT = 0.5
"""Share of a span that must remain where others cut it."""


class EventRules(BaseModel):
    """Which detections are events."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    threshold: float = DEFAULT_THRESHOLD
    """Score from which on a detection counts."""
    thresholds: dict[str, float] = {}
    """The same for single classes."""
    min_duration_s: float = Field(0.0, ge=0)
    """Shorter events are left out."""
    merge_gap_s: float = Field(0.0, ge=0)
    """Events of one class that are less than this apart become one; 0 keeps neighbours apart."""
    exclusive: bool = False
    """Only one class at a time: of two that overlap, the one with the higher score wins."""

    def threshold_of(self, label: str) -> float:
        """Score from which on a detection of this class counts."""
        return self.thresholds.get(label, self.threshold)


def make_events(results: Results, rules: EventRules) -> Results:
    """Fill the `events` of every video; the detections stay, and the model notes the rules."""
    videos = tuple(
        replace(video, events=events_of(video.detections, rules)) for video in results.videos
    )
    return replace(results, videos=videos, model=with_rules(results.model, rules))


def events_of(detections: Iterable[Detection], rules: EventRules) -> tuple[Detection, ...]:
    """The events of one video, in time order; those of one class and subject do not overlap.

    What different subjects do is different actions, so each subject is looked at alone.

    The best detections come first. One of a lower score that shares half of the shorter of both
    with a better one of its class is the same action again, and left out. Does it share less, it
    is the action next to it, and is cut to the longest piece that is free; if that is less than
    half of it, it is left out as well. With `EventRules.exclusive` the same goes for all classes
    together. Then neighbours are merged, and what is too short is left out.

    Events that are made of events by the same rules are the same events.
    """
    row = partial(_row, rules)
    wanted = sorted(
        (each for each in detections if each.score >= rules.threshold_of(each.label)), key=row
    )
    groups = (group for _, group in groupby(wanted, key=row))
    events = [event for group in groups for event in _without_overlaps(group)]
    while True:  # what was too short does not keep its neighbours apart any more
        before = len(events)
        events = _merged(events, rules)
        events = [
            each for each in events if _seconds(each.start_s, each.end_s) >= rules.min_duration_s
        ]
        if len(events) == before:
            return tuple(sorted(events, key=time_order))


def _row(rules: EventRules, span: Detection) -> tuple[str, str]:
    """In what a span may not overlap with others: its subject, and its class unless exclusive."""
    return span.subject or "", "" if rules.exclusive else span.label


def _without_overlaps(detections: Iterable[Detection]) -> list[Detection]:
    """Cut and leave out, best score first, until nothing overlaps."""
    kept: list[Detection] = []
    for each in sorted(detections, key=lambda each: (-each.score, *time_order(each))):
        if any(_are_same(each, other) for other in kept):
            continue
        start_s, end_s = _longest_free(each, kept)
        if end_s - start_s >= _LEFT * (each.end_s - each.start_s):
            kept.append(replace(each, start_s=start_s, end_s=end_s))
    return kept


def _are_same(one: Detection, other: Detection) -> bool:
    shared_s = min(one.end_s, other.end_s) - max(one.start_s, other.start_s)
    shorter_s = min(one.end_s - one.start_s, other.end_s - other.start_s)
    return shared_s >= _SAME * shorter_s


def _longest_free(span: Detection, taken: Iterable[Detection]) -> tuple[float, float]:
    """Start and end of the longest piece of a span, in seconds, in which nothing is taken."""
    pieces: list[tuple[float, float]] = []
    free_s = span.start_s
    for other in sorted(taken, key=time_order):
        if other.end_s > span.start_s and other.start_s < span.end_s:
            pieces.append((free_s, other.start_s))
            free_s = other.end_s
    pieces.append((free_s, span.end_s))
    return max(pieces, key=lambda piece: piece[1] - piece[0])


def _merged(events: Iterable[Detection], rules: EventRules) -> list[Detection]:
    """Join neighbours of one class; with exclusive classes, no other may lie between them."""
    merged: list[Detection] = []
    last: dict[tuple[str, str], int] = {}
    for event in sorted(events, key=time_order):
        row = _row(rules, event)
        before = merged[last[row]] if row in last else None
        if (
            before is not None
            and before.label == event.label
            and _seconds(before.end_s, event.start_s) < rules.merge_gap_s
        ):
            best = max(before, event, key=lambda each: each.score)
            merged[last[row]] = replace(best, start_s=before.start_s, end_s=event.end_s)
        else:
            last[row] = len(merged)
            merged.append(event)
    return merged


def _seconds(start_s: float, end_s: float) -> float:
    return round(end_s - start_s, 6)  # from 0.1 to 0.3 is as long as 0.2


# --------------------------------------------------------------------- what a person asks for


@dataclass(frozen=True)
class EventOptions:
    """What was asked for of the events; what was not is as the model recommends it."""

    events: bool | None = None
    """True: make them; False: show all detections; None: those that there are, if any."""
    threshold: Sequence[str] = ()
    """``0.4`` for all classes, ``jump=0.4`` for one."""
    min_duration_s: float | None = None
    merge_gap_s: float | None = None
    exclusive: bool | None = None

    def __post_init__(self) -> None:
        for text in self.threshold:
            _parse_threshold(text)
        for option, limit_s in (
            ("--min-duration", self.min_duration_s),
            ("--merge-gap", self.merge_gap_s),
        ):
            if limit_s is not None:
                check_number(option, limit_s, "seconds, 0 or more")
        if self.exclusive not in (None, True, False):
            raise UsageError(f"--exclusive {self.exclusive!r}: give True or False")
        if self.events is False and self.given:
            raise UsageError("--all shows detections as they are: no event option goes with it")

    @property
    def given(self) -> bool:
        """Whether any rule was asked for."""
        limits = (self.min_duration_s, self.merge_gap_s, self.exclusive)
        return bool(self.threshold) or any(limit is not None for limit in limits)

    @property
    def asked_thresholds(self) -> list[float]:
        """All thresholds that were asked for."""
        return [_parse_threshold(text)[1] for text in self.threshold]

    def rules(self, recommended: EventRules, classes: Iterable[str] = ()) -> EventRules:
        """The rules to make events by.

        Args:
            recommended: where nothing else was asked for.
            classes: that there can be, if that is known.

        Raises:
            UsageError: a threshold is asked for of a class that there is not.
        """
        known = list(classes)
        changed: dict[str, Any] = {
            name: value
            for name in ("min_duration_s", "merge_gap_s", "exclusive")
            if (value := getattr(self, name)) is not None
        }
        named = dict(map(_parse_threshold, self.threshold))
        if None in named:
            changed.update(threshold=named.pop(None), thresholds={})
        for label in named:
            if known and label not in known:
                near = get_close_matches(str(label), known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"there are {some(known, 10)}"
                raise UsageError(f"--threshold: there is no class {label!r}; {hint}")
        of_classes = {**changed.get("thresholds", recommended.thresholds), **named}
        return recommended.model_copy(update={**changed, "thresholds": of_classes})

    def apply(self, results: Results, classes: Iterable[str] | None = None) -> Results:
        """Make events of results, or take them away, as was asked for.

        Args:
            results: with all detections.
            classes: that there can be; by default those that the results know of.

        Raises:
            UsageError: a threshold is asked for of a class that there is not.
            DataError: the rules that the results have noted are damaged.
        """
        if self.events is False:
            videos = tuple(replace(video, events=None) for video in results.videos)
            return replace(results, videos=videos)
        has_events = any(video.events is not None for video in results.videos)
        if not self.given and (self.events is None or has_events):
            return results
        recommended = recommended_rules(results.model) or EventRules()
        known = known_classes(results) if classes is None else classes
        return make_events(results, self.rules(recommended, known))


def recommended_rules(model: Mapping[str, Any]) -> EventRules | None:
    """The rules that the model of a result file has noted; None if it has none.

    Raises:
        DataError: they are damaged.
    """
    noted = model.get(RULES_KEY)
    if noted is None:
        return None
    try:
        return EventRules.model_validate(noted)
    except ValidationError as error:
        raise DataError(f"the {RULES_KEY} are damaged: {error.errors()[0]['msg']}") from error


def with_rules(model: Mapping[str, Any], rules: EventRules) -> dict[str, Any]:
    """What is known of a model, with the rules of its events."""
    return {**model, RULES_KEY: rules.model_dump(mode="json")}


def known_classes(results: Results) -> list[str]:
    """The classes that the model says it can find, and those that were found."""
    listed = results.model.get("classes")
    own = [each for each in listed if isinstance(each, str)] if isinstance(listed, list) else []
    found = (each.label for video in results.videos for each in video.detections)
    return list(dict.fromkeys([*own, *found]))


def _parse_threshold(text: str) -> tuple[str | None, float]:
    """The class, or None for all, and the score."""
    label, separator, number = text.rpartition("=")
    try:
        threshold = float(number)
        if threshold == threshold and abs(threshold) != float("inf"):
            return (label.strip() if separator else None), threshold
    except ValueError:
        pass
    raise UsageError(f"--threshold {text}: write a number, or CLASS=NUMBER: 0.4, jump=0.4")
