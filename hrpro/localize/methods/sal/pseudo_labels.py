"""Pseudo labels of snippets and how far to trust them (spec section 5 of SAL).

"Adaptive Actionness Learning": actionness is learned from labels that the model gives itself.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


@torch.no_grad()
def pseudo_actions(
    actionness: Tensor, cas: Tensor, num_actions: int, num_evident: int | None
) -> Tensor:
    """Which snippets pass for action, bool ``[B, T]``; all others pass for background.

    Args:
        actionness: ``[B, T]``.
        cas: class logits ``[B, T, C]``.
        num_actions: an action is among so many snippets of highest actionness.
        num_evident: and among so many by the sum of their positive logits; None for no matter.
    """
    actions = _among_best(actionness, num_actions)
    if num_evident is None:
        return actions
    return actions & _among_best(cas.relu().sum(dim=-1), num_evident)


class AdaptiveMask(nn.Module):
    """A weight for each snippet: lower where the class is less sure than it has been of late.

    The mean and variance of the highest class probability are buffers: they are saved with the
    model and go on where training was interrupted.

    Args:
        num_classes: C; the mean starts at 1 / C, the variance at 1.
        momentum: share of the old values.
        width: the weight is ``exp(-distance**2 / (width * variance))`` below the mean.
    """

    mean: Tensor
    var: Tensor

    def __init__(self, num_classes: int, momentum: float = 0.7, width: float = 0.5) -> None:
        super().__init__()
        self.momentum, self.width = momentum, width
        self.register_buffer("mean", torch.tensor(1 / num_classes))
        self.register_buffer("var", torch.tensor(1.0))

    @torch.no_grad()
    def forward(self, cas: Tensor) -> Tensor:
        """Take the logits ``[B, T, C]`` of a batch in, then weight its snippets: ``[B, T]``."""
        probability = cas.softmax(dim=-1).amax(dim=-1)
        var, mean = torch.var_mean(probability)
        self.mean.lerp_(mean, 1 - self.momentum)
        self.var.lerp_(var, 1 - self.momentum)
        distance = (probability - self.mean).clamp(max=0)
        return torch.exp(-(distance**2) / (self.width * self.var))


def batch_mix(values: Tensor) -> Tensor:
    """Each row of the batch plus the row before it; the first one gets the last."""
    return values + values.roll(1, dims=0)


def _among_best(values: Tensor, count: int) -> Tensor:
    best = values.topk(min(count, values.shape[1]), dim=1).indices
    return torch.zeros_like(values, dtype=torch.bool).scatter_(1, best, True)
