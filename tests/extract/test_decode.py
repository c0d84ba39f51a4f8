"""What comes out of the decoder: the pictures, and what the reader tells of the file."""

from __future__ import annotations

import weakref
from fractions import Fraction

import av
import numpy as np
import pytest
from videos import corners, make_video, number_of, numbered
from whole_videos import numbers, read, whole

from hrpro.extract.decode import FrameReader, probe, upright

pytestmark = pytest.mark.core

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


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
