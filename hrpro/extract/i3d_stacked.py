"""Inception-I3D as 2-D convolutions over stacked frames, for GPUs, whose 3-D ones are slow.

The weights, and up to rounding the features, are those of `hrpro.extract.i3d.InceptionI3D`.
Tensors are ``[B, T, H, W, C]``, so that

- a 1x1x1 convolution is one matrix product over the channels, the three that a mixed block has on
  its input together;
- a 3x3x3 convolution is a 2-D one on windows: every frame with the one before and the one behind,
  ``[B, T, H, W, 3 * C]``. The 2-D convolutions of cuDNN want the 3 * C numbers of a pixel
  side by side and would copy any view that has them elsewhere, so there is no way around writing
  each frame three times. But it is no copy of its own: adding the bias and ReLU has to write
  everything anyway, and writes it where the windows have it (`add_relu`). In the same way the
  branches of a mixed block are written into one tensor.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hrpro.extract.faster import OrPlain
from hrpro.extract.i3d import (
    ConvUnit,
    I3DOutput,
    InceptionI3D,
    MaxPoolSame,
    Mixed,
    classify,
    same_padding,
)

_log = logging.getLogger(__name__)

Triple = tuple[int, int, int]


class Operations(NamedTuple):
    """What happens between the products, in one of its forms."""

    max_pool: Callable[[Tensor, Triple, Triple], Tensor]
    """`max_pool`."""
    add_relu: Callable[[Tensor, Tensor, Tensor], None]
    """`add_relu`."""


class Unfinished(NamedTuple):
    """A convolution without its bias and ReLU."""

    product: Tensor
    """``[B, T, H, W, C]``; it may be overwritten."""
    bias: Tensor
    """``[C]``."""


class StackedI3D(nn.Module):
    """The network of one stream, from one that `hrpro.extract.i3d.load_i3d` made.

    Args:
        network: with BatchNorm folded; its device and precision are kept.
        operations: by default the fastest that its device has.
    """

    def __init__(self, network: InceptionI3D, operations: Operations | None = None):
        super().__init__()
        ops = operations or choose_operations(network.logits.weight.device)
        stem, pool_2a, unit_2b, unit_2c, *rest = network.stages()
        self.layers = nn.Sequential(
            StackedStem(stem, ops), Pool(pool_2a, ops), Reduced(unit_2b, unit_2c, ops)
        )
        for stage in rest:
            kind = StackedMixed if isinstance(stage, Mixed) else Pool
            self.layers.append(kind(stage, ops))
        self.logits = network.logits

    def forward(self, x: Tensor) -> I3DOutput:
        """Features and logits of a batch of snippets, ``[B, C, T, H, W]`` scaled to [-1, 1]."""
        features = self.layers(x.permute(0, 2, 3, 4, 1)).float().mean(dim=(1, 2, 3))
        return classify(features, self.logits)


class Products(nn.Module):
    """1x1x1 convolutions of the same input as one matrix product."""

    def __init__(self, *units: nn.Module):
        super().__init__()
        kernels, biases = zip(*map(folded, units), strict=True)
        self.widths = list(map(len, biases))
        self.weight = constant(torch.cat(kernels).flatten(1).t())
        self.bias = constant(torch.cat(biases))

    def forward(self, x: Tensor) -> list[Unfinished]:
        """``[B, T, H, W, in]`` to the product of each unit, which share memory."""
        products = (x @ self.weight).split(self.widths, dim=-1)
        return list(map(Unfinished, products, self.bias.split(self.widths)))


class StackedConv(nn.Module):
    """A convolution whose taps in time are channels.

    Args:
        kernel: ``[out, in, taps, kernel_h, kernel_w]``.
        bias: ``[out]``.
        stride: in height and width.
        padding: likewise, on both sides.
    """

    def __init__(self, kernel: Tensor, bias: Tensor, *, stride: int = 1, padding: int = 0):
        super().__init__()
        weight = kernel.transpose(1, 2).flatten(1, 2)
        self.weight = constant(weight, memory_format=torch.channels_last)
        self.bias = constant(bias)
        self.stride, self.padding = stride, padding

    def forward(self, windows: Tensor) -> Unfinished:
        """``[B, T, H, W, taps * in]`` to ``[B, T, H, W, out]``."""
        frames = windows.flatten(0, 1).permute(0, 3, 1, 2)  # [B * T, taps * in, H, W]
        product = F.conv2d(frames, self.weight, stride=self.stride, padding=self.padding)
        product = product.permute(0, 2, 3, 1).contiguous()  # which it is in channels-last memory
        return Unfinished(product.unflatten(0, windows.shape[:2]), self.bias)


class StackedStem(nn.Module):
    """The first convolution, 7 x 7 x 7 with stride 2.

    Its windows have an eighth frame, whose weights are 0: then a pixel has 24 or 16 channels, and
    matrix units want a multiple of 8.
    """

    TAPS = 8

    def __init__(self, stem: nn.Module, ops: Operations):
        super().__init__()
        kernel, bias = folded(stem)
        kernel = F.pad(kernel, (0, 0, 0, 0, 0, self.TAPS - 7))
        self.conv = StackedConv(kernel, bias, stride=2)
        self.ops = ops

    def forward(self, x: Tensor) -> Tensor:
        """``[B, T, H, W, in]`` to ``[B, T / 2, H / 2, W / 2, out]``."""
        times, rows, columns = (same_padding(size, 7, 2) for size in x.shape[1:4])
        behind = times[1] + self.TAPS - 7
        x = F.pad(x, (0, 0, *columns, *rows, times[0], behind))
        windows = x.unfold(1, self.TAPS, 2).transpose(-1, -2).flatten(-2)  # a copy
        product, bias = self.conv(windows)
        self.ops.add_relu(product, bias, product)
        return product


class Reduced(nn.Module):
    """A 1x1x1 convolution and the 3x3x3 one behind it."""

    def __init__(self, reduce: nn.Module, unit: nn.Module, ops: Operations):
        super().__init__()
        self.reduce = Products(reduce)
        self.conv = StackedConv(*folded(unit), padding=1)
        self.ops = ops

    def forward(self, x: Tensor) -> Tensor:
        """``[B, T, H, W, in]`` to ``[B, T, H, W, out]``."""
        [reduced] = self.reduce(x)
        product, bias = self.conv(windows_of(reduced, self.ops))
        self.ops.add_relu(product, bias, product)
        return product


class StackedMixed(nn.Module):
    """Inception block: four branches, which write into one tensor."""

    def __init__(self, block: nn.Module, ops: Operations):
        super().__init__()
        assert isinstance(block, Mixed)
        (reduce_1, unit_1), (reduce_2, unit_2) = block.branch_1, block.branch_2
        self.direct = Products(block.branch_0, reduce_1, reduce_2)
        self.conv_1 = StackedConv(*folded(unit_1), padding=1)
        self.conv_2 = StackedConv(*folded(unit_2), padding=1)
        self.pool = Pool(block.pool, ops)
        self.pooled = Products(block.branch_3)
        self.ops = ops

    def forward(self, x: Tensor) -> Tensor:
        """``[B, T, H, W, in]`` to ``[B, T, H, W, out]``."""
        branch_0, reduced_1, reduced_2 = self.direct(x)
        branch_1 = self.conv_1(windows_of(reduced_1, self.ops))
        branch_2 = self.conv_2(windows_of(reduced_2, self.ops))
        [branch_3] = self.pooled(self.pool(x))
        branches = (branch_0, branch_1, branch_2, branch_3)
        widths = [len(branch.bias) for branch in branches]
        joined = x.new_empty(*x.shape[:-1], sum(widths))
        for branch, place in zip(branches, joined.split(widths, dim=-1), strict=True):
            self.ops.add_relu(branch.product, branch.bias, place)
        return joined


class Pool(nn.Module):
    """A `MaxPoolSame`."""

    def __init__(self, pool: nn.Module, ops: Operations):
        super().__init__()
        assert isinstance(pool, MaxPoolSame)
        self.kernel, self.stride = pool.kernel, pool.stride
        self.ops = ops

    def forward(self, x: Tensor) -> Tensor:
        """``[B, T, H, W, C]``, each axis but the last divided by its stride and rounded up."""
        return self.ops.max_pool(x, self.kernel, self.stride)


def windows_of(reduced: Unfinished, ops: Operations) -> Tensor:
    """Finish a convolution: every frame between its neighbours, ``[B, T, H, W, 3 * C]``."""
    product, bias = reduced
    windows = product.new_empty(*product.shape[:-1], 3 * product.shape[-1])
    ops.add_relu(product, bias, windows)
    return windows


def folded(unit: nn.Module) -> tuple[Tensor, Tensor]:
    """Kernel ``[out, in, t, h, w]`` and bias ``[out]`` of a `ConvUnit`.

    Raises:
        ValueError: its BatchNorm was not folded into it.
    """
    assert isinstance(unit, ConvUnit)
    if unit.conv.bias is None:
        raise ValueError("the network has to be one of `load_i3d`, with BatchNorm folded")
    return unit.kernel(), unit.conv.bias


def constant(values: Tensor, memory_format: torch.memory_format | None = None) -> nn.Parameter:
    """Weights of their own, laid out in memory as their axes are or as is said."""
    layout = memory_format or torch.contiguous_format
    return nn.Parameter(values.detach().clone(memory_format=layout), requires_grad=False)


def max_pool(x: Tensor, kernel: Triple, stride: Triple) -> Tensor:
    """`MaxPoolSame` of ``[B, T, H, W, C]``, each axis divided by its stride and rounded up."""
    return MaxPoolSame(kernel, stride)(x.permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1)


def add_relu(x: Tensor, bias: Tensor, out: Tensor) -> None:
    """Add the bias, cut off what is negative, and put it where the next layer reads it.

    Args:
        x: ``[B, T, H, W, C]``; may be overwritten.
        bias: ``[C]``.
        out: ``[B, T, H, W, C]``, which may be `x`, or ``[B, T, H, W, 3 * C]`` for windows: each
            frame between the one before and the one behind, zeros where there is none.
    """
    x = x.add_(bias)
    if out.shape == x.shape:
        torch.clamp_min(x, 0, out=out)
        return
    before, here, behind = out.chunk(3, dim=-1)
    before[:, :1] = 0
    torch.clamp_min(x[:, :-1], 0, out=before[:, 1:])
    torch.clamp_min(x, 0, out=here)
    torch.clamp_min(x[:, 1:], 0, out=behind[:, :-1])
    behind[:, -1:] = 0


def choose_operations(device: torch.device) -> Operations:
    """Triton kernels on a GPU, where they work; else what PyTorch has."""
    if device.type != "cuda":
        return Operations(max_pool, add_relu)

    def failed(reason: str) -> None:
        _log.debug("I3D runs without Triton, more slowly (%s)", reason)

    return Operations(
        OrPlain(max_pool, _triton_max_pool, failed), OrPlain(add_relu, _triton_add_relu, failed)
    )


def _triton_max_pool(x: Tensor, kernel: Triple, stride: Triple) -> Tensor:
    from hrpro.extract import i3d_kernels  # not every platform has Triton

    return i3d_kernels.max_pool(x, kernel, stride)


def _triton_add_relu(x: Tensor, bias: Tensor, out: Tensor) -> None:
    from hrpro.extract import i3d_kernels

    i3d_kernels.add_relu(x, bias, out)
