"""Pseudo segments: one for each point label, out of the proposals of any generator.

All times are in one unit, seconds or steps, whichever the proposals are in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hrpro.localize.methods.student.config import PseudoConfig
from hrpro.localize.proposals.generate import Array, Proposals, spans, temporal_iou

BUMP_ROUNDS = 30
"""Of expectation and maximisation."""


@dataclass(frozen=True)
class Points:
    """The point labels of a batch of videos, as one table.

    Attributes:
        video: index of the video in the batch, int64 ``[N]``.
        time: float64 ``[N]``.
        label: class index, int64 ``[N]``.
    """

    video: Array
    time: Array
    label: Array

    def __len__(self) -> int:
        return len(self.time)

    def room(self) -> Array:
        """The nearest points of other classes before and after each, ``[N, 2]``, else infinite."""
        room = np.tile([-np.inf, np.inf], (len(self), 1))
        for video in np.unique(self.video):
            rows = np.flatnonzero(self.video == video)
            time, label = self.time[rows], self.label[rows]
            other = label[:, None] != label[None]
            ahead = time[None] - time[:, None]
            before = np.where(other & (ahead <= 0), time[None], -np.inf)
            after = np.where(other & (ahead > 0), time[None], np.inf)
            room[rows] = np.stack([before.max(1), after.min(1)], axis=1)
        return room

    def successors(self) -> tuple[Array, Array]:
        """Rows of points and of the next one of the same video and class, ``[M]`` each."""
        order = np.lexsort((self.time, self.label, self.video))
        one, two = order[:-1], order[1:]
        same = (self.video[one] == self.video[two]) & (self.label[one] == self.label[two])
        return one[same], two[same]


@dataclass(frozen=True)
class PointSegments:
    """A segment for each of N points.

    Attributes:
        start: ``[N]``.
        end: ``[N]``.
        weight: how much each counts, ``[N]`` from 0 to 1.
        score: of the best proposal, ``[N]``; NaN where there is none.
    """

    start: Array
    end: Array
    weight: Array
    score: Array

    @property
    def found(self) -> Array:
        """Points that have a proposal, bool ``[N]``."""
        return ~np.isnan(self.score)


@dataclass(frozen=True)
class Signal:
    """The class activations of a video.

    Attributes:
        values: ``[T, C]``.
        time: of the middle of each snippet, ``[T]``.
    """

    values: Array
    time: Array


def segments_of_points(
    proposals: Proposals,
    points: Points,
    config: PseudoConfig,
    signals: Sequence[Signal] | None = None,
) -> PointSegments:
    """Give each point the best segment that contains it and no point of another class.

    If each of its proposals contains such a point, the best does, too: actions of two classes may
    well be at the same time. Segments of two points of a class that overlap are cut between the
    points, where the activation of the class is lowest, or halfway without `signals`.

    Args:
        proposals: of the videos that have the points.
        points: the point labels.
        config: see `PseudoConfig`.
        signals: of each video; needed for bumps.

    Raises:
        ValueError: bumps are asked for, but there are no signals.
    """
    room = points.room()
    point, row = _pairs(proposals, points)
    start, end, score = proposals.start_s[row], proposals.end_s[row], proposals.score[row]
    clear = (start > room[point, 0]) & (end < room[point, 1])
    best_last = np.lexsort((-row, score, clear, point))
    last = best_last[np.flatnonzero(np.diff(point[best_last], append=-1))]
    owner = point[last]
    found = np.full((len(points), 3), np.nan)
    found[owner] = np.stack([start[last], end[last], score[last]], axis=1)
    if config.choice == "fused":
        found[:, :2] = _fused(point, start, end, score, clear, found, config)
    elif config.choice == "bump":
        if signals is None:
            raise ValueError("a bump is fitted to class activations, which are not given")
        found[:, :2] = _bumps(points, room, signals, config.bump_widths)
        found[np.isnan(found[:, 2]), 2] = 0.0
    bounds = _filled(found[:, :2], points, config)
    _separate(bounds, points, signals)
    return PointSegments(
        bounds[:, 0], bounds[:, 1], _weights(found[:, 2], points.label, config), found[:, 2]
    )


def _fused(
    point: Array,
    start: Array,
    end: Array,
    score: Array,
    clear: Array,
    best: Array,
    config: PseudoConfig,
) -> Array:
    """Mean of the proposals of each point that agree with the best, by their scores, ``[N, 2]``.

    Args:
        point: owner of each proposal, ``[M]``.
        start: ``[M]``.
        end: ``[M]``.
        score: ``[M]``.
        clear: bool ``[M]``, not reaching to points of other classes; if some are, the others do
            not count.
        best: start and end (and score) of the best of each point, ``[N, 3]``.
        config: which agree, and how scores count.
    """
    has_clear = np.bincount(point, clear, len(best)) > 0
    agrees = temporal_iou(start, end, *best[point, :2].T) >= config.fuse_iou
    agrees &= clear | ~has_clear[point]
    weight = agrees * np.maximum(score, 0) ** config.fuse_power
    total = np.bincount(point, weight, len(best))
    sums = [np.bincount(point, weight * ends, len(best)) for ends in (start, end)]
    mean = np.stack(sums, axis=1) / np.maximum(total, 1e-300)[:, None]
    return np.where(total[:, None] > 0, mean, best[:, :2])


def _pairs(proposals: Proposals, points: Points) -> tuple[Array, Array]:
    """Points and the proposals of their video and class that contain them."""
    num_labels = 1 + max(proposals.label.max(initial=0), points.label.max(initial=0))
    keys = proposals.video * num_labels + proposals.label
    by_key = np.argsort(keys, kind="stable")
    wanted = points.video * num_labels + points.label
    first = np.searchsorted(keys[by_key], wanted)
    stop = np.searchsorted(keys[by_key], wanted, side="right")
    point, place = spans(stop - first)
    row = by_key[first[point] + place]
    time = points.time[point]
    contains = (proposals.start_s[row] <= time) & (time <= proposals.end_s[row])
    return point[contains], row[contains]


def _filled(bounds: Array, points: Points, config: PseudoConfig) -> Array:
    """Put segments of usual length around the points that have none."""
    missing = np.isnan(bounds[:, 0])
    if config.missing == "drop" or not missing.any() or missing.all():
        return bounds
    length = bounds[:, 1] - bounds[:, 0]
    for label in np.unique(points.label[missing]):
        of_class = points.label == label
        usual = np.nanmedian(length[of_class] if (of_class & ~missing).any() else length)
        rows = of_class & missing
        bounds[rows] = points.time[rows, None] + usual * np.array([-0.5, 0.5])
    return bounds


def _separate(bounds: Array, points: Points, signals: Sequence[Signal] | None) -> None:
    """Cut overlapping segments of neighbouring points of a class, in place."""
    one, two = points.successors()
    overlap = bounds[one, 1] > bounds[two, 0]
    for i, j in zip(one[overlap], two[overlap], strict=True):
        cut = (points.time[i] + points.time[j]) / 2
        if signals is not None:
            signal = signals[points.video[i]]
            between = (signal.time > points.time[i]) & (signal.time < points.time[j])
            if between.any():
                values = signal.values[between, points.label[i]]
                cut = signal.time[between][np.argmin(values)]
        bounds[i, 1] = min(bounds[i, 1], cut)
        bounds[j, 0] = max(bounds[j, 0], cut)


def _weights(score: Array, label: Array, config: PseudoConfig) -> Array:
    """Weights by the rank of a score within its class."""
    weights = np.full(len(score), config.missing_weight)
    for name in np.unique(label):
        rows = np.flatnonzero((label == name) & ~np.isnan(score))
        rank = np.argsort(np.argsort(score[rows], kind="stable"), kind="stable")
        share = (rank + 1) / max(len(rows), 1)
        weights[rows] = config.weight_floor + (1 - config.weight_floor) * share
    return weights


def _bumps(points: Points, room: Array, signals: Sequence[Signal], widths: float) -> Array:
    """Ends of a Gaussian fitted to the activations around each point, ``[N, 2]``.

    A mixture of a Gaussian and a uniform floor over the time that the point has to itself (Sheng
    et al., "ADM-Loc"), by expectation and maximisation.
    """
    low, high = room.T.copy()
    one, two = points.successors()
    high[one] = np.minimum(high[one], points.time[two])
    low[two] = np.maximum(low[two], points.time[one])
    bounds = np.full((len(points), 2), np.nan)
    for i, (video, time, label) in enumerate(
        zip(points.video, points.time, points.label, strict=True)
    ):
        signal = signals[video]
        near = (signal.time > low[i]) & (signal.time < high[i])
        if near.sum() < 3:
            continue
        at, mass = signal.time[near], np.maximum(signal.values[near, label], 0) + 1e-9
        step = (at[-1] - at[0]) / (len(at) - 1)
        mean, deviation, share = time, 2 * step, 0.5
        for _ in range(BUMP_ROUNDS):
            bump = share * np.exp(-0.5 * ((at - mean) / deviation) ** 2) / deviation
            floor = (1 - share) * np.sqrt(2 * np.pi) / (len(at) * step)
            belongs = mass * bump / (bump + floor)
            total = belongs.sum()
            if total <= 0:
                break
            mean = (belongs * at).sum() / total
            deviation = max(np.sqrt((belongs * (at - mean) ** 2).sum() / total), step / 2)
            share = min(total / mass.sum(), 0.99)
        start, end = mean - widths * deviation, mean + widths * deviation
        bounds[i] = min(start, time), max(end, time)
    return bounds


def moved_on(proposals: Proposals, strides_s: Sequence[float], num_snippets: float) -> Proposals:
    """Move proposals on by so many snippets, or a fraction of one, given each video's stride."""
    later_s = num_snippets * np.asarray(strides_s, float)[proposals.video]
    return proposals.replace(start_s=proposals.start_s + later_s, end_s=proposals.end_s + later_s)


