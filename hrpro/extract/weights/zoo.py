"""The networks whose weights hrpro knows: their names, and how each is built and filled."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import cache, partial

import torch
from torch import Tensor, nn

from hrpro.errors import WeightsError
from hrpro.extract.backbones import BACKBONES, Stream
from hrpro.extract.i3d import STREAM_CHANNELS, InceptionI3D, with_counters

RAFT = ("raft-large", "raft-small")
"""Optical flow networks; they belong to no stream."""
NETWORKS = (*BACKBONES, *RAFT)


def build_network(
    name: str, stream: Stream | None, device: torch.device | str = "cpu"
) -> nn.Module:
    """Build an untrained network.

    Args:
        name: one of `NETWORKS`.
        stream: what it looks at; None for RAFT.
        device: where; on ``meta`` it has shapes but no numbers.
    """
    # Not within the context: with some versions of torch its compiler, which torchvision imports,
    # does not load while ``meta`` is the default device.
    build = _builder(name, stream)
    with torch.device(device):
        return build()


def _builder(name: str, stream: Stream | None) -> Callable[[], nn.Module]:
    if name == "i3d":
        assert stream is not None
        return partial(InceptionI3D, STREAM_CHANNELS[stream])
    if name in RAFT:
        from torchvision.models import optical_flow

        return getattr(optical_flow, name.replace("-", "_"))
    with warnings.catch_warnings():  # about its own use of torch.jit.script
        warnings.simplefilter("ignore")
        from pytorchvideo.models import hub
    return getattr(hub, name)  # the other backbones have pytorchvideo's names


@cache
def expected_shapes(stream: Stream | None, network: str = "i3d") -> dict[str, tuple[int, ...]]:
    """Name and shape of every weight of a network, in its own order."""
    built = build_network(network, stream, "meta")
    return {
        name: tuple(tensor.shape)
        for name, tensor in built.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


def load_network(name: str, stream: Stream | None, state_dict: Mapping[str, Tensor]) -> nn.Module:
    """Build a network for inference around the tensors of `state_dict`, which are not copied.

    Args:
        name: one of `NETWORKS`.
        stream: what it looks at; None for RAFT.
        state_dict: weights by the names of the network.

    Raises:
        WeightsError: a weight is missing, superfluous or of the wrong shape.
    """
    network = build_network(name, stream, "meta")
    try:
        network.load_state_dict(with_counters(state_dict, network), assign=True)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise WeightsError(f"not the weights of {name}: {reason}") from error
    return network.eval().requires_grad_(False)
