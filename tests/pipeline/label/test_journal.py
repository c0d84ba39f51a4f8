"""The labels behind the label page: every action kept, undone and redone, whatever happens."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labeller import JUMP, RUN, SUGGESTED, Labeller, action

from hrpro.errors import DataError, HrproError
from hrpro.pipeline.label import journal as journal_module
from hrpro.pipeline.label.actions import (
    Change,
    ConflictError,
    RefusedError,
    read_request,
)
from hrpro.pipeline.label.journal import Journal
from hrpro.pipeline.label.points_file import points_text
from hrpro.pipeline.label.state import Labels
from hrpro.pipeline.label.suggestions import Suggestions, read_suggestions


@pytest.fixture
def labeller(tmp_path):
    return Labeller(tmp_path)


# ----------------------------------------------------------------- what the actions mean


def test_points_are_added_moved_relabelled_and_deleted(labeller):
    first, second = labeller.add(2.5), labeller.add(1.0, "run")
    assert labeller.points() == [(second, "run", 1.0), (first, "jump", 2.5)]
    assert labeller.rows() == [["v", "run", "1.0"], ["v", "jump", "2.5"]]
    labeller.act(type="move", point=first, time_s=0.04)
    labeller.act(type="relabel", point=second, label="jump")
    assert labeller.rows() == [["v", "jump", "0.04"], ["v", "jump", "1.0"]]
    labeller.act(type="delete", point=first)
    assert labeller.rows() == [["v", "jump", "1.0"]]


def test_accepting_sets_a_point_in_the_middle_and_undo_takes_both_back(labeller):
    labeller.act(type="accept", detection=RUN)
    [(point, label, time_s)] = labeller.points()
    assert (label, time_s, labeller.reviews()[RUN].point) == ("run", 15.0, point)
    assert labeller.store.labels.video("v").points[point].source == "accepted"
    labeller.act(type="undo")
    assert labeller.points() == [] and labeller.reviews() == {}
    labeller.act(type="redo")
    assert labeller.points() == [(point, "run", 15.0)]


def test_correcting_accepts_and_moves_the_point(labeller):
    labeller.act(type="retime", detection=RUN, start_s=12.0, end_s=14.0)
    labeller.act(type="retime", detection=RUN, start_s=12.0, end_s=13.0)
    assert labeller.rows() == [["v", "run", "12.5"]]
    labeller.act(type="relabel", detection=RUN, label="jump")
    assert labeller.rows() == [["v", "jump", "12.5"]]
    review = labeller.reviews()[RUN]
    assert (review.status, review.label, review.start_s, review.end_s) == (
        "accepted", "jump", 12.0, 13.0,
    )  # fmt: skip
    reviewed = json.loads((labeller.folder / "label" / "reviewed.json").read_text())
    assert reviewed["results"] == {"v": [{"label": "jump", "score": 0.5, "segment": [12.0, 13.0]}]}


@pytest.mark.parametrize("judgement", ["reject", "reopen"])
def test_the_point_of_a_detection_goes_when_it_is_no_longer_accepted(labeller, judgement):
    labeller.act(type="accept", detection=RUN)
    labeller.act(type=judgement, detection=RUN)
    assert labeller.rows() == []
    assert [r.status for r in labeller.reviews().values()] == ["rejected"] * (judgement == "reject")
    labeller.act(type="undo")
    assert labeller.rows() == [["v", "run", "15.0"]]


def test_deleting_the_point_of_a_detection_opens_it_again(labeller):
    labeller.act(type="accept", detection=RUN)
    labeller.act(type="delete", point=labeller.points()[0][0])
    assert labeller.reviews() == {}


def test_a_detection_around_a_point_of_its_class_adds_no_second_one(labeller):
    labeller.add(19.0, "run")
    labeller.add(2.0, "run")
    labeller.act(type="accept", detection=RUN)
    assert len(labeller.points()) == 2
    labeller.act(type="accept", detection=JUMP)  # a run lies in it, but no jump
    assert labeller.rows() == [["v", "jump", "2.0"], ["v", "run", "2.0"], ["v", "run", "19.0"]]
    labeller.act(type="reject", detection=RUN)
    assert len(labeller.points()) == 3


def test_times_are_kept_inside_of_the_video(labeller):
    point = labeller.add(100.4)
    assert labeller.points() == [(point, "jump", 100.0)]
    with pytest.raises(RefusedError, match=r"100\.60 s lies after the end of the video"):
        labeller.add(100.6)
    with pytest.raises(RefusedError, match="must lie after the start"):
        labeller.act(type="retime", detection=RUN, start_s=5.0, end_s=5.0)


def test_what_is_gone_cannot_be_changed(labeller):
    point = labeller.add()
    labeller.act(type="delete", point=point, client="other")
    for what in ({"type": "move", "time_s": 2.0}, {"type": "delete"}):
        with pytest.raises(ConflictError, match="deleted in another window"):
            labeller.act(point=point, **what)
    with pytest.raises(ConflictError, match="this detection is gone"):
        labeller.act(type="accept", detection="d0")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "Invalid JSON"),
        (b"[]", "should be an object"),
        (b'{"client": "c"}', "action: Field required"),
        (b'{"client": "", "action": {"type": "undo"}}', "client: "),
        (b'{"client": "c", "action": {"type": "explode"}}', "action: .*'explode'"),
        (b'{"client": "c", "action": {"type": "add", "label": "x"}}', "add.time_s: Field required"),
        (b'{"client": "c", "action": {"type": "add", "label": "x", "time_s": NaN}}', "finite"),
        (b'{"client": "c", "action": {"type": "add", "label": "x", "time_s": -1}}', "greater"),
        (b'{"client": "c", "action": {"type": "undo", "x": 1}}', "undo.*x: Extra"),
    ],
)
def test_bodies_that_are_no_actions_are_refused(body, message):
    with pytest.raises(RefusedError, match=message):
        read_request(body)


def test_relabel_wants_a_point_or_a_detection(labeller):
    for what in ({}, {"point": "p1", "detection": RUN}):
        with pytest.raises(RefusedError, match="name one point, interval or detection"):
            labeller.act(type="relabel", label="run", **what)


# -------------------------------------------------------------------------- undo and redo


def test_undo_leaves_alone_what_another_window_did(labeller):
    mine = labeller.add(1.0, client="a")
    theirs = labeller.add(2.0, client="b")
    labeller.act(type="undo", client="a")
    assert labeller.points() == [(theirs, "jump", 2.0)]
    labeller.act(type="redo", client="a")
    labeller.act(type="move", point=mine, time_s=9.0, client="b")
    assert not labeller.act(type="undo", client="a")  # b has changed it since
    labeller.act(type="undo", client="b")
    assert labeller.act(type="undo", client="a")
    assert labeller.points() == [(theirs, "jump", 2.0)]


def test_undo_leaves_alone_what_looks_like_ones_own(labeller):
    point = labeller.add(0.0, client="a")
    labeller.act(type="move", point=point, time_s=1.0, client="a")
    labeller.act(type="move", point=point, time_s=0.0, client="b")  # where a had set it
    assert not labeller.act(type="undo", client="a")
    labeller.act(type="undo", client="b")
    assert labeller.act(type="undo", client="a") and labeller.act(type="undo", client="a")
    assert labeller.points() == []


def test_what_changes_nothing_is_nothing_to_undo(labeller):
    labeller.act(type="accept", detection=RUN)
    labeller.act(type="accept", detection=RUN)
    labeller.act(type="done", done=False)
    assert labeller.store.labels.number == 1
    labeller.act(type="undo")
    assert labeller.points() == []


def test_undo_and_redo_stay_within_a_video(labeller):
    labeller.add(1.0, video="a")
    labeller.add(2.0, video="b")
    labeller.act(type="undo", video="a")
    assert labeller.rows() == [["b", "jump", "2.0"]]
    assert not labeller.act(type="undo", video="a")


class Model:
    """The same in plain words: what there is, and copies of it to go back and forth to."""

    def __init__(self):
        self.now, self.past, self.future = {}, [], []

    def do(self, change):
        before = dict(self.now)
        change(self.now)
        if self.now != before:
            self.past.append(before)
            self.future.clear()

    def step(self, source, target):
        if source:
            target.append(dict(self.now))
            self.now = source.pop()


def thirtieths(number):
    return number / 30


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("add"), st.sampled_from(["jump", "run"]), st.integers(0, 999).map(thirtieths)
        ),
        st.tuples(st.just("move"), st.integers(0, 5), st.floats(0, 100)),
        st.tuples(st.just("relabel"), st.integers(0, 5), st.sampled_from(["jump", "run"])),
        st.tuples(st.just("delete"), st.integers(0, 5)),
        st.tuples(st.just("done"), st.booleans()),
        st.tuples(st.sampled_from(["undo", "undo", "redo", "restart"])),
    ),
    max_size=25,
)  # fmt: skip


def test_the_same_point_twice_is_one(labeller):
    labeller.add(1.0)
    with pytest.raises(RefusedError, match=r"'jump' is there already at 1\.00 s"):
        labeller.add(1.0)
    labeller.act(type="move", point=labeller.add(2.0), time_s=1.0)  # onto the other
    assert labeller.rows() == [["v", "jump", "1.0"]]
    again = labeller.again()
    assert len(again.points()) == 2
    again.act(type="undo")
    assert len(again.rows()) == 2


@mock.patch("os.fsync")  # thousands of times; that it is called is tested below
@settings(max_examples=60, deadline=None)
@given(videos=st.lists(st.sampled_from("ab"), min_size=25, max_size=25), steps=STEPS)
def test_any_sequence_gives_what_a_plain_model_gives(_, tmp_path_factory, videos, steps):
    labeller = Labeller(tmp_path_factory.mktemp("folder"))
    models = {"a": Model(), "b": Model()}
    for video, (kind, *values) in zip(videos, steps, strict=False):
        model = models[video]
        ids = sorted(key for key in model.now if key != "done")
        if kind == "restart":
            labeller = labeller.again(was_killed=values == [])
        elif kind == "undo":
            labeller.act(video, type="undo")
            model.step(model.past, model.future)
        elif kind == "redo":
            labeller.act(video, type="redo")
            model.step(model.future, model.past)
        elif kind == "done":
            labeller.act(video, type="done", done=values[0])
            change = {
                True: lambda now: now.update(done=True),
                False: lambda now: now.pop("done", 0),
            }
            model.do(change[values[0]])
        elif kind == "add":
            place = (values[0], round(values[1], 6))
            if place in model.now.values():
                continue
            point = labeller.add(values[1], values[0], video=video)
            model.do(lambda now, point=point, place=place: now.update({point: place}))
        elif ids:
            point = ids[values[0] % len(ids)]
            label, time_s = model.now[point]
            if kind == "move":
                labeller.act(video, type="move", point=point, time_s=values[1])
                time_s = round(values[1], 6)
            elif kind == "relabel":
                labeller.act(video, type="relabel", point=point, label=values[1])
                label = values[1]
            else:
                labeller.act(video, type="delete", point=point)
                model.do(lambda now, point=point: now.pop(point))
                continue
            model.do(lambda now, point=point, to=(label, time_s): now.update({point: to}))
    for labels in (labeller, labeller.again()):
        for video, model in models.items():
            found = {point: (label, time_s) for point, label, time_s in labels.points(video)}
            assert found == {key: value for key, value in model.now.items() if key != "done"}
            assert labels.store.labels.video(video).done == model.now.get("done", False)
    wanted = sorted(
        {(video, *place) for video, model in models.items()
        for key, place in model.now.items() if key != "done"}
    )  # fmt: skip
    if (labeller.folder / "points.csv").exists():
        assert sorted((v, label, float(time_s)) for v, label, time_s in labeller.rows()) == wanted
    else:
        assert wanted == []
    labels.store.close()


MIXED = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.sampled_from(["add", "move", "delete", "accept", "reject", "retime", "undo", "redo"]),
        st.integers(0, 99),
    ),
    max_size=30,
)


@mock.patch("os.fsync")
@settings(max_examples=60, deadline=None)
@given(steps=MIXED)
def test_two_windows_lose_nothing_of_each_other(_, tmp_path_factory, steps):
    """An undo changes only what its own window set last, and a restart changes nothing."""
    labeller = Labeller(tmp_path_factory.mktemp("folder"))
    setters = defaultdict(list)  # name of a value -> windows that have set it, and not undone that
    for client, kind, number in steps:
        ids = [point for point, *_ in labeller.points()]
        values = {"type": kind}
        if kind == "add":
            values |= {"label": "jump", "time_s": float(number)}
            if float(number) in [
                time_s for _, label, time_s in labeller.points() if label == "jump"
            ]:
                continue
        elif kind in ("move", "delete"):
            if not ids:
                continue
            values["point"] = ids[number % len(ids)]
            if kind == "move":
                values["time_s"] = float(number)
        elif kind not in ("undo", "redo"):
            values["detection"] = (JUMP, RUN)[number % 2]
            if kind == "retime":
                values |= {"start_s": number / 2, "end_s": number / 2 + 1}
        number = labeller.store.labels.number
        labeller.act(client=client, **values)
        if labeller.store.labels.number > number:
            journal = (labeller.folder / "label" / "journal.jsonl").read_text()
            for name in json.loads(journal.splitlines()[-1])["videos"]["v"]:
                if kind == "undo":
                    assert setters[name].pop() == client
                else:
                    setters[name].append(client)
    rows, points, reviews = None, labeller.points(), labeller.reviews()
    if steps and labeller.store.labels.number:
        rows = labeller.rows()
    again = labeller.again()
    assert (again.points(), again.reviews()) == (points, reviews)
    if rows is not None:
        assert again.rows() == rows
    for client in "ab":
        while again.act(client=client, type="undo"):
            pass
    again.store.close()


# --------------------------------------------------------------------- crashes and damage


def test_every_action_is_synced_before_it_counts(tmp_path, monkeypatch):
    synced = []
    real = os.fsync
    monkeypatch.setattr(
        journal_module.os, "fsync", lambda handle: (synced.append(handle), real(handle))
    )
    labeller = Labeller(tmp_path)
    before = len(synced)
    labeller.add()
    assert len(synced) >= before + 2  # the journal, then points.csv


def test_a_torn_last_line_is_cut_off_and_work_goes_on(labeller):
    labeller.add(1.0)
    path = labeller.folder / "label" / "journal.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) // 2])
    again = labeller.again()
    assert path.read_bytes() == whole
    again.add(2.0)
    assert again.again().rows() == [["v", "jump", "1.0"], ["v", "jump", "2.0"]]


@pytest.mark.parametrize("damage", [b"\0\0\0\n", b'{"number": 1}\n', b"\n"])
def test_damage_in_the_middle_is_named(labeller, damage):
    labeller.add()
    path = labeller.folder / "label" / "journal.jsonl"
    path.write_bytes(damage + path.read_bytes())
    with pytest.raises(DataError, match=r"journal\.jsonl:1: damaged; restore"):
        labeller.again()


def test_a_full_disk_changes_nothing(labeller, monkeypatch):
    labeller.add(1.0)
    journal = labeller.folder / "label" / "journal.jsonl"
    before = journal.read_bytes()
    real = os.write
    monkeypatch.setattr(
        journal_module.os, "write", lambda handle, data: real(handle, data[: len(data) // 2])
    )
    with pytest.raises(HrproError, match=r"journal\.jsonl: cannot write: .*nothing was changed"):
        labeller.add(2.0)
    assert journal.read_bytes() == before and len(labeller.points()) == 1
    monkeypatch.undo()
    labeller.add(3.0)
    assert labeller.again().rows() == [["v", "jump", "1.0"], ["v", "jump", "3.0"]]


def test_killed_between_journal_and_points(labeller):
    labeller.add(1.0)
    points = labeller.folder / "points.csv"
    before = points.read_bytes()
    labeller.add(2.0)
    points.write_bytes(before)  # as if the second rewrite had not happened
    again = labeller.again(was_killed=True)
    assert again.rows() == [["v", "jump", "1.0"], ["v", "jump", "2.0"]]
    assert again.store.labels.number == 2


def test_the_same_file_after_a_clean_end_is_an_edit_by_hand(labeller):
    labeller.add(1.0)
    points = labeller.folder / "points.csv"
    before = points.read_bytes()
    labeller.add(2.0)
    points.write_bytes(before)
    again = labeller.again()
    assert again.rows() == [["v", "jump", "1.0"]] and len(again.points()) == 1


@pytest.mark.parametrize("left", [None, b""])
def test_a_points_file_that_is_gone_comes_back(labeller, left):
    labeller.add(1.0)
    path = labeller.folder / "points.csv"
    path.unlink() if left is None else path.write_bytes(left)
    assert labeller.again().rows() == [["v", "jump", "1.0"]]


# ------------------------------------------------------------- points.csv edited by hand


def test_lines_changed_by_hand_enter_the_journal(labeller):
    kept, gone = labeller.add(1.0), labeller.add(2.0)
    (labeller.folder / "points.csv").write_text(
        'video_id,class,time,note\nw,"a, b",0.25,new\nv,jump,1,kept\nv,jump,1.0,twice\n'
    )
    again = labeller.again()
    assert [(p, t) for p, _, t in again.points()] == [(kept, 1.0)]
    assert [(label, t) for _, label, t in again.points("w")] == [("a, b", 0.25)]
    assert gone not in dict(again.store.labels.video("v").points)
    entry = json.loads((again.folder / "label" / "journal.jsonl").read_text().splitlines()[-1])
    assert entry["action"] == {"type": "import", "file": "points.csv"}
    copies = list((again.folder / "label" / "imported").iterdir())
    assert "note" in copies[0].read_text()
    number = again.store.labels.number
    assert again.again().store.labels.number == number  # nothing new to import


def test_an_edit_while_the_page_is_open_is_kept(labeller):
    labeller.add(1.0)
    path = labeller.folder / "points.csv"
    path.write_text(path.read_text() + "w,run,5\n")
    assert labeller.store.take_over_edits() == {"w"}
    labeller.add(2.0)
    assert labeller.rows() == [["v", "jump", "1.0"], ["v", "jump", "2.0"], ["w", "run", "5.0"]]
    path.write_text("video_id,class,time\nv,jump\n")
    with pytest.raises(ConflictError, match=r"points\.csv:2: 3 values .*outside of this page"):
        labeller.store.take_over_edits()


def test_points_in_frames_become_seconds(tmp_path):
    (tmp_path / "points.csv").write_text("video_id,class,point\nv,jump,75\n")
    with pytest.raises(DataError, match=r"points\.csv:2: counts frames.*'fps: 25'"):
        Labeller(tmp_path)
    labeller = Labeller(tmp_path, frame_rate=lambda video_id: 30000 / 1001)
    [(_, label, time_s)] = labeller.points()
    assert (label, time_s) == ("jump", 2.5025)
    assert (tmp_path / "points.csv").read_text().startswith("video_id,class,point")  # untouched
    labeller.add(3.0)
    again = labeller.again()
    assert again.rows() == [["v", "jump", "2.5025"], ["v", "jump", "3.0"]]


def test_points_in_the_second_place_are_taken_over(tmp_path):
    (tmp_path / "point_labels").mkdir()
    old = tmp_path / "point_labels" / "points.csv"
    old.write_text("video_id,class,time\nv,jump,3\n")
    labeller = Labeller(tmp_path)
    assert labeller.rows() == [["v", "jump", "3.0"]]
    old.write_text("video_id,class,time\n")
    assert labeller.again().rows() == [["v", "jump", "3.0"]]


@mock.patch("os.fsync")
@settings(max_examples=50, deadline=None)
@given(
    label=st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=12),
    time_s=st.floats(0, 1e5),
)
def test_any_label_and_time_survives_the_file(_, tmp_path_factory, label, time_s):
    folder = tmp_path_factory.mktemp("folder")
    labeller = Labeller(folder)
    change = Change(labeller.store.labels.video("v"), SUGGESTED, None, "p1")
    added = change.values(action(type="add", label=label, time_s=time_s))
    labeller.store.commit("c", {"type": "add"}, {"v": added})
    again = labeller.again()
    assert again.points() == [("p1", label, round(time_s, 6))]
    assert again.store.labels.number == 1
    again.store.close()


def test_a_journal_is_what_the_labels_are_made_of(labeller):
    labeller.add(1.0)
    labeller.act(type="accept", detection=RUN)
    labels = Labels()
    journal = Journal(labeller.folder / "label" / "journal.jsonl")
    for entry in journal.read():
        labels.apply(entry)
    journal.close()
    assert points_text(labels) == (labeller.folder / "points.csv").read_text()


# ------------------------------------------------------------------------- suggestions


def test_suggestions_are_checked(tmp_path):
    path = tmp_path / "suggestions.json"
    assert read_suggestions(path) == Suggestions()
    good = {"model": "runs/a", "videos": {"v": SUGGESTED.model_dump(mode="json")}}
    path.write_text(json.dumps(good))
    assert read_suggestions(path).video("v").by_id.keys() == {JUMP, RUN}
    good["videos"]["v"]["detections"][0]["end_s"] = 5.0
    path.write_text(json.dumps(good))
    with pytest.raises(DataError, match=r"videos\.v\.detections\.0: .*end lies before the start"):
        read_suggestions(path)
