"""What an update of the student looks at: windows of videos, and the segments in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from hrpro.devices import upload
from hrpro.localize.data.grid import SnippetGrid
from hrpro.localize.methods.student.config import WindowConfig

Draw = Callable[[int, int], int]
"""Draws an integer between two others, both included."""


def draw_integer(low: int, high: int) -> int:
    """Draw with PyTorch's random numbers."""
    return int(torch.randint(low, high + 1, ()))


@dataclass(frozen=True)
class Segments:
    """The segments of one video, in steps of its features.

    Attributes:
        bounds: float ``[N, 2]`` starts and ends.
        labels: int64 ``[N]`` classes.
        weights: ``[N]`` how much each counts.
        points: ``[N]`` the point label each belongs to; NaN for none.
        room: ``[N, 2]`` the nearest point labels of other classes on both sides; infinite for none.
    """

    bounds: Tensor
    labels: Tensor
    weights: Tensor
    points: Tensor
    room: Tensor

    @classmethod
    def of(
        cls,
        bounds: Tensor,
        labels: Tensor,
        weights: Tensor | None = None,
        points: Tensor | None = None,
        room: Tensor | None = None,
    ) -> Segments:
        """Segments that all count alike and belong to no point, unless said."""
        one = bounds.new_ones(len(bounds))
        beyond = torch.stack([-one, one], 1) * float("inf")
        return cls(
            bounds,
            labels.long(),
            one if weights is None else weights,
            one * float("nan") if points is None else points,
            beyond if room is None else room,
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: Tensor) -> Segments:
        """Some of them."""
        return Segments(
            self.bounds[rows],
            self.labels[rows],
            self.weights[rows],
            self.points[rows],
            self.room[rows],
        )

    def within(self, first: int, stop: int, min_inside: float) -> Tensor:
        """Which of them lie in the steps ``first <= t < stop`` with such a share, bool ``[N]``."""
        start, end = self.bounds.unbind(1)
        inside = end.clamp(max=stop) - start.clamp(min=first)
        return inside >= min_inside * (end - start)

    def window(self, first: int, stop: int, min_inside: float) -> Segments:
        """Those within a window, clipped to it, in steps from its start."""
        kept = self[self.within(first, stop, min_inside)]
        return replace(
            kept,
            bounds=kept.bounds.clamp(first, stop) - first,
            points=kept.points - first,
            room=kept.room - first,
        )


def draw_window(
    num_steps: int, segments: Segments, config: WindowConfig, draw: Draw = draw_integer
) -> tuple[int, int]:
    """Draw a window of a video: first step, and the one behind the last.

    A longer video's window is ``length`` steps, a shorter one's a random share of it. It is drawn
    anew until a segment lies in it, at most ``tries`` times.
    """
    if num_steps > config.length:
        length = config.length
    else:
        length = draw(max(1, round(config.min_share * num_steps)), num_steps)
    if length == num_steps:
        return 0, num_steps
    first = 0
    for _ in range(config.tries):
        first = draw(0, num_steps - length)
        if segments.within(first, first + length, config.min_inside).any():
            break
    return first, first + length


def cut_window(
    features: Tensor, segments: Segments, config: WindowConfig, draw: Draw = draw_integer
) -> tuple[Tensor, Segments]:
    """A random window of a video's ``[T, D]`` features, and the segments in it."""
    first, stop = draw_window(len(features), segments, config, draw)
    if stop - first == len(features):
        return features, segments
    return features[first:stop], segments.window(first, stop, config.min_inside)


@dataclass(frozen=True)
class WindowBatch:
    """Windows of B videos as padded tensors; N is the largest number of segments.

    Attributes:
        features: ``[B, T, D]``, zero where padded.
        valid: bool ``[B, T]``, False where padded.
        segments: ``[B, N, 2]`` in steps.
        labels: int64 ``[B, N]``.
        present: bool ``[B, N]``, False for rows that only fill up.
        weights: ``[B, N]``; see `Segments`.
        points: ``[B, N]``; see `Segments`.
        room: ``[B, N, 2]``; see `Segments`.
        video_label: ``[B, C]`` ones and zeros.
    """

    features: Tensor
    valid: Tensor
    segments: Tensor
    labels: Tensor
    present: Tensor
    weights: Tensor
    points: Tensor
    room: Tensor
    video_label: Tensor

    @classmethod
    def collate(
        cls,
        features: Sequence[Tensor],
        segments: Sequence[Segments],
        video_label: Tensor,
        length: int,
    ) -> WindowBatch:
        """Pad windows of ``[T, D]`` features to `length` and put them together."""
        padded, valid = pad_features(features, length)

        def pad(rows: Sequence[Tensor]) -> Tensor:
            return upload(pad_sequence(list(rows), batch_first=True), padded.device)

        return cls(
            features=padded,
            valid=valid,
            segments=pad([s.bounds for s in segments]).to(padded.dtype),
            labels=pad([s.labels for s in segments]),
            present=pad([torch.ones_like(s.labels, dtype=torch.bool) for s in segments]),
            weights=pad([s.weights for s in segments]).to(padded.dtype),
            points=pad([s.points for s in segments]).to(padded.dtype),
            room=pad([s.room for s in segments]).to(padded.dtype),
            video_label=video_label.to(padded),
        )


def pad_features(features: Sequence[Tensor], length: int) -> tuple[Tensor, Tensor]:
    """``[T, D]`` features of B videos as ``[B, length, D]``, and bool ``[B, length]``."""
    padded = torch.stack([F.pad(f, (0, 0, 0, length - len(f))) for f in features])
    lengths = upload(torch.tensor([len(f) for f in features]), padded.device)
    return padded, torch.arange(length, device=padded.device) < lengths.unsqueeze(1)


def padded_length(longest: int, multiple: int, minimum: int = 0) -> int:
    """The least multiple of `multiple` that holds `longest` steps and is not below `minimum`."""
    return max(-(-max(longest, 1) // multiple) * multiple, minimum)


def refine_steps(features: Tensor, grid: SnippetGrid, stride: int) -> tuple[Tensor, SnippetGrid]:
    """Interpolate features linearly to a finer grid of `stride` frames, or the nearest above.

    The new steps lie between the centres of the old ones, so that ``seconds = (u * stride +
    snippet / 2) / fps`` holds for both. Features that are fine enough stay as they are.

    Args:
        features: ``[L, D]``.
        grid: of `features`.
        stride: frames from step to step that are wanted.
    """
    factor = max(
        (f for f in range(1, grid.stride // stride + 1) if grid.stride % f == 0), default=1
    )
    if factor == 1 or not len(features):
        return features, grid
    fine = F.interpolate(
        features.T.unsqueeze(0),
        size=factor * (len(features) - 1) + 1,
        mode="linear",
        align_corners=True,
    )
    return fine.squeeze(0).T, replace(grid, stride=grid.stride // factor)
