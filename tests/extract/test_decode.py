from __future__ import annotations

import threading
import time
import weakref
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from videos import corners, make_video, number_of, numbered

from hrpro.extract.decode import FrameReader, prefetch, probe, upright
from hrpro.extract.packets import MAX_GAP_S, DecodingClock
from hrpro.extract.resample import Timeline, resample

pytestmark = pytest.mark.core

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def read(path, **options) -> tuple[list[np.ndarray], FrameReader]:
    with FrameReader(path, **options) as reader:
        return list(reader), reader


def whole(path, fps: Fraction | int | None = None, **options):
    return read(path, fps=fps, short_side=None, crop=None, **options)


def numbers(path, **options) -> list[int]:
    return [number_of(picture) for picture in whole(path, **options)[0]]


def corner_colours(picture: np.ndarray) -> list[tuple[int, ...]]:
    """Name the pure colour nearest to the centre of each quarter: TL, TR, BL, BR."""
    height, width = picture.shape[:2]
    rows, columns = (height // 4, 3 * height // 4), (width // 4, 3 * width // 4)
    return [
        tuple(255 * (picture[row, column] > 127).astype(int)) for row in rows for column in columns
    ]


# --- the pictures ---------------------------------------------------------------------------


def test_default_is_the_preprocessing_of_i3d(tmp_path):
    pictures, reader = read(make_video(tmp_path / "a.mp4", 10))
    assert len(pictures) == 10
    assert all(p.shape == (224, 224, 3) and p.dtype == np.uint8 for p in pictures)
    assert all(p.flags.c_contiguous for p in pictures)
    assert [number_of(p) for p in pictures] == list(range(10))
    assert reader.report.frames_decoded == reader.report.frames_out == 10
    assert reader.report.warnings == []


@pytest.mark.parametrize(
    "size, shape",
    [((64, 48), (256, 341)), ((48, 64), (341, 256)), ((50, 50), (256, 256)), ((1, 1), (256, 256))],
)
def test_short_side_is_scaled_and_aspect_kept(tmp_path, size, shape):
    path = make_video(tmp_path / "a.mkv", 2, painter=numbered(*size), codec="ffv1", pix_fmt="bgr0")
    pictures, _ = read(path, crop=None)
    assert pictures[0].shape == (*shape, 3)


def test_crop_is_central(tmp_path):
    def cross(number: int) -> np.ndarray:
        picture = np.zeros((300, 400, 3), np.uint8)
        picture[148:152] = picture[:, 198:202] = 255
        return picture

    path = make_video(tmp_path / "a.mkv", 1, painter=cross, codec="ffv1", pix_fmt="bgr0")
    (picture, *_), _ = read(path, short_side=None, crop=100)
    assert picture.shape == (100, 100, 3)
    rows, columns = picture[:, 0, 0].nonzero()[0], picture[0, :, 0].nonzero()[0]
    assert rows.tolist() == columns.tolist() == [48, 49, 50, 51]


def test_no_options_means_the_stored_pixels(tmp_path):
    rng = np.random.default_rng(0)
    original = rng.integers(0, 256, (31, 47, 3), dtype=np.uint8)
    path = make_video(
        tmp_path / "a.mkv", 1, painter=lambda _: original, codec="ffv1", pix_fmt="bgr0"
    )
    (picture,), _ = whole(path)
    np.testing.assert_array_equal(picture, original)


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("flips", [(False, False), (True, False), (False, True)])
def test_display_matrix_is_applied(tmp_path, rotation, flips):
    path = make_video(
        tmp_path / "a.mp4", 2, painter=corners(), rotation=rotation, hflip=flips[0], vflip=flips[1]
    )
    # The promise of the writer: rotate counterclockwise, then mirror.
    expected = np.rot90(corners()(0), rotation // 90)
    expected = expected[:, ::-1] if flips[0] else expected
    expected = expected[::-1] if flips[1] else expected
    (picture, _), reader = whole(path)
    assert picture.shape == expected.shape
    assert corner_colours(picture) == corner_colours(expected)
    info = reader.info
    assert (info.height, info.width) == expected.shape[:2]
    assert info.mirrored == any(flips)
    np.testing.assert_array_equal(upright(corners()(0), info.rotation, info.mirrored), expected)


def test_quarter_turn_to_the_left_by_hand(tmp_path):
    """What was at the right comes to the top: the sign, without the help of rot90."""
    (picture, _), reader = whole(make_video(tmp_path / "a.mp4", 2, painter=corners(), rotation=90))
    assert reader.info.rotation == 90
    assert picture.shape == (64, 48, 3)
    assert corner_colours(picture) == [GREEN, WHITE, RED, BLUE]


def test_crop_follows_the_rotation(tmp_path):
    path = make_video(tmp_path / "a.mp4", 2, painter=corners(400, 300), rotation=270)
    pictures, _ = read(path)
    assert corner_colours(pictures[0]) == [BLUE, RED, WHITE, GREEN]


def test_upright_refuses_other_angles():
    with pytest.raises(ValueError, match="90"):
        upright(np.zeros((2, 2)), 45)


@pytest.mark.parametrize("aspect, width", [(Fraction(4, 3), 85), (Fraction(1, 2), 32)])
def test_pixel_aspect_is_applied(tmp_path, aspect, width):
    path = make_video(tmp_path / "a.mp4", 2, painter=corners(), pixel_aspect=aspect)
    (picture, _), reader = whole(path)
    assert picture.shape == (48, width, 3)
    assert (reader.info.width, reader.info.height) == (width, 48)
    assert corner_colours(picture) == [RED, GREEN, BLUE, WHITE]


def test_pixel_aspect_with_rotation(tmp_path):
    path = make_video(
        tmp_path / "a.mp4", 2, painter=corners(), pixel_aspect=Fraction(2), rotation=90
    )
    (picture, _), _ = whole(path)
    assert picture.shape == (128, 48, 3)


GREYS = (20, 60, 128, 200, 240)


def patches(number: int) -> np.ndarray:
    """Grey steps above, saturated colours below: both range and matrix show."""
    picture = np.zeros((64, 80, 3), np.uint8)
    for i, grey in enumerate(GREYS):
        picture[:32, 16 * i : 16 * i + 16] = grey
    colours = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30), (30, 200, 200)]
    for i, colour in enumerate(colours):
        picture[32:, 16 * i : 16 * i + 16] = colour
    return picture


