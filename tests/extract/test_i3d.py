"""The network against values computed with the published weights, and its building blocks."""

from __future__ import annotations

import av
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from lively_i3d import lively_weights

from hrpro.errors import WeightsError
from hrpro.extract.i3d import (
    InceptionI3D,
    MaxPoolSame,
    best_dtype,
    load_i3d,
    same_padding,
)
from hrpro.extract.networks import to_network_input


@pytest.fixture(scope="module")
def cricket(shared):
    """The 79 frames of the original I3D demo, ``[79, 224, 224, 3]`` uint8, as they are."""
    path = shared / "data" / "video" / "v_CricketShot_g04_c01_rgb.gif"
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return np.stack(frames)


@pytest.fixture(scope="module")
def values(golden):
    return dict(np.load(golden / "i3d_rgb_golden.npz", allow_pickle=False))


def network_input(frames: np.ndarray, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    scaled = torch.from_numpy(frames).float() * 2 / 255 - 1
    return to_network_input(scaled, 16, 16).to(dtype)


@torch.inference_mode()
def test_golden_float32(cricket, values, rgb_weights):
    output = load_i3d(rgb_weights.state_dict)(network_input(cricket[:64]))
    for name, found in (("features", output.features), ("logits", output.logits)):
        expected = values[name]
        error = np.abs(found.numpy() - expected).max() / np.abs(expected).max()
        assert error < 1e-4, name
    assert output.logits.argmax(1).tolist() == [227] * 4


@torch.inference_mode()
def test_golden_bfloat16(cricket, values, rgb_weights):
    network = load_i3d(rgb_weights.state_dict, dtype=torch.bfloat16)
    output = network(network_input(cricket[:64], torch.bfloat16))
    cosine = F.cosine_similarity(output.features, torch.from_numpy(values["features"]))
    assert cosine.min() >= 0.999
    assert output.logits.argmax(1).tolist() == [227] * 4


@torch.inference_mode()
def test_golden_whole_clip_time_averaged(cricket, values, rgb_weights):
    """An odd length (79 frames) through the same padding rules."""
    network = load_i3d(rgb_weights.state_dict)
    x = torch.from_numpy(cricket).float() * 2 / 255 - 1
    x = x.permute(3, 0, 1, 2)[None].contiguous(memory_format=torch.channels_last_3d)
    pooled = F.avg_pool3d(network.forward_map(x), (2, 7, 7), stride=1)
    logits = network.logits(pooled).mean(dim=(2, 3, 4))[0].numpy()
    expected = values["clip_logits"]
    assert np.abs(logits - expected).max() / np.abs(expected).max() < 1e-4


@torch.inference_mode()
def test_folding_and_channels_last_change_nothing():
    weights = lively_weights()
    plain = InceptionI3D(3, num_classes=5)
    plain.load_state_dict(weights, strict=False)
    x = torch.randn(2, 3, 16, 64, 64)
    expected, found = plain.eval()(x), load_i3d(weights)(x)
    torch.testing.assert_close(found.features, expected.features, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.logits, expected.logits, rtol=1e-4, atol=1e-5)


def test_missing_and_misshapen_weights_are_named():
    weights = lively_weights()
    without = {name: value for name, value in weights.items() if name != "logits.bias"}
    with pytest.raises(WeightsError, match=r"logits\.bias"):
        load_i3d(without)
    with pytest.raises(WeightsError, match="Mixed_3b"):
        load_i3d({**weights, "Mixed_3b.branch_0.conv.weight": torch.zeros(1)})
    with pytest.raises(WeightsError):
        load_i3d({"unrelated": torch.zeros(1)})


@given(size=st.integers(1, 60), kernel=st.integers(1, 7), stride=st.integers(1, 3))
def test_same_padding_gives_the_size_rounded_up(size, kernel, stride):
    front, back = same_padding(size, kernel, stride)
    assert 0 <= back - front <= 1
    if kernel >= stride:
        assert (size + front + back - kernel) // stride + 1 == -(-size // stride)


@pytest.mark.parametrize("size", [(8, 28, 28), (7, 15, 14), (9, 7, 1)])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (2, 2)])
def test_max_pool_equals_explicit_padding(size, kernel, stride):
    x = torch.randn(2, 3, *size)
    pads = [same_padding(n, kernel, stride) for n in size]
    flat = [side for axis in reversed(pads) for side in axis]
    expected = F.max_pool3d(F.pad(x, flat, value=float("-inf")), kernel, stride)
    found = MaxPoolSame((kernel,) * 3, (stride,) * 3)(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_network_input_cuts_overlapping_snippets():
    samples = torch.arange(24.0).view(24, 1, 1, 1).expand(24, 2, 2, 3)
    x = to_network_input(samples, 16, 4)
    assert x.shape == (3, 3, 16, 2, 2)
    assert x[:, 0, 0, 0, 0].tolist() == [0, 4, 8]
    assert x[2, 1, :, 1, 1].tolist() == list(range(8, 24))


def test_best_dtype_is_one_the_device_can_use():
    assert best_dtype("cpu") in {torch.float32, torch.bfloat16}


def test_compiles_as_one_graph_with_the_same_results():
    torch.manual_seed(0)
    network = InceptionI3D(in_channels=3, num_classes=5).eval()
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    x = torch.rand(1, 3, 8, 48, 64) * 2 - 1
    with torch.inference_mode():
        plain, found = network(x), compiled(x)
    torch.testing.assert_close(found.features, plain.features)
    torch.testing.assert_close(found.logits, plain.logits)
