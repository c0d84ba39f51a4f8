import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hrpro.localize.methods.hrpro.ranking import (
    NONE,
    negative_proposals,
    reliable_proposals,
    to_snippets,
)
from hrpro.localize.proposals.generate import Proposals, runs


@pytest.fixture(scope="module")
def golden(shared):
    folder = Path(os.environ.get("HRPRO_GOLDEN", shared / "data" / "golden"))
    return json.loads((folder / "reliable_proposals.json").read_text())


def test_golden_reliable_proposals(golden):
    """All cases as one batch of videos."""
    classes = sorted({c for case in golden for c in case["proposals"]} | {"a", "b", "c"})
    rows = [
        (video, start, end, classes.index(label), score)
        for video, case in enumerate(golden)
        for label, found in case["proposals"].items()
        for start, end, score in found
    ]
    table = Proposals(*np.array(rows).T)
    points = [(v, t, classes.index(c)) for v, case in enumerate(golden) for t, c in case["points"]]
    video, time, label = np.array(points).T
    reliable = reliable_proposals(table, video.astype(int), time, label.astype(int))
    ours = [{label: [] for label in case["reliable"]} for case in golden]
    for (v, _, c), row in zip(points, reliable, strict=True):
        triple = [table.start_s[row], table.end_s[row], table.score[row]]
        ours[v][classes[c]].append(None if row == NONE else triple)
    assert ours == [case["reliable"] for case in golden]


def test_neighbours_of_any_class_bound_a_proposal_unless_nothing_else_is_left():
    points = ([0, 0], np.array([2.0, 6.0]), [0, 1])
    wide, narrow = (0.0, 8.0, 0.9), (1.0, 4.0, 0.1)
    both = Proposals([0, 0], *np.array([wide[:2], narrow[:2]]).T, [0, 0], [wide[2], narrow[2]])
    assert reliable_proposals(both, *points).tolist() == [1, NONE]
    assert reliable_proposals(both[:1], *points).tolist() == [0, NONE]


def test_scores_of_zero_and_other_videos_do_not_count():
    table = Proposals([0, 1], [0.0, 0.0], [5.0, 5.0], [0, 0], [0.0, 0.7])
    assert reliable_proposals(table, [0, 1], np.array([1.0, 1.0]), [0, 0]).tolist() == [NONE, 1]
    assert reliable_proposals(Proposals.empty(), [0], np.array([1.0]), [0]).tolist() == [NONE]
    assert reliable_proposals(table, [], np.array([]), []).tolist() == []


@settings(max_examples=40, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(0, 50), st.integers(0, 9))
def test_negatives_lie_within_background_runs(mask, count, seed):
    background = np.array(mask)
    intervals = negative_proposals(background, count, np.random.default_rng(seed))
    assert len(intervals) == (count if background.any() else 0)
    for start, end in intervals:
        assert start < end
        assert background[start:end].all()


def test_negatives_reach_every_run():
    background = np.array([1, 0, 1, 1, 1, 0, 1, 1], dtype=bool)
    intervals = negative_proposals(background, 500, np.random.default_rng(0))
    starts = {tuple(pair) for pair in intervals.tolist()}
    assert starts == {(0, 1), (2, 3), (2, 4), (3, 4), (6, 7)}
    assert len(runs(background)[0]) == 3
    again = negative_proposals(background, 500, np.random.default_rng(0))
    np.testing.assert_array_equal(again, intervals)


def test_snippet_units_are_rounded():
    assert to_snippets(np.array([0.64, 1.0, 0.3333])).tolist() == [1.0, 1.562, 0.521]
