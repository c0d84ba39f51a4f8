"""What an extraction waits for."""

from __future__ import annotations

import re

import pytest
from click.testing import CliRunner
from videos import make_video

from hrpro.cli import main
from hrpro.extract import waits as module
from hrpro.extract.waits import Waits


@pytest.fixture
def clock(monkeypatch):
    """Time that goes on only when it is told to."""
    now = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    return now


def test_a_part_is_not_blamed_for_the_one_before_it(clock):
    waits = Waits()

    def slowly(items, seconds):
        for item in items:
            clock[0] += seconds
            yield item

    decoded = waits.of("decoding", slowly(range(4), 3.0))
    converted = waits.of("conversion", slowly(decoded, 1.0))
    pictures = waits.pictures(slowly(list(converted), 2.0))  # in another thread, say
    for _ in waits.of("networks", slowly(pictures, 5.0)):
        clock[0] += 100.0  # what is done with them is nobody's wait
    assert waits.take() == {"decoding": 6.0, "conversion": 2.0, "flow": 0.0, "networks": 20.0}
    assert sum(waits.take().values()) == 0


def test_leaving_early_closes_what_is_open():
    closed = []

    def source():
        try:
            yield from range(9)
        finally:
            closed.append(True)

    items = Waits().of("flow", source())
    next(items)
    items.close()
    assert closed


def test_verbose_says_what_was_waited_for(rgb_weights, tmp_path):
    make_video(tmp_path / "a.mp4", frames=40)
    words = ["extract", "-v", tmp_path / "a.mp4", "-o", tmp_path / "f", "--streams", "rgb,flow"]
    words += ["--flow-weights", "cross-modal", "--crop", "64", "--short-side", "64"]
    done = CliRunner().invoke(main, [*map(str, words), "--workers", "0"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    [line] = re.findall("^waited for: .*", done.output, re.MULTILINE)
    shares = dict(re.findall(r"(\w+) (\d+)%", line))
    assert shares.keys() == {"decoding", "conversion", "flow", "networks"}
    assert sum(map(int, shares.values())) == pytest.approx(100, abs=2)
