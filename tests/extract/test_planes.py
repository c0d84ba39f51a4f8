"""Planes that lie on a GPU, and come by DLPack, are those of the host."""

from __future__ import annotations

import logging
from fractions import Fraction

import numpy as np
import pytest
import torch
from gpu_frames import GpuFrame
from hypothesis import given
from hypothesis import strategies as st
from painted_frames import painted

from hrpro.extract.convert import TensorConverter
from hrpro.extract.geometry import FrameConverter, Orientation
from hrpro.extract.planes import exported, is_readable, stacked
from hrpro.extract.pyav import on_gpu, pixel_format, to_host

CPU = torch.device("cpu")
FORMATS = ["nv12", "p010le"]
sides = st.integers(16, 200)


@given(
    pixel_format=st.sampled_from(FORMATS),
    width=sides.map(lambda side: side * 2),
    height=sides.map(lambda side: side * 2),
    pitch_bytes=st.sampled_from([1024, 1536, 2048]),
    count=st.integers(1, 3),
)
def test_planes_are_copied_without_their_padding(pixel_format, width, height, pitch_bytes, count):
    frames = [painted(width, height, pixel_format, seed, 2) for seed in range(count)]
    kept = [GpuFrame(frame, pitch_bytes=pitch_bytes) for frame in frames]
    for number in (0, 1):
        options = {"width": width, "wide": pixel_format == "p010le", "device": CPU}
        found = stacked(kept, number, **options)
        assert found.is_contiguous()
        assert found.shape == (count, height >> number, width)
        torch.testing.assert_close(found, stacked(frames, number, **options), rtol=0, atol=0)
    assert not any(frame.num_copies for frame in kept)


@pytest.mark.parametrize("pixel_format", FORMATS)
@pytest.mark.parametrize("size", [(200, 160), (201, 160), (200, 161), (131, 97), (96, 130)])
@pytest.mark.parametrize("colours", [(1, 1), (5, 2)])
def test_pictures_are_those_of_the_host(pixel_format, size, colours):
    frames = [painted(*size, pixel_format, seed, 2) for seed in range(4)]
    for frame in frames:
        frame.colorspace, frame.color_range = colours
    kept = [GpuFrame(frame) for frame in frames]
    options = (Orientation(90, True), Fraction(4, 3), 128, 96)
    found = TensorConverter(*options, device=CPU)(kept)
    for picture, right in zip(found, TensorConverter(*options, device=CPU)(frames), strict=True):
        assert np.array_equal(picture, right)
    odd = any(side % 2 for side in size)
    copies = [frame.num_copies for frame in kept]
    assert copies == ([1, 1, 1, 1] if odd else [1, 0, 0, 0]), "the first shows where chroma lies"


def test_a_frame_on_a_gpu_is_what_its_values_are():
    host = painted(64, 48, "p010le", 0, 2)
    kept = GpuFrame(host)
    assert on_gpu(kept) and not on_gpu(host)
    assert pixel_format(kept) == pixel_format(host) == "p010le"
    assert to_host(kept) is host and to_host(host) is host
    luma, chroma = exported(kept)
    assert (luma.shape, chroma.shape) == ((48, 64), (24, 64))
    assert luma.dtype == chroma.dtype == torch.int16


@pytest.mark.parametrize("size", [(63, 48), (64, 47)])
def test_odd_sides_are_not_to_be_had_from_a_gpu(size):
    host = painted(*size, "nv12", 0, 2)
    assert is_readable(host) and not is_readable(GpuFrame(host))
    with pytest.raises(ValueError, match=f"nv12 {size[0]}x{size[1]}"):
        exported(GpuFrame(host))
    with pytest.raises(ValueError, match="no planes"):
        exported(painted(64, 48, "nv12", 0, 2))


def test_what_fails_midway_is_copied_from_there_on(caplog):
    frames = [painted(80, 64, "nv12", seed, 2) for seed in range(6)]
    kept = [GpuFrame(frame, torn=number == 3) for number, frame in enumerate(frames)]
    options = (Orientation(), None, 64, 48)
    converter = TensorConverter(*options, device=CPU)
    with caplog.at_level(logging.DEBUG, "hrpro"):
        found = [converter([frame])[0] for frame in kept]
    expected = TensorConverter(*options, device=CPU)
    for number, (picture, frame) in enumerate(zip(found, frames, strict=True)):
        [right] = expected([frame])
        if number != 3:  # there the place of chroma is found again, by swscale
            assert np.array_equal(picture, right), number
        assert (np.abs(picture.astype(int) - right) <= 1).mean() >= 0.99
    assert [frame.num_copies for frame in kept] == [1, 0, 0, 1, 1, 1]
    [record] = caplog.records
    assert "copied from the GPU" in record.message


def test_faults_of_the_host_are_not_hidden(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no memory")

    frame = painted(80, 64, "nv12", 0, 2)
    monkeypatch.setattr("hrpro.extract.convert.stacked", fail)
    with pytest.raises(RuntimeError, match="no memory"):
        TensorConverter(Orientation(), None, 64, 48, device=CPU)([frame])


def test_swscale_takes_frames_from_anywhere():
    host = painted(80, 64, "nv12", 0, 2)
    options = (Orientation(), None, 64, 48)
    [picture] = FrameConverter(*options)([GpuFrame(host)])
    [right] = FrameConverter(*options)([host])
    assert np.array_equal(picture, right)
