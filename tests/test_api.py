"""The functions a notebook calls: quiet, typed, and as good as the commands."""

from __future__ import annotations

import ast
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import fake_worker
import numpy as np
import pytest
from fake_worker import write_orders
from tiny_datasets import CLASSES, PRESET, make_dataset
from videos import make_video

import hrpro
import hrpro.api
from hrpro.errors import DataError, UsageError
from hrpro.extract.config import ExtractConfig
from hrpro.features import read_features
from hrpro.pipeline.results.formats import read_results

PAGE = Path(__file__).parents[1] / "docs" / "python.md"
DETECTION_COLUMNS = ["video_id", "label", "score", "start_s", "end_s"]


@pytest.fixture
def fake(monkeypatch):
    """Workers that obey orders, for all functions."""
    monkeypatch.setattr("hrpro.pipeline.detect.build_detection", fake_worker.build_detection)
    monkeypatch.setattr("hrpro.pipeline.extract.build_extraction", fake_worker.build)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data") / "easy")


@pytest.fixture(scope="module")
def training(dataset, tmp_path_factory):
    return hrpro.train(
        dataset,
        run_dir=tmp_path_factory.mktemp("run") / "run",
        preset=PRESET,
        settings={"localize.updates": 40, "dataset.tiou": [0.3, 0.5]},
        seed=1,
    )


def in_a_fresh_python(code: str) -> str:
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.core
def test_importing_hrpro_imports_nothing_heavy():
    modules = in_a_fresh_python("import hrpro, sys; print(*sys.modules)").split()
    assert "hrpro" in modules
    heavy = {"torch", "pandas", "numpy", "pydantic", "av", "cv2", "rich", "inspect"}
    assert heavy.isdisjoint(modules)
    assert not [name for name in modules if name.startswith("hrpro.pipeline")]


def test_extract_is_a_function_and_a_package_whatever_was_imported_before():
    code = """
import hrpro.extract.config
import hrpro, inspect
from hrpro import extract
from hrpro.extract import jobs
from hrpro.api import extract as function
assert inspect.signature(hrpro.extract) == inspect.signature(extract)
assert inspect.signature(extract) == inspect.signature(function)
assert hrpro.extract.config.ExtractConfig().stride == 16
try:
    extract([])
except hrpro.errors.UsageError as error:
    print(error)
"""
    assert in_a_fresh_python(code).startswith("no videos given")


def test_names_are_listed_and_others_refused():
    assert {"detect", "extract", "train", "evaluate", "__version__"} <= set(dir(hrpro))
    with pytest.raises(AttributeError, match="has no attribute 'localise'"):
        hrpro.localise  # noqa: B018


