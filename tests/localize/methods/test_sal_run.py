"""SAL on an easy little dataset: learning, resuming, model folder, detection."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from tiny_datasets import CLASSES, SNIPPETS, make_dataset

from hrpro.cli import main
from hrpro.errors import DataError
from hrpro.localize.config import load_config
from hrpro.localize.data.dataset import load_dataset
from hrpro.localize.data.sequences import DatasetSequences
from hrpro.localize.methods import get_method
from hrpro.localize.methods.sal.localizer import SalLocalizer
from hrpro.localize.training.model_folder import load_model
from hrpro.localize.training.run import Observer, TrainingRun
from hrpro.pipeline.results.formats import read_results

CPU = torch.device("cpu")
PRESET = Path(__file__).parents[2] / "tiny_sal.yaml"


def train(folder: Path, dataset: Path, *overrides: str, observers=(), **options):
    """Train; return the result of the only stage."""
    config = load_config(PRESET, overrides)
    data = load_dataset(dataset, config.dataset, needs="labels")
    (result,) = TrainingRun(folder, data, config, CPU, observers=observers, **options).run(None)
    return result


def weights(folder: Path) -> dict[str, list]:
    tensors = load_file(folder / "model.safetensors")
    return {name: tensor.tolist() for name, tensor in tensors.items()}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    return folder, train(folder, dataset)


def test_it_finds_actions_whose_times_it_was_never_told(trained):
    _, result = trained
    assert result.last.average > 0.8


class Kill(Observer):
    """Ends the training after an update, as a crash would."""

    def updates(self, stage, updates):
        if updates[-1][0] >= 30:
            raise RuntimeError("killed")


def test_resumed_run_equals_an_uninterrupted_one(trained, dataset, tmp_path):
    with pytest.raises(RuntimeError, match="killed"):
        train(tmp_path, dataset, observers=[Kill()], save_every_s=0)
    train(tmp_path, dataset, resume=True)
    assert weights(tmp_path) == weights(trained[0])


def test_the_mask_goes_on_where_it_was(dataset):
    config = load_config(PRESET)
    data = load_dataset(dataset, config.dataset, needs="labels")
    method = get_method(config.localize)
    stages = [
        method.stage(1, method.build(data.dim, 3, config.localize, 1), data, config.localize, CPU)
        for _ in range(2)
    ]
    stages[0].losses([0, 1])
    assert stages[0].mask.var < 1
    stages[1].load_state(stages[0].state())
    assert stages[1].mask.var == stages[0].mask.var
    assert stages[1].mask.mean == stages[0].mask.mean


@pytest.mark.parametrize("short_videos", ["repeat", "natural"])
def test_other_lengths_and_one_stream_train_and_detect(dataset, tmp_path, short_videos):
    result = train(
        tmp_path,
        dataset,
        "localize.updates=2",
        "localize.network.length=64",
        "localize.network.rgb_channels=null",
        f"localize.network.short_videos={short_videos}",
    )
    assert 0 <= result.last.average <= 1


def test_model_folder_detects_like_the_training(trained, dataset):
    folder, _ = trained
    model = load_model(folder)
    assert isinstance(model.localizer, SalLocalizer)
    assert model.classes == CLASSES
    data = load_dataset(dataset, model.config.dataset)
    sequences = DatasetSequences(data, data.test, CPU)
    found = model.localizer.localize(sequences)
    assert set(found.video) == set(range(len(data.test)))
    assert (found.start_s >= 0).all()
    assert (found.end_s <= SNIPPETS * 0.64 + 1e-9).all()
    chosen = model.localizer.localize(sequences, classes=[1])
    assert set(chosen.label) == {1}
    assert set(chosen.video) == set(range(len(data.test)))
    for values, scores in zip(
        model.localizer.activations(sequences), model.localizer.video_scores(sequences), strict=True
    ):
        assert values.shape == (SNIPPETS, len(CLASSES))
        assert (values >= 0).all()
        assert (values <= 1).all()
        assert scores.sum() == pytest.approx(1, abs=1e-5)


def test_videos_do_not_depend_on_their_neighbours(trained, dataset, monkeypatch):
    model = load_model(trained[0])
    data = load_dataset(dataset, model.config.dataset)
    sequences = DatasetSequences(data, data.test, CPU)
    together = model.localizer.activations(sequences)
    monkeypatch.setattr("hrpro.localize.methods.sal.localizer.PACKED_VALUES", 1)
    for values, alone in zip(together, model.localizer.activations(sequences), strict=True):
        np.testing.assert_allclose(values, alone, atol=1e-6)


def test_a_single_class_is_refused(dataset):
    config = load_config(PRESET)
    data = replace(load_dataset(dataset, config.dataset, needs="labels"), classes=("throw",))
    method = get_method(config.localize)
    localizer = method.build(data.dim, 1, config.localize, 1)
    with pytest.raises(DataError, match="there is one only"):
        method.stage(1, localizer, data, config.localize, CPU)


def hrpro(*arguments: object) -> str:
    run = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert run.exit_code == 0, run.output
    return run.stdout


def test_a_person_types_train_and_eval(dataset, tmp_path):
    settings = ("--set", "localize.updates=2", "--set", "localize.network.width=8")
    folder, result = tmp_path / "run", tmp_path / "found.json"
    told = hrpro("train", "--dataset", dataset, "--method", "sal", "--run-dir", folder, *settings)
    assert "stage 1, last" in told
    assert load_model(folder).config.localize.method == "sal"
    assert "mAP" in hrpro("eval", "--model", folder, "--dataset", dataset, "-o", result, "--curves")
    assert {video.video_id for video in read_results(result).videos} == {
        f"test_{number}" for number in range(4)
    }
