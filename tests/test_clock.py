"""One clock in all files, that of the video: from clicks to snippets, from snippets to files."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrpro.annotations import Action, VideoAnnotation, write_ground_truth
from hrpro.clock import VideoClock
from hrpro.features import Fingerprint, Sidecar, VideoFacts, write_features
from hrpro.localize.data.config import DatasetConfig
from hrpro.localize.data.dataset import load_dataset
from hrpro.localize.evaluation.measure import measure
from hrpro.localize.proposals.generate import Proposals
from hrpro.pipeline.detectors.base import curves_in_file_clock
from hrpro.pipeline.detectors.trained import to_detections

LATE = VideoClock(3.0)
# The first second of the snippets' time line takes three on the screen.
UNEVEN = VideoClock(2.0, (0.0, 1.0, 2.0), (0.0, 3.0, 4.0))


@given(st.sampled_from([VideoClock(), LATE, UNEVEN]), st.floats(-10, 20))
def test_there_and_back(clock, time_s):
    assert clock.to_snippets(clock.to_file(time_s)) == pytest.approx(time_s, abs=1e-9)
    assert clock.to_file(np.array([time_s]))[0] == pytest.approx(clock.to_file(time_s))


def test_an_uneven_clock():
    assert [UNEVEN.to_file(time_s) for time_s in (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)] == [
        2.0, 3.5, 5.0, 5.5, 6.0, 7.0,
    ]  # fmt: skip


def facts(snippets: int = 20, **known) -> VideoFacts:
    frames = snippets * 16
    known = {"duration_s": frames / 25, **known}
    return VideoFacts(num_snippets=snippets, num_frames=frames, **known)


def write_video(path, video: VideoFacts) -> None:
    features = np.random.default_rng(0).random((video.num_snippets, 4), dtype=np.float32)
    write_features(path, features, Sidecar(fingerprint=Fingerprint(), video=video, dim=4))


def test_clicks_at_times_of_the_player_fall_on_the_right_snippets(tmp_path):
    write_video(tmp_path / "features/even.npy", facts())
    write_video(tmp_path / "features/late.npy", facts(start_s=3.0))
    starts_s = tuple(np.cumsum([0.0, *[1.28] * 10, *[0.64] * 9]).tolist())
    uneven = facts(start_s=3.0, snippet_start_s=starts_s, duration_s=starts_s[-1] + 0.64)
    write_video(tmp_path / "features/uneven.npy", uneven)
    (tmp_path / "split_train.txt").write_text("even\nlate\nuneven\n")
    (tmp_path / "split_test.txt").write_text("late\n")
    rows = "".join(
        f"{name},jump,{time}\n" for name in ("even", "late", "uneven") for time in (4, 6)
    )
    (tmp_path / "points.csv").write_text("video_id,class,time\n" + rows)
    (tmp_path / "split_test.txt").write_text("")
    data = load_dataset(tmp_path, DatasetConfig())
    snippets = {v.video_id: [point.snippet for point in v.points] for v in data.train}
    assert snippets == {"even": [6, 9], "late": [1, 4], "uneven": [0, 2]}
    ends_s = {v.video_id: v.duration_s for v in data.train}
    assert ends_s["late"] == pytest.approx(3 + 12.8)


def test_detections_are_measured_in_the_clock_of_the_annotations(tmp_path):
    write_video(tmp_path / "features/late.npy", facts(start_s=3.0))
    write_video(tmp_path / "features/train.npy", facts())
    (tmp_path / "split_train.txt").write_text("train\n")
    (tmp_path / "split_test.txt").write_text("late\n")
    (tmp_path / "points.csv").write_text("video_id,class,time\ntrain,jump,4\n")
    truth = [
        VideoAnnotation("train", "train", 12.8, 25, (Action("jump", 3, 5),)),
        VideoAnnotation("late", "test", 15.8, 25, (Action("jump", 5, 7),)),
    ]
    write_ground_truth(tmp_path / "annotations.json", truth)
    data = load_dataset(tmp_path, DatasetConfig())
    zero = np.zeros(1, np.int64)
    # Two to four seconds after the first picture, as a localizer says.
    found = Proposals(
        **{
            **{name: np.zeros(1) for name in Proposals.__dataclass_fields__},
            "video": zero,
            "label": zero,
            "score": np.ones(1),
            "start_s": np.array([2.0]),
            "end_s": np.array([4.0]),
        }
    )
    assert measure(data, ["late"], ["jump"], found).average == pytest.approx(1.0)
    (detection,) = to_detections(found.in_file_clocks([LATE]), ["jump"], 15.8, 3.0)
    assert (detection.start_s, detection.end_s) == (5.0, 7.0)


def test_curves_of_an_uneven_clock_are_interpolated():
    values = np.array([[0.0], [1.0], [0.0]])
    curves = curves_in_file_clock(values, ["jump"], 0.0, 1.0, UNEVEN)
    assert (curves.start_s, curves.step_s) == (2.0, 2.0)
    assert curves.classes["jump"] == pytest.approx([0, 0.6667, 0], abs=1e-3)
    curves = curves_in_file_clock(values, ["jump"], 0.5, 1.0, LATE)
    assert (curves.start_s, curves.step_s) == (3.5, 1.0)


def test_the_clock_of_a_sidecar():
    video = facts(3, start_s=1.0, fps="25", snippet_start_s=(0.0, 1.0, 3.0), duration_s=4.0)
    clock = Sidecar(fingerprint=Fingerprint(), video=video).clock
    stride_s = float(Fraction(16, 25))
    assert [clock.to_file(k * stride_s) for k in range(4)] == pytest.approx([1, 2, 4, 5])
