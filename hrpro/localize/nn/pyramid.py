"""A pyramid of temporal features: scalable-granularity perception (TriDet, section 3.2).

Features are ``[B, T, D]``, padded at the end to a common length; a mask ``[B, T, 1]`` of ones and
zeros says what is video. What padding does to the rest is a choice, `Padding`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, PositiveInt
from torch import Tensor, nn

from hrpro.devices import upload
from hrpro.localize.nn.compiling import compilable

Padding = Literal["seen", "masked"]
"""``seen``, as released: the statistics of a video are taken over its padding, too, and padded
steps leak into its last ones, so that every video has to be padded alike. ``masked``: a video comes
out the same whatever it is padded to."""

POOL = 3
"""Steps that max-pooling looks at when it halves time."""


class PyramidConfig(BaseModel):
    """Size and habits of the pyramid. Defaults are those of FuSTAL's student."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: PositiveInt = Field(512, description="channels; a multiple of `groups`")
    mlp_width: PositiveInt = Field(768, description="hidden channels of a block's MLP")
    kernel: PositiveInt = Field(3, description="of the dense convolutions; odd")
    num_embeddings: PositiveInt = Field(2, description="convolutions before the blocks")
    num_stem: int = Field(2, ge=0, description="blocks at full resolution")
    num_levels: PositiveInt = Field(6, description="levels, each half as long as the one before")
    window: PositiveInt = Field(1, description="instant-level window w of a block")
    scale_factor: float = Field(5.0, gt=0, description="the long window is round((w + 1) * factor)")
    groups: PositiveInt = Field(16, description="of the group norm")
    init_std: float = Field(
        0.0,
        ge=0,
        description="of the depth-wise convolutions; 0 as released, where they get no gradient "
        "and stay 0 for ever, so that they are left out",
    )
    scale_init: float = Field(1e-4, description="of the learned scale of what a branch block adds")
    drop_path: float = Field(0.1, ge=0, lt=1, description="branch blocks left out per video")
    dropout: float = Field(0.0, ge=0, lt=1, description="of the input features; the release: none")
    padding: Padding = Field(
        "seen", description="seen: norms see the padding, as released; masked: they do not"
    )

    @property
    def multiple(self) -> int:
        """Lengths must be a multiple of this."""
        return 2 ** (self.num_levels - 1)

    @property
    def long_kernel(self) -> int:
        """Kernel of the long depth-wise convolution, odd."""
        kernel = round((self.window + 1) * self.scale_factor)
        return kernel + 1 - kernel % 2


@dataclass(frozen=True)
class Levels:
    """The P points of a pyramid, level after level, finest first.

    Attributes:
        lengths: points of each level; a point of level l stands for 2^l steps.
        device: where the index tensors live.
    """

    lengths: tuple[int, ...]
    device: torch.device

    @classmethod
    def of(cls, length: int, num_levels: int, device: torch.device | str = "cpu") -> Levels:
        """The levels over `length` steps.

        Raises:
            ValueError: `length` cannot be halved so often.
        """
        if length % 2 ** (num_levels - 1):
            raise ValueError(f"{length} is not a multiple of {2 ** (num_levels - 1)}")
        return cls(tuple(length >> level for level in range(num_levels)), torch.device(device))

    @property
    def num_points(self) -> int:
        """P."""
        return sum(self.lengths)

    @cached_property
    def length(self) -> Tensor:
        """`lengths`, int64."""
        return upload(torch.tensor(self.lengths), self.device)

    @cached_property
    def level(self) -> Tensor:
        """Level of each point, ``[P]`` int64."""
        index = torch.arange(len(self.lengths), device=self.device)
        return index.repeat_interleave(self.length, output_size=self.num_points)

    @cached_property
    def first(self) -> Tensor:
        """First point of each point's level, ``[P]`` int64."""
        return (self.length.cumsum(0) - self.length)[self.level]

    @cached_property
    def last(self) -> Tensor:
        """Last point of each point's level, ``[P]`` int64."""
        return self.length.cumsum(0)[self.level] - 1

    @cached_property
    def stride(self) -> Tensor:
        """Steps that each point stands for, ``[P]`` int64."""
        return 2**self.level

    @cached_property
    def position(self) -> Tensor:
        """Step at which each point lies, ``[P]`` int64."""
        index = torch.arange(self.num_points, device=self.device)
        return (index - self.first) * self.stride

    def valid(self, valid: Tensor) -> Tensor:
        """Which points are video: ``[B, T, ...]`` of the steps to ``[B, P, ...]``."""
        return valid[:, self.position]

    def gapped(self, gap: int) -> Tensor:
        """Row of each point where levels are joined with `gap` rows between them, ``[P]``."""
        return torch.arange(self.num_points, device=self.device) + gap * self.level

    def spread(self, points: Tensor, gap: int) -> Tensor:
        """``[B, P, ...]`` to ``[B, P + gaps, ...]``: zero rows between two levels.

        A convolution that reaches `gap` rows to each side treats every level as if it were alone.
        """
        size = self.num_points + gap * (len(self.lengths) - 1)
        rows = points.new_zeros((len(points), size, *points.shape[2:]))
        rows[:, self.gapped(gap)] = points
        return rows


