"""Which frame is shown at which time."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from videos import make_video, number_of
from whole_videos import numbers, whole

from hrpro.extract.decode import FrameReader
from hrpro.extract.packets import MAX_GAP_S, DecodingClock
from hrpro.extract.resample import Timeline, resample

pytestmark = pytest.mark.core


@pytest.mark.parametrize(
    "fps, frames",
    [
        (Fraction(1), 3),
        (Fraction(10), 10),
        (Fraction(24000, 1001), 24),
        (Fraction(25), 25),
        (Fraction(30000, 1001), 30),
        (Fraction(30), 30),
        (Fraction(50), 50),
        (Fraction(120), 55),
        (Fraction(240), 55),
    ],
)
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_rates_are_resampled_by_time(tmp_path, fps, frames, suffix):
    path = make_video(tmp_path / f"a.{suffix}", frames, fps, b_frames=2)
    got = numbers(path, fps=25)
    # By hand: picture k shows the last frame that began by k / 25, up to a millisecond tick.
    expected = []
    while Fraction(len(expected), 25) < frames / fps - Fraction(1, 1000):
        k = len(expected)
        expected.append(
            max(i for i in range(frames) if i / fps <= Fraction(k, 25) + Fraction(1, 1000))
        )
    assert got == expected


def test_equal_rate_changes_nothing_in_spite_of_rounded_times(tmp_path):
    """25 fps in ticks of 1/15360 s cannot be exact; no frame may be doubled or dropped."""
    times = [round(Fraction(i, 25) * 15360) for i in range(50)]
    path = make_video(tmp_path / "a.mp4", 50, times=times, time_base=Fraction(1, 15360))
    assert numbers(path, fps=25) == list(range(50))


def test_native_rate_yields_every_frame_with_its_time(tmp_path):
    times = [0, 1, 2, 10, 11, 40]
    path = make_video(tmp_path / "a.mp4", 6, times=times, time_base=Fraction(1, 20))
    with FrameReader(path, fps=None, short_side=None, crop=None) as reader:
        timed = list(reader.timed())
    assert [number_of(picture) for _, picture in timed] == list(range(6))
    np.testing.assert_allclose([time_s for time_s, _ in timed], np.array(times) / 20)


def test_resampled_times(tmp_path):
    with FrameReader(make_video(tmp_path / "a.mp4", 6), fps=Fraction(50)) as reader:
        np.testing.assert_allclose([t for t, _ in reader.timed()], np.arange(12) / 50)


def test_variable_rate_holds_the_frame_over_a_gap(tmp_path):
    times = [0, 40, 80, 1080, 1120]
    path = make_video(tmp_path / "a.mkv", 5, times=times, time_base=Fraction(1, 1000))
    pictures, reader = whole(path, 25)
    got = [number_of(p) for p in pictures]
    assert got == [0, 1] + [2] * 25 + [3, 4]
    assert pictures[2] is pictures[26]  # held, not converted again
    assert reader.report.frames_decoded == 5
    assert reader.report.duration_s == pytest.approx(1.16)


@pytest.mark.parametrize("start_s", [-2, 7])
def test_start_time_does_not_count(tmp_path, start_s):
    times = [start_s * 25 + i for i in range(10)]
    path = make_video(
        tmp_path / "a.mkv", 10, times=times, container_options={"avoid_negative_ts": "disabled"}
    )
    pictures, reader = whole(path, 25)
    assert [number_of(p) for p in pictures] == list(range(10))
    assert reader.report.duration_s == pytest.approx(0.4)
    assert not reader.report.truncated
    if start_s > 0:
        assert reader.info.start_s == pytest.approx(start_s)


@pytest.mark.parametrize(
    "suffix, codec", [("mp4", "libx264"), ("mkv", "libx265"), ("ts", "libx264")]
)
@pytest.mark.parametrize("threads", [1, 4])
def test_last_frames_come_out_of_the_decoder(tmp_path, suffix, codec, threads):
    path = make_video(tmp_path / f"a.{suffix}", 37, codec=codec, b_frames=3)
    assert numbers(path, threads=threads) == list(range(37))


def test_avi_with_b_frames_keeps_its_order_and_length(tmp_path):
    path = make_video(tmp_path / "a.avi", 30, codec="mpeg4", b_frames=2)
    pictures, reader = whole(path, 25)
    assert [number_of(p) for p in pictures] == list(range(30))
    assert reader.report.warnings == []


def test_raw_stream_without_times_runs_at_its_nominal_rate(tmp_path):
    path = make_video(tmp_path / "a.h264", 20, b_frames=2, container="h264")
    pictures, reader = whole(path, 25)
    assert [number_of(p) for p in pictures] == list(range(20))
    assert reader.report.warnings == [
        "20 frames without a presentation time, placed at 25 frames per second"
    ]


@pytest.mark.parametrize("fps", [Fraction(30000, 1001), 12, 60])
@pytest.mark.parametrize("codec, container", [("libx264", "h264"), ("libx265", "hevc")])
def test_raw_streams_run_at_the_rate_that_they_state(tmp_path, codec, container, fps):
    path = make_video(tmp_path / "a.bin", 20, fps, codec=codec, container=container)
    with FrameReader(path, fps=None, short_side=None, crop=None) as reader:
        times = [time_s for time_s, _ in reader.timed()]
    assert times == pytest.approx([number / float(fps) for number in range(20)])
    assert reader.info.average_fps == fps


@pytest.mark.parametrize(
    "suffix, codec, pix_fmt", [("mp4", "libx264", "yuv420p"), ("gif", "gif", "gray")]
)
def test_single_frame(tmp_path, suffix, codec, pix_fmt):
    path = make_video(tmp_path / f"a.{suffix}", 1, codec=codec, pix_fmt=pix_fmt)
    assert numbers(path) == [0]
    assert len(whole(path, 25)[0]) >= 1


def test_sound_that_outlasts_the_picture_is_no_truncation(tmp_path):
    for suffix in ("mp4", "mkv"):
        path = make_video(tmp_path / f"a.{suffix}", 10, audio_s=3)
        pictures, reader = whole(path, 25)
        assert len(pictures) == 10
        assert not reader.report.truncated
        assert reader.info.has_audio


periods = st.fractions(min_value=Fraction(1, 300), max_value=3, max_denominator=100000)


@settings(deadline=None, max_examples=60)
@given(st.lists(periods, min_size=1, max_size=40), st.fractions(1, 60, max_denominator=1001))
def test_resample_shows_what_is_on_display(lengths, fps):
    starts = [sum(lengths[:i], Fraction(0)) for i in range(len(lengths))]
    frames = [(s, s + n, i) for i, (s, n) in enumerate(zip(starts, lengths, strict=True))]
    got = list(resample(frames, fps))
    tick = Fraction(1, 1000)
    for k, i in enumerate(got):
        assert i == max(j for j, start in enumerate(starts) if start <= k / fps + tick)
    assert abs(len(got) - sum(lengths) * fps) <= 1


def test_resample_of_nothing_is_nothing():
    assert list(resample([], Fraction(25))) == []


def place_all(times, period=Fraction(1, 25)) -> tuple[list[Fraction | None], Timeline]:
    timeline = Timeline(period)
    return [timeline.place(None if t is None else Fraction(t)) for t in times], timeline


@given(st.lists(st.none() | st.fractions(-(10**4), 10**4, max_denominator=1000), max_size=30))
def test_timeline_always_increases_from_zero(times):
    placed, timeline = place_all(times)
    kept = [time for time in placed if time is not None]
    assert not placed or placed[0] == 0
    assert all(a < b for a, b in pairwise(kept))
    assert len(kept) + timeline.left_out == len(times)


def test_timeline_keeps_sound_times():
    times = [Fraction(5) + Fraction(i, 30) for i in range(20)]
    placed, timeline = place_all(times)
    assert placed == [Fraction(i, 30) for i in range(20)]
    assert (timeline.missing, timeline.left_out) == (0, 0)


def clocked(times: list[int]) -> tuple[list[int], DecodingClock]:
    """Put decoding times in milliseconds, 40 from frame to frame, on one clock."""
    clock = DecodingClock(Fraction(1, 1000), Fraction(1, 25))
    placed = []
    for number, ticks in enumerate(times):
        upcoming = times[number + 1 : number + 51]
        placed.append(ticks + clock.place(ticks, lambda upcoming=upcoming: upcoming))
    return placed, clock


@pytest.mark.parametrize("bad", [-3_600_000, -100_000, 9_999_000])
def test_decoding_clock_forgives_a_single_bad_time(bad):
    times = [40 * i for i in range(20)]
    odd = [*times[:10], bad, *times[11:]]
    placed, clock = clocked(odd)
    assert placed == odd
    assert clock.resets == 0


@given(st.integers(1, 60), st.integers(0, 20), st.integers(1, 20))
def test_decoding_clock_is_not_moved_by_parts_in_a_wrong_place(first, between, length):
    times = [40 * i for i in range(150)]
    second = first + length + between
    swapped = list(times)
    swapped[first : first + length] = times[second : second + length]
    swapped[second : second + length] = times[first : first + length]
    assert clocked(swapped)[0] == swapped


def test_decoding_clock_goes_on_when_it_was_set():
    times = [40 * i for i in range(50)]
    for shift in (-1_000_000, 5_000_000):
        placed, clock = clocked([*times[:25], *(t + shift for t in times[25:])])
        assert placed == times
        assert clock.resets == 1


def test_decoding_clock_holds_long_stills_and_keeps_slips():
    gap = int(1000 * MAX_GAP_S)
    for times in ([0, gap, 2 * gap], [0, 40, 20, 80, 120], [0, 1, 0, 41]):
        assert clocked(times)[0] == times


def test_timeline_squeezes_repeated_times_in_without_delaying_the_others():
    placed, timeline = place_all([Fraction(i, 25) for i in (0, 1, 1, 1, 2, 3)])
    assert [placed[i] for i in (0, 1, 4, 5)] == [Fraction(i, 25) for i in range(4)]
    assert timeline.left_out == 0


@pytest.mark.parametrize("bad", [0, 9999])
def test_timeline_leaves_out_what_has_an_impossible_time(bad):
    times = [Fraction(i, 25) for i in range(20)]
    placed, timeline = place_all([*times[:10], Fraction(bad), *times[11:]])
    assert placed == [*times[:10], None, *times[11:]]
    assert timeline.left_out == 1


def test_timeline_follows_many_frames_that_agree():
    times = [Fraction(i, 25) for i in range(100)]
    placed, timeline = place_all([*times, *times])
    assert placed == [*times, *[None] * 50, *(4 + t for t in times[:50])]
    assert timeline.left_out == 50


def test_timeline_places_frames_without_a_time():
    assert place_all([None, None, 7, None])[0] == [Fraction(i, 25) for i in range(4)]
