import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hrpro.localize.proposals import generate as module
from hrpro.localize.proposals.generate import (
    ProposalConfig,
    Proposals,
    generate_proposals,
    runs,
    smooth,
    spans,
    temporal_iou,
    upsample,
)
from hrpro.localize.proposals.nms import soft_nms


def rows(table: Proposals) -> np.ndarray:
    """Rows in an order that rounding cannot change."""
    values = np.stack([table.video, table.label, table.start_s, table.end_s, table.score], axis=1)
    return values[np.lexsort(np.round(values, 6).T[::-1])]


def one_by_one(scores, video_score, attention, config: ProposalConfig) -> np.ndarray:
    """Proposals of one video by plain loops over positions: start, end, class, score."""
    found = []
    fine_attention = None if attention is None else upsample(attention, config.upsample)
    classes = [c for c, v in enumerate(video_score) if v >= config.class_threshold]
    for label in classes or [int(np.argmax(video_score))]:
        fine = upsample(scores[:, label], config.upsample)
        passes = []
        for threshold in config.score_thresholds:
            zeroed = (
                np.where(fine >= threshold, fine, 0) if config.contrast_above_threshold else fine
            )
            passes.append((fine, threshold, zeroed))
        if attention is not None:
            passes += [(fine_attention, t, fine) for t in config.attention_thresholds]
        for gate, threshold, values in passes:
            inside = [t for t in range(len(gate)) if gate[t] >= threshold and gate[t] > 0]
            if inside == [0] and config.drop_lone_first:
                continue
            groups: list[list[int]] = []
            for t in inside:
                if groups and groups[-1][-1] == t - 1:
                    groups[-1].append(t)
                else:
                    groups.append([t])
            for run in groups:
                if len(run) < config.min_positions:
                    continue
                margin = config.outer_margin * len(run)
                low, high = max(0, int(run[0] - margin)), min(len(fine) - 1, int(run[-1] + margin))
                outer = [values[t] for t in range(low, high + 1) if t < run[0] or t > run[-1]]
                contrast = np.mean(values[run]) - (np.mean(outer) if outer else 0.0)
                contrast += config.gamma * video_score[label]
                second = 16 / 25 / config.upsample
                found.append([run[0] * second, (run[-1] + 1) * second, label, contrast])
    return np.array(found).reshape(-1, 4)


def random_videos(seed: int, lengths=(1, 2, 3, 17, 60), num_classes: int = 4):
    rng = np.random.default_rng(seed)
    scores = [rng.random((n, num_classes)) ** 3 * 0.4 for n in lengths]
    video_scores = [rng.random(num_classes) for _ in lengths]
    attentions = [rng.random(n) for n in lengths]
    return scores, video_scores, attentions


@pytest.fixture(scope="module")
def golden(shared):
    folder = Path(os.environ.get("HRPRO_GOLDEN", shared / "data" / "golden"))
    with np.load(folder / "proposals.npz", allow_pickle=False) as file:
        return [
            {key.split("_", 1)[1]: file[key] for key in file if key.startswith(f"case{i}_")}
            for i in range(int(file["count"]))
        ]


def golden_batch(golden) -> Proposals:
    return generate_proposals(
        [case["class_scores_fused"] for case in golden],
        [case["video_score"] for case in golden],
        [case["attention"] for case in golden],
    )


def as_proposals(golden, key: str) -> Proposals:
    tables = [
        Proposals(np.full(len(k), i), k[:, 0], k[:, 1], k[:, 2], k[:, 3])
        for i, k in enumerate(case[key] for case in golden)
    ]
    return Proposals.concatenate(tables)


def test_golden_proposals(golden):
    expected = rows(as_proposals(golden, "proposals"))
    np.testing.assert_allclose(rows(golden_batch(golden)), expected, rtol=0, atol=1e-9)


def test_golden_soft_nms(golden):
    ours, expected = soft_nms(golden_batch(golden)), as_proposals(golden, "after_soft_nms")
    assert len(ours) == len(expected)
    for i in range(len(golden)):
        mine, theirs = ours[ours.video == i], expected[expected.video == i].by_score()
        np.testing.assert_allclose(mine.score, theirs.score, rtol=0, atol=1e-9)
        np.testing.assert_allclose(mine.start_s, theirs.start_s, rtol=0, atol=1e-9)
        np.testing.assert_array_equal(mine.label, theirs.label)


@pytest.mark.parametrize(
    "config",
    [
        ProposalConfig(),
        ProposalConfig(upsample=24, gamma=0.2, score_thresholds=(0.1, 0.2), drop_lone_first=False),
        ProposalConfig(min_positions=2, contrast_above_threshold=False, upsample=1),
        ProposalConfig(outer_margin=0.0, class_threshold=0.9, attention_thresholds=()),
    ],
)
@pytest.mark.parametrize("with_attention", [True, False])
def test_batch_equals_plain_loops(config, with_attention):
    scores, video_scores, attentions = random_videos(1)
    table = generate_proposals(
        scores, video_scores, attentions if with_attention else None, config=config
    )
    for i, (s, v, a) in enumerate(zip(scores, video_scores, attentions, strict=True)):
        expected = one_by_one(s, v, a if with_attention else None, config)
        mine = rows(table[table.video == i])
        label, start, end, score = mine[:, 1:].T
        columns = (expected[:, 2], *expected[:, :2].T, expected[:, 3])
        order = np.lexsort(np.round(np.stack(columns), 6)[::-1])
        for ours, theirs in zip((label, start, end, score), columns, strict=True):
            np.testing.assert_allclose(ours, theirs[order], rtol=0, atol=1e-12)