@pytest.mark.parametrize("color_range", [1, 2], ids=["limited", "full"])
@pytest.mark.parametrize("colorspace", [1, 5], ids=["bt709", "bt601"])
def test_declared_range_and_matrix_are_honoured(tmp_path, color_range, colorspace):
    path = tmp_path / "a.mp4"
    make_video(
        path, 2, painter=patches, pix_fmt="yuv444p", colorspace=colorspace, color_range=color_range
    )
    # The file stores what it declares: black-to-white range and matrix by the standards.
    with av.open(str(path)) as file:
        frame = next(file.decode(video=0))
    assert (frame.color_range, frame.colorspace) == (color_range, colorspace)
    luma = frame.to_ndarray()[0, 8, 8::16].astype(float)
    expected = GREYS if color_range == 2 else [16 + grey * 219 / 255 for grey in GREYS]
    np.testing.assert_allclose(luma, expected, atol=2)

    (picture, _), _ = whole(path)
    np.testing.assert_allclose(
        picture[8::32, 8::16].astype(int), patches(0)[8::32, 8::16].astype(int), atol=6
    )


@pytest.mark.parametrize(
    "codec, pix_fmt, suffix",
    [
        ("libx264", "yuv420p", "mp4"),
        ("libx264", "yuvj420p", "mp4"),
        ("libx264", "yuv422p", "mkv"),
        ("libx264", "yuv444p", "mp4"),
        ("libx264", "yuv420p10le", "mp4"),
        ("libx264", "yuv422p10le", "mov"),
        ("libx264", "gray", "mp4"),
        ("libx264", "gray10le", "mkv"),
        ("libx265", "yuv420p10le", "mp4"),
        ("libx265", "yuv420p", "mkv"),
        ("libvpx-vp9", "yuv420p", "webm"),
        ("libvpx-vp9", "yuva420p", "webm"),
        ("prores_ks", "yuva444p10le", "mov"),
        ("ffv1", "gbrp16le", "mkv"),
        ("ffv1", "gray16le", "mkv"),
        ("ffv1", "bgra", "mkv"),
        ("mjpeg", "yuvj422p", "avi"),
        ("mpeg2video", "yuv422p", "ts"),
        ("mpeg4", "yuv420p", "avi"),
        ("rawvideo", "uyvy422", "avi"),
        ("apng", "rgba", "apng"),
    ],
)
def test_pixel_formats_and_codecs(tmp_path, codec, pix_fmt, suffix):
    path = make_video(tmp_path / f"a.{suffix}", 8, codec=codec, pix_fmt=pix_fmt)
    pictures, reader = whole(path)
    assert [number_of(p) for p in pictures] == list(range(8))
    assert np.ptp(pictures[4].astype(int), axis=2).max() <= 6  # grey stays grey
    assert reader.report.warnings == []


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (17, 33), (63, 47)])
def test_tiny_and_odd_sizes(tmp_path, size):
    path = make_video(
        tmp_path / "a.mkv", 3, painter=numbered(*size), codec="ffv1", pix_fmt="yuv420p"
    )
    assert numbers(path) == [0, 1, 2]
    assert read(path)[0][0].shape == (224, 224, 3)


