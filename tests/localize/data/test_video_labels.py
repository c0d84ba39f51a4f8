"""Video labels: the file, what a dataset makes of it, and what can be learned from it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_datasets import make_dataset

from hrpro.errors import DataError
from hrpro.localize.data.config import DatasetConfig
from hrpro.localize.data.dataset import load_dataset
from hrpro.localize.data.scan import find_supervision, scan_dataset
from hrpro.localize.data.supervision import Carried
from hrpro.localize.data.video_labels import VideoLabel, read_video_labels, video_labels_csv
from hrpro.problems import Problems


def write(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "labels.csv"
    path.write_bytes(text.encode(encoding))
    return path


# The file


def test_a_row_per_class_and_one_without_a_class_for_background(tmp_path):
    path = write(tmp_path, "video_id,class\na,run\na,jump\nb,\n")
    assert read_video_labels(path) == [
        VideoLabel("a", "run", 2),
        VideoLabel("a", "jump", 3),
        VideoLabel("b", "", 4),
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_files_as_spreadsheets_and_editors_save_them(tmp_path, encoding, delimiter):
    rows = ["note,class, video_id", "seen,Sprünge,a", ',"=run(1)",b', "x,,c"]
    text = "\r\n".join(row.replace(",", delimiter) for row in rows)
    problems = Problems()
    found = read_video_labels(write(tmp_path, text, encoding), problems)
    assert [(row.video_id, row.label) for row in found] == [
        ("a", "Sprünge"),
        ("b", "=run(1)"),
        ("c", ""),
    ]
    assert ["Windows-1252" in problem.what for problem in problems] == [True] * (
        encoding == "cp1252"
    )


def test_a_line_with_nothing_but_a_video_is_background(tmp_path):
    path = write(tmp_path, "video_id,class\na\nb,run\n")
    assert [(row.video_id, row.label) for row in read_video_labels(path)] == [
        ("a", ""),
        ("b", "run"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("video,class\na,run\n", r"labels.csv:1: no column video_id \(found: video, class\)"),
        ("video_id,class\n,run\n", "labels.csv:2: video_id is empty; fill it in"),
        ("video_id,class\na,run,fast\n", "labels.csv:2: 2 values are expected"),
        ('video_id,class\n"a"b,run\n', "labels.csv:2: not valid CSV"),
        ("", "labels.csv:1: no column video_id, class"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path, text, expected):
    with pytest.raises(DataError, match=expected):
        read_video_labels(write(tmp_path, text))


def test_good_rows_count_beside_wrong_ones(tmp_path):
    path = write(tmp_path, "video_id,class\n,run\na,run\na,run\n")
    problems = Problems()
    assert read_video_labels(path, problems) == [VideoLabel("a", "run", 3)]
    assert [(each.severity, each.where, each.what) for each in problems] == [
        ("error", f"{path}:2", "video_id is empty"),
        ("warning", f"{path}:4", "the same label as in line 3"),
    ]


name = st.text(
    st.characters(blacklist_categories=["C", "Z"]) | st.sampled_from(" =+-@'\","), min_size=1
).filter(lambda text: text == text.strip())


@given(st.dictionaries(name, st.frozensets(name, max_size=3), max_size=4))
def test_what_is_written_is_read_again(tmp_path_factory, labels):
    path = write(tmp_path_factory.mktemp("written"), video_labels_csv(labels))
    found: dict[str, frozenset[str]] = {}
    for row in read_video_labels(path):
        found[row.video_id] = found.get(row.video_id, frozenset()) | {row.label} - {""}
    assert found == labels


# The dataset


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("source"), num_train=4, num_test=2)


@pytest.fixture
def folder(source, tmp_path):
    """Four training videos without points or marks; two test videos with marks."""
    folder = shutil.copytree(source, tmp_path / "data")
    (folder / "points.csv").unlink()
    return folder


def shown(folder: Path, needs="labels") -> dict[str, list[str]]:
    data = load_dataset(folder, needs=needs)
    return {v.video_id: [data.classes[c] for c in v.labels] for v in data.train}


def test_videos_show_what_is_listed_and_some_show_nothing(folder):
    write(folder, "video_id,class\ntrain_0,run\ntrain_0,jump\ntrain_1,\ntest_0,run\n")
    data = load_dataset(folder, needs="labels")
    assert shown(folder) == {"train_0": ["jump", "run"], "train_1": []}
    assert data.video_label(data.train[1]).tolist() == [0, 0, 0]
    assert data.supervision == {"labels", "full"}
    (warning,) = [each for each in data.warnings if "left out" in each.remedy]
    assert warning.where == str(folder / "labels.csv")
    assert warning.what == "2 of 4 training videos have no label (train_2, train_3)"


def test_marks_do_not_speak_where_classes_are_listed(folder):
    """The list is what somebody wants to learn from; marks would give away more."""
    assert len(shown(folder)) == 4
    write(folder, "video_id,class\ntrain_0,run\n")
    assert shown(folder) == {"train_0": ["run"]}
    (folder / "split_train.txt").unlink()
    assert shown(folder) == {"train_0": ["run"]}


def test_points_speak_for_videos_that_are_not_listed(folder):
    write(folder, "video_id,class\ntrain_0,run\n")
    (folder / "points.csv").write_text("video_id,class,time\ntrain_1,jump,1\ntrain_0,throw,1\n")
    assert shown(folder) == {"train_0": ["run"], "train_1": ["jump"]}
    (warning,) = [w for w in load_dataset(folder, needs="labels").warnings if "listed" in w.what]
    assert warning.what == "1 video with points of classes that are not listed there (train_0)"
    # Who learns from points learns from nothing else.
    assert shown(folder, "points") == {"train_0": ["throw"], "train_1": ["jump"]}


def test_names_and_classes_that_cannot_be_meant_are_errors(folder):
    write(folder, "video_id,class\ntrain_0,runs\ntrain_1,runs\ntrain_2,\n")
    (folder / "dataset.yaml").write_text("classes: [jump, run, throw]\n")
    with pytest.raises(
        DataError,
        match=r"labels.csv:2: unknown class 'runs', did you mean 'run'\? \(2 labels\); correct",
    ):
        load_dataset(folder, needs="labels")
    (folder / "split_train.txt").write_text("train_0\ncooking_1\n")
    write(folder, "video_id,class\ntrain_0,run\ncoking_1,jump\ncoking_1,run\n")
    problems = Problems()
    scan_dataset(folder, DatasetConfig(), problems, needs="labels")
    wrong = next(each for each in problems if each.severity == "error")
    assert wrong.where == f"{folder / 'labels.csv'}:3"
    assert "did you mean 'cooking_1'?" in wrong.what
    assert wrong.what.endswith("(2 labels)")
    assert wrong.remedy == "correct the name or delete its labels"


def test_without_any_label_it_says_what_to_write(folder):
    (folder / "annotations.json").unlink()
    write(folder, "video_id,class\n")
    with pytest.raises(DataError, match=r"no training videos with labels; .*labels.csv"):
        load_dataset(folder, needs="labels")


def test_a_damaged_file_disturbs_nobody_who_learns_from_points(source, tmp_path):
    folder = shutil.copytree(source, tmp_path / "data")
    write(folder, "nonsense\n")
    assert len(load_dataset(folder).train) == 4
    with pytest.raises(DataError, match=r"labels\.csv:1: no column"):
        load_dataset(folder, needs="labels")


# The kind of supervision


def carried(pointed=0, listed=0, marked=0) -> Carried:
    return Carried(*(frozenset(map(str, range(n))) for n in (pointed, listed, marked)))


@pytest.mark.parametrize(
    ("known", "best", "usual"),
    [
        (carried(), None, None),
        (carried(listed=3), "labels", "labels"),
        (carried(pointed=3), "points", "points"),
        (carried(marked=3), "full", "full"),
        (carried(pointed=3, marked=3), "full", "points"),
        (carried(pointed=3, listed=6), "points", "points"),
        (carried(pointed=2, listed=6), "labels", "labels"),
        (carried(listed=4, marked=9), "full", "labels"),
        (carried(pointed=9, marked=4), "points", "points"),
    ],
)
def test_the_best_kind_is_the_one_that_says_most_of_many_videos(known, best, usual):
    assert known.best() == best
    assert known.best(marks=False) == usual


def test_supervision_is_found_in_all_files(folder):
    write(folder, "video_id,class\ntrain_0,\ntrain_1,run\ntest_0,run\n")
    (folder / "points.csv").write_text("video_id,class,time\ntrain_1,jump,1\ntest_1,jump,1\n")
    found = find_supervision(folder, DatasetConfig())
    assert found.listed == {"train_0", "train_1"}
    assert found.pointed == {"train_1"}
    assert found.marked == {"train_0", "train_1"}
