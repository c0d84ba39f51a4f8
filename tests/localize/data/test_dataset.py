"""Dataset folders: points, splits, features, and what is said when something is wrong."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from published_layout import DIM, SNIPPETS, damage_nan, features, refusal, save, write_points

from hrpro.annotations import Action, VideoAnnotation, read_ground_truth, write_ground_truth
from hrpro.errors import UsageError
from hrpro.features import Fingerprint, Sidecar, VideoFacts, write_features
from hrpro.localize.data.config import DatasetConfig
from hrpro.localize.data.dataset import load_dataset
from hrpro.localize.data.grid import SnippetGrid
from hrpro.localize.data.points import PointLabel, read_points
from hrpro.localize.data.scan import video_fps
from hrpro.pipeline.datasets.check import check_dataset

THUMOS = DatasetConfig(
    excluded_videos=("video_test_0000270", "video_test_0001292", "video_test_0001496"),
    ambiguous="Ambiguous_test.txt",
)


# The layout HR-Pro published


def test_dataset_holds_splits_points_features_and_ground_truth(folder: Path) -> None:
    data = load_dataset(folder)
    assert data.name == "data"
    assert data.classes == ("jump", "run")
    assert [v.video_id for v in data.train + data.test] == ["a", "b", "c", "d"]
    assert data.dim == DIM
    a, b = data.train
    np.testing.assert_array_equal(data.features(b), features(1))
    assert [(p.class_index, p.snippet) for p in b.points] == [(0, 3), (1, 15)]
    labels = data.point_labels(b)
    assert labels.shape == (SNIPPETS, 2)
    assert labels.sum() == labels[3, 0] + labels[15, 1] == 2
    assert data.video_label(a).tolist() == [0, 1]
    assert data.video_label(b).tolist() == [1, 1]
    assert data.test[0].points == ()
    assert data.ground_truth("test")["c"].actions == (Action("run", 5, 6),)
    assert data.ground_truth_table("test").values.tolist() == [
        ["c", "run", 5, 6],
        ["d", "run", 7, 9],
    ]
    assert data.can_evaluate
    assert data.fingerprint is None
    assert not data.warnings


@pytest.mark.parametrize(
    ("name", "config", "train", "test", "points", "classes"),
    [
        ("thumos14", THUMOS, 200, 210, 3003, 20),
        ("gtea", DatasetConfig(), 21, 7, 367, 7),
        ("beoid", DatasetConfig(), 46, 12, 594, 34),
        ("composed", DatasetConfig(), 60, 24, 263, 14),
        # 8 of its 9032 training videos have no point, and one point is there twice
        ("activitynet13", DatasetConfig(fps=30), 9024, 4427, 13903, 200),
    ],
)
def test_published_sets_are_complete_but_for_features(
    shared: Path, name: str, config: DatasetConfig, train: int, test: int, points: int, classes: int
) -> None:
    report = check_dataset(shared / "data" / name, config)
    assert report.counts["training videos"] == train
    assert report.counts["test videos"] == test
    assert report.counts["points"] == points
    assert report.counts["classes"] == classes
    blocking = [p for p in report.problems if p.severity != "warning"]
    assert [p.what.split("(")[0] for p in blocking] == [
        f"features of {train} of {train} train videos are missing ",
        f"features of {test} of {test} test videos are missing ",
    ]
    if name == "thumos14":
        assert report.next_command == "hrpro dataset fetch thumos14"


def test_published_points_land_on_the_snippets_the_release_uses(
    shared: Path, tmp_path: Path
) -> None:
    for name in ("split_train.txt", "split_test.txt", "gt_full.json", "point_labels"):
        (tmp_path / name).symlink_to(shared / "data/thumos14" / name)
    truth = read_ground_truth(tmp_path / "gt_full.json")
    for video_id in (tmp_path / "split_train.txt").read_text().split():
        snippets = int(truth[video_id].duration_s * 25 / 16)
        save(tmp_path / f"features/train/{video_id}.npy", np.zeros((snippets, 1), np.float32))
    data = load_dataset(tmp_path, subsets=["train"])
    expected: dict[str, set[tuple[int, str]]] = {}
    with (tmp_path / "point_labels/point_gaussian.csv").open() as file:
        for row in csv.DictReader(file):
            index = int(int(row["point"]) * (25 / (truth[row["video_id"]].fps * 16)))
            expected.setdefault(row["video_id"], set()).add((index, row["class"]))
    assert len(data.train) == 200
    for video in data.train:
        found = {(p.snippet, data.classes[p.class_index]) for p in video.points}
        last = video.num_snippets - 1
        assert found == {(min(index, last), label) for index, label in expected[video.video_id]}


def test_test_split_alone_needs_no_points(folder: Path) -> None:
    (folder / "point_labels/point_gaussian.csv").unlink()
    data = load_dataset(folder, subsets=["test"])
    assert data.train == ()
    assert [v.video_id for v in data.test] == ["c", "d"]


# Layouts of one's own


def test_points_are_enough(tmp_path: Path) -> None:
    """No ground truth, no splits, flat and nested features, times in seconds."""
    (tmp_path / "points.csv").write_text("video_id,class,time\na,run,2.0\nsub/b,jump,12.79\n")
    save(tmp_path / "features/a.npy", features())
    save(tmp_path / "features/sub/b.npy", features())
    data = load_dataset(tmp_path)
    assert [v.video_id for v in data.train] == ["a", "sub/b"]
    assert [v.points[0].snippet for v in data.train] == [3, 19]
    assert data.train[0].duration_s == pytest.approx(12.8)
    assert not data.can_evaluate
    assert data.ground_truth("train") == {}


def test_nested_feature_is_found_by_its_name(folder: Path) -> None:
    (folder / "features/train/deep").mkdir()
    (folder / "features/train/a.npy").rename(folder / "features/train/deep/a.npy")
    assert load_dataset(folder).train[0].feature_path.parts[-2:] == ("deep", "a.npy")


def test_features_of_a_subset_may_be_a_link_to_another_disk(folder: Path, tmp_path: Path) -> None:
    elsewhere = (folder / "features/train").rename(tmp_path / "large disk")
    (folder / "features/train").symlink_to(elsewhere)
    assert load_dataset(folder).train[0].feature_path == folder / "features/train/a.npy"


def test_without_test_split_the_rest_of_the_ground_truth_is_the_test(folder: Path) -> None:
    (folder / "split_test.txt").unlink()
    (folder / "split_train.txt").unlink()
    data = load_dataset(folder)
    assert [v.video_id for v in data.train] == ["a", "b"]
    assert [v.video_id for v in data.test] == ["c", "d"]


def test_class_without_test_ground_truth_and_video_without_any(folder: Path) -> None:
    truth = read_ground_truth(folder / "gt_full.json")
    del truth["d"]
    write_ground_truth(folder / "gt_full.json", truth.values())
    data = load_dataset(folder)
    assert data.classes == ("jump", "run")
    assert data.test[1].actions is None
    assert set(data.ground_truth()) == {"c"}
    assert "no ground truth for 1 of 2 test videos (d)" in str(data.warnings[0])


def test_training_video_without_points_is_left_out(folder: Path) -> None:
    write_points(folder, "video_id,class,point\na,run,60\n")
    data = load_dataset(folder)
    assert [v.video_id for v in data.train] == ["a"]
    assert [w.what for w in data.warnings] == ["1 of 2 training videos have no point (b)"]


def test_class_without_points_is_warned_about(folder: Path) -> None:
    write_points(folder, "video_id,class,point\na,run,60\nb,run,300\n")
    assert load_dataset(folder).classes == ("run",)  # jump is in marks of training videos only
    (folder / "dataset.yaml").write_text("classes: [jump, run]\n")
    (warning,) = load_dataset(folder).warnings
    assert str(warning).endswith("1 of 2 classes have no point (jump); they cannot be learned")


def test_excluded_videos_are_gone(folder: Path) -> None:
    data = load_dataset(folder, DatasetConfig(excluded_videos=("b", "c")))
    assert [v.video_id for v in data.train + data.test] == ["a", "d"]
    assert data.classes == ("run",)


def test_dataset_yaml_speaks_for_the_folder(folder: Path) -> None:
    (folder / "dataset.yaml").write_text("name: mine\nexcluded_videos: [b]\ntiou: [0.5]\n")
    data = load_dataset(folder)
    assert (data.name, data.config.tiou, len(data.train)) == ("mine", (0.5,), 1)
    (folder / "dataset.yaml").write_text("preset: thumos\nfps: 24\n")
    (folder / "Ambiguous_test.txt").write_text("c  0.5 2.4\n")
    data = load_dataset(folder)
    assert (data.name, data.config.fps) == ("thumos14", 24)
    assert data.ambiguous is not None
    assert data.ambiguous.values.tolist() == [["c", 0.5, 2.4]]


def test_typo_in_dataset_yaml_names_the_line(folder: Path) -> None:
    (folder / "dataset.yaml").write_text("name: mine\nexcluded_video: [b]\n")
    with pytest.raises(UsageError) as caught:
        load_dataset(folder)
    assert str(caught.value) == (
        f"{folder}/dataset.yaml:2: unknown key 'dataset.excluded_video'; "
        "did you mean 'dataset.excluded_videos'?"
    )


# Time


def test_points_in_the_dropped_tail_go_to_the_last_snippet(folder: Path) -> None:
    write_points(folder, "video_id,class,point\na,run,384\nb,jump,383\n")
    a, b = load_dataset(folder).train
    assert a.points[0].snippet == b.points[0].snippet == SNIPPETS - 1


def test_index_of_a_frame_is_one_division() -> None:
    grid = SnippetGrid()
    for fps in (15, 24, 25, 29.97, 30):
        for frame in range(0, 5000, 7):
            assert grid.index_at_frame(frame, fps) == int(frame * 25 / (fps * 16))
    assert grid.index_at(1.9) == 2
    assert grid.offset_s == 0


def test_overlapping_snippets_answer_for_their_middle() -> None:
    grid = SnippetGrid(fps=25, snippet=16, stride=4)
    assert grid.offset_s == pytest.approx(6 / 25)
    assert grid.covered_s(3) == pytest.approx(24 / 25)
    for snippet in range(50):
        middle_s = (snippet * 4 + 8) / 25
        assert grid.index_at(middle_s) == snippet
        assert grid.index_at_frame(middle_s * 30, 30) == snippet
        assert grid.start_s(snippet) <= middle_s < grid.start_s(snippet + 1)


def test_fine_features_thinned_are_those_of_the_coarser_stride(folder: Path) -> None:
    for path in (folder / "features").rglob("*.npy"):
        facts = VideoFacts(duration_s=13)
        sidecar = Sidecar(fingerprint=Fingerprint(stride=4), video=facts, dim=DIM)
        write_features(path, features(5, 78), sidecar)
    fine = load_dataset(folder)
    for stride, every in ((16, 4), (11, 2), (4, 1), (3, 1)):
        thin = fine.thinned(stride)
        for video, before in zip(thin.train + thin.test, fine.train + fine.test, strict=True):
            assert video.grid == SnippetGrid(stride=4 * every)
            assert len(thin.features(video)) == video.num_snippets == -(-78 // every)
            np.testing.assert_array_equal(thin.features(video), features(5, 78)[::every])
            assert thin.point_labels(video).sum() == len(before.points)
    coarse = fine.thinned(16)
    # Frames 72 and 300 at 30 fps, as with features that were made so.
    assert [point.snippet for point in coarse.train[1].points] == [3, 15]
    assert coarse.thinned(32).train[0].thinning_factor == 8


def test_grid_comes_from_the_sidecar(folder: Path) -> None:
    for path in (folder / "features").rglob("*.npy"):
        facts = VideoFacts(duration_s=13, fps="30000/1001")
        print_ = Fingerprint(fps="native", snippet=8, stride=8)
        write_features(path, np.load(path), Sidecar(fingerprint=print_, video=facts, dim=DIM))
    data = load_dataset(folder, DatasetConfig(cache_gb=0))
    assert data.train[0].grid == SnippetGrid(30000 / 1001, 8, 8)
    assert data.train[0].points[0].snippet == int(60 / 30 * 30000 / 1001 / 8)
    assert data.fingerprint == print_


def test_frame_rate_follows_from_last_frames(shared: Path) -> None:
    """As ActivityNet needs it; GTEA is known to run at 15 frames per second."""
    rows: dict[str, list[PointLabel]] = {}
    for row in read_points(shared / "data/gtea/point_labels/point_gaussian.csv"):
        rows.setdefault(row.video_id, []).append(row)
    truth = read_ground_truth(shared / "data/gtea/gt_full.json")
    for video_id, points in rows.items():
        without = VideoAnnotation(video_id, actions=truth[video_id].actions)
        assert video_fps(without, points) == pytest.approx(15, rel=1e-9)
        assert video_fps(without, points[1:]) is None
        some = [replace(points[0], stop_frame=None), *points[1:]]
        assert video_fps(without, some) is None


def test_ground_truth_names_get_their_prefix(folder: Path) -> None:
    text = (folder / "gt_full.json").read_text().replace('"c"', '"v_c"')
    (folder / "gt_full.json").write_text(text)
    for name in ("a", "b", "c", "d"):
        for path in (folder / "features").rglob(f"{name}.npy"):
            path.rename(path.with_name(f"v_{name}.npy"))
    (folder / "split_train.txt").write_text("v_a\n")
    (folder / "split_test.txt").write_text("v_c\nv_d\n")
    write_points(folder, "video_id,class,point\nv_a,run,60\n")
    data = load_dataset(folder, DatasetConfig(ground_truth_prefix="v_"))
    assert set(data.ground_truth()) == {"v_c", "v_d"}


# What is said when something is wrong


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("video_id,point\na,1\n", ":1: no column class (found: video_id, point); the first line"),
        ("video_id,class\na,x\n", ":1: no column point or time (found: video_id, class)"),
        ("", ":1: no column video_id, class, point or time (found: none)"),
        ("video_id|class|point\na|x|1\n", "(found: video_id|class|point)"),
        ("video_id,class,point\na,run,60\na,run\n", ":3: 3 values are expected, as in line 1"),
        ("video_id,class,point\na,run,x\n", ":2: column 'point': 'x' is not a number from 0 up"),
        ("video_id,class,point\na,run,-1\n", ":2: column 'point': '-1' is not a number"),
        ("video_id,class,time\na,run,nan\n", ":2: column 'point': '' is not a number"),
        ("video_id,class,point\n,run,1\n", ":2: video_id or class is empty"),
        ('video_id,class,point\n"a,run,1\n', "not valid CSV"),
        ("video_id,class,point\na,run,60\nb,jump,500\n", ":3: the point at 16.67 s lies after the"),
        ("video_id,class,time\na,run,2\nb,jump,99\n", ":3: the point at 99.00 s lies after the"),
    ],
)
def test_bad_points_are_named_by_line(folder: Path, text: str, message: str) -> None:
    path = write_points(folder, text)
    if "nan" in text:
        message = message.replace("'point': ''", "'time': 'nan'")
    line = refusal(folder)
    assert line.startswith(str(path))
    assert message in line


def test_byte_order_mark_and_blanks_are_accepted(folder: Path) -> None:
    path = folder / "point_labels/point_gaussian.csv"
    path.write_bytes(b"\xef\xbb\xbfvideo_id, class, point\r\na, run, 60\r\n\r\nb, jump, 72\r\n")
    assert [(p.video_id, p.label, p.frame, p.line) for p in read_points(path)] == [
        ("a", "run", 60, 2),
        ("b", "jump", 72, 4),
    ]


def test_class_names_that_look_like_missing_values_are_text(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_text("video_id,class,time\n001,NA,1\n001,nan,2\n")
    assert [(p.video_id, p.label) for p in read_points(path)] == [("001", "NA"), ("001", "nan")]


def test_repeated_point_is_used_once(folder: Path) -> None:
    write_points(folder, "video_id,class,point\na,run,60\nb,jump,72\na,run,60\nb,run,90\n")
    data = load_dataset(folder)
    assert len(data.train[0].points) == 1
    assert "point_gaussian.csv:4: the same point as in line 2" in str(data.warnings[0])


def test_unknown_names_come_with_the_one_that_was_meant(folder: Path) -> None:
    config = DatasetConfig(classes=("jump", "running"))
    write_ground_truth(folder / "gt_full.json", [])
    write_points(folder, "video_id,class,time\na,runing,1\nb,jump,2\nb,runing,3\n")
    assert ":2: unknown class 'runing', did you mean 'running'? (2 points)" in refusal(
        folder, config=config
    )


def test_frame_rate_has_to_be_known_for_frames(folder: Path) -> None:
    (folder / "gt_full.json").unlink()
    assert "the frame rate of 2 videos is not known (a, b); give 'fps'" in refusal(folder)
    assert load_dataset(folder, DatasetConfig(fps=30)).train[0].points[0].snippet == 3


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("a\nb\na\n", "split_train.txt:3: 'a' is already in line 1; delete one"),
        ("a\nb\nc\n", "split_test.txt:1: 'c' is also in "),
    ],
)
def test_duplicate_ids_are_refused(folder: Path, split: str, message: str) -> None:
    (folder / "split_train.txt").write_text(split)
    assert message in refusal(folder)


def test_check_finds_everything_at_once(folder: Path) -> None:
    write_points(folder, "video_id,class,point\na,run,60\na,run,x\nq,run,1\nb,jump,999\n")
    damage_nan(folder / "features/test/d.npy")
    (folder / "features/test/c.npy").unlink()
    (folder / "split_test.txt").write_text("c\nd\na\n")
    report = check_dataset(folder)
    assert not report.ok
    text = "\n".join(report.lines())
    for expected in (
        r"csv:3: column 'point': 'x'",
        r"csv: 1 points are in 1 videos of neither split \(q\); left out",
        r"csv:5: the point at 33.30 s",
        r"split_test.txt:3: 'a' is also in",
        r"features of 1 of 3 test videos are missing",
        r"d.npy: NaN or infinity",
        r"next: put the errors right, then: hrpro dataset check",
    ):
        assert re.search(expected, text), text
    json.dumps(report.to_json())


def test_next_command_follows_what_is_missing(tmp_path: Path, folder: Path) -> None:
    assert check_dataset(folder).next_command == f"hrpro train --dataset {folder}"
    own = tmp_path / "my own"
    own.mkdir()
    assert check_dataset(own).next_command == f"hrpro init '{own}' --videos DIR"
    (own / "videos").mkdir()
    assert check_dataset(own).next_command == f"hrpro init '{own}'"
    (own / "split_train.txt").write_text("a\nb\n")
    (own / "split_test.txt").write_text("c\n")
    (own / "points.csv").write_text("video_id,class,time\n")
    report = check_dataset(own)
    assert report.next_command == f"hrpro label '{own}'"
    assert [(p.severity, p.what) for p in report.problems] == [
        ("missing", "no point labels yet"),
        ("missing", "features of 2 of 2 train videos are missing (a, b)"),
        ("missing", "features of 1 of 1 test videos are missing (c)"),
    ]
    (own / "points.csv").write_text("video_id,class,time\na,run,1\nc,run,2\n")
    report = check_dataset(own)
    assert report.next_command == f"hrpro extract '{own}'"
    assert report.counts["points"] == report.counts["points of test videos (not used)"] == 1
    for name in "abc":
        save(own / f"features/{name}.npy", features())
    report = check_dataset(own)
    assert (report.ok, report.next_command) == (True, f"hrpro train --dataset '{own}'")
    assert [p.what for p in report.problems] == ["1 of 2 training videos have no point (b)"]


def test_points_of_test_videos_alone_train_nothing(folder: Path) -> None:
    write_points(folder, "video_id,class,point\nc,run,60\n")
    assert "no training videos with points" in refusal(folder)


def test_videos_with_points_outside_the_splits_are_left_out_with_a_count(folder: Path) -> None:
    """People train on subsets: neither features nor a video of that name make it one of them."""
    rows = "a,run,1\nb,jump,2\nd,run,3\nnew,run,4\nfilmed,run,5\nfilmed,run,6\nleft-out,run,6\n"
    truth = json.loads((folder / "gt_full.json").read_text())
    truth["database"]["left-out"] = truth["database"]["a"]
    (folder / "gt_full.json").write_text(json.dumps(truth))
    (folder / "point_labels/point_gaussian.csv").write_text(f"video_id,class,time\n{rows}")
    save(folder / "features/new.npy", features())
    (folder / "videos").mkdir()
    (folder / "videos/filmed.mp4").touch()
    data = load_dataset(folder)
    assert [v.video_id for v in data.train] == ["a", "b"]
    assert [v.video_id for v in data.test] == ["c", "d"]
    assert [w.what for w in data.warnings] == [
        "4 points are in 3 videos of neither split (filmed, left-out, new)"
    ]


def test_a_near_miss_of_a_known_video_is_an_error(folder: Path) -> None:
    (folder / "split_train.txt").write_text("a\nb\ncooking_7\n")
    path = write_points(folder, "video_id,class,time\na,run,1\ncoking_7,run,1\ncoking_7,run,2\n")
    line = refusal(folder)
    assert line.startswith(f"{path}:3: there is no video 'coking_7'; did you mean 'cooking_7'?")
    assert "(2 points)" in line
    save(folder / "features/coking_7.npy", features())  # then it is one
    warnings = load_dataset(folder).warnings
    assert any("videos of neither split (coking_7)" in each.what for each in warnings)


@pytest.mark.parametrize("name", ["split_train.txt", "point_labels", "features"])
def test_a_link_that_leads_nowhere_is_not_a_file_that_is_not_there(
    folder: Path, tmp_path: Path, name: str
) -> None:
    (folder / "notes").symlink_to(tmp_path / "nowhere")  # nobody looks for it
    (folder / name).rename(tmp_path / "gone")
    (folder / name).symlink_to(tmp_path / "gone")
    load_dataset(folder)
    (tmp_path / "gone").rename(tmp_path / "moved")
    assert refusal(folder) == (
        f"{folder / name}: is a link to {tmp_path / 'gone'}, which is not there; "
        "link it anew or delete it"
    )


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    assert "no such dataset folder; name one with videos/ and points.csv" in refusal(
        tmp_path / "nothing"
    )


def test_configured_names_cannot_leave_the_folder(folder: Path) -> None:
    config = DatasetConfig(ambiguous="../../etc/passwd")
    assert "not a name inside" in refusal(folder, config=config)
