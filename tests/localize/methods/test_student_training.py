"""The student learns, with and without a teacher, and after an interruption."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_student import tiny_config

from hrpro.annotations import Action
from hrpro.localize.data.grid import SnippetGrid
from hrpro.localize.data.sequences import FeatureSequence
from hrpro.localize.methods.student.config import (
    StudentConfig,
)
from hrpro.localize.methods.student.inference import detect, detect_in, suppress
from hrpro.localize.methods.student.model import StudentModel
from hrpro.localize.methods.student.pseudo import (
    Points,
    segments_of_points,
)
from hrpro.localize.methods.student.stage import (
    StudentStage,
    TrainingVideo,
    point_videos,
    training_video,
)
from hrpro.localize.nn.precision import autocast
from hrpro.localize.proposals.generate import Proposals
from hrpro.localize.sampling.epochs import derive_seed
from hrpro.localize.training.trainer import Trainer, TrainerConfig

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
