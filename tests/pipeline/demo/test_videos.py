from __future__ import annotations

import csv
import hashlib
import math

import av
import numpy as np
import pytest

from hrpro.annotations import Action, read_ground_truth
from hrpro.errors import HrproError
from hrpro.localize.data.dataset import load_dataset
from hrpro.pipeline.demo import videos as demo_videos
from hrpro.pipeline.demo.figures import HEIGHT, WIDTH, draw, make_scene, skeleton
from hrpro.pipeline.demo.motions import MOTIONS, act, idle, join
from hrpro.pipeline.demo.videos import (
    CLASSES,
    FPS,
    make_demo_dataset,
    make_short_video,
    make_unseen_video,
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_demo_dataset(tmp_path_factory.mktemp("demo"), num_train=2, num_test=1, seed=3)


def pictures(path):
    with av.open(str(path)) as file:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])


def frame_count(path):
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        return stream.frames, float(stream.duration * stream.time_base), stream.average_rate


def _digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def gaps(annotation):
    """Idle seconds before, between and after the actions."""
    edges = [0.0]
    for action in annotation.actions:
        edges += [action.start_s, action.end_s]
    edges.append(annotation.duration_s)
    return np.diff(edges)[::2]


class TestScripts:
    """What happens when; nothing is drawn."""

    @pytest.fixture(params=[0, 1, 2])
    def annotations(self, request):
        scripts = demo_videos._scripts(32, request.param)
        return [demo_videos._annotation("v", parts, "train") for parts in scripts]

    def test_videos_are_untrimmed(self, annotations):
        for video in annotations:
            assert 20 <= video.duration_s <= 40
            assert 3 <= len(video.actions) <= 6
            assert gaps(video).min() >= 0.9  # so no action touches another one or an end

    def test_actions_last_some_seconds(self, annotations):
        lengths = [a.end_s - a.start_s for video in annotations for a in video.actions]
        assert 1.9 < min(lengths) < 2.5
        assert 4.5 < max(lengths) < 6

    def test_classes_are_balanced(self, annotations):
        labels = [action.label for video in annotations for action in video.actions]
        counts = [labels.count(label) for label in CLASSES]
        assert sum(counts) == len(labels)
        assert min(counts) > 0.5 * max(counts)

    def test_most_videos_show_several_classes(self, annotations):
        counts = [len(video.labels) for video in annotations]
        assert max(counts) == 3
        assert np.mean(counts) > 2

    def test_points_lie_near_the_centre(self):
        rng = np.random.default_rng(0)
        action = Action("running", 10.0, 14.0)
        times = np.array([demo_videos._point_s(action, rng) for _ in range(4000)])
        assert times.mean() == pytest.approx(12.0, abs=0.01)
        assert times.std() == pytest.approx(0.01 * 4.0, rel=0.1)

    def test_points_never_leave_the_action(self, monkeypatch):
        monkeypatch.setattr(demo_videos, "POINT_SIGMA", 5.0)
        rng = np.random.default_rng(0)
        times = [demo_videos._point_s(Action("x", 1.0, 2.0), rng) for _ in range(50)]
        assert min(times) == 1.0
        assert max(times) == 2.0


