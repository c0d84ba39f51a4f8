"""Temporal proposals: runs of a thresholded class activation sequence, scored by their contrast.

All sequences of a batch (every predicted class of every video) are laid end to end in one flat
array, so that a threshold costs a handful of NumPy calls however many videos there are.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from hrpro.clock import VideoClock

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray

SNIPPET_S = 16 / 25
"""Length of a snippet in seconds: 16 frames at 25 frames per second."""

_MAX_POSITIONS = 1 << 21
"""Positions handled at once; bounds the memory, and the rounding of cumulative sums."""


@dataclass(frozen=True)
class Proposals:
    """Scored segments of a batch of videos, as one table of equally long arrays.

    Attributes:
        video: index of the video in the batch, int64 `[M]`.
        start_s: start in seconds, float64 `[M]`.
        end_s: end in seconds (exclusive), float64 `[M]`.
        label: class index, int64 `[M]`.
        score: higher is better, float64 `[M]`.
    """

    video: Array
    start_s: Array
    end_s: Array
    label: Array
    score: Array

    def __post_init__(self) -> None:
        kinds = {"video": np.int64, "label": np.int64}
        for name in _COLUMNS:
            values = np.asarray(getattr(self, name), dtype=kinds.get(name, np.float64))
            object.__setattr__(self, name, values)
        shapes = {name: getattr(self, name).shape for name in _COLUMNS}
        if len(set(shapes.values())) != 1 or self.score.ndim != 1:
            raise ValueError(f"proposal columns must be equally long vectors, not {shapes}")

    @classmethod
    def empty(cls) -> Proposals:
        """Return a table without rows."""
        return cls(*[np.empty(0)] * len(_COLUMNS))

    @classmethod
    def concatenate(cls, tables: Sequence[Proposals]) -> Proposals:
        """Join tables; video indices are kept as they are."""
        if not tables:
            return cls.empty()
        return cls(*(np.concatenate([getattr(t, name) for t in tables]) for name in _COLUMNS))

    def __len__(self) -> int:
        return len(self.score)

    def __getitem__(self, index: Array | slice) -> Proposals:
        """Select rows by a boolean mask, an index array or a slice."""
        return Proposals(*(getattr(self, name)[index] for name in _COLUMNS))

    def replace(self, **columns: Array) -> Proposals:
        """Return a copy with some columns exchanged, e.g. ``replace(score=...)``."""
        return Proposals(**{name: columns.get(name, getattr(self, name)) for name in _COLUMNS})

    def by_score(self) -> Proposals:
        """Return the rows in order of falling score; ties keep their order."""
        return self[np.argsort(-self.score, kind="stable")]

    def leaders(self) -> Array:
        """Return the row of the best of each class of each video."""
        order = np.lexsort((-self.score, self.label, self.video))
        video, label = self.video[order], self.label[order]
        return order[(np.diff(video, prepend=-1) != 0) | (np.diff(label, prepend=-1) != 0)]

    def in_file_clocks(self, clocks: Sequence[VideoClock]) -> Proposals:
        """Return the table with the times of the video files, given the clock of each video."""
        start_s, end_s = self.start_s.copy(), self.end_s.copy()
        for index, clock in enumerate(clocks):
            if clock != VideoClock():
                rows = self.video == index
                start_s[rows] = clock.to_file(start_s[rows])
                end_s[rows] = clock.to_file(end_s[rows])
        return self.replace(start_s=start_s, end_s=end_s)

    def reported(
        self, durations_s: Sequence[float], begins_s: Sequence[float] | None = None
    ) -> Proposals:
        """Return the rows as result files have them, so that a number measured on either is one.

        Times lie within their video and are rounded to the millisecond, scores to six decimals;
        the best row of a video comes first. Refined boundaries may lie a little outside of the
        video, or in the wrong order if the network makes no sense of a candidate: those are
        dropped.

        Args:
            durations_s: seconds of each video in the batch.
            begins_s: when its picture begins; 0 by default.
        """
        length_s = np.asarray(durations_s, dtype=np.float64)[self.video]
        begin_s = np.zeros(len(self))
        if begins_s is not None:
            begin_s = np.asarray(begins_s, dtype=np.float64)[self.video]
        rounded = self.replace(
            start_s=self.start_s.clip(begin_s, length_s).round(3),
            end_s=self.end_s.clip(begin_s, length_s).round(3),
            score=self.score.round(6),
        )
        kept = rounded[rounded.start_s < rounded.end_s]
        return kept[np.lexsort((-kept.score, kept.video))]

    def to_frame(self, videos: Sequence[str], classes: Sequence[str]) -> pd.DataFrame:
        """Return the table as a data frame with names: video, label, start_s, end_s, score."""
        import pandas as pd

        return pd.DataFrame(
            {
                "video": np.asarray(videos, dtype=object)[self.video],
                "label": np.asarray(classes, dtype=object)[self.label],
                "start_s": self.start_s,
                "end_s": self.end_s,
                "score": self.score,
            }
        )


_COLUMNS = tuple(field.name for field in fields(Proposals))


def _steps(first: float, last: float, step: float) -> tuple[float, ...]:
    count = round((last - first) / step) + 1
    return tuple(round(first + i * step, 6) for i in range(count))


class ProposalConfig(BaseModel):
    """How proposals are cut from class activation sequences; the defaults are HR-Pro's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    class_threshold: float = Field(
        0.5, description="video score from which a class is predicted; else the best one is"
    )
    upsample: int = Field(2, ge=1, description="positions per snippet after interpolation")
    score_thresholds: tuple[float, ...] = Field(
        _steps(0.0, 0.225, 0.025), description="thresholds on the class activation sequence"
    )
    attention_thresholds: tuple[float, ...] = Field(
        _steps(0.5, 0.7, 0.025), description="thresholds on the attention, if there is one"
    )
    outer_margin: float = Field(
        0.25, ge=0, description="width of the outer region on each side, relative to the run"
    )
    gamma: float = Field(0.0, description="weight of the video score in the proposal score")
    min_positions: int = Field(1, ge=1, description="shortest run kept, in upsampled positions")
    contrast_above_threshold: bool = Field(
        True,
        description="for score thresholds, count values below the threshold as 0 in the contrast",
    )
    drop_lone_first: bool = Field(
        True, description="drop a run that is only the first position of an otherwise empty mask"
    )


