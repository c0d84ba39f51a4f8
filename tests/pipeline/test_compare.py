"""Several methods on one dataset: the table, the folders, and going on after an interruption."""

from __future__ import annotations

import json
import shutil

import pytest
from click.testing import CliRunner
from tiny_datasets import make_dataset

from hrpro.cli import main
from hrpro.errors import UsageError
from hrpro.localize.training.model_folder import load_model
from hrpro.pipeline.compare import compare
from hrpro.pipeline.train import RunOptions

METHODS = "sal,hrpro"
QUICK = ("dataset.tiou=[0.3,0.5]", "localize.updates=2", "localize.eval_every=2")


def hrpro(*arguments: object):
    """Run a command in this process; the result has exit_code, stdout and stderr."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def run_compare(dataset, run_dir, *options, methods=METHODS, settings=QUICK):
    sets = [part for text in settings for part in ("--set", text)]
    return hrpro(
        "train", "--dataset", dataset, "--compare", methods, "--run-dir", run_dir,
        "--no-tensorboard", *sets, *options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data"), num_train=4, num_test=2)


@pytest.fixture(scope="module")
def compared(dataset, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("compared") / "runs"
    return run_dir, run_compare(dataset, run_dir)


def test_one_table_of_methods_overlaps_and_seconds(compared):
    run_dir, run = compared
    assert run.exit_code == 0, run.output
    head, first, second, *_ = run.stdout.splitlines()
    assert head.split() == ["mAP", "at", "tIoU", "0.3", "0.5", "avg", "0.3:0.5", "seconds"]
    assert first.startswith("sal (labels)")
    assert second.startswith("hrpro (points)")
    assert len(first) == len(second) == len(head)
    for method in METHODS.split(","):
        assert load_model(run_dir / method).config.localize.method == method


def test_what_is_done_is_kept(compared, dataset, tmp_path):
    """A run that was interrupted between the methods goes on with the second one."""
    run_dir = shutil.copytree(compared[0], tmp_path / "runs")
    shutil.rmtree(run_dir / "hrpro")
    before = (run_dir / "sal/stage1/history.json").stat().st_mtime_ns
    run = run_compare(dataset, run_dir, "--json")
    assert run.exit_code == 0, run.output
    assert (run_dir / "sal/stage1/history.json").stat().st_mtime_ns == before
    assert run.stderr.count("stage 1: 2 updates") == 1
    found = json.loads(run.stdout)
    assert [each["method"] for each in found["methods"]] == ["sal", "hrpro"]
    assert [each["needs"] for each in found["methods"]] == ["labels", "points"]
    history = json.loads((run_dir / "sal/stage1/history.json").read_text())
    assert found["methods"][0]["seconds"] == history["seconds"]
    assert found["methods"][0]["mean_ap"] == history["last"]["average"]


def test_a_method_that_cannot_be_trained_costs_only_itself(dataset, tmp_path):
    folder = shutil.copytree(dataset, tmp_path / "data")
    (folder / "points.csv").unlink()
    run = run_compare(folder, tmp_path / "runs", methods="hrpro,sal")
    assert run.exit_code == 1
    assert "hrpro (points): failed: " in run.stdout
    assert "no point labels yet" in run.stdout
    assert run.stdout.splitlines()[1].startswith("sal (labels)")


def test_without_ground_truth_there_are_times_alone(dataset, tmp_path):
    folder = shutil.copytree(dataset, tmp_path / "data")
    (folder / "annotations.json").unlink()
    run = run_compare(folder, tmp_path / "runs", methods="sal")
    assert run.exit_code == 0, run.output
    assert run.stdout.splitlines()[0].startswith("sal (labels): trained in ")


def test_mistakes_are_told_before_anything_is_trained(dataset, tmp_path):
    for settings, methods, expected in [
        (QUICK, "sal,hrpor", "no method 'hrpor'; did you mean 'hrpro'"),
        (("localize.network.width=8",), "sal,hrpro", "unknown key 'localize.network'"),
        (QUICK, ",", "--compare: name the methods"),
    ]:
        run = run_compare(dataset, tmp_path / "runs", methods=methods, settings=settings)
        assert run.exit_code == 2
        assert expected in run.stderr
    with pytest.raises(UsageError, match="all stages"):
        compare(dataset, ["sal"], RunOptions(tmp_path / "runs", stage=1))
    assert not (tmp_path / "runs").exists()