def test_detect_returns_what_it_found_and_what_failed(fake, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    videos = write_orders(tmp_path / "videos", {"a": "ok", "b/c": "ok", "bad": "fail no moov"})
    before = sorted(tmp_path.rglob("*"))
    found = hrpro.detect(videos)
    assert sorted(tmp_path.rglob("*")) == before, "no file without `out`"
    assert capsys.readouterr() == ("", "")
    table = found.to_dataframe()
    assert list(table) == DETECTION_COLUMNS
    assert table.to_numpy().tolist() == [
        ["a", "jump", 0.9, 0.0, 1.0],
        ["b/c", "jump", 0.9, 0.0, 1.0],
    ]
    assert [(each.path, each.reason) for each in found.failed] == [("bad.mp4", "no moov")]
    assert [video.duration_s for video in found.videos] == [1.0, 1.0]


def test_detect_writes_too_and_takes_several_inputs(fake, tmp_path):
    folder = write_orders(tmp_path, {"a": "ok", "b": "ok", "c": "ok"})
    outs = [tmp_path / "r.json", tmp_path / "r.csv"]
    found = hrpro.detect([folder / "a.mp4", str(folder / "c.mp4")], out=outs, min_score=0.1)
    assert read_results(outs[0]) == found.results
    assert len(outs[1].read_text().splitlines()) == 3


def test_events_are_made_as_asked(fake, tmp_path):
    videos = write_orders(tmp_path, {"a": "ok"})
    (event,) = hrpro.detect(videos).to_dataframe(events=True).to_numpy().tolist()
    assert event == ["a", "jump", 0.9, 0.0, 1.0]
    strict = hrpro.detect(videos, events={"threshold": {"jump": 0.95}})
    assert strict.to_dataframe(events=True).empty
    assert len(strict.to_dataframe()) == 1
    assert hrpro.detect(videos, events=False).videos[0].events is None
    with pytest.raises(UsageError, match="did you mean 'threshold'"):
        hrpro.detect(videos, events={"treshold": 0.5})


def test_progress_is_shown_on_request(fake, tmp_path, capsys):
    videos = write_orders(tmp_path / "videos", {"a": "ok", "bad": "fail no moov"})
    hrpro.detect(videos, out=tmp_path / "r.json", progress=True)
    stdout, stderr = capsys.readouterr()
    assert stdout == ""
    assert "no moov" in stderr and "r.json" in stderr


def test_nothing_found_is_a_frame_of_the_same_kind(fake, tmp_path):
    videos = write_orders(tmp_path, {"a": "ok", "b": "fail broken"})
    some, nothing = hrpro.detect(videos), hrpro.detect(videos, min_score=0.95)
    assert len(nothing.videos) == 1 and nothing.to_dataframe().empty
    for name in DETECTION_COLUMNS[2:]:
        assert nothing.to_dataframe()[name].dtype == some.to_dataframe()[name].dtype == float
    only_broken = hrpro.detect(videos / "b.mp4")
    assert only_broken.videos == () and list(only_broken.to_dataframe()) == DETECTION_COLUMNS
    assert len(only_broken.failed) == 1


def test_one_class_may_be_given_as_it_is(fake, tmp_path):
    videos = write_orders(tmp_path, {"a": "ok"})
    assert len(hrpro.detect(videos, classes="Jump").to_dataframe()) == 1
    with pytest.raises(UsageError, match="no class 'jmp'; did you mean 'jump'"):
        hrpro.detect(videos, classes=["jmp"])


def test_extract_holds_arrays_or_names_files(fake, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    videos = write_orders(tmp_path / "videos", {"a": "ok", "b": "ok", "bad": "fail no moov"})
    features = hrpro.extract(videos)
    assert capsys.readouterr() == ("", "")
    assert not (tmp_path / "features").exists()
    first, second = features.videos
    assert (first.video_id, first.path, first.array.shape) == ("a", None, (100, 4))
    assert second.start_s[:3] == pytest.approx([0, 0.64, 1.28])
    assert second.end_s[:3] == pytest.approx([0.64, 1.28, 1.92])
    assert [each.path for each in features.failed] == ["bad.mp4"]
    table = features.to_dataframe()
    assert list(table) == ["video_id", "snippet", "start_s", "end_s", "f0", "f1", "f2", "f3"]
    assert table["video_id"].tolist() == ["a"] * 100 + ["b"] * 100
    assert table["snippet"].tolist() == [*range(100), *range(100)]

    out = tmp_path / "out"
    files = hrpro.extract(videos, out=out, dtype="float16")
    assert [video.path for video in files.videos] == [out / "a.npy", out / "b.npy"]
    assert files.videos[0].array.dtype == np.float16
    (videos / "c.mp4").write_text("ok")
    again = hrpro.extract(videos, out=out)
    assert [video.video_id for video in again.videos] == ["a", "b", "c"], "also what was there"


def test_no_features_is_a_frame_with_the_columns(fake, tmp_path):
    broken = hrpro.extract(write_orders(tmp_path, {"b": "fail broken"}))
    assert list(broken.to_dataframe()) == ["video_id", "snippet", "start_s", "end_s"]


def test_a_wrong_recipe_is_refused(tmp_path):
    video = make_video(tmp_path / "a.mp4")
    with pytest.raises(UsageError, match=r"recipe: unknown key 'strid'; did you mean 'stride'\?"):
        hrpro.extract(video, recipe={"strid": 4})  # type: ignore[typeddict-unknown-key]
    with pytest.raises(UsageError, match="--stride 0"):
        hrpro.extract(video, recipe={"stride": 0})


def test_a_recipe_has_every_setting_of_features_and_no_other():
    assert hrpro.api.Recipe.__annotations__.keys() == ExtractConfig.model_fields.keys()


def test_train_and_evaluate(training, dataset, tmp_path, capsys):
    assert [result.stage for result in training.results] == [1, 2]
    assert training.failed == ()
    table = training.to_dataframe()
    assert list(table) == ["stage", "weights", "update", "tiou", "mean_ap"]
    assert len(table) == 2 * 2 * 2
    last = table[(table["stage"] == 2) & (table["weights"] == "last")]
    assert last["mean_ap"].mean() == pytest.approx(training.mean_ap)
    assert table.loc[table["stage"] == 1, "update"].max() == 40, "a setting was changed"

    out = tmp_path / "r.json"
    evaluation = hrpro.evaluate(
        model=training.run_dir, dataset=dataset, preset=PRESET, tious=[0.3, 0.5], out=out
    )
    assert evaluation.mean_ap == pytest.approx(training.mean_ap)
    assert list(evaluation.mean_ap_by_tiou) == [0.3, 0.5]
    table = evaluation.to_dataframe()
    assert list(table) == ["label", "tiou", "average_precision"]
    assert set(table["label"]) == set(CLASSES)
    by_tiou = table.groupby("tiou")["average_precision"].mean()
    assert by_tiou.to_dict() == pytest.approx(evaluation.mean_ap_by_tiou)

    truth = dataset / "annotations.json"
    from_file = hrpro.evaluate(out, ground_truth=truth, subset="test", tious=[0.3, 0.5])
    assert from_file.mean_ap == pytest.approx(evaluation.mean_ap)
    in_memory = hrpro.api.Detections(read_results(out))
    without = hrpro.evaluate(in_memory, ground_truth=truth, exclude=["test_0"], tious=[0.5])
    assert without.num_videos == from_file.num_videos - 1
    assert capsys.readouterr() == ("", "")


def test_without_marks_there_is_a_model_and_nothing_to_measure(tmp_path):
    dataset = make_dataset(tmp_path / "data", 2, 1, ground_truth=False)
    training = hrpro.train(
        dataset, run_dir=tmp_path / "run", preset=PRESET, settings={"localize.updates": 1}, stage=1
    )
    assert training.mean_ap is None
    assert list(training.to_dataframe()) == ["stage", "weights", "update", "tiou", "mean_ap"]
    assert (tmp_path / "run" / "model.safetensors").is_file()


def test_what_limits_a_measurement_is_in_its_warnings(fake, tmp_path, capsys):
    found = hrpro.detect(write_orders(tmp_path / "videos", {"a": "ok"}))
    truth = {
        "database": {"a": {"duration": 1, "annotations": [{"label": "jump", "segment": [0, 1]}]}}
    }
    (tmp_path / "gt.json").write_text(json.dumps(truth))
    evaluation = hrpro.evaluate(found, ground_truth=tmp_path / "gt.json")
    assert evaluation.mean_ap == 1
    (warning,) = evaluation.warnings
    assert "--min-score 0.05" in warning
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda folder: hrpro.detect([]), UsageError, "no videos given"),
        (lambda folder: hrpro.detect(folder), UsageError, "no videos in this folder"),
        (lambda folder: hrpro.detect("a.mp4", out="r.xyz"), UsageError, "r.xyz"),
        (lambda folder: hrpro.train(folder), DataError, "no point labels yet"),
        (lambda folder: hrpro.train("thums"), UsageError, "thums"),
        (lambda folder: hrpro.evaluate(), UsageError, "give either a result file"),
        (
            lambda folder: hrpro.evaluate("r.json", dataset=folder, ground_truth="g"),
            UsageError,
            "say what to measure against",
        ),
        (lambda folder: hrpro.evaluate(folder / "r.json", ground_truth="g"), DataError, "r.json"),
    ],
)
def test_errors_are_those_of_hrpro(tmp_path, call, error, message):
    with pytest.raises(error, match=message) as raised:
        call(tmp_path)
    assert len(str(raised.value).splitlines()) == 1


