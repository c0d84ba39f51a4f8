from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrpro.localize.proposals.generate import Proposals
from hrpro.localize.proposals.two_list_nms import TwoListNmsConfig, two_list_nms


def plainly(proposals: Proposals, config: TwoListNmsConfig) -> tuple[set, set]:
    """One proposal after the other, as the method describes it."""
    extra = 1 if config.iou == "legacy" else 0
    columns = (proposals.video, proposals.label, proposals.start_s, proposals.end_s)
    queue = sorted(
        zip(proposals.score, *columns, strict=True), key=lambda row: row[0], reverse=True
    )
    kept, decayed = [], []
    while queue:
        score, video, label, start, end = queue.pop(0)
        kept.append((video, label, start, end, score))
        rest = []
        for other in queue:
            overlap = max(0, min(end, other[4]) - max(start, other[3]) + extra)
            union = (end - start) + (other[4] - other[3]) + 2 * extra - overlap
            iou = overlap / union if other[1:3] == (video, label) else 0
            if iou >= config.threshold:
                decayed.append((*other[1:], other[0] * math.exp(-(iou**2) / config.sigma)))
            else:
                rest.append(other)
        queue = rest
    return rounded(kept), rounded(decayed)


def rounded(rows) -> set:
    return sorted(tuple(round(float(value), 9) for value in row) for row in rows)


def rows_of(table: Proposals) -> set:
    return rounded(
        zip(table.video, table.label, table.start_s, table.end_s, table.score, strict=True)
    )


@given(st.data())
def test_agrees_with_taking_one_after_the_other(data):
    count = data.draw(st.integers(0, 40))
    rng = np.random.default_rng(data.draw(st.integers(0, 10_000)))
    start = rng.uniform(0, data.draw(st.sampled_from([5, 30, 200])), count)
    proposals = Proposals(
        video=rng.integers(0, 3, count),
        start_s=start,
        end_s=start + rng.uniform(0.1, 12, count),
        label=rng.integers(0, 2, count),
        score=rng.permutation(count) - 2.5,
    )
    config = TwoListNmsConfig(
        threshold=data.draw(st.sampled_from([0.2, 0.4, 0.7])),
        iou=data.draw(st.sampled_from(["legacy", "exact"])),
    )
    kept, decayed = two_list_nms(proposals, config)
    expected = plainly(proposals, config)
    assert (rows_of(kept), rows_of(decayed)) == expected
    assert (np.diff(kept.score) <= 0).all()
    assert (np.diff(decayed.score) <= 0).all()


def test_a_worked_example():
    proposals = Proposals([0, 0], [0, 1], [10, 10], [0, 0], [0.9, 0.8])
    kept, decayed = two_list_nms(proposals, TwoListNmsConfig())
    assert kept.score.tolist() == [0.9]
    assert decayed.score == pytest.approx(0.8 * math.exp(-((10 / 11) ** 2) / 0.3))


def test_the_same_proposal_twice():
    twice = Proposals([0, 0], [1, 1], [5, 5], [2, 2], [0.5, 0.5])
    kept, decayed = two_list_nms(twice, TwoListNmsConfig())
    assert kept.score.tolist() == [0.5]
    assert decayed.score == pytest.approx(0.5 * math.exp(-1 / 0.3))


def test_nothing():
    assert [len(table) for table in two_list_nms(Proposals.empty(), TwoListNmsConfig())] == [0, 0]
