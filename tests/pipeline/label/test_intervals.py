"""Start and end marks: one action has one point, and annotations.json loses nothing."""

from __future__ import annotations

import json
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labeller import JUMP, RUN, Labeller
from tiny_datasets import make_dataset

from hrpro.annotations import Action, VideoAnnotation, read_ground_truth
from hrpro.localize.data.dataset import load_dataset
from hrpro.pipeline.label.actions import ConflictError, RefusedError
from hrpro.pipeline.label.annotations_file import AnnotationsFile
from hrpro.pipeline.label.state import INTERVAL, Interval
from hrpro.pipeline.label.store import LabelStore
from hrpro.video_ids import KnownVideos


@pytest.fixture
def labeller(tmp_path):
    return Labeller(tmp_path)


def mark(labeller, start_s, end_s, label="jump", **options):
    labeller.act(type="mark", label=label, start_s=start_s, end_s=end_s, **options)
    return f"ip{labeller.store.labels.number}"


def spans(labeller, video="v"):
    return [each["segment"] for each in labeller.marked(video)]


# ----------------------------------------------------------------- what the actions mean


def test_an_interval_is_written_with_a_point_in_its_middle(labeller):
    interval = mark(labeller, 2.0, 4.0)
    assert labeller.intervals() == [(interval, "jump", 2.0, 4.0)]
    assert labeller.rows() == [["v", "jump", "3.0"]]
    labeller.act(type="retime", interval=interval, start_s=2.0, end_s=6.0)
    labeller.act(type="relabel", interval=interval, label="run")
    assert labeller.rows() == [["v", "run", "4.0"]]
    assert labeller.marked() == [{"label": "run", "segment": [2.0, 6.0]}]
    labeller.act(type="delete", interval=interval)
    assert labeller.rows() == [] and labeller.marked() is None
    for _ in range(2):
        labeller.act(type="undo")
    assert labeller.rows() == [["v", "jump", "4.0"]]
    assert labeller.marked() == [{"label": "jump", "segment": [2.0, 6.0]}]


def test_an_interval_that_is_moved_takes_its_point_along(labeller):
    interval = mark(labeller, 2.0, 4.0)
    labeller.act(type="retime", interval=interval, start_s=7.52, end_s=9.52)
    assert labeller.rows() == [["v", "jump", "8.52"]] and spans(labeller) == [[7.52, 9.52]]
    with pytest.raises(RefusedError, match="after the end of the video"):
        labeller.act(type="retime", interval=interval, start_s=99.0, end_s=101.0)
    labeller.act(type="undo")
    assert labeller.rows() == [["v", "jump", "3.0"]] and spans(labeller) == [[2.0, 4.0]]


def test_a_point_of_a_person_within_is_the_point_of_the_interval(labeller):
    point = labeller.add(2.5)
    interval = mark(labeller, 2.0, 4.0)
    mark(labeller, 2.0, 4.0, "run")  # another class is another action
    assert labeller.rows() == [["v", "jump", "2.5"], ["v", "run", "3.0"]]
    labeller.act(type="delete", interval=interval)
    assert point in [name for name, *_ in labeller.points()]


def test_an_accepted_detection_and_an_interval_of_one_action_have_one_point(labeller):
    labeller.act(type="accept", detection=RUN)
    mark(labeller, 9.0, 21.0, "run")
    assert labeller.rows() == [["v", "run", "15.0"]]
    mark(labeller, 1.0, 3.5)
    labeller.act(type="accept", detection=JUMP)
    assert labeller.rows() == [["v", "jump", "2.25"], ["v", "run", "15.0"]]


def test_without_its_point_an_interval_stays(labeller):
    mark(labeller, 2.0, 4.0)
    [(point, *_)] = labeller.points()
    labeller.act(type="delete", point=point)
    assert labeller.rows() == [] and spans(labeller) == [[2.0, 4.0]]
    labeller.act(type="undo")
    assert labeller.rows() == [["v", "jump", "3.0"]]


