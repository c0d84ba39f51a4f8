"""Training on a folder of videos and points: nothing extracted, no start and end marks."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from tiny_datasets import PRESET, make_dataset
from videos import make_video, noise

from hrpro.cli import main
from hrpro.features import Fingerprint, Sidecar, read_sidecar, write_features
from hrpro.pipeline.console.progress import Failure, Reporter, Summary
from hrpro.pipeline.datasets import missing_features as missing
from hrpro.pipeline.datasets.check import check_dataset

QUICK = ("--set", "localize.updates=2", "--set", "localize.stage2.epochs=1", "--no-tensorboard")


def hrpro(*arguments):
    """Run a command in this process; the result has exit_code, stdout and stderr."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def error_line(run) -> str:
    assert run.exit_code == 2, run.output
    *_, last = run.stderr.strip().splitlines()
    assert last.startswith("error: ")
    return last


# Start and end marks


def with_marks(source, target, subsets, change=lambda annotation: annotation):
    """A copy of a dataset that has start and end marks of some videos only."""
    shutil.copytree(source, target)
    path = target / "annotations.json"
    truth = json.loads(path.read_text())
    truth["database"] = {
        name: change(annotation)
        for name, annotation in truth["database"].items()
        if annotation["subset"] in subsets
    }
    path.write_text(json.dumps(truth)) if truth["database"] else path.unlink()
    return target


def test_marks_of_training_videos_change_nothing(tmp_path):
    """Not even marks of other classes, with other lengths: identical weights, to the byte."""

    def odd(annotation):
        if annotation["subset"] == "train":
            annotation = {**annotation, "duration": 77, "fps": 12}
            annotation["annotations"] = [{"label": "a mark", "segment": [0, 1]}]
        return annotation

    source = make_dataset(tmp_path / "source", num_train=4, num_test=2)
    weights = []
    for name, subsets in (("none", ()), ("train", ("train",)), ("all", ("train", "test"))):
        folder = with_marks(source, tmp_path / name, subsets, odd)
        run_dir = tmp_path / f"run of {name}"
        run = hrpro(
            "train", "--dataset", folder, "--run-dir", run_dir, "--preset", PRESET,
            "--set", "localize.updates=8", "--no-tensorboard",
        )  # fmt: skip
        assert run.exit_code == 0, run.output
        assert ("nothing can be measured" in run.stdout) == ("test" not in subsets)
        weights.append((run_dir / "model.safetensors").read_bytes())
    assert weights[0] == weights[1] == weights[2]


def test_only_marked_test_videos_are_measured(tmp_path):
    source = make_dataset(tmp_path / "source", num_train=4, num_test=3)
    folder = with_marks(source, tmp_path / "data", ("test",))
    path = folder / "annotations.json"
    truth = json.loads(path.read_text())
    del truth["database"]["test_1"]
    path.write_text(json.dumps(truth))
    run = hrpro("train", "--dataset", folder, "--run-dir", tmp_path / "run", *QUICK)
    assert run.exit_code == 0, run.output
    assert "no ground truth for 1 of 3 test videos (test_1); they are left out of the" in run.stderr
    assert run.stdout.startswith("mAP at tIoU")


# Points


def test_videos_and_classes_without_points_are_named_and_left_out(tmp_path):
    folder = make_dataset(tmp_path / "data", num_train=4, num_test=0, ground_truth=False)
    rows = (folder / "points.csv").read_text().splitlines(keepends=True)
    rows = [row for row in rows if not row.startswith("train_2,")]
    (folder / "points.csv").write_text("".join(rows))
    (folder / "dataset.yaml").write_text("classes: [dive, jump, run, throw]\n")
    run = hrpro("train", "--dataset", folder, "--run-dir", tmp_path / "run", *QUICK)
    assert run.exit_code == 0, run.output
    assert "1 of 4 training videos have no point (train_2); they are left out" in run.stderr
    assert "1 of 4 classes have no point (dive); they cannot be learned" in run.stderr
    assert ": 3 training videos, 6 points, 4 classes, 0 test videos, 16 channels" in run.stderr


# Small data sets


def small_line(run) -> str:
    assert run.exit_code == 0, run.output
    return next((x for x in run.stderr.splitlines() if x.startswith("small data set")), "")


