"""Results: order, filters, and the result JSON that other programs read and write."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from result_strategies import results

from hrpro.errors import DataError
from hrpro.pipeline.results.formats import read_results
from hrpro.pipeline.results.model import (
    Detection,
    Results,
    VideoResult,
    from_json,
    to_json,
    write_results_json,
)


@given(results(by_people=True))
def test_json_round_trip_is_exact(tmp_path_factory, written):
    path = tmp_path_factory.mktemp("json") / "r.json"
    write_results_json(written, path)
    assert read_results(path) == written
    assert from_json(to_json(written)) == written


def test_json_layout_is_the_activitynet_one(tmp_path):
    found = [Detection("b", 0.25, 1, 2), Detection("a", np.float32(0.5), 0, np.float64(1.5))]
    written = Results([VideoResult("v/1", "v/1.mp4", 10.0, 25.0, found)], {"name": "kinetics400"})
    write_results_json(written, tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_text(encoding="utf-8")) == {
        "version": "VERSION 1.3",
        "results": {
            "v/1": [
                {"label": "a", "score": 0.5, "segment": [0.0, 1.5]},
                {"label": "b", "score": 0.25, "segment": [1.0, 2.0]},
            ]
        },
        "external_data": {},
        "videos": {"v/1": {"path": "v/1.mp4", "duration": 10.0, "fps": 25.0}},
        "model": {"name": "kinetics400"},
    }


def test_events_are_spans_in_time_order():
    late, early = Detection("a", 0.9, 5, 6), Detection("b", 0.5, 1, 2)
    video = VideoResult("v", detections=(late, early))
    assert video.spans == (early, late)
    events = VideoResult("v", detections=(late, early), events=(late,))
    assert events.spans == (late,)
    assert VideoResult("v", detections=(late, early), events=()).spans == ()


@pytest.mark.parametrize(
    ("row", "expected"),
    [({"subject": 3}, "subject must be a text"), ({"modifiers": "fast"}, "list of texts")],
)
def test_wrong_event_is_named(row, expected):
    event = {"label": "a", "score": 1, "segment": [0, 1], **row}
    with pytest.raises(DataError, match=f"'v': event 1: .*{expected}"):
        from_json({"results": {"v": []}, "events": {"v": [event]}})


def test_plain_activitynet_files_load():
    row = {"label": "a", "score": 1, "segment": [0, 1]}
    read = from_json({"version": "VERSION 1.3", "results": {"v": [row]}, "external_data": {}})
    assert read == Results([VideoResult("v", detections=[Detection("a", 1.0, 0.0, 1.0)])])


@pytest.mark.shared
def test_real_detections_load(shared):
    path = shared / "data" / "thumos14" / "real_detections.json"
    read = read_results(path)
    rows = json.loads(path.read_text())["results"]
    assert sum(len(video.detections) for video in read.videos) == sum(map(len, rows.values()))


def test_filters():
    found = [Detection(*pair, 0, 1) for pair in (("a", 0.1), ("b", 0.9), ("c", 0.5), ("a", 0.7))]
    both = Results([VideoResult("v", detections=found), VideoResult("w", detections=found[:1])])

    def labels(**options):
        return ["".join(d.label for d in v.detections) for v in both.filter(**options).videos]

    assert labels() == ["baca", "a"]
    assert labels(min_score=0.5) == ["bac", ""]
    assert labels(top_k=1) == ["b", "a"]
    assert labels(classes={"a"}) == ["aa", "a"]
    assert labels(min_score=0.2, top_k=1, classes=["a", "c"]) == ["a", ""]


def test_video_by_name():
    assert Results([VideoResult("v")]).video("v").video_id == "v"
    with pytest.raises(DataError, match=r"no video 'w'.*there are v"):
        Results([VideoResult("v")]).video("w")
    with pytest.raises(DataError, match="two videos have the name 'v'"):
        Results([VideoResult("v"), VideoResult("v")])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("text", "must be an object"),
        ({"score": 1, "segment": [0, 1]}, "has no label"),
        ({}, "has no label and no score and no segment"),
        ({"label": "", "score": 1, "segment": [0, 1]}, "label must be a non-empty text"),
        ({"label": 3, "score": 1, "segment": [0, 1]}, "label must be a non-empty text, not 3"),
        ({"label": "a", "score": "1", "segment": [0, 1]}, "score must be a number, not '1'"),
        ({"label": "a", "score": True, "segment": [0, 1]}, "score must be a number"),
        ({"label": "a", "score": None, "segment": [0, 1]}, "score must be a number, not None"),
        ({"label": "a", "score": float("nan"), "segment": [0, 1]}, "score must be a finite"),
        ({"label": "a", "score": 10**400, "segment": [0, 1]}, "score must be a number"),
        ({"label": "a", "score": 1, "segment": [0]}, r"must be \[start, end\]"),
        ({"label": "a", "score": 1, "segment": [0, "1"]}, "end must be a number"),
        ({"label": "a", "score": 1, "segment": [2, 1]}, "end 1 lies before the start 2"),
    ],
)
def test_malformed_detections_are_named(row, message):
    good = {"label": "a", "score": 1, "segment": [0, 1]}
    with pytest.raises(DataError, match=message) as caught:
        from_json({"results": {"clip": [good, row]}})
    assert str(caught.value).startswith("video 'clip': detection 2: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "not a result file"),
        ({}, "not a result file"),
        ({"results": []}, "not a result file"),
        ({"results": {}, "videos": []}, "must be objects"),
        ({"results": {}, "model": 1}, "must be objects"),
        ({"results": {}, "curves": []}, "must be objects"),
        ({"results": {"v": []}, "curves": {"v": {"step": 1}}}, "curves must be an object"),
        ({"results": {}, "curves": {"v": {"step": 0, "classes": {}}}}, "must be above 0"),
        ({"results": {"v": []}, "curves": {"v": {"classes": {}}}}, "step must be a number"),
        ({"results": {}, "curves": {"v": {"step": 1, "classes": {"a": 3}}}}, "list of numbers"),
        ({"results": {"v": {}}}, "detections must be a list"),
        (
            {"results": {"v": []}, "videos": {"v": 1}},
            "what is known of the video must be an object",
        ),
        ({"results": {"v": []}, "videos": {"v": {"path": 1}}}, "path must be a text"),
        ({"results": {"v": []}, "videos": {"v": {"fps": "25"}}}, "fps must be a number"),
    ],
)
def test_malformed_files_are_refused(value, message):
    with pytest.raises(DataError, match=message):
        from_json(value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_damaged_files_are_one_line_errors(tmp_path, content):
    path = tmp_path / "r.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"r\.json") as caught:
        read_results(path)
    assert "\n" not in str(caught.value)