def test_gif(tmp_path):
    path = make_video(tmp_path / "a.gif", 6, codec="gif", pix_fmt="gray")
    assert numbers(path) == list(range(6))


# --- the times ------------------------------------------------------------------------------


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


# --- the reader -----------------------------------------------------------------------------


def test_probe(tmp_path):
    path = make_video(
        tmp_path / "a.mp4",
        30,
        Fraction(30000, 1001),
        rotation=90,
        audio_s=0.5,
        pixel_aspect=Fraction(2),
    )
    info = probe(path)
    assert (info.width, info.height, info.rotation, info.mirrored) == (48, 128, 90, False)
    assert (info.codec, info.pixel_format) == ("h264", "yuv420p")
    assert info.average_fps == Fraction(30000, 1001)
    assert info.duration_s == pytest.approx(1.001, abs=0.002)
    assert info.has_audio
    assert info.path == path


def test_info_is_known_before_the_first_picture(tmp_path):
    path = make_video(tmp_path / "a.mp4", 5)
    with FrameReader(path) as reader:
        assert reader.info == probe(path)


def test_reader_can_be_left_and_closed_early(tmp_path):
    path = make_video(tmp_path / "a.mp4", 20)
    with FrameReader(path) as reader:
        next(reader)
    assert list(reader) == []
    reader.close()
    path.unlink()  # nothing holds it open on any system


@pytest.mark.parametrize("options", [{"fps": 0}, {"fps": -1}, {"crop": 300, "short_side": 256}])
def test_impossible_options(tmp_path, options):
    path = make_video(tmp_path / "a.mp4", 2)
    with pytest.raises(ValueError):
        FrameReader(path, **options)


def test_resolution_change(tmp_path):
    small = make_video(tmp_path / "s.h264", 6, painter=numbered(64, 48), container="h264")
    large = make_video(tmp_path / "l.h264", 6, painter=numbered(128, 64), container="h264")
    path = tmp_path / "both.h264"
    path.write_bytes(small.read_bytes() + large.read_bytes())
    for options in ({}, {"crop": None}, {"crop": None, "short_side": None}):
        pictures, _ = read(path, fps=None, **options)
        assert [number_of(p) for p in pictures] == [0, 1, 2, 3, 4, 5] * 2
        assert len({p.shape for p in pictures}) == 1


def test_clock_reset_in_a_joined_broadcast(tmp_path):
    part = make_video(tmp_path / "a.ts", 30)
    path = tmp_path / "both.ts"
    path.write_bytes(part.read_bytes() * 2)
    pictures, reader = whole(path, 25)
    assert [number_of(p) for p in pictures] == list(range(30)) * 2
    assert reader.report.duration_s == pytest.approx(2.4, abs=0.001)


def test_few_pictures_are_alive_however_long_the_video(tmp_path):
    class Referable(np.ndarray):
        pass

    path = make_video(tmp_path / "a.mp4", 300)
    references: list[weakref.ref] = []
    most = 0
    with FrameReader(path, fps=50) as reader:
        convert = reader._convert
        reader._convert = lambda frames: [each.view(Referable) for each in convert(frames)]
        for picture in reader:
            references.append(weakref.ref(picture))
            references = [reference for reference in references if reference() is not None]
            most = max(most, len({id(reference()) for reference in references}))
    assert most <= 2


# --- decoding ahead -------------------------------------------------------------------------


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


# --- real files -----------------------------------------------------------------------------


def test_the_clip_of_the_original_demo(shared):
    pictures, reader = read(shared / "data/video/v_CricketShot_g04_c01_rgb.gif", short_side=224)
    assert len(pictures) == 79
    assert reader.report.warnings == []


@pytest.mark.parametrize(
    "name, frames, seconds",
    [
        ("ucf101/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi", 164, 6.56),
        ("hmdb51/Wave/SchoolRulesHowTheyHelpUs_wave_f_nm_np1_ba_med_0.avi", 74, 74 / 30),
        ("other/ShadowBoxing/20231128_042445000_iOS.MOV", 50, 50 / 29.97),
    ],
)
def test_real_clips(shared, name, frames, seconds):
    pictures, reader = read(shared / "data/clips" / name)
    assert reader.report.frames_decoded == frames
    assert reader.report.duration_s == pytest.approx(seconds, abs=0.01)
    assert abs(len(pictures) - 25 * seconds) <= 1
    assert reader.report.warnings == []
