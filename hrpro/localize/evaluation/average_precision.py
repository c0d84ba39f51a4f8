"""Mean average precision of timed detections, as in the ActivityNet evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from hrpro.errors import DataError
from hrpro.localize.data.protocol import THUMOS_TIOUS
from hrpro.localize.proposals.generate import Array, spans, temporal_iou

_TIMES = ("start_s", "end_s")
SEGMENT_COLUMNS = ("video", "label", "start_s", "end_s")

Sort = Literal["stable"] | None
"""How NumPy sorts; None: by its default."""


@dataclass(frozen=True)
class AveragePrecision:
    """Average precision of a set of detections.

    Attributes:
        tious: thresholds on the temporal IoU, `[K]`.
        classes: the classes that occur in the ground truth, sorted, `[C]`.
        per_class: average precision, 0 to 1, `[K, C]`.
    """

    tious: tuple[float, ...]
    classes: tuple[str, ...]
    per_class: Array

    @property
    def mean(self) -> Array:
        """Mean average precision at each threshold, `[K]`."""
        return self.per_class.mean(axis=1)

    @property
    def mean_by_tiou(self) -> dict[float, float]:
        """`mean` by threshold."""
        return dict(zip(self.tious, self.mean.tolist(), strict=True))

    @property
    def average(self) -> float:
        """Average of `mean` over all thresholds."""
        return float(self.mean.mean())

    def average_between(self, low: float, high: float) -> float:
        """Average of `mean` over the thresholds from `low` to `high`, both included.

        Raises:
            ValueError: there is no such threshold.
        """
        tious = np.array(self.tious)
        chosen = (tious >= low - 1e-9) & (tious <= high + 1e-9)
        if not chosen.any():
            raise ValueError(f"no tIoU threshold between {low} and {high} in {self.tious}")
        return float(self.mean[chosen].mean())

    def to_frame(self) -> pd.DataFrame:
        """Return `per_class` as a data frame: a row per class, a column per threshold."""
        return pd.DataFrame(self.per_class.T, index=list(self.classes), columns=list(self.tious))


def mean_average_precision(
    predictions: pd.DataFrame,
    ground_truth: pd.DataFrame,
    tious: Sequence[float] = THUMOS_TIOUS,
    stable_ties: bool = False,
) -> AveragePrecision:
    """Measure the average precision of detections per class and tIoU threshold.

    In order of falling score, a prediction is right if it overlaps a still unmatched segment of
    its class and video by at least the threshold (it takes the one of highest tIoU); every
    segment is matched once. Precision is interpolated as in Pascal VOC 2010. Only classes with
    ground truth count; predictions in videos without any are false positives, so drop blocked
    videos beforehand.

    Equal scores or equal tIoU leave the order open. By default it is that of the ActivityNet
    evaluation, NumPy's default sort, whose order depends on the processor (AVX-512, AVX2 or
    neither): published numbers contain such ties, worth up to 0.02 points of mAP for a detector
    that saturates at a score of 0. `stable_ties` gives the same number everywhere.

    Args:
        predictions: columns video, label, start_s, end_s, score.
        ground_truth: columns video, label, start_s, end_s.
        tious: thresholds on the temporal IoU.
        stable_ties: put the later row first among equals instead.

    Raises:
        DataError: a column is missing, a number is not finite, or there is no ground truth.
    """
    matching = Matching(predictions, ground_truth, stable_ties)
    right = np.stack([matching.match(tiou) >= 0 for tiou in tious])
    bounds = np.searchsorted(matching.label, np.arange(len(matching.classes) + 1))
    by_class = np.split(right, bounds[1:-1], axis=1)
    per_class = [
        average_precision(*pair) for pair in zip(by_class, matching.num_segments, strict=True)
    ]
    return AveragePrecision(tuple(tious), tuple(matching.classes), np.stack(per_class, axis=1))


def average_precision(right: Array, num_segments: int) -> Array:
    """Return the interpolated average precision `[K]` of ranked predictions.

    Args:
        right: whether each prediction is right, best first, bool `[K, M]`.
        num_segments: number of ground-truth segments, which a perfect recall finds.
    """
    hits = np.cumsum(right, axis=1)
    precision = hits / np.arange(1, right.shape[1] + 1)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    return np.sum(envelope * right, axis=1) / num_segments


class Matching:
    """Predictions and the ground-truth segments they overlap, ready to be matched.

    Predictions are ranked: by class, then by falling score. Those of classes that do not occur in
    the ground truth are left out.

    Attributes:
        classes: class names of the ground truth, sorted, `[C]`.
        num_segments: ground-truth segments per class, `[C]`.
        label: class index of each ranked prediction, `[M]`.
        row: row of each ranked prediction in the data frame, `[M]`.
    """

    def __init__(
        self, predictions: pd.DataFrame, ground_truth: pd.DataFrame, stable_ties: bool = False
    ) -> None:
        check_segments(predictions, "predictions", score=True)
        check_segments(ground_truth, "ground truth")
        sort: Sort = "stable" if stable_ties else None
        if not len(ground_truth):
            raise DataError("the ground truth holds no segments: there is nothing to measure")
        truth_label, classes = pd.factorize(ground_truth["label"], sort=True)
        truth_video, videos = pd.factorize(ground_truth["video"])
        label = classes.get_indexer(pd.Index(predictions["label"]))
        self.classes = list(classes)
        self.num_segments = np.bincount(truth_label)
        self.row = _rank(label, predictions["score"].to_numpy(float), len(classes), sort)
        self.label = label[self.row]

        video = videos.get_indexer(pd.Index(predictions["video"]))[self.row]
        truth_key = truth_video * len(classes) + truth_label
        truth_order = np.argsort(truth_key, kind="stable")
        key = np.where(video >= 0, video * len(classes) + self.label, -1)
        begin = np.searchsorted(truth_key[truth_order], key)
        stop = np.searchsorted(truth_key[truth_order], key, side="right")
        prediction, place = spans(stop - begin)
        truth = truth_order[begin[prediction] + place]
        starts, ends = (predictions[name].to_numpy(float)[self.row] for name in _TIMES)
        truth_starts, truth_ends = (ground_truth[name].to_numpy(float) for name in _TIMES)
        tiou = temporal_iou(
            starts[prediction], ends[prediction], truth_starts[truth], truth_ends[truth]
        )
        best_first = _best_first(tiou, stop - begin, sort)
        best_first = best_first[tiou[best_first] > 0]
        self._prediction = prediction[best_first]
        self._truth = truth[best_first]
        self._tiou = tiou[best_first]
        self._num_truths = len(ground_truth)

    def match(self, tiou: float) -> Array:
        """Return the ground-truth row that each ranked prediction takes, -1 for none, `[M]`.

        Taking turns in order of the score is the one stable matching in which all segments prefer
        high scores. So all predictions propose at the same time, each to the best segment that has
        not refused it yet, and a segment refuses all but the highest-ranked one it has seen
        (deferred acceptance; Gale and Shapley, 1962). A few rounds do.
        """
        near = self._tiou >= tiou
        prediction, truth = self._prediction[near], self._truth[near]
        holder = np.full(self._num_truths, len(self.label))
        while True:
            wish = np.diff(prediction, prepend=-1) != 0
            np.minimum.at(holder, truth[wish], prediction[wish])
            accepted = holder[truth] >= prediction
            if accepted.all():
                break
            prediction, truth = prediction[accepted], truth[accepted]
        taken = np.full(len(self.label), -1)
        taken[prediction[wish]] = truth[wish]
        return taken


def _rank(label: Array, score: Array, num_classes: int, sort: Sort) -> Array:
    """Return the rows in order of class, then of falling score; rows of label -1 are left out.

    Each class is sorted by itself, in rising order and then reversed: as in the ActivityNet
    evaluation, down to the order of equal scores.
    """
    by_class = np.argsort(label, kind="stable")
    bounds = np.searchsorted(label[by_class], np.arange(num_classes + 1))
    members = np.split(by_class, bounds)[1:-1]
    return np.concatenate([rows[score[rows].argsort(kind=sort)[::-1]] for rows in members])


def _best_first(tiou: Array, counts: Array, sort: Sort) -> Array:
    """Order the pairs of each prediction by falling tIoU; `counts` are its consecutive pairs.

    Predictions with equally many pairs are sorted together, each as `_rank` sorts scores.
    """
    order = np.empty(len(tiou), dtype=np.int64)
    begin = np.cumsum(counts) - counts
    for count in np.unique(counts[counts > 0]):
        first = begin[counts == count, None]
        pairs = first + np.arange(count)
        order[pairs] = first + tiou[pairs].argsort(axis=1, kind=sort)[:, ::-1]
    return order


def check_segments(table: pd.DataFrame, what: str, score: bool = False) -> None:
    """Check that a data frame of segments has its columns and finite numbers.

    Raises:
        DataError: names `what` and the first offending row.
    """
    numbers = [*_TIMES, "score"] if score else list(_TIMES)
    missing = sorted({*SEGMENT_COLUMNS, *numbers} - set(table.columns))
    if missing:
        raise DataError(f"{what}: missing column {', '.join(missing)}")
    bad = ~np.isfinite(table[numbers].to_numpy(float)).all(axis=1)
    if bad.any():
        first = table[bad].iloc[0].to_dict()
        raise DataError(f"{what}: a time or score is not a finite number: {first}")


def drop_ambiguous(predictions: pd.DataFrame, ambiguous: pd.DataFrame) -> pd.DataFrame:
    """Drop predictions that share a whole second with an ambiguous segment of their video.

    As in the releases, predictions are cut to whole seconds and segments rounded to them; what is
    shorter than that is kept.

    Args:
        predictions: columns video, start_s, end_s, and any others.
        ambiguous: columns video, start_s, end_s; see `read_ambiguous`.
    """
    rows = pd.DataFrame(
        {
            "video": predictions["video"].to_numpy(),
            "row": np.arange(len(predictions)),
            "start": np.trunc(predictions["start_s"].to_numpy(float)),
            "end": np.trunc(predictions["end_s"].to_numpy(float)),
        }
    )
    segments = pd.DataFrame(
        {
            "video": ambiguous["video"].to_numpy(),
            "low": np.round(ambiguous["start_s"].to_numpy(float)),
            "high": np.round(ambiguous["end_s"].to_numpy(float)),
        }
    )
    pairs = rows.merge(segments, on="video")
    first = np.maximum(pairs["start"], pairs["low"])
    stop = np.minimum(pairs["end"], pairs["high"])
    keep = np.ones(len(predictions), dtype=bool)
    keep[pairs["row"][first < stop]] = False
    return predictions[keep]
