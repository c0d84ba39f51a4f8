"""Ground truth in the ActivityNet JSON format."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hrpro.annotations import Action, VideoAnnotation, read_ground_truth, write_ground_truth
from hrpro.errors import DataError
from hrpro.problems import Problems

SECONDS = st.floats(0, 1e5, allow_nan=False)


def write(path: Path, database: object) -> Path:
    path.write_text(json.dumps({"version": "x", "database": database}), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "videos", "actions"),
    [("thumos14", 412, 6365), ("gtea", 28, 497), ("beoid", 58, 742), ("composed", 84, 363)],
)
def test_published_ground_truth_loads(shared: Path, name: str, videos: int, actions: int) -> None:
    truth = read_ground_truth(shared / "data" / name / "gt_full.json")
    assert len(truth) == videos
    assert sum(len(video.actions) for video in truth.values()) == actions
    assert all(video.fps and video.duration_s for video in truth.values())


def test_published_times_and_labels(shared: Path) -> None:
    video = read_ground_truth(shared / "data/thumos14/gt_full.json")["video_test_0000004"]
    assert (video.subset, video.duration_s, video.fps) == ("Test", 33.83, 30.0)
    assert video.actions[0] == Action("CricketBowling", 0.2, 1.1)
    assert video.labels == {"CricketBowling", "CricketShot"}


def test_actions_after_the_end_are_kept_with_one_warning(shared: Path) -> None:
    problems = Problems()
    truth = read_ground_truth(shared / "data/thumos14/gt_full.json", problems)
    assert not problems.blocking
    assert [p.what for p in problems] == [
        "5 videos have actions that end after the video does (video_test_0000270, ...)"
    ]
    assert max(a.end_s for a in truth["video_test_0000270"].actions) == 713.7


def test_everything_but_the_video_name_is_optional(tmp_path: Path) -> None:
    path = write(tmp_path / "gt.json", {"a": {}, "b": {"annotations": []}, "c": {"fps": None}})
    assert read_ground_truth(path) == {name: VideoAnnotation(name) for name in "abc"}


@settings(deadline=None, max_examples=50)
@given(
    st.dictionaries(
        st.text(min_size=1),
        st.tuples(
            st.none() | st.text(),
            st.none() | st.floats(0.1, 1e5),
            st.lists(st.tuples(st.text(min_size=1), SECONDS, SECONDS)),
        ),
    )
)
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, videos) -> None:
    path = tmp_path_factory.mktemp("gt") / "gt.json"
    annotations = {
        name: VideoAnnotation(
            name, subset, number, number, tuple(Action(c, min(s, e), max(s, e)) for c, s, e in rows)
        )
        for name, (subset, number, rows) in videos.items()
    }
    write_ground_truth(path, annotations.values())
    assert read_ground_truth(path) == annotations


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (3, "an object is expected, found a number"),
        ({"duration": -1}, "'duration' is -1; give seconds as a number above 0"),
        ({"fps": "25"}, "'fps' is '25'; give frames per second as a number above 0"),
        ({"subset": 1}, "'subset' is a number"),
        ({"annotations": {}, "fps": 0}, "'fps' is 0"),
        ({"annotations": "x"}, "'annotations' is text; make it a list"),
        ({"annotations": [{"segment": [0, 1]}]}, "annotation 1: has no 'label'"),
        ({"annotations": [{"label": "a"}]}, "annotation 1: 'segment' is None"),
        (
            {"annotations": [{"label": "a", "segment": [0, 1]}, {"label": "a", "segment": [2, 1]}]},
            "annotation 2: 'segment' [2, 1] is not in order",
        ),
        ({"annotations": [{"label": "a", "segment": [-1, 1]}]}, "'segment' [-1, 1] is not in"),
        ({"annotations": [{"label": "a", "segment": [0, "1"]}]}, "write [start, end] as two"),
        ({"annotations": [{"label": "a", "segment": [0, float("nan")]}]}, "'segment' is [0, nan]"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path: Path, entry: object, message: str) -> None:
    path = write(tmp_path / "gt.json", {"clip 7": entry})
    with pytest.raises(DataError) as caught:
        read_ground_truth(path)
    text = str(caught.value)
    assert message in text
    assert text.startswith(f"{path}: video 'clip 7'")
    assert "\n" not in text


@pytest.mark.parametrize("content", ["[]", "{}", '{"database": []}', "3"])
def test_another_format_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "gt.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match="not an ActivityNet-style ground truth; expected"):
        read_ground_truth(path)


def test_a_video_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "gt.json"
    path.write_text('{"database": {"a": {}, "b": {}, "a": {"fps": 25}}}', encoding="utf-8")
    with pytest.raises(DataError, match=r"gt\.json: 'a' is there twice; keep one of the two"):
        read_ground_truth(path)


def test_with_a_collector_every_problem_is_found_and_the_good_is_kept(tmp_path: Path) -> None:
    good = {"label": "x", "segment": [0, 1]}
    path = write(
        tmp_path / "gt.json",
        {"a": {"fps": -1, "annotations": [good, 4]}, "b": 3, "c": {"annotations": [good]}},
    )
    problems = Problems()
    truth = read_ground_truth(path, problems)
    assert len(problems.blocking) == 3
    assert set(truth) == {"a", "c"}
    assert truth["a"].actions == truth["c"].actions == (Action("x", 0, 1),)
    with pytest.raises(DataError, match=r"\(and 2 more\)$"):
        problems.raise_first()