def test_small_data_sets_have_a_preset_of_their_own(tmp_path):
    folder = make_dataset(tmp_path / "data", num_train=4, num_test=0, ground_truth=False)

    def train(name: str, *options) -> str:
        run_dir = tmp_path / name
        return small_line(hrpro("train", "--dataset", folder, "--run-dir", run_dir, *options))

    line = train("a", "--set", "localize.updates=2")
    assert line.startswith("small data set (4 videos, 8 points): preset small: localize.")
    assert " instead of " in line
    assert line.endswith(" (--preset custom keeps those)")
    assert "localize.updates" not in line  # what the person sets stays
    assert "updates: 2\n" in (tmp_path / "a/config.yaml").read_text()
    assert not train("b", "--preset", "custom", *QUICK)
    (folder / "dataset.yaml").write_text("preset: gtea\n")
    assert not train("c", *QUICK)
    (folder / "dataset.yaml").write_text("preset: custom\n")
    assert train("d", "--set", "localize.updates=2")


def test_the_preset_custom_is_for_larger_ones(tmp_path):
    folder = make_dataset(tmp_path / "data", num_train=30, num_test=0, ground_truth=False)
    assert not small_line(hrpro("train", "--dataset", folder, "--run-dir", tmp_path / "a", *QUICK))


# Features that are missing


@pytest.fixture
def extracted(monkeypatch):
    """Stand-in for the networks: writes noise, and refuses videos named ``bad``; notes calls."""
    calls = []

    def extract(inputs, *, out, only, settings, reporter, **options):
        recipe = settings.recipe
        calls.append((sorted(only), recipe))
        summary = Summary()
        for name in sorted(only):
            if name == "bad":
                summary.failed.append(Failure(f"{name}.mp4", "damaged"))
                continue
            features = np.random.default_rng(len(name)).random((40, 16), dtype=np.float32)
            made = {key: recipe[key] for key in ("crop", "stride") if key in recipe}
            sidecar = Sidecar(fingerprint=Fingerprint(**made), dim=16)
            write_features(out / f"{name}.npy", features, sidecar)
            summary.done.append(name)
        return summary

    monkeypatch.setattr(missing, "extract_features", extract)
    return calls


@pytest.fixture
def own(tmp_path):
    """Points of two of three training videos, a test video, and one that is in no split."""
    for name in ("a", "b", "c", "bad", "day 1/d", "e"):
        (tmp_path / "footage" / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / "footage" / f"{name}.mp4").touch()
    folder = tmp_path / "own"
    run = hrpro("init", folder, "--videos", tmp_path / "footage", "--classes", "run,jump")
    assert run.exit_code == 0, run.output
    (folder / "split_train.txt").write_text("a\nb\nbad\n")
    (folder / "split_test.txt").write_text("c\n")
    rows = ["a,run,1", "bad,jump,2", "day 1/d,jump,3", "c,run,4"]
    (folder / "points.csv").write_text("\n".join(["video_id,class,time", *rows]))
    return folder


def test_missing_features_are_extracted_first(tmp_path, own, extracted):
    arguments = ("train", "--dataset", own, "--crop", "64", *QUICK)
    run = hrpro(*arguments, "--run-dir", tmp_path / "run")
    assert run.exit_code == 0, run.output
    assert extracted == [(["a", "bad", "c"], {"crop": 64})]
    text = run.stderr
    assert f"features of 3 of 3 videos are missing: extracting them into {own}/features" in text
    assert "2 done, 0 skipped, 1 failed" in text
    assert "cannot be extracted, and so left out of training and evaluation: bad\n" in text
    assert (
        "1 points are in 1 videos of neither split (day 1/d); left out; list the videos in" in text
    )
    assert "own: 1 training videos, 1 points, 2 classes, 1 test videos, 16 channels; " in text
    assert f"      hrpro label {own} --model {tmp_path}/run (accept what it found)" in run.stdout

    again = hrpro(*arguments, "--run-dir", tmp_path / "again")
    assert again.exit_code == 0, again.output
    assert extracted[1:] == [(["bad"], {**extracted[1][1], "crop": 64})]
    other = hrpro("train", "--dataset", own, "--crop", "48", "--run-dir", tmp_path / "other")
    assert "features that were made with other settings (crop: 64 != 48); leave" in error_line(
        other
    )


