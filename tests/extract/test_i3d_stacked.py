"""The 2-D form of I3D gives what the 3-D one gives."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from lively_i3d import lively_weights

from hrpro.extract.faster import OrPlain
from hrpro.extract.i3d import InceptionI3D, load_i3d
from hrpro.extract.i3d_stacked import StackedI3D, add_relu, choose_operations

pytestmark = pytest.mark.core


@pytest.fixture(scope="module", params=[3, 2], ids=["rgb", "flow"])
def plain(request) -> InceptionI3D:
    return load_i3d(lively_weights(request.param))


def snippets(network: InceptionI3D, batch: int, *size: int) -> torch.Tensor:
    torch.manual_seed(1)
    channels = network.Conv3d_1a_7x7.kernel().shape[1]
    x = torch.rand(batch, channels, *size) * 2 - 1
    return x.contiguous(memory_format=torch.channels_last_3d)


@torch.inference_mode()
def assert_same(found: StackedI3D, plain: InceptionI3D, x: torch.Tensor) -> None:
    for name, here, there in zip(("features", "logits"), found(x), plain(x), strict=True):
        assert here.shape == there.shape and here.dtype == there.dtype == torch.float32
        assert (here - there).abs().max() <= 1e-5 * there.abs().max(), name


@pytest.mark.parametrize(
    ("batch", "size"),
    [(1, (16, 64, 64)), (3, (16, 48, 64)), (1, (9, 33, 47)), (2, (8, 32, 32)), (1, (1, 17, 70))],
)
def test_same_features_and_logits(plain, batch, size):
    assert_same(StackedI3D(plain), plain, snippets(plain, batch, *size))


def test_the_features_depend_on_what_is_seen(plain):
    """Or else the other tests compare nothing but the last biases."""
    x = snippets(plain, 2, 16, 48, 48)
    with torch.inference_mode():
        first, second = plain(x).features
    assert torch.cosine_similarity(first, second, dim=0) < 0.999


def test_memory_that_is_laid_out_in_another_way_changes_nothing(plain):
    x = snippets(plain, 2, 16, 48, 48)
    assert_same(StackedI3D(plain), plain, x.contiguous())
    assert_same(StackedI3D(plain), plain, x[:, :, ::2])


def test_bfloat16(device):
    plain = load_i3d(lively_weights(), device=device, dtype=torch.bfloat16)
    x = snippets(plain, 2, 16, 64, 64).to(device, torch.bfloat16)
    with torch.inference_mode():
        found, expected = StackedI3D(plain)(x), plain(x)
    cosines = F.cosine_similarity(found.features, expected.features)
    assert cosines.min() >= 0.9998


def test_the_kernel_of_the_stem_comes_back_out_of_its_pairs():
    network = InceptionI3D(2, num_classes=5)
    unfolded = network.Conv3d_1a_7x7.kernel()
    assert unfolded is network.Conv3d_1a_7x7.conv.weight
    expected = unfolded.detach().clone()
    network.eval().requires_grad_(False).fold_batch_norm()  # BatchNorm: only eps does something
    found = network.Conv3d_1a_7x7.kernel()
    torch.testing.assert_close(found * (1 + 1e-3) ** 0.5, expected)


def test_needs_a_network_with_its_batch_norm_folded():
    with pytest.raises(ValueError, match="BatchNorm folded"):
        StackedI3D(InceptionI3D(3))


def test_windows_hold_each_frame_between_its_neighbours():
    x = torch.tensor([1.0, 2.0, -3.0]).view(1, 3, 1, 1, 1).expand(1, 3, 2, 2, 2).clone()
    windows = torch.full((1, 3, 2, 2, 6), torch.nan)
    add_relu(x, torch.tensor([0.0, 1.0]), windows)
    assert windows[0, :, 1, 1].tolist() == [
        [0, 0, 1, 2, 2, 3],
        [1, 2, 2, 3, 0, 0],
        [2, 3, 0, 0, 0, 0],
    ]


def test_kernels_are_for_gpus_alone():
    assert not any(isinstance(each, OrPlain) for each in choose_operations(torch.device("cpu")))
    assert all(isinstance(each, OrPlain) for each in choose_operations(torch.device("cuda")))
