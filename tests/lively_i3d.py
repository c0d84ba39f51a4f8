"""Weights of I3D that mean nothing, but through which a picture is seen at the other end."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hrpro.extract.i3d import InceptionI3D


def lively_weights(channels: int = 3, num_classes: int = 5) -> dict[str, Tensor]:
    """Unfolded weights by name, with BatchNorms that do something."""
    torch.manual_seed(0)
    network = InceptionI3D(channels, num_classes)
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm3d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.uniform_(-0.1, 0.1)
    state = network.state_dict()
    return {name: value for name, value in state.items() if "num_batches" not in name}
