"""The student: targets, losses, pseudo segments, teacher, fusion and training on easy data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hrpro.annotations import Action
from hrpro.localize.data.grid import SnippetGrid
from hrpro.localize.data.sequences import FeatureSequence
from hrpro.localize.methods.student import fusion
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
    DetectionConfig,
    FusionConfig,
    LossConfig,
    PseudoConfig,
    StudentConfig,
    TeacherConfig,
    WindowConfig,
)
from hrpro.localize.methods.student.fusion import LEAST_CONTRAST, fuse, outer_inner_contrast
from hrpro.localize.methods.student.inference import detect, detect_in, suppress
from hrpro.localize.methods.student.labels import renewed_segments
from hrpro.localize.methods.student.localizer import StudentLocalizer
from hrpro.localize.methods.student.losses import (
    distance_iou_loss,
    iou_weight,
    point_label_losses,
    segment_iou,
    training_losses,
    video_scores,
)
from hrpro.localize.methods.student.model import StudentModel, StudentOutput
from hrpro.localize.methods.student.pseudo import (
    Points,
    Signal,
    segments_of_points,
    snap_to_changes,
)
from hrpro.localize.methods.student.stage import (
    StudentStage,
    TrainingVideo,
    point_videos,
    training_video,
)
from hrpro.localize.nn.precision import autocast
from hrpro.localize.nn.pyramid import Levels
from hrpro.localize.proposals.generate import Proposals
from hrpro.localize.sampling.epochs import derive_seed
from hrpro.localize.training.trainer import Trainer, TrainerConfig

TINY = {
    "pyramid": {
        "width": 16,
        "mlp_width": 24,
        "num_stem": 1,
        "num_levels": 4,
        "groups": 4,
        "padding": "masked",
    },
    "heads": {"num_convs": 1, "bins": 8},
    "loss": {"normaliser_start": 20.0},
    "window": {"length": 128, "stride": 16},
    "optimiser": {"lr": 5e-3, "batch_videos": 4, "warmup_updates": 5, "ema_warmup": True},
    "teacher": {"first_epochs": 20, "epochs": 20},
}


def tiny_config(**sections: dict) -> StudentConfig:
    merged = {name: {**TINY.get(name, {}), **sections.get(name, {})} for name in {*TINY, *sections}}
    return StudentConfig.model_validate(merged)


# --- network and targets ---------------------------------------------------------------------


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


# --- pseudo segments -------------------------------------------------------------------------

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


# --- training --------------------------------------------------------------------------------

NUM_CLASSES = 2


def easy_videos(count: int, seed: int):
    """Features with a look for each class, and where the actions are, in seconds."""
    rng = np.random.default_rng(seed)
    looks = 2 * np.random.default_rng(0).random((NUM_CLASSES + 1, 8))
    grid, videos = SnippetGrid(), []
    for _ in range(count):
        features = np.tile(looks[-1], (60, 1))
        actions = []
        for half in range(2):
            label = int(rng.integers(NUM_CLASSES))
            first = 30 * half + int(rng.integers(2, 12))
            length = int(rng.integers(5, 14))
            features[first : first + length] = looks[label]
            actions.append(
                Action(str(label), first * grid.stride_s, (first + length) * grid.stride_s)
            )
        features += rng.normal(0, 0.15, features.shape)
        videos.append((torch.from_numpy(features).float(), actions))
    return videos, grid


def train(
    videos: list[TrainingVideo], config: StudentConfig, folder: Path, *, seed=0, watch=None, stop=0
) -> StudentModel:
    """Train a student to the end, or kill it at the first checkpoint from update `stop` on."""
    torch.manual_seed(derive_seed(seed))
    model = StudentModel(videos[0].features.shape[1], NUM_CLASSES, config)
    trainer = Trainer(
        StudentStage(model, videos),
        TrainerConfig(seed=seed, save_every_s=0),
        folder / "checkpoint.safetensors",
        {},
    )
    if trainer.checkpoint.exists():
        trainer.load()

    def evaluate(update, losses):
        if stop and update >= stop:
            raise KeyboardInterrupt

    trainer.run(evaluate, watch or (lambda updates: None))
    return model.eval()


def mean_overlap(model: StudentModel, videos, grid) -> float:
    """Mean over all actions of the IoU with the best detection of the class's two best."""
    table = detect_in(model, [FeatureSequence(features, grid) for features, _ in videos])
    table = suppress(table, model.config.detection)
    overlaps = []
    for video, (_, actions) in enumerate(videos):
        for action in actions:
            mine = table[(table.video == video) & (table.label == int(action.label))][:2]
            both = np.minimum(mine.end_s, action.end_s) - np.maximum(mine.start_s, action.start_s)
            union = np.maximum(mine.end_s, action.end_s) - np.minimum(mine.start_s, action.start_s)
            overlaps.append(max(0.0, *(both / union), 0.0))
    return float(np.mean(overlaps))


