import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hrpro.errors import DataError
from hrpro.localize.data.protocol import THUMOS_TIOUS, read_ambiguous
from hrpro.localize.evaluation.average_precision import (
    Matching,
    drop_ambiguous,
    mean_average_precision,
)
from hrpro.localize.evaluation.mistakes import false_positive_breakdown

ACTIVITYNET_TIOUS = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))

COLUMNS = ["video", "label", "start_s", "end_s", "score"]


def table(rows, columns=COLUMNS) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=columns)


def truth_table(rows) -> pd.DataFrame:
    return table(rows, COLUMNS[:4])


def read_truth(database: dict, excluded=(), subset: str = "test") -> pd.DataFrame:
    return truth_table(
        [
            (video, item["label"], *map(float, item["segment"]))
            for video, entry in database.items()
            if entry["subset"].lower() == subset and video not in excluded
            for item in entry["annotations"]
        ]
    )


def read_results(results: dict, excluded=()) -> pd.DataFrame:
    return table(
        [
            (video, item["label"], *item["segment"], item["score"])
            for video, items in results.items()
            if video not in excluded
            for item in items
        ]
    ).astype({"start_s": float, "end_s": float, "score": float})


def test_golden_map(shared):
    folder = Path(os.environ.get("HRPRO_GOLDEN", shared / "data" / "golden"))
    cases = json.loads((folder / "map.json").read_text())
    assert cases
    for case in cases:
        truth = read_truth(case["database"])
        result = mean_average_precision(read_results(case["results"]), truth, case["thresholds"])
        np.testing.assert_allclose(result.mean, case["mAP"], rtol=0, atol=1e-12)
        expected = np.array([case["ap"][label] for label in result.classes])
        assert set(result.classes) == set(case["ap"])
        np.testing.assert_allclose(result.per_class.T, expected, rtol=0, atol=1e-12)


@pytest.fixture(scope="module")
def real(shared):
    folder = shared / "data" / "thumos14"
    expected = json.loads((folder / "expected_map.json").read_text())
    blocked = expected["blocked_videos"]
    truth = json.loads((folder / "gt_full.json").read_text())["database"]
    results = json.loads((folder / "real_detections.json").read_text())["results"]
    return read_results(results, blocked), read_truth(truth, blocked), expected


def sorts_as_the_reference_machine() -> bool:
    """Whether NumPy's default sort leaves ties in the order it does with AVX-512."""
    ties = np.random.default_rng(0).integers(0, 50, 2000).astype(float)
    return int(np.argsort(ties)[:5] @ np.arange(1, 6)) == 16767


def test_golden_real_detections(real):
    predictions, truth, expected = real
    result = mean_average_precision(predictions, truth, expected["thresholds"])
    # Ties among scores of 0 are ordered by the sort, and so by the processor.
    tolerance = 1e-9 if sorts_as_the_reference_machine() else 3e-4
    np.testing.assert_allclose(result.mean, expected["mAP"], rtol=0, atol=tolerance)
    assert result.average == pytest.approx(expected["average"], abs=tolerance)


def test_stable_ties_do_not_depend_on_the_sort(real):
    predictions, truth, expected = real
    result = mean_average_precision(predictions, truth, expected["thresholds"], stable_ties=True)
    assert result.average == pytest.approx(0.43273428477322223, abs=1e-9)


def plain_match(predictions: pd.DataFrame, truth: pd.DataFrame, tiou: float) -> dict[int, int]:
    """Each prediction in order of its score takes the best segment that is left."""
    taken: dict[int, int] = {}
    for row in predictions.sort_values("score", ascending=False, kind="stable").itertuples():
        best, best_tiou = None, tiou
        for segment in truth.itertuples():
            if (segment.video, segment.label) != (row.video, row.label):
                continue
            shared = min(row.end_s, segment.end_s) - max(row.start_s, segment.start_s)
            union = row.end_s - row.start_s + segment.end_s - segment.start_s - shared
            value = max(shared, 0) / union
            if segment.Index not in taken.values() and value >= best_tiou and value > 0:
                best, best_tiou = segment.Index, value
        if best is not None:
            taken[row.Index] = best
    return taken


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.05, 0.3, 0.5]))
def test_matching_equals_taking_turns(seed, tiou):
    rng = np.random.default_rng(seed)

    def draw(size: int, num_labels: int) -> pd.DataFrame:
        start = rng.uniform(0, 10, size)
        columns = (rng.choice(["v", "w"], size), rng.choice(list("abc")[:num_labels], size))
        times = (start, start + rng.uniform(0.5, 6, size), rng.random(size))
        return pd.DataFrame(dict(zip(COLUMNS, (*columns, *times), strict=True)))

    predictions, truth = draw(40, 3), draw(9, 2)
    matching = Matching(predictions, truth)
    ours = {r: t for r, t in zip(matching.row, matching.match(tiou), strict=True) if t >= 0}
    assert ours == plain_match(predictions, truth, tiou)


def test_hand_computed_example():
    truth = truth_table([("v", "a", 0, 10), ("v", "a", 20, 30), ("w", "b", 0, 4)])
    predictions = table(
        [
            ("v", "a", 0, 10, 0.9),  # right
            ("v", "a", 1, 10, 0.8),  # taken already
            ("v", "a", 20, 30, 0.7),  # right
            ("w", "b", 8, 9, 0.6),  # wrong place
        ]
    )
    result = mean_average_precision(predictions, truth, [0.5, 0.7])
    np.testing.assert_allclose(result.per_class, [[(1 + 2 / 3) / 2, 0.0]] * 2)
    assert result.classes == ("a", "b")
    assert result.average == pytest.approx(5 / 12)
    assert result.to_frame().loc["a", 0.5] == pytest.approx(5 / 6)