def test_a_real_clip(shared, rgb_weights):
    clip = shared / "data" / "clips" / "kinetics400" / "TaiChi" / "ta_chi.mp4"
    best = hrpro.detect(clip, top_k=1, recipe={"streams": "rgb"}).to_dataframe().iloc[0]
    assert (best["video_id"], best["label"]) == ("ta_chi", "tai chi")
    assert best["start_s"] < 1 and best["end_s"] > 9


def test_a_broken_video_of_a_dataset_is_in_the_result(tmp_path, rgb_weights):
    dataset = make_dataset(tmp_path / "data", 2, 1)
    for subset in ("train", "test"):
        for path in (dataset / "features" / subset).iterdir():
            path.unlink()
    for name in ("train_0", "test_0"):
        make_video(dataset / "videos" / f"{name}.mp4", frames=640)
    (dataset / "videos" / "train_1.mp4").write_text("not a video")
    training = hrpro.train(
        dataset,
        run_dir=tmp_path / "run",
        preset=PRESET,
        settings={"localize.updates": 1},
        stage=1,
        recipe={"streams": ["rgb"], "stride": 64},
    )
    ((name, reason),) = [(each.path, each.reason) for each in training.failed]
    assert (name, reason) == ("train_1", "a text file, not a video")
    assert read_features(dataset / "features" / "train_0.npy").shape == (10, 1024)


def calls_of(page: str) -> list[tuple[str, ast.Call]]:
    """The calls of hrpro's functions in the Python examples of a page."""
    found = []
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                of = node.func.value
                if isinstance(of, ast.Name) and of.id == "hrpro":
                    found.append((node.func.attr, node))
    return found


def test_the_page_calls_the_functions_as_they_are():
    calls = calls_of(PAGE.read_text(encoding="utf-8"))
    assert {name for name, _ in calls} == {
        "detect",
        "extract",
        "train",
        "evaluate",
        "clips",
        "stats",
    }
    for name, call in calls:
        signature = inspect.signature(getattr(hrpro, name))
        signature.bind(*call.args, **{str(each.arg): each.value for each in call.keywords})


def test_the_page_names_the_columns(training, fake, tmp_path):
    page = PAGE.read_text(encoding="utf-8")
    videos = write_orders(tmp_path, {"a": "ok"})
    for table in (
        hrpro.detect(videos).to_dataframe(),
        hrpro.extract(videos).to_dataframe().loc[:, :"end_s"],
        training.to_dataframe(),
    ):
        assert ", ".join(f"`{name}`" for name in table) in page
    assert "`label`, `tiou`, `average_precision`" in page