def test_what_makes_no_sense_is_refused(labeller):
    interval = mark(labeller, 2.0, 4.0)
    with pytest.raises(RefusedError, match="there already"):
        mark(labeller, 2.0, 4.0)
    with pytest.raises(RefusedError, match="must lie after the start"):
        mark(labeller, 4.0, 4.0)
    with pytest.raises(RefusedError, match="after the end of the video"):
        mark(labeller, 99.0, 101.0)
    with pytest.raises(RefusedError, match="name one point, interval or detection"):
        labeller.act(type="delete")
    labeller.act(type="delete", interval=interval)
    with pytest.raises(ConflictError, match="this interval is gone"):
        labeller.act(type="relabel", interval=interval, label="run")


def test_subjects_tell_two_actions_at_one_time_apart(labeller):
    first = labeller.add(3.0)
    labeller.act(type="who", point=first, subject="Ann")
    interval = mark(labeller, 2.0, 4.0)
    labeller.act(type="who", interval=interval, subject="Ben")
    assert labeller.rows() == [
        ["v", "jump", "3.0", "Ann", ""],
        ["v", "jump", "3.0", "Ben", ""],
    ]
    assert labeller.marked() == [{"label": "jump", "segment": [2.0, 4.0], "subject": "Ben"}]
    labeller.act(type="who", detection=JUMP, subject="Cid")
    assert labeller.reviews()[JUMP].subject == "Cid"
    assert labeller.again().rows() == labeller.rows()


# ---------------------------------------------------------------- annotations.json of others

FOREIGN = {
    "version": "VERSION 1.3",
    "taxonomy": [{"nodeName": "jump"}],
    "database": {
        "v": {
            "subset": "test",
            "duration": 50,
            "url": "https://example.org/v",
            "annotations": [
                {"label": "jump", "segment": [1, 2.25], "difficult": True},
                {"label": "Ambiguous", "segment": [7, 8], "why": "dark"},
                {"label": "run", "segment": [3, 4], "subject": "Ann", "modifiers": ["fast"]},
                {"label": "run", "segment": [3, 4], "subject": "Ann", "modifiers": ["fast"]},
            ],
        },
        "empty": {"duration": 9.0, "annotations": []},
    },
}


def foreign(folder):
    (folder / "annotations.json").write_text(json.dumps(FOREIGN))
    return Labeller(folder)


def content(folder):
    return json.loads((folder / "annotations.json").read_text())


def test_a_file_from_elsewhere_is_read_and_left_alone(tmp_path):
    labeller = foreign(tmp_path)
    assert [each[1:] for each in labeller.intervals()] == [
        ("jump", 1.0, 2.25), ("run", 3.0, 4.0), ("run", 3.0, 4.0),
    ]  # fmt: skip
    labeller.add(20.0)
    assert content(tmp_path) == FOREIGN
    assert labeller.rows() == [["v", "jump", "20.0"]], "marks that were there add no points"


def test_what_the_page_does_not_know_stays_in_the_file(tmp_path):
    labeller = foreign(tmp_path)
    [(jump, *_), *_] = labeller.intervals()
    labeller.act(type="retime", interval=jump, start_s=1.5, end_s=2.5)
    mark(labeller, 10.0, 11.0, video="new")
    now = content(tmp_path)
    before = FOREIGN["database"]["v"]
    assert now["taxonomy"] == FOREIGN["taxonomy"]
    assert now["database"]["empty"] == FOREIGN["database"]["empty"]
    assert now["database"]["v"] | {"annotations": 0} == before | {"annotations": 0}
    marks = now["database"]["v"]["annotations"]
    assert marks[0] == {"label": "jump", "segment": [1.5, 2.5], "difficult": True}
    assert all(each in marks for each in before["annotations"][1:]) and len(marks) == 4
    labeller.act(type="undo")
    labeller.act("new", type="undo")
    now = content(tmp_path)
    assert "new" not in now["database"], "a video of which nothing is known is not an empty one"
    marks = now["database"]["v"]["annotations"]
    assert all(each in marks for each in before["annotations"]) and len(marks) == 4
    assert len(list((tmp_path / "label" / "imported").iterdir())) == 1


def test_marks_of_somebody_else_are_taken_over_while_the_page_runs(labeller):
    interval = mark(labeller, 2.0, 4.0)
    path = labeller.folder / "annotations.json"
    text = path.read_text()
    theirs = '"annotations": [{"label": "run", "segment": [8, 9]},'
    path.write_text(text.replace('"annotations": [', theirs))
    assert labeller.store.take_over_edits() == {"v"}
    assert [each[1:] for each in labeller.intervals()] == [("jump", 2.0, 4.0), ("run", 8.0, 9.0)]
    assert labeller.intervals()[0][0] == interval
    path.write_text("{}")
    with pytest.raises(ConflictError, match=r"annotations\.json: .* outside of this page"):
        labeller.store.take_over_edits()


