"""Time budgets: how often and for how long each action happens, per class, video, group and bin."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, Literal

from hrpro.arguments import check_number
from hrpro.errors import UsageError
from hrpro.pipeline.results.model import Detection, Results, VideoResult
from hrpro.pipeline.results.ranges import joined

if TYPE_CHECKING:
    import pandas as pd

Scope = Literal["all", "group", "video", "bin"]
MOST_BINS = 100_000
_HAIR = 1e-9
"""Share of a bin by which a time may miss an edge and lie on it: 0.3 // 0.1 is 2 to a computer."""


@dataclass(frozen=True)
class BudgetRow:
    """The time budget of one class in some videos, or in a part of one; times in seconds.

    What cannot be told is None: rates and shares where the length of a video is not known,
    durations and latencies where there is no event.
    """

    scope: Scope
    """``all`` videos, a ``group`` of them, one ``video``, or one ``bin`` of one."""
    group: str | None
    video: str | None
    bin_start_s: float | None
    bin_end_s: float | None
    subject: str | None
    """None for all together."""
    label: str
    count: int
    """Events that begin there."""
    observed_s: float | None
    rate_per_h: float | None
    total_s: float
    """Time in which the action happens; where events overlap, it counts once."""
    share: float | None
    """Of the observed time, from 0 to 1."""
    mean_s: float | None
    """Of the durations of the events, as are median, least and most."""
    median_s: float | None
    min_s: float | None
    max_s: float | None
    first_s: float | None
    """From the begin of the video, or bin, to the first event; over several videos the mean of
    those in which there is one."""


@dataclass(frozen=True)
class TimeBudget:
    """All time budgets of some results.

    Attributes:
        rows: first of all videos, then of groups, videos, bins; in each by class.
        classes: in alphabetical order.
        subjects: that some event names.
        num_videos: how many there are.
        unknown: videos whose length is not known.
    """

    rows: tuple[BudgetRow, ...]
    classes: tuple[str, ...]
    subjects: tuple[str, ...]
    num_videos: int
    unknown: tuple[str, ...] = ()

    def of(self, scope: Scope, subject: str | None = None) -> list[BudgetRow]:
        """The rows of one scope, of all subjects together or of one."""
        return [row for row in self.rows if row.scope == scope and row.subject == subject]

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        names = [each.name for each in fields(BudgetRow)]
        return {
            "num_videos": self.num_videos,
            "unknown_length": list(self.unknown),
            "rows": [{name: getattr(row, name) for name in names} for row in self.rows],
        }

    def to_dataframe(self) -> pd.DataFrame:
        """A row per budget; the columns are those of `BudgetRow`."""
        import pandas as pd

        names = [each.name for each in fields(BudgetRow)]
        rows = [[getattr(row, name) for name in names] for row in self.rows]
        return pd.DataFrame(rows, columns=names)


def time_budget(
    results: Results, groups: Mapping[str, str] | None = None, bin_s: float | None = None
) -> TimeBudget:
    """Measure the events of results.

    Args:
        results: their `spans` are the events.
        groups: group of each video id; those that are missing are in the group ``""``.
        bin_s: also measure each video in bins of so many seconds.

    Raises:
        UsageError: bins that are no length, or far too many.
    """
    if bin_s is not None:
        check_number("--bin", bin_s, "a length in seconds, above 0", open_low=True)
    parts = [_Part.of(video, (groups or {}).get(video.video_id, "")) for video in results.videos]
    classes = sorted({event.label for part in parts for event in part.events})
    named = {event.subject for part in parts for event in part.events}
    subjects = tuple(sorted(each for each in named if each is not None))
    scopes: list[tuple[Scope, Sequence[_Part]]] = [("all", parts)]
    if groups is not None:
        by_group: dict[str, list[_Part]] = {}
        for part in parts:
            by_group.setdefault(part.group, []).append(part)
        scopes += [("group", by_group[name]) for name in sorted(by_group)]
    scopes += [("video", [part]) for part in parts]
    if bin_s is not None:
        if sum(math.ceil(part.last_s / bin_s) for part in parts) > MOST_BINS:
            raise UsageError(f"--bin {bin_s:g}: more than {MOST_BINS} bins; take longer ones")
        scopes += [("bin", [piece]) for part in parts for piece in part.bins(bin_s)]
    rows = tuple(
        _row(scope, within, label, subject)
        for scope, within in scopes
        for subject in (None, *subjects)
        for label in classes
    )
    unknown = tuple(part.video_id for part in parts if part.end_s is None)
    return TimeBudget(rows, tuple(classes), subjects, len(parts), unknown)


