"""Pooling of snippet scores to video scores."""

from __future__ import annotations

import torch
from torch import Tensor

from hrpro.localize.sampling.packing import Packing


def topk_pool(
    values: Tensor, packing: Packing, ratio: int, select_by: Tensor | None = None
) -> Tensor:
    """Mean of `values` over the best ``max(1, T // ratio)`` snippets of each video and class.

    Args:
        values: packed ``[S, C]`` scores to average.
        packing: where each video lies.
        ratio: one of this many snippets counts.
        select_by: packed ``[S, C]`` scores that decide which snippets are best, if not `values`.

    Returns:
        ``[B, C]``.
    """
    padded = packing.pad(values, 0.0)
    ranking = padded if select_by is None else packing.pad(select_by, 0.0)
    return topk_mean(padded, ratio, ranking, packing.length)


def topk_mean(
    values: Tensor, ratio: int, select_by: Tensor | None = None, lengths: Tensor | None = None
) -> Tensor:
    """`topk_pool` of padded ``[B, T, C]`` values: ``[B, C]``.

    Args:
        values: scores to average.
        ratio: one of this many snippets counts.
        select_by: ``[B, T, C]`` scores that decide which snippets are best, if not `values`.
        lengths: ``[B]`` snippets of each video; None if all have T.
    """
    ranking = values if select_by is None else select_by
    num_snippets = values.shape[1]
    if lengths is None:
        best = ranking.topk(max(1, num_snippets // ratio), dim=1).indices
        return values.gather(1, best).mean(dim=1)
    count = (lengths // ratio).clamp(min=1)
    beyond = torch.arange(num_snippets, device=values.device) >= lengths.unsqueeze(1)
    ranking = ranking.masked_fill(beyond.unsqueeze(-1), float("-inf"))
    # As many as a video of full length has; to look at the lengths would wait for a GPU.
    best = ranking.topk(max(1, num_snippets // ratio), dim=1).indices
    chosen = torch.arange(best.shape[1], device=best.device) < count.unsqueeze(1)
    total = (values.gather(1, best) * chosen.unsqueeze(-1)).sum(dim=1)
    return total / count.unsqueeze(1)
