"""Training, evaluation and data sets as a person types them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tiny_datasets import CLASSES, PRESET, make_dataset
from videos import make_video, noise

from hrpro.cli import main
from hrpro.localize.training.checkpoint import load_checkpoint
from hrpro.localize.training.model_folder import load_model
from hrpro.pipeline.evaluate_options import parse_tious
from hrpro.pipeline.results.formats import read_results

pytestmark = pytest.mark.core

SETTINGS = ["--preset", PRESET]


def hrpro(*arguments) -> object:
    """Run a command in this process; the result has exit_code, stdout and stderr."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def error_line(run) -> str:
    """The one line of a refused command, without the lines that tell about the data set."""
    assert run.exit_code == 2, run.output
    *_, last = run.stderr.strip().splitlines()
    assert last.startswith("error: ")
    assert sum(line.startswith("error") for line in run.stderr.splitlines()) == 1
    return last


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data") / "easy")


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    run = hrpro("train", "--dataset", dataset, "--run-dir", folder, *SETTINGS)
    assert run.exit_code == 0, run.output
    return folder, run


def test_train_ends_with_the_table(trained):
    folder, run = trained
    lines = run.stdout.splitlines()
    assert lines[0].split() == [
        "mAP", "at", "tIoU", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7",
        "avg", "0.1:0.5", "avg", "0.3:0.7", "avg", "0.1:0.7",
    ]  # fmt: skip
    assert lines[1].startswith("stage 1, last ")
    assert lines[2].startswith("stage 1, best-on-test (update ")
    assert lines[3].startswith("stage 2, last ")
    assert lines[4].startswith("stage 2, best-on-test (update ")
    assert float(lines[3].split()[-1]) > 90
    assert f"model: {folder} (weights: last)" in run.stdout
    assert f"{folder / 'best-on-test'} (chosen by the test set)" in run.stdout
    assert f"hrpro detect VIDEO --model {folder}" in run.stdout


def test_train_recommends_scores_for_events(trained):
    folder, run = trained
    assert "events: score 0." in run.stderr
    for kind in (folder, folder / "best-on-test"):
        scores = load_model(kind).event_scores
        assert set(scores.thresholds) == set(CLASSES)
        # The few actions of the test videos would not tell enough.
        assert scores.chosen_on == "points of the training videos"
    assert load_model(folder / "stage1").event_scores is None


def test_train_shows_losses_rate_and_remaining_time(trained):
    _, run = trained
    assert "easy: 8 training videos, 16 points, 3 classes, 4 test videos, 16 channels; " in (
        run.stderr
    )
    assert "stage 1: 60 updates" in run.stderr
    last = next(line for line in run.stderr.splitlines() if "60/60" in line and "loss" in line)
    for text in ("action", "background", "contrast", "updates/s", "ETA 0:00:00"):
        assert text in last
    assert "stage 1  20/60  mAP" in run.stderr


def test_tensorboard_scalars(trained):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(trained[0] / "tensorboard" / "stage1")).Reload()
    tags = set(events.Tags()["scalars"])
    assert {"loss/total", "loss/contrast", "mAP/0.5", "mAP/average"} <= tags
    assert [event.step for event in events.Scalars("loss/total")] == list(range(1, 61))
    assert [event.step for event in events.Scalars("mAP/average")] == [20, 40, 60]


def test_train_goes_on_without_tensorboard(dataset, tmp_path, monkeypatch):
    options = ("--run-dir", tmp_path / "a", "--stage", 1, "--set", "localize.updates=1")
    run = hrpro("train", "--dataset", dataset, *options, "--no-tensorboard")
    assert run.exit_code == 0
    assert not (tmp_path / "a" / "tensorboard").exists()
    monkeypatch.setattr("hrpro.pipeline.train.find_spec", lambda name: None)
    run = hrpro("train", "--dataset", dataset, *options[2:], "--run-dir", tmp_path / "b")
    assert run.exit_code == 0
    assert "no TensorBoard scalars: python -m pip install tensorboard" in run.stderr