def runs(mask: Array) -> tuple[Array, Array]:
    """Return first and last index (inclusive) of every maximal run of True in a vector."""
    padded = np.zeros(len(mask) + 2, dtype=bool)
    padded[1:-1] = mask
    edges = np.flatnonzero(padded[1:] != padded[:-1])
    return edges[::2], edges[1::2] - 1


def spans(lengths: Array) -> tuple[Array, Array]:
    """Enumerate ragged rows: for every element, the row it is in and its place in that row."""
    lengths = np.asarray(lengths, dtype=np.int64)
    row = np.repeat(np.arange(len(lengths)), lengths)
    return row, np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def temporal_iou(
    start_a: Array,
    end_a: Array,
    start_b: Array,
    end_b: Array,
    extra: float = 0.0,
    guard: float = 0.0,
) -> Array:
    """Return the intersection over union of segments (broadcast), 0 where both are empty.

    `extra` is added to every length, intersections included; 1 gives the formula with inclusive
    pixel coordinates that many localization releases apply to seconds. `guard` is added to the
    lengths alone.
    """
    intersection = np.minimum(end_a, end_b) - np.maximum(start_a, start_b) + extra
    intersection = np.maximum(intersection, 0.0)
    more = extra + guard
    union = (end_a - start_a + more) + (end_b - start_b + more) - intersection
    return intersection / np.maximum(union, np.finfo(np.float64).tiny)


def upsample(values: Array, factor: int) -> Array:
    """Interpolate linearly along the first axis: `[T, ...]` -> float64 `[T * factor, ...]`.

    Positions are 0, 1/factor, 2/factor, ...; those after T - 1 are extrapolated from the last two
    samples.
    """
    values = np.asarray(values)
    if len(values) < 2 or factor == 1:
        return np.repeat(values, factor, axis=0).astype(np.float64)
    position = np.arange(len(values) * factor) / factor
    # A position on a sample is the end of the interval to its left, and differences are taken in
    # the precision of the values: as SciPy's interp1d, which the releases use, does it.
    low = np.minimum(np.maximum(np.ceil(position).astype(np.int64) - 1, 0), len(values) - 2)
    fraction = (position - low).reshape(-1, *[1] * (values.ndim - 1))
    return values[low] + np.diff(values, axis=0)[low] * fraction


