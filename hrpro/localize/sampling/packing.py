"""Videos of different length as one tensor: laid end to end, without padding.

A padded batch of videos of 50 to 2600 snippets is mostly padding. Here the snippets of all videos
form one ``[S, ...]`` tensor, S = sum of the lengths: layers that treat snippets one by one need
no mask and waste nothing, and what works per video (pooling, means) goes through a `Packing`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Packing:
    """Where each video lies in a packed ``[S, ...]`` tensor.

    Attributes:
        lengths: number of rows (snippets, or proposals) of each video; zero is allowed.
        device: where the index tensors below live.
    """

    lengths: tuple[int, ...]
    device: torch.device

    @classmethod
    def of(cls, tensors: Sequence[Tensor]) -> Packing:
        """Describe the packing of `tensors`, the rows of one video each."""
        device = tensors[0].device if tensors else torch.device("cpu")
        return cls(tuple(len(tensor) for tensor in tensors), device)

    @property
    def num_videos(self) -> int:
        """B."""
        return len(self.lengths)

    @property
    def num_rows(self) -> int:
        """S, the rows of all videos together."""
        return sum(self.lengths)

    @cached_property
    def length(self) -> Tensor:
        """Rows per video, ``[B]`` int64."""
        return torch.tensor(self.lengths, device=self.device, dtype=torch.int64)

    @cached_property
    def start(self) -> Tensor:
        """First row of each video, ``[B]`` int64."""
        return self.length.cumsum(0) - self.length

    @cached_property
    def video(self) -> Tensor:
        """Video of each row, ``[S]`` int64."""
        index = torch.arange(self.num_videos, device=self.device)
        return index.repeat_interleave(self.length, output_size=self.num_rows)

    @cached_property
    def position(self) -> Tensor:
        """Row number within its own video, ``[S]`` int64."""
        return torch.arange(self.num_rows, device=self.device) - self.start[self.video]

    def to(self, device: torch.device | str) -> Packing:
        """The same packing with its index tensors on `device`."""
        return Packing(self.lengths, torch.device(device))

    def split(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Cut packed ``[S, ...]`` rows into one view per video."""
        return rows.split(self.lengths)

    def pad(self, rows: Tensor, value: float) -> Tensor:
        """Packed ``[S, ...]`` rows as ``[B, max length, ...]``, filled up with `value`."""
        longest = max(self.lengths, default=0)
        padded = rows.new_full((self.num_videos, longest, *rows.shape[1:]), value)
        padded[self.video, self.position] = rows
        return padded

    def sum(self, rows: Tensor) -> Tensor:
        """Sum over each video: ``[S, ...]`` to ``[B, ...]``."""
        total = rows.new_zeros((self.num_videos, *rows.shape[1:]))
        return total.index_add(0, self.video, rows)

    def mean(self, rows: Tensor) -> Tensor:
        """Mean over each video: ``[S, ...]`` to ``[B, ...]``; zero for an empty video."""
        count = self.length.clamp(min=1).view(-1, *[1] * (rows.dim() - 1))
        return self.sum(rows) / count


@dataclass(frozen=True)
class VideoBatch:
    """Training videos, packed: what one update of stage 1 looks at.

    Attributes:
        features: ``[S, D]`` snippet features.
        points: ``[S, C]`` bool, True where a point label of that class lies.
        labels: ``[B, C]`` bool, the classes of each video.
        packing: where each video lies among the S rows.
    """

    features: Tensor
    points: Tensor
    labels: Tensor
    packing: Packing

    @classmethod
    def collate(
        cls,
        features: Sequence[Tensor],
        points: Sequence[Tensor],
        labels: Iterable[Tensor] | None = None,
    ) -> VideoBatch:
        """Pack videos: features ``[T, D]``, points ``[T, C]`` and, if any, labels ``[C]`` of each.

        Without `labels` the classes of a video are those of its points.
        """
        present = [p.bool().any(dim=0) for p in points] if labels is None else list(labels)
        return cls(
            features=torch.cat(list(features)).float(),
            points=torch.cat(list(points)).bool(),
            labels=torch.stack(present).bool(),
            packing=Packing.of(features),
        )

    def to(self, device: torch.device | str) -> VideoBatch:
        """The same batch on `device`."""
        return VideoBatch(
            features=self.features.to(device, non_blocking=True),
            points=self.points.to(device, non_blocking=True),
            labels=self.labels.to(device, non_blocking=True),
            packing=self.packing.to(device),
        )