@dataclass(frozen=True)
class _Part:
    """A video, or a part of it, with the events that touch it."""

    video_id: str
    group: str
    start_s: float
    end_s: float | None
    events: Sequence[Detection]
    is_bin: bool = False
    beginning: frozenset[int] | None = field(default=None)
    """Which of the events begin there; None for all."""

    @classmethod
    def of(cls, video: VideoResult, group: str) -> _Part:
        start_s = video.start_s or 0.0
        end_s = video.duration_s
        if end_s is not None and end_s <= start_s:
            end_s = None
        return cls(video.video_id, group, start_s, end_s, video.spans)

    @property
    def last_s(self) -> float:
        """The end, or that of the last event."""
        if self.end_s is not None:
            return self.end_s
        return max((event.end_s for event in self.events), default=0.0)

    def bins(self, bin_s: float) -> Iterator[_Part]:
        """Cut into bins that are counted from 0; what lies outside counts to the nearest."""
        first = _bin_at(self.start_s, bin_s)
        last = max(first, math.ceil(self.last_s / bin_s - _HAIR) - 1)
        homes = [min(max(_bin_at(event.start_s, bin_s), first), last) for event in self.events]
        for number in range(first, last + 1):
            start_s = max(self.start_s, round(number * bin_s, 9))
            end_s = round((number + 1) * bin_s, 9)
            if number == last and self.end_s is not None:
                end_s = self.end_s
            inside = [
                (event, home == number)
                for event, home in zip(self.events, homes, strict=True)
                if home == number or (event.start_s < end_s and event.end_s > start_s)
            ]
            beginning = frozenset(i for i, (_, begins) in enumerate(inside) if begins)
            events = [event for event, _ in inside]
            yield _Part(self.video_id, self.group, start_s, end_s, events, True, beginning)

    def of_class(self, label: str, subject: str | None) -> tuple[list[Detection], float]:
        """The events of a class that begin here, and the time that such events take up here."""
        chosen = [
            (index, event)
            for index, event in enumerate(self.events)
            if event.label == label and (subject is None or event.subject == subject)
        ]
        end_s = math.inf if self.end_s is None else self.end_s
        ranges = joined((event.start_s, event.end_s) for _, event in chosen)
        total_s = sum(max(0.0, min(b, end_s) - max(a, self.start_s)) for a, b in ranges)
        begun = [e for i, e in chosen if self.beginning is None or i in self.beginning]
        return begun, total_s


def _row(scope: Scope, parts: Sequence[_Part], label: str, subject: str | None) -> BudgetRow:
    measured = [(part, *part.of_class(label, subject)) for part in parts]
    durations = [event.end_s - event.start_s for _, events, _ in measured for event in events]
    firsts = [
        max(0.0, min(event.start_s for event in events) - part.start_s)
        for part, events, _ in measured
        if events
    ]
    total_s = sum(total_s for *_, total_s in measured)
    lengths = [None if part.end_s is None else part.end_s - part.start_s for part in parts]
    known = [length for length in lengths if length is not None]
    observed_s = sum(known) if known and len(known) == len(lengths) else None
    part = parts[0]
    return BudgetRow(
        scope=scope,
        group=part.group if scope != "all" else None,
        video=part.video_id if scope in ("video", "bin") else None,
        bin_start_s=part.start_s if part.is_bin else None,
        bin_end_s=part.end_s if part.is_bin else None,
        subject=subject,
        label=label,
        count=len(durations),
        observed_s=_rounded(observed_s),
        rate_per_h=_rounded(3600 * len(durations) / observed_s if observed_s else None),
        total_s=round(total_s, 6),
        share=_rounded(total_s / observed_s if observed_s else None),
        mean_s=_rounded(fmean(durations) if durations else None),
        median_s=_rounded(median(durations) if durations else None),
        min_s=_rounded(min(durations, default=None)),
        max_s=_rounded(max(durations, default=None)),
        first_s=_rounded(fmean(firsts) if firsts else None),
    )


def _bin_at(time_s: float, bin_s: float) -> int:
    """Number of the bin of a time; what lies on an edge is in the later bin."""
    return math.floor(time_s / bin_s + _HAIR)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