class MaskedConv(nn.Module):
    """A convolution over time whose result is zero where the mask is; ``[B, T, D]``."""

    def __init__(self, dim: int, out: int, kernel: int, bias: bool) -> None:
        super().__init__()
        self.conv = nn.Conv1d(dim, out, kernel, padding=kernel // 2, bias=bias)
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        """``[B, T, D]`` to ``[B, T, out]``."""
        return self.conv(values.transpose(1, 2)).transpose(1, 2) * mask


class ConvStack(nn.Module):
    """Masked convolutions, each followed by a layer norm and a ReLU."""

    def __init__(self, dims: Sequence[int], kernel: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            MaskedConv(dim, out, kernel, bias=False) for dim, out in itertools.pairwise(dims)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(out) for out in dims[1:])

    def forward(self, values: Tensor, mask: Tensor, keep: Tensor | None = None) -> Tensor:
        """``[B, T, D]`` to ``[B, T, out]``.

        Args:
            values: features.
            mask: ``[B, T, 1]``, where a convolution's result counts.
            keep: ``[B or 1, T, 1]``, where the result of norm and ReLU counts; everywhere.
        """
        for conv, norm in zip(self.convs, self.norms, strict=True):
            values = F.relu(norm(conv(values, mask)))
            if keep is not None:
                values = values * keep
        return values


class Granularity(nn.Module):
    """What a block sees around a step: instant, windows of two sizes, and the whole video."""

    def __init__(self, config: PyramidConfig) -> None:
        super().__init__()

        def depthwise(kernel: int) -> nn.Conv1d:
            dim = config.width
            conv = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=dim)
            for parameter in conv.parameters():
                nn.init.normal_(parameter, std=config.init_std)
            return conv

        self.instant, self.instant_gate, self.window_gate = (depthwise(1) for _ in range(3))
        self.short, self.long = depthwise(config.window), depthwise(config.long_kernel)

    def forward(self, values: Tensor, mean: Tensor) -> Tensor:
        """``[B, T, D]`` and their ``[B, 1, D]`` mean over time to ``[B, T, D]``."""
        values, mean = values.transpose(1, 2), mean.transpose(1, 2)
        instant = self.instant(values) * F.relu(self.instant_gate(mean))
        windows = (self.short(values) + self.long(values)) * self.window_gate(values)
        return (instant + windows).transpose(1, 2)


