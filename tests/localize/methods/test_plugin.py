"""The seam for methods, shown by a second, very small one: it learns from video labels alone."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import Field
from tiny_datasets import CLASSES, make_dataset
from torch import Tensor, nn

from hrpro.annotations import read_ground_truth
from hrpro.errors import DataError, UsageError
from hrpro.localize import methods
from hrpro.localize.config import load_config, resolve_dataset
from hrpro.localize.data.dataset import Dataset, load_dataset
from hrpro.localize.data.sequences import DatasetSequences, FeatureSequence
from hrpro.localize.data.supervision import Supervision
from hrpro.localize.methods.base import (
    Earlier,
    Localizer,
    MethodConfig,
    Schedule,
    Stage,
    StageState,
)
from hrpro.localize.proposals.generate import Proposals, generate_proposals
from hrpro.localize.proposals.nms import soft_nms
from hrpro.localize.training.model_folder import load_model
from hrpro.localize.training.run import Observer, TrainingRun

CPU = torch.device("cpu")


class MeanConfig(MethodConfig):
    method: Literal["mean"] = "mean"
    lr: float = Field(0.05, gt=0)
    updates: int = Field(80, ge=1)
    topk: int = Field(4, ge=1)

    @property
    def needs(self) -> Supervision:
        return "labels"


class MeanLocalizer(Localizer):
    """A linear class activation sequence; a video shows what its best snippets show."""

    def __init__(self, dim: int, num_classes: int, config: MeanConfig) -> None:
        super().__init__()
        self.config = config
        self.classifier = nn.Linear(dim, num_classes)
        self.norm = nn.LayerNorm(dim)

    def forward(self, features: Tensor) -> Tensor:
        return self.classifier(self.norm(features))

    def video_logits(self, features: Tensor) -> Tensor:
        return self(features).topk(self.config.topk, dim=0).values.mean(0)

    @torch.no_grad()
    def activations(self, videos: Sequence[FeatureSequence]) -> list[np.ndarray]:
        return [self(video.features).sigmoid().numpy() for video in videos]

    @torch.no_grad()
    def video_scores(self, videos: Sequence[FeatureSequence]) -> list[np.ndarray]:
        return [self.video_logits(video.features).sigmoid().numpy() for video in videos]

    def localize(self, videos, classes=None) -> Proposals:
        return soft_nms(self.candidates(videos, classes))

    def candidates(self, videos, classes=None) -> Proposals:
        return generate_proposals(
            self.activations(videos),
            self.video_scores(videos),
            classes=None if classes is None else [np.array(classes)] * len(videos),
            snippet_s=[video.grid.stride_s for video in videos],
        )


class MeanStage(Stage):
    """Multiple-instance learning, and a teacher that follows: state beside the model."""

    def __init__(self, localizer: nn.Module, dataset: Dataset, config: MeanConfig) -> None:
        self.model, self.num_videos = localizer, len(dataset.train)
        self.train = DatasetSequences(dataset, dataset.train, CPU)
        self.test = DatasetSequences(dataset, dataset.test, CPU)
        self.labels = [torch.from_numpy(dataset.video_label(video)) for video in dataset.train]
        self.schedule = Schedule(
            config.updates, 4, 20, config.lr, 0.05, "adamw", decay="weights",
            warmup_updates=5, shape="cosine", clip_norm=1.0,
        )  # fmt: skip
        self.teacher = [p.detach().clone() for p in localizer.parameters()]
        self.followed: list[int] = []

    def losses(self, videos: Sequence[int]) -> dict[str, Tensor]:
        logits = torch.stack([self.model.video_logits(self.train[v].features) for v in videos])
        labels = torch.stack([self.labels[v] for v in videos])
        return {"total": F.binary_cross_entropy_with_logits(logits, labels)}

    @torch.no_grad()
    def after_update(self, num_done: int) -> None:
        self.followed.append(num_done)
        for teacher, parameter in zip(self.teacher, self.model.parameters(), strict=True):
            teacher.lerp_(parameter, 0.1)

    def state(self) -> StageState:
        tensors = {str(number): tensor for number, tensor in enumerate(self.teacher)}
        return StageState(tensors, {"followed": self.followed})

    def load_state(self, state: StageState) -> None:
        self.teacher = [state.tensors[str(number)] for number in range(len(self.teacher))]
        self.followed = state.values["followed"]

    def detect(self) -> Proposals:
        return self.model.eval().localize(self.test)


class MeanMethod:
    num_stages = 1

    def __init__(self) -> None:
        self.stages: list[MeanStage] = []

    def build(self, dim, num_classes, config, num_stages):
        return MeanLocalizer(dim, num_classes, config)

    def stage(self, number, localizer, dataset, config, device):
        self.stages.append(MeanStage(localizer, dataset, config))
        return self.stages[-1]

    def earlier_weights(self, number, config):
        return "last"

    def differences(self, number, earlier: Earlier, config) -> list[str]:
        return []


@pytest.fixture
def method(monkeypatch):
    mean = MeanMethod()
    registered = methods.Registered(MeanConfig, lambda: mean)
    monkeypatch.setitem(methods.METHODS, "mean", registered)
    return mean


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A dataset in which half of the training videos have no point, but all have labels."""
    folder = make_dataset(tmp_path_factory.mktemp("data"))
    lines = list(csv.reader((folder / "points.csv").open(newline="")))
    kept = [line for line in lines if line[0] not in {f"train_{n}" for n in range(4)}]
    with (folder / "points.csv").open("w", newline="") as file:
        csv.writer(file).writerows(kept)
    (folder / "mean.yaml").write_text("localize: {method: mean, precision: float32}\n")
    return folder


