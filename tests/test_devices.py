"""Devices that are not there, and what those that are there cannot do."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from tiny_datasets import PRESET, make_dataset

from hrpro.cli import main
from hrpro.devices import choose_device, deterministic, full_float32, upload
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


def tf32_convolutions() -> bool:
    """Whether a GPU would round the numbers of convolutions; the switch is there without one."""
    return bool(torch.backends.cudnn.allow_tf32)


def test_float32_means_float32_only_where_it_was_asked_for():
    before = tf32_convolutions()
    with full_float32("cuda"):
        assert not tf32_convolutions()
        with full_float32(torch.device("cuda", 0)):
            pass
        assert not tf32_convolutions(), "the outer one still needs it"
    assert tf32_convolutions() == before
    with full_float32("cpu"):
        assert tf32_convolutions() == before


def test_deterministic_holds_for_its_block():
    assert not torch.are_deterministic_algorithms_enabled()
    with deterministic("cuda"):
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"]
    assert not torch.are_deterministic_algorithms_enabled()
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ


def test_what_cannot_be_deterministic_is_one_line():
    message = "--deterministic is not possible on cpu: put_"
    with pytest.raises(UsageError, match=message), deterministic("cpu"):
        torch.zeros(3).put_(torch.tensor([1, 1]), torch.ones(2), accumulate=False)
    with pytest.raises(RuntimeError, match="other"), deterministic("cpu"):
        raise RuntimeError("something other")


def test_the_same_seed_gives_the_same_model(tmp_path, device):
    data = make_dataset(tmp_path / "data", 4, 2)
    words = ["train", "--dataset", data, "--preset", PRESET, "--deterministic", "--device", device]
    words += ["--set", "localize.updates=2", "--set", "localize.stage2.epochs=1"]
    weights = []
    for run in (tmp_path / "one", tmp_path / "other"):
        arguments = [str(each) for each in (*words, "--run-dir", run)]
        done = CliRunner().invoke(main, arguments, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        assert not torch.are_deterministic_algorithms_enabled()
        weights.append((run / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_values_come_to_a_device_as_they_are(device):
    numbers = np.arange(5)
    for values in (numbers, torch.from_numpy(numbers), torch.from_numpy(numbers).to(device)):
        there = upload(values, device)
        assert there.device.type == device
        assert there.tolist() == [0, 1, 2, 3, 4]
