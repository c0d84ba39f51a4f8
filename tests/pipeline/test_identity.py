"""One video by many names, through whole commands: datasets, label page, evaluation, conversion."""

from __future__ import annotations

import json
import unicodedata

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from hrpro.annotations import Action, VideoAnnotation, write_ground_truth
from hrpro.cli import main
from hrpro.errors import DataError
from hrpro.localize.data.dataset import load_dataset
from hrpro.localize.data.features import FeatureFolder
from hrpro.localize.proposals.generate import Proposals
from hrpro.pipeline.evaluate import Truth
from hrpro.pipeline.label.project import Project
from hrpro.pipeline.report.content import run_content
from hrpro.pipeline.results.model import Detection, Results, VideoResult
from hrpro.videos_folder import LeftOut, videos_below

NAMES = ("Übung 1", "v1.2", "mon/GX01", "tue/GX01")
"""Two for training, two for testing: accents, dots, and one name in two folders."""


def nfd(name: str) -> str:
    return unicodedata.normalize("NFD", name)


SPELLINGS = {
    "suffix": lambda name: f"{name}.mp4",
    "upper-case suffix": lambda name: f"{name}.MOD",
    "case": lambda name: name.swapcase(),
    "NFD": nfd,
    "folders": lambda name: f"/home/me/footage/{name}.mp4",
    "Windows": lambda name: "D:\\footage\\" + name.replace("/", "\\") + ".mts",
    "dot": lambda name: f"./{name}",
    "prefix": lambda name: "/".join([*name.split("/")[:-1], f"v_{name.split('/')[-1]}"]),
}


def hrpro(*arguments):
    return CliRunner().invoke(main, [str(each) for each in arguments])


def write_dataset(root, *, points=str, splits=str, truth=str, features=str, videos=False):
    """A dataset of `NAMES` whose files each spell the videos in their own way."""
    root.mkdir()
    for name in NAMES:
        path = root / "features" / f"{features(name)}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.ones((20, 4), np.float32))
        if videos:
            path = root / "videos" / f"{name}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    for subset, names in (("train", NAMES[:2]), ("test", NAMES[2:])):
        text = "".join(f"{splits(name)}\n" for name in names)
        (root / f"split_{subset}.txt").write_text(text, encoding="utf-8")
    rows = "".join(f'"{points(name)}",run,2\n' for name in NAMES)
    (root / "points.csv").write_text(f"video_id,class,time\n{rows}", encoding="utf-8")
    write_ground_truth(
        root / "annotations.json",
        [VideoAnnotation(truth(n), "test", 12.8, 25, (Action("run", 1, 3),)) for n in NAMES[2:]],
    )
    return root


@pytest.mark.parametrize(
    ("place", "kind", "videos"),
    [
        (place, kind, videos)
        for place in ("points", "splits", "truth", "features")
        for kind in SPELLINGS
        for videos in (True, False)
        # Folders outside are no names of feature files; without videos the splits tell the ids.
        if not (place == "features" and kind in ("folders", "Windows", "dot"))
        if not (place == "splits" and not videos)
    ],
)
def test_a_dataset_is_the_same_whatever_its_files_call_a_video(tmp_path, place, kind, videos):
    spelling = SPELLINGS[kind]
    folder = write_dataset(tmp_path / "data", videos=videos, **{place: spelling})
    data = load_dataset(folder)
    assert [(v.video_id, len(v.points)) for v in data.train] == [(name, 1) for name in NAMES[:2]]
    assert [v.video_id for v in data.test] == list(NAMES[2:])
    assert all(video.actions for video in data.test)
    assert data.warnings == ()


def test_a_test_video_is_not_trained_on_by_another_spelling(tmp_path):
    folder = write_dataset(tmp_path / "data")
    with (folder / "split_train.txt").open("a", encoding="utf-8") as file:
        file.write("mon/GX01.MP4\n")
    with pytest.raises(DataError, match=r"split_test.txt:1: 'mon/GX01' is also in .*train.txt:3"):
        load_dataset(folder)


def test_a_test_video_without_its_folder_is_not_trained_on(tmp_path):
    """Only the features can tell that both names are one video."""
    folder = tmp_path / "data"
    (folder / "features" / "mon").mkdir(parents=True)
    np.save(folder / "features" / "mon" / "a.npy", np.ones((20, 4), np.float32))
    (folder / "split_train.txt").write_text("mon/a\n")
    (folder / "split_test.txt").write_text("a\n")
    (folder / "points.csv").write_text("video_id,class,time\nmon/a,run,1\n")
    with pytest.raises(DataError, match="could be the features of 'mon/a' and of 'a'"):
        load_dataset(folder)


def test_a_split_lists_a_video_once(tmp_path):
    folder = write_dataset(tmp_path / "data")
    with (folder / "split_train.txt").open("a", encoding="utf-8") as file:
        file.write("v1.2.mkv\n")
    with pytest.raises(DataError, match=r"train.txt:3: 'v1.2.mkv' is the video of line 2 once"):
        load_dataset(folder)


