"""The student behind each generator and on marks: trained, resumed, measured, as people do it."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from tiny_datasets import CLASSES, DIM, SNIPPETS, make_dataset
from tiny_methods import overrides

from hrpro.cli import main
from hrpro.errors import DataError, UsageError
from hrpro.extract.video_progress import VideoFeatures
from hrpro.features import Fingerprint, Sidecar, VideoFacts, WeightsId
from hrpro.localize.config import load_config, resolve_dataset
from hrpro.localize.data.dataset import load_dataset
from hrpro.localize.data.sequences import DatasetSequences
from hrpro.localize.methods import METHOD_FOR, METHODS, get_method
from hrpro.localize.methods.base import Earlier
from hrpro.localize.methods.student.training_videos import (
    labelled_videos,
    marked_videos,
    pointed_videos,
)
from hrpro.localize.training.model_folder import FeaturesNeeded, load_model
from hrpro.localize.training.run import Observer, TrainingRun
from hrpro.pipeline.detectors.trained import TrainedDetector
from hrpro.pipeline.results.formats import read_results

CPU = torch.device("cpu")
NUM_STAGES = {"hrpro+student": 3, "sal+student": 2, "fustal": 2, "student": 1}
each_method = pytest.mark.parametrize("method", list(NUM_STAGES))


def hrpro(*arguments: object) -> str:
    run = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert run.exit_code == 0, run.output
    return run.stdout


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def train(dataset, tmp_path_factory):
    """Train a method as a person does, once; returns the run folder and what was said."""
    trained: dict[str, tuple[Path, str]] = {}

    def trained_once(method: str) -> tuple[Path, str]:
        if method not in trained:
            folder = tmp_path_factory.mktemp("run") / "run"
            settings = [part for text in overrides(method)[1:] for part in ("--set", text)]
            told = hrpro(
                "train", "--dataset", dataset, "--method", method, "--run-dir", folder,
                "--no-tensorboard", *settings,
            )  # fmt: skip
            trained[method] = folder, told
        return trained[method]

    return trained_once


@each_method
def test_a_person_trains_and_measures_it(method, dataset, train, tmp_path):
    folder, told = train(method)
    last = NUM_STAGES[method]
    assert f"stage {last}, last" in told
    model = load_model(folder)
    assert model.config.localize.method == method
    assert model.num_stages == last
    notes = json.loads((folder / f"stage{last}" / "history.json").read_text())
    assert notes["last"]["average"] > 0.4
    result = tmp_path / "found.json"
    hrpro("eval", "--model", folder, "--dataset", dataset, "-o", result, "--curves")
    assert {video.video_id for video in read_results(result).videos} == {
        f"test_{number}" for number in range(4)
    }


@each_method
def test_its_model_answers_as_every_localizer(method, dataset, train):
    model = load_model(train(method)[0])
    data = load_dataset(dataset, model.config.dataset)
    videos = DatasetSequences(data, data.test, CPU)
    found, candidates = model.localizer.localize(videos), model.localizer.candidates(videos)
    assert set(found.video) == set(candidates.video) == {0, 1, 2, 3}
    assert len(candidates) >= len(found)
    assert set(model.localizer.localize(videos, [1]).label) == {1}
    for video, values, scores in zip(
        videos, model.localizer.activations(videos), model.localizer.video_scores(videos),
        strict=True,
    ):  # fmt: skip
        assert values.shape == (len(video.features), len(CLASSES))
        assert scores.shape == (len(CLASSES),)
        assert (scores >= 0).all() & (scores <= 1).all()


@each_method
def test_it_detects_in_new_videos(method, dataset, train, tmp_path):
    shutil.copytree(train(method)[0], tmp_path / "model")
    fingerprint = Fingerprint(weights={"rgb": WeightsId(sha256="a" * 64)})
    needed = FeaturesNeeded(dim=DIM, fingerprint=fingerprint)
    (tmp_path / "model" / "fingerprint.json").unlink()
    (tmp_path / "model" / "fingerprint.json").write_text(needed.model_dump_json())
    detector = TrainedDetector(tmp_path / "model")
    data = load_dataset(dataset)
    video = data.test[0]
    facts = VideoFacts(duration_s=video.duration_s, num_snippets=video.num_snippets)
    sidecar = Sidecar(fingerprint=fingerprint, video=facts, dim=DIM)
    features = VideoFeatures(data.features(video).copy(), None, sidecar, None, None)
    assert detector.describe()["name"] == method
    shown = {action.label for action in video.actions}
    assert detector.detect(features)[0].label in shown
    assert {found.label for found in detector.detect(features, ["throw"])} == {"throw"}
    assert len(detector.curves(features, ["jump"]).classes["jump"]) == SNIPPETS


def test_the_generator_has_its_say_in_training_and_afterwards(dataset, train):
    """What is measured in training is what the model detects, with the fusion, too."""
    fusion = {"gate": 1.0, "generator_share": 0.3, "generator_segments": 0.5}
    helped = [f"localize.student.fusion={json.dumps(fusion)}"]
    tables = {}
    for name, settings in {"alone": [], "helped": helped}.items():
        config = load_config("sal+student-small", [*overrides("sal+student"), *settings]).localize
        data, method = load_dataset(dataset, needs="labels"), get_method(config)
        localizer = method.build(data.dim, len(data.classes), config, 2)
        localizer.load_state_dict(load_file(train("sal+student")[0] / "model.safetensors"))
        stage = method.stage(2, localizer, data, config, CPU)
        tables[name] = stage.detect()
        after = localizer.localize(DatasetSequences(data, data.test, CPU))
        for column in ("video", "label", "start_s", "end_s", "score"):
            np.testing.assert_array_equal(getattr(tables[name], column), getattr(after, column))
    assert len(tables["helped"]) != len(tables["alone"])


class Kill(Observer):
    """Ends the last stage in its second phase, as a crash would."""

    def __init__(self, stage: int) -> None:
        self.stage = stage

    def updates(self, stage, updates):
        if stage == self.stage and updates[-1][0] >= 40:
            raise RuntimeError("killed")


@each_method
def test_a_resumed_run_equals_an_uninterrupted_one(method, dataset, train, tmp_path):
    folder, _ = train(method)
    path, config = resolve_dataset(dataset, overrides(method), preset="small")
    assert load_model(folder).config == config
    data = load_dataset(path, config.dataset, needs=config.localize.needs)

    for stage in range(1, NUM_STAGES[method]):
        shutil.copytree(folder / f"stage{stage}", tmp_path / f"stage{stage}")

    def run(**options) -> None:
        TrainingRun(tmp_path, data, config, CPU, **options).run()

    with pytest.raises(RuntimeError, match="killed"):
        run(observers=[Kill(NUM_STAGES[method])], save_every_s=0, resume=True)
    run(resume=True)
    ours, theirs = (load_file(f / "model.safetensors") for f in (tmp_path, folder))
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("method", ["hrpro+student", "sal+student", "fustal"])
def test_stages_before_the_student_are_the_generator_alone(method, dataset, train):
    folder, _ = train(method)
    first = load_model(folder / "stage1")
    assert first.localizer.student is None
    data = load_dataset(dataset, first.config.dataset)
    videos = DatasetSequences(data, data.test, CPU)
    alone = first.localizer.generator
    for name in ("localize", "candidates"):
        ours, theirs = getattr(first.localizer, name)(videos), getattr(alone, name)(videos)
        np.testing.assert_array_equal(ours.start_s, theirs.start_s)
    whole = load_model(folder).localizer.state_dict()
    for name, tensor in first.localizer.state_dict().items():
        torch.testing.assert_close(whole[name], tensor, rtol=0, atol=0)


def test_segments_of_points_lie_around_them(dataset, train):
    model = load_model(train("hrpro+student")[0])
    data = load_dataset(dataset, model.config.dataset)
    student = model.config.localize.student
    videos = pointed_videos(data, data, model.localizer.generator, student, CPU)
    assert len(videos) == 8
    for video, given in zip(data.train, videos, strict=True):
        assert sorted(given.segments.labels.tolist()) == sorted(
            point.class_index for point in video.points
        )
        points, (start, end) = given.segments.points, given.segments.bounds.unbind(1)
        assert ((start <= points) & (points <= end)).all()


def test_segments_of_labels_are_of_the_videos_classes(dataset, train):
    model = load_model(train("sal+student")[0])
    data = load_dataset(dataset, model.config.dataset, needs="labels")
    student = model.config.localize.student
    videos = labelled_videos(data, data, model.localizer.generator, student, CPU)
    assert sum(len(video.segments) for video in videos) > 0
    for video, given in zip(data.train, videos, strict=True):
        assert set(given.segments.labels.tolist()) <= set(video.labels)
        assert given.label.nonzero().flatten().tolist() == list(video.labels)


def test_segments_move_on_by_a_share_of_the_generators_snippets(dataset, train):
    model = load_model(train("sal+student")[0])
    data = load_dataset(dataset, model.config.dataset, needs="labels")
    student = model.config.localize.student

    def segments(shift):
        pseudo = student.pseudo.model_copy(update={"shift": shift})
        moved = student.model_copy(update={"pseudo": pseudo})
        return labelled_videos(data, data, model.localizer.generator, moved, CPU)

    for video, first, second in zip(data.train, segments(0.0), segments(0.25), strict=True):
        steps = 0.25 * video.grid.stride / first.grid.stride
        torch.testing.assert_close(second.segments.bounds, first.segments.bounds + steps)


def test_a_generator_may_see_fewer_snippets_than_the_student(dataset):
    settings = [*overrides("sal+student"), "localize.generator.stride=32"]
    config = load_config("sal+student-small", settings).localize
    data, method = load_dataset(dataset, needs="labels"), get_method(config)
    localizer = method.build(data.dim, len(data.classes), config, 2)
    first = method.stage(1, localizer, data, config, CPU)
    assert len(first.train[0].features) == -(-SNIPPETS // 2)
    assert torch.equal(first.train[0].features, torch.from_numpy(data.features(data.train[0])[::2]))
    videos = DatasetSequences(data, data.test, CPU)
    thinned = [video.thinned(32) for video in videos]
    generator = localizer.generator
    # The student sees all of them, and learns from what the generator makes of fewer.
    second = method.stage(2, localizer, data, config, CPU)
    assert second.videos[0].grid.stride == 8
    found = labelled_videos(data, data.thinned(32), generator, localizer.student.config, CPU)
    for ours, theirs in zip(second.videos, found, strict=True):
        torch.testing.assert_close(ours.segments.bounds, theirs.segments.bounds)

    alone = method.build(data.dim, len(data.classes), config, 1)
    ours, theirs = alone.localize(videos, [0]), alone.generator.localize(thinned, [0])
    np.testing.assert_array_equal(ours.start_s, theirs.start_s)
    assert np.array_equal(alone.video_scores(videos), alone.generator.video_scores(thinned))
    for values, few, video in zip(
        alone.activations(videos), alone.generator.activations(thinned), videos, strict=True
    ):
        assert len(values) == len(video.features)
        assert np.array_equal(values[::2], few)
        assert np.array_equal(values[1::2], few[: len(values) // 2])


def test_marked_segments_are_what_people_marked(dataset):
    data = load_dataset(dataset, needs="full")
    config = load_config("student-small").localize.student
    for video, given in zip(data.train, marked_videos(data, config), strict=True):
        seconds = given.grid.centre_s(given.segments.bounds.double().numpy())
        marks = [(action.start_s, action.end_s) for action in video.actions]
        np.testing.assert_allclose(seconds, marks, atol=1e-5)
        assert [data.classes[i] for i in given.segments.labels] == [a.label for a in video.actions]


def test_full_supervision_needs_no_points(tmp_path):
    folder = make_dataset(tmp_path / "data")
    (folder / "points.csv").unlink()
    small = [part for text in overrides("student")[1:] for part in ("--set", text)]
    short = ("--set", "localize.student.teacher.epochs=1")
    told = hrpro(
        "train", "--dataset", folder, "--supervision", "full", "--run-dir", tmp_path / "run",
        "--no-tensorboard", *small, *short,
    )  # fmt: skip
    assert "stage 1, last" in told
    assert load_model(tmp_path / "run").config.localize.method == "student"
    assert {METHODS[name].config().needs for name in METHOD_FOR.values()} == set(METHOD_FOR)


def test_only_points_are_asked_for_behind_hrpro(tmp_path):
    """Videos without points, and marks of training videos, change nothing."""
    folder = make_dataset(tmp_path / "data")
    _, config = resolve_dataset(folder, overrides("hrpro+student"))
    lines = list(csv.reader((folder / "points.csv").open(newline="")))
    with (folder / "points.csv").open("w", newline="") as file:
        csv.writer(file).writerows(line for line in lines if line[0] != "train_0")
    assert len(load_dataset(folder, config.dataset, needs=config.localize.needs).train) == 7


def test_a_single_class_is_refused_by_fustal(dataset):
    config = load_config("fustal-small").localize
    data = replace(load_dataset(dataset, needs="labels"), classes=("throw",))
    method = get_method(config)
    with pytest.raises(DataError, match="there is one only"):
        method.stage(1, method.build(data.dim, 1, config, 1), data, config, CPU)


def test_two_names_for_the_method_are_refused(dataset):
    command = ["train", "--dataset", str(dataset), "--method", "sal", "--supervision", "full"]
    run = CliRunner().invoke(main, command)
    assert run.exit_code == 2
    assert "give one" in run.output


def test_a_stage_that_there_is_not_is_refused(dataset, tmp_path):
    path, config = resolve_dataset(dataset, overrides("student"))
    run = TrainingRun(tmp_path, load_dataset(path, needs="full"), config, CPU)
    with pytest.raises(UsageError, match="--stage 2: student has 1 stage"):
        run.run([2])


# --- settings --------------------------------------------------------------------------------


def test_what_a_preset_says_about_the_generator_holds_behind_it():
    custom, both = load_config("custom"), load_config("hrpro+student-custom")
    ours, theirs = both.localize.generator, custom.localize
    assert ours == theirs
    assert both.localize.ema == 0.99
    assert both.localize.student.base == "small"
    sal = load_config("sal+student-small").localize.generator
    assert sal == load_config("sal-small").localize
    assert load_config("student-small").localize.ema is None


def test_a_method_is_put_before_a_preset_of_another(dataset):
    _, gtea = resolve_dataset(dataset, ["localize.method=sal+student"], preset="gtea")
    assert gtea.dataset.fps == 15
    assert gtea.localize == load_config("sal+student-small").localize
    _, thumos = resolve_dataset(dataset, ["localize.method=fustal"], preset="thumos")
    assert thumos == load_config("fustal-thumos").model_copy(update={"dataset": thumos.dataset})


def test_seed_precision_and_average_are_those_of_all_stages():
    settings = ["localize.seed=5", "localize.precision=float32", "localize.ema=0.9"]
    localize = load_config("hrpro+student-small", settings).localize
    generator = localize.generator
    assert (generator.seed, generator.precision, generator.ema) == (5, "float32", 0.9)
    with pytest.raises(UsageError, match=r"localize\.seed is that of all stages"):
        load_config("hrpro+student-small", ["localize.generator.seed=5"])


def test_unknown_keys_of_every_section_are_refused():
    for wrong, meant in {
        "localize.generator.stage2.epoch": "localize.generator.stage2.epochs",
        "localize.student.window.lengt": "localize.student.window.length",
        "localize.updates": "localize.generator.updates",
    }.items():
        with pytest.raises(UsageError, match=rf"unknown key '{wrong}'; did you mean .*{meant}"):
            load_config("hrpro+student-small", [f"{wrong}=1"])


def test_the_teachers_rule_goes_with_the_supervision():
    rules = {name: load_config(f"{name}-small").localize.resolved_student() for name in NUM_STAGES}
    assert {name: student.teacher.rule for name, student in rules.items()} == {
        "hrpro+student": "points",
        "sal+student": "detections",
        "fustal": "detections",
        "student": "never",
    }


def test_stages_that_do_not_fit_are_named():
    def localize(*settings):
        return load_config("hrpro+student-small", settings).localize

    now, method = localize(), get_method(localize())
    other = localize("localize.generator.snippet.num_blocks=1")
    assert method.differences(2, Earlier(1, other), now) == ["localize.generator.snippet"]
    assert method.differences(3, Earlier(2, other), now) == ["localize.generator"]
    assert method.differences(3, Earlier(2, localize("localize.seed=5")), now) == []
    chosen = localize("localize.generator.stage2.stage1_weights=best-on-test")
    assert [method.earlier_weights(number, chosen) for number in (2, 3)] == ["best-on-test", "last"]


def test_a_model_of_another_generator_is_no_earlier_stage(dataset, train, tmp_path):
    path, config = resolve_dataset(
        dataset, [*overrides("sal+student"), "localize.generator.pooled_share=0.5"]
    )
    run = TrainingRun(
        tmp_path, load_dataset(path, config.dataset, needs="labels"), config, CPU,
        stage1=train("sal+student")[0] / "stage1",
    )  # fmt: skip
    with pytest.raises(DataError, match=r"trained with other localize\.generator; train stage 1"):
        run.run([2])