def test_only_classes_with_ground_truth_count():
    truth = truth_table([("v", "a", 0, 10)])
    right = table([("v", "a", 0, 10, 0.5)])
    noise = table(
        [
            ("v", "unknown class", 0, 10, 0.9),
            ("video without ground truth", "a", 0, 10, 0.4),
        ]
    )
    both = pd.concat([right, noise], ignore_index=True)
    assert mean_average_precision(both, truth).average == 1.0
    noise.loc[1, "score"] = 0.6  # a false positive before the right one
    both = pd.concat([right, noise], ignore_index=True)
    assert mean_average_precision(both, truth).average == 0.5


def test_no_predictions_are_worth_nothing():
    truth = truth_table([("v", "a", 0, 10), ("v", "b", 0, 10)])
    result = mean_average_precision(table([]).astype({"score": float}), truth)
    assert result.per_class.tolist() == [[0.0, 0.0]] * 7


def test_perfect_predictions_are_worth_everything():
    truth = truth_table([("v", "a", 0, 10), ("v", "a", 20, 30), ("w", "b", 1, 2)])
    result = mean_average_precision(truth.assign(score=[0.1, 0.2, 0.3]), truth, ACTIVITYNET_TIOUS)
    assert (result.per_class == 1).all()


def test_averages_over_part_of_the_thresholds(real):
    predictions, truth, expected = real
    result = mean_average_precision(predictions, truth, THUMOS_TIOUS)
    assert result.average_between(0.1, 0.5) == pytest.approx(np.mean(expected["mAP"][:5]), abs=3e-4)
    assert result.average_between(0.3, 0.7) == pytest.approx(np.mean(expected["mAP"][2:]), abs=3e-4)
    with pytest.raises(ValueError, match="no tIoU"):
        result.average_between(0.8, 0.9)


def test_bad_tables_are_named():
    truth = truth_table([("v", "a", 0, 10)])
    with pytest.raises(DataError, match="predictions: missing column score"):
        mean_average_precision(truth, truth)
    with pytest.raises(DataError, match="nothing to measure"):
        mean_average_precision(truth.assign(score=1.0), truth[:0])
    with pytest.raises(DataError, match=r"not a finite number.*nan"):
        mean_average_precision(truth.assign(score=np.nan), truth)


def test_ambiguous_segments_are_compared_in_whole_seconds(tmp_path):
    path = tmp_path / "ambiguous.txt"
    path.write_text("v  10.4 12.6\nw 5 6\n")
    ambiguous = read_ambiguous(path)  # v: seconds 10, 11, 12
    predictions = table(
        [
            ("v", "a", 9.0, 10.9, 1),  # seconds 9: kept
            ("v", "a", 9.0, 11.0, 1),  # 9, 10: dropped
            ("v", "a", 12.2, 12.9, 1),  # shorter than a whole second: kept
            ("v", "a", 13.0, 20.0, 1),
            ("w", "a", 0.0, 50.0, 1),  # dropped
            ("x", "a", 0.0, 50.0, 1),
        ]
    )
    assert drop_ambiguous(predictions, ambiguous).index.tolist() == [0, 2, 3, 5]
    assert len(drop_ambiguous(predictions[:0], ambiguous)) == 0


def test_real_ambiguous_list(shared, real):
    ambiguous = read_ambiguous(shared / "data" / "thumos14" / "Ambiguous_test.txt")
    predictions, _, _ = real
    kept = drop_ambiguous(predictions, ambiguous)
    segments = {}
    for row in ambiguous.itertuples():
        segments.setdefault(row.video, set()).update(range(round(row.start_s), round(row.end_s)))
    expected = [
        not segments.get(row.video, set()) & set(range(int(row.start_s), int(row.end_s)))
        for row in predictions.itertuples()
    ]
    assert 0 < len(kept) < len(predictions)
    assert kept.index.tolist() == predictions.index[expected].tolist()


def test_unreadable_ambiguous_list_is_named(tmp_path):
    path = tmp_path / "ambiguous.txt"
    path.write_text("v one two\n")
    with pytest.raises(DataError, match=r"ambiguous\.txt"):
        read_ambiguous(path)


def test_kinds_of_false_positives():
    truth = truth_table([("v", "a", 0, 10), ("v", "b", 20, 30)])
    predictions = table(
        [
            ("v", "a", 0, 10, 0.9),
            ("v", "a", 0, 9, 0.8),
            ("v", "a", 20, 30, 0.7),
            ("v", "b", 27, 40, 0.6),
            ("v", "a", 27, 40, 0.5),
            ("v", "c", 50, 60, 0.4),
            ("u", "a", 0, 10, 0.3),
        ],
    )
    predictions.index = predictions.index[::-1]
    result = false_positive_breakdown(predictions, truth, tiou=0.5)
    assert result.kinds.tolist() == [
        "true positive",
        "duplicate",
        "wrong label",
        "localization",
        "confusion",
        "background",
        "background",
    ]
    assert result.kinds.index.tolist() == predictions.index.tolist()
    assert result.counts["background"] == 2
    assert sum(result.shares.values()) == pytest.approx(1)
    top = false_positive_breakdown(predictions[::-1], truth, tiou=0.5, top=2)
    assert top.counts["true positive"] == top.counts["duplicate"] == 1
    assert sum(top.counts.values()) == 2


def test_breakdown_agrees_with_the_evaluation(real):
    predictions, truth, _ = real
    result = false_positive_breakdown(predictions, truth, tiou=0.5, top=len(predictions))
    matched = (Matching(predictions, truth).match(0.5) >= 0).sum()
    assert sum(result.counts.values()) == len(predictions)
    assert result.counts["true positive"] == matched
    assert (
        false_positive_breakdown(table([]).astype({"score": float}), truth).shares["background"]
        == 0
    )