@pytest.mark.parametrize("videos", [True, False])
def test_an_ambiguous_name_names_both(tmp_path, videos):
    folder = write_dataset(tmp_path / "data", videos=videos)
    with (folder / "points.csv").open("a", encoding="utf-8") as file:
        file.write("GX01.MP4,run,2\n")
    with pytest.raises(DataError, match=r"csv:6: 'GX01.MP4' can be 'mon/GX01' or 'tue/GX01'"):
        load_dataset(folder)


def test_features_of_one_file_are_not_those_of_two_videos(tmp_path):
    np.save(tmp_path / "GX01.npy", np.ones((2, 4), np.float32))
    np.save(tmp_path / "B.npy", np.ones((2, 4), np.float32))
    features = FeatureFolder(tmp_path)
    assert features.without(["mon/GX01", "tue/GX01", "b", "c"]) == ["mon/GX01", "tue/GX01", "c"]


def test_init_takes_a_video_in_once(tmp_path):
    for name in NAMES:
        path = tmp_path / "footage" / f"{nfd(name)}.MP4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "footage" / "GX01.LRV").touch()
    (tmp_path / "footage" / "app.d.ts").write_text("export declare const a: number;\n")
    arguments = ("init", tmp_path / "ds", "--videos", tmp_path / "footage", "--json")
    made = json.loads(hrpro(*arguments).stdout)
    assert sorted(made["train"] + made["test"]) == sorted(NAMES)
    assert "1 .lrv (a small copy), 1 .ts (text): GX01.LRV, app.d.ts" in "\n".join(made["notes"])
    for subset in ("train", "test"):
        text = "".join(f"{name}.mp4\n" for name in made[subset])
        (tmp_path / "ds" / f"split_{subset}.txt").write_text(text, encoding="utf-8")
    again = json.loads(hrpro(*arguments).stdout)
    assert (again["train"], again["test"]) == (made["train"], made["test"])
    assert not [note for note in again["notes"] if "new videos" in note or "splits" in note]


def test_the_label_page_gives_points_to_their_video(tmp_path):
    folder = write_dataset(
        tmp_path / "data", videos=True, points=SPELLINGS["suffix"], splits=SPELLINGS["case"]
    )
    project = Project(folder)
    try:
        shown = {each["id"]: each for each in project.state()["videos"]}
    finally:
        project.close()
    assert sorted(shown) == sorted(NAMES)
    assert {each["num_points"] for each in shown.values()} == {1}
    assert [shown[name]["subset"] for name in NAMES] == ["train", "train", "test", "test"]


def test_what_a_scan_leaves_out_is_counted(tmp_path):
    for name in ("a.MOD", "b.m2t", "c.264", "d.dav", "e.insv", "f.vob", "g.mp4", ".h.mp4"):
        (tmp_path / name).write_bytes(b"\0\0\1\xba")
    (tmp_path / "go.mod").write_text("module a\n")
    (tmp_path / "notes.txt").write_text("a\n")
    (tmp_path / "i.lrv").touch()
    left_out = LeftOut()
    found = sorted(path.name for path in videos_below(tmp_path, left_out))
    assert found == ["a.MOD", "b.m2t", "c.264", "d.dav", "e.insv", "f.vob", "g.mp4"]
    for kind in ("1 .mod (text)", "1 .txt", "1 .lrv (a small copy)"):
        assert kind in left_out.line()


# Evaluation


def write_results(path, videos):
    path.write_text(json.dumps({"results": videos}), encoding="utf-8")
    return path


def found(label="run", score=0.9, start=1.0, end=3.0):
    return {"label": label, "score": score, "segment": [start, end]}


def evaluate(tmp_path, detections, videos, *options):
    """Measure at tIoU 0.5: the JSON, and what was said."""
    truth = tmp_path / "truth.json"
    write_ground_truth(truth, videos)
    result = write_results(tmp_path / "result.json", detections)
    run = hrpro("eval", result, "--ground-truth", truth, "--tiou", "0.5", "--json", *options)
    assert run.exit_code == 0, run.output
    value = json.loads(run.stdout)
    assert value["warnings"] == [line.removeprefix("warning: ") for line in run.stderr.splitlines()]
    return value, "\n".join(value["warnings"])


def annotation(name, subset=None, labels=("run",), **more):
    return VideoAnnotation(name, subset, 10, 25, tuple(Action(x, 1, 3) for x in labels), **more)


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_detections_count_whatever_they_call_a_video(tmp_path, spelling):
    detections = {spelling(name): [found()] for name in NAMES}
    value, said = evaluate(tmp_path, detections, [annotation(name) for name in NAMES])
    assert value["average"] == 1.0
    assert said == ""


def test_detections_of_two_folders_are_not_merged(tmp_path):
    truth = tmp_path / "truth.json"
    write_ground_truth(truth, [annotation("GX01")])
    result = write_results(tmp_path / "r.json", {"mon/GX01": [found()], "tue/GX01": [found()]})
    run = hrpro("eval", result, "--ground-truth", truth)
    assert run.exit_code == 2
    assert "'mon/GX01' and 'tue/GX01' could all be 'GX01'" in run.stderr


