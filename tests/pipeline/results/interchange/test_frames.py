"""Times: a time on the boundary of a frame comes back to the same frame, in every format."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hrpro.errors import UsageError
from hrpro.pipeline.results.formats import read_results, suffixes, write_results
from hrpro.pipeline.results.interchange.rates import (
    Rates,
    exact_rate,
    from_frames,
    parse_rate,
    to_frame,
    to_frames,
    to_seconds,
)
from hrpro.pipeline.results.model import Detection, Results, VideoResult

pytestmark = pytest.mark.core

RATES = [
    *(Fraction(24000, 1001), Fraction(25), Fraction(30000, 1001)),
    *(Fraction(50), Fraction(60000, 1001), Fraction(120)),
]
LAST_FRAME = 120 * 3600 * 4

frames = st.integers(0, LAST_FRAME)
# One frame alone is a point in the formats that count in frames.
actions = st.one_of(st.tuples(frames, st.just(0)), st.tuples(frames, st.integers(2, 5000))).map(
    lambda pair: (pair[0], pair[0] + pair[1])
)


@pytest.mark.parametrize("suffix", suffixes())
def test_frames_come_back(tmp_path, suffix):
    @settings(max_examples=40, suppress_health_check=list(HealthCheck), deadline=None)
    @given(st.lists(actions, min_size=1, max_size=6), st.sampled_from(RATES), st.booleans())
    def check(marks, rate, one_class):
        if suffix == ".points.csv":
            marks = [(start, start) for start, _ in marks]
        found = [
            Detection("a" if one_class else f"class {index}", 1, float(a / rate), float(b / rate))
            for index, (a, b) in enumerate(marks)
        ]
        content = Results([VideoResult("v", "v.mp4", 20_000.0, float(rate), found)])
        (path,) = write_results(content, tmp_path / f"r{suffix}")
        (video,) = read_results(path, Rates(rate)).videos
        if suffix == ".points.csv":  # the same point twice is one
            marks = {(mark, each.label) for mark, each in zip(marks, found, strict=True)}
            marks = [mark for mark, _ in marks]
        back = [(each.start_s, each.end_s) for each in video.detections]
        assert sorted((to_frame(a, rate), to_frame(b, rate)) for a, b in back) == sorted(marks)
        assert sum(a == b for a, b in back) == sum(a == b for a, b in marks)

    check()


@given(frames, st.integers(2, 10**6), st.sampled_from(RATES))
def test_frames_and_seconds_undo_each_other(start, length, rate):
    assert to_frame(to_seconds(start, rate), rate) == start
    span = from_frames(start, start + length, rate)
    assert to_frames(*span, rate) == (start, start + length)
    point = to_seconds(start, rate)
    assert from_frames(*to_frames(point, point, rate), rate) == (point, point)


@pytest.mark.parametrize(
    ("fps", "rate"),
    [
        *((float(rate), rate) for rate in RATES),
        *((23.976, RATES[0]), (23.98, RATES[0]), (29.97, RATES[2]), (59.94, RATES[4])),
        *((24.0, Fraction(24)), (12.5, Fraction(25, 2)), (30.1, Fraction(301, 10))),
        (119.88, Fraction(120_000, 1001)),
    ],
)
def test_exact_rates(fps, rate):
    assert exact_rate(fps) == rate
    assert parse_rate(f" {fps} ") == rate
    assert parse_rate(str(rate)) == rate


@pytest.mark.parametrize("text", ["", "x", "0", "-25", "1/0", "nan", "inf", "1001"])
def test_bad_rates(text):
    with pytest.raises(UsageError, match="give frames per second"):
        parse_rate(text)


def test_whose_rate_counts():
    rates = Rates(Fraction(25), {"v": Fraction(50)})
    assert (rates.of("v", 30.0), rates.of("w", 30.0)) == (50, 25)
    assert Rates().of("w", 29.97) == Fraction(30000, 1001)
    with pytest.raises(UsageError, match="w: this format counts in frames"):
        Rates().of("w")
