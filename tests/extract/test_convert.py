"""Colours, resize and crop as tensor operations, against swscale, which does them on a CPU."""

from __future__ import annotations

from fractions import Fraction
from functools import partial

import av
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from painted_frames import blobs, painted
from videos import make_video

from hrpro.extract.convert import LAYOUTS, TensorConverter, bilinear, kind_of
from hrpro.extract.decode import FrameReader
from hrpro.extract.geometry import FrameConverter, Orientation

CPU = torch.device("cpu")


def assert_alike(picture: np.ndarray, expected: np.ndarray) -> None:
    assert picture.shape == expected.shape
    assert picture.dtype == np.uint8
    difference = np.abs(picture.astype(int) - expected)
    assert (difference <= 1).mean() >= 0.99
    assert difference.max() <= 8


@settings(max_examples=60)
@given(
    pixel_format=st.sampled_from(sorted(LAYOUTS)),
    size=st.tuples(st.integers(40, 420), st.integers(40, 420)),
    rotation=st.sampled_from([0, 90, 180, 270]),
    mirrored=st.booleans(),
    aspect=st.sampled_from([None, Fraction(4, 3), Fraction(8, 9)]),
    short_side=st.sampled_from([None, 64, 256]),
    crop=st.booleans(),
    colours=st.sampled_from([(2, 0), (1, 1), (1, 2), (5, 1), (6, 2), (7, 1), (9, 1), (9, 2)]),
    seed=st.integers(0, 100),
    detail=st.floats(1, 5),
)
def test_pictures_are_those_of_swscale_within_a_grey_level(
    pixel_format, size, rotation, mirrored, aspect, short_side, crop, colours, seed, detail
):
    frame = painted(*size, pixel_format, seed, detail)
    frame.colorspace, frame.color_range = colours
    options = (Orientation(rotation, mirrored), aspect, short_side, 32 if crop else None)
    kind = kind_of(frame)
    assert kind is not None
    [expected] = FrameConverter(*options)([frame])
    converter = TensorConverter(*options, device=CPU)
    converter([frame])
    resizer = converter._resizers.get(kind)
    if resizer is not None:  # else the chroma does not show where it lies, and swscale goes on
        assert_alike(converter._pictures(kind, resizer, [frame])[0], expected)
    else:
        assert kind not in converter._resizers, "none of the places is right"
    assert_alike(converter([frame])[0], expected)


def test_frames_of_several_kinds_keep_their_order(device):
    options = (Orientation(), None, 64, 48)
    kinds = [(80, 64, "yuv420p"), (64, 80, "nv12"), (80, 64, "rgb24"), (80, 64, "yuv420p")]
    frames = [
        painted(*kind, seed, 2) if kind[2] != "rgb24" else av.VideoFrame(*kind)
        for seed, kind in enumerate(kinds)
    ]
    frames[2].planes[0].update(bytes([200, 10, 90] * (frames[2].planes[0].buffer_size // 3)))
    found = TensorConverter(*options, device=torch.device(device))(frames)
    for picture, expected in zip(found, FrameConverter(*options)(frames), strict=True):
        assert_alike(picture, expected)


@pytest.mark.parametrize("pixel_format", ["rgb24", "yuva420p", "pal8", "yuv411p"])
def test_what_is_not_done_here_goes_to_swscale(pixel_format):
    assert kind_of(av.VideoFrame(64, 64, pixel_format)) is None


@given(st.integers(16, 3000), st.integers(16, 600))
def test_resizing_keeps_what_is_even(size, new_size):
    matrix = bilinear(size, new_size)
    assert matrix.shape == (new_size, size)
    torch.testing.assert_close(matrix.sum(1), torch.ones(new_size))


@pytest.mark.parametrize("codec", ["libx264", "libvpx-vp9"])
def test_the_place_of_chroma_is_found_in_the_pictures(tmp_path, codec):
    path = make_video(
        tmp_path / f"a.{'mp4' if codec == 'libx264' else 'webm'}",
        6,
        codec=codec,
        painter=blobs(200, 160),
    )
    with av.open(str(path)) as file:
        grey = av.VideoFrame(200, 160, "yuv420p")
        for plane in grey.planes:
            plane.update(bytes([128]) * plane.buffer_size)
        frames = [grey, *file.decode(video=0)]
    for frame in frames:
        frame.colorspace, frame.color_range = 5, 1
    kind = kind_of(frames[0])
    options = (Orientation(), None, 128, None)
    converter = TensorConverter(*options, device=CPU)
    converter(frames[:1])
    assert kind not in converter._resizers, "a grey picture shows nothing"
    found = converter(frames[1:])
    assert converter._resizers[kind] is not None
    for picture, expected in zip(found, FrameConverter(*options)(frames[1:]), strict=True):
        assert_alike(picture, expected)


def test_real_video_has_the_same_features(shared, rgb_weights):
    from hrpro.compute import ComputeOptions
    from hrpro.extract.config import ExtractConfig
    from hrpro.extract.extractor import Extractor

    path = min((shared / "data" / "clips").rglob("*.mp4"), key=lambda each: each.stat().st_size)
    rows = [
        Extractor(
            ExtractConfig(), ComputeOptions("cpu", "float32", convert=convert), progress=False
        )
        .extract(path)
        .features
        for convert in ("cpu", "device")
    ]
    cosines = torch.cosine_similarity(*map(torch.from_numpy, rows), dim=1)
    assert cosines.min() >= 0.9995


def test_the_reader_takes_any_converter(tmp_path):
    path = make_video(tmp_path / "a.mp4", 40, painter=blobs(80, 64), fps=10)
    with FrameReader(path) as reader:
        expected = list(reader)
    with FrameReader(path, converter=partial(TensorConverter, device=CPU)) as reader:
        found = list(reader)
    assert len(found) == len(expected) == 100
    for picture, right in zip(found, expected, strict=True):
        assert_alike(picture, right)
    assert found[0] is found[1], "still on display"
