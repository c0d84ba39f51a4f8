"""Triton kernels of `hrpro.extract.i3d_stacked`: each reads its input once, however it is placed.

Importing this needs Triton, which PyTorch brings along where it can use it.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from hrpro.extract.i3d import same_padding

_BLOCK = 1024
"""Numbers per program; the last axis is that of the channels, so neighbours lie side by side."""


def max_pool(x: Tensor, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> Tensor:
    """Max pooling with "SAME" padding, which the maximum ignores.

    Args:
        x: ``[B, T, H, W, C]``, contiguous.
        kernel: in time, height and width.
        stride: likewise.

    Returns:
        The same, each axis divided by its stride and rounded up.
    """
    batch, *size, channels = x.shape
    fronts = [same_padding(*axis)[0] for axis in zip(size, kernel, stride, strict=True)]
    pooled = [-(-length // step) for length, step in zip(size, stride, strict=True)]
    out = x.new_empty(batch, *pooled, channels)
    per_frame = pooled[1] * pooled[2] * channels
    with torch.cuda.device_of(x):
        _max_pool[batch * pooled[0], triton.cdiv(per_frame, _BLOCK)](
            x, out, per_frame, *size, channels, pooled[0], pooled[2], *fronts, *stride, *kernel,
            BLOCK=_BLOCK,
        )  # fmt: skip
    return out


@triton.jit
def _max_pool(
    x, out, per_frame, num_t, num_h, num_w, num_c, out_t, out_w, front_t, front_h, front_w,
    stride_t, stride_h, stride_w,
    KERNEL_T: tl.constexpr, KERNEL_H: tl.constexpr, KERNEL_W: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    frame = tl.program_id(0)  # of the output, over the whole batch
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = at < per_frame
    c = at % num_c
    pixel = at // num_c
    first_t = frame % out_t * stride_t - front_t
    first_h = pixel // out_w * stride_h - front_h
    first_w = pixel % out_w * stride_w - front_w
    snippet = (frame // out_t).to(tl.int64)  # large batches have more than 2^31 numbers
    most = tl.full([BLOCK], float("-inf"), tl.float32)
    for i in tl.static_range(KERNEL_T):
        t = first_t + i
        for j in tl.static_range(KERNEL_H):
            h = first_h + j
            for k in tl.static_range(KERNEL_W):
                w = first_w + k
                there = inside & (t >= 0) & (t < num_t) & (h >= 0) & (h < num_h)
                there = there & (w >= 0) & (w < num_w)
                source = (snippet * num_t + t) * num_h * num_w * num_c + (h * num_w + w) * num_c + c
                value = tl.load(x + source, mask=there, other=float("-inf")).to(tl.float32)
                most = tl.maximum(most, value, propagate_nan=tl.PropagateNan.ALL)
    target = frame.to(tl.int64) * per_frame + at
    tl.store(out + target, most.to(out.dtype.element_ty), mask=inside)


def add_relu(x: Tensor, bias: Tensor, out: Tensor) -> None:
    """Add the bias, cut off what is negative, and put it where the next layer reads it.

    Args:
        x: ``[B, T, H, W, C]``, maybe channels of a wider tensor.
        bias: ``[C]``.
        out: ``[B, T, H, W, C]``, likewise, or ``[..., 3 * C]``; see
            `hrpro.extract.i3d_stacked.add_relu`.
    """
    batch, num_t, height, width, channels = x.shape
    rows, slots = x.flatten(0, 3), out.view(-1, out.shape[-1])
    per_frame = height * width * channels
    with torch.cuda.device_of(x):
        _add_relu[batch * num_t, triton.cdiv(per_frame, _BLOCK)](
            rows, bias, slots, per_frame, num_t, height * width, channels,
            rows.stride(0), slots.stride(0), TAPS=out.shape[-1] // channels, BLOCK=_BLOCK,
        )  # fmt: skip


@triton.jit
def _add_relu(
    x, bias, out, per_frame, num_t, pixels, num_c, x_pitch, out_pitch,
    TAPS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    frame = tl.program_id(0)  # over the whole batch
    t = frame % num_t
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = at < per_frame
    c = at % num_c
    row = frame.to(tl.int64) * pixels + at // num_c
    value = tl.load(x + row * x_pitch + c, mask=inside).to(tl.float32)
    value += tl.load(bias + c, mask=inside).to(tl.float32)
    value = tl.maximum(value, 0.0, propagate_nan=tl.PropagateNan.ALL)
    value = value.to(out.dtype.element_ty)
    for tap in tl.static_range(TAPS):
        ahead = TAPS // 2 - tap  # how far the frame is whose window has this one at that tap
        slot = out + tap * num_c + c
        seen = inside & (t + ahead >= 0) & (t + ahead < num_t)
        tl.store(slot + (row + ahead * pixels) * out_pitch, value, mask=seen)
        if ahead != 0:
            padding = inside & ((t - ahead < 0) | (t - ahead >= num_t))
            tl.store(slot + row * out_pitch, 0.0, mask=padding)