def test_new_features_are_made_like_those_that_are_there(tmp_path, own, extracted):
    sidecar = Sidecar(fingerprint=Fingerprint(crop=96, stride=8), dim=16)
    write_features(own / "features/a.npy", np.ones((40, 16), np.float32), sidecar)
    run = hrpro("train", "--dataset", own, "--run-dir", tmp_path / "run", *QUICK)
    assert run.exit_code == 0, run.output
    ((names, recipe),) = extracted
    assert names == ["bad", "c"]
    assert (recipe["crop"], recipe["stride"]) == (96, 8)


def test_nothing_is_extracted_before_the_points_are_right(tmp_path, own, extracted):
    (own / "points.csv").write_text("video_id,class,time\n")
    run = hrpro("train", "--dataset", own, "--run-dir", tmp_path / "run")
    assert f"no point labels yet; click once per action in: hrpro label {own}" in error_line(run)
    (own / "points.csv").write_text("video_id,class,time\na,walk,1\n")
    run = hrpro("train", "--dataset", own, "--run-dir", tmp_path / "run")
    assert "unknown class 'walk'; correct it, or add it to the classes: hrpro init" in error_line(
        run
    )
    assert extracted == []


def test_a_name_in_a_split_may_leave_out_the_folder(tmp_path, own, extracted):
    (own / "split_test.txt").write_text("c\nd\n")
    (own / "points.csv").write_text("video_id,class,time\na,run,1\n")
    run = hrpro("train", "--dataset", own, "--run-dir", tmp_path / "run", *QUICK)
    assert run.exit_code == 0, run.output
    assert extracted[0][0] == ["a", "c", "day 1/d"]
    assert "1 training videos, 1 points, 2 classes, 2 test videos" in run.stderr


def test_features_from_elsewhere_are_not_mixed_with_new_ones(tmp_path, own, extracted):
    (own / "features").mkdir()
    np.save(own / "features/a.npy", np.ones((40, 16), np.float32))
    run = hrpro("train", "--dataset", own, "--run-dir", tmp_path / "run")
    assert "features of 1 of 2 train videos are missing" in error_line(run)
    assert extracted == []


def test_complete_features_need_no_videos(tmp_path):
    folder = make_dataset(tmp_path / "data", num_train=4, num_test=1)
    (folder / "videos").mkdir()
    run = hrpro("train", "--dataset", folder, "--run-dir", tmp_path / "run", *QUICK)
    assert run.exit_code == 0, run.output


def test_extract_missing_does_nothing_without_need(own, extracted):
    assert missing.extract_missing(own, reporter=Reporter(quiet=True)).keys() == {"bad"}
    assert extracted[0][0] == ["a", "b", "bad", "c", "day 1/d", "e"]
    assert missing.extract_missing(own, ["a", "e"], reporter=Reporter(quiet=True)) == {}
    assert len(extracted) == 1


@pytest.mark.slow
def test_from_videos_to_detections(rgb_weights, tmp_path):
    """With the real networks: init, points, train, detect in the whole dataset."""
    footage, folder, run_dir = tmp_path / "footage", tmp_path / "own", tmp_path / "run"
    for name in ("a", "b b", "c", "d"):
        make_video(footage / f"{name}.mp4", frames=80, painter=noise())
    (footage / "broken.mp4").write_bytes(b"no video")
    assert hrpro("init", folder, "--videos", footage, "--classes", "wave").exit_code == 0
    names = (folder / "split_train.txt").read_text().splitlines()
    rows = "".join(f"{name},wave,1.5\n" for name in names)
    (folder / "points.csv").write_text(f"video_id,class,time\n{rows}")
    recipe = ("--short-side", "64", "--crop", "64", "--streams", "rgb")
    run = hrpro("train", "--dataset", folder, "--run-dir", run_dir, *QUICK, *recipe)
    assert run.exit_code == 0, run.output
    assert "cannot be extracted, and so left out of training and evaluation: broken\n" in run.stderr
    report = check_dataset(folder)
    assert report.counts["training videos with features"] >= 3
    for path in (folder / "features").glob("*.npy"):
        assert read_sidecar(path).fingerprint.crop == 64

    out = tmp_path / "found.json"
    run = hrpro("detect", folder, "--model", run_dir, "--out", out, "--min-score", "0")
    assert run.exit_code == 1, run.output  # the broken one
    results = json.loads(out.read_text())["results"]
    assert set(results) == {"a", "b b", "c", "d"}
    assert {row["label"] for rows in results.values() for row in rows} == {"wave"}
