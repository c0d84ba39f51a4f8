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

from hrpro.devices import upload


@dataclass(frozen=True)
class Buckets:
    """Videos of about the same length side by side, padded to the longest of them.

    Those are together whose lengths have the same power of two above them. All places of all
    buckets lie end to end.

    Attributes:
        masks: bool ``[videos, T]`` of each bucket, False where padded.
        rows: which packed row is at each place, int64; where padded, any of the same video.
        places: where each packed row is, ``[S]`` int64.
    """

    masks: tuple[Tensor, ...]
    rows: Tensor
    places: Tensor

    @property
    def sizes(self) -> list[int]:
        """Places of each bucket."""
        return [mask.numel() for mask in self.masks]


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
        return upload(torch.tensor(self.lengths, dtype=torch.int64), self.device)

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

    @cached_property
    def buckets(self) -> Buckets:
        """The videos by their length, for what has to see several of them at once."""
        members: dict[int, list[int]] = {}
        for video, length in enumerate(self.lengths):
            if length:
                members.setdefault((length - 1).bit_length(), []).append(video)
        lengths = torch.tensor(self.lengths, dtype=torch.int64)
        start = lengths.cumsum(0) - lengths
        masks, rows = [], []
        for videos in members.values():
            own = lengths[videos].unsqueeze(1)
            position = torch.arange(int(own.max()))
            masks.append(position < own)
            rows.append(start[videos].unsqueeze(1) + torch.minimum(position, own - 1))
        row = torch.cat([start[:0], *(each.flatten() for each in rows)])
        inside = torch.cat([row[:0].bool(), *(each.flatten() for each in masks)])
        places = torch.empty(self.num_rows, dtype=torch.int64)
        places[row[inside]] = inside.nonzero().squeeze(1)
        return Buckets(
            tuple(upload(mask, self.device) for mask in masks),
            upload(row, self.device),
            upload(places, self.device),
        )

    def extended(self, num_rows: int) -> Packing:
        """The packing after `num_rows` rows were added to the end of each video."""
        return Packing(tuple(length + num_rows for length in self.lengths), self.device)

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
            features=upload(self.features, device),
            points=upload(self.points, device),
            labels=upload(self.labels, device),
            packing=self.packing.to(device),
        )
