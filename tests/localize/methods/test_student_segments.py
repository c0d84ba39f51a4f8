"""Segments from points, what the teacher makes of them, and fusion with the generator."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hrpro.localize.methods.student import fusion
from hrpro.localize.methods.student.batch import (
    Segments,
)
from hrpro.localize.methods.student.config import (
    DetectionConfig,
    FusionConfig,
    PseudoConfig,
    TeacherConfig,
)
from hrpro.localize.methods.student.fusion import LEAST_CONTRAST, fuse, outer_inner_contrast
from hrpro.localize.methods.student.inference import suppress
from hrpro.localize.methods.student.labels import renewed_segments
from hrpro.localize.methods.student.pseudo import (
    Points,
    Signal,
    segments_of_points,
    snap_to_changes,
)
from hrpro.localize.proposals.generate import Proposals

proposal_lists = st.lists(
    st.tuples(
        st.integers(0, 1), st.floats(0, 50), st.floats(0.1, 20), st.integers(0, 1), st.floats(-1, 1)
    ),
    max_size=25,
)
point_lists = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 60), st.integers(0, 1)),
    min_size=1,
    max_size=8,
    unique=True,
)


@given(proposal_lists, point_lists, st.sampled_from(["best", "fused", "bump"]), st.booleans())
@settings(deadline=None, max_examples=150)
def test_each_point_gets_a_segment_of_its_own(proposals, points, choice, with_signals):
    columns = np.array(proposals, float).reshape(-1, 5).T
    table = Proposals(columns[0], columns[1], columns[1] + columns[2], columns[3], columns[4])
    video, time, label = np.array(points).T
    labelled = Points(video, time.astype(float), label)
    rng = np.random.default_rng(0)
    signals = [Signal(rng.random((61, 2)), np.arange(61.0)) for _ in range(2)]
    with_signals = with_signals or choice == "bump"
    found = segments_of_points(
        table, labelled, PseudoConfig(choice=choice), signals if with_signals else None
    )
    given_any = ~np.isnan(found.start)
    assert (found.start <= labelled.time)[given_any].all()
    assert (labelled.time <= found.end)[given_any].all()
    assert ((found.weight >= 0) & (found.weight <= 1)).all()
    for i in range(len(points)):
        for j in range(len(points)):
            same = video[i] == video[j] and label[i] == label[j] and time[i] < time[j]
            if same and given_any[i] and given_any[j]:
                assert found.end[i] <= found.start[j]


def one_video(*rows: tuple[float, float, int, float]) -> Proposals:
    columns = np.array(rows, float).reshape(-1, 4).T
    return Proposals(np.zeros(len(columns[0])), *columns)


def test_the_best_proposal_without_a_point_of_another_class_is_chosen():
    points = Points(np.zeros(2, int), np.array([5.0, 12.0]), np.array([0, 1]))
    table = one_video((0, 20, 0, 0.9), (3, 8, 0, 0.5), (4, 7, 0, 0.4), (6, 9, 0, 1.0))
    found = segments_of_points(table, points, PseudoConfig(missing="drop"))
    assert (found.start[0], found.end[0]) == (3, 8)
    assert np.isnan(found.start[1])
    assert found.found.tolist() == [True, False]
    usual = segments_of_points(table, points, PseudoConfig())
    assert (usual.start[1], usual.end[1]) == (9.5, 14.5)
    assert usual.weight.tolist() == [1.0, PseudoConfig().missing_weight]


def test_segments_of_a_class_are_cut_where_it_is_least_active():
    points = Points(np.zeros(2, int), np.array([2.0, 8.0]), np.array([0, 0]))
    table = one_video((0, 10, 0, 0.9))
    halfway = segments_of_points(table, points, PseudoConfig())
    assert (halfway.end[0], halfway.start[1]) == (5, 5)
    activation = np.ones((11, 1))
    activation[7] = 0
    signal = Signal(activation, np.arange(11.0))
    lowest = segments_of_points(table, points, PseudoConfig(), [signal])
    assert (lowest.end[0], lowest.start[1]) == (7, 7)


def test_fused_segments_are_a_mean_of_those_that_agree():
    points = Points(np.zeros(1, int), np.array([5.0]), np.array([0]))
    table = one_video((2, 10, 0, 1.0), (4, 10, 0, 0.5), (4.9, 5.1, 0, 0.9))
    config = PseudoConfig(choice="fused", fuse_power=1.0)
    found = segments_of_points(table, points, config)
    assert found.start[0] == pytest.approx((2 * 1 + 4 * 0.5) / 1.5)
    assert found.end[0] == pytest.approx(10)


def test_a_bump_finds_the_hill_around_its_point():
    time = np.arange(100.0)
    hill = np.exp(-0.5 * ((time - 40) / 5) ** 2) + 0.02
    points = Points(np.zeros(1, int), np.array([42.0]), np.array([0]))
    config = PseudoConfig(choice="bump", bump_widths=2.0)
    found = segments_of_points(one_video(), points, config, [Signal(hill[:, None], time)])
    assert found.start[0] == pytest.approx(30, abs=1.5)
    assert found.end[0] == pytest.approx(50, abs=1.5)
    with pytest.raises(ValueError, match="activations"):
        segments_of_points(one_video(), points, config)


def test_worse_segments_weigh_less():
    points = Points(np.zeros(3, int), np.array([5.0, 15, 25]), np.zeros(3, int))
    table = one_video((4, 6, 0, 0.2), (14, 16, 0, 0.9), (24, 26, 0, 0.5))
    found = segments_of_points(table, points, PseudoConfig(weight_floor=0.4))
    assert found.weight.tolist() == pytest.approx([0.6, 1.0, 0.8])


def test_ends_snap_to_changes_of_the_features():
    features = np.zeros((40, 2))
    features[12:25] = 1.0
    bounds = np.array([[10.0, 27.0], [20.0, 21.0]])
    points = np.array([15.0, np.nan])
    config = PseudoConfig(snap=0.3, snap_steps=3)
    snapped = snap_to_changes(bounds, points, features, config)
    assert snapped[0].tolist() == [11.5, 24.5]
    assert snapped[1].tolist() == [20.0, 21.0]
    untouched = snap_to_changes(bounds, points, features, PseudoConfig())
    assert untouched is bounds


# --- teacher and fusion ----------------------------------------------------------------------


def test_the_teacher_moves_segments_but_neither_loses_nor_invents_any():
    given = [
        Segments.of(
            torch.tensor([[4.0, 8.0], [20.0, 24.0], [30.0, 34.0]]),
            torch.tensor([0, 0, 1]),
            points=torch.tensor([6.0, 22.0, float("nan")]),
        ),
        Segments.of(torch.empty(0, 2), torch.empty(0)),
    ]
    detections = Proposals(
        np.array([0, 0, 0, 0, 1]),
        np.array([2.0, 9, 19, 28, 1]),
        np.array([8.0, 12, 25, 36, 4]),
        np.array([0, 0, 0, 1, 0]),
        np.array([0.9, 1.0, 0.05, 0.9, 0.9]),
    )
    config = TeacherConfig(rule="points", min_score=0.1, blend=0.5)
    first, second = renewed_segments(detections, given, config, PseudoConfig())
    assert first.bounds.tolist() == [[3, 8], [20, 24], [30, 34]]
    assert len(second) == 0


def test_fusion_gates_supports_and_joins():
    student = one_video((0, 10, 0, 0.8), (0, 10, 1, 0.8))
    generator = one_video((0, 5, 0, 2.0), (20, 30, 1, 1.0))
    assert np.array_equal(fuse(student, FusionConfig()).score, student.score)
    gated = fuse(student, FusionConfig(gate=2.0), video_scores=[np.array([0.5, 1.0])])
    assert gated.score.tolist() == pytest.approx([0.2, 0.8])
    supported = fuse(student, FusionConfig(generator_share=0.5), generator)
    assert supported.score.tolist() == pytest.approx([(0.8 * 0.5) ** 0.5, 0.0])
    joined = fuse(student, FusionConfig(generator_segments=0.1), generator)
    assert joined.score.tolist() == pytest.approx([0.8, 0.8, 0.1, 0.05])
    with pytest.raises(ValueError, match="video scores"):
        fuse(student, FusionConfig(gate=1.0))
    with pytest.raises(ValueError, match="detections"):
        fuse(student, FusionConfig(generator_share=0.5))


def test_ends_move_to_what_the_generator_sees_of_the_same_action():
    student = one_video((0, 10, 0, 0.8), (0, 10, 1, 0.8), (40, 50, 0, 0.5))
    generator = one_video((1, 10, 0, 1.0), (0, 8, 0, 1.0), (0, 20, 0, 1.0), (20, 30, 0, 0.5))
    moved = fuse(student, FusionConfig(generator_ends=0.5), generator)
    assert moved.start_s.tolist() == pytest.approx([0.25, 0, 40])
    assert moved.end_s.tolist() == pytest.approx([9.5, 10, 50])
    assert moved.score.tolist() == student.score.tolist()
    with pytest.raises(ValueError, match="detections"):
        fuse(student, FusionConfig(generator_ends=0.5))


def test_segments_count_by_how_much_the_generators_activation_stands_out():
    values = np.array([[0.0, 0.5], [0.8, 0.5], [0.4, 0.5], [0.0, 0.5]])
    signal = Signal(values, np.array([0.5, 1.5, 2.5, 3.5]))  # snippets of a second
    table = one_video((1, 3, 0, 0.9), (1, 2, 0, 0.9), (1.5, 2.5, 0, 0.9), (0, 4, 1, 0.9))
    contrast = outer_inner_contrast(table, [signal])
    # Around (1, 2) lie a quarter of second 0 and one of second 2; beyond the video lies nothing.
    assert contrast.tolist() == pytest.approx([0.6, 0.8 - 0.2, 0.6 - 0.6, 0.5])
    fused = fuse(table, FusionConfig(contrast=0.5), signals=[signal])
    expected = [0.54**0.5, 0.54**0.5, (0.9 * LEAST_CONTRAST) ** 0.5, 0.45**0.5]
    assert fused.score.tolist() == pytest.approx(expected)
    lone = Signal(np.array([[0.7]]), np.array([0.5]))
    assert outer_inner_contrast(one_video((0, 1, 0, 1.0)), [lone]).tolist() == [0.7]
    with pytest.raises(ValueError, match="activations"):
        fuse(table, FusionConfig(contrast=0.5))


def test_a_class_keeps_its_best_detection_however_low():
    table = one_video((0, 1, 0, 1e-6), (5, 6, 1, 0.5), (5, 6.1, 1, 0.0005))
    kept = suppress(table, DetectionConfig())
    assert kept.label.tolist() == [1, 0]


@pytest.mark.parametrize("at_once", [1, 3, 1000])
def test_many_pairs_are_compared_in_blocks(monkeypatch, at_once):
    rng = np.random.default_rng(0)

    def some(count):
        start = rng.uniform(0, 20, count)
        ends = start + rng.uniform(1, 9, count)
        video, label = rng.integers(2, size=(2, count))
        return Proposals(video, start, ends, label, rng.uniform(0.1, 1, count))

    student, generator = some(30), some(40)
    config = FusionConfig(generator_share=0.5, generator_ends=0.5)
    whole = fuse(student, config, generator)
    assert not np.array_equal(whole.start_s, student.start_s)
    monkeypatch.setattr(fusion, "PAIRS_AT_ONCE", at_once)
    blocks = fuse(student, config, generator)
    for name in ("start_s", "end_s", "score"):
        np.testing.assert_allclose(getattr(blocks, name), getattr(whole, name))
    none = fuse(student[:0], config, generator)
    assert len(none) == 0
