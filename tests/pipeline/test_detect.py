"""Detection runs that are killed, stopped, resumed: what is done is in the result files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import fake_worker
import pytest
from fake_worker import write_orders

from hrpro.errors import HrproError
from hrpro.pipeline.console.progress import Reporter
from hrpro.pipeline.detect import detect_videos
from hrpro.pipeline.detectors.base import DetectOptions
from hrpro.pipeline.outputs import OutputPlan
from hrpro.pipeline.results.formats import read_results
from hrpro.pipeline.workers.launch import WorkerOptions

NAMES = [f"{number:02}" for number in range(20)]


@pytest.fixture
def videos(tmp_path):
    return tmp_path / "videos"


@pytest.fixture
def fake(monkeypatch):
    """Detection in this process, with workers that obey orders."""
    monkeypatch.setattr("hrpro.pipeline.detect.build_detection", fake_worker.build_detection)
    return partial(detect_videos, reporter=Reporter(quiet=True))


@contextmanager
def running(*arguments, log: Path | None = None):
    """The command line with fake workers, in a process group of its own."""
    process = subprocess.Popen(
        [sys.executable, fake_worker.__file__, "detect", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **({"FAKE_LOG": str(log)} if log else {})},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def videos_in(path: Path) -> list[str]:
    return [video.video_id for video in read_results(path).videos] if path.exists() else []


def wait_for(condition, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_what_is_done_when_a_run_is_ended_is_in_the_output_and_a_rerun_does_the_rest(
    videos, tmp_path, number
):
    write_orders(videos, dict.fromkeys(NAMES[:12], "ok") | dict.fromkeys(NAMES[12:], "sleep 60"))
    outs = [tmp_path / name for name in ("r.csv", "r.json", "r.vtt")]  # written in this order
    command = [videos, *(part for out in outs for part in ("-o", out))]
    log = tmp_path / "log"
    with running(*command, log=log) as run:
        wait_for(lambda: len(videos_in(outs[1])) == 12 and len(list(tmp_path.glob("*.vtt"))) == 12)
        run.send_signal(number)
        errors = run.communicate(timeout=60)[1]
    if number != signal.SIGKILL:
        assert run.returncode == 128 + number
        assert errors.splitlines()[-1].endswith("run the same command again to go on")
        assert "Traceback" not in errors
    assert videos_in(outs[0]) == videos_in(outs[1]) == NAMES[:12]
    assert sorted(path.name for path in tmp_path.glob("*.vtt")) == [
        f"r.{name}.vtt" for name in NAMES[:12]
    ]

    write_orders(videos, dict.fromkeys(NAMES[12:], "ok"))
    log.unlink()
    with running(*command, log=log) as run:
        assert run.wait(timeout=60) == 0
    assert sorted(log.read_text().split()) == [f"{name}.mp4" for name in NAMES[12:]]
    assert videos_in(outs[0]) == videos_in(outs[1]) == NAMES
    assert len(list(tmp_path.glob("*.vtt"))) == 20
    assert not list(tmp_path.glob(".*")), "what is needed to go on is gone when all is done"


@pytest.mark.slow
def test_any_error_of_one_video_costs_that_video(videos, tmp_path):
    write_orders(videos, {"a": "ok", "b": "signal 11", "c": "fail no moov", "d": "ok"})
    out = tmp_path / "r.json"
    with running(videos, "-o", out) as run:
        errors = run.communicate(timeout=60)[1]
    assert run.returncode == 1
    assert "failed: c.mp4: no moov" in errors
    assert "poisoned: b.mp4: crashed the worker twice (signal 11, SIGSEGV)" in errors
    assert videos_in(out) == ["a", "d"]

    write_orders(videos, {"b": "ok now", "c": "ok now"})
    with running(videos, "-o", out) as run:
        assert run.wait(timeout=60) == 0
    assert videos_in(out) == ["a", "b", "c", "d"]


def test_an_error_of_the_program_keeps_what_is_done(videos, tmp_path, fake):
    write_orders(videos, dict.fromkeys("abcd", "ok") | {"e": "raise"})
    out = tmp_path / "r.json"
    with pytest.raises(TypeError, match="not what was expected"):
        fake([str(videos)], OutputPlan((out,)))
    assert videos_in(out) == ["a", "b", "c", "d"]


def test_a_decoder_that_hangs_is_ended_and_its_video_named(videos, tmp_path):
    write_orders(videos, {"a": "ok", "b": "sleep 600", "c": "ok"})
    out = tmp_path / "r.json"
    with running(videos, "-o", out, "--stall-timeout", 5) as run:
        errors = run.communicate(timeout=120)[1]
    assert run.returncode == 1
    assert f"failed: {videos / 'b.mp4'}: no progress for 5 s (--stall-timeout)" in errors
    assert videos_in(out) == ["a", "c"]


def test_a_work_dir_is_kept_and_saves_the_work_for_more_videos(videos, tmp_path, fake, monkeypatch):
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "log"))
    write_orders(videos, {"a": "ok", "b": "ok"})
    plan = OutputPlan((tmp_path / "r.json",))

    def begun(options=None) -> list[str]:
        (tmp_path / "log").write_text("")
        fake([str(videos)], plan, options, work_dir=tmp_path / "work")
        return (tmp_path / "log").read_text().split()

    assert begun() == ["a.mp4", "b.mp4"]
    assert begun() == []
    assert videos_in(tmp_path / "r.json") == ["a", "b"]
    write_orders(videos, {"c": "ok"})
    assert begun() == ["c.mp4"]
    assert videos_in(tmp_path / "r.json") == ["a", "b", "c"]
    assert begun(DetectOptions(min_score=0.5)) == ["a.mp4", "b.mp4", "c.mp4"]  # other settings
    write_orders(videos, {"b": "ok, but another file"})
    assert begun(DetectOptions(min_score=0.5)) == ["b.mp4"]
    next((tmp_path / "work").glob("a.json")).write_text("{}")  # damaged
    assert begun(DetectOptions(min_score=0.5)) == ["a.mp4"]


def test_without_outputs_nothing_is_left_behind(videos, tmp_path, fake, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    write_orders(videos, {"a": "ok", "sub/b": "ok"})
    results, summary = fake([str(videos)], OutputPlan())
    assert [video.video_id for video in results.videos] == ["a", "sub/b"]
    assert summary.done == ["a.mp4", "sub/b.mp4"]
    assert [path.name for path in tmp_path.iterdir()] == ["videos"]


def test_results_are_those_of_the_detector(videos, tmp_path, fake):
    write_orders(videos, {"a": "ok", "b": "ok"})
    plan = OutputPlan((tmp_path / "r.json",), report=tmp_path / "r.html")
    results, _ = fake([str(videos)], plan)
    for video in read_results(tmp_path / "r.json").videos:
        assert (video.path, video.duration_s, video.fps) == (
            str(videos / f"{video.video_id}.mp4"), 1.0, 25.0,
        )  # fmt: skip
        assert [(each.label, each.score) for each in video.detections] == [("jump", 0.9)]
        assert video.curves.classes == {"jump": (0.1, 0.9)}
    assert results.model["name"] == "fake"
    assert results.model["features"]["backbone"] == "i3d"
    results, _ = fake([str(videos)], plan, DetectOptions(classes=("RUN",), min_score=0.95))
    assert all(video.detections == () for video in results.videos)


def test_two_runs_with_one_output_share_the_videos(videos, tmp_path):
    write_orders(videos, dict.fromkeys(NAMES, "sleep 0.05"))
    out, log = tmp_path / "r.json", tmp_path / "log"
    with running(videos, "-o", out, log=log) as one, running(videos, "-o", out, log=log) as two:
        codes = {run.wait(timeout=60) for run in (one, two)}
    assert codes <= {0, 1}  # 1: the other one was not done yet
    assert 0 in codes
    assert videos_in(out) == NAMES


def test_output_that_cannot_be_written_any_more_is_one_error(videos, tmp_path, fake):
    write_orders(videos, {"a": "ok"})
    (tmp_path / "work").write_text("in the way")
    with pytest.raises(HrproError, match="work"):
        fake([str(videos)], OutputPlan((tmp_path / "r.json",)), work_dir=tmp_path / "work")


def test_workers_detect_as_this_process_does(videos, tmp_path, rgb_weights):
    """Real networks on tiny videos: batches of several videos, by two workers."""
    from videos import make_video, noise

    from hrpro.pipeline.workers.work import WorkerSettings

    for number, frames in enumerate((20, 40, 70)):
        make_video(videos / f"{number}.mp4", frames=frames, painter=noise())
    settings = WorkerSettings({"streams": "rgb", "short_side": 64, "crop": 64})
    options = DetectOptions(min_score=0)
    found = {}
    for workers in (0, 2):
        found[workers], summary = detect_videos(
            [str(videos)],
            OutputPlan((tmp_path / f"{workers}.json",)),
            options,
            settings=settings,
            workers=WorkerOptions(workers),
        )
        assert len(summary.done) == 3
    value = json.loads((tmp_path / "2.json").read_text())
    assert set(value["videos"]) == {"0", "1", "2"}
    assert [video.duration_s for video in found[2].videos] == [0.8, 1.6, 2.8]
    for one, two in zip(found[0].videos, found[2].videos, strict=True):
        best = [(each.label, round(each.score, 2)) for each in one.detections[:1]]
        assert best == [(each.label, round(each.score, 2)) for each in two.detections[:1]]