def test_result_does_not_depend_on_the_block_size(monkeypatch):
    scores, video_scores, attentions = random_videos(2, (40, 5, 33, 8))
    classes = [np.arange(4)] * 4
    whole = rows(generate_proposals(scores, video_scores, attentions, classes=classes))
    monkeypatch.setattr(module, "_MAX_POSITIONS", 50)
    parts = rows(generate_proposals(scores, video_scores, attentions, classes=classes))
    np.testing.assert_allclose(parts, whole, rtol=0, atol=1e-13)


def test_chosen_classes_without_video_scores():
    scores, _, _ = random_videos(3, (30, 30))
    table = generate_proposals(scores, classes=[np.array([2]), np.array([], dtype=int)])
    assert set(table.label) == {2}
    assert set(table.video) == {0}


def test_times_follow_stride_and_offset():
    scores = np.zeros((10, 1))
    scores[4:6] = 0.15
    config = ProposalConfig(upsample=1, score_thresholds=(0.1,))
    table = generate_proposals(
        [scores, scores],
        classes=[np.array([0])] * 2,
        config=config,
        snippet_s=[0.16, 0.64],
        offset_s=[0.24, 0.0],
    )
    np.testing.assert_allclose(table.start_s, [0.24 + 4 * 0.16, 4 * 0.64])
    np.testing.assert_allclose(table.end_s, [0.24 + 6 * 0.16, 6 * 0.64])
    np.testing.assert_allclose(table.score, 0.15)


def test_a_run_of_only_the_first_position_is_dropped_on_request():
    scores = np.array([[0.2], [-0.2], [-0.2]])
    for drop, expected in ((True, 0), (False, 1)):
        config = ProposalConfig(upsample=1, score_thresholds=(0.1,), drop_lone_first=drop)
        assert len(generate_proposals([scores], classes=[np.array([0])], config=config)) == expected


def test_videos_without_snippets_or_no_videos_give_nothing():
    assert len(generate_proposals([], [], [])) == 0
    empty = generate_proposals([np.zeros((0, 3))], [np.zeros(3)], [np.zeros(0)])
    assert len(empty) == 0
    assert len(soft_nms(empty)) == 0


def test_memory_of_a_very_long_video_is_bounded():
    one_class = np.abs(np.sin(np.arange(20_000) / 50)) * 0.2
    scores = np.broadcast_to(one_class[:, None], (20_000, 400))
    tracemalloc.start()
    table = generate_proposals([scores], classes=[np.arange(3)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(table) > 1000
    assert peak < 30e6


def test_wrong_inputs_are_named():
    scores, video_scores, attentions = random_videos(4, (5, 6))
    with pytest.raises(ValueError, match="video_scores for 1 videos"):
        generate_proposals(scores, video_scores[:1], attentions)
    with pytest.raises(ValueError, match="video 1: attention"):
        generate_proposals(scores, video_scores, [attentions[0], attentions[0]])
    with pytest.raises(ValueError, match="video 0: scores must be"):
        generate_proposals([attentions[0]], [video_scores[0]])
    with pytest.raises(ValueError, match="needed to predict"):
        generate_proposals(scores)
    with pytest.raises(ValidationError):
        ProposalConfig(threshold=1)
    with pytest.raises(ValueError, match="equally long"):
        Proposals(np.zeros(2), np.zeros(2), np.zeros(2), np.zeros(2), np.zeros(3))


def test_table_selects_joins_and_names():
    table = Proposals([0, 1], [0.0, 1.0], [2.0, 3.0], [1, 0], [0.1, 0.9])
    joined = Proposals.concatenate([table, table[table.score > 0.5]])
    assert joined.video.tolist() == [0, 1, 1]
    assert joined.by_score().score.tolist() == [0.9, 0.9, 0.1]
    frame = table.to_frame(["v", "w"], ["run", "jump"])
    assert frame.values.tolist() == [["v", "jump", 0.0, 2.0, 0.1], ["w", "run", 1.0, 3.0, 0.9]]
    assert len(Proposals.concatenate([])) == 0


@given(st.lists(st.booleans(), max_size=40))
def test_runs_cover_exactly_the_mask(mask):
    first, last = runs(np.array(mask, dtype=bool))
    covered = np.zeros(len(mask), dtype=bool)
    for a, b in zip(first, last, strict=True):
        assert not covered[max(a - 1, 0) : b + 2].any(), "runs touch"
        covered[a : b + 1] = True
    assert covered.tolist() == mask


def test_spans_enumerates_ragged_rows():
    row, place = spans(np.array([2, 0, 3]))
    assert row.tolist() == [0, 0, 2, 2, 2]
    assert place.tolist() == [0, 1, 0, 1, 2]


def test_upsample_interpolates_and_extrapolates():
    assert upsample(np.array([1.0, 3.0, 2.0]), 2).tolist() == [1, 2, 3, 2.5, 2, 1.5]
    assert upsample(np.array([[7.0, 8.0]]), 3).tolist() == [[7, 8]] * 3


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=1, max_size=20), st.sampled_from([1, 3, 7]))
def test_smooth_is_the_mean_of_what_is_there(values, width):
    half = width // 2
    expected = [np.mean(values[max(i - half, 0) : i + half + 1]) for i in range(len(values))]
    np.testing.assert_allclose(smooth(np.array(values), width), expected, atol=1e-12)


def test_smooth_refuses_even_widths():
    with pytest.raises(ValueError, match="odd"):
        smooth(np.zeros(4), 2)


def test_temporal_iou():
    assert temporal_iou(0.0, 10.0, 5.0, 15.0) == pytest.approx(5 / 15)
    assert temporal_iou(0.0, 10.0, 1.0, 10.0, extra=1.0) == pytest.approx(10 / 11)
    assert temporal_iou(0.0, 1.0, 2.0, 3.0) == 0
    assert temporal_iou(1.0, 1.0, 1.0, 1.0) == 0
