"""Averaging of a model's weights over training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class WeightAverage:
    """Exponential moving average of the parameters of a model; buffers are not averaged.

    Early on the decay is lower, (1 + n) / (10 + n) after n updates, so that the random weights
    of the beginning are soon forgotten; unless `warmup` is False.
    """

    def __init__(self, model: nn.Module, decay: float, *, warmup: bool = True) -> None:
        self._model, self._decay, self._warmup = model, decay, warmup
        self.tensors = {name: p.detach().clone() for name, p in model.named_parameters()}

    @torch.no_grad()
    def update(self, num_updates: int) -> None:
        """Take the weights in as they are after `num_updates` updates."""
        decay = self._decay
        if self._warmup:
            decay = min(decay, (1 + num_updates) / (10 + num_updates))
        parameters = dict(self._model.named_parameters())
        average = get_ema_multi_avg_fn(decay)  # a GPU does all of them at once
        average([self.tensors[name] for name in parameters], [*parameters.values()], num_updates)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model has the averaged weights within the block."""
        self.swap()
        try:
            yield
        finally:
            self.swap()

    def swap(self) -> None:
        """Exchange the model's weights and the averages."""
        for name, parameter in self._model.named_parameters():
            parameter.data, self.tensors[name] = self.tensors[name], parameter.data

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over saved averages."""
        for name, tensor in tensors.items():
            self.tensors[name].copy_(tensor)
