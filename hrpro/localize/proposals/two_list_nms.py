"""Non-maximum suppression with two lists: what is kept, and what overlaps it at a lower score."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from hrpro.localize.proposals.generate import Array, Proposals, spans, temporal_iou
from hrpro.localize.proposals.nms import EXTRA_LENGTH, IouKind, count_partners, pair_batches


class TwoListNmsConfig(BaseModel):
    """Suppression class by class; the defaults are SAL's on THUMOS14."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    threshold: float = Field(0.4, gt=0, le=1, description="overlap with a better one that decays")
    sigma: float = Field(0.3, gt=0, description="scores are multiplied by exp(-iou^2 / sigma)")
    iou: IouKind = Field(
        "legacy", description="legacy: +1 s on every length, as the release computes it"
    )
    keep_decayed: bool = Field(True, description="false: drop what overlaps (hard NMS)")


def two_list_nms(proposals: Proposals, config: TwoListNmsConfig) -> tuple[Proposals, Proposals]:
    """Separate proposals that overlap no better one of their class and video from the others.

    Proposals are taken in order of falling score. One that overlaps the one taken by at least the
    threshold leaves the queue with ``score * exp(-iou**2 / sigma)`` and is not looked at again
    (spec section 8.8 of SAL). Unlike Gaussian soft-NMS, a score falls once at most.

    Returns:
        What was kept and what decayed, each in order of falling score.
    """
    group = proposals.video * (proposals.label.max(initial=0) + 1) + proposals.label
    in_time = np.lexsort((proposals.start_s, group))
    table = proposals[in_time]
    rank = np.empty(len(table), dtype=np.int64)
    rank[np.argsort(-table.score, kind="stable")] = np.arange(len(table))
    suppressed = np.zeros(len(table), dtype=bool)
    score = table.score.copy()
    if len(table):
        group = np.append(0, (np.diff(group[in_time]) != 0).cumsum())
        extra = EXTRA_LENGTH[config.iou]
        partners = count_partners(group, table.start_s, table.end_s, extra)
        for rows in pair_batches(partners, group):
            index, place = spans(partners[rows])
            one = rows[index]
            two = one + 1 + place
            iou = temporal_iou(
                table.start_s[one], table.end_s[one], table.start_s[two], table.end_s[two], extra
            )
            near = iou >= config.threshold
            one, two, iou = one[near], two[near], iou[near]
            better = np.where(rank[one] < rank[two], one, two)
            worse = one + two - better
            decisive = _decisive_pairs(better, worse, rank)
            suppressed[worse[decisive]] = True
            score[worse[decisive]] *= np.exp(iou[decisive] ** 2 / -config.sigma)
    table = table.replace(score=score)
    return table[~suppressed].by_score(), table[suppressed].by_score()


def _decisive_pairs(better: Array, worse: Array, rank: Array) -> Array:
    """Find the pairs, of overlapping proposals, in which a taken one removes another.

    Whoever has no better one left in the queue is taken, all such at the same time: none of them
    overlaps another. When all is decided, the first one taken is what removed a proposal.

    Args:
        better, worse: the rows of each pair, ``[P]``.
        rank: place of each row in the order of falling score.
    """
    removed = np.zeros(len(rank), dtype=bool)
    open_better, open_worse = better, worse
    while len(open_better):
        waiting = np.zeros(len(rank), dtype=bool)
        waiting[open_worse] = True
        removed[open_worse[~waiting[open_better]]] = True
        still = ~(removed[open_better] | removed[open_worse])
        open_better, open_worse = open_better[still], open_worse[still]
    by_taken = np.flatnonzero(~removed[better] & removed[worse])
    in_order = by_taken[np.lexsort((rank[better[by_taken]], worse[by_taken]))]
    first = np.diff(worse[in_order], prepend=-1) != 0
    return in_order[first]
