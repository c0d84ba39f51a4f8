"""Backbones at work: snippets as the decoder gives them, features and logits as output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hrpro.extract.backbones import Backbone, FlowWeights, Stream
from hrpro.extract.i3d import I3DOutput, classify, load_i3d
from hrpro.extract.i3d_stacked import StackedI3D
from hrpro.extract.weights.library import load_weights
from hrpro.extract.weights.zoo import load_network
from hrpro.features import WeightsId

Convolutions = Literal["3d", "2d"]
"""How I3D is computed: as it is, or as 2-D convolutions over stacked frames."""
CONVOLUTIONS: tuple[Convolutions, ...] = get_args(Convolutions)


class SnippetNetwork(nn.Module):
    """A network that takes snippets as they come out of the decoder.

    Args:
        network: maps ``[B, C, T, H, W]``, normalised, to `I3DOutput`.
        backbone: says which frames it sees and how they are normalised.
        dtype: what it computes in.
    """

    def __init__(self, network: nn.Module, backbone: Backbone, dtype: torch.dtype):
        super().__init__()
        self.network = network
        self.backbone = backbone
        self.dtype = dtype

    def forward(self, snippets: Tensor) -> I3DOutput:
        """Features ``[B, dim]`` and logits ``[B, 400]``, float32.

        Args:
            snippets: ``[B, C, T, H, W]`` of any strides: overlapping snippets may share memory.
                Bytes are RGB and normalised here; floats are taken as they are.
        """
        x = self._seen(snippets)
        if not x.is_floating_point():
            x = x.to(torch.float32, memory_format=torch.channels_last_3d)
            mean, std = self.backbone.mean, self.backbone.std
            x = x.mul_(1 / (255 * std)).sub_(mean / std)
        return self.network(x.to(self.dtype, memory_format=torch.channels_last_3d))

    def _seen(self, snippets: Tensor) -> Tensor:
        length = snippets.shape[2]
        frames = self.backbone.frames_of(length)
        step = frames[1] - frames[0]
        if step and frames == list(range(0, length, step)):
            return snippets[:, :, ::step]  # a view
        return snippets[:, :, frames]


class PooledResNet(nn.Module):
    """A residual network of pytorchvideo that takes pictures of any size and gives features, too.

    On pictures of the size it was trained with, the logits are pytorchvideo's own, before the
    softmax that X3D ends in.

    Args:
        network: as pytorchvideo builds it.
    """

    def __init__(self, network: Any):  # an `nn.Module`; pytorchvideo has no types
        super().__init__()
        *stages, head = network.blocks
        self.projection = None
        if hasattr(head.pool, "post_conv"):  # X3D averages in the middle of its head
            pool = head.pool
            stages += [pool.pre_conv, pool.pre_norm, pool.pre_act]
            self.projection = pool.post_conv
        self.stages = nn.Sequential(*stages)
        self.classifier = head.proj
        for module in self.stages.modules():
            if isinstance(module, nn.Conv3d):  # some are NumPy's, which torch.compile cannot take
                module.stride = tuple(map(int, module.stride))

    def forward(self, x: Tensor) -> I3DOutput:
        """Features and logits of a batch of snippets, ``[B, 3, T, H, W]``, normalised."""
        features = self.stages(x).float().mean(dim=(2, 3, 4))
        if self.projection is not None:
            features = F.relu(F.linear(features, self.projection.weight.float().flatten(1)))
        return classify(features, self.classifier)


def load_i3d_as(
    convolutions: Convolutions,
    state_dict: Mapping[str, Tensor],
    *,
    device: torch.device | str,
    dtype: torch.dtype,
) -> nn.Module:
    """I3D by `load_i3d`, computed in one way or the other."""
    network = load_i3d(state_dict, device=device, dtype=dtype)
    return StackedI3D(network) if convolutions == "2d" else network


def load_snippet_network(
    backbone: Backbone,
    stream: Stream,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    convolutions: Convolutions = "3d",
    flow_weights: FlowWeights = "kinetics400",
    progress: bool = True,
) -> tuple[SnippetNetwork, WeightsId]:
    """Load the network of a stream, fetching its weights first if they are not there.

    Args:
        backbone: which network.
        stream: one of its `streams`.
        device: where it runs.
        dtype: what it computes in; float32 by default.
        convolutions: how I3D is computed.
        flow_weights: see `hrpro.extract.weights.library.load_weights`.
        progress: show the download.

    Returns:
        The network, and which weights it has.

    Raises:
        WeightsError: the weights are not there and cannot be fetched, or are damaged.
    """
    dtype = dtype or torch.float32
    weights = load_weights(
        stream, network=backbone.name, flow_weights=flow_weights, progress=progress
    )
    if backbone.name == "i3d":
        network = load_i3d_as(convolutions, weights.state_dict, device=device, dtype=dtype)
    else:
        built = load_network(backbone.name, stream, weights.state_dict)
        network = PooledResNet(built).to(device=device, dtype=dtype)
        network = network.to(memory_format=torch.channels_last_3d)
    weights_id = WeightsId(sha256=weights.sha256, source=weights.source)
    return SnippetNetwork(network, backbone, dtype), weights_id