class MaskedGroupNorm(nn.GroupNorm):
    """Group norm of ``[B, T, D]``, over the padded length or over what the mask leaves."""

    def forward(self, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalise; `mask` is ``[B, T, 1]``, or None for all steps."""
        if mask is None:
            return super().forward(values.transpose(1, 2)).transpose(1, 2)
        grouped = values.unflatten(2, (self.num_groups, -1))
        weight = mask.unsqueeze(3)
        count = weight.sum(1, keepdim=True).clamp(min=1) * grouped.shape[3]
        mean = (grouped * weight).sum((1, 3), keepdim=True) / count
        centred = grouped - mean
        variance = (centred.square() * weight).sum((1, 3), keepdim=True) / count
        normal = (centred * (variance + self.eps).rsqrt()).flatten(2)
        return normal * self.weight + self.bias


class PyramidBlock(nn.Module):
    """Scalable-granularity perception, then an MLP; in a branch, after halving time.

    Args:
        config: sizes.
        branch: halve time first; scale what is added, and leave it out now and then.
    """

    def __init__(self, config: PyramidConfig, branch: bool) -> None:
        super().__init__()
        self.masked, self.branch, self.drop_path = (
            config.padding == "masked",
            branch,
            config.drop_path,
        )
        self.norm = nn.LayerNorm(config.width)
        self.granularity = Granularity(config) if config.init_std else None
        self.group_norm = MaskedGroupNorm(config.groups, config.width)
        self.mlp = nn.Sequential(
            nn.Linear(config.width, config.mlp_width),
            nn.GELU(),
            nn.Linear(config.mlp_width, config.width),
        )
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.zeros_(layer.bias)
        if branch:
            self.scale_out = nn.Parameter(torch.full((config.width,), config.scale_init))
            self.scale_mlp = nn.Parameter(torch.full((config.width,), config.scale_init))

    @compilable(dynamic=True)
    def forward(self, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """``[B, T, D]`` and mask ``[B, T, 1]`` to those of the block's level."""
        if self.branch:
            values, mask = self._halve(values, mask)
        normal = self.norm(values)
        if self.masked:
            normal = normal * mask
        added = normal
        if self.granularity is not None:
            steps = mask.sum(1, keepdim=True).clamp(min=1) if self.masked else normal.shape[1]
            added = added + self.granularity(normal, normal.sum(1, keepdim=True) / steps)
        seen = values * mask + self._dropped(added, "scale_out")
        if self.masked:
            seen = seen * mask
        changed = self.mlp(self.group_norm(seen, mask if self.masked else None))
        return seen + self._dropped(changed, "scale_mlp"), mask

    def _halve(self, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        half = mask[:, ::2].contiguous()
        low = float("-inf")
        if self.masked:
            values = values.masked_fill(mask == 0, low)
        around = F.pad(values, (0, 0, POOL // 2, POOL // 2), value=low)
        best = around.unfold(1, POOL, 2).amax(-1)
        return (best.masked_fill(half == 0, 0.0) if self.masked else best), half

    def _dropped(self, added: Tensor, scale: str) -> Tensor:
        """What is added, scaled and, by chance, left out (stochastic depth)."""
        if not self.branch:
            return added
        added = added * getattr(self, scale)
        if not self.training or not self.drop_path:
            return added
        kept = torch.rand(len(added), 1, 1, device=added.device) >= self.drop_path
        return added * kept.to(added.dtype) / (1 - self.drop_path)


class Pyramid(nn.Module):
    """Embedding, stem and branch, and a layer norm for every level.

    Args:
        dim: feature width D.
        config: see `PyramidConfig`.

    Raises:
        ValueError: the width is not a multiple of the groups.
    """

    def __init__(self, dim: int, config: PyramidConfig) -> None:
        super().__init__()
        if config.width % config.groups:
            raise ValueError(f"width {config.width} is not a multiple of {config.groups} groups")
        self.config = config
        self.dropout = nn.Dropout(config.dropout)
        self.embed = ConvStack([dim, *[config.width] * config.num_embeddings], config.kernel)
        self.stem = nn.ModuleList(PyramidBlock(config, False) for _ in range(config.num_stem))
        self.branch = nn.ModuleList(
            PyramidBlock(config, True) for _ in range(config.num_levels - 1)
        )
        self.neck = nn.ModuleList(nn.LayerNorm(config.width) for _ in range(config.num_levels))

    def forward(self, features: Tensor, valid: Tensor) -> tuple[Tensor, Levels]:
        """Features of all points.

        Args:
            features: ``[B, T, D]``, T a multiple of ``config.multiple``.
            valid: bool ``[B, T]``, False where padded.

        Returns:
            ``[B, P, width]``, level after level, and the levels.
        """
        levels = Levels.of(features.shape[1], self.config.num_levels, features.device)
        mask = valid.unsqueeze(2).to(features.dtype)
        keep = mask if self.config.padding == "masked" else None
        values = self.embed(self.dropout(features), mask, keep)
        for block in self.stem:
            values, mask = block(values, mask)
        pyramid = [values]
        for block in self.branch:
            values, mask = block(values, mask)
            pyramid.append(values)
        normal = [norm(level) for norm, level in zip(self.neck, pyramid, strict=True)]
        points = torch.cat(normal, 1)
        if keep is not None:
            points = points * levels.valid(keep)
        return points, levels
