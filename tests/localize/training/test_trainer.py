"""The training loop and its parts: batches, averages, checkpoints, going on after a stop."""

from __future__ import annotations

import signal
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from hrpro.errors import DataError, HrproError
from hrpro.localize.methods.base import Schedule, Stage
from hrpro.localize.nn.ema import WeightAverage
from hrpro.localize.proposals.generate import Proposals
from hrpro.localize.sampling.epochs import EpochBatches, derive_seed
from hrpro.localize.training import interruption
from hrpro.localize.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from hrpro.localize.training.interruption import held_back
from hrpro.localize.training.trainer import Trainer, TrainerConfig


class Line(Stage):
    """A stage of another method than HR-Pro: fit a line, with dropout."""

    num_videos = 7

    def __init__(self, updates: int = 20, lr: float = 0.1) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.2), nn.Linear(3, 1))
        self.inputs = torch.randn(7, 3)
        self.schedule = Schedule(updates, 3, 5, lr, 0.0)
        self.prepared = 0

    def prepare(self) -> None:
        self.prepared += 1

    def losses(self, videos: Sequence[int]) -> dict[str, Tensor]:
        error = self.model(self.inputs[videos]).squeeze(1) - self.inputs[videos].sum(1)
        loss = error.square().mean()
        return {"square": loss, "total": 2 * loss}

    def detect(self) -> Proposals:
        return Proposals.empty()


class Killed(Exception):
    pass


def train(tmp_path, stage, stop_at=None, **options):
    """Train, killed after the first checkpoint from `stop_at` on; return the trainer."""
    notes = {"evaluations": []}
    config = TrainerConfig(seed=1, **{"save_every_s": 0, **options})
    trainer = Trainer(stage, config, tmp_path / "checkpoint.safetensors", notes)
    if trainer.checkpoint.exists():
        trainer.load()

    def evaluate(update, losses):
        weight = next(stage.model.parameters()).detach()
        notes["evaluations"].append([update, losses, weight.sum().item()])

    def watch(updates):
        if stop_at is not None and updates[-1][0] > stop_at:
            raise Killed

    trainer.run(evaluate, watch)
    return trainer


def test_losses_fall_and_are_reported_in_order(tmp_path):
    stage = Line(updates=100)
    trainer = train(tmp_path, stage)
    evaluations = trainer.notes["evaluations"]
    assert [update for update, _, _ in evaluations] == list(range(5, 101, 5))
    first, last = evaluations[0][1], evaluations[-1][1]
    assert last["total"] < first["total"] / 2
    assert last["total"] == pytest.approx(2 * last["square"])
    assert stage.prepared == 1


def test_mean_losses_are_those_since_the_last_evaluation(tmp_path):
    seen = []
    stage = Line()
    trainer = Trainer(stage, TrainerConfig(), tmp_path / "c.safetensors", {})
    means = []
    trainer.run(lambda update, losses: means.append(losses["total"]), seen.extend)
    assert [number for number, _ in seen] == list(range(1, 21))
    totals = np.array([losses["total"] for _, losses in seen]).reshape(4, 5)
    np.testing.assert_allclose(means, totals.mean(axis=1), rtol=1e-12)