def test_train_json(dataset, tmp_path):
    run = hrpro(
        "train", "--dataset", dataset, "--run-dir", tmp_path, *SETTINGS, "--stage", 1, "--seed", 3,
        "--precision", "float32", "--method", "hrpro", "--device", "cpu", "--json", "-q",
    )  # fmt: skip
    assert run.exit_code == 0, run.output
    assert run.stderr == ""
    (stage,) = json.loads(run.stdout)["stages"]
    assert stage["updates"] == 60
    assert stage["last"]["average"] > 0.5
    assert set(stage["last"]["per_class"]) == set(CLASSES)
    assert stage["best-on-test"]["average"] >= stage["last"]["average"]
    assert "seed: 3" in (tmp_path / "config.yaml").read_text()


def test_train_without_ground_truth_says_so(tmp_path):
    data = make_dataset(tmp_path / "data", ground_truth=False)
    run = hrpro("train", "--dataset", data, "--run-dir", tmp_path / "run", *SETTINGS)
    assert run.exit_code == 0, run.output
    assert run.stdout.startswith("no ground truth for the test videos: trained, but nothing can ")
    assert "best-on-test" not in run.stdout
    text = error_line(hrpro("eval", "--model", tmp_path / "run", "--dataset", data))
    assert "nothing to measure" in text


def test_overlapping_snippets_are_not_for_hrpro_alone(tmp_path):
    data = make_dataset(tmp_path / "data")
    (data / "dataset.yaml").write_text("features:\n  snippet: 32\n")
    quick = ("--dataset", data, "--stage", 1, "--set", "localize.updates=1", "--run-dir")
    alone = hrpro("train", *quick, tmp_path / "alone", "--method", "hrpro")
    assert "data: features every 16 frames, of which HR-Pro makes less" in alone.stderr
    assert "localize.stride=32" in alone.stderr
    thin = hrpro("train", *quick, tmp_path / "thin", "--set", "localize.stride=32")
    assert thin.exit_code == 0 and "HR-Pro makes less" not in thin.stderr
    named = ("--method", "hrpro+student", "--set", "localize.generator.updates=1")
    both = hrpro("train", *quick[:4], "--run-dir", tmp_path / "both", *named)
    assert both.exit_code == 0, both.output
    assert "HR-Pro makes less" not in both.stderr


