"""Suggestions of what to label next."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from tiny_datasets import CLASSES, DIM, PRESET, make_dataset

from hrpro.annotations import read_ground_truth
from hrpro.cli import main
from hrpro.errors import DataError, UsageError
from hrpro.features import Fingerprint, Sidecar, write_features
from hrpro.localize.proposals.generate import temporal_iou
from hrpro.pipeline.console.progress import Failure, Summary
from hrpro.pipeline.datasets import missing_features as missing
from hrpro.pipeline.detectors.trained import TrainedDetector
from hrpro.pipeline.label.suggest import MIN_SCORE, entropy, suggest, uncertainty
from hrpro.pipeline.label.suggestions import read_suggestions
from hrpro.pipeline.render.palette import result_colors
from hrpro.pipeline.results.formats import read_results


def with_videos(folder):
    """Add empty video files and sidecars, as if the features were made from them."""
    for path in sorted((folder / "features").rglob("*.npy")):
        features = np.load(path)
        path.unlink()
        sidecar = Sidecar(fingerprint=Fingerprint(), dim=DIM)
        write_features(folder / "features" / path.name, features, sidecar)
        (folder / "videos").mkdir(exist_ok=True)
        (folder / "videos" / f"{path.stem}.mp4").touch()
    return folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return with_videos(make_dataset(tmp_path_factory.mktemp("data") / "easy"))


@pytest.fixture(scope="module")
def model(dataset, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("run") / "model"
    run = CliRunner().invoke(
        main,
        ["train", "--dataset", str(dataset), "--run-dir", str(run_dir), "--preset", PRESET, "-q"],
    )
    assert run.exit_code == 0, run.output
    return run_dir


def test_suggestions_are_the_actions_of_every_video(dataset, model):
    path = suggest(dataset, model)
    assert path == dataset / "label/suggestions.json"
    value = json.loads(path.read_text())
    assert value["model"] == str(model)
    truth = read_ground_truth(dataset / "annotations.json")
    assert set(value["videos"]) == set(truth)
    found = 0
    for name, entry in value["videos"].items():
        assert 0 <= entry["uncertainty"] <= 1
        scores = [each["score"] for each in entry["detections"]]
        assert scores == sorted(scores, reverse=True)
        assert all(score >= MIN_SCORE for score in scores)
        for action in truth[name].actions:
            found += any(
                each["label"] == action.label
                and temporal_iou(each["start_s"], each["end_s"], action.start_s, action.end_s) > 0.5
                for each in entry["detections"]
            )
    assert found >= 22  # of 24


def test_the_label_page_reads_them(dataset, model):
    suggestions = read_suggestions(suggest(dataset, model))
    assert suggestions.model == str(model)
    assert suggestions.video("test_0").detections
    assert {each.label for each in suggestions.video("test_0").detections} <= set(CLASSES)


def test_a_detection_is_suggested_once(dataset, model):
    """Soft-NMS keeps weaker detections of the same action; a person wants to see one."""
    value = json.loads(suggest(dataset, model, min_score=0).read_text())
    for entry in value["videos"].values():
        for label in CLASSES:
            of_class = [d for d in entry["detections"] if d["label"] == label]
            for number, one in enumerate(of_class):
                for other in of_class[:number]:
                    overlap = temporal_iou(
                        one["start_s"], one["end_s"], other["start_s"], other["end_s"]
                    )
                    assert overlap <= 0.31


def test_a_video_like_no_other_is_more_uncertain(dataset, model, tmp_path):
    """Features half way between classes, as in a video that the training has nothing like."""
    known = [np.load(dataset / f"features/train_{n}.npy") for n in range(4)]
    blurred = np.mean(known, axis=0).astype(np.float32)
    sidecar = Sidecar(fingerprint=Fingerprint(), dim=DIM)
    write_features(dataset / "features/odd.npy", blurred, sidecar)
    (dataset / "videos/odd.mp4").touch()
    try:
        videos = json.loads(suggest(dataset, model).read_text())["videos"]
    finally:
        (dataset / "videos/odd.mp4").unlink()
    train = [entry["uncertainty"] for name, entry in videos.items() if name.startswith("train")]
    assert videos["odd"]["uncertainty"] > np.median(train)


def test_missing_features_are_extracted_as_the_model_needs_them(
    dataset, model, tmp_path, monkeypatch
):
    calls = []

    def extract(inputs, *, out, only, settings, **options):
        recipe = settings.recipe
        calls.append((sorted(only), recipe["crop"], recipe["stride"], recipe["stream"]))
        sidecar = Sidecar(fingerprint=Fingerprint(), dim=DIM)
        write_features(out / "new.npy", np.ones((9, DIM), np.float32), sidecar)
        return Summary(done=["new"], failed=[Failure("bad.mp4", "damaged")])

    monkeypatch.setattr(missing, "extract_features", extract)
    folder = tmp_path / "own"
    (folder / "videos").mkdir(parents=True)
    (folder / "dataset.yaml").write_text("excluded_videos: [left out]\n")
    for name in ("new", "bad"):
        (folder / f"videos/{name}.mp4").touch()
    value = json.loads(suggest(folder, model, stream=2).read_text())
    assert calls == [(["bad", "new"], 224, 16, 2)]
    assert set(value["videos"]) == {"new"}


def test_unusable_input_is_one_line_and_keeps_the_suggestions(dataset, model, tmp_path):
    before = suggest(dataset, model).read_bytes()
    with pytest.raises(DataError, match="not a model folder"):
        suggest(dataset, tmp_path)
    sidecar = Sidecar(fingerprint=Fingerprint(stride=8), dim=DIM)
    write_features(dataset / "features/other.npy", np.ones((9, DIM), np.float32), sidecar)
    (dataset / "videos/other.mp4").touch()
    try:
        with pytest.raises(DataError, match=r"other.npy: the model was trained on .*stride"):
            suggest(dataset, model)
    finally:
        (dataset / "videos/other.mp4").unlink()
    assert (dataset / "label/suggestions.json").read_bytes() == before
    (tmp_path / "empty/videos").mkdir(parents=True)
    with pytest.raises(UsageError, match="no videos"):
        suggest(tmp_path / "empty", model)


scores = st.lists(st.floats(0, 1), max_size=30)


@given(scores, scores)
def test_uncertainty_is_between_0_and_1(video_scores, detection_scores):
    assert 0 <= uncertainty(np.array(video_scores), np.array(detection_scores)) <= 1


def test_uncertainty_is_high_for_many_middling_scores():
    def of(video_scores, detection_scores):
        return uncertainty(np.array(video_scores), np.array(detection_scores))

    assert of([0.0, 1.0], [1.0, 1.0]) < 1e-6
    assert of([0.5], [0.5] * 10) == pytest.approx(1)
    assert of([0.5], []) == pytest.approx(0.5)
    assert of([1.0], [0.5] * 3) == pytest.approx(0.15)
    assert of([1.0], [0.5] * 3) > of([1.0], [0.5, 0.9, 0.9]) > of([1.0], [0.9] * 3)
    assert of([0.6, 0.99], [0.9]) > of([0.9, 0.99], [0.9])
    assert entropy(np.array([0.5, 0, 1, 0.25])) == pytest.approx([1, 0, 0, 0.811278], abs=1e-6)


def test_a_model_of_earlier_names_says_so_and_is_shown_under_the_present_ones(tmp_path):
    """A trained model keeps its names; its dataset knows what has become of them."""
    folder = with_videos(make_dataset(tmp_path / "own"))
    settings = 'classes: [jump, run, throw]\nlabel: {colors: {run: "#123456"}}\n'
    (folder / "dataset.yaml").write_text(settings)
    run_dir = tmp_path / "model"
    words = ["train", "--dataset", str(folder), "--run-dir", str(run_dir), "--preset", PRESET]
    assert CliRunner().invoke(main, [*words, "-q"]).exit_code == 0
    words = ["dataset", "classes", "rename", str(folder), "jump", "leap"]
    assert CliRunner().invoke(main, words).exit_code == 0

    detector = TrainedDetector(run_dir)
    (note,) = detector.notes()
    assert "'jump' is 'leap'" in note and f"hrpro train --dataset {folder}" in note
    assert detector.describe()["colors"] == {"run": "#123456"}
    found = read_suggestions(suggest(folder, run_dir)).renamed({"jump": "leap"})
    assert {each.label for v in found.videos.values() for each in v.detections} == {
        "leap", "run", "throw",
    }  # fmt: skip

    words = ["eval", "--model", str(run_dir), "--dataset", str(folder), "--per-class"]
    run = CliRunner().invoke(main, [*words, "-o", str(tmp_path / "r.json")])
    assert run.exit_code == 0, run.output
    assert "measured under the present names" in run.output
    results = read_results(tmp_path / "r.json")
    assert {each.label for v in results.videos for each in v.detections} <= {"leap", "run", "throw"}
    assert result_colors(results)["run"] == "#123456"
