"""The student: its network, what it is to answer, windows, and losses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_student import tiny_config

from hrpro.localize.data.grid import SnippetGrid
from hrpro.localize.methods.student.assignment import assign
from hrpro.localize.methods.student.bases import BASES
from hrpro.localize.methods.student.batch import (
    Segments,
    WindowBatch,
    draw_window,
    padded_length,
    refine_steps,
)
from hrpro.localize.methods.student.config import (
    AssignmentConfig,
    LossConfig,
    StudentConfig,
    WindowConfig,
)
from hrpro.localize.methods.student.losses import (
    distance_iou_loss,
    iou_weight,
    point_label_losses,
    segment_iou,
    training_losses,
    video_scores,
)
from hrpro.localize.methods.student.model import StudentModel, StudentOutput
from hrpro.localize.nn.pyramid import Levels


def test_released_network_has_as_many_weights_as_the_release():
    config = StudentConfig.model_validate({"pyramid": {"init_std": 0.01}})
    model = StudentModel(2048, 20, config)
    assert sum(p.numel() for p in model.parameters()) == 15_989_604


def test_class_logits_start_at_the_prior():
    model = StudentModel(8, 3, tiny_config())
    bias = model.class_head.out.conv.bias
    assert torch.allclose(bias.sigmoid(), torch.tensor(0.01))


def test_no_opinion_on_distances_gives_the_middle():
    levels = Levels.of(8, 3)
    zeros = torch.zeros(1, levels.num_points, 2)
    output = StudentOutput(
        levels=levels,
        valid=torch.ones(1, levels.num_points, dtype=torch.bool),
        class_logits=zeros,
        start_logits=zeros,
        end_logits=zeros,
        offset_logits=torch.zeros(1, levels.num_points, 2, 17),
    )
    distances = output.distances(*zeros.add(1).nonzero().unbind(1))
    assert torch.allclose(distances, torch.tensor(8.0))


def slow_targets(levels, segments, labels, num_classes, config):
    """Point by point and segment by segment."""
    classes = np.zeros((levels.num_points, num_classes))
    distances = np.zeros((levels.num_points, 2))
    reaches = config.reaches(len(levels.lengths))
    for p in range(levels.num_points):
        x, r = int(levels.position[p]), int(levels.stride[p])
        low, high = reaches[int(levels.level[p])]
        fits = []
        for (start, end), label in zip(segments, labels, strict=True):
            middle = (start + end) / 2
            inside = max(middle - 1.5 * r, start) < x < min(middle + 1.5 * r, end)
            if inside and low <= max(x - start, end - x) <= high:
                fits.append((end - start, start, end, label))
        if fits:
            shortest = min(fits, key=lambda fit: fit[0])
            distances[p] = (x - shortest[1]) / r, (shortest[2] - x) / r
            for length, _, _, label in fits:
                if length <= shortest[0] + config.same_length:
                    classes[p, label] = 1
    return classes, distances


segment_lists = st.lists(
    st.tuples(st.integers(0, 60), st.integers(1, 30), st.integers(0, 2)), max_size=6
)


@given(segment_lists)
@settings(deadline=None, max_examples=60)
def test_assignment_equals_plain_loops(segments):
    levels, config = Levels.of(64, 4), AssignmentConfig()
    bounds = torch.tensor([(s, s + n) for s, n, _ in segments], dtype=torch.float64).view(-1, 2)
    labels = torch.tensor([label for _, _, label in segments], dtype=torch.int64)
    # A second video without segments must not see them.
    targets = assign(
        levels,
        torch.stack([bounds, bounds]),
        torch.stack([labels, labels]),
        torch.tensor([[True], [False]]).expand(2, len(labels)),
        3,
        config,
    )
    classes, distances = slow_targets(levels, bounds.tolist(), labels.tolist(), 3, config)
    np.testing.assert_array_equal(targets.classes[0], classes)
    np.testing.assert_allclose(targets.distances[0], distances)
    assert not targets.positive[1].any()


def test_fewer_levels_leave_no_length_without_a_level():
    config = AssignmentConfig()
    assert config.reaches(3) == ((0, 4), (4, 8), (8, 10000))
    assert config.reaches(6) == config.reach


distances = st.tuples(*[st.floats(0.01, 20)] * 2)


@given(distances, distances)
def test_distance_iou_loss_is_zero_for_equal_segments_alone(predicted, wanted):
    one, two = (torch.tensor([d], dtype=torch.float64) for d in (predicted, wanted))
    iou = segment_iou(one, two)
    loss = distance_iou_loss(one, two, iou)
    assert 0 <= loss.item() < 2
    assert (loss.item() < 1e-9) == np.allclose(predicted, wanted, rtol=1e-8)


def test_weight_of_no_overlap_has_a_finite_gradient():
    iou = torch.tensor([0.0, 0.5], requires_grad=True)
    weight = iou_weight(iou, LossConfig())
    weight.sum().backward()
    assert weight[0] == 0
    assert iou.grad.isfinite().all()


def random_batch(lengths, num_classes=3, dim=6, length=64, seed=0):
    rng = torch.Generator().manual_seed(seed)
    features = [torch.randn(n, dim, generator=rng) for n in lengths]
    segments = [
        Segments.of(torch.tensor([[n * 0.2, n * 0.5], [n * 0.4, n * 0.9]]), torch.tensor([0, 2]))
        for n in lengths
    ]
    label = torch.tensor([[1.0, 0, 1]] * len(lengths))
    return WindowBatch.collate(features, segments, label[:, :num_classes], length)


def test_padding_does_not_enter_losses_where_it_is_masked():
    torch.manual_seed(0)
    model = StudentModel(6, 3, tiny_config(pyramid={"drop_path": 0.0})).double()
    state = {n: v.clone() for n, v in model.state_dict().items()}
    totals = []
    for length in (64, 96):
        model.load_state_dict(state)
        batch = random_batch([40, 23], length=length)
        batch = WindowBatch(
            *(v.double() if v.is_floating_point() else v for v in vars(batch).values())
        )
        totals.append(training_losses(model, batch)["total"].item())
    assert totals[0] == pytest.approx(totals[1], abs=1e-9)


def test_video_scores_ignore_padding_unless_released():
    levels, valid = Levels.of(8, 1), torch.arange(8).unsqueeze(0) < 5
    logits = torch.full((1, 8, 2), -4.0)
    logits[0, 2, 1] = -1.0
    logits = logits * valid.unsqueeze(2)
    output = StudentOutput(levels, valid, logits, logits, logits, torch.zeros(1, 8, 2, 3))
    per_video = video_scores(output, LossConfig())
    assert torch.allclose(per_video, torch.tensor([[-4.0, -1.0]]).softmax(1))
    batch = video_scores(output, LossConfig(video_topk="batch"))
    assert torch.allclose(batch, torch.tensor([[0.5, 0.5]]))


def test_point_losses_push_towards_the_point_and_out_of_the_neighbours():
    config = LossConfig(point_weight=1.0, neighbour_weight=2.0)
    reach = torch.tensor([[2.0, 3.0], [2.0, 3.0], [2.0, 3.0]], requires_grad=True)
    losses = point_label_losses(
        reach,
        torch.tensor([10.0, 10.0, 10.0]),
        torch.tensor([9.0, 15.0, float("nan")]),
        torch.tensor([[0.0, 20.0], [0.0, 20.0], [9.0, 20.0]]),
        config,
    )
    assert losses.tolist() == pytest.approx([0.0, 2 / 5, 2 * 1 / 5])
    losses.sum().backward()
    assert reach.grad[1].tolist() == pytest.approx([0.0, -1 / 5])
    assert reach.grad[2].tolist() == pytest.approx([2 / 5, 0.0])


# --- windows ---------------------------------------------------------------------------------


@given(st.integers(1, 60), st.integers(8, 40), st.data())
@settings(deadline=None, max_examples=50)
def test_windows_lie_in_the_video_and_segments_in_windows(num_steps, length, data):
    config = WindowConfig(length=length, tries=3)
    start = data.draw(st.floats(0, 50))
    segments = Segments.of(torch.tensor([[start, start + 4.0]]), torch.tensor([1]))
    first, stop = draw_window(num_steps, segments, config)
    assert 0 <= first < stop <= num_steps
    assert stop - first <= length or stop - first == num_steps <= length
    for low, high in segments.window(first, stop, 0.5).bounds.tolist():
        assert 0 <= low <= high <= stop - first
        assert high - low >= 2.0 - 1e-4


def test_finer_steps_lie_between_the_old_ones():
    features, grid = torch.tensor([[0.0, 4.0], [4.0, 0.0], [8.0, 8.0]]), SnippetGrid()
    fine, fine_grid = refine_steps(features, grid, 4)
    assert fine[:, 0].tolist() == list(range(9))
    assert fine_grid == SnippetGrid(stride=4)
    assert fine_grid.centre_s(4) == grid.centre_s(1)
    same, same_grid = refine_steps(features, SnippetGrid(stride=4), 4)
    assert same is features
    assert same_grid.stride == 4
    assert refine_steps(features, SnippetGrid(stride=6), 4)[1].stride == 6


def test_padded_lengths():
    assert [padded_length(n, 8) for n in (0, 8, 9)] == [8, 8, 16]
    assert padded_length(9, 8, 64) == 64


@pytest.mark.parametrize("name", list(BASES))
def test_bases_are_valid_and_what_is_set_beside_them_wins(name):
    config = StudentConfig(base=name, optimiser={"lr": 0.5})
    assert config.window.length % config.pyramid.multiple == 0
    assert config.optimiser.lr == 0.5
    expected = {"published": 0.999, "released": 0.999, "small": 0.99}
    assert config.optimiser.ema == expected[name]
    assert StudentConfig.model_validate(config.model_dump()) == config


def test_a_window_must_fit_the_pyramid():
    with pytest.raises(ValueError, match=r"window\.length 100 is not a multiple of 8"):
        tiny_config(window={"length": 100})