def test_terminated_training_saves_what_it_has(dataset, tmp_path):
    words = ["-m", "hrpro", "train", "--dataset", dataset, *SETTINGS, "--no-tensorboard"]
    words += ["--set", "localize.updates=100000", "--save-every", "1000", "--device", "cpu"]
    process = subprocess.Popen(
        [sys.executable, *map(str, words), "--run-dir", str(tmp_path / "run")],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        for line in process.stderr:
            if line.startswith("stage 1  "):  # some updates are done
                break
        process.send_signal(signal.SIGTERM)
        errors = process.communicate(timeout=60)[1]
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 143, errors
    assert errors.splitlines()[-1].endswith("run the same command again with --resume to go on")
    checkpoint = load_checkpoint(tmp_path / "run" / "stage1" / "checkpoint.safetensors")
    assert checkpoint.state["num_done"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["stage1", "stage2"])
def test_killed_training_resumes_to_the_same_result(dataset, tmp_path, stage):
    """A real kill -9, of a process of its own, while it saves a checkpoint after every update."""
    longer = ["--set", "localize.updates=120", "--set", "localize.stage2.epochs=60"]
    arguments = ["train", "--dataset", dataset, *SETTINGS, *longer, "--no-tensorboard"]
    arguments += ["--device", "cpu"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    words = ["-m", "hrpro", *arguments, "--run-dir", parts, "--save-every", "0", "-q"]
    process = subprocess.Popen([sys.executable, *map(str, words)], stdout=subprocess.DEVNULL)
    try:
        while not (parts / stage / "checkpoint.safetensors").exists():
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.005)
        time.sleep(0.1)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (parts / stage / "history.json").exists(), "it was too fast to be killed"

    assert hrpro(*arguments, "--run-dir", parts, "-q").exit_code == 2
    resumed = hrpro(*arguments, "--run-dir", parts, "--resume")
    assert resumed.exit_code == 0, resumed.output
    assert f"{stage[:-1]} {stage[-1]}: " in resumed.stderr
    assert ", going on after update " in resumed.stderr
    assert hrpro(*arguments, "--run-dir", whole, "-q").exit_code == 0
    for place in (".", "best-on-test", "stage1", "stage1/best-on-test"):
        for name in ("model.safetensors", "metrics.json"):
            assert (parts / place / name).read_bytes() == (whole / place / name).read_bytes()
    assert not list(parts.rglob("checkpoint*"))


# Bad input: one line, exit code 2, nothing written.


def with_wrong_width(data: Path) -> str:
    np.save(data / "features/train/train_1.npy", np.zeros((40, 15), np.float32))
    return "15 channels, where 11 files such as train_0.npy have 16"


def with_nan(data: Path) -> str:
    features = np.load(data / "features/test/test_2.npy")
    features[7, 3] = np.nan
    np.save(data / "features/test/test_2.npy", features)
    return r"test_2.npy: NaN or infinity in 1 of 40 snippets \(first: 7\)"


def truncated(data: Path) -> str:
    path = data / "features/train/train_3.npy"
    path.write_bytes(path.read_bytes()[:-100])
    return "train_3.npy: truncated"


def pickled(data: Path) -> str:
    path = data / "features/train/train_3.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return "train_3.npy: holds pickled objects"


def without_a_column(data: Path) -> str:
    text = (data / "points.csv").read_text()
    (data / "points.csv").write_text(text.replace("class", "klass"))
    return r"points.csv:1: no column class \(found: video_id, klass, time\)"


def with_unknown_video(data: Path) -> str:
    with (data / "points.csv").open("a") as file:
        file.write("trian_0,run,3\n")
    return "points.csv:18: there is no video 'trian_0'; did you mean 'train_0'"


def with_late_point(data: Path) -> str:
    with (data / "points.csv").open("a") as file:
        file.write("train_0,run,300\n")
    return r"points.csv:18: the point at 300.00 s lies after the end of 'train_0' \(25.60 s\)"


def with_yaml_typo(data: Path) -> str:
    (data / "dataset.yaml").write_text("name: easy\ntious: [0.5]\n")
    return "dataset.yaml:2: unknown key 'dataset.tious'; did you mean 'dataset.tiou'"


def without_features(data: Path) -> str:
    (data / "features/train/train_0.npy").unlink()
    return "features of 1 of 8 train videos are missing"


@pytest.mark.parametrize(
    "damage",
    [
        with_wrong_width, with_nan, truncated, pickled, without_a_column, with_unknown_video,
        with_late_point, with_yaml_typo, without_features,
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_leaves_nothing(tmp_path, damage):
    data = make_dataset(tmp_path / "data")
    expected = damage(data)
    text = error_line(hrpro("train", "--dataset", data, "--run-dir", tmp_path / "run"))
    assert re.search(expected, text), text
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "localize.learning=1"], "unknown key 'localize.learning'"),
        (["--set", "localize.instance.epochs=3"], "did you mean 'localize.stage2.epochs'"),
        (["--set", "localize.lr=fast"], "localize.lr: expected a number, got 'fast'"),
        (["--set", "localize.lr"], "write KEY=VALUE"),
        (["--method", "hrpo"], "localize.method: no method 'hrpo'; did you mean 'hrpro'"),
        (["--preset", "thumas"], "did you mean 'thumos'"),
        (["--device", "cuda:99"], "--device cuda:99"),
        (["--stage", "2"], "train it first"),
        (["--set", "localize.lr=1e30", "--set", "localize.updates=50"], "lower the learning rate"),
    ],
)
def test_wrong_options_are_one_line(dataset, tmp_path, options, message):
    run = hrpro("train", "--dataset", dataset, "--run-dir", tmp_path / "run", *options)
    assert message in error_line(run)


# Evaluation.


