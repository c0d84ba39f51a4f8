"""Both stages of HR-Pro on an easy little dataset: learning, run folders, models, detection."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_datasets import CLASSES, DIM, PRESET, SNIPPET_S, SNIPPETS, make_dataset

from hrpro.errors import DataError, UsageError
from hrpro.extract.video_progress import VideoFeatures
from hrpro.features import Fingerprint, Sidecar, VideoFacts, WeightsId
from hrpro.localize.config import resolve_dataset
from hrpro.localize.data.dataset import load_dataset
from hrpro.localize.data.sequences import DatasetSequences
from hrpro.localize.evaluation.measure import from_json, to_json
from hrpro.localize.methods import find_method, get_method
from hrpro.localize.methods.hrpro.config import HrproConfig
from hrpro.localize.methods.hrpro.localizer import snippet_boxes
from hrpro.localize.methods.hrpro.method import HrproMethod, rank_proposals
from hrpro.localize.training.model_files import FILES
from hrpro.localize.training.model_folder import BEST, FeaturesNeeded, load_model, save_model
from hrpro.localize.training.run import Observer, TrainingRun
from hrpro.pipeline.detectors.trained import TrainedDetector, extract_config

CPU = torch.device("cpu")


def make_run(folder, dataset, *overrides, stage=None, observer=None, **options):
    """Train; return the results of the stages."""
    path, config = resolve_dataset(dataset, overrides, preset=PRESET)
    data = load_dataset(path, config.dataset)
    observers = [observer] if observer else []
    run = TrainingRun(folder, data, config, CPU, observers=observers, **options)
    return run.run([stage] if stage else None)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    return folder, make_run(folder, dataset)


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def history(folder: Path) -> dict:
    return {k: v for k, v in json.loads((folder / "history.json").read_text()).items()
            if k != "seconds"}  # fmt: skip


def test_both_stages_learn(trained):
    folder, (first, second) = trained
    assert first.last.average > 0.9
    assert second.last.average > 0.9
    assert first.best.average >= first.last.average
    notes = history(folder / "stage1")
    assert [entry["update"] for entry in notes["evaluations"]] == [20, 40, 60]
    totals = [entry["losses"]["total"] for entry in notes["evaluations"]]
    assert totals[-1] < totals[0] / 2
    losses = [entry["losses"]["total"] for entry in history(folder / "stage2")["evaluations"]]
    assert losses[-1] < losses[0]


def test_run_folder_is_the_model_of_the_last_stage(trained):
    folder, (first, second) = trained
    for place in (folder, folder / BEST, folder / "stage1", folder / "stage1" / BEST):
        assert {name for name in FILES if (place / name).is_file()} == set(FILES)
    assert weights(folder) == weights(folder / "stage2") != weights(folder / "stage1")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (metrics["stage"], metrics["weights"], metrics["update"]) == (2, "last", 8)
    assert from_json(metrics["test"]).average == second.last.average
    best = json.loads((folder / "stage1" / BEST / "metrics.json").read_text())
    assert (best["weights"], best["update"]) == (BEST, first.best_update)
    assert not list(folder.rglob("checkpoint*"))
    assert not [p for p in folder.rglob("*") if p.suffix in {".pkl", ".pt", ".pth", ".part"}]


def test_same_seed_same_model(trained, dataset, tmp_path):
    folder, _ = trained
    make_run(tmp_path / "again", dataset)
    make_run(tmp_path / "other", dataset, "localize.seed=1")
    assert weights(tmp_path / "again") == weights(folder) != weights(tmp_path / "other")
    for stage in ("stage1", "stage2"):
        assert history(tmp_path / "again" / stage) == history(folder / stage)


class Kill(Observer):
    """Ends the training in a stage after an update, as a crash would."""

    def __init__(self, stage: int, update: int) -> None:
        self.stage, self.update = stage, update

    def updates(self, stage, updates):
        if stage == self.stage and updates[-1][0] >= self.update:
            raise RuntimeError("killed")


@pytest.mark.parametrize(("stage", "update"), [(1, 30), (2, 5)])
def test_resumed_run_equals_an_uninterrupted_one(trained, dataset, tmp_path, stage, update):
    with pytest.raises(RuntimeError, match="killed"):
        make_run(tmp_path, dataset, observer=Kill(stage, update), save_every_s=0)
    assert (tmp_path / f"stage{stage}" / "checkpoint.safetensors").exists()
    make_run(tmp_path, dataset, resume=True)
    folder, _ = trained
    for place in (".", BEST, "stage1", f"stage1/{BEST}"):
        assert weights(tmp_path / place) == weights(folder / place)
    for name in ("stage1", "stage2"):
        assert history(tmp_path / name) == history(folder / name)


def test_stages_alone_are_the_same_as_together(trained, dataset, tmp_path):
    (first,) = make_run(tmp_path, dataset, stage=1)
    assert first.stage == 1
    assert load_model(tmp_path).num_stages == 1
    make_run(tmp_path, dataset, stage=2)
    assert load_model(tmp_path).num_stages == 2
    folder, _ = trained
    assert weights(tmp_path) == weights(folder)
    # Stage 2 in a folder of its own, on the stage 1 of another run.
    make_run(tmp_path / "two", dataset, stage=2, stage1=folder / "stage1")
    assert weights(tmp_path / "two") == weights(folder)


def test_stage_2_may_build_on_the_best_on_test(trained, dataset, tmp_path):
    shutil.copytree(trained[0] / "stage1", tmp_path / "stage1")
    make_run(tmp_path, dataset, "localize.stage2.stage1_weights=best-on-test", stage=2)
    best, last = load_model(tmp_path / "stage1" / BEST), load_model(tmp_path / "stage1")
    used = load_model(tmp_path).localizer.snippets.classifier.weight
    assert torch.equal(used, best.localizer.snippets.classifier.weight)
    assert not torch.equal(used, last.localizer.snippets.classifier.weight)


@pytest.mark.parametrize(
    ("stage", "override"),
    [
        (1, "localize.snippet.action_targets=pseudo"),
        (1, "localize.ema=0.9"),
        (1, "localize.precision=bfloat16"),
        (2, "localize.instance.class_aware_matching=true"),
        (2, "localize.instance.offset_sign=minus"),
        (2, "localize.stage2.negative_ratio=0"),
    ],
)
def test_switches_change_the_model(trained, dataset, tmp_path, stage, override):
    folder, _ = trained
    options = {"stage1": folder / "stage1"} if stage == 2 else {}
    (result,) = make_run(tmp_path, dataset, override, stage=stage, **options)
    assert result.last.average > 0.5
    assert weights(tmp_path) != weights(folder / f"stage{stage}")


def test_exact_iou_changes_the_scores(dataset, trained, tmp_path):
    found = []
    for iou in ("legacy", "exact"):
        shutil.copytree(trained[0], tmp_path / iou)
        config = tmp_path / iou / "config.yaml"
        config.write_text(config.read_text().replace("iou: legacy", f"iou: {iou}"))
        found.append(load_model(tmp_path / iou).localizer.localize(sequences(dataset)))
    assert len(found[0]) == len(found[1])
    assert found[0].score.sum() != found[1].score.sum()


def sequences(dataset, subset="test"):
    data = load_dataset(dataset)
    return DatasetSequences(data, getattr(data, subset), CPU)


def test_every_candidate_gives_two_detections(dataset, trained):
    localizer = load_model(trained[0]).localizer
    videos = sequences(dataset)
    candidates, _ = localizer.snippet_proposals(videos)
    both = localizer.refine(videos, candidates)
    plain, refined = both[: len(candidates)], both[len(candidates) :]
    np.testing.assert_array_equal(plain.start_s, candidates.start_s)
    np.testing.assert_array_equal(refined.label, candidates.label)
    # One video at a time, and every candidate for itself, however often its box occurs.
    for index, video in enumerate(videos):
        rows = candidates.video == index
        boxes = torch.from_numpy(snippet_boxes(videos, candidates)[rows])
        (one,) = localizer.instances.predict([video.features], [boxes])
        completeness = plain.score[rows] - candidates.score[rows]
        np.testing.assert_allclose(completeness, one.completeness.numpy(), atol=1e-6)
        again = refined.score[rows] - candidates.score[rows]
        np.testing.assert_allclose(again, one.refined_completeness.numpy(), atol=1e-6)
        start_s = one.refined[:, 0].numpy() * SNIPPET_S
        np.testing.assert_allclose(refined.start_s[rows], start_s, atol=1e-5)


def test_proposals_are_ranked_by_their_reliability(dataset, trained):
    data = load_dataset(dataset)
    videos = sequences(dataset, "train")
    localizer = load_model(trained[0]).localizer
    ranked = rank_proposals(localizer, data, videos, 0.5, np.random.default_rng(0))
    candidates, _ = localizer.snippet_proposals(videos)
    for index, (video, found) in enumerate(zip(data.train, ranked, strict=True)):
        num_positive = int((candidates.video == index).sum())
        negative = found.proposals[found.labels == -1]
        assert len(found.proposals) == num_positive + num_positive // 2
        assert len(negative) == num_positive // 2
        assert len(found.reliable) == len(video.points)  # one each, and no two share one
        for point in video.points:
            contains = (found.reliable[:, 0] <= point.snippet + 1) & (
                found.reliable[:, 1] >= point.snippet
            )
            assert (contains & (found.reliable_labels == point.class_index)).any()
            at = point.time_s / SNIPPET_S
            assert not ((negative[:, 0] < at - 1) & (negative[:, 1] > at + 1)).any()


def test_fewer_videos_than_a_batch_still_train(tmp_path):
    data = make_dataset(tmp_path / "data", num_train=3)
    first, second = make_run(tmp_path / "run", data, "localize.stage2.batch_videos=10")
    assert (first.num_updates, second.num_updates) == (60, 8)


def test_without_ground_truth_it_trains_and_measures_nothing(tmp_path):
    data = make_dataset(tmp_path / "data", ground_truth=False)
    first, second = make_run(tmp_path / "run", data)
    assert first.last is first.best is second.last is second.best is None
    assert not (tmp_path / "run" / BEST).exists()
    model = load_model(tmp_path / "run")
    assert model.metrics["test"] is None
    assert len(model.localizer.localize(sequences(data)))


def refusal(kind, *arguments, **options) -> str:
    with pytest.raises(kind) as error:
        make_run(*arguments, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_run_folder_is_not_overwritten_or_mixed(trained, dataset, tmp_path):
    folder, _ = trained
    assert "--resume" in refusal(UsageError, folder, dataset)
    text = refusal(UsageError, folder, dataset, "localize.lr=1", resume=True)
    assert "localize.lr: 0.002 then, 1.0 now" in text
    other = make_dataset(tmp_path / "other", num_train=7)
    assert "have changed" in refusal(UsageError, folder, other, resume=True)


def test_stage_2_needs_a_fitting_stage_1(trained, dataset, tmp_path):
    folder, _ = trained
    assert "train it first" in refusal(DataError, tmp_path, dataset, stage=2)
    text = refusal(DataError, tmp_path, dataset, stage=2, stage1=folder)
    assert "is a model of 2 stages" in text
    text = refusal(
        DataError, tmp_path, dataset, "localize.snippet.num_blocks=1", stage=2,
        stage1=folder / "stage1",
    )  # fmt: skip
    assert "trained with other localize.snippet" in text
    assert not list(tmp_path.iterdir())
    text = refusal(UsageError, tmp_path, dataset, "localize.snippet.num_heads=5")
    assert "num_heads 5 does not divide the feature width 16" in text
    assert not list(tmp_path.iterdir())


def test_finished_run_is_left_as_it_is(trained, dataset, tmp_path):
    shutil.copytree(trained[0], tmp_path / "run")
    before = (tmp_path / "run" / "stage2" / "model.safetensors").stat().st_mtime_ns
    _, second = make_run(tmp_path / "run", dataset, resume=True)
    assert (tmp_path / "run" / "stage2" / "model.safetensors").stat().st_mtime_ns == before
    assert second.last.average == trained[1][1].last.average


def test_model_folder_holds_everything(trained, dataset, tmp_path):
    shutil.copytree(trained[0], tmp_path / "model", copy_function=shutil.copyfile)
    videos = sequences(dataset)
    model = load_model(tmp_path / "model")
    assert model.classes == CLASSES
    assert model.features == FeaturesNeeded(dim=DIM)
    save_model(
        tmp_path / "copy", model.localizer, 2, model.config, model.classes, model.features, {}
    )
    for one, other in zip(
        vars(model.localizer.localize(videos)).values(),
        vars(load_model(tmp_path / "copy").localizer.localize(videos)).values(),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.safetensors", b"garbage", "damaged, or not of the same model"),
        ("model.safetensors", None, "no model.safetensors"),
        ("classes.txt", b"jump\n", "damaged, or not of the same model"),
        ("config.yaml", b"localize: {lrr: 1}", "did you mean 'lr'|did you mean 'localize.lr'"),
        ("fingerprint.json", b'{"dim": 0}', "fingerprint.json: damaged"),
        ("metrics.json", b"{", "not valid JSON"),
    ],
)
def test_damaged_model_folder_is_one_line(trained, tmp_path, name, content, message):
    shutil.copytree(trained[0], tmp_path / "m")
    (tmp_path / "m" / name).unlink()
    if content is not None:
        (tmp_path / "m" / name).write_bytes(content)
    with pytest.raises((DataError, UsageError), match=message) as error:
        load_model(tmp_path / "m")
    assert "\n" not in str(error.value)


def test_classes_can_be_chosen(trained, dataset):
    localizer = load_model(trained[0]).localizer
    found = localizer.localize(sequences(dataset), [1])
    assert set(found.label) == {1}
    assert set(found.video) == {0, 1, 2, 3}  # looked for everywhere


def test_sequences_are_those_of_the_dataset(dataset):
    data = load_dataset(dataset)
    videos = DatasetSequences(data, data.test, CPU)
    assert len(videos) == len(videos[:]) == 4
    assert videos[1].features.shape == (SNIPPETS, DIM)
    np.testing.assert_array_equal(videos[1].features, data.features(data.test[1]))
    assert videos[1].grid == data.test[1].grid


def test_metrics_come_back_as_they_were(trained):
    precision = trained[1][0].last
    again = from_json(json.loads(json.dumps(to_json(precision))))
    assert again.tious == precision.tious
    assert again.classes == precision.classes
    np.testing.assert_array_equal(again.per_class, precision.per_class)


# Detection with a trained model.

FINGERPRINT = Fingerprint(weights={"rgb": WeightsId(sha256="a" * 64)})


def video_features(dataset, index: int = 0, fingerprint=FINGERPRINT) -> VideoFeatures:
    data = load_dataset(dataset)
    video = data.test[index]
    facts = VideoFacts(duration_s=video.duration_s, num_snippets=video.num_snippets)
    sidecar = Sidecar(fingerprint=fingerprint, video=facts, dim=DIM)
    return VideoFeatures(data.features(video).copy(), None, sidecar, None, None)


@pytest.fixture
def detector(trained, tmp_path):
    shutil.copytree(trained[0], tmp_path / "model")
    features = FeaturesNeeded(dim=DIM, fingerprint=FINGERPRINT)
    (tmp_path / "model" / "fingerprint.json").unlink()
    (tmp_path / "model" / "fingerprint.json").write_text(features.model_dump_json())
    return TrainedDetector(tmp_path / "model")


def test_detector_gives_the_numbers_of_the_evaluation(detector, dataset):
    found = detector.model.localizer.localize(sequences(dataset))
    for index in range(4):
        video = video_features(dataset, index)
        detections = detector.detect(video)
        duration_s = video.sidecar.video.duration_s
        own = found[found.video == index]
        own = own[own.start_s.clip(0, duration_s) < own.end_s.clip(0, duration_s)]
        columns = (own.score, own.start_s.clip(0), own.end_s.clip(max=duration_s))
        actual = [(each.score, each.start_s, each.end_s) for each in detections]
        np.testing.assert_allclose(actual, np.stack(columns, axis=1), atol=6e-4)
        assert detections[0].label == CLASSES[own.label[0]]


def test_detector_looks_for_chosen_classes(detector, dataset):
    labels = {each.label for each in detector.detect(video_features(dataset), ["throw"])}
    assert labels == {"throw"}
    with pytest.raises(UsageError, match="no class 'trow'; did you mean 'throw'"):
        detector.detect(video_features(dataset), ["trow"])


def test_detector_says_what_it_is(detector):
    about = detector.describe()
    assert (about["name"], about["stage"], about["weights"]) == ("hrpro", 2, "last")
    assert detector.extract_config.streams == ("rgb",)
    assert not detector.any_streams


def test_other_features_are_refused(detector):
    assert detector.check(FINGERPRINT, DIM, False) == ""
    other = FINGERPRINT.model_copy(
        update={"stride": 8, "weights": {"rgb": WeightsId(sha256="b" * 64)}}
    )
    with pytest.raises(DataError, match=r"stride: 16 != 8; weights of rgb: a+ != b+; --allow-mix"):
        detector.check(other, DIM, False)
    assert "stride: 16 != 8" in detector.check(other, DIM, True)
    with pytest.raises(DataError, match="channels: 16 != 32"):
        detector.check(FINGERPRINT, 32, True)


def test_features_of_unknown_origin_have_to_be_accepted():
    unknown = FeaturesNeeded(dim=2048)
    with pytest.raises(DataError, match="do not say how they were made"):
        unknown.check(2048, FINGERPRINT, False)
    assert unknown.check(2048, FINGERPRINT, True)
    assert unknown.check(2048, None, False) == ""
    known = FeaturesNeeded(dim=1024, fingerprint=FINGERPRINT)
    with pytest.raises(DataError, match="these features do not say"):
        known.check(1024, None, False)
    assert extract_config(unknown, "m").streams == ("rgb", "flow")
    with pytest.raises(UsageError, match="16 channels from elsewhere"):
        extract_config(FeaturesNeeded(dim=16), "m")


def test_a_method_is_found_by_its_name():
    assert isinstance(get_method(HrproConfig()), HrproMethod)
    with pytest.raises(UsageError, match=r"no method 'hrpo'; did you mean 'hrpro'"):
        find_method("hrpo")