class TestDataset:
    def test_files(self, dataset):
        names = {path.relative_to(dataset.folder).as_posix() for path in dataset.folder.rglob("*")}
        assert names == {
            "videos",
            "videos/train_01.mp4",
            "videos/train_02.mp4",
            "videos/test_01.mp4",
            "gt_full.json",
            "points.csv",
            "split_train.txt",
            "split_test.txt",
            "dataset.yaml",
        }

    def test_splits_are_disjoint_and_complete(self, dataset):
        train = (dataset.folder / "split_train.txt").read_text().split()
        test = (dataset.folder / "split_test.txt").read_text().split()
        assert train == ["train_01", "train_02"]
        assert test == ["test_01"]
        assert {*train, *test} == set(read_ground_truth(dataset.folder / "gt_full.json"))

    def test_ground_truth_is_what_was_returned(self, dataset):
        truth = read_ground_truth(dataset.folder / "gt_full.json")
        for video in (*dataset.train, *dataset.test):
            assert truth[video.annotation.video_id] == video.annotation

    def test_videos_last_as_long_as_their_annotation_says(self, dataset):
        for video in (*dataset.train, *dataset.test):
            num_frames, duration_s, rate = frame_count(video.path)
            assert rate == FPS
            assert num_frames == round(video.annotation.duration_s * FPS)
            assert duration_s == pytest.approx(video.annotation.duration_s, abs=1e-3)

    def test_one_point_inside_every_training_action(self, dataset):
        with (dataset.folder / "points.csv").open() as file:
            rows = list(csv.DictReader(file))
        expected = [(v.annotation.video_id, a) for v in dataset.train for a in v.annotation.actions]
        assert len(rows) == len(expected)
        for row, (video_id, action) in zip(rows, expected, strict=True):
            assert (row["video_id"], row["class"]) == (video_id, action.label)
            assert action.start_s < float(row["time"]) < action.end_s

    def test_loads_as_a_dataset_folder(self, dataset):
        features = dataset.folder / "features"
        features.mkdir()
        rng = np.random.default_rng(0)
        for video in (*dataset.train, *dataset.test):
            shape = (math.floor(video.annotation.duration_s * FPS / 16), 8)
            np.save(
                features / f"{video.annotation.video_id}.npy",
                rng.normal(size=shape).astype(np.float32),
            )
        loaded = load_dataset(dataset.folder)
        assert loaded.name == "demo"
        assert loaded.classes == CLASSES
        assert loaded.can_evaluate
        assert [v.video_id for v in loaded.train] == ["train_01", "train_02"]
        for video, made in zip(loaded.train, dataset.train, strict=True):
            labels = [loaded.classes[point.class_index] for point in video.points]
            assert labels == [action.label for action in made.annotation.actions]
        # one warning may come: so few videos do not show every class
        assert all("have no point" in str(warning) for warning in loaded.warnings)

    def test_same_seed_same_set(self, dataset, tmp_path):
        again = make_demo_dataset(tmp_path, num_train=2, num_test=1, seed=3)
        for name in ("gt_full.json", "points.csv", "dataset.yaml"):
            assert (tmp_path / name).read_bytes() == (dataset.folder / name).read_bytes()
        for old, new in zip(dataset.train, again.train, strict=True):
            # `==` of the bytes would print all of them
            assert _digest(new.path) == _digest(old.path), new.path.name

    def test_progress(self, tmp_path, monkeypatch):
        monkeypatch.setattr(demo_videos, "_script", lambda labels, rng: [])
        monkeypatch.setattr(
            demo_videos,
            "_write_video",
            lambda path, parts, rng, subset: demo_videos.DemoVideo(
                path, demo_videos.VideoAnnotation(path.stem, subset, 1.0)
            ),
        )
        calls = []
        make_demo_dataset(tmp_path, 2, 1, progress=lambda *call: calls.append(call))
        assert calls == [(1, 3), (2, 3), (3, 3)]

    def test_folder_that_cannot_be_written(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(HrproError, match="cannot write"):
            make_demo_dataset(tmp_path / "file", 1, 1)


def test_seeds_differ():
    assert demo_videos._scripts(3, 0) != demo_videos._scripts(3, 1)


def test_unseen_video_comes_with_its_ground_truth(tmp_path):
    video = make_unseen_video(tmp_path, seed=0)
    assert read_ground_truth(tmp_path / "unseen_gt.json") == {"unseen": video.annotation}
    assert len(video.annotation.labels) == 4
    num_frames, duration_s, _ = frame_count(video.path)
    assert num_frames == round(duration_s * FPS) == round(video.annotation.duration_s * FPS)


def test_short_video_moves_where_the_action_is(tmp_path):
    video = make_short_video(tmp_path / "short.mp4")
    (action,) = video.annotation.actions
    assert (action.label, action.start_s, action.end_s) == ("jumping jacks", 1.0, 3.0)
    shown = pictures(video.path).astype(np.float32)
    assert shown.shape == (4 * FPS, HEIGHT, WIDTH, 3)
    change = np.abs(np.diff(shown, axis=0)).mean(axis=(1, 2, 3))
    assert change[30:70].mean() > 2 * change[:10].mean()


class TestMotions:
    @pytest.mark.parametrize("label", CLASSES)
    def test_whole_repetitions(self, label):
        poses = act(label, 100, FPS, speed=1.0)
        joints = skeleton(poses, make_scene(np.random.default_rng(0)).look)
        np.testing.assert_allclose(joints[0], joints[-1], atol=1e-6)
        assert np.ptp(joints, axis=0).max() > 15  # pixels: it does move

    @pytest.mark.parametrize("label", CLASSES)
    @pytest.mark.parametrize("seed", range(5))
    def test_figure_stays_in_the_middle_of_the_picture(self, label, seed):
        look = make_scene(np.random.default_rng(seed)).look
        joints = skeleton(act(label, 75, FPS, 1.0), look)
        left = (WIDTH - HEIGHT) / 2  # the square that a centre crop keeps
        assert joints[..., 0].min() > left
        assert joints[..., 0].max() < WIDTH - left
        assert joints[..., 1].min() > 0
        assert joints[..., 1].max() < HEIGHT

    def test_faster_means_more_repetitions(self):
        slow, fast = (act("squatting", 150, FPS, speed) for speed in (0.5, 2.0))
        assert np.abs(np.diff(fast, axis=0)).sum() > 3 * np.abs(np.diff(slow, axis=0)).sum()

    @pytest.mark.parametrize("label", MOTIONS)
    @pytest.mark.parametrize("seed", range(6))
    def test_joined_parts_do_not_jump(self, label, seed):
        rng = np.random.default_rng(seed)
        parts = [idle(40, FPS, rng), act(label, 60, FPS, 1.0), idle(30, FPS, rng)]
        poses = join(parts, [False, True, False], blend=12)
        np.testing.assert_array_equal(poses[40:100], parts[1])
        joints = skeleton(poses, make_scene(rng).look)
        speed = np.linalg.norm(np.diff(joints, axis=0), axis=-1).max(axis=1)  # pixels per frame
        assert speed[:40].max() < 20
        assert speed[99:].max() < 20

    def test_idle_is_calmer_than_any_action(self):
        look = make_scene(np.random.default_rng(0)).look

        def motion(poses):
            speed = np.linalg.norm(np.diff(skeleton(poses, look), axis=0), axis=-1)
            return speed.mean(axis=0).max()  # of the joint that moves most

        calm = [motion(idle(60, FPS, np.random.default_rng(seed))) for seed in range(20)]
        assert np.mean(calm) < 0.6 * min(motion(act(label, 100, FPS, 1.0)) for label in CLASSES)


def test_scenes_differ_in_size_colour_and_background():
    scenes = [make_scene(np.random.default_rng(seed)) for seed in range(8)]
    assert len({scene.look.shirt for scene in scenes}) > 4
    assert len({scene.look.mirrored for scene in scenes}) == 2
    assert np.ptp([scene.look.height for scene in scenes]) > 10
    assert not np.array_equal(scenes[0].background, scenes[1].background)


def test_camera_shakes_behind_a_figure_that_stands():
    scene = make_scene(np.random.default_rng(1))
    still = np.repeat(act("waving", 10, FPS, 1.0)[:1], 50, axis=0)
    shown = list(draw(scene, still))
    assert not np.array_equal(shown[0], shown[-1])