def start(folder, run, *overrides, observers=(), **options):
    path, config = resolve_dataset(folder, overrides, preset=str(folder / "mean.yaml"))
    dataset = load_dataset(path, config.dataset, needs=config.localize.needs)
    training = TrainingRun(run, dataset, config, CPU, observers=observers, **options)
    return dataset, training


class Kill(Observer):
    def __init__(self, update: int) -> None:
        self.update = update

    def updates(self, stage, updates):
        if updates[-1][0] >= self.update:
            raise RuntimeError("killed")


def test_it_trains_detects_and_is_kept(folder, tmp_path, method):
    dataset, run = start(folder, tmp_path / "run")
    (result,) = run.run()
    assert result.last.average > 0.5
    model = load_model(tmp_path / "run")
    assert isinstance(model.config.localize, MeanConfig)
    found = model.localizer.localize(DatasetSequences(dataset, dataset.test, CPU))
    truth = read_ground_truth(folder / "annotations.json")
    best = {}
    for video, label in zip(found.video, found.label, strict=True):
        best.setdefault(dataset.test[video].video_id, dataset.classes[label])
    assert all(label in truth[video].labels for video, label in best.items())


def test_videos_without_points_count_where_labels_are_enough(folder, tmp_path, method):
    dataset, _ = start(folder, tmp_path / "run")
    assert len(dataset.train) == 8
    assert all(dataset.video_label(video).sum() == 2 for video in dataset.train)
    assert dataset.supervision == {"labels", "points", "full"}
    assert len(load_dataset(folder).train) == 4  # points are needed by default
    assert len(load_dataset(folder, needs="full").train) == 8


def test_a_resumed_run_equals_an_uninterrupted_one(folder, tmp_path, method):
    _, whole = start(folder, tmp_path / "whole")
    whole.run()
    _, killed = start(folder, tmp_path / "killed", observers=[Kill(30)], save_every_s=0)
    with pytest.raises(RuntimeError, match="killed"):
        killed.run()
    assert (tmp_path / "killed" / "stage1" / "checkpoint.safetensors").exists()
    _, resumed = start(folder, tmp_path / "killed", resume=True)
    resumed.run()
    read = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "killed")]
    assert read[0] == read[1]
    first, _, last = method.stages
    assert last.followed == first.followed == list(range(1, 81))
    for teacher, expected in zip(last.teacher, first.teacher, strict=True):
        torch.testing.assert_close(teacher, expected, rtol=0, atol=0)


def test_its_settings_are_its_own(folder, method):
    with pytest.raises(UsageError, match=r"unknown key 'localize.topkk'; did you mean .*topk"):
        load_config(folder / "mean.yaml", ["localize.topkk=2"])
    with pytest.raises(UsageError, match=r"unknown key 'localize.snippet'"):
        load_config(folder / "mean.yaml", ["localize.snippet.num_heads=2"])
    with pytest.raises(UsageError, match=r"no method 'hrpo'; did you mean 'hrpro'\? .known: "):
        load_config("custom", ["localize.method=hrpo"])


def test_a_model_of_another_method_is_no_earlier_stage(folder, tmp_path, method):
    start(folder, tmp_path / "mean")[1].run()
    path, config = resolve_dataset(folder, ["localize.updates=1"])
    run = TrainingRun(
        tmp_path / "run", load_dataset(path, config.dataset), config, CPU,
        stage1=tmp_path / "mean",
    )  # fmt: skip
    with pytest.raises(DataError, match=r"trained with other localize.method; train stage 1"):
        run.run([2])


def test_marks_alone_make_a_dataset(tmp_path, method):
    folder = make_dataset(tmp_path)
    (folder / "points.csv").unlink()
    (folder / "split_train.txt").unlink()
    database = json.loads((folder / "annotations.json").read_text())
    assert {entry["subset"] for entry in database["database"].values()} == {"train", "test"}
    dataset = load_dataset(folder, needs="full")
    assert [video.video_id for video in dataset.train] == [f"train_{n}" for n in range(8)]
    assert dataset.supervision == {"labels", "full"}
    assert dataset.classes == CLASSES
