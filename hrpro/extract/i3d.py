"""Inception-I3D: the two-stream video network whose features temporal localizers are trained on.

Carreira and Zisserman, "Quo Vadis, Action Recognition?" (CVPR 2017), in the layout of the
kinetics-i3d release: TensorFlow "SAME" padding (the smaller half in front) and BatchNorm with
eps 1e-3. A snippet of 16 frames at 224 x 224 becomes one vector of 1024 numbers, the average of
``Mixed_5c`` over its 2 x 7 x 7 positions; one 1x1x1 convolution more gives the 400 Kinetics logits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hrpro.devices import has_fast_bfloat16
from hrpro.errors import WeightsError

FEATURE_DIM = 1024
"""Width of the feature vector of one stream."""

NUM_KINETICS_CLASSES = 400
BATCH_NORM_EPS = 1e-3
STREAM_CHANNELS = {"rgb": 3, "flow": 2}
"""Input channels of each stream: red, green, blue; or flow u (to the right) and v (down)."""

# Output channels of the six convolutions of a mixed block: branch 0; branch 1 (1x1, 3x3);
# branch 2 (1x1, 3x3); branch 3 (after the pooling).
_MIXED_BLOCKS: dict[str, tuple[int, int, int, int, int, int]] = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}


class I3DOutput(NamedTuple):
    """What the network says about a batch of B snippets."""

    features: Tensor
    """``[B, 1024]`` float32, the average of ``Mixed_5c`` over time and space."""
    logits: Tensor
    """``[B, 400]`` float32 Kinetics logits before the softmax."""


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's "SAME" padding in front of and behind one axis, the smaller half in front."""
    overhang = size % stride or stride
    total = max(kernel - overhang, 0)
    return total // 2, total - total // 2


def _pad_same(
    x: Tensor,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    *,
    columns: int = 0,
    value: float = 0.0,
) -> Tensor:
    """Pad the last three axes of `x` so that a convolution without padding is "SAME".

    `columns` more are added behind the last axis.
    """
    sizes = zip(x.shape[2:], kernel, stride, strict=True)
    pads = [same_padding(*axis) for axis in sizes]
    # F.pad lists the last axis first.
    flat = [side for axis in reversed(pads) for side in axis]
    flat[1] += columns
    return F.pad(x, flat, value=value) if any(flat) else x


