"""Who does it and how: subjects and modifiers from one file to the next."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from result_strategies import detections

from hrpro.annotations import read_ground_truth
from hrpro.errors import DataError
from hrpro.localize.data.points import PointRow, points_csv, read_points
from hrpro.pipeline.convert import convert
from hrpro.pipeline.results.formats import read_results, write_results
from hrpro.pipeline.results.model import Detection, Results, VideoResult

pytestmark = pytest.mark.core

PECKS = (
    Detection("peck", 1.0, 1.0, 2.0, subject="hen", modifiers=("fast", "left")),
    Detection("peck", 1.0, 1.5, 3.0, subject="hen", modifiers=("fast", "left")),
    Detection("peck", 1.0, 1.5, 2.5, subject="cock"),
    Detection("peck", 1.0, 4.0, 5.0),
    Detection("sleep", 1.0, 0.0, 9.0, subject="hen"),
)
CONTENT = Results([VideoResult("v", detections=PECKS)])


def by_time(results):
    return sorted(results.videos[0].detections, key=lambda each: (each.start_s, each.end_s))


@pytest.mark.parametrize("name", ["r.json", "r.csv", "annotations.json", "r.boris", "r.eaf"])
def test_they_come_back(name, tmp_path):
    write_results(CONTENT, tmp_path / name)
    assert by_time(read_results(tmp_path / name)) == by_time(CONTENT)


@pytest.mark.parametrize("name", ["r.csv", "annotations.json", "points.csv", "r.boris", "r.eaf"])
def test_a_file_without_them_is_as_it_always_was(name, tmp_path):
    alone = Detection("peck", 1.0, 1.0, 1.0)
    (path,) = write_results(Results([VideoResult("v", detections=[alone])]), tmp_path / name)
    text = path.read_text(encoding="utf-8")
    assert 'subject"' not in text.replace('"subjects_conf"', "") and "PARTICIPANT" not in text
    assert "modifiers" not in text.replace('"modifiers": {}', "")


people = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6)


@settings(max_examples=50)
@given(st.lists(detections(people, by_people=True), max_size=4, unique_by=lambda d: d.score))
def test_csv_holds_any_text(tmp_path_factory, found):
    # A cell has no line ends and NUL, see `hrpro.cells`.
    found = [
        each
        for each in found
        if not set("\r\n\0") & set("".join([each.subject or "", *each.modifiers]))
    ]
    path = tmp_path_factory.mktemp("people") / "r.csv"
    write_results(Results([VideoResult("v", detections=tuple(found))]), path)
    read = [each for video in read_results(path).videos for each in video.detections]
    assert read == sorted(found, key=lambda each: -each.score)


@given(people.map(str.strip).filter(bool), st.lists(people, max_size=3).map(tuple))
def test_points_hold_them(tmp_path_factory, subject, modifiers):
    modifiers = tuple(filter(None, map(str.strip, modifiers)))
    path = tmp_path_factory.getbasetemp() / "people-points.csv"
    rows = [PointRow("v", "peck", 1.0, subject, modifiers), PointRow("v", "peck", 2.0)]
    path.write_text(points_csv(rows), encoding="utf-8", newline="")
    read = [(p.video_id, p.label, p.time_s, p.subject, p.modifiers) for p in read_points(path)]
    assert read == [tuple(row) for row in rows]


def test_points_of_two_at_one_moment_are_two(tmp_path):
    path = tmp_path / "points.csv"
    path.write_text("video_id,class,time,subject\nv,peck,1,hen\nv,peck,1,cock\nv,peck,1,hen\n")
    assert [point.subject for point in read_points(path)] == ["hen", "cock"]


def test_boris_shows_them_as_its_own(tmp_path):
    write_results(CONTENT, tmp_path / "r.boris")
    project = json.loads((tmp_path / "r.boris").read_text())
    assert [each["name"] for each in project["subjects_conf"].values()] == [
        "cock", "hen", "hen (overlap 2)",
    ]  # fmt: skip
    peck = project["behaviors_conf"]["0"]
    assert [each["values"] for each in peck["modifiers"].values()] == [["fast"], ["left"]]
    events = project["observations"]["v"]["events"]
    assert [1.0, "hen", "peck", "fast|left"] in [event[:4] for event in events]
    assert [1.5, "cock", "peck", "None|None"] in [event[:4] for event in events]


def test_elan_shows_them_as_its_own(tmp_path):
    write_results(CONTENT, tmp_path / "r.eaf")
    elan = pytest.importorskip("pympi").Elan.Eaf(tmp_path / "r.eaf")
    assert elan.get_parameters_for_tier("peck@hen")["PARTICIPANT"] == "hen"
    assert {"peck", "peck@cock", "peck@hen", "peck@hen 2"} < set(elan.get_tier_names())
    assert elan.get_ref_annotation_data_for_tier("peck@hen (modifiers)")[0][2] == "fast|left"


def test_subjects_of_an_observation_become_those_of_points_and_of_marks(tmp_path):
    write_results(CONTENT, tmp_path / "r.boris")
    convert(tmp_path / "r.boris", tmp_path / "points.csv", points=True)
    assert {p.subject for p in read_points(tmp_path / "points.csv")} == {"hen", "cock", None}
    convert(tmp_path / "r.boris", tmp_path / "annotations.json")
    actions = read_ground_truth(tmp_path / "annotations.json")["v"].actions
    assert {(each.subject, each.modifiers) for each in actions} == {
        ("hen", ("fast", "left")), ("cock", ()), (None, ()), ("hen", ()),
    }  # fmt: skip


@pytest.mark.parametrize(("key", "value"), [("subject", 3), ("modifiers", "fast")])
def test_ground_truth_says_what_is_wrong(key, value, tmp_path):
    entry = {"label": "peck", "segment": [0, 1], key: value}
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps({"database": {"v": {"annotations": [entry]}}}))
    with pytest.raises(DataError, match=f"video 'v', annotation 1: '{key}' is"):
        read_ground_truth(path)
