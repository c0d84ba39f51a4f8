"""Tiers: rows of marks that do not overlap, as ELAN, Praat and BORIS want them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Generic, TypeVar

from hrpro.pipeline.results.interchange.texts import plain
from hrpro.pipeline.results.model import Detection

Time = TypeVar("Time", int, float)


@dataclass(frozen=True)
class Mark(Generic[Time]):
    """A detection with its times in the unit of a format."""

    start: Time
    end: Time
    detection: Detection


def millisecond_marks(detections: Iterable[Detection]) -> Iterator[Mark[int]]:
    """Yield the detections in whole milliseconds; a point lasts one, since none is invalid."""
    for detection in detections:
        start = max(0, round(detection.start_s * 1000))
        yield Mark(start, max(start + 1, round(detection.end_s * 1000)), detection)


def from_milliseconds(start: int, end: int) -> tuple[float, float]:
    """Return start and end in seconds; a span of one millisecond is a point."""
    return start / 1000, (start if end == start + 1 else end) / 1000


def in_tiers(marks: Iterable[Mark[Time]], by_subject: bool = False) -> dict[str, list[Mark[Time]]]:
    """Sort marks into one tier per label; what overlaps in it goes to "LABEL 2", "LABEL 3", ...

    Args:
        marks: in any order.
        by_subject: a tier per label and subject, "LABEL@SUBJECT".

    Returns:
        Marks in order of time by the name of their tier, sorted by name.
    """
    tiers: dict[str, list[Mark[Time]]] = {}
    owner: dict[str, tuple[str, str | None]] = {}
    for mark in sorted(marks, key=lambda mark: (mark.start, mark.end)):
        label, subject = plain(mark.detection.label), mark.detection.subject if by_subject else None
        first = label if subject is None else f"{label}@{plain(subject)}"
        for number in count(1):
            name = first if number == 1 else f"{first} {number}"
            if owner.setdefault(name, (label, subject)) != (label, subject):
                continue  # another class, or the same of somebody else, has this name
            tier = tiers.setdefault(name, [])
            # Two points at one time overlap as well.
            if not tier or (tier[-1].end <= mark.start and tier[-1].start < mark.start):
                tier.append(mark)
                break
    return dict(sorted(tiers.items()))