def snap_to_changes(bounds: Array, points: Array, features: Array, config: PseudoConfig) -> Array:
    """Move the ends of a video's segments to where its features change most.

    Args:
        bounds: ``[N, 2]``, in steps.
        points: ``[N]`` their point labels, which they go on to contain; NaN for none.
        features: ``[T, D]``.
        config: how far ends may move, and what a change is.

    Returns:
        ``[N, 2]``.
    """
    if not config.snap or len(features) < 2:
        return bounds
    changes = change_strength(features, config.snap_steps)
    at = np.arange(len(changes)) - 0.5
    moved = bounds.copy()
    for i, (start, end) in enumerate(bounds):
        reach = config.snap * (end - start)
        for side, there in ((0, start), (1, end)):
            near = np.abs(at - there) <= reach
            if not np.isnan(points[i]):
                near &= (at <= points[i]) if side == 0 else (at >= points[i])
            if near.any():
                # A change counts less the farther it lies off.
                strength = changes[near] * (1 - np.abs(at[near] - there) / (reach + 1))
                moved[i, side] = at[near][np.argmax(strength)]
    return np.where((moved[:, 1] > moved[:, 0])[:, None], moved, bounds)


def change_strength(features: Array, steps: int) -> Array:
    """Distance of the mean features of `steps` on both sides of each border, ``[T + 1]``.

    Border t lies between steps t - 1 and t; at both ends of the video nothing changes.
    """
    features = np.asarray(features, np.float64)
    total = np.concatenate([np.zeros_like(features[:1]), np.cumsum(features, axis=0)])
    border = np.arange(len(features) + 1)
    first, stop = np.maximum(border - steps, 0), np.minimum(border + steps, len(features))
    before = (total[border] - total[first]) / np.maximum(border - first, 1)[:, None]
    after = (total[stop] - total[border]) / np.maximum(stop - border, 1)[:, None]
    change = np.linalg.norm(after - before, axis=1)
    change[[0, -1]] = 0
    return change
