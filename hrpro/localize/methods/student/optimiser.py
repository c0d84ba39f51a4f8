"""How the student is optimised: AdamW, a warm-up, and a bound on the gradient."""

from __future__ import annotations

import math

import torch
from torch import nn

from hrpro.localize.methods.student.config import OptimiserConfig
from hrpro.localize.nn.pyramid import ChannelAffine


def make_optimizer(model: nn.Module, config: OptimiserConfig) -> torch.optim.AdamW:
    """AdamW that lets the weights of convolutions decay, and nothing else."""
    decaying, others = [], []
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            is_weight = name == "weight" and isinstance(
                module, (nn.Conv1d, nn.Linear, ChannelAffine)
            )
            (decaying if is_weight else others).append(parameter)
    groups = [
        {"params": decaying, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    fused = next(model.parameters()).device.type == "cuda"
    return torch.optim.AdamW(groups, lr=config.lr, fused=fused)


def learning_rate(update: int, num_updates: int, config: OptimiserConfig) -> float:
    """The rate of an update, counted from 0; the very first one is at rate 0, as released."""
    warm = min(update / max(config.warmup_updates - 1, 1), 1.0)
    done = min(update / max(num_updates - 1, 1), 1.0)
    share = config.final_lr + (1 - config.final_lr) * 0.5 * (1 + math.cos(math.pi * done))
    return config.lr * warm * share
