"""What every method can do, whatever it learns from: the whole way of a person, on tiny data."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_methods
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from tiny_datasets import CLASSES, DIM, SNIPPETS, make_dataset

from hrpro.cli import main
from hrpro.errors import HrproError, UsageError
from hrpro.features import Fingerprint, WeightsId
from hrpro.localize.config import load_config, resolve_dataset
from hrpro.localize.data.dataset import load_dataset
from hrpro.localize.methods import METHODS, get_method
from hrpro.localize.training.model_folder import FeaturesNeeded, load_model
from hrpro.localize.training.run import CHECKPOINT, TrainingRun

EVAL = {"eval_every": 2}
GENERATOR = {"generator.updates": 4, "generator.eval_every": 4}
STUDENT = {
    "student.optimiser.eval_every": 2,
    "student.teacher.first_epochs": 3,
    "student.teacher.epochs": 6,
}
SHORT: dict[str, dict[str, object]] = {
    "hrpro": {"updates": 4, "eval_every": 4, "stage2.epochs": 6, "stage2.eval_every": 2},
    "sal": {"updates": 6, **EVAL},
    "fustal": {**GENERATOR, **STUDENT},
    "hrpro+student": {**GENERATOR, **STUDENT},
    "sal+student": {**GENERATOR, **STUDENT},
    "student": STUDENT,
}
"""The last stage has at least six updates, and is measured after every second one."""
each_method = pytest.mark.parametrize("method", list(METHODS))

CPU = torch.device("cpu")

KILLED = """
import json, os, signal, sys
from pathlib import Path
import torch
from hrpro.localize.config import resolve_dataset
from hrpro.localize.data.dataset import load_dataset
from hrpro.localize.training.run import Observer, TrainingRun

folder, run_dir, overrides = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
folder, config = resolve_dataset(folder, overrides, preset="small")
data = load_dataset(folder, config.dataset, needs=config.localize.needs)

class Kill(Observer):
    def evaluated(self, stage, update, precision):
        if stage == run.method.num_stages and update >= 4:
            os.kill(os.getpid(), signal.SIGKILL)

