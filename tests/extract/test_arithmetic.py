"""The check of the arithmetic passes on sound hardware, and notices convolutions that are wrong."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from hrpro.extract import arithmetic
from hrpro.extract.arithmetic import FORMULA, WEIGHTS, check_arithmetic

pytestmark = pytest.mark.core


@pytest.fixture
def no_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("HRPRO_CACHE", str(tmp_path))


def test_published_weights(rgb_weights):
    report = check_arithmetic("cpu", torch.float32)
    assert report.weights == WEIGHTS
    assert report.right and report.cosine > 0.999999


@pytest.mark.parametrize(
    ("dtype", "convolutions"),
    [(torch.float32, "3d"), (torch.bfloat16, "3d"), (torch.float32, "2d")],
)
def test_weights_made_by_a_formula_need_no_network(no_weights, dtype, convolutions):
    report = check_arithmetic("cpu", dtype, convolutions)
    assert report.weights == FORMULA
    assert report.right, report


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that CUDA can use")
@pytest.mark.parametrize("convolutions", ["3d", "2d"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_on_a_gpu(no_weights, dtype, convolutions):
    assert check_arithmetic("cuda", dtype, convolutions).right


def test_one_wrong_convolution_is_noticed(no_weights, monkeypatch):
    right = F.conv3d

    def wrong(x, weight, *args, **kwargs):
        is_2c = weight.shape[0] == 192 and weight.shape[2:] == (3, 3, 3)
        return right(x, weight.flip(4) if is_2c else weight, *args, **kwargs)

    monkeypatch.setattr(F, "conv3d", wrong)
    assert not check_arithmetic("cpu", torch.float32).right


def test_not_a_number_is_not_right(no_weights, monkeypatch):
    compute = arithmetic.compute_features
    monkeypatch.setattr(arithmetic, "compute_features", lambda *a: compute(*a) * float("nan"))
    assert not check_arithmetic("cpu", torch.float32).right