def smooth(scores: Array, width: int) -> Array:
    """Average `scores` `[T, ...]` over `width` neighbouring snippets, fewer at both ends.

    Raises:
        ValueError: `width` is not a positive odd number.
    """
    if width < 1 or width % 2 == 0:
        raise ValueError(f"the smoothing width must be a positive odd number, not {width}")
    scores = np.asarray(scores, dtype=np.float64)
    total = np.concatenate([np.zeros_like(scores[:1]), np.cumsum(scores, axis=0)])
    centre = np.arange(len(scores))
    first = np.maximum(centre - width // 2, 0)
    stop = np.minimum(centre + width // 2 + 1, len(scores))
    return (total[stop] - total[first]) / (stop - first).reshape(-1, *[1] * (scores.ndim - 1))


def predicted_classes(video_score: Array, threshold: float) -> Array:
    """Return the classes whose video score `[C]` reaches `threshold`, or the best one if none."""
    above = np.flatnonzero(video_score >= threshold)
    return above if len(above) else np.array([np.argmax(video_score)])


def generate_proposals(
    scores: Sequence[Array],
    video_scores: Sequence[Array] | None = None,
    attentions: Sequence[Array] | None = None,
    *,
    classes: Sequence[Array] | None = None,
    config: ProposalConfig | None = None,
    snippet_s: float | Sequence[float] = SNIPPET_S,
    offset_s: float | Sequence[float] = 0.0,
) -> Proposals:
    """Cut proposals out of class activation sequences and score them by outer-inner contrast.

    Every maximal run of (upsampled) positions at or above a threshold, and above 0, is a
    candidate: for the score thresholds on the sequence of its class, for the attention thresholds
    on the attention. Its score is the mean activation of its class inside minus the mean just
    outside, plus `gamma` times the video score (HR-Pro, section 3.4; the outer-inner contrast is
    AutoLoc's).

    Args:
        scores: per video, class activations `[T, C]`; for HR-Pro the fused scores.
        video_scores: per video, class scores `[C]`; may be left out if `classes` are given and
            `gamma` is 0.
        attentions: per video, attention `[T]`; None where a model has none.
        classes: per video, indices of the classes to localize; default: the predicted ones.
        config: thresholds and constants; default: those of HR-Pro.
        snippet_s: seconds from one position of `scores` to the next (of each video, if they
            differ).
        offset_s: start of the first position in seconds; `(window - stride) / 2` centres
            positions on sliding snippets that are longer than their stride.

    Returns:
        The candidates of all videos, in no particular order.

    Raises:
        ValueError: the inputs do not belong together.
    """
    config = config or ProposalConfig()
    _check(scores, video_scores, attentions, classes, config)
    if classes is None:
        assert video_scores is not None  # as `_check` has seen; below likewise
        classes = [predicted_classes(v, config.class_threshold) for v in video_scores]
    video = np.repeat(np.arange(len(scores)), [len(c) for c in classes])
    label = np.concatenate([np.empty(0, np.int64), *classes]).astype(np.int64)
    nonempty = np.array([len(s) > 0 for s in scores], dtype=bool)
    video, label = video[nonempty[video]], label[nonempty[video]]
    bonus = np.zeros(len(video))
    if config.gamma and len(video):
        assert video_scores is not None
        bonus = config.gamma * np.array(
            [video_scores[v][c] for v, c in zip(video, label, strict=True)]
        )
    step = np.broadcast_to(np.asarray(snippet_s, float) / config.upsample, len(scores))
    offset = np.broadcast_to(np.asarray(offset_s, float), len(scores))

    tables = []
    length = np.array([len(s) for s in scores], dtype=np.int64)[video] * config.upsample
    for part in _blocks(length, _MAX_POSITIONS):
        block = _Sequences(scores, attentions, video[part], label[part], config)
        for sequence, first, last, contrast in block.candidates():
            row = part.start + sequence
            tables.append(
                Proposals(
                    video=video[row],
                    start_s=offset[video[row]] + first * step[video[row]],
                    end_s=offset[video[row]] + (last + 1) * step[video[row]],
                    label=label[row],
                    score=contrast + bonus[row],
                )
            )
    return Proposals.concatenate(tables)


def _check(
    scores: Sequence[Array],
    video_scores: Sequence[Array] | None,
    attentions: Sequence[Array] | None,
    classes: Sequence[Array] | None,
    config: ProposalConfig,
) -> None:
    if video_scores is None and (classes is None or config.gamma):
        raise ValueError("video_scores are needed to predict classes and for gamma")
    for name, values in (
        ("video_scores", video_scores),
        ("attentions", attentions),
        ("classes", classes),
    ):
        if values is not None and len(values) != len(scores):
            raise ValueError(f"{name} for {len(values)} videos, scores for {len(scores)}")
    for index, score in enumerate(scores):
        if np.ndim(score) != 2:
            raise ValueError(f"video {index}: scores must be [T, C], not {np.shape(score)}")
        if attentions is not None and np.shape(attentions[index]) != (len(score),):
            raise ValueError(
                f"video {index}: attention {np.shape(attentions[index])} for {len(score)} snippets"
            )


def _blocks(lengths: Array, limit: int) -> Iterator[slice]:
    """Cut the sequences into consecutive blocks of about `limit` positions."""
    block = (np.cumsum(lengths) - 1) // limit
    bounds = np.flatnonzero(np.diff(block, prepend=-1, append=-1))
    return (slice(first, stop) for first, stop in itertools.pairwise(bounds))


class _Sequences:
    """Upsampled activation sequences laid end to end, a gap of one position after each."""

    def __init__(
        self,
        scores: Sequence[Array],
        attentions: Sequence[Array] | None,
        video: Array,
        label: Array,
        config: ProposalConfig,
    ) -> None:
        self.config = config
        lengths = np.array([len(scores[v]) for v in video]) * config.upsample
        self.begin = np.cumsum(lengths + 1) - (lengths + 1)
        self.length = lengths
        size = int(lengths.sum()) + len(lengths)
        self.score = np.zeros(size)
        self.attention = None if attentions is None else np.zeros(size)
        # Rows come video by video, so that all sequences of a video are interpolated together.
        bounds = np.flatnonzero(np.diff(video, prepend=-1, append=-1))
        for low, high in itertools.pairwise(bounds):
            values = scores[video[low]][:, label[low:high]]
            block = slice(self.begin[low], self.begin[low] + (lengths[low] + 1) * (high - low))
            if attentions is not None:
                values = np.column_stack([values, attentions[video[low]]])
            values = upsample(values, config.upsample).T
            self.score[block].reshape(high - low, -1)[:, :-1] = values[: high - low]
            if self.attention is not None:
                self.attention[block].reshape(high - low, -1)[:, :-1] = values[-1]

    def candidates(self) -> Iterator[tuple[Array, Array, Array, Array]]:
        """Yield, per threshold, the runs: sequence, first and last position in it, contrast."""
        config = self.config
        total = _cumulative(self.score)
        for threshold in config.score_thresholds:
            if config.contrast_above_threshold:
                total = _cumulative(np.where(self.score >= threshold, self.score, 0.0))
            yield self._score(total, *self._runs(self.score, threshold))
        if self.attention is not None:
            total = _cumulative(self.score)
            for threshold in config.attention_thresholds:
                yield self._score(total, *self._runs(self.attention, threshold))

    def _runs(self, gate: Array, threshold: float) -> tuple[Array, Array, Array]:
        """Return sequence, first and last position within it of the runs of `gate`."""
        first, last = runs((gate > 0) & (gate >= threshold) if threshold > 0 else gate > 0)
        sequence = np.searchsorted(self.begin, first, side="right") - 1
        first, last = first - self.begin[sequence], last - self.begin[sequence]
        keep = last - first + 1 >= self.config.min_positions
        if self.config.drop_lone_first:
            alone = np.bincount(sequence, minlength=len(self.begin))[sequence] == 1
            keep &= ~(alone & (last == 0))
        return sequence[keep], first[keep], last[keep]

    def _score(
        self, total: Array, sequence: Array, first: Array, last: Array
    ) -> tuple[Array, Array, Array, Array]:
        """Add the outer-inner contrast to runs; `total` are cumulative sums of the scores."""
        length = last - first + 1
        margin = self.config.outer_margin * length
        low = np.maximum((first - margin).astype(np.int64), 0)
        high = np.minimum((last + margin).astype(np.int64), self.length[sequence] - 1)
        begin = self.begin[sequence]
        inner = total[begin + last + 1] - total[begin + first]
        outer = total[begin + high + 1] - total[begin + low] - inner
        num_outer = high - low + 1 - length
        outer = np.where(num_outer > 0, outer / np.maximum(num_outer, 1), 0.0)
        return sequence, first, last, inner / length - outer


def _cumulative(values: Array) -> Array:
    total = np.zeros(len(values) + 1)
    np.cumsum(values, out=total[1:])
    return total
