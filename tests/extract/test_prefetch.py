"""Decoding ahead, in a thread of its own."""

from __future__ import annotations

import threading
import time

import pytest
from videos import make_video, number_of

from hrpro.extract.decode import FrameReader, prefetch

pytestmark = pytest.mark.core


def wait_until(condition, timeout_s: float = 5.0) -> bool:
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def running() -> int:
    return sum(thread.name == "prefetch" for thread in threading.enumerate())


def test_prefetch_gives_the_same_pictures(tmp_path):
    path = make_video(tmp_path / "a.mp4", 40)
    with FrameReader(path) as reader, prefetch(reader, 4) as ahead:
        got = [number_of(p) for p in ahead]
    assert got == list(range(40))
    assert reader.report.frames_out == 40
    assert running() == 0


def test_prefetch_runs_ahead_but_only_so_far():
    made = []
    with prefetch((made.append(i) or i for i in range(100)), 5) as ahead:
        assert next(ahead) == 0
        assert wait_until(lambda: len(made) >= 6)
        time.sleep(0.05)
        assert len(made) <= 7  # five in the queue, one handed out, one waiting for a place


def test_prefetch_raises_in_the_consumer():
    def broken():
        yield 1
        raise RuntimeError("worn out")

    ahead = prefetch(broken(), 3)
    assert next(ahead) == 1
    with pytest.raises(RuntimeError, match="worn out"):
        next(ahead)
    with pytest.raises(StopIteration):
        next(ahead)
    assert running() == 0


@pytest.mark.parametrize("how", ["break", "error", "interrupt", "close", "drop"])
def test_prefetch_stops_when_left_early(how):
    closed = threading.Event()

    def endless():
        try:
            while True:
                yield 0
        finally:
            closed.set()

    ahead = prefetch(endless(), 2)
    if how == "drop":
        next(ahead)
        del ahead
    elif how == "close":
        ahead.close()
        ahead.close()
    else:
        errors = {"error": ValueError, "interrupt": KeyboardInterrupt}
        try:
            with ahead:
                for _ in ahead:
                    if how in errors:
                        raise errors[how]
                    break
        except (ValueError, KeyboardInterrupt):
            pass
    assert closed.wait(5)
    assert wait_until(lambda: running() == 0)


def test_closing_the_reader_under_a_running_prefetch_is_safe(tmp_path):
    path = make_video(tmp_path / "a.mp4", 100)
    for _ in range(20):
        reader = FrameReader(path)
        ahead = prefetch(reader, 2)
        next(ahead)
        reader.close()
        ahead.close()
    assert running() == 0


def test_prefetch_needs_a_depth():
    with pytest.raises(ValueError, match="depth"):
        prefetch([], 0)
