"""How the student is optimised: AdamW, a warm-up, and a bound on the gradient."""

from __future__ import annotations

import math

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from hrpro.localize.nn.pyramid import ChannelAffine


class OptimiserConfig(BaseModel):
    """Settings of AdamW. Defaults are FuSTAL's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lr: float = Field(1e-4, gt=0, description="learning rate of AdamW")
    weight_decay: float = Field(0.05, ge=0, description="of the weights of convolutions alone")
    warmup_updates: int = Field(25, ge=1, description="updates until the full rate; first is at 0")
    max_gradient: float = Field(1.0, gt=0, description="the norm of the gradient is clipped to it")
    ema: float = Field(0.999, gt=0, lt=1, description="decay of the average of the weights")
    ema_warmup: bool = Field(
        False, description="average less at first, (1 + n) / (10 + n): for short trainings"
    )
    final_lr: float = Field(
        1.0, ge=0, le=1, description="share of the rate at the end of a cosine; 1: it is constant"
    )


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
