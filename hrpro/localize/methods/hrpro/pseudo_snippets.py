"""Pseudo labels of snippets, grown from the point labels (HR-Pro, section 3.2).

A snippet with a high background score between two points is background; the snippets beside a
point whose background score stays low belong to the point's action. All videos of a batch are
labelled at once, without a loop over snippets, points or videos.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from hrpro.localize.nn.compiling import compilable
from hrpro.localize.sampling.packing import Packing


@dataclass(frozen=True)
class PseudoSnippets:
    """Pseudo labels of packed snippets.

    Attributes:
        action: ``[S, C]`` bool, classes of the pseudo-action snippets; the points are among them.
        background: ``[S]`` bool, the pseudo-background snippets.
    """

    action: Tensor
    background: Tensor


@torch.no_grad()
def select_pseudo_snippets(
    background: Tensor,
    points: Tensor,
    packing: Packing,
    action_threshold: float = 0.1,
    background_threshold: float = 0.95,
) -> PseudoSnippets:
    """Label the snippets that the points and the background scores make reliable.

    The points cut a video into segments: before the first, between two neighbours, behind the
    last. In each segment the snippets at or above `background_threshold` are background, or the
    one of highest score if there is none. All that lies between two of these is background too,
    and so is all from them to the video's end in the first and last segment. From each point,
    snippets at or below `action_threshold` take the point's classes until one is neither.
    A video without points gets no labels.

    Args:
        background: ``[S]`` background scores b of the packed snippets.
        points: ``[S, C]`` bool, the point labels.
        packing: where each video lies.
        action_threshold: b of an action snippet is at most this.
        background_threshold: b of a background snippet is at least this.
    """
    rows = _Rows(packing.video, packing.start, packing.length)
    thresholds = (action_threshold, background_threshold)
    return PseudoSnippets(*_select(background, points, rows, *thresholds))


class _Rows(NamedTuple):
    """What a `Packing` knows of each snippet and of each video, without the numbers in Python."""

    video: Tensor
    start: Tensor
    length: Tensor


@compilable(dynamic=True)
def _select(
    background: Tensor,
    points: Tensor,
    rows: _Rows,
    action_threshold: float,
    background_threshold: float,
) -> tuple[Tensor, Tensor]:
    is_point = points.any(dim=1)
    pseudo_background = _background(background, is_point, rows, background_threshold)
    quiet = (background <= action_threshold) & ~pseudo_background
    return _spread(points, is_point, quiet, rows), pseudo_background


def _background(scores: Tensor, is_point: Tensor, rows: _Rows, threshold: float) -> Tensor:
    row = torch.arange(len(scores), device=scores.device)
    # Segment g of a video holds the snippets with g points before them; "+ video" keeps the last
    # segment of one video apart from the first of the next.
    segment = is_point.cumsum(0) + rows.video
    num_segments = len(scores) + len(rows.length) + 1

    def per_segment(values: Tensor, reduce: str, initial: float) -> Tensor:
        result = values.new_full((num_segments,), initial)
        return result.scatter_reduce_(0, segment, values, reduce)[segment]

    free = scores.masked_fill(is_point, float("-inf"))
    highest = per_segment(free, "amax", float("-inf"))
    first_highest = per_segment(
        row.masked_fill((free < highest) | is_point, len(row)), "amin", len(row)
    )
    certain = (scores >= threshold) & ~is_point
    any_certain = per_segment(certain.int(), "amax", 0).bool()
    certain = certain | (~any_certain & (row == first_highest))

    first = per_segment(row.masked_fill(~certain, len(row)), "amin", len(row))
    last = per_segment(row.masked_fill(~certain, -1), "amax", -1)
    before = is_point.cumsum(0) - is_point.long()
    points_before = is_point.cumsum(0) - before[rows.start[rows.video]]
    count = torch.zeros_like(rows.length).index_add(0, rows.video, is_point.long())
    points_of_video = count[rows.video]
    behind_first = (row >= first) | (points_before == 0)
    before_last = (row <= last) | (points_before == points_of_video)
    return behind_first & before_last & ~is_point & (points_of_video > 0)


def _spread(points: Tensor, is_point: Tensor, quiet: Tensor, rows: _Rows) -> Tensor:
    """Give each snippet the label of a point that it reaches through quiet snippets only."""
    row = torch.arange(len(quiet), device=quiet.device)
    size = len(row)
    start = rows.start[rows.video]
    end = start + rows.length[rows.video]
    previous = row.masked_fill(~is_point, -1).cummax(0).values
    following = row.masked_fill(~is_point, size).flip(0).cummin(0).values.flip(0)
    # Stops up to and including each snippet: equal counts mean no stop on the way.
    stops = (~quiet & ~is_point).cumsum(0)
    from_left = (previous >= start) & (stops[previous.clamp(min=0)] == stops)
    from_right = (following < end) & (stops[following.clamp(max=size - 1)] == stops)
    from_right &= quiet | is_point
    # A snippet reached from both sides belongs to the later point, as in the HR-Pro release.
    source = torch.where(from_right, following, previous).clamp(0, size - 1)
    return points[source] & (from_left | from_right).unsqueeze(1)
