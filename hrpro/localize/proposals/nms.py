"""Non-maximum suppression within each class of each video, over a whole batch at once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from hrpro.localize.proposals.generate import Array, Proposals, spans, temporal_iou

IouKind = Literal["legacy", "exact"]
"""``legacy`` adds 1 to every length, as the HR-Pro release does although the unit is seconds."""

EXTRA_LENGTH = {"legacy": 1.0, "exact": 0.0}
_DENSE_DEGREE = 24
"""Overlapping pairs per proposal from which taking one by one is the faster way."""
_MAX_PAIRS = 1 << 20
"""Overlapping pairs, or cells of a padded table, held in memory at once."""


class NmsConfig(BaseModel):
    """Soft-NMS with a Gaussian, class by class."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sigma: float = Field(0.3, gt=0, description="scores are multiplied by exp(-iou^2 / sigma)")
    iou: IouKind = Field(
        "legacy", description="legacy: +1 s on every length, as the release computes it"
    )


def soft_nms(
    proposals: Proposals,
    sigma: float = 0.3,
    iou: IouKind = "legacy",
    min_score: float | None = None,
    guard: float = 0.0,
) -> Proposals:
    """Lower the scores of proposals that overlap better ones: Gaussian soft-NMS.

    Within each (video, class), the proposal of highest score is taken and the others are
    multiplied by ``exp(-iou**2 / sigma)``, until none is left (Bodla et al., "Soft-NMS", 2017).
    Nothing is dropped unless `min_score` is given.

    Args:
        proposals: the candidates, in any order; ties are resolved as in the HR-Pro release.
        sigma: width of the Gaussian.
        iou: how the overlap of two proposals is computed.
        min_score: drop what ends below this score, which also saves the time to compute it.
        guard: added to every length but not to intersections, as ActionFormer does.

    Returns:
        The proposals in order of falling final score.

    Raises:
        ValueError: `sigma` is not positive.
    """
    if not sigma > 0:
        raise ValueError(f"sigma must be positive, not {sigma}")
    suppression = _Suppression(proposals, sigma, EXTRA_LENGTH[iou], min_score, guard)
    suppression.run()
    result = suppression.table.replace(score=suppression.score)
    if min_score is not None:
        result = result[result.score >= min_score]
    return result.by_score()


def hard_nms(proposals: Proposals, threshold: float, iou: IouKind = "legacy") -> Proposals:
    """Drop proposals that overlap a better one of their class and video by more than `threshold`.

    Returns:
        The survivors in order of falling score.
    """
    import torch
    from torchvision.ops import batched_nms

    zero = np.zeros(len(proposals))
    end_s = proposals.end_s + EXTRA_LENGTH[iou]
    boxes = np.stack([proposals.start_s, zero, end_s, zero + 1], axis=1)
    group = proposals.video * (proposals.label.max(initial=0) + 1) + proposals.label
    kept = batched_nms(
        torch.from_numpy(boxes),
        torch.from_numpy(proposals.score),
        torch.from_numpy(group),
        threshold,
    )
    return proposals[kept.numpy()]


@dataclass(frozen=True)
class _Nodes:
    """Distinct proposals in order of group and start, `[N]` each."""

    first_row: Array
    copies: Array
    start: Array
    end: Array
    score: Array
    group: Array