class ConvUnit(nn.Module):
    """Convolution, BatchNorm and ReLU, "SAME" padded."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1):
        super().__init__()
        self.conv = nn.Conv3d(in_channels, out_channels, kernel, stride, bias=False)
        self.bn: nn.Module = nn.BatchNorm3d(out_channels, eps=BATCH_NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, in, T, H, W]`` to ``[B, out, T / stride, H / stride, W / stride]``."""
        conv = self.conv
        if conv.stride == (1, 1, 1):  # odd kernels: both halves are equal, no copy is needed
            padding = tuple(kernel // 2 for kernel in conv.kernel_size)
            x = F.conv3d(x, conv.weight, conv.bias, padding=padding)
        else:
            x = conv(_pad_same(x, conv.kernel_size, conv.stride))
        return F.relu_(self.bn(x))

    def kernel(self) -> Tensor:
        """``[out, in, kernel_t, kernel_h, kernel_w]``."""
        return self.conv.weight

    def fold(self) -> None:
        """Multiply the BatchNorm into the convolution; only right in evaluation mode."""
        if isinstance(self.bn, nn.BatchNorm3d):
            self.conv = nn.utils.fuse_conv_bn_eval(self.conv, self.bn)
            self.bn = nn.Identity()


class Stem(ConvUnit):
    """The first convolution, 7 x 7 x 7 with stride 2, on pixels with few channels.

    Once folded, it sees two neighbouring pixels of a row as one with twice the channels, which in
    channels-last memory is the same picture; a CPU multiplies these wider pixels faster.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, out_channels, kernel=7, stride=2)
        self.paired = False

    def forward(self, x: Tensor) -> Tensor:
        """``[B, in, T, H, W]`` to ``[B, out, T / 2, H / 2, W / 2]``."""
        if not self.paired:
            return super().forward(x)
        x = _pad_same(x, (7, 7, 7), (2, 2, 2), columns=1)  # now the width is even
        rows = x.permute(0, 2, 3, 4, 1)  # [B, T, H, W, in]
        pairs = rows.reshape(*rows.shape[:3], rows.shape[3] // 2, 2 * rows.shape[4])
        pairs = pairs.permute(0, 4, 1, 2, 3)
        return F.relu_(F.conv3d(pairs, self.conv.weight, self.conv.bias, stride=(2, 2, 1)))

    def kernel(self) -> Tensor:
        """``[out, in, 7, 7, 7]``, whether it is arranged for pairs of pixels or not."""
        if not self.paired:
            return super().kernel()
        pairs = self.conv.weight.unflatten(1, (2, -1))  # [out, 2, in, 7, 7, 4]
        return pairs.movedim(1, -1).flatten(-2)[..., :7]

    def fold(self) -> None:
        """Fold the BatchNorm and arrange the kernel for pairs of pixels."""
        super().fold()
        kernel = F.pad(self.conv.weight, (0, 1)).unflatten(4, (4, 2))  # [out, in, 7, 7, 4, 2]
        self.conv.weight = nn.Parameter(
            kernel.permute(0, 5, 1, 2, 3, 4).flatten(1, 2), requires_grad=False
        )
        self.paired = True


class MaxPoolSame(nn.Module):
    """Max pooling with "SAME" padding, which the maximum ignores as in TensorFlow.

    The maximum is taken along one axis after the other. On a CPU that is several times faster
    than `torch.nn.functional.max_pool3d`, which also notes where each maximum was.
    """

    def __init__(self, kernel: tuple[int, int, int], stride: tuple[int, int, int]):
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, T, H, W]``, each axis divided by its stride and rounded up."""
        if torch.compiler.is_compiling():  # which cannot follow the writes into parts of a tensor
            padded = _pad_same(x, self.kernel, self.stride, value=-torch.inf)
            return F.max_pool3d(padded, self.kernel, self.stride)
        for axis, kernel, stride in zip((2, 3, 4), self.kernel, self.stride, strict=True):
            if kernel > 1:
                x = _max_along(x, axis, kernel, stride)
        return x


def _max_along(x: Tensor, axis: int, kernel: int, stride: int) -> Tensor:
    """Maximum over the windows of one axis; windows that reach over its ends are cut off there."""
    size = x.shape[axis]
    front, _ = same_padding(size, kernel, stride)
    every = [slice(None)] * x.dim()

    def along(taps: slice) -> tuple[slice, ...]:
        return (*every[:axis], taps, *every[axis + 1 :])

    result = x[along(slice(0, size, stride))].clone()
    for offset in range(-front, kernel - front):
        if offset == 0:
            continue
        # Windows i whose tap i * stride + offset exists.
        first = max(0, -(offset // stride))
        last = min(result.shape[axis] - 1, (size - 1 - offset) // stride)
        taps = x[along(slice(first * stride + offset, last * stride + offset + 1, stride))]
        part = result[along(slice(first, last + 1))]
        torch.maximum(part, taps, out=part)
    return result


class Mixed(nn.Module):
    """Inception block: four branches side by side, joined along the channels."""

    def __init__(self, in_channels: int, widths: tuple[int, int, int, int, int, int]):
        super().__init__()
        b0, b1_reduce, b1, b2_reduce, b2, b3 = widths
        self.branch_0 = ConvUnit(in_channels, b0)
        self.branch_1 = nn.Sequential(
            ConvUnit(in_channels, b1_reduce), ConvUnit(b1_reduce, b1, kernel=3)
        )
        self.branch_2 = nn.Sequential(
            ConvUnit(in_channels, b2_reduce), ConvUnit(b2_reduce, b2, kernel=3)
        )
        self.pool = MaxPoolSame((3, 3, 3), (1, 1, 1))
        self.branch_3 = ConvUnit(in_channels, b3)
        self.out_channels = b0 + b1 + b2 + b3

    def forward(self, x: Tensor) -> Tensor:
        """``[B, in, T, H, W]`` to ``[B, out, T, H, W]``."""
        branches = (self.branch_0(x), self.branch_1(x), self.branch_2(x))
        return torch.cat([*branches, self.branch_3(self.pool(x))], dim=1)


class InceptionI3D(nn.Module):
    """The network of one stream. Build a ready one with `load_i3d`.

    Args:
        in_channels: 3 for RGB, 2 for optical flow.
        num_classes: width of the classifier, 400 for Kinetics-400.
    """

    def __init__(self, in_channels: int, num_classes: int = NUM_KINETICS_CLASSES):
        super().__init__()
        self.Conv3d_1a_7x7 = Stem(in_channels, 64)
        self.MaxPool3d_2a_3x3 = MaxPoolSame((1, 3, 3), (1, 2, 2))
        self.Conv3d_2b_1x1 = ConvUnit(64, 64)
        self.Conv3d_2c_3x3 = ConvUnit(64, 192, kernel=3)
        self.MaxPool3d_3a_3x3 = MaxPoolSame((1, 3, 3), (1, 2, 2))
        channels = 192
        for name, widths in _MIXED_BLOCKS.items():
            if name == "Mixed_4b":
                self.MaxPool3d_4a_3x3 = MaxPoolSame((3, 3, 3), (2, 2, 2))
            elif name == "Mixed_5b":
                self.MaxPool3d_5a_2x2 = MaxPoolSame((2, 2, 2), (2, 2, 2))
            block = Mixed(channels, widths)
            self.add_module(name, block)
            channels = block.out_channels
        self.logits = nn.Conv3d(channels, num_classes, kernel_size=1)

    def stages(self) -> list[nn.Module]:
        """The layers in front of the classifier, in order."""
        return [module for name, module in self.named_children() if name != "logits"]

    def forward_map(self, x: Tensor) -> Tensor:
        """``[B, C, T, H, W]`` scaled to [-1, 1] to ``Mixed_5c``, ``[B, 1024, T/8, H/32, W/32]``."""
        for stage in self.stages():
            x = stage(x)
        return x

    def forward(self, x: Tensor) -> I3DOutput:
        """Features and logits of a batch of snippets, ``[B, C, T, H, W]`` scaled to [-1, 1]."""
        return classify(self.forward_map(x).float().mean(dim=(2, 3, 4)), self.logits)

    def fold_batch_norm(self) -> InceptionI3D:
        """Fold every BatchNorm into its convolution (same results, fewer passes over memory)."""
        for module in self.modules():
            if isinstance(module, ConvUnit):
                module.fold()
        return self


def classify(features: Tensor, classifier: nn.Conv3d | nn.Linear) -> I3DOutput:
    """Features ``[B, dim]``, float32, with the logits that a 1x1x1 convolution makes of them."""
    weight, bias = classifier.weight.float().flatten(1), classifier.bias
    assert bias is not None
    return I3DOutput(features, F.linear(features, weight, bias.float()))


def load_i3d(
    state_dict: Mapping[str, Tensor],
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> InceptionI3D:
    """Build the fast inference form of I3D: BatchNorm folded, channels-last, in `dtype`.

    Args:
        state_dict: unfolded weights by the names of `InceptionI3D`; the first convolution tells
            the stream, the classifier the number of classes.
        device: where the network runs.
        dtype: float32, or bfloat16 / float16 where the device is good at it.

    Raises:
        WeightsError: a weight is missing, superfluous or of the wrong shape.
    """
    try:
        in_channels = state_dict["Conv3d_1a_7x7.conv.weight"].shape[1]
        num_classes = state_dict["logits.weight"].shape[0]
        with torch.device("meta"):
            network = InceptionI3D(in_channels, num_classes)
        network.load_state_dict(with_counters(state_dict, network), assign=True)
    except (KeyError, IndexError, RuntimeError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise WeightsError(f"not the weights of an Inception-I3D: {reason}") from error
    network = network.float().eval().requires_grad_(False).fold_batch_norm()
    return network.to(device=device, dtype=dtype).to(memory_format=torch.channels_last_3d)


def with_counters(state_dict: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Add BatchNorm's batch counters, which weight files leave out and inference never reads."""
    counters = [name for name in network.state_dict() if name.endswith("num_batches_tracked")]
    return {**dict.fromkeys(counters, torch.tensor(0)), **state_dict}


def best_dtype(device: torch.device | str) -> torch.dtype:
    """The fastest precision that keeps I3D features at cosine >= 0.999 on `device`.

    bfloat16 where there are instructions for it, float16 on older GPUs, float32 elsewhere.
    """
    if has_fast_bfloat16(device):
        return torch.bfloat16
    return torch.float16 if torch.device(device).type == "cuda" else torch.float32
