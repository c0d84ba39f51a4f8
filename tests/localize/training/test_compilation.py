"""Training with torch.compile: the same losses, no training lost, nothing of it in a model."""

from __future__ import annotations

import logging
from functools import partial

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from tiny_datasets import PRESET, make_dataset
from torch import nn

from hrpro.cli import main
from hrpro.errors import HrproError
from hrpro.localize.methods.base import Schedule, Stage, StageState
from hrpro.localize.nn.compiling import compilable
from hrpro.localize.proposals.generate import Proposals
from hrpro.localize.training.trainer import Trainer, TrainerConfig

NOTE = "--compile: not possible here, training goes on without"


class Curve(nn.Module):
    """A network with dropout and a buffer that every update moves."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.dropout = nn.Linear(3, 1), nn.Dropout(0.3)
        self.register_buffer("norm", torch.ones(()))

    @compilable(dynamic=False)
    def forward(self, values):
        output = self.layer(self.dropout(values)) / self.norm.clone()
        self.norm.mul_(0.9).add_(0.1 * output.detach().abs().mean())
        return output


class Fit(Stage):
    """Has a count, too, that every update moves, and that has to be in checkpoints."""

    num_videos = 7

    def __init__(self, lr: float = 0.05) -> None:
        torch.manual_seed(0)
        self.model, self.inputs = Curve(), torch.randn(7, 3)
        self.schedule = Schedule(12, 3, 4, lr, 0.0)
        self.count = torch.zeros(1)

    def losses(self, videos):
        self.count += 1
        output = self.model(self.inputs[videos]).squeeze(1)
        return {"total": (output - self.inputs[videos].sum(1)).square().mean() + self.count[0]}

    def state(self):
        return StageState({"count": self.count})

    def load_state(self, state):
        self.count = state.tensors["count"].clone()

    def detect(self):
        return Proposals.empty()


def train(folder, compile: bool = True, stop_at: int | None = None, lr: float = 0.05):
    """Train; killed behind a checkpoint from update `stop_at` on."""
    stage = Fit(lr)
    config = TrainerConfig(seed=1, save_every_s=0, compile=compile)
    trainer = Trainer(stage, config, folder / "checkpoint.safetensors", {"losses": []})
    if trainer.checkpoint.exists():
        trainer.load()

    def watch(updates):
        trainer.notes["losses"] += [losses["total"] for _, losses in updates]
        if stop_at is not None and updates[-1][0] > stop_at:
            raise KeyboardInterrupt

    trainer.run(lambda update, losses: None, watch)
    return trainer


def same(one: Trainer, other: Trainer) -> bool:
    states = (one.stage.model.state_dict(), other.stage.model.state_dict())
    weights = all(map(torch.equal, *(state.values() for state in states)))
    return weights and one.notes == other.notes and torch.equal(one.stage.count, other.stage.count)


class FailsBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values):
        return values.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise RuntimeError("no way back\nlong story")


def breaking(at: int, how: str, calls: list):
    """A torch.compile whose function fails at some call, forwards or backwards, or goes wrong."""

    def compile(function, **options):
        def run(*args):
            calls.append(1)
            output = function(*args)
            if len(calls) < at:
                return output
            torch.rand(3)  # random numbers that are not its own
            if how == "forward":
                raise RuntimeError("no compiler\nlong story")
            return FailsBackward.apply(output) if how == "backward" else output + 1

        return run

    return compile


def plainly(function, **options):
    return function


@pytest.mark.parametrize("how", ["forward", "backward"])
@pytest.mark.parametrize("at", [1, 2, 9])
def test_what_fails_at_any_call_leaves_no_trace(tmp_path, monkeypatch, caplog, at, how):
    plain, calls = train(tmp_path / "plain", compile=False), []
    monkeypatch.setattr(torch, "compile", breaking(at, how, calls))
    assert same(train(tmp_path / "compiled"), plain)
    assert len(calls) == at
    (record,) = caplog.records
    reason = {"forward": "no compiler", "backward": "no way back"}[how]
    assert (record.levelno, record.message) == (logging.WARNING, f"{NOTE} (RuntimeError: {reason})")


def test_what_cannot_be_begun_is_one_line(tmp_path, monkeypatch, caplog):
    def refuse(function, **options):
        raise RuntimeError("not on this Python")

    plain = train(tmp_path / "plain", compile=False)
    monkeypatch.setattr(torch, "compile", refuse)
    assert same(train(tmp_path / "compiled"), plain)
    assert [record.message for record in caplog.records] == [
        f"{NOTE} (RuntimeError: not on this Python)"
    ]


def test_wrong_numbers_are_not_trained_with(tmp_path, monkeypatch, caplog):
    plain, calls = train(tmp_path / "plain", compile=False), []
    monkeypatch.setattr(torch, "compile", breaking(1, "wrong", calls))
    assert same(train(tmp_path / "compiled"), plain)
    assert len(calls) == 1
    (record,) = caplog.records
    assert record.message.startswith(f"{NOTE} (its loss is ")


def test_what_works_gives_the_same_also_when_resumed(tmp_path, monkeypatch, caplog):
    plain = train(tmp_path / "plain", compile=False)
    monkeypatch.setattr(torch, "compile", plainly)
    whole = train(tmp_path / "whole")
    assert same(whole, plain)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", stop_at=5)
    assert same(train(tmp_path / "parts"), whole)
    assert not caplog.records


def test_divergence_is_not_the_compilers_fault(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(torch, "compile", plainly)
    with pytest.raises(HrproError, match="not a finite number any more at update"):
        train(tmp_path, lr=1e30)
    assert not caplog.records


METHODS = {
    "hrpro": [
        "--preset", PRESET, "--set", "localize.updates=3", "--set", "localize.stage2.epochs=2",
    ],
    "sal": ["--method", "sal", "--set", "localize.updates=3"],
    "fustal": [
        "--method", "fustal", "--set", "localize.generator.updates=2",
        "--set", "localize.student.teacher.first_epochs=1",
        "--set", "localize.student.teacher.epochs=2",
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("method", "precision"),
    [("hrpro", "float32"), ("hrpro", "bfloat16"), ("sal", "bfloat16"), ("fustal", "float32")],
)
def test_every_method_can_be_traced_and_learns_the_same(
    tmp_path, monkeypatch, caplog, device, method, precision
):
    """On a CPU without machine code, which takes a minute: as a graph in the hands of autograd."""
    from torch._dynamo.utils import counters

    torch._dynamo.reset()  # what other tests have compiled
    if device == "cpu":
        compiler = torch.compile

        def trace(function, options, **others):
            return compiler(function, backend="aot_eager", **others)

        monkeypatch.setattr(torch, "compile", trace)
    data = make_dataset(tmp_path / "data", 8, 2)
    weights = []
    counters.clear()
    for compiled in ((), ("--compile",)):
        run = tmp_path / f"run{len(compiled)}"
        words = ["train", "--dataset", data, "--run-dir", run, "--no-tensorboard", *compiled]
        words += ["--device", device, "--precision", precision, *METHODS[method]]
        done = CliRunner().invoke(main, list(map(str, words)), catch_exceptions=False)
        assert done.exit_code == 0, done.output
        assert ("compile: true" in (run / "config.yaml").read_text()) == bool(compiled)
        weights.append(load_file(run / "model.safetensors"))
    assert not [record for record in caplog.records if NOTE in record.message]
    assert 1 <= counters["stats"]["unique_graphs"] <= 16
    plain, traced = weights
    assert plain.keys() == traced.keys()
    close = partial(torch.testing.assert_close, atol=3e-3, rtol=0.03)
    for name, weight in plain.items():
        close(traced[name], weight)
