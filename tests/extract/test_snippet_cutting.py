"""Cutting frames into snippets, and flow between them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hrpro.errors import UsageError
from hrpro.extract.config import ExtractConfig
from hrpro.extract.flow.algorithms import make_flow, scale_flow, to_grey
from hrpro.extract.snippet_cutting import cut_snippets, with_flow
from hrpro.features import WeightsId


def numbered(count: int):
    return ((np.full((1, 1, 1), k),) for k in range(count))


@given(
    count=st.integers(1, 90),
    length=st.integers(1, 20),
    stride=st.integers(1, 25),
    per_block=st.integers(1, 5),
)
def test_snippets_hold_the_right_frames(count, length, stride, per_block):
    blocks = list(cut_snippets(numbered(count), length, stride, per_block))
    found = {}
    for block in blocks:
        assert block.num_snippets <= per_block
        for index in range(block.num_snippets):
            start = index * stride
            found[block.first + index] = block.arrays[0][start : start + length, 0, 0, 0].tolist()
    if count < length:
        expected = {0: list(range(count)) + [count - 1] * (length - count)}
    else:
        starts = range(0, count - length + 1, stride)
        expected = {k: list(range(s, s + length)) for k, s in enumerate(starts)}
    assert found == expected
    assert blocks[-1].num_frames == count
    assert blocks[-1].padded == (count < length)


def test_no_frames_no_blocks():
    assert list(cut_snippets(numbered(0), 16, 16, 4)) == []


def moving_square(count: int, speed: int = 2) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)
    frames = []
    for k in range(count):
        frame = np.full((64, 64, 3), 90, np.uint8)
        frame[20:44, 5 + speed * k : 29 + speed * k] = texture
        frames.append(frame)
    return frames


def test_flow_of_chunks_equals_flow_of_pairs_and_last_field_repeats():
    frames = moving_square(18, speed=1)
    samples = list(with_flow(iter(frames), make_flow("dis"), keep_rgb=True))
    assert len(samples) == len(frames)
    algorithm = make_flow("dis")
    for k in (0, 15, 16):
        pair = to_grey(np.stack(frames[k : k + 2]))
        np.testing.assert_allclose(samples[k][1], scale_flow(algorithm(pair))[0], atol=1e-6)
        assert samples[k][0] is frames[k]
    np.testing.assert_array_equal(samples[17][1], samples[16][1])


def test_flow_points_the_way_the_square_moves():
    for name in ("dis", "farneback"):
        frames = moving_square(2)
        field = next(with_flow(iter(frames), make_flow(name), keep_rgb=False))[0]
        u, v = (field[26:38, 12:24] * 20).mean(axis=(0, 1))
        assert abs(u - 2) < 0.5, name
        assert abs(v) < 0.3, name


def test_single_frame_has_zero_flow():
    samples = list(with_flow(iter(moving_square(1)), make_flow("dis"), keep_rgb=False))
    assert len(samples) == 1
    assert not samples[0][0].any()


def test_flow_is_clamped_to_twenty_pixels():
    assert scale_flow(np.array([-50.0, 10.0, 50.0])).tolist() == [-1, 0.5, 1]


def test_eight_bits_round_half_to_even_and_give_back_the_steps():
    flow_px = np.array([-50.0, -20.0, 0.0, 0.05, 20.0])
    steps = np.array([0, 0, 128, 128, 255])  # 127.5 and 127.8
    np.testing.assert_allclose(scale_flow(flow_px, bits=8), steps * 2 / 255 - 1, atol=1e-12)
    once = scale_flow(np.linspace(-20, 20, 1001), bits=8)
    assert len(np.unique(once)) == 256
    np.testing.assert_allclose(scale_flow(once * 20, bits=8), once, atol=1e-12)


def test_bits_reach_the_samples():
    frames = moving_square(3)
    exact = list(with_flow(iter(frames), make_flow("dis"), keep_rgb=False))
    rounded = list(with_flow(iter(frames), make_flow("dis"), keep_rgb=False, bits=8))
    for (field,), (steps,) in zip(exact, rounded, strict=True):
        assert steps.dtype == np.float32
        assert 0 < np.abs(steps - field).max() <= 1 / 255 + 1e-6


class OnDevice:
    """Flow that stays where it was computed, as on a GPU."""

    name = "dis"
    chunk = 4
    wants_rgb = False

    def __init__(self):
        self._dis = make_flow("dis")

    def __call__(self, frames: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(self._dis(frames))


@pytest.mark.parametrize("bits", [None, 8])
def test_flow_on_a_device_is_cut_there(bits):
    frames = moving_square(9)
    arrays, tensors = (
        next(cut_snippets(with_flow(frames, flow, keep_rgb=True, bits=bits), 6, 3, 2)).arrays
        for flow in (make_flow("dis"), OnDevice())
    )
    assert isinstance(tensors[0], np.ndarray)
    assert isinstance(tensors[1], torch.Tensor)
    for one, other in zip(arrays, tensors, strict=True):
        np.testing.assert_array_equal(one, np.asarray(other))


def test_unknown_flow_names_the_choices():
    with pytest.raises(UsageError, match="--flow tv1: no such algorithm; choose from dis, "):
        make_flow("tv1")


def test_flow_bits_are_in_the_fingerprint_and_come_back():
    config = ExtractConfig(streams=("rgb", "flow"), flow_bits=8)
    flow = {"algorithm": "dis", "preset": "medium"}
    fingerprint = config.fingerprint({"flow": WeightsId(sha256="0")}, flow, "float32")
    assert fingerprint.flow == {**flow, "bits": 8}
    assert ExtractConfig.from_fingerprint(fingerprint) == config
    assert fingerprint.difference(fingerprint.model_copy(update={"flow": flow}))


@pytest.mark.parametrize("count", [1, 2, 16, 17, 18, 33])
def test_flow_in_a_pool_equals_flow_without(count):
    frames = moving_square(count, speed=1)
    plain = list(with_flow(iter(frames), make_flow("dis"), keep_rgb=True))
    with ThreadPoolExecutor(2) as pool:
        pooled = list(with_flow(iter(frames), make_flow("dis"), keep_rgb=True, pool=pool, ahead=3))
    assert len(plain) == len(pooled) == count
    for (frame, field), (same_frame, same_field) in zip(plain, pooled, strict=True):
        assert frame is same_frame
        np.testing.assert_array_equal(field, same_field)
