"""A folder that is watched: what is complete is done once, what grows or fails is left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import fake_worker
import pytest
from videos import make_video

from hrpro.errors import UsageError
from hrpro.pipeline.console.progress import Reporter
from hrpro.pipeline.detectors.base import DetectOptions
from hrpro.pipeline.results.formats import read_results
from hrpro.pipeline.watch import Incoming, WatchOptions, watch


class Clock:
    def __init__(self):
        self.time_s = 0.0

    def __call__(self):
        return self.time_s


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.fixture
def incoming(folder):
    clock = Clock()
    found = Incoming(folder, 5.0, now=clock)

    def after(seconds: float) -> list[str]:
        clock.time_s += seconds
        return [source.key for source in found.ready()]

    return after


def test_a_file_is_complete_when_it_has_not_changed_for_a_while(folder, incoming):
    (folder / "a.mp4").write_bytes(b"1")
    assert incoming(0) == []
    assert incoming(4) == []
    (folder / "a.mp4").write_bytes(b"12")  # still grows
    assert incoming(4) == []
    assert incoming(4) == []
    assert incoming(1) == ["a.mp4"]
    assert incoming(100) == []
    (folder / "mon").mkdir()
    (folder / "mon" / "b.mp4").write_bytes(b"1")
    (folder / "notes.txt").write_bytes(b"1")
    (folder / ".c.mp4").write_bytes(b"1")
    assert incoming(1) == []
    assert incoming(5) == ["mon/b.mp4"]


def test_a_file_that_changes_later_or_comes_again_is_given_again(folder, incoming):
    path = folder / "a.mp4"
    path.write_bytes(b"1")
    incoming(0)
    assert incoming(5) == ["a.mp4"]
    os.utime(path, (1, 1))
    assert incoming(1) == []
    assert incoming(5) == ["a.mp4"]
    path.unlink()
    assert incoming(5) == []
    path.write_bytes(b"123")
    assert incoming(1) == []
    assert incoming(5) == ["a.mp4"]


def test_results_in_the_folder_itself_are_not_watched(folder):
    out = folder / "found"
    (out / "clips").mkdir(parents=True)
    (out / "clips" / "x.mp4").write_bytes(b"1")
    (folder / "foundation").mkdir()
    (folder / "foundation" / "y.mp4").write_bytes(b"1")
    incoming = Incoming(folder, 0.0, apart=out)
    assert [source.key for source in incoming.ready()] == ["foundation/y.mp4"]


class Heard(Reporter):
    def __init__(self):
        super().__init__(quiet=True)
        self.told: list[str] = []

    def line(self, text):
        self.told.append(text)

    def problem(self, text):
        self.told.append(text)


@pytest.fixture
def begun(tmp_path, monkeypatch):
    """The videos that a worker has begun with; workers find one action in each."""
    log = tmp_path / "log"
    monkeypatch.setenv("FAKE_LOG", str(log))
    monkeypatch.setattr("hrpro.pipeline.watch.build_detection", fake_worker.build_detection)
    return lambda: log.read_text().split() if log.exists() else []


def watch_once(folder, out, reporter=None, rounds=2, **options):
    left = iter(range(rounds - 1, -1, -1))
    watching = WatchOptions(settle_s=0, poll_s=0.01, **options)
    return watch(folder, out, None, watching, reporter=reporter, until=lambda: next(left) == 0)


def test_each_video_gets_its_files_once(folder, tmp_path, begun):
    out = tmp_path / "out"
    make_video(folder / "mon" / "a.mp4", 25)
    heard = Heard()
    tally = watch_once(folder, out, heard, formats=("json", "csv"), clips=True)
    assert (tally.done, tally.failed) == (1, 0)
    assert [video.video_id for video in read_results(out / "mon" / "a.mp4.json").videos] == [
        "mon/a"
    ]
    assert (out / "mon" / "a.mp4.csv").is_file()
    assert [path.name for path in (out / "clips" / "mon" / "a.mp4").iterdir()] == [
        "mon_a_001_jump.mp4"
    ]
    assert "mon/a.mp4: 1 event" in heard.told
    make_video(folder / "b.mp4", 25)
    (out / "mon" / "a.mp4.csv").unlink()
    assert watch_once(folder, out, formats=("json", "csv")).done == 1  # started again
    assert begun() == ["mon/a.mp4", "b.mp4"]
    assert (out / "mon" / "a.mp4.csv").is_file()


@pytest.mark.parametrize("out", [".", "..", "found"])
def test_results_may_lie_anywhere(folder, begun, out):
    make_video(folder / "a.mp4", 25)
    assert watch_once(folder, folder / out, rounds=4, clips=True).done == 1
    assert begun() == ["a.mp4"]


def test_a_video_that_changes_is_done_again(folder, tmp_path, begun):
    make_video(folder / "a.mp4", 25)
    watch_once(folder, tmp_path / "out")
    make_video(folder / "a.mp4", 30)
    watch_once(folder, tmp_path / "out")
    assert begun() == ["a.mp4", "a.mp4"]


def test_a_file_that_is_no_video_yet_is_told_of_once(folder, tmp_path, begun):
    whole = make_video(tmp_path / "whole.mp4", 25).read_bytes()
    (folder / "a.mp4").write_bytes(whole[:500])
    make_video(folder / "b.mp4", 25)
    heard = Heard()
    rounds = iter(range(6))

    def until():
        number = next(rounds)
        if number == 3:
            (folder / "a.mp4").write_bytes(whole)
        return number == 5

    tally = watch(
        folder,
        tmp_path / "out",
        watching=WatchOptions(settle_s=0, poll_s=0.01),
        reporter=heard,
        until=until,
    )
    problems = [line for line in heard.told if line.startswith("left alone until it changes")]
    assert len(problems) == 1
    assert "a.mp4: an MP4/MOV without its index (moov)" in problems[0]
    assert (tally.done, tally.failed) == (2, 1)
    assert begun() == ["b.mp4", "a.mp4"]


def test_a_folder_that_is_away_for_a_while(folder, tmp_path, begun):
    heard = Heard()
    rounds = iter(range(5))

    def until():
        number = next(rounds)
        if number == 0:
            folder.rename(tmp_path / "away")
        if number == 2:
            (tmp_path / "away").rename(folder)
            make_video(folder / "a.mp4", 25)
        return number == 4

    options = WatchOptions(settle_s=0, poll_s=0.01)
    assert watch(folder, tmp_path / "out", watching=options, reporter=heard, until=until).done == 1
    assert len([line for line in heard.told if "cannot list" in line]) == 1


def test_wrong_options(folder, tmp_path):
    with pytest.raises(UsageError, match="no such folder"):
        watch(tmp_path / "gone", tmp_path / "out")
    with pytest.raises(UsageError, match="--model gone: no such model folder"):
        watch(folder, tmp_path / "out", DetectOptions(model="gone"))  # before any file comes
    with pytest.raises(UsageError, match="--format doc: unknown result format"):
        WatchOptions(formats=("doc",))
    with pytest.raises(UsageError, match=r"points\.csv: is for labels by people"):
        WatchOptions(formats=("points.csv",))


def test_two_watches_do_not_share_a_folder(folder, tmp_path, begun):
    def second():
        with pytest.raises(UsageError, match="another hrpro watch writes there"):
            watch_once(folder, tmp_path / "out")
        return True

    watch(folder, tmp_path / "out", until=second)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_runs_until_it_is_ended(folder, tmp_path, number):
    command = [sys.executable, "-m", "hrpro", "watch", str(folder), "-o", str(tmp_path / "out")]
    with subprocess.Popen(
        [*command, "--settle", "0", "--poll", "0.1"], stderr=subprocess.PIPE, text=True
    ) as process:
        assert "watching" in process.stderr.readline()
        (tmp_path / "text").write_text("no video")
        (tmp_path / "text").rename(folder / "a.mp4")  # at once: it settles in no time here
        assert "left alone until it changes" in process.stderr.readline()
        process.send_signal(number)
        assert process.wait(60) == 0
        # A line that is being printed when the signal comes may be printed once more.
        assert process.stderr.read().endswith("ended\n")
    assert not list(Path(tmp_path / "out").rglob("*.lease"))
