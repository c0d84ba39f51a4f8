"""What methods of video labels share: their targets, and videos that show none of the actions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_datasets import DIM, make_dataset
from tiny_methods import overrides

from hrpro.localize.config import resolve_dataset
from hrpro.localize.data.dataset import load_dataset
from hrpro.localize.methods import get_method
from hrpro.localize.methods.fustal.losses import same_label_pairs
from hrpro.localize.methods.video_labels import label_shares
from hrpro.localize.training.run import Observer, TrainingRun

CPU = torch.device("cpu")


@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=5))
def test_the_classes_of_a_video_share_its_probability(rows):
    labels = torch.tensor(rows).float()
    shares = label_shares(labels)
    torch.testing.assert_close(shares.sum(1), torch.ones(len(rows)))
    for label, share in zip(labels, shares, strict=True):
        known = label > 0 if label.any() else torch.ones(3, dtype=torch.bool)
        assert torch.equal(share > 0, known)
        assert len(share[known].unique()) == 1


def test_videos_without_a_label_are_no_pair_of_the_same_labels():
    labels = torch.tensor([[1.0, 0], [0, 0], [1, 0], [0, 0]])
    assert same_label_pairs(labels).tolist() == [[0, 2]]


@pytest.fixture
def dataset(tmp_path):
    """Of eight training videos, the last four show nothing that is known."""
    folder = make_dataset(tmp_path / "data", num_test=1)
    names = ("jump", "run", "throw", "run")
    rows = [f"train_{n},{names[n] if n < 4 else ''}\n" for n in range(8)]
    (folder / "labels.csv").write_text("video_id,class\n" + "".join(rows))
    return folder


def stage_of(dataset, method):
    folder, config = resolve_dataset(dataset, overrides(method))
    data = load_dataset(folder, config.dataset, needs="labels")
    torch.manual_seed(0)
    methods = get_method(config.localize)
    localizer = methods.build(DIM, 3, config.localize, 1)
    return methods.stage(1, localizer, data, config.localize, CPU)


@pytest.mark.parametrize("method", ["sal", "fustal"])
@pytest.mark.parametrize("videos", [[0, 4], [4, 5], [0, 1]])
def test_background_alone_and_beside_actions_gives_numbers(dataset, method, videos):
    stage = stage_of(dataset, method)
    losses = stage.losses(videos)
    losses["total"].backward()
    for loss in losses.values():
        assert loss.isfinite()
    for parameter in stage.model.parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all()


def test_what_shows_no_class_shows_no_action(dataset):
    """SAL's pseudo actions: background alone teaches that actionness is low everywhere."""
    stage = stage_of(dataset, "sal")
    optimizer = torch.optim.Adam(stage.model.parameters(), lr=1e-2)
    features = torch.stack([stage.train[v].features for v in (4, 5)])
    before = stage.model.eval()(features).actionness.mean()
    stage.model.train()
    for _ in range(10):
        optimizer.zero_grad()
        stage.losses([4, 5])["total"].backward()
        optimizer.step()
    assert stage.model.eval()(features).actionness.mean() < 0.5 * before


class Losses(Observer):
    """Keeps the losses."""

    def __init__(self) -> None:
        self.total: list[float] = []

    def updates(self, stage, updates):
        self.total += [losses["total"] for _, losses in updates]


@pytest.mark.parametrize("method", ["sal", "fustal"])
def test_a_dataset_with_background_is_learned(dataset, tmp_path, method):
    folder, config = resolve_dataset(dataset, overrides(method))
    data = load_dataset(folder, config.dataset, needs="labels")
    assert [len(video.labels) for video in data.train] == [1, 1, 1, 1, 0, 0, 0, 0]
    seen = Losses()
    TrainingRun(tmp_path / "run", data, config, CPU, observers=[seen]).run([1])
    assert seen.total[-1] < seen.total[0]
