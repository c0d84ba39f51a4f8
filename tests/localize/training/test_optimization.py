"""Optimizers, weight decay groups and learning rates of a schedule."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hrpro.localize.methods.base import Schedule
from hrpro.localize.training.optimization import build_optimizer, learning_rate


def rates(schedule: Schedule) -> list[float]:
    return [learning_rate(schedule, update) for update in range(schedule.updates)]


def test_constant_without_warm_up():
    assert rates(Schedule(3, 1, 1, 0.5)) == [0.5, 0.5, 0.5]


def test_warm_up_begins_at_zero_and_ends_at_the_rate():
    schedule = Schedule(6, 1, 1, 0.4, warmup_updates=5)
    assert rates(schedule) == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.4])


def test_cosine_falls_to_zero_after_the_warm_up():
    found = rates(Schedule(105, 1, 1, 1.0, warmup_updates=5, shape="cosine"))
    assert found[5] == 1.0
    assert found[55] == pytest.approx(0.5)
    assert 0 < found[-1] < 0.001
    assert found[5:] == sorted(found[5:], reverse=True)


def test_only_weights_of_layers_decay():
    model = nn.Sequential(nn.Conv1d(2, 3, 1), nn.LayerNorm(3), nn.Linear(3, 1, bias=False))
    model.scale = nn.Parameter(torch.ones(2, 2))
    schedule = Schedule(1, 1, 1, 0.1, 0.05, "adamw", decay="weights")
    decayed, others = build_optimizer(model, schedule).param_groups
    assert [p.shape for p in decayed["params"]] == [(3, 2, 1), (1, 3)]
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.05, 0.0)
    every = {id(p) for group in (decayed, others) for p in group["params"]}
    assert every == {id(p) for p in model.parameters()}
    (group,) = build_optimizer(model, Schedule(1, 1, 1, 0.1, 0.05)).param_groups
    assert group["weight_decay"] == 0.05
