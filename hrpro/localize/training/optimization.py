"""The optimizer of a stage, and its learning rate over time."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from hrpro.localize.methods.base import Schedule

_WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def build_optimizer(model: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    """Return Adam or AdamW over the parameters of a model, in groups by weight decay."""
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[schedule.optimizer]
    if schedule.decay == "all":
        groups = [{"params": list(model.parameters()), "weight_decay": schedule.weight_decay}]
    else:
        decayed = {id(parameter) for parameter in _layer_weights(model)}
        groups = [
            {
                "params": [p for p in model.parameters() if (id(p) in decayed) == is_weight],
                "weight_decay": schedule.weight_decay if is_weight else 0.0,
            }
            for is_weight in (True, False)
        ]
    device = next(model.parameters()).device
    return kind(groups, lr=schedule.lr, betas=schedule.betas, fused=device.type == "cuda")


def _layer_weights(model: nn.Module) -> Iterator[Tensor]:
    """The weights of linear layers and convolutions, without biases, norms and scales."""
    for module in model.modules():
        if isinstance(module, _WEIGHTED):
            yield module.weight


def learning_rate(schedule: Schedule, update: int) -> float:
    """The rate of an update, counted from 0.

    Warm-up over W updates: ``lr * update / (W - 1)``, so that the first one has rate 0 and the
    last one `lr`, as FuSTAL's student does.
    """
    warmup = schedule.warmup_updates
    if update < warmup:
        return schedule.lr * min(update / max(warmup - 1, 1), 1.0)
    if schedule.shape == "constant":
        return schedule.lr
    share = (update - warmup) / max(schedule.updates - warmup, 1)
    return schedule.lr * 0.5 * (1 + math.cos(math.pi * share))


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Let the next step have this rate, in all groups."""
    for group in optimizer.param_groups:
        group["lr"] = lr
