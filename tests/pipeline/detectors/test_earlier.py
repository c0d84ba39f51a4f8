"""Going on from the result file of a run that had come to its end."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import fake_worker
import pytest
from fake_worker import write_orders

from hrpro.errors import DataError, UsageError
from hrpro.pipeline.console.progress import Reporter
from hrpro.pipeline.detect import detect_videos
from hrpro.pipeline.detectors.base import DetectOptions
from hrpro.pipeline.outputs import OutputPlan
from hrpro.pipeline.results.formats import read_results


@pytest.fixture
def videos(tmp_path):
    return write_orders(tmp_path / "videos", {"a": "ok", "b": "ok"})


@pytest.fixture
def detect(tmp_path, videos, monkeypatch):
    """Detect in the folder of the videos; returns which of them a worker has looked at."""
    log = tmp_path / "log"
    monkeypatch.setenv("FAKE_LOG", str(log))
    monkeypatch.setattr("hrpro.pipeline.detect.build_detection", fake_worker.build_detection)
    run = partial(detect_videos, [str(videos)], reporter=Reporter(quiet=True))

    def detect(*outs: Path, **options) -> list[str]:
        log.unlink(missing_ok=True)
        results, _ = run(OutputPlan(outs or (tmp_path / "r.json",)), **options)
        assert len(results.videos) == len(list(videos.iterdir()))
        return sorted(log.read_text().split()) if log.exists() else []

    return detect


def test_what_is_in_the_result_file_is_not_done_again(detect, videos, tmp_path):
    assert detect() == ["a.mp4", "b.mp4"]
    before = read_results(tmp_path / "r.json")
    write_orders(videos, {"c": "ok"})
    assert detect(resume=True) == ["c.mp4"]
    after = read_results(tmp_path / "r.json")
    assert [video.video_id for video in after.videos] == ["a", "b", "c"]
    assert after.videos[:2] == before.videos
    assert after.model == before.model
    assert detect(resume=True) == []
    assert detect() == ["a.mp4", "b.mp4", "c.mp4"]  # without, all is done anew


def test_a_video_that_has_changed_is_done_again(detect, videos, tmp_path):
    detect()
    later = (tmp_path / "r.json").stat().st_mtime_ns + 10**9
    os.utime(videos / "b.mp4", ns=(later, later))
    assert detect(resume=True) == ["b.mp4"]


@pytest.mark.parametrize(
    "options", [DetectOptions(min_score=0.3), DetectOptions(classes=("run",)), "version"]
)
def test_what_another_model_has_found_is_done_again(detect, options, monkeypatch):
    detect()
    if options == "version":
        monkeypatch.setattr(fake_worker.FakeDetector, "version", lambda self: "retrained")
        options = DetectOptions()
    assert detect(options=options, resume=True) == ["a.mp4", "b.mp4"]


def test_the_first_run_may_ask_for_it_too(detect):
    assert detect(resume=True) == ["a.mp4", "b.mp4"]


def test_files_that_cannot_be_gone_on_from(detect, tmp_path):
    with pytest.raises(UsageError, match=r"--resume goes on from a result file: .* \.json"):
        detect(tmp_path / "r.csv", resume=True)
    (tmp_path / "r.json").write_text('{"results": {"a": []}}')  # of another program
    assert detect(resume=True) == ["a.mp4", "b.mp4"]
    (tmp_path / "r.json").write_text("{")
    with pytest.raises(DataError, match=r"r\.json: cannot go on from it"):
        detect(resume=True)