def test_eval_of_a_model(trained, dataset):
    folder, run = trained
    table = hrpro("eval", "--model", folder, "--dataset", dataset, "--per-class")
    assert table.exit_code == 0, table.output
    lines = table.stdout.splitlines()
    expected = next(line for line in run.stdout.splitlines() if line.startswith("stage 2, last"))
    at = next(index for index, line in enumerate(lines) if line.startswith("mAP at tIoU"))
    assert lines[at + 1].split()[1:] == expected.split()[3:]
    by_class = [line.split()[0] for line in lines if line.startswith(CLASSES)]
    assert by_class == 2 * list(CLASSES)  # what was found, and the average precision
    for kind in ("true positive", "wrong label", "localization", "background", "duplicate"):
        assert f"  {kind}" in table.stdout

    as_json = hrpro("eval", "--model", folder / "stage1", "--dataset", dataset, "--json")
    value = json.loads(as_json.stdout)
    metrics = json.loads((folder / "stage1" / "metrics.json").read_text())
    assert value["mAP"] == metrics["test"]["mAP"]
    assert value["per_class"] == metrics["test"]["per_class"]
    assert value["averages"]["0.1:0.7"] == pytest.approx(np.mean(value["mAP"]))
    assert sum(v for k, v in value["false_positives"].items() if k != "tiou") > 0


def test_eval_begins_in_plain_words(trained, dataset):
    options = ["eval", "--model", trained[0], "--dataset", dataset]
    first, second, head, *_ = hrpro(*options).stdout.splitlines()
    assert re.fullmatch(
        r"found \d of 8 actions, \d+ false alarms?, "
        r"at the recommended scores \(chosen on the points of the training videos\)",
        first,
    )
    assert "tIoU 0.5" in second
    assert head.split() == [
        "class",
        "actions",
        "found",
        "false",
        "alarms",
        "boundaries",
        "(median)",
    ]
    strict = hrpro(*options, "--threshold", "0.99", "--event-tiou", "0.9", "--json")
    events = json.loads(strict.stdout)["events"]
    assert events["rules"]["threshold"] == 0.99
    assert events["tiou"] == 0.9
    assert events["scores"] == "at the scores that were asked for"
    assert events["total"]["num_actions"] == sum(each["num_actions"] for each in events["classes"])
    assert len(events["videos"]) == 4


def test_eval_of_written_detections_gives_the_same(trained, dataset, tmp_path):
    folder, _ = trained
    out = tmp_path / "found.json"
    model = hrpro("eval", "--model", folder, "--dataset", dataset, "-o", out, "--json")
    for against in (
        ["--dataset", dataset],
        ["--ground-truth", dataset / "annotations.json", "--subset", "test"],
    ):
        file = hrpro("eval", out, *against, "--json")
        assert file.exit_code == 0, file.output
        mean_ap = json.loads(file.stdout)["mAP"]
        assert mean_ap == json.loads(model.stdout)["mAP"]


def test_curves_on_request_cover_what_was_found(trained, dataset, tmp_path):
    out = tmp_path / "result.json"
    run = hrpro("eval", "--model", trained[0], "--dataset", dataset, "-o", out, "--curves")
    assert run.exit_code == 0
    for video in read_results(out).videos:
        labels = {found.label for found in video.detections}
        assert set(video.curves.classes) == labels
        last_s = video.curves.start_s + video.curves.step_s * len(video.curves.classes[min(labels)])
        assert last_s == pytest.approx(video.duration_s, abs=2 * video.curves.step_s)


