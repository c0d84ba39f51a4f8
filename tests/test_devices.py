"""Devices that are not there, and what those that are there cannot do."""

from __future__ import annotations

import pytest
import torch
from click.testing import CliRunner
from tiny_datasets import PRESET, make_dataset

from hrpro.cli import main
from hrpro.devices import choose_device
from hrpro.errors import UsageError


def test_an_apple_gpu_that_is_not_there_is_one_line(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UsageError, match="--device mps: torch sees no Apple GPU"):
        choose_device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("mps").type == "mps"


def test_training_and_evaluation_ask_for_float64_on_the_cpu_only(tmp_path, monkeypatch):
    """Apple's GPUs have none. Here all is on the CPU, so what counts is that `cpu` comes first."""
    brought, double, cpu = [], torch.Tensor.double, torch.Tensor.cpu

    def bring(tensor, *arguments):
        brought.append(cpu(tensor, *arguments))
        return brought[-1]

    def widen(tensor):
        assert any(tensor is each for each in brought), "float64 before cpu()"
        return double(tensor)

    monkeypatch.setattr(torch.Tensor, "cpu", bring)
    monkeypatch.setattr(torch.Tensor, "double", widen)
    data, run = make_dataset(tmp_path / "data", 4, 2), tmp_path / "run"
    words = ["train", "--dataset", data, "--run-dir", run, "--preset", PRESET, "--device", "cpu"]
    words += ["--set", "localize.updates=3", "--set", "localize.stage2.epochs=1"]
    for arguments in (words, ["eval", "--model", run, "--dataset", data]):
        done = CliRunner().invoke(main, [str(each) for each in arguments], catch_exceptions=False)
        assert done.exit_code == 0, done.output
    assert brought