@pytest.mark.parametrize("stop_at", [1, 4, 5, 13])
@pytest.mark.parametrize("ema", [None, 0.9])
def test_resumed_training_equals_an_uninterrupted_one(tmp_path, stop_at, ema):
    whole = Line()
    expected = train(tmp_path / "whole", whole, ema=ema)
    with pytest.raises(Killed):
        train(tmp_path / "parts", Line(), stop_at, ema=ema)
    again = Line()
    torch.rand(5)  # whatever the new process did before
    actual = train(tmp_path / "parts", again, ema=ema)
    assert again.prepared == 0
    assert actual.notes == expected.notes
    for one, other in zip(whole.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("stop_at", [1, 7, 10, 20])
def test_a_signal_loses_no_update(tmp_path, stop_at, number):
    """Whenever it comes, here in the middle of an update: what is done is saved, then it acts."""

    class Stopped(Line):
        def losses(self, videos):
            self.calls = getattr(self, "calls", 0) + 1
            if self.calls == stop_at:
                signal.raise_signal(number)
            return super().losses(videos)

    def stop(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(number, stop)
    try:
        whole = train(tmp_path / "whole", Line())
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "parts", Stopped(), save_every_s=1000)
        assert signal.getsignal(number) is stop
    finally:
        signal.signal(number, before)
    checkpoint = load_checkpoint(tmp_path / "parts" / "checkpoint.safetensors")
    assert checkpoint.state["num_done"] == stop_at
    parts = train(tmp_path / "parts", Line())
    assert parts.notes == whole.notes
    for name, weight in whole.stage.model.state_dict().items():
        assert torch.equal(weight, parts.stage.model.state_dict()[name])


@pytest.fixture
def heard():
    """Ctrl-C is not ignored, as it is in what a shell starts in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_signal_said_twice_is_one_and_a_later_one_acts_at_once(monkeypatch, heard):
    with pytest.raises(KeyboardInterrupt), held_back() as asked:
        signal.raise_signal(signal.SIGINT)
        assert asked
        signal.raise_signal(signal.SIGINT)
        monkeypatch.setattr(interruption, "PATIENCE_S", -1)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("went on")


def test_evaluating_more_often_changes_nothing(tmp_path):
    models = []
    for every in (1, 20):
        stage = Line()
        stage.schedule = Schedule(20, 3, every, 0.1, 0.0)
        trainer = Trainer(stage, TrainerConfig(), tmp_path / "c.safetensors", {})
        trainer.run(lambda update, losses: torch.rand(update), lambda updates: None)
        models.append(stage.model.state_dict())
    assert all(torch.equal(models[0][key], models[1][key]) for key in models[0])


def test_other_seed_other_result(tmp_path):
    totals = set()
    for seed in (0, 1):
        config = TrainerConfig(seed=seed)
        trainer = Trainer(Line(), config, tmp_path / "c.safetensors", {})
        trainer.run(lambda update, losses: totals.add(losses["total"]), lambda updates: None)
    assert len(totals) == 8


@pytest.mark.filterwarnings("error")
def test_diverging_training_says_what_to_do(tmp_path):
    with pytest.raises(
        HrproError, match=r"not a finite number .* at update \d+; lower the learning"
    ):
        train(tmp_path, Line(updates=200, lr=1e30))


def test_averaged_weights_are_the_ones_that_count(tmp_path):
    plain, averaged = Line(), Line()
    train(tmp_path / "a", plain)
    trainer = train(tmp_path / "b", averaged, ema=0.9)
    weight = next(averaged.model.parameters())
    assert not torch.equal(weight, next(plain.model.parameters()))
    assert weight.sum().item() == trainer.notes["evaluations"][-1][2]
    # What was trained is the same: it lies where the average was.
    assert torch.equal(trainer.average.tensors["0.weight"], next(plain.model.parameters()))


def test_average_follows_its_formula():
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(1.0)
    average = WeightAverage(model, 0.5)
    expected = 1.0
    for number, value in enumerate([3.0, 5.0, 7.0], start=1):
        model.weight.data.fill_(value)
        average.update(number)
        decay = min(0.5, (1 + number) / (10 + number))
        expected = decay * expected + (1 - decay) * value
    with average.applied():
        assert model.weight.item() == pytest.approx(expected)
    assert model.weight.item() == 7.0


@given(st.integers(1, 40), st.integers(1, 20), st.integers(0, 3))
def test_epochs_are_shuffled_and_without_repetition(num_videos, batch_videos, seed):
    batches = EpochBatches(num_videos, batch_videos, seed)
    assert batches.per_epoch == max(1, num_videos // batch_videos)
    for epoch in range(3):
        numbers = range(epoch * batches.per_epoch, (epoch + 1) * batches.per_epoch)
        drawn = [batches[number] for number in numbers]
        assert all(len(batch) == min(batch_videos, num_videos) for batch in drawn)
        videos = [video for batch in drawn for video in batch]
        assert len(set(videos)) == len(videos)
        assert set(videos) <= set(range(num_videos))
    again = EpochBatches(num_videos, batch_videos, seed)
    assert again[numbers[-1]] == drawn[-1]  # without having seen those before


def test_epochs_differ():
    batches = EpochBatches(20, 20, 0)
    assert batches[0] != batches[1]
    assert sorted(batches[0]) == sorted(batches[1])


def test_seeds_depend_on_every_part():
    seeds = {derive_seed(*parts) for parts in [(0, 1), (1, 0), (0, 2), (0,), (1,), (0, 1, 0)]}
    assert len(seeds) == 6
    assert derive_seed(0, 1) == derive_seed(0, 1)


def test_checkpoint_comes_back_as_it_was(tmp_path):
    path = tmp_path / "c.safetensors"
    tensors = {"model": {"a.b/c": torch.rand(3, 2)}, "optimizer": {"0.step": torch.tensor(3.0)}}
    state = {"num_done": 3, "losses": [0.1 + 0.2], "none": None}
    save_checkpoint(path, Checkpoint(tensors, state))
    loaded = load_checkpoint(path)
    assert loaded.state == state
    assert torch.equal(loaded.tensors["model"]["a.b/c"], tensors["model"]["a.b/c"])
    assert loaded.tensors["optimizer"]["0.step"].shape == ()


@pytest.mark.parametrize("content", [b"", b"garbage" * 10, None])
def test_damaged_checkpoint_is_one_line(tmp_path, content):
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, Checkpoint({"model": {"a": torch.rand(100)}}, {}))
    path.write_bytes(path.read_bytes()[:-50] if content is None else content)
    with pytest.raises(DataError, match="delete it to start anew"):
        load_checkpoint(path)
