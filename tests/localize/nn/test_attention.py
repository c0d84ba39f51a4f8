"""Tiled attention with dropout, the CPU dropout and the choice of precision."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from hrpro.localize.nn import attention
from hrpro.localize.nn.attention import attend, attend_in_buckets
from hrpro.localize.nn.dropout import Dropout
from hrpro.localize.nn.precision import autocast, resolve_precision
from hrpro.localize.sampling.packing import Packing

LENGTHS = (7, 1, 12)
PACKING = Packing(LENGTHS, torch.device("cpu"))


@pytest.fixture(params=[1 << 20, 64, 150])
def tile_size(request, monkeypatch):
    """Whole videos, single rows of one head, and several heads at once."""
    monkeypatch.setattr(attention, "TILE_SIZE", request.param)


def inputs(dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (sum(LENGTHS), 8)
    return [torch.randn(shape, generator=generator, dtype=dtype, requires_grad=True) for _ in "qkv"]


def test_tiles_equal_fused_attention(tile_size, monkeypatch):
    monkeypatch.setattr(attention, "draw_kept", lambda shape, p, dtype: torch.ones(shape).to(dtype))
    expected = attend(*inputs(), PACKING, num_heads=4)
    found = attend(*inputs(), PACKING, num_heads=4, dropout=1e-15)
    torch.testing.assert_close(found, expected)
    weight = torch.randn(found.shape, generator=torch.Generator().manual_seed(1)).to(found)
    ours, theirs = inputs(), inputs()
    (attend(*ours, PACKING, 4, 1e-15) * weight).sum().backward()
    (attend(*theirs, PACKING, 4) * weight).sum().backward()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.grad, b.grad, atol=1e-6, rtol=1e-6)


def test_gradient_with_dropout_is_that_of_the_function(tile_size):
    def seeded(q, k, v):
        torch.manual_seed(1)
        return attend(q, k, v, PACKING, num_heads=2, dropout=0.4)

    assert not torch.allclose(seeded(*inputs()), attend(*inputs(), PACKING, num_heads=2))
    assert torch.autograd.gradcheck(seeded, inputs())


def test_dropout_keeps_the_mean():
    torch.manual_seed(0)
    expected = attend(*inputs(), PACKING, num_heads=2)
    drawn = torch.stack([attend(*inputs(), PACKING, 2, 0.3).detach() for _ in range(2000)])
    error = (drawn.mean(0) - expected).abs() / (drawn.std(0) + 1e-9) * 2000**0.5
    assert error.max() < 5


def test_bfloat16_stays_close():
    exact, rounded = inputs(torch.float32), inputs(torch.float32)
    results = []
    for qkv, dtype in ((exact, torch.float32), (rounded, torch.bfloat16)):
        torch.manual_seed(1)
        out = attend(*(x.to(dtype) for x in qkv), PACKING, 2, 0.1)
        out.float().square().sum().backward()
        results.append(out)
    assert results[1].dtype == torch.bfloat16
    torch.testing.assert_close(results[1].float(), results[0], atol=0.05, rtol=0.05)
    torch.testing.assert_close(rounded[2].grad, exact[2].grad, atol=0.1, rtol=0.1)


def test_dropout_module_scales_what_it_keeps():
    torch.manual_seed(0)
    layer = Dropout(0.7)
    values = layer(torch.ones(100, 100))
    assert values.unique().tolist() == [0, pytest.approx(1 / 0.3)]
    assert (values > 0).float().mean().item() == pytest.approx(0.3, abs=0.02)
    assert torch.equal(layer.eval()(torch.ones(5)), torch.ones(5))


def test_precision_is_what_was_asked_for():
    assert resolve_precision("cpu", "float32") is torch.float32
    assert resolve_precision("cpu", "auto") in (torch.float32, torch.bfloat16)
    with autocast("cpu", "bfloat16"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is torch.bfloat16
    with autocast("cpu", "float32"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is torch.float32


@pytest.mark.parametrize("lengths", [LENGTHS, (7,), (4, 4, 4), (3, 0, 17, 1, 16)])
def test_videos_of_about_one_length_share_a_call_and_nothing_else(lengths):
    generator, packing = torch.Generator(), Packing(lengths, torch.device("cpu"))
    ours, theirs = (
        [
            torch.randn(sum(lengths), 8, generator=generator.manual_seed(part)).requires_grad_()
            for part in range(3)
        ]
        for _ in range(2)
    )
    weight = torch.randn(sum(lengths), 8, generator=generator)
    found = attend_in_buckets(*ours, packing, num_heads=2)
    expected = attend(*theirs, packing, num_heads=2)
    torch.testing.assert_close(found, expected)
    (found * weight).sum().backward()
    (expected * weight).sum().backward()
    for our, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(our.grad, their.grad)


class Operations(TorchDispatchMode):
    """Counts what is asked of PyTorch; on a GPU, most of it is a kernel to launch."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += 1
        return function(*args, **(kwargs or {}))


def test_more_videos_are_no_more_calls():
    counts = []
    for num_videos in (3, 30):
        packing = Packing((5, 7, 8) * (num_videos // 3), torch.device("cpu"))
        packing.buckets  # noqa: B018 - made once for all blocks
        qkv = [torch.randn(packing.num_rows, 8, requires_grad=True) for _ in range(3)]
        with Operations() as asked:
            attend_in_buckets(*qkv, packing, num_heads=2).sum().backward()
        counts.append(asked.count)
    assert counts[0] == counts[1]


def test_buckets_hold_each_row_once():
    packing = Packing((3, 0, 17, 1, 16, 4), torch.device("cpu"))
    buckets = packing.buckets
    assert [tuple(mask.shape) for mask in buckets.masks] == [(2, 4), (1, 17), (1, 1), (1, 16)]
    assert torch.equal(buckets.rows[buckets.places], torch.arange(packing.num_rows))
    there = torch.cat([mask.flatten() for mask in buckets.masks])
    assert there.sum() == packing.num_rows
    assert there[buckets.places].all()


def test_no_videos_need_no_bucket():
    packing = Packing((0, 0), torch.device("cpu"))
    assert packing.buckets.masks == ()
    assert len(packing.buckets.rows) == len(packing.buckets.places) == 0
