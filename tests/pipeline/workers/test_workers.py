"""Worker processes: crashes, signals, full disks, several runs on one folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import fake_worker
import psutil
import pytest
from fake_worker import write_orders
from videos import make_video

from hrpro.errors import HrproError, UsageError, WeightsError
from hrpro.extract.sources import find_videos
from hrpro.features import read_sidecar
from hrpro.pipeline.console.progress import Reporter
from hrpro.pipeline.extract import supervise
from hrpro.pipeline.workers import engines
from hrpro.pipeline.workers.engines import InlineEngine, LocalEngine
from hrpro.pipeline.workers.launch import WorkerOptions
from hrpro.pipeline.workers.ledger import Ledger
from hrpro.pipeline.workers.messages import WorkerError
from hrpro.pipeline.workers.status import extraction_status
from hrpro.pipeline.workers.work import WorkerSettings

QUIET = Reporter(quiet=True)
SETTINGS = WorkerSettings()


@pytest.fixture
def videos(tmp_path):
    return tmp_path / "videos"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "features"


def extract(videos, out, *, workers=1, build=fake_worker.build, **options):
    engine = LocalEngine(SETTINGS, build, workers)
    return supervise(engine, find_videos([videos]), out, reporter=QUIET, **options)


def record(out, key):
    return Ledger(out).read(key)


def no_traces(out) -> bool:
    """Whether nothing is left of running or killed workers."""
    return not [path for path in out.rglob("*") if ".part" in path.name or ".lease" in path.name]


def test_one_bad_video_costs_that_video_and_a_rerun_tries_it_again(videos, out):
    write_orders(videos, {"a": "ok", "sub/b": "fail no moov", "c": "ok", "d": "ok"})
    summary = extract(videos, out, workers=2)
    assert summary.done == ["a.mp4", "c.mp4", "d.mp4"]
    assert [(each.path, each.reason) for each in summary.failed] == [("sub/b.mp4", "no moov")]
    assert record(out, "a.mp4").state == "done"
    failed = record(out, "sub/b.mp4")
    assert (failed.state, failed.error, failed.attempts) == ("failed", "no moov", 1)
    assert no_traces(out)

    write_orders(videos, {"sub/b": "ok"})
    again = extract(videos, out)
    assert (again.done, len(again.skipped)) == (["sub/b.mp4"], 3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ("signal 11", "signal 11, SIGSEGV"),
        ("signal 9", "signal 9, SIGKILL; out of memory?"),
        ("exit 3", "exit code 3"),
    ],
)
def test_a_video_that_kills_its_worker_twice_is_set_aside(videos, out, order, reason):
    write_orders(videos, {"a": "ok", "b": order, "c": "ok", "d": "ok"})
    summary = extract(videos, out)
    assert summary.done == ["a.mp4", "c.mp4", "d.mp4"]
    [poisoned] = summary.poisoned
    assert (poisoned.path, poisoned.reason) == ("b.mp4", f"crashed the worker twice ({reason})")
    assert record(out, "b.mp4").attempts == 2
    assert no_traces(out)

    again = extract(videos, out)
    assert (again.done, len(again.skipped), again.poisoned) == ([], 3, [poisoned])
    assert record(out, "b.mp4").attempts == 2
    if order == "exit 3":
        assert extract(videos, out, retry_poisoned=True).poisoned == [poisoned]
        assert record(out, "b.mp4").attempts == 4
        write_orders(videos, {"b": "ok now"})  # another file: what is known does not hold for it
        assert extract(videos, out).done == ["b.mp4"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("order", "message"),
    [
        ("raise", "of the program, .*: TypeError: not what was expected .--debug shows where"),
        ("device", "of the device, .*: RuntimeError: CUDA error: an illegal memory access.*--dev"),
        ("break", "of the device, .*: RuntimeError: CUDA error: unspecified launch failure"),
    ],
)
def test_an_error_of_program_or_device_ends_the_run_and_blames_nobody(videos, out, order, message):
    write_orders(videos, {"a": "ok", "b": order, "c": "ok", "d": "ok"})
    for _ in range(3):
        with pytest.raises(WorkerError, match=message):
            extract(videos, out)
    assert (out / "a.npy").exists()
    records = [record(out, f"{name}.mp4") for name in "abcd"]
    assert {each.state for each in records if each} <= {"done", "interrupted"}
    assert {each.crashes for each in records if each} == {0}
    assert no_traces(out)
    write_orders(videos, {"b": "ok"})
    again = extract(videos, out)
    assert (set(again.done) >= {"b.mp4"}, again.failed, again.poisoned) == (True, [], [])


def test_an_error_of_the_program_is_one_line_and_a_trace_on_request(videos, out):
    write_orders(videos, {"a": "raise"})
    for options, traced in (((), False), (("--debug",), True)):
        with running("extract", videos, "-o", out, *options) as run:
            errors = run.communicate(timeout=60)[1]
        assert run.returncode != 0
        assert "TypeError: not what was expected" in errors
        assert ("in obey" in errors) == traced
        assert traced or len(errors.splitlines()) == 1


def test_a_worker_killed_from_outside_costs_no_video(videos, out):
    write_orders(videos, {"a": "sleep 1", "b": "ok", "c": "ok"})
    with running("extract", videos, "-o", out, "--json") as run:
        wait_for(lambda: record(out, "a.mp4") is not None)
        worker = int(record(out, "a.mp4").worker.rpartition(":")[2])
        assert worker != run.pid
        os.kill(worker, signal.SIGKILL)
        output, errors = run.communicate(timeout=60)
    assert run.returncode == 0, errors
    assert json.loads(output)["done"] == ["a.mp4", "b.mp4", "c.mp4"]
    story = record(out, "a.mp4")
    assert (story.state, story.attempts, story.crashes) == ("done", 2, 1)


def test_a_suspect_of_an_earlier_run_is_tried_alone(videos, out):
    write_orders(videos, dict.fromkeys("abcd", "ok"))
    ledger = Ledger(out)
    extract(videos, out)
    for name in "ab":
        (out / f"{name}.json").unlink()
    ledger.write(record(out, "a.mp4").model_copy(update={"state": "interrupted", "crashes": 1}))
    write_orders(videos, {"b": "signal 11"})  # would take a along if they were tried together
    os.utime(videos / "a.mp4", ns=(0, record(out, "a.mp4").mtime_ns))
    summary = extract(videos, out)
    assert summary.done == ["a.mp4"]
    assert [each.path for each in summary.poisoned] == ["b.mp4"]


def test_workers_that_never_finish_anything_end_the_run(videos, out, monkeypatch):
    monkeypatch.setattr("hrpro.pipeline.workers.supervisor._MAX_FRUITLESS", 4)
    write_orders(videos, {f"{k:02}": "signal 11" for k in range(30)})
    with pytest.raises(WorkerError, match="SIGSEGV"):
        extract(videos, out)
    assert no_traces(out)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (fake_worker.build_without_weights, WeightsError, "no weights here"),
        (fake_worker.build_and_die, WorkerError, "before it was ready .exit code 7"),
    ],
)
def test_workers_that_cannot_begin_are_one_error(videos, out, build, error, message):
    write_orders(videos, {"a": "ok"})
    with pytest.raises(error, match=message):
        extract(videos, out, workers=2, build=build)
    assert not list(out.glob("*.npy"))


def test_inline_worker_does_the_same_in_this_process(videos, out):
    write_orders(videos, {"a": "ok", "b": "fail why", "c": "ok"})
    engine = InlineEngine(SETTINGS, fake_worker.build)
    summary = supervise(engine, find_videos([videos]), out, reporter=QUIET)
    assert summary.done == ["a.mp4", "c.mp4"]
    assert record(out, "a.mp4").worker.endswith(f":{os.getpid()}")
    assert no_traces(out)


def test_two_runs_on_one_folder_extract_each_video_once(videos, out, tmp_path):
    names = [f"{k:02}" for k in range(30)]
    write_orders(videos, dict.fromkeys(names, "sleep 0.02") | {"x": "fail why"})
    command = ("extract", videos, "-o", out, "--json")
    log = tmp_path / "log"
    with running(*command, log=log) as one, running(*command, log=log) as two:
        results = [json.loads(run.communicate(timeout=60)[0]) for run in (one, two)]
    begun = log.read_text().split()
    assert sorted(begun) == sorted([f"{name}.mp4" for name in names] + ["x.mp4"])
    assert not set(results[0]["done"]) & set(results[1]["done"])
    assert len(list(out.glob("*.npy"))) == 30
    assert no_traces(out)


def test_videos_of_a_living_process_are_left_to_it(videos, out):
    write_orders(videos, {"a": "sleep 120", "b": "ok", "c": "ok"})
    with running("extract", videos, "-o", out) as other:
        wait_for(lambda: record(out, "b.mp4") is not None)  # it looks one video ahead
        summary = extract(videos, out)
        assert summary.done == ["c.mp4"]
        assert [each.path for each in summary.taken] == ["a.mp4", "b.mp4"]
        assert summary.taken[0].reason.endswith(f":{other.pid}")
        assert "taken by" in "\n".join(summary.lines())

        status = extraction_status([str(videos)], out)
        assert status.counts()["running"] == 2
        assert "running: a.mp4" in "\n".join(status.lines())
        other.kill()
        other.wait()
        assert extraction_status([], out).counts()["interrupted"] == 2
    write_orders(videos, {"a": "ok"})
    assert extract(videos, out).done == ["a.mp4", "b.mp4"]  # the leases were stale


def test_workers_end_when_their_parent_is_killed(videos, out):
    write_orders(videos, {"a": "sleep 30"})
    with running("extract", videos, "-o", out) as run:
        wait_for(lambda: record(out, "a.mp4") is not None)
        worker = psutil.Process(int(record(out, "a.mp4").worker.rpartition(":")[2]))
        run.kill()
        run.wait()
        worker.wait(timeout=10)


@pytest.mark.parametrize(
    ("number", "to_group", "code"),
    [
        (signal.SIGINT, False, 130),
        (signal.SIGINT, True, 130),
        (signal.SIGTERM, False, 143),
        (signal.SIGTERM, True, 143),
    ],
)
def test_signals_stop_in_order_and_soon(videos, out, number, to_group, code):
    write_orders(videos, {"a": "ok", "b": "sleep 60", "c": "ok"})
    ignoring = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell does for jobs with &
    try:
        with running("extract", videos, "-o", out) as run:
            signal.signal(signal.SIGINT, ignoring)
            wait_for(lambda: (story := record(out, "b.mp4")) and story.state == "running")
            began = time.monotonic()
            (os.killpg if to_group else os.kill)(run.pid, number)
            time.sleep(0.01)
            run.send_signal(number)  # impatience is no reason for a mess
            _, errors = run.communicate(timeout=30)
            assert time.monotonic() - began < 10
    finally:
        signal.signal(signal.SIGINT, ignoring)
    assert run.returncode == code, errors
    assert errors.splitlines()[-1].endswith("run the same command again to go on")
    assert "Traceback" not in errors
    story = record(out, "b.mp4")
    assert (story.state, story.crashes) == ("interrupted", 0)
    assert no_traces(out)


def test_the_first_of_several_workers_takes_its_share_of_the_cores(monkeypatch):
    monkeypatch.setattr(engines, "_num_cores", lambda: 8)
    monkeypatch.setattr(engines, "LocalWorker", lambda settings, build: settings.num_threads)
    settings = WorkerSettings(recipe={})
    assert engines.LocalEngine(settings, fake_worker.build, 4).start(None, 1) == 2
    assert engines.LocalEngine(settings, fake_worker.build, 4).start(None, 3) == 2
    assert engines.LocalEngine(settings, fake_worker.build).start(None, 1) is None
    assert engines.LocalEngine(settings, fake_worker.build).start(None, 2) == 4
    assert WorkerOptions(workers=4).at_most(2).workers == 2
    assert WorkerOptions(workers=None).at_most(2).workers is None


def test_full_disk_is_one_error_and_stops_the_run(videos, out):
    write_orders(videos, {"a": "ok", "b": "fill"} | {f"c{k}": "ok" for k in range(20)})
    with running("extract", videos, "-o", out) as run:
        errors = run.communicate(timeout=60)[1]
    assert run.returncode == 2
    assert [line[:6] for line in errors.splitlines()] == ["error:"]
    assert "b.npy: cannot write" in errors
    assert not list(out.glob("b.*"))
    assert no_traces(out)
    write_orders(videos, {"b": "ok"})
    assert len(extract(videos, out).done) == 21


@pytest.mark.slow
def test_overwrite_by_two_runs_at_once_makes_everything_anew_once(videos, out, tmp_path):
    names = [f"{k:02}" for k in range(12)]
    write_orders(videos, dict.fromkeys(names, "sleep 0.2"))
    extract(videos, out, workers=4)
    command = ("extract", videos, "-o", out, "--overwrite")
    log = tmp_path / "log"
    with running(*command, log=log) as one, running(*command, log=log) as two:
        assert (one.wait(timeout=60), two.wait(timeout=60)) == (0, 0)
    assert set(log.read_text().split()) == {f"{name}.mp4" for name in names}
    assert no_traces(out)


def test_shards_of_a_cluster_job_do_everything_together(videos, out):
    write_orders(videos, dict.fromkeys("abcde", "ok") | {"sub/a": "ok"})
    for part in ("1/2", "2/2"):
        with running("extract", videos, "-o", out, "--shard", part) as run:
            assert run.wait(timeout=60) == 0
    assert len(list(out.rglob("*.npy"))) == 6
    assert read_sidecar(out / "sub" / "a.npy") is not None


def test_settings_that_do_not_match_the_folder_are_refused(videos, out):
    write_orders(videos, {"a": "ok"})
    extract(videos, out)
    sidecar = json.loads((out / "a.json").read_text())
    sidecar["fingerprint"]["stride"] = 4
    (out / "a.json").write_text(json.dumps(sidecar))
    with pytest.raises(UsageError, match="stride: 4 != 16"):
        extract(videos, out)
    assert extract(videos, out, overwrite=True).done == ["a.mp4"]


def test_a_name_that_cannot_be_written_costs_one_video(videos, out):
    write_orders(videos, {"a": "ok", "b": "ok"})
    (out / "a.npy").mkdir(parents=True)
    summary = extract(videos, out)
    assert summary.done == ["b.mp4"]
    assert [each.path for each in summary.failed] == ["a.mp4"]


def test_a_ledger_that_cannot_be_written_is_one_error(videos, out):
    write_orders(videos, {"a": "ok"})
    out.mkdir()
    (out / ".ledger").write_text("in the way")
    with pytest.raises(HrproError, match=r"\.ledger"):
        extract(videos, out)


@contextmanager
def running(*arguments, log: Path | None = None):
    """The command line with fake workers, in a process group of its own."""
    script = Path(fake_worker.__file__)
    environment = {**os.environ, **({"FAKE_LOG": str(log)} if log else {})}
    process = subprocess.Popen(
        [sys.executable, str(script), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def wait_for(condition, timeout_s: float = 90.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_a_crash_of_the_real_decoder_costs_one_video(rgb_weights, tmp_path):
    for name in ("a", "guilty", "z"):
        make_video(tmp_path / "v" / f"{name}.mp4", frames=40)
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal\n"
        "from hrpro.extract.decode import FrameReader\n"
        "sound = FrameReader.__init__\n"
        "def crash(reader, path, **options):\n"
        "    if 'guilty' in str(path):\n"
        "        os.kill(os.getpid(), signal.SIGSEGV)\n"
        "    sound(reader, path, **options)\n"
        "FrameReader.__init__ = crash\n"
    )
    command = [
        sys.executable, "-m", "hrpro", "extract", tmp_path / "v", "-o", tmp_path / "f",
        "--streams", "rgb", "--short-side", "64", "--crop", "64", "--json",
    ]  # fmt: skip
    run = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert run.returncode == 1, run.stderr
    summary = json.loads(run.stdout)
    assert summary["done"] == ["a.mp4", "z.mp4"]
    [poisoned] = summary["poisoned"]
    assert poisoned["reason"] == "crashed the worker twice (signal 11, SIGSEGV)"
