"""The Triton kernels: on a GPU as they are, and on any machine in Triton's interpreter."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest
import torch
from lively_i3d import lively_weights

from hrpro.extract import i3d_stacked
from hrpro.extract.i3d import load_i3d
from hrpro.extract.i3d_stacked import Operations, StackedI3D

NAME = "hrpro.extract.i3d_kernels"


@pytest.fixture
def kernels(device, monkeypatch) -> ModuleType:
    """A copy of the module, whose kernels are interpreted for tensors of the CPU."""
    pytest.importorskip("triton", reason="needs Triton, which this PyTorch has not brought along")
    if device == "cpu":
        monkeypatch.setenv("TRITON_INTERPRET", "1")  # read where kernels are defined
    spec = importlib.util.find_spec(NAME)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("size", [(4, 7, 9), (3, 8, 8), (1, 5, 1)])
@pytest.mark.parametrize(
    ("kernel", "stride"),
    [
        ((3, 3, 3), (1, 1, 1)),
        ((1, 3, 3), (1, 2, 2)),
        ((3, 3, 3), (2, 2, 2)),
        ((2, 2, 2), (2, 2, 2)),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pooling_is_that_of_the_3d_network(kernels, device, size, kernel, stride, dtype):
    x = -torch.rand(2, *size, 16, device=device).to(dtype)  # zeros of a padding would win
    expected = i3d_stacked.max_pool(x, kernel, stride)
    found = kernels.max_pool(x, kernel, stride)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert found.is_contiguous()


def test_pooling_of_frames_that_take_several_programs(kernels, device):
    x = torch.randn(2, 2, 30, 21, 24, device=device)
    expected = i3d_stacked.max_pool(x, (1, 3, 3), (1, 2, 2))
    found = kernels.max_pool(x, (1, 3, 3), (1, 2, 2))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_what_is_not_a_number_stays_to_be_seen(kernels, device):
    x = torch.zeros(1, 2, 4, 4, 16, device=device)
    x[0, 1, 2, 3, 5] = torch.nan
    assert kernels.max_pool(x, (3, 3, 3), (1, 1, 1)).isnan().sum() == 2 * 3 * 2
    out = torch.empty_like(x)
    kernels.add_relu(x, torch.zeros(16, device=device), out)
    assert out.isnan().sum() == 1


@pytest.mark.parametrize("taps", [1, 3])
@pytest.mark.parametrize("frames", [1, 2, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bias_and_relu_are_put_where_they_are_read(kernels, device, taps, frames, dtype):
    product = torch.randn(2, frames, 7, 9, 40, device=device).to(dtype)
    x, bias = product[..., 8:32], torch.randn(24, device=device).to(dtype)
    wide = torch.full((2, frames, 7, 9, taps * 24 + 16), 7.0, device=device, dtype=dtype)
    place = wide[..., 8:-8]
    kernels.add_relu(x, bias, place)
    expected = torch.empty_like(place)
    i3d_stacked.add_relu(x.clone(), bias, expected)
    # Triton's interpreter cuts bits off where a GPU rounds.
    rounding = 2**-7 if dtype == torch.bfloat16 else 0
    torch.testing.assert_close(place, expected, rtol=rounding, atol=0)
    assert (wide[..., :8] == 7).all() and (wide[..., -8:] == 7).all(), "nothing beside it"


def test_bias_and_relu_in_place(kernels, device):
    x, bias = torch.randn(1, 2, 3, 3, 16, device=device), torch.randn(16, device=device)
    expected = (x + bias).relu()
    kernels.add_relu(x, bias, x)
    torch.testing.assert_close(x, expected, rtol=0, atol=0)


@torch.inference_mode()
def test_the_whole_network(kernels, device):
    plain = load_i3d(lively_weights(2), device=device)
    network = StackedI3D(plain, Operations(kernels.max_pool, kernels.add_relu))
    x = torch.rand(1, 2, 4, 16, 16, device=device) * 2 - 1
    expected = load_i3d(lively_weights(2))(x.cpu()).features
    found = network(x).features.cpu()
    tolerance = 1e-5 if device == "cpu" else 1e-3  # TF32 there
    assert (found - expected).abs().max() <= tolerance * expected.abs().max()
