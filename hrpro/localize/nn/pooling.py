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
    count = (packing.length // ratio).clamp(min=1)
    padded = packing.pad(values, 0.0)
    ranking = padded if select_by is None else packing.pad(select_by, 0.0)
    beyond = packing.pad(packing.position, -1) < 0
    ranking = ranking.masked_fill(beyond.unsqueeze(-1), float("-inf"))
    best = ranking.topk(int(count.max()), dim=1).indices
    chosen = torch.arange(best.shape[1], device=best.device) < count.unsqueeze(1)
    total = (padded.gather(1, best) * chosen.unsqueeze(-1)).sum(dim=1)
    return total / count.unsqueeze(1)
