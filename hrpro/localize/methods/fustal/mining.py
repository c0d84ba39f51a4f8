"""Which snippets the generator contrasts: easy ones, and hard ones near boundaries (CoLA)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hrpro.localize.methods.fustal.config import ContrastConfig
from hrpro.localize.nn.dropout import draw_kept


@dataclass(frozen=True)
class MinedSnippets:
    """Rows of the chosen snippets of each video; int64.

    Attributes:
        easy_action: ``[B, T // easy_ratio]``, the most active.
        easy_background: as many, the least active.
        hard_action: ``[B, T // hard_ratio]``, active just inside of a boundary.
        hard_background: as many, active just outside.
    """

    easy_action: Tensor
    easy_background: Tensor
    hard_action: Tensor
    hard_background: Tensor


def draw_multiplier(actionness: Tensor, dropout: float) -> Tensor:
    """What easy snippets are chosen by is multiplied by this: some 0, the others alike."""
    kept = draw_kept(actionness.shape, dropout, actionness.dtype) / (1 - dropout)
    return kept.to(actionness.device)


@torch.no_grad()
def mine(actionness: Tensor, multiplier: Tensor, config: ContrastConfig) -> MinedSnippets:
    """Choose snippets by their actionness.

    Args:
        actionness: n, ``[B, T]``.
        multiplier: ``[B, T]``, see `draw_multiplier`.
        config: numbers and windows.
    """
    num_snippets = actionness.shape[1]
    easy = max(1, num_snippets // config.easy_ratio)
    hard = max(1, num_snippets // config.hard_ratio)
    inactive = actionness.amax(1, keepdim=True) - actionness
    inner, outer = boundary_rings(active_snippets(actionness), config)

    def best(scores: Tensor, count: int) -> Tensor:
        return scores.topk(count, dim=1).indices

    return MinedSnippets(
        easy_action=best(actionness * multiplier, easy),
        easy_background=best(inactive * multiplier, easy),
        hard_action=best(actionness * inner, hard),
        hard_background=best(actionness * outer, hard),
    )


def active_snippets(actionness: Tensor) -> Tensor:
    """Snippets above the median of their video, bool ``[B, T]``.

    The median of an even number is the mean of the two in the middle.
    """
    return actionness > actionness.quantile(0.5, dim=1, keepdim=True)


def boundary_rings(active: Tensor, config: ContrastConfig) -> tuple[Tensor, Tensor]:
    """Snippets just inside and just outside of the boundaries of active runs, bool ``[B, T]``."""
    inner = erode(active, config.inner_window) & ~erode(active, config.outer_window)
    outer = dilate(active, config.outer_window) & ~dilate(active, config.inner_window)
    return inner, outer


def erode(active: Tensor, window: int) -> Tensor:
    """Where the whole window is active; nothing is outside of the video, ``[B, T]``.

    As in SciPy, an even window reaches one further back than ahead.
    """
    return _windows(active, window // 2, (window - 1) // 2).all(-1)


def dilate(active: Tensor, window: int) -> Tensor:
    """Where anything in the window is active, ``[B, T]``; an even one reaches further ahead."""
    return _windows(active, (window - 1) // 2, window // 2).any(-1)


def _windows(active: Tensor, before: int, after: int) -> Tensor:
    return F.pad(active, (before, after), value=False).unfold(1, before + after + 1, 1)