def test_who_was_not_measured_is_said(tmp_path):
    videos = [annotation("a", labels=("run", "jump")), annotation("b"), annotation("c", labels=())]
    value, said = evaluate(tmp_path, {"a": [found()], "x": [found()]}, videos)
    assert "1 of 2 videos with detections are not in the ground truth (x)" in said
    assert "1 of 2 videos with actions have no detection (b)" in said
    assert "1 of 2 classes are never predicted (jump)" in said
    assert value["detections"] == 1


@pytest.mark.parametrize("label", ["Wash", "wash ", "WASH", "whash"])
def test_unknown_labels_are_named_with_the_one_that_is_meant(tmp_path, label):
    _, said = evaluate(tmp_path, {"a": [found(label)]}, [annotation("a", labels=("wash",))])
    assert f"no label of the detections is in the ground truth ({label!r}: did you mean" in said
    _, said = evaluate(
        tmp_path, {"a": [found(label), found("dry")]}, [annotation("a", labels=("wash", "dry"))]
    )
    assert f"1 labels of the detections are not in the ground truth ({label!r}: did you" in said


def test_subsets_with_detections_are_measured(tmp_path):
    videos = [annotation("a", "training"), annotation("b", "validation"), annotation("c", "Test")]
    value, said = evaluate(tmp_path, {"b": [found()]}, videos)
    assert (value["average"], value["videos"]) == (1.0, 1)
    assert "measured on 'validation' alone" in said
    value, said = evaluate(tmp_path, {"b": [found()], "a": [found()]}, videos)
    assert (value["average"], value["videos"]) == (1.0, 2)
    assert "measured on 'training' and 'validation' together" in said
    value, said = evaluate(tmp_path, {"c": [found()]}, videos)
    assert (value["videos"], said) == (1, "")
    value, said = evaluate(tmp_path, {"c": [found()], "a": [found()]}, videos)
    assert value["videos"] == 1
    assert "measured on 'test' alone, not on 'training' (--subset chooses)" in said
    value, said = evaluate(tmp_path, {"b": [found()]}, videos, "--subset", "VALIDATION")
    assert (value["videos"], said) == (1, "")


def test_ambiguous_segments_are_no_class_and_their_detections_do_not_count(tmp_path):
    videos = [annotation("a", ambiguous=((5.0, 9.0),))]
    detections = {"a": [found(), found(start=5.5, end=8.5, score=0.95)]}
    value, said = evaluate(tmp_path, detections, videos)
    assert (value["average"], list(value["per_class"]), said) == (1.0, ["run"], "")
    assert value["detections"] == 1


def test_a_report_knows_a_video_by_another_name_and_says_who_was_measured(tmp_path):
    (tmp_path / "footage" / "mon").mkdir(parents=True)
    (tmp_path / "footage" / "mon" / "GX01.MP4").touch()
    detections = (Detection("run", 0.9, 1, 3), Detection("walk", 0.8, 5, 6))
    results = Results((VideoResult("v_GX01.mp4", detections=detections),))
    truth = Truth({name: annotation(name) for name in ("gx01", "other")})
    shown = run_content("run", results, tmp_path / "r.html", truth, tmp_path / "footage").data
    assert shown["videos"][0]["truth"] == [[0, 1.0, 3.0]]
    assert shown["videos"][0]["quality"] == 1.0
    said = "\n".join(shown["evaluation"]["warnings"])
    assert "1 of 2 videos with actions have no detection (other)" in said
    assert "1 labels of the detections are not in the ground truth ('walk')" in said
    results = Results((VideoResult("GX01", detections=detections),))
    shown = run_content("run", results, tmp_path / "r.html", truth, tmp_path / "footage")
    assert [path.name for path in shown.media.values()] == ["GX01.MP4"]


def test_a_limit_of_detect_is_said(tmp_path):
    path = write_results(tmp_path / "r.json", {"a": [found()]})
    content = json.loads(path.read_text())
    content["model"] = {"min_score": 0.05, "top_k": None}
    path.write_text(json.dumps(content))
    write_ground_truth(tmp_path / "truth.json", [annotation("a")])
    run = hrpro("eval", path, "--ground-truth", tmp_path / "truth.json")
    assert "warning: written with --min-score 0.05: what it left out counts as not f" in run.stderr


SECONDS = st.floats(-1, 12, allow_nan=False)


@given(st.lists(st.tuples(st.integers(0, 2), SECONDS, SECONDS, st.integers(0, 1), st.floats(0, 1))))
def test_reported_detections_lie_within_their_video_best_first(rows):
    columns = [np.array(column) for column in zip(*rows, strict=True)] or [np.empty(0)] * 5
    durations_s = [10.0, 4.0, 0.0]
    reported = Proposals(*columns).reported(durations_s)
    assert (reported.start_s >= 0).all()
    assert (reported.end_s <= np.array(durations_s)[reported.video]).all()
    assert (reported.start_s < reported.end_s).all()
    order = list(zip(reported.video.tolist(), (-reported.score).tolist(), strict=True))
    assert order == sorted(order)
