"""How far two observers agree, or a model and an observer: on time, on events, on their edges."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, median, stdev
from typing import Any

import numpy as np
import numpy.typing as npt

from hrpro.arguments import check_number
from hrpro.errors import DataError, UsageError
from hrpro.pipeline.results.model import Detection, Results, VideoResult
from hrpro.pipeline.results.ranges import joined
from hrpro.video_ids import KnownVideos
from hrpro.wording import some

MOST_BINS = 10_000_000


@dataclass(frozen=True)
class Shift:
    """How much later the second observer puts an edge than the first, in seconds."""

    median_s: float
    mean_s: float
    sd_s: float | None
    """Of the sample (n - 1); None for one pair."""

    @classmethod
    def of(cls, differences: Sequence[float]) -> Shift | None:
        """None where nothing was matched."""
        if not differences:
            return None
        sd_s = round(stdev(differences), 6) if len(differences) > 1 else None
        return cls(round(median(differences), 6), round(fmean(differences), 6), sd_s)


@dataclass(frozen=True)
class Agreement:
    """The agreement on one class, or on all together.

    Attributes:
        label: the class; None for all: there a bin agrees if both see the same classes in it.
        kappa: Cohen's, over bins of time; None where it is not defined, because both see the same
            in all bins.
        same_bins: share of the bins in which both see the same.
        count_a: events of the first observer.
        count_b: events of the second.
        matched: pairs of one event of each, of one class and with enough overlap.
        start: by how much the second observer's begins come later, over the pairs.
        end: the same for the ends.
    """

    label: str | None
    kappa: float | None
    same_bins: float
    count_a: int
    count_b: int
    matched: int
    start: Shift | None
    end: Shift | None

    @property
    def found_a(self) -> float | None:
        """Share of the first observer's events that the second has, too."""
        return self.matched / self.count_a if self.count_a else None

    @property
    def found_b(self) -> float | None:
        """Share of the second observer's events that the first has, too."""
        return self.matched / self.count_b if self.count_b else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of both shares."""
        both = self.count_a + self.count_b
        return 2 * self.matched / both if both else None


@dataclass(frozen=True)
class Comparison:
    """Two observers of the same videos.

    Attributes:
        overall: all classes together.
        classes: each class by itself, in alphabetical order.
        videos: that both have.
        only_a: videos that only the first has; they are left out.
        only_b: videos that only the second has.
        width_s: of the bins.
        tiou: overlap from which on two events are a pair.
        num_bins: how many bins there were.
        points: events without a length, which no bin sees and nothing overlaps.
    """

    overall: Agreement
    classes: tuple[Agreement, ...]
    videos: tuple[str, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    width_s: float
    tiou: float
    num_bins: int
    points: int = 0

    @property
    def rows(self) -> tuple[Agreement, ...]:
        """All classes together, then each."""
        return (self.overall, *self.classes)

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        named = {key: value for key, value in asdict(self).items() if key not in _TABLES}
        rows = [_row_json(row) for row in self.rows]
        return {**named, "overall": rows[0], "classes": rows[1:]}


_TABLES = {"overall", "classes"}


def _row_json(row: Agreement) -> dict[str, Any]:
    return {**asdict(row), "found_a": row.found_a, "found_b": row.found_b, "f1": row.f1}


def compare_observers(
    a: Results, b: Results, *, width_s: float = 1.0, tiou: float = 0.5
) -> Comparison:
    """Compare what two observers saw in the videos that both have.

    An observer sees a class in a bin of time if its events cover at least half of it. Events are
    paired within a class, those with the highest temporal IoU first, each once.

    Args:
        a: of the first observer; the `spans` count.
        b: of the second.
        width_s: of the bins.
        tiou: events with a lower temporal IoU are no pair.

    Raises:
        UsageError: a width or threshold that is none.
        DataError: there is no video that both have.
    """
    check_number("--width", width_s, "the width of bins in seconds, above 0", open_low=True)
    check_number("--tiou", tiou, "a share above 0, up to 1", open_low=True)
    if tiou > 1:
        raise UsageError(f"--tiou {tiou:g}: give a share above 0, up to 1")
    pairs = list(_same_videos(a, b))
    if not pairs:
        raise DataError(
            f"no video is in both: the first is about {_ids(a)}, the second about {_ids(b)}"
        )
    spans = [span for pair in pairs for video in pair for span in video.spans]
    labels = sorted({span.label for span in spans})
    seen = [_seen_by_both(*pair, labels, width_s) for pair in pairs]
    seen_a = np.concatenate([each[0] for each in seen])
    seen_b = np.concatenate([each[1] for each in seen])
    shared_a, shared_b = ({video.video_id for video in side} for side in zip(*pairs, strict=True))
    by_class = {label: _Pairs() for label in labels}
    for first, second in pairs:
        for label in labels:
            by_class[label].add(_of(first, label), _of(second, label), tiou)
    rows = [
        by_class[label].agreement(label, seen_a[:, [index]], seen_b[:, [index]])
        for index, label in enumerate(labels)
    ]
    return Comparison(
        overall=_Pairs.together(by_class.values()).agreement(None, seen_a, seen_b),
        classes=tuple(rows),
        videos=tuple(first.video_id for first, _ in pairs),
        only_a=tuple(each.video_id for each in a.videos if each.video_id not in shared_a),
        only_b=tuple(each.video_id for each in b.videos if each.video_id not in shared_b),
        width_s=width_s,
        tiou=tiou,
        num_bins=len(seen_a),
        points=sum(span.start_s == span.end_s for span in spans),
    )


def cohens_kappa(first: Sequence[Hashable], second: Sequence[Hashable]) -> float | None:
    """Agreement of two observers on categories, beyond what chance would give.

    Cohen, "A coefficient of agreement for nominal scales", 1960: (p_o - p_e) / (1 - p_e).

    Args:
        first: the category of each unit, as the first observer has it.
        second: the same of the second.

    Returns:
        At most 1; None where it is not defined: both have one category, and the same, everywhere.
    """
    number = len(first)
    if number == 0:
        return None
    same = sum(x == y for x, y in zip(first, second, strict=True))
    counts, others = Counter(first), Counter(second)
    by_chance = sum(counts[each] * others[each] for each in counts)  # times number squared
    if by_chance == number * number:
        return None
    return (same * number - by_chance) / (number * number - by_chance)


class _Pairs:
    """The events of two observers of one class, and which are pairs."""

    def __init__(self) -> None:
        self.count_a = self.count_b = 0
        self.starts: list[float] = []
        self.ends: list[float] = []

    def add(self, a: Sequence[Detection], b: Sequence[Detection], tiou: float) -> None:
        """Take in the events of one video."""
        self.count_a += len(a)
        self.count_b += len(b)
        for first, second in _matched(a, b, tiou):
            self.starts.append(second.start_s - first.start_s)
            self.ends.append(second.end_s - first.end_s)

    @classmethod
    def together(cls, several: Iterable[_Pairs]) -> _Pairs:
        """Those of several classes."""
        all_of_them = cls()
        for each in several:
            all_of_them.count_a += each.count_a
            all_of_them.count_b += each.count_b
            all_of_them.starts += each.starts
            all_of_them.ends += each.ends
        return all_of_them

    def agreement(
        self, label: str | None, seen_a: npt.NDArray[np.bool_], seen_b: npt.NDArray[np.bool_]
    ) -> Agreement:
        """With the agreement on bins, ``[num_bins, num_classes]`` of each observer."""
        first, second = (
            [row.tobytes() for row in np.packbits(seen, axis=1)] for seen in (seen_a, seen_b)
        )
        same = sum(x == y for x, y in zip(first, second, strict=True))
        return Agreement(
            label=label,
            kappa=cohens_kappa(first, second),
            same_bins=same / len(first) if first else 0.0,
            count_a=self.count_a,
            count_b=self.count_b,
            matched=len(self.starts),
            start=Shift.of(self.starts),
            end=Shift.of(self.ends),
        )


def _same_videos(a: Results, b: Results) -> Iterator[tuple[VideoResult, VideoResult]]:
    ours = {video.video_id: video for video in a.videos}
    matches = KnownVideos(ours).match_all(video.video_id for video in b.videos)
    theirs = {matches[video.video_id].video_id: video for video in b.videos}
    for name, video in ours.items():
        if name in theirs:
            yield video, theirs[name]


def _ids(results: Results) -> str:
    return some((video.video_id for video in results.videos), 3) or "nothing"


def _of(video: VideoResult, label: str) -> list[Detection]:
    return [span for span in video.spans if span.label == label]


def _matched(
    a: Sequence[Detection], b: Sequence[Detection], tiou: float
) -> Iterator[tuple[Detection, Detection]]:
    """Pairs of one event of each, the best overlap first."""
    found = [
        (overlap, i, j)
        for i, first in enumerate(a)
        for j, second in enumerate(b)
        if (overlap := temporal_iou(first, second)) >= tiou
    ]
    taken_a: set[int] = set()
    taken_b: set[int] = set()
    for _, i, j in sorted(found, key=lambda pair: (-pair[0], *pair[1:])):
        if i not in taken_a and j not in taken_b:
            taken_a.add(i)
            taken_b.add(j)
            yield a[i], b[j]


def temporal_iou(a: Detection, b: Detection) -> float:
    """Intersection of two spans over their union, 0 to 1; 0 for points."""
    shared_s = min(a.end_s, b.end_s) - max(a.start_s, b.start_s)
    whole_s = max(a.end_s, b.end_s) - min(a.start_s, b.start_s)
    return max(0.0, shared_s) / whole_s if whole_s > 0 else 0.0


def _seen_by_both(
    a: VideoResult, b: VideoResult, labels: Sequence[str], width_s: float
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which classes each observer sees in the bins of a video, ``[num_bins, num_classes]``."""
    ends = [each.duration_s for each in (a, b) if each.duration_s is not None]
    end_s = max([*ends, *(span.end_s for each in (a, b) for span in each.spans)], default=0.0)
    start_s = max((each.start_s for each in (a, b) if each.start_s is not None), default=0.0)
    num_bins = max(0, math.ceil((end_s - start_s) / width_s - 1e-9))
    if num_bins > MOST_BINS:
        raise UsageError(f"--width {width_s:g}: far too many bins; take wider ones")
    edges = np.minimum(start_s + width_s * np.arange(num_bins + 1), end_s)
    return _seen(a, labels, edges), _seen(b, labels, edges)


def _seen(
    video: VideoResult, labels: Sequence[str], edges: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    columns = []
    for label in labels:
        ranges = joined((span.start_s, span.end_s) for span in _of(video, label))
        lengths = [end_s - start_s for start_s, end_s in ranges]
        before = np.cumsum([0.0, *lengths])
        times = np.ravel(ranges) if ranges else np.zeros(1)
        covered = np.repeat(before, 2)[1:-1] if ranges else np.zeros(1)
        share = np.diff(np.interp(edges, times, covered)) / np.diff(edges)
        columns.append(share >= 0.5 - 1e-9)
    return np.stack(columns, axis=1) if columns else np.zeros((len(edges) - 1, 0), bool)