def test_eval_at_other_thresholds(trained, dataset):
    run = hrpro("eval", "--model", trained[0], "--dataset", dataset, "--tiou", "0.5:0.05:0.95")
    head = next(line for line in run.stdout.splitlines() if line.startswith("mAP at")).split()
    assert head[3:5] == ["0.5", "0.55"]
    assert head[-2:] == ["avg", "0.5:0.95"]
    assert parse_tious("0.1:0.1:0.7") == (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
    assert parse_tious("0.3,0.5") == (0.3, 0.5)


def test_golden_real_detections_through_the_command_line(shared):
    folder = shared / "data" / "thumos14"
    expected = json.loads((folder / "expected_map.json").read_text())
    arguments = ["--ground-truth", folder / "gt_full.json", "--subset", expected["subset"]]
    arguments += ["--exclude", ",".join(expected["blocked_videos"]), "--json"]
    run = hrpro("eval", folder / "real_detections.json", *arguments)
    value = json.loads(run.stdout)
    # Scores that are equal are ordered by the sort, and so by the processor.
    assert value["average"] == pytest.approx(expected["average"], abs=3e-4)
    assert value["average"] == pytest.approx(0.4327, abs=1e-4)

    filtered = hrpro(
        "eval", folder / "real_detections.json", *arguments,
        "--ambiguous", folder / "Ambiguous_test.txt",
    )  # fmt: skip
    by_dataset = hrpro(
        "eval", folder / "real_detections.json", "--dataset", "thumos", "--data-root",
        shared / "data", "--json",
    )  # fmt: skip
    assert json.loads(filtered.stdout)["detections"] < value["detections"]
    assert json.loads(by_dataset.stdout)["mAP"] == json.loads(filtered.stdout)["mAP"]


def test_wrong_evaluations_are_one_line(trained, dataset, tmp_path):
    folder, truth = trained[0], dataset / "annotations.json"
    result = tmp_path / "r.json"
    result.write_text('{"results": {"x": [{"label": "run", "score": 1, "segment": [0, 1]}]}}')
    for arguments, message in (
        ([], "give either a result file, or --model"),
        ([result], "say what to measure against"),
        (["--model", folder], "say what to measure against"),
        (["--model", folder, "--ground-truth", truth], "say what to measure against"),
        ([result, "--dataset", dataset, "--subset", "x"], "go with --ground-truth"),
        ([result, "--ground-truth", truth, "--subset", "x"], "it has test, train"),
        ([result, "--ground-truth", truth], "no video of the detections (x, ...)"),
        ([result, "--ground-truth", truth, "--tiou", "a"], "write 0.5"),
        ([result, "--ground-truth", truth, "--tiou", "7"], "between 0 and 1"),
        ([result, "--ground-truth", truth, "-o", "x.json"], "--out and --curves go with --model"),
        (["--model", dataset, "--dataset", dataset], "not a model folder"),
        ([tmp_path / "no.json", "--ground-truth", truth], "no.json"),
    ):
        assert message in error_line(hrpro("eval", *arguments))


# Data sets.


def test_dataset_list(shared):
    run = hrpro("dataset", "list", "--data-root", shared / "data")
    assert run.exit_code == 0
    assert "3003 points; preset thumos; " in run.stdout
    rows = json.loads(hrpro("dataset", "list", "--data-root", "nowhere", "--json").stdout)
    assert [row["name"] for row in rows][:2] == ["thumos14", "gtea"]
    assert all(row["folder"] is None for row in rows)


def test_dataset_check(tmp_path):
    data = make_dataset(tmp_path / "data")
    run = hrpro("dataset", "check", data)
    assert run.exit_code == 0
    assert run.stdout.splitlines()[-1] == f"next: hrpro train --dataset {data}"
    with_nan(data), truncated(data)
    run = hrpro("dataset", "check", data, "--json")
    report = json.loads(run.stdout)
    assert (run.exit_code, report["ok"]) == (1, False)
    assert len(report["problems"]) == 2
    assert "no-such: neither a dataset folder" in error_line(hrpro("dataset", "check", "no-such"))


def test_dataset_check_after_training_says_detect(trained, dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check = ["dataset", "check", dataset, *SETTINGS]
    assert hrpro(*check).stdout.splitlines()[-1] == f"next: hrpro train --dataset {dataset}"
    shutil.copytree(trained[0], Path("runs", dataset.name))
    run = Path("runs", dataset.name)
    assert hrpro(*check).stdout.splitlines()[-1] == (
        f"next: hrpro detect VIDEO --model {run} --out result.json"
    )
    os.utime(run / "model.safetensors", ns=(0, 0))  # older than the points
    assert hrpro(*check).stdout.splitlines()[-1] == f"next: hrpro train --dataset {dataset}"
    shutil.copytree(trained[0], Path("runs", "second"))
    assert hrpro(*check).stdout.splitlines()[-1] == f"next: hrpro train --dataset {dataset}"
    metrics = Path("runs", "second", "metrics.json")
    about = {"dataset": {"folder": str(dataset.resolve())}}  # a model of any name that says so
    metrics.write_text(json.dumps({**json.loads(metrics.read_text()), **about}))
    os.utime(metrics.with_name("model.safetensors"))
    assert "--model runs/second --out" in hrpro(*check).stdout.splitlines()[-1]


def test_classes_without_points_are_named(tmp_path):
    folder = make_dataset(tmp_path / "few")
    points = folder / "points.csv"
    lines = points.read_text().splitlines()
    points.write_text("\n".join(line for line in lines if f",{CLASSES[0]}," not in line) + "\n")
    run = hrpro("train", "--dataset", folder, "--run-dir", tmp_path / "run", *SETTINGS)
    assert run.exit_code == 0, run.output
    assert f"1 of 3 classes have no point ({CLASSES[0]}); they cannot be learned" in run.stderr
    assert "index" not in run.stderr


def test_dataset_fetch_says_what_is_left(tmp_path, monkeypatch):
    from hrpro.localize.data.catalogue import KnownDataset, RemoteFile

    known = KnownDataset(
        "toy", "custom", "A toy", ("toy",), 1, 1, 1,
        (RemoteFile("points.csv", "http://127.0.0.1:9/points.csv", "0" * 64),), None,
        ("features: make them yourself",),
    )  # fmt: skip
    monkeypatch.setattr("hrpro.pipeline.datasets.public.find_known", lambda name: known)
    run = hrpro("dataset", "fetch", "toy", "--data-root", tmp_path)
    assert run.exit_code == 1
    assert "failed: " in run.stdout
    assert f"by hand: {tmp_path / 'toy'}: features: make them yourself" in run.stdout
    assert run.stdout.splitlines()[-1] == f"next: hrpro dataset check {tmp_path / 'toy'}"
    monkeypatch.undo()
    assert "there are thumos14, gtea" in error_line(hrpro("dataset", "fetch", "toy"))


# From own videos to detections.


@pytest.mark.slow
def test_train_and_detect_on_own_videos(rgb_weights, tmp_path):
    small = ["--short-side", "64", "--crop", "64", "--precision", "float32", "--streams", "rgb"]
    root = tmp_path / "own"
    for name in ("a", "b"):
        make_video(root / "videos" / f"{name}.mp4", frames=80, painter=noise())
    (root / "points.csv").write_text("video_id,class,time\na,wave,1.0\n")
    (root / "split_train.txt").write_text("a\n")
    (root / "split_test.txt").write_text("b\n")
    assert hrpro("extract", root, *small).exit_code == 0
    run_dir = tmp_path / "run"
    quick = ["--set", "localize.updates=2", "--set", "localize.stage2.epochs=1"]
    run = hrpro("train", "--dataset", root, "--run-dir", run_dir, *quick)
    assert run.exit_code == 0, run.output
    features = json.loads((run_dir / "fingerprint.json").read_text())
    assert features["fingerprint"]["crop"] == 64

    out = tmp_path / "found.json"
    video = root / "videos" / "b.mp4"
    detect = ["detect", video, "--model", run_dir, "--out", out]
    run = hrpro(*detect, "--precision", "float32")
    assert run.exit_code == 0, run.output
    result = json.loads(out.read_text())
    assert result["model"]["name"] == "hrpro"
    assert result["model"]["features"]["crop"] == 64
    assert {row["label"] for row in result["results"]["b"]} == {"wave"}
    assert all(0 <= row["segment"][0] < row["segment"][1] <= 3.3 for row in result["results"]["b"])

    text = error_line(hrpro(*detect, "--crop", "48"))
    assert "the model was trained on other features: crop: 64 != 48; --allow-mixed" in text
    run = hrpro(*detect, "--crop", "48", "--allow-mixed")
    assert run.exit_code == 0
    assert "warning: the model was trained on other features: crop: 64 != 48" in run.stderr
    assert "no such model folder" in error_line(hrpro(*detect[:3], tmp_path / "none"))
    assert "not a model folder" in error_line(hrpro(*detect[:3], tmp_path))