class _Suppression:
    """Soft-NMS of a batch; a group is one class of one video.

    A proposal of positive score may be taken as soon as it beats all those it overlaps: scores
    only fall, and the others never touch it. So many are taken at the same time, in all groups,
    and work is spent on overlapping pairs only. Equal proposals, which neighbouring thresholds
    often give, are one node with several copies. Left to the one-by-one way are groups where
    nearly everything overlaps, exact ties (whose order counts), and scores of 0 and below, which
    suppression raises.
    """

    def __init__(
        self,
        proposals: Proposals,
        sigma: float,
        extra: float,
        min_score: float | None,
        guard: float,
    ) -> None:
        self.sigma, self.extra, self.guard = sigma, extra, guard
        # A score below a positive floor stays there; one below 0 may rise.
        self.floor = min_score if min_score is not None and min_score > 0 else -np.inf
        # In time order, the partners that a proposal overlaps follow it directly.
        group = proposals.video * (proposals.label.max(initial=0) + 1) + proposals.label
        columns = (proposals.score, proposals.end_s, proposals.start_s, group)
        self.order = np.lexsort(columns)
        self.table = proposals[self.order]
        self.score = self.table.score.copy()
        changes = np.array([np.diff(values[self.order]) != 0 for values in columns])
        self.group = np.append(False, changes[-1]).cumsum()
        self.node = np.append(False, changes.any(axis=0)).cumsum()

    def run(self) -> None:
        """Bring `score` to its final values."""
        if not len(self.table):
            return
        first = np.flatnonzero(np.diff(self.node, prepend=-1))
        nodes = _Nodes(
            first_row=first,
            copies=np.bincount(self.node),
            start=self.table.start_s[first],
            end=self.table.end_s[first],
            score=self.score[first],
            group=self.group[first],
        )
        partners = count_partners(nodes.group, nodes.start, nodes.end, self.extra)
        dense = np.bincount(nodes.group, partners) > _DENSE_DEGREE * np.bincount(nodes.group)
        in_turn = dense[nodes.group]
        for some in pair_batches(np.where(in_turn, 0, partners), nodes.group):
            some = some[~in_turn[some]]
            in_turn |= self._take_at_once(nodes, some, partners[some])
        in_turn = in_turn[self.node] & (self.score >= self.floor)
        self._take_in_turn(np.flatnonzero(in_turn))

    def _weight(self, start_a: Array, end_a: Array, start_b: Array, end_b: Array) -> Array:
        iou = temporal_iou(start_a, end_a, start_b, end_b, self.extra, self.guard)
        return np.exp(iou * iou / -self.sigma)

    def _take_at_once(self, nodes: _Nodes, some: Array, partners: Array) -> Array:
        """Suppress whole sparse groups; return which nodes are still to be taken in turn."""
        start, end, score = nodes.start, nodes.end, nodes.score
        index, place = spans(partners)
        one = some.take(index)
        two = one + 1 + place

        score_one, score_two = score.take(one), score.take(two)
        low = np.maximum(score_one, score_two) <= 0
        tied = (score_one == score_two) & (score_one != 0)
        has_tie = np.zeros(nodes.group[-1] + 1, dtype=bool)
        has_tie[nodes.group[one[tied]]] = True
        repeated = (score[some] <= 0) & (nodes.copies[some] > 1)
        in_turn = np.zeros(len(score), dtype=bool)
        in_turn[some] = has_tie[nodes.group[some]] | repeated
        in_turn[one[low]] = in_turn[two[low]] = True
        together = np.flatnonzero(~(low | has_tie[nodes.group[one]]))
        one, two = one[together], two[together]
        weight = self._weight(start[one], end[one], start[two], end[two])
        own_weight = self._weight(start, end, start, end)
        used = np.zeros_like(nodes.copies)
        has_pair = np.zeros(len(score), dtype=bool)
        has_pair[one] = has_pair[two] = True

        while len(one):
            loser = np.where(score.take(one) > score.take(two), two, one)
            winner = one + two - loser
            unbeaten = has_pair.copy()
            unbeaten[loser] = False
            hit = np.flatnonzero(unbeaten.take(winner))
            taken = np.flatnonzero(unbeaten)
            np.multiply.at(score, loser[hit], weight[hit])
            self.score[nodes.first_row[taken] + used[taken]] = score[taken]
            used[taken] += 1
            score[taken] *= own_weight[taken]
            closed = np.zeros(len(one), dtype=bool)
            closed[hit] = (used == nodes.copies)[winner[hit]]
            if self.floor > 0:
                closed |= score[loser] < self.floor
            keep = np.flatnonzero(~closed)
            one, two, weight = one.take(keep), two.take(keep), weight.take(keep)
            has_pair[:] = False
            has_pair[one] = has_pair[two] = True

        index, place = spans(nodes.copies[some] - used[some])
        node = some[index]
        rows = nodes.first_row[node] + used[node] + place
        self.score[rows] = score[node] * own_weight[node] ** np.where(in_turn[node], 0, place)
        return in_turn

    def _take_in_turn(self, rows: Array) -> None:
        """Suppress groups the plain way, in lock-step: every group takes its best at once."""
        rows = rows[np.lexsort((self.order[rows], self.group[rows]))]
        size = np.bincount(self.group[rows])
        size = size[size > 0]
        begin = np.cumsum(size) - size
        largest_first = np.argsort(-size, kind="stable")
        while len(largest_first):
            width = size[largest_first[0]]
            count = np.searchsorted(-size[largest_first], -width / 2, side="right")
            count = max(1, min(count, _MAX_PAIRS // width))
            part, largest_first = largest_first[:count], largest_first[count:]
            group, place = spans(size[part])
            self._take_table(rows[begin[part][group] + place], group, place)

    def _take_table(self, rows: Array, group: Array, place: Array) -> None:
        """Suppress groups laid out in one padded table `[group, place]`, largest first."""
        shape = (4, group[-1] + 1, place.max() + 1)
        cells = np.zeros(shape)
        score, start, end, row = cells
        score[:] = -np.inf
        start[:] = end[:] = -1e12  # padding overlaps nothing
        for column, values in zip(
            cells,
            (self.score[rows], self.table.start_s[rows], self.table.end_s[rows], rows),
            strict=True,
        ):
            column[group, place] = values
        size = np.bincount(group)
        lines = np.arange(len(size))
        for turn in range(shape[2]):
            active = lines[: np.searchsorted(-size, -turn)]
            # As in the release, the best changes places with the first that is left.
            best = turn + np.argmax(score[: len(active), turn:], axis=1)
            taken = cells[:, active, best]
            cells[:, active, best] = cells[:, active, turn]
            cells[:, active, turn] = taken
            if taken[0].max() < self.floor:
                break
            rest = np.s_[: len(active), turn + 1 :]
            score[rest] *= self._weight(
                start[rest], end[rest], taken[1][:, None], taken[2][:, None]
            )
        filled = score > -np.inf
        self.score[row[filled].astype(np.int64)] = score[filled]


def count_partners(group: Array, start: Array, end: Array, extra: float) -> Array:
    """Count, for every segment, those of its group that start later, before it ends, ``[N]``.

    They follow it directly: segments come in order of group and start. `extra` is added to every
    length, see `temporal_iou`.
    """
    # Each group gets a stretch of one common time axis; the slack covers the rounding.
    origin = start.min()
    stretch = max(end.max(), start.max()) - origin + extra + 1.0
    shift = group * stretch - origin
    slack = 1e-15 * stretch * (group[-1] + 2)
    reach = np.searchsorted(start + shift, end + shift + extra + slack)
    return np.maximum(reach - 1 - np.arange(len(reach)), 0)


def pair_batches(weights: Array, group: Array) -> Iterator[Array]:
    """Cut rows into consecutive batches of whole groups, about `_MAX_PAIRS` of weight each."""
    total = np.cumsum(np.bincount(group, weights=weights))
    batch = np.maximum(total - 1, 0) // _MAX_PAIRS
    bounds = np.flatnonzero(np.diff(batch[group], prepend=-1, append=-1))
    return (np.arange(first, stop) for first, stop in itertools.pairwise(bounds))