def full_videos(videos, grid, config: StudentConfig):
    return [
        training_video(
            features,
            grid,
            np.array([(a.start_s, a.end_s) for a in actions]),
            np.array([int(a.label) for a in actions]),
            NUM_CLASSES,
            config,
        )
        for features, actions in videos
    ]


def test_learns_from_boundaries(tmp_path):
    videos, grid = easy_videos(12, seed=1)
    config = tiny_config()
    losses = []
    model = train(
        full_videos(videos, grid, config),
        config,
        tmp_path,
        watch=lambda updates: losses.extend(values["total"] for _, values in updates),
    )
    assert len(losses) == 20 * 3
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:10])
    unseen, _ = easy_videos(6, seed=2)
    assert mean_overlap(model, unseen, grid) > 0.75


def test_the_teacher_mends_pseudo_segments(tmp_path):
    videos, grid = easy_videos(12, seed=1)
    rng = np.random.default_rng(3)
    actions = [(v, a) for v, (_, some) in enumerate(videos) for a in some]
    points = Points(
        np.array([v for v, _ in actions]),
        np.array([(a.start_s + a.end_s) / 2 for _, a in actions]),
        np.array([int(a.label) for _, a in actions]),
    )
    # Proposals with ends that are off by up to 30 % of the length.
    noise = rng.uniform(-0.3, 0.3, (len(actions), 2))
    length = np.array([a.end_s - a.start_s for _, a in actions])
    table = Proposals(
        points.video,
        np.array([a.start_s for _, a in actions]) + noise[:, 0] * length,
        np.array([a.end_s for _, a in actions]) + noise[:, 1] * length,
        points.label,
        np.ones(len(actions)),
    )
    config = tiny_config(
        teacher={"rule": "points", "first_epochs": 12, "min_score": 0.1},
        loss={"point_weight": 0.5, "neighbour_weight": 0.5, "border": 0.1},
    )
    chosen = segments_of_points(table, points, config.pseudo)
    learned_from = point_videos(
        [f for f, _ in videos], [grid] * len(videos), points, chosen, NUM_CLASSES, config
    )
    model = train(learned_from, config, tmp_path)
    unseen, _ = easy_videos(6, seed=2)
    assert mean_overlap(model, unseen, grid) > 0.6


def weights(model: StudentModel) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("rule", ["points", "detections"])
def test_training_that_was_killed_repeats_one_that_was_not(tmp_path, rule):
    videos, grid = easy_videos(4, seed=1)
    teacher = {"first_epochs": 2, "epochs": 6, "min_score": 0.0, "rule": rule}
    config = tiny_config(teacher=teacher, optimiser={"batch_videos": 2, "eval_every": 1})
    learned_from = full_videos(videos, grid, config)
    for name in "abc":
        (tmp_path / name).mkdir()
    whole = weights(train(learned_from, config, tmp_path / "a"))
    with pytest.raises(KeyboardInterrupt):
        train(learned_from, config, tmp_path / "b", stop=8)
    assert torch.equal(weights(train(learned_from, config, tmp_path / "b")), whole)
    assert not torch.equal(weights(train(learned_from, config, tmp_path / "c", seed=1)), whole)


def test_the_teachers_weights_are_not_taken_for_the_students_in_bfloat16():
    """Autocast keeps what it has cast, though a parameter holds other weights by then."""
    videos, grid = easy_videos(4, seed=1)
    found = []
    for first_epochs in (0, 1):  # the teacher looks, but has nothing to say without point labels
        teacher = {"first_epochs": first_epochs, "epochs": 1, "rule": "points"}
        config = tiny_config(teacher=teacher)
        learned_from = full_videos(videos, grid, config)
        torch.manual_seed(0)
        model = StudentModel(learned_from[0].features.shape[1], NUM_CLASSES, config)
        stage = StudentStage(model, learned_from)
        for average in stage.average.tensors.values():
            average.zero_()
        with autocast("cpu", "bfloat16"):
            found.append(float(stage.losses([0, 1])["total"].detach()))
    assert found[0] == found[1]


