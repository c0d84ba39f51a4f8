"""One-by-one versions of proposals, soft-NMS and mAP: what the benchmark compares with.

Written as the research releases do it: Python loops over videos, classes, thresholds and runs, and
over predictions, with NumPy or pandas for each single step.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

Row = list[float]
"""Start and end in seconds, class index, score."""


def upsample(values: np.ndarray) -> np.ndarray:
    """Interpolate at 0, 0.5, 1, ...; extrapolate the last half step."""
    position = np.arange(0, len(values), 0.5)
    low = np.clip(np.searchsorted(np.arange(len(values)), position) - 1, 0, len(values) - 2)
    slope = values[low + 1] - values[low]
    fraction = (position - low).reshape(-1, *[1] * (values.ndim - 1))
    return values[low] + slope * fraction


def outer_inner_contrasts(positions: np.ndarray, values: np.ndarray, label: int) -> list[Row]:
    """Score the runs of consecutive `positions` by mean inside minus mean outside."""
    rows = []
    seconds = 16 / 25 / 2
    for run in np.split(positions, np.flatnonzero(np.diff(positions) != 1) + 1):
        first, last, length = int(run[0]), int(run[-1]), len(run)
        inner = np.mean(values[run])
        outside = list(range(max(0, int(first - 0.25 * length)), first))
        outside += list(range(last + 1, min(len(values) - 1, int(last + 0.25 * length)) + 1))
        outer = np.mean(values[outside]) if outside else 0.0
        rows.append([first * seconds, (last + 1) * seconds, label, inner - outer])
    return rows


def generate_proposals(
    scores: np.ndarray, video_score: np.ndarray, attention: np.ndarray
) -> dict[int, list[Row]]:
    """Return the proposals of one video, by class."""
    classes = np.flatnonzero(video_score >= 0.5)
    if not len(classes):
        classes = np.array([np.argmax(video_score)])
    scores, attention = upsample(scores[:, classes]), upsample(attention)
    found: dict[int, list[Row]] = {}
    for threshold in np.arange(0, 10) * 0.025:
        kept = np.where(scores >= threshold, scores, 0)
        for column, label in enumerate(classes):
            positions = np.flatnonzero(kept[:, column] > 0)
            if positions.any():
                rows = outer_inner_contrasts(positions, kept[:, column], label)
                found.setdefault(int(label), []).extend(rows)
    for threshold in 0.5 + np.arange(0, 9) * 0.025:
        positions = np.flatnonzero((attention >= threshold) & (attention > 0))
        for column, label in enumerate(classes):
            if positions.any():
                rows = outer_inner_contrasts(positions, scores[:, column], label)
                found.setdefault(int(label), []).extend(rows)
    return found


def soft_nms(rows: list[Row], sigma: float = 0.3) -> list[Row]:
    """Suppress the proposals of one class of one video, lengths counted with one second more."""
    boxes = np.array(rows)
    boxes = np.concatenate([boxes, (boxes[:, 1] - boxes[:, 0] + 1)[:, None]], axis=1)
    kept = []
    while len(boxes):
        best = np.argmax(boxes[:, 3])
        boxes[[0, best]] = boxes[[best, 0]]
        kept.append(boxes[0, :4].tolist())
        first, boxes = boxes[0], boxes[1:]
        start = np.maximum(first[0], boxes[:, 0])
        end = np.minimum(first[1], boxes[:, 1])
        intersection = np.maximum(0.0, end - start + 1)
        iou = intersection / (first[4] + boxes[:, 4] - intersection)
        boxes[:, 3] *= np.exp(-(iou * iou) / sigma)
    return kept


def average_precision(
    predictions: pd.DataFrame, ground_truth: pd.DataFrame, tious: list[float]
) -> np.ndarray:
    """Return the average precision of one class at each threshold, prediction by prediction."""
    ranked = predictions.iloc[predictions["score"].to_numpy().argsort()[::-1]]
    ranked = ranked.reset_index(drop=True)
    by_video = ground_truth.reset_index(drop=True).groupby("video")
    taken = np.full((len(tious), len(ground_truth)), -1)
    right = np.zeros((len(tious), len(ranked)))
    for index, prediction in ranked.iterrows():
        if prediction["video"] not in by_video.groups:
            continue
        truth = by_video.get_group(prediction["video"])
        starts, ends = truth["start_s"].to_numpy(), truth["end_s"].to_numpy()
        start = np.maximum(prediction["start_s"], starts)
        end = np.minimum(prediction["end_s"], ends)
        intersection = np.maximum(0.0, end - start)
        lengths = (ends - starts) + (prediction["end_s"] - prediction["start_s"])
        tiou = intersection / (lengths - intersection)
        best_first = tiou.argsort()[::-1]
        for number, threshold in enumerate(tious):
            for candidate in best_first:
                if tiou[candidate] < threshold:
                    break
                segment = truth.index[candidate]
                if taken[number, segment] < 0:
                    taken[number, segment] = index
                    right[number, index] = 1
                    break
    hits = np.cumsum(right, axis=1)
    recall = hits / len(ground_truth)
    precision = hits / (np.arange(len(ranked)) + 1)
    return np.array([interpolated(*pair) for pair in zip(precision, recall, strict=True)])


def interpolated(precision: np.ndarray, recall: np.ndarray) -> float:
    """Return the area under the precision envelope."""
    precision = np.concatenate([[0], precision, [0]])
    recall = np.concatenate([[0], recall, [1]])
    for index in range(len(precision) - 2, -1, -1):
        precision[index] = max(precision[index], precision[index + 1])
    steps = np.flatnonzero(recall[1:] != recall[:-1]) + 1
    return float(np.sum((recall[steps] - recall[steps - 1]) * precision[steps]))
