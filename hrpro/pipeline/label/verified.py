"""Verified events: what people have said happens in the videos of a dataset.

Intervals that were marked, detections that were accepted (and perhaps corrected), and points; each
action once.
"""

from __future__ import annotations

from hrpro.pipeline.label.state import Interval, Point, Review, VideoLabels
from hrpro.pipeline.results.model import Detection


def verified_events(labels: VideoLabels) -> tuple[Detection, ...]:
    """Return what happens in a video, in time order, with the score 1 of what people say.

    Of an interval and a detection that was accepted, the middle of one within the other, the
    interval counts; a point counts, without length, where neither has its time.
    """
    spans: list[Interval | Review] = list(labels.intervals.values())
    for review in labels.reviews.values():
        if review.status == "accepted" and not any(_same(span, review) for span in spans):
            spans.append(review)
    points = [
        point
        for point in labels.points.values()
        if not any(
            _fits(span, point) and span.start_s <= point.time_s <= span.end_s for span in spans
        )
    ]
    events = [*map(_event, spans), *map(_event, points)]
    return tuple(sorted(events, key=lambda event: (event.start_s, event.end_s, event.label)))


def _same(one: Interval | Review, other: Interval | Review) -> bool:
    def holds_middle(outer: Interval | Review, inner: Interval | Review) -> bool:
        return outer.start_s <= (inner.start_s + inner.end_s) / 2 <= outer.end_s

    return _fits(one, other) and (holds_middle(one, other) or holds_middle(other, one))


def _fits(one: Interval | Review, other: Interval | Review | Point) -> bool:
    """Whether two can be of one action: of one class, and not of two subjects."""
    return one.label == other.label and (
        None in (one.subject, other.subject) or one.subject == other.subject
    )


def _event(action: Interval | Review | Point) -> Detection:
    start_s, end_s = (
        (action.time_s, action.time_s)
        if isinstance(action, Point)
        else (action.start_s, action.end_s)
    )
    modifiers = () if isinstance(action, Review) else action.modifiers
    return Detection(action.label, 1.0, start_s, end_s, subject=action.subject, modifiers=modifiers)