def test_few_videos_make_longer_epochs():
    videos, grid = easy_videos(4, seed=1)
    for at_least, per_epoch in ((1, 2), (5, 5)):
        optimiser = {"batch_videos": 2, "min_epoch_updates": at_least, "eval_every": 3}
        config = tiny_config(teacher={"epochs": 4}, optimiser=optimiser)
        learned_from = full_videos(videos, grid, config)
        dim = learned_from[0].features.shape[1]
        schedule = StudentStage(StudentModel(dim, NUM_CLASSES, config), learned_from).schedule
        assert (schedule.updates, schedule.eval_every) == (4 * per_epoch, 3 * per_epoch)


def test_a_batch_that_nobody_can_label_is_left_out(tmp_path):
    """As in the release: no step, and the given segments for the rest of the epoch."""
    videos, grid = easy_videos(4, seed=1)
    teacher = {"first_epochs": 0, "epochs": 1, "no_detection": "released"}
    detection = {"min_probability": 1.0}  # the teacher never sees anything
    config = tiny_config(teacher=teacher, detection=detection, optimiser={"batch_videos": 2})
    seen = []
    train(
        full_videos(videos, grid, config),
        config,
        tmp_path,
        watch=lambda updates: seen.extend(number for number, _ in updates),
    )
    assert seen == [2]


def test_detection_in_a_batch_equals_detection_alone():
    torch.manual_seed(0)
    model = StudentModel(6, 3, tiny_config()).double()
    features = [torch.randn(n, 6, dtype=torch.float64) for n in (30, 7, 100)]
    together = detect(model, features)
    for video, alone in enumerate(features):
        one, other = detect(model, [alone]).by_score(), together[together.video == video].by_score()
        np.testing.assert_allclose(one.score, other.score, rtol=0, atol=1e-12)
        np.testing.assert_allclose(one.start_s, other.start_s, rtol=0, atol=1e-9)
    only = detect(model, features, torch.tensor([[False, True, False]] * 3))
    assert set(only.label) == {1}


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


# --- localizer -------------------------------------------------------------------------------


class Generator(torch.nn.Module):
    """Sees class 1 in the first second of every video."""

    def localize(self, videos, classes=None):
        count = len(videos)
        return Proposals(np.arange(count), *np.tile([[0.0], [1], [1], [0.5]], count))

    def video_scores(self, videos):
        return [np.array([0.0, 1.0, 0.5])] * len(videos)

    def activations(self, videos):
        return [np.tile([0.0, 0.5, 0.5], (len(video.features), 1)) for video in videos]


def test_the_localizer_tells_what_it_sees_and_listens_to_the_generator():
    torch.manual_seed(0)
    fusion = {"gate": 1.0, "generator_segments": 1.0}
    model = StudentModel(6, 3, tiny_config(window={"stride": 4}, fusion=fusion))
    videos = [FeatureSequence(torch.randn(n, 6), SnippetGrid()) for n in (20, 9)]
    alone, both = StudentLocalizer(model), StudentLocalizer(model, Generator())
    activations = alone.activations(videos)
    assert [a.shape for a in activations] == [(20, 3), (9, 3)]
    assert np.allclose(alone.video_scores(videos)[1], activations[1].max(0))
    found = alone.localize(videos)
    assert set(found.video) == {0, 1}
    assert (found.start_s >= 0).all()
    assert (found.end_s <= np.array([20, 9])[found.video] * 0.64 + 0.64).all()
    assert set(alone.localize(videos, [2]).label) == {2}
    fused = both.localize(videos)
    assert 0 not in fused.label[fused.score > 0]
    best = fused[fused.video == 0][:1]
    assert (best.start_s[0], best.end_s[0], best.label[0], best.score[0]) == (0, 1, 1, 1)


def test_the_localizer_asks_the_generator_where_activations_stand_out():
    torch.manual_seed(0)
    model = StudentModel(6, 3, tiny_config(window={"stride": 4}, fusion={"contrast": 1.0}))
    videos = [FeatureSequence(torch.randn(n, 6), SnippetGrid()) for n in (20, 9)]
    found = StudentLocalizer(model, Generator()).candidates(videos)
    assert found.score[found.label == 0] == pytest.approx(LEAST_CONTRAST)


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
