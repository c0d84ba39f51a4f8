"""BORIS projects: which events make an action, in which video and when."""

from __future__ import annotations

import copy
import json

import pytest

from hrpro.errors import DataError
from hrpro.localize.data.points import read_points
from hrpro.pipeline.convert import convert
from hrpro.pipeline.results.formats import read_results, write_results
from hrpro.pipeline.results.model import Detection, Results, VideoResult

pytestmark = pytest.mark.core

PROJECT = {
    "project_format_version": "7.0",
    "behaviors_conf": {
        "0": {"type": "Point event", "key": "p", "code": "peck"},
        "1": {"type": "State event", "key": "s", "code": "sleep"},
        "2": {"type": "State event with coding map", "key": "r", "code": "run"},
    },
    "observations": {
        "first": {
            "type": "MEDIA",
            "file": {"1": ["films/day 1.mp4"], "2": []},
            "time offset": 0.0,
            "media_info": {"length": {"films/day 1.mp4": 60.0}, "fps": {"films/day 1.mp4": 25.0}},
            "events": [
                [2.5, "", "peck", "", ""],
                [1.0, "hen", "sleep", "", "", 25],
                [2.0, "cock", "sleep", "", ""],
                [3.0, "hen", "sleep", "", ""],
                [5.0, "cock", "sleep", "", "deep"],
                ["7.25", "", "run", "fast", ""],
                [8.0, "", "run", "", ""],
                [9.0, "", "run", "fast", ""],
                [9.5, "", "run", "", ""],
            ],
        },
    },
}


def found(tmp_path, project):
    path = tmp_path / "p.boris"
    path.write_text(json.dumps(project))
    return {
        video.video_id: [
            (each.label, each.start_s, each.end_s)
            for each in sorted(video.detections, key=lambda each: each.start_s)
        ]
        for video in read_results(path).videos
    }


def changed(**observation):
    project = copy.deepcopy(PROJECT)
    project["observations"]["first"].update(observation)
    return project


def test_states_pair_by_subject_and_modifier(tmp_path):
    assert found(tmp_path, PROJECT) == {
        "day 1": [
            ("sleep", 1.0, 3.0),
            ("sleep", 2.0, 5.0),
            ("peck", 2.5, 2.5),
            ("run", 7.25, 9.0),
            ("run", 8.0, 9.5),
        ]
    }


def test_offsets_and_queued_videos(tmp_path):
    project = changed(
        **{
            "time offset": 100,
            "file": {"1": ["a.mp4", "b.avi"]},
            "media_info": {"length": {"a.mp4": 10.5, "b.avi": 20.0}},
            "events": [
                [102.0, "", "peck", "", ""],
                [110.0, "", "sleep", "", ""],
                [112.0, "", "sleep", "", ""],
                [110.5, "", "peck", "", ""],
                [115.5, "", "peck", "", ""],
            ],
        }
    )
    assert found(tmp_path, project) == {
        "a": [("peck", 2.0, 2.0), ("sleep", 10.0, 12.0)],
        "b": [("peck", 0.0, 0.0), ("peck", 5.0, 5.0)],
    }
    project["observations"]["first"]["media_info"] = {}
    with pytest.raises(DataError, match=r"p\.boris: observation 'first': the length of a\.mp4"):
        found(tmp_path, project)


def test_live_observations_and_two_observations_of_a_video(tmp_path):
    project = changed()
    project["observations"]["live"] = {
        "type": "LIVE",
        "file": [],
        "events": [[1.0, "", "peck", "", ""]],
    }
    project["observations"]["second"] = changed(events=[[30, "", "peck"]])["observations"]["first"]
    videos = found(tmp_path, project)
    assert videos["live"] == [("peck", 1.0, 1.0)]
    assert len(videos["day 1"]) == 6 and videos["day 1"][-1] == ("peck", 30.0, 30.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"events": [[1.0, "hen", "sleep", "", ""]]}, "the state 'sleep' of hen at 1 s has no end"),
        ({"events": 3}, "'events' must be a list"),
        ({"events": [[1.0]]}, "event 1 must be"),
        ({"events": [["x", "", "peck"]]}, "the time of event 1 is 'x', not a number"),
        ({"events": [[1.0, "", ""]]}, "event 1 has no code"),
        ({"file": {"1": [3]}}, "the files of player 1"),
        ({"time offset": "soon"}, "the time offset is 'soon'"),
    ],
)
def test_bad_observations(tmp_path, change, message):
    with pytest.raises(DataError, match=rf"p\.boris: observation 'first': .*{message}"):
        found(tmp_path, changed(**change))


def test_other_json_is_not_a_project(tmp_path):
    for value in ([], {}, {"observations": []}):
        with pytest.raises(DataError, match=r"p\.boris: not a BORIS project"):
            found(tmp_path, value)


def test_written_project(tmp_path):
    marks = (
        Detection("peck", 1, 2.0, 2.0),
        Detection("sleep", 0.25, 1.0, 4.0),
        Detection("sleep", 0.5, 3.0, 5.0),  # overlaps
        Detection("sleep", 1, 5.0, 6.0),  # touches
        Detection("run", 1, 7.0, 7.0),  # a point of a class that has a length elsewhere
        Detection("run", 1, 8.0, 9.0),
    )
    content = Results([VideoResult("day 1", str(tmp_path / "films/day 1.mp4"), 60.0, 25.0, marks)])
    (path,) = write_results(content, tmp_path / "p.boris")
    project = json.loads(path.read_text())
    assert [(each["code"], each["type"], each["key"]) for each in
            project["behaviors_conf"].values()] == [
        ("peck", "Point event", "1"), ("run", "State event", "2"), ("sleep", "State event", "3"),
    ]  # fmt: skip
    observation = project["observations"]["day 1"]
    assert observation["file"]["1"] == ["films/day 1.mp4"]
    assert observation["media_info"]["length"] == {"films/day 1.mp4": 60.0}
    times = [event[0] for event in observation["events"]]
    assert times == sorted(times) == [1, 2, 3, 4, 5, 5, 6, 7, 7, 8, 9]
    assert observation["events"][1] == [2.0, "", "peck", "", "", 50]
    assert [each["name"] for each in project["subjects_conf"].values()] == ["overlap 2"]
    (video,) = read_results(path).videos
    key = lambda each: (each.start_s, each.end_s)  # noqa: E731
    assert sorted(video.detections, key=key) == sorted(marks, key=key)


def test_point_events_become_point_labels(tmp_path):
    project = changed(events=[[2.5, "", "peck", "", ""], [1, "", "=run", "", ""]])
    (tmp_path / "p.boris").write_text(json.dumps(project))
    assert convert(tmp_path / "p.boris", tmp_path / "points.csv") == [tmp_path / "points.csv"]
    assert (tmp_path / "points.csv").read_text() == (
        "video_id,class,time\nday 1,'=run,1.0\nday 1,peck,2.5\n"
    )
    assert [(each.video_id, each.time_s) for each in read_points(tmp_path / "points.csv")] == [
        ("day 1", 1.0),
        ("day 1", 2.5),
    ]
