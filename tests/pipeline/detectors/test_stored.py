"""Detection in features that are there: used where they fit, made anew where they do not."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import fake_worker
import numpy as np
import pytest
from tiny_datasets import DIM, PRESET, make_dataset
from videos import make_video

import hrpro
from hrpro.annotations import read_ground_truth
from hrpro.errors import DataError, UsageError
from hrpro.extract.config import ExtractConfig
from hrpro.features import Fingerprint, Sidecar, VideoFacts, WeightsId, write_features
from hrpro.pipeline.detect import detect_videos
from hrpro.pipeline.detectors.base import DetectOptions
from hrpro.pipeline.outputs import OutputPlan
from hrpro.pipeline.workers.work import WorkerSettings


class Detector(fake_worker.FakeDetector):
    extract_config = ExtractConfig(streams=("rgb",))
    any_streams = False

    def check(self, fingerprint, dim, allow_mixed):
        if fingerprint.weights:
            raise DataError("made with other weights")
        return ""


@pytest.fixture
def log(tmp_path, monkeypatch):
    """The videos that a worker has looked at."""
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "log"))
    monkeypatch.setattr("hrpro.pipeline.detect.build_detection", fake_worker.build_detection)
    monkeypatch.setattr(
        "hrpro.pipeline.detectors.worker.load_detector", lambda model, device=None: Detector()
    )
    path = tmp_path / "log"
    return lambda: sorted(path.read_text().split()) if path.exists() else []


@pytest.fixture
def detect(tmp_path):
    """Detect in a dataset of two videos; tells what was found in which, and what was said."""
    said: list[str] = []
    reporter = SimpleNamespace(
        quiet=True, line=said.append, problem=said.append, note=said.append, detail=said.append,
        batch=fake_batch, advance=lambda *given: None,
    )  # fmt: skip
    run = partial(detect_videos, options=DetectOptions(model="runs/a"), reporter=reporter)

    def detect(inputs, **options):
        plan = OutputPlan((tmp_path / "r.json",))
        results, summary = run([str(each) for each in inputs], plan, **options)
        assert all(len(video.detections) == 1 for video in results.videos)
        return [video.video_id for video in results.videos], summary, said

    return detect


class fake_batch:
    def __init__(self, *given):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


def features_of(video, path, **changes):
    facts = video.stat()
    sidecar = Sidecar(
        fingerprint=Fingerprint(**changes),
        video=VideoFacts(size_bytes=facts.st_size, mtime_ns=facts.st_mtime_ns, duration_s=2.0),
        dim=4,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_features(path, np.ones((3, 4), np.float32), sidecar)


@pytest.fixture
def dataset(tmp_path):
    folder = tmp_path / "tennis"
    for name in ("a", "b"):
        make_video(folder / "videos" / f"{name}.mp4", 50)
    (folder / "dataset.yaml").write_text("classes: [jump]\n")
    return folder


def test_features_of_a_dataset_are_used(dataset, detect, log):
    videos = [dataset / "videos" / f"{name}.mp4" for name in "ab"]
    features_of(videos[0], dataset / "features" / "train" / "a.npy")
    names, summary, said = detect([dataset])
    assert names == ["a", "b"]
    assert log() == ["b.mp4"]
    assert "features of 1 of 2 videos are there already" in said
    assert summary.done == ["a.mp4", "b.mp4"]
    features_of(videos[1], dataset / "features" / "test" / "b.npy")
    names, summary, said = detect(videos)  # named one by one
    assert names == ["a", "b"]
    assert log() == ["b.mp4"]
    assert summary.done == ["a.mp4", "b.mp4"]


def test_features_of_another_folder(dataset, detect, log, tmp_path):
    features_of(dataset / "videos" / "a.mp4", tmp_path / "mine" / "a.npy")
    detect([dataset], features=tmp_path / "mine")
    assert log() == ["b.mp4"]


@pytest.mark.parametrize(
    "changes",
    [{"stride": 8}, {"streams": ("rgb", "flow")}, {"weights": {"rgb": {"sha256": "0"}}}],
)
def test_features_that_do_not_fit_are_made_anew(dataset, detect, log, changes):
    features_of(dataset / "videos" / "a.mp4", dataset / "features" / "a.npy", **changes)
    assert detect([dataset])[0] == ["a", "b"]
    assert log() == ["a.mp4", "b.mp4"]


def test_features_of_another_recipe_than_asked_for_are_made_anew(dataset, detect, log):
    features_of(dataset / "videos" / "a.mp4", dataset / "features" / "a.npy")
    detect([dataset], settings=WorkerSettings({"stride": 4}))
    assert log() == ["a.mp4", "b.mp4"]


def test_features_of_a_video_that_has_changed_are_made_anew(dataset, detect, log):
    features_of(dataset / "videos" / "a.mp4", dataset / "features" / "a.npy")
    make_video(dataset / "videos" / "a.mp4", 60)
    detect([dataset])
    assert log() == ["a.mp4", "b.mp4"]


def test_damaged_features_are_made_anew(dataset, detect, log):
    features_of(dataset / "videos" / "a.mp4", dataset / "features" / "a.npy")
    (dataset / "features" / "a.npy").write_bytes(b"nothing")
    detect([dataset])
    assert log() == ["a.mp4", "b.mp4"]


def test_wrong_folders_are_refused(dataset, detect, tmp_path):
    with pytest.raises(UsageError, match=r"no features \(\.npy\) in this folder"):
        detect([dataset], features=dataset / "videos")
    features_of(dataset / "videos" / "a.mp4", tmp_path / "mine" / "a.npy")
    with pytest.raises(UsageError, match="--features goes with --model"):
        detect([dataset], features=tmp_path / "mine", options=DetectOptions())


def test_a_trained_model_needs_no_worker_where_all_features_are_there(tmp_path, monkeypatch):
    """From the features of a dataset to events, without a network of pictures."""
    folder = make_dataset(tmp_path / "easy")
    made = Fingerprint(weights={"rgb": WeightsId(sha256="0" * 64)})
    for path in (folder / "features").rglob("*.npy"):
        video = folder / "videos" / f"{path.stem}.mp4"
        if path.stem == "test_0":
            make_video(video, 640)
        facts = video.stat() if video.exists() else None
        sidecar = Sidecar(
            fingerprint=made,
            video=VideoFacts(
                size_bytes=facts.st_size if facts else 0,
                mtime_ns=facts.st_mtime_ns if facts else 0,
                duration_s=25.6,
                num_frames=640,
            ),
            dim=DIM,
        )
        write_features(path, np.load(path), sidecar)
    settings = {"localize.updates": 40, "dataset.tiou": [0.5]}
    hrpro.train(folder, run_dir=tmp_path / "run", preset=PRESET, settings=settings, seed=1)

    def no_worker(*arguments):
        raise AssertionError("a worker was asked for")

    monkeypatch.setattr("hrpro.pipeline.detect.build_detection", no_worker)
    options = DetectOptions(model=str(tmp_path / "run"))
    results, summary = detect_videos([str(folder / "videos")], OutputPlan(), options)
    assert summary.done == ["test_0.mp4"]
    truth = read_ground_truth(folder / "annotations.json")["test_0"]
    best = results.video("test_0").detections[0]
    assert best.label in truth.labels
    assert 0 <= best.start_s < best.end_s <= 25.6
