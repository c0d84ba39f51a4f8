"""Whom the supervisor blames: workers that follow a script, so that what happens is certain."""

from __future__ import annotations

import time

import pytest

from hrpro.extract.sources import find_videos
from hrpro.features import Fingerprint
from hrpro.pipeline.console.progress import Reporter
from hrpro.pipeline.extract import supervise
from hrpro.pipeline.workers.ledger import Ledger
from hrpro.pipeline.workers.messages import Done, Progressed, Ready, Started, WorkerError


class ScriptedEngine:
    """Workers that begin everything they have been given before they do anything.

    Args:
        at_hand: videos that a worker has at a time.
        script: called with the keys a worker has begun and their number of the worker; returns
            how the worker dies of that, ``hang`` to do nothing, or None to finish them all.
    """

    def __init__(self, at_hand: int, script):
        self.at_hand, self.script = at_hand, script
        self.started = 0
        self.begun_together: list[list[str]] = []

    def start(self, device, num_workers):
        self.started += 1
        return ScriptedWorker(self, self.started)

    def wait(self, workers, timeout_s):
        time.sleep(0.002)

    def num_workers(self, ready):
        return 1


class ScriptedWorker:
    def __init__(self, engine, number):
        self.engine, self.name = engine, f"here:{number}"
        self._keys: list[str] = []
        self._is_ready = self._hangs = False
        self._end = None

    def submit(self, job):
        self._keys.append(job.key)

    def poll(self, listener):
        if not self._is_ready:
            self._is_ready = True
            listener(Ready(self.name, Fingerprint(), ("cpu",), self.engine.at_hand))
        elif self._hangs:
            for key in self._keys:
                if key.startswith("lively"):
                    listener(Progressed(key, 0.5, 1.0))
        elif self._keys and self._end is None:
            self.engine.begun_together.append(list(self._keys))
            for key in self._keys:
                listener(Started(key))
            end = self.engine.script(list(self._keys))
            if end == "hang":
                self._hangs = True
            elif end is not None:
                self._end = end
            else:
                for key in self._keys:
                    listener(Done(key, 1, 1.0, 0.1))
                self._keys.clear()

    def ended(self):
        return self._end

    def stop(self):
        pass

    def join(self, timeout_s):
        pass


def run(tmp_path, names, at_hand, script, **options):
    for name in names:
        (tmp_path / "v").mkdir(exist_ok=True)
        (tmp_path / "v" / f"{name}.mp4").write_text(name)
    engine = ScriptedEngine(at_hand, script)
    sources = find_videos([tmp_path / "v"])
    out = tmp_path / "out"
    return engine, lambda: supervise(engine, sources, out, reporter=Reporter(quiet=True), **options)


def on(key, what):
    """A script: this happens to every worker that has begun this video."""
    return lambda keys: what if key in keys else None


def states(tmp_path) -> dict[str, tuple[str, int, int]]:
    records = Ledger(tmp_path / "out").records()
    return {each.key: (each.state, each.crashes, each.crashes_alone) for each in records}


def test_a_crash_in_company_condemns_nobody(tmp_path):
    """It kills its worker only beside another video: neither is ever poisoned."""
    _, extract = run(
        tmp_path,
        ["a", "b", "big", "c"],
        4,
        lambda keys: "signal 11" if len(keys) > 1 and "big.mp4" in keys else None,
    )
    summary = extract()
    assert summary.done == ["a.mp4", "b.mp4", "big.mp4", "c.mp4"]
    assert summary.poisoned == []


def test_the_guilty_one_is_poisoned_after_two_crashes_alone(tmp_path):
    script = on("guilty.mp4", "signal 11")
    engine, extract = run(tmp_path, ["a", "b", "guilty", "z"], 4, script)
    summary = extract()
    assert summary.done == ["a.mp4", "b.mp4", "z.mp4"]
    assert [each.path for each in summary.poisoned] == ["guilty.mp4"]
    assert engine.begun_together.count(["guilty.mp4"]) == 2
    assert states(tmp_path)["guilty.mp4"] == ("poisoned", 3, 2)
    assert states(tmp_path)["a.mp4"][0] == "done"


def test_where_every_worker_dies_nobody_is_guilty(tmp_path):
    """As with a broken driver, which kills all processes that touch the device."""
    names = [f"{number:02}" for number in range(20)]
    _, extract = run(tmp_path, names, 2, lambda keys: "signal 6, SIGABRT")
    with pytest.raises(WorkerError, match="10 workers in a row"):
        extract()
    assert {state for state, *_ in states(tmp_path).values()} == {"interrupted"}
    _, extract = run(tmp_path, names, 2, lambda keys: None)  # mended
    assert len(extract().done) == 20
    assert {state for state, *_ in states(tmp_path).values()} == {"done"}


def test_a_worker_that_is_stopped_blames_nobody(tmp_path):
    stops = iter(["it was told to end (SIGTERM)"] * 3)
    _, extract = run(tmp_path, ["a"], 1, lambda keys: next(stops, None))
    assert extract().done == ["a.mp4"]
    assert states(tmp_path)["a.mp4"] == ("done", 0, 0)


def test_a_video_that_gets_no_further_fails_alone(tmp_path):
    """The other one was begun beside it, and is tried again."""
    script = on("stalled.mp4", "hang")
    _, extract = run(tmp_path, ["a", "b", "stalled"], 2, script, stall_timeout_s=0.2)
    summary = extract()
    assert summary.done == ["a.mp4", "b.mp4"]
    [failure] = summary.failed
    assert failure.path == "stalled.mp4"
    assert failure.reason == "no progress for 0.2 s (--stall-timeout), so its worker was ended"
    assert summary.poisoned == []
    assert states(tmp_path)["stalled.mp4"][0] == "failed"


def test_whoever_gets_no_further_beside_lively_videos_is_known_at_once(tmp_path):
    script = on("stalled.mp4", "hang")
    engine, extract = run(tmp_path, ["lively", "stalled"], 2, script, stall_timeout_s=0.2)
    summary = extract()
    assert (summary.done, [each.path for each in summary.failed]) == (
        ["lively.mp4"],
        ["stalled.mp4"],
    )
    assert engine.begun_together == [["lively.mp4", "stalled.mp4"], ["lively.mp4"]]