run = TrainingRun(
    run_dir, data, config, torch.device("cpu"), save_every_s=0, observers=[Kill()]
)
run.run()
"""
"""Trains until the last stage is measured a second time, and is killed there."""


def overrides(method: str) -> list[str]:
    return tiny_methods.overrides(method, SHORT[method])


def hrpro(*arguments: object):
    """Run a command in this process; the result has exit_code, stdout and stderr."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def check(*arguments: object) -> str:
    run = hrpro(*arguments)
    assert run.exit_code == 0, run.output
    return run.stdout


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Six videos that are there by name, with their features, points and marks."""
    folder = make_dataset(tmp_path_factory.mktemp("data"), num_train=4, num_test=2)
    (folder / "videos").mkdir()
    for path in (folder / "features").rglob("*.npy"):
        (folder / "videos" / f"{path.stem}.mp4").touch()
    return folder


@pytest.fixture(scope="module")
def train(dataset, tmp_path_factory):
    """Train a method as a person does, once; returns the run folder and what was said."""
    trained: dict[str, tuple[Path, str]] = {}

    def trained_once(method: str) -> tuple[Path, str]:
        if method not in trained:
            folder = tmp_path_factory.mktemp("run") / "run"
            settings = [part for text in overrides(method)[1:] for part in ("--set", text)]
            told = check(
                "train", "--dataset", dataset, "--method", method, "--run-dir", folder, *settings
            )
            trained[method] = folder, told
        return trained[method]

    return trained_once


@each_method
def test_training_leaves_a_model_and_a_table(method, train):
    folder, told = train(method)
    num_stages = get_method(load_model(folder).config.localize).num_stages
    assert f"stage {num_stages}, last" in told
    assert load_model(folder).num_stages == num_stages
    assert load_model(folder / f"stage{num_stages}").classes == CLASSES


@each_method
def test_scalars_are_there_for_tensorboard(method, train):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for stage in sorted(train(method)[0].glob("stage*")):
        events = EventAccumulator(str(stage.parent / "tensorboard" / stage.name)).Reload()
        assert "loss/total" in events.Tags()["scalars"]


@each_method
def test_it_is_measured_and_reported_with_curves(method, dataset, train, tmp_path):
    result, page = tmp_path / "found.json", tmp_path / "report.html"
    folder = train(method)[0]
    told = check("eval", "--model", folder, "--dataset", dataset, "-o", result, "--curves")
    assert "mAP at tIoU" in told
    curves = json.loads(result.read_text())["curves"]
    assert set(curves) == {"test_0", "test_1"}
    for video in curves.values():
        assert {len(values) for values in video["classes"].values()} <= {SNIPPETS}
    check("report", result, "--dataset", dataset, "-o", page)
    assert "test_0" in page.read_text()


@each_method
def test_the_label_page_gets_its_suggestions(method, dataset, train, tmp_path):
    from hrpro.pipeline.label.suggest import suggest

    folder = shutil.copytree(dataset, tmp_path / "data")
    videos = json.loads(suggest(folder, train(method)[0], min_score=0).read_text())["videos"]
    assert set(videos) == {path.stem for path in (folder / "videos").iterdir()}
    for video in videos.values():
        assert 0 <= video["uncertainty"] <= 1
        assert {each["label"] for each in video["detections"]} <= set(CLASSES)


@each_method
def test_a_killed_run_goes_on_to_the_same_model(method, dataset, train, tmp_path):
    texts = json.dumps(overrides(method))
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(dataset), str(tmp_path / "run"), texts],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    folder, config = resolve_dataset(dataset, overrides(method), preset="small")
    data = load_dataset(folder, config.dataset, needs=config.localize.needs)
    run = TrainingRun(tmp_path / "run", data, config, CPU, resume=True)
    assert (tmp_path / "run" / f"stage{run.method.num_stages}" / CHECKPOINT).exists()
    run.run()
    ours, theirs = (load_file(f / "model.safetensors") for f in (run.folder, train(method)[0]))
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=0, atol=0, equal_nan=True)


@each_method
def test_a_misspelt_setting_is_named_with_the_right_one(method, dataset):
    section = load_config("custom", overrides(method)).localize.model_dump()
    meant = "seed" if "updates" not in section else "updates"
    with pytest.raises(
        UsageError, match=rf"unknown key 'localize\.{meant}x'; did you mean .*{meant}"
    ):
        resolve_dataset(dataset, [*overrides(method), f"localize.{meant}x=1"])


@each_method
def test_a_loss_that_is_no_number_names_the_rate_that_there_is(
    method, dataset, tmp_path, monkeypatch
):
    """Each of them can be set, and belongs to the stage that failed."""
    folder, config = resolve_dataset(dataset, overrides(method), preset="small")
    data = load_dataset(folder, config.dataset, needs=config.localize.needs)
    run = TrainingRun(tmp_path, data, config, CPU)
    localizer = run.method.build(data.dim, len(data.classes), config.localize, 1)
    stage = run.method.stage(1, localizer, data, config.localize, CPU)
    broken = type(stage)
    monkeypatch.setattr(broken, "losses", lambda self, videos: _nan(self))
    with pytest.raises(HrproError) as caught:
        run.run([1])
    told = str(caught.value)
    assert "the loss is not a finite number any more at update 1; lower" in told
    named = re.findall(r"(localize\S+)=\.\.\.", told)
    assert named
    for key in named:
        changed = load_config("custom", [*overrides(method), f"{key}=0.125"])
        assert changed != load_config("custom", overrides(method))
    generated = "+" in method or method == "fustal"
    assert all(key.startswith("localize.generator.") == generated for key in named)


def _nan(stage) -> dict[str, torch.Tensor]:
    some = next(stage.model.parameters())
    return {"total": some.sum() * float("nan")}


@pytest.mark.parametrize(
    ("method", "generator"), [("hrpro+student", "hrpro"), ("sal+student", "sal")]
)
def test_a_student_builds_on_a_generator_that_was_trained_alone(
    method, generator, dataset, train, tmp_path
):
    """It need not be trained again, and what comes out is the same."""
    alone = tiny_methods.overrides(generator, _generator(SHORT[method]))
    folder, config = resolve_dataset(dataset, alone, preset="small")
    data = load_dataset(folder, config.dataset, needs=config.localize.needs)
    TrainingRun(tmp_path / "alone", data, config, CPU).run()
    settings = [part for text in overrides(method)[1:] for part in ("--set", text)]
    command = ("train", "--dataset", dataset, "--method", method, "--no-tensorboard")
    run_dir = tmp_path / "behind"
    check(*command, "--run-dir", run_dir, "--stage1-model", tmp_path / "alone", *settings)
    last = get_method(load_model(run_dir).config.localize).num_stages
    assert [path.name for path in run_dir.glob("stage*")] == [f"stage{last}"]
    ours, theirs = (load_file(f / "model.safetensors") for f in (run_dir, train(method)[0]))
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=0, atol=0, equal_nan=True)

    # Where it saw other snippets, it is not what is asked for.
    coarse = ("--set", "localize.generator.stride=16", "--set", "localize.student.teacher.epochs=1")
    for stride, code in ((16, 0), (32, 2)):
        weights = {"rgb": WeightsId(sha256="a" * 64)}
        made = FeaturesNeeded(dim=DIM, fingerprint=Fingerprint(stride=stride, weights=weights))
        (tmp_path / "alone" / "fingerprint.json").write_text(made.model_dump_json())
        given = ("--run-dir", tmp_path / f"{stride}", "--stage1-model", tmp_path / "alone")
        run = hrpro(*command, *given, *settings, *coarse)
        assert run.exit_code == code, run.output
    assert "trained with other snippets (one every 32 frames; here 16)" in run.stderr

    refused = hrpro(*command, "--run-dir", tmp_path / "c", "--stage1-model", run_dir, *settings)
    assert refused.exit_code == 2
    assert f"is a model of {last} stages, on which {method} builds no other" in refused.stderr
    settings += ["--set", "localize.generator.lr=0.01"]
    refused = hrpro(
        *command, "--run-dir", tmp_path / "d", "--stage1-model", tmp_path / "alone", *settings
    )
    assert refused.exit_code == 2
    assert "localize.generator; train stage" in refused.stderr


def _generator(settings: dict[str, object]) -> dict[str, object]:
    prefix = "generator."
    return {k.removeprefix(prefix): v for k, v in settings.items() if k.startswith(prefix)}