# --------------------------------------------------------------------- crashes and restarts


@pytest.mark.parametrize("file", ["points.csv", "annotations.json"])
def test_killed_between_the_journal_and_a_file(labeller, file):
    mark(labeller, 1.0, 2.0)
    path = labeller.folder / file
    before = path.read_bytes()
    mark(labeller, 5.0, 6.0)
    rows, marks = labeller.rows(), labeller.marked()
    path.write_bytes(before)
    again = labeller.again(was_killed=True)
    assert (again.rows(), again.marked()) == (rows, marks)
    assert again.store.labels.number == 2


def test_a_file_that_is_gone_is_written_again(labeller):
    mark(labeller, 1.0, 2.0)
    (labeller.folder / "annotations.json").unlink()
    assert spans(labeller.again()) == [[1.0, 2.0]]


STEPS = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.sampled_from(["mark", "add", "retime", "relabel", "delete", "accept", "undo", "redo"]),
        st.integers(0, 40),
    ),
    max_size=25,
)


@mock.patch("os.fsync")
@settings(max_examples=40, deadline=None)
@given(steps=STEPS)
def test_files_and_restarts_follow_whatever_is_done(_, tmp_path_factory, steps):
    labeller = Labeller(tmp_path_factory.mktemp("folder"))
    for client, kind, number in steps:
        ids = [interval for interval, *_ in labeller.intervals()]
        values = {"type": kind}
        if kind in ("mark", "retime"):
            values |= {"start_s": number / 2, "end_s": number / 2 + 1}
        if kind in ("retime", "relabel", "delete"):
            if not ids:
                continue
            values["interval"] = ids[number % len(ids)]
        if kind in ("mark", "add", "relabel"):
            values["label"] = ("jump", "run")[number % 2]
        if kind == "add":
            values["time_s"] = number / 2
        if kind == "accept":
            values["detection"] = (JUMP, RUN)[number % 2]
        try:
            labeller.act(client=client, **values)
        except RefusedError:
            continue  # it is there already
    intervals, points = labeller.intervals(), labeller.points()
    owned = [each.point for each in labeller.store.labels.video("v").intervals.values()]
    assert set(filter(None, owned)) <= {point for point, *_ in points}
    path = labeller.folder / "annotations.json"
    if path.exists():
        actions = read_ground_truth(path).get("v")
        on_disk = [(a.label, a.start_s, a.end_s) for a in actions.actions] if actions else []
        assert on_disk == [each[1:] for each in intervals]
    else:
        assert intervals == []
    again = labeller.again()
    assert (again.intervals(), again.points()) == (intervals, points)
    again.store.close()


# ------------------------------------------------------------------- what they are good for


def test_training_and_evaluation_pick_them_up(tmp_path):
    """Marks of training videos are full supervision, those of test videos the held-out truth."""
    make_dataset(tmp_path, 3, 2, ground_truth=False)
    (tmp_path / "label").mkdir()
    videos = KnownVideos([])

    def facts(video_id):
        return VideoAnnotation(video_id, video_id.partition("_")[0], 25.6, 25.0)

    path = tmp_path / "annotations.json"
    annotations = AnnotationsFile(path, videos, facts)
    store = LabelStore(tmp_path, lambda _: None, False, videos, annotations)
    for number, video_id in enumerate(["train_0", "train_1", "test_0"], start=1):
        interval = Interval(label="jump", start_s=2.0, end_s=5.0)
        store.commit("c", {"type": "mark"}, {video_id: {f"{INTERVAL}i{number}": interval}})
    store.close()
    full = load_dataset(tmp_path, needs="full")
    assert [video.video_id for video in full.train] == ["train_0", "train_1"]
    assert full.train[0].actions == (Action("jump", 2.0, 5.0),)
    assert "full" in full.supervision
    assert list(full.ground_truth("test")) == ["test_0"] and full.can_evaluate
    assert read_ground_truth(path)["test_0"] == VideoAnnotation(
        "test_0", "test", 25.6, 25.0, (Action("jump", 2.0, 5.0),)
    )
