import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hrpro.localize.proposals import nms
from hrpro.localize.proposals.generate import Proposals
from hrpro.localize.proposals.nms import hard_nms, soft_nms


def one_at_a_time(table: Proposals, sigma: float, extra: float) -> Proposals:
    """The release's loop: the best changes places with the first, the others decay."""
    kept = []
    for key in {(v, c) for v, c in zip(table.video, table.label, strict=True)}:
        own = table[(table.video == key[0]) & (table.label == key[1])]
        boxes = np.stack([own.score, own.start_s, own.end_s], axis=1)
        while len(boxes):
            best = np.argmax(boxes[:, 0])
            boxes[[0, best]] = boxes[[best, 0]]
            (score, start, end), boxes = boxes[0], boxes[1:]
            kept.append((key[0], start, end, key[1], score))
            shared = np.minimum(end, boxes[:, 2]) - np.maximum(start, boxes[:, 1]) + extra
            shared = np.maximum(shared, 0)
            union = (end - start + extra) + (boxes[:, 2] - boxes[:, 1] + extra) - shared
            boxes[:, 0] *= np.exp(-((shared / union) ** 2) / sigma)
    return Proposals(*np.array(kept).T)


def assert_same(ours: Proposals, expected: Proposals) -> None:
    columns = ("video", "label", "start_s", "end_s", "score")
    mine, theirs = (np.stack([getattr(t, c) for c in columns], axis=1) for t in (ours, expected))
    mine, theirs = (x[np.lexsort(x.T[::-1])] for x in (mine, theirs))
    np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-12)


def random_table(seed: int, size: int, length: float, span: float, decimals: int = 9) -> Proposals:
    rng = np.random.default_rng(seed)
    start = np.round(rng.uniform(0, span, size), 2)
    return Proposals(
        rng.integers(3, size=size),
        start,
        start + np.round(rng.exponential(length, size) + 0.01, 2),
        rng.integers(2, size=size),
        np.round(rng.uniform(-0.2, 1, size), decimals),
    )


@pytest.mark.parametrize("iou", ["legacy", "exact"])
@pytest.mark.parametrize(
    ("length", "span"), [(1.0, 500.0), (5.0, 300.0), (50.0, 50.0)], ids=["sparse", "mixed", "dense"]
)
def test_equals_one_at_a_time(length, span, iou):
    table = random_table(0, 900, length, span)
    table = Proposals.concatenate([table, table[::3], table[::5]])  # equal ones, as thresholds give
    expected = one_at_a_time(table, 0.3, 1.0 if iou == "legacy" else 0.0)
    assert_same(soft_nms(table, 0.3, iou), expected)


@pytest.mark.parametrize("degree", [0, 1000], ids=["in turn", "at once"])
@pytest.mark.parametrize("decimals", [1, 2])
def test_ties_and_scores_below_zero_are_resolved_as_in_the_release(monkeypatch, degree, decimals):
    monkeypatch.setattr(nms, "_DENSE_DEGREE", degree)
    for seed in range(20):
        table = random_table(seed, 60, 4.0, 30.0, decimals)
        assert_same(soft_nms(table), one_at_a_time(table, 0.3, 1.0))


def test_small_batches_give_the_same(monkeypatch):
    table = random_table(3, 400, 4.0, 100.0)
    expected = soft_nms(table)
    monkeypatch.setattr(nms, "_MAX_PAIRS", 20)
    assert_same(soft_nms(table), expected)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.integers(0, 20),
            st.integers(0, 10),
            st.sampled_from([0.2, 0.7, -1.0]),
        ),
        min_size=1,
        max_size=25,
    ),
    st.sampled_from([0.05, 0.3, 2.0]),
)
def test_any_table_equals_one_at_a_time(items, sigma):
    video, start, length, score = np.array(items, dtype=float).T
    table = Proposals(video, start, start + length, np.zeros(len(items)), score)
    assert_same(soft_nms(table, sigma), one_at_a_time(table, sigma, 1.0))


@pytest.mark.parametrize("degree", [0, 1000], ids=["in turn", "at once"])
def test_min_score_only_cuts_the_end(monkeypatch, degree):
    monkeypatch.setattr(nms, "_DENSE_DEGREE", degree)
    table = random_table(5, 500, 6.0, 60.0)
    whole = soft_nms(table)
    for floor in (-0.05, 0.0, 0.1, 2.0):
        assert_same(soft_nms(table, min_score=floor), whole[whole.score >= floor])


def test_result_is_sorted_and_the_best_keeps_its_score():
    table = random_table(6, 300, 6.0, 60.0)
    result = soft_nms(table)
    assert (np.diff(result.score) <= 0).all()
    assert result.score[0] == table.score.max()


def test_one_second_more_makes_neighbours_overlap():
    table = Proposals([0, 0], [0.0, 1.0], [1.0, 2.0], [0, 0], [0.9, 0.8])
    assert soft_nms(table, iou="exact").score.tolist() == [0.9, 0.8]
    expected = 0.8 * np.exp(-((1 / 3) ** 2) / 0.3)
    assert soft_nms(table, iou="legacy").score[1] == pytest.approx(expected, rel=1e-12)


def test_nothing_in_nothing_out():
    assert len(soft_nms(Proposals.empty())) == 0
    with pytest.raises(ValueError, match="sigma"):
        soft_nms(Proposals.empty(), sigma=0)


def test_hard_nms_keeps_the_best_of_a_pile():
    table = Proposals(
        [0, 0, 0, 1], [0, 1, 20, 0], [10, 10, 30, 10], [0, 0, 0, 0], [0.8, 0.9, 0.1, 0.2]
    )
    kept = hard_nms(table, 0.5)
    assert kept.score.tolist() == [0.9, 0.2, 0.1]
    assert kept.start_s.tolist() == [1, 0, 20]
    pair = table[:2].replace(label=[0, 1])
    assert len(hard_nms(pair, 0.5)) == 2
