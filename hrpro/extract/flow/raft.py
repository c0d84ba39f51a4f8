"""RAFT (Teed and Deng, ECCV 2020), learned optical flow, as torchvision has it."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hrpro.devices import full_float32, upload
from hrpro.extract.flow.transfer import hand_over
from hrpro.extract.weights.library import load_weights
from hrpro.extract.weights.zoo import load_network

MIN_SIDE_PX = 128
"""Of the pictures: the coarsest level of the correlation pyramid is a 64th of them."""
SIDE_MULTIPLE_PX = 8

_CHUNK = {"cpu": 4, "cuda": 32}


class Raft:
    """RAFT large, trained on Chairs, Things, Sintel, KITTI and HD1K."""

    name = "raft"
    network = "raft-large"
    wants_rgb = True
    updates = 12
    """Refinements of the flow, as in training."""

    def __init__(self, device: torch.device | str = "cpu", *, progress: bool = True):
        self.device = torch.device(device)
        self.chunk = _CHUNK.get(self.device.type, 8)
        weights = load_weights(None, network=self.network, progress=progress)
        self._sha256 = weights.sha256
        self._raft = load_network(self.network, None, weights.state_dict).to(self.device)
        self._lock = threading.Lock()  # the network keeps its correlations in itself

    def parameters(self) -> dict[str, Any]:
        """The number of refinements and the sha256 of the weights."""
        return {"updates": self.updates, "weights": self._sha256}

    @torch.inference_mode()
    def __call__(self, frames: np.ndarray) -> np.ndarray | Tensor:
        """See `FlowAlgorithm`; frames are ``[N + 1, H, W, 3]`` uint8 RGB."""
        num_frames, height, width, _ = frames.shape
        if num_frames < 2:
            return np.zeros((0, height, width, 2), np.float32)
        pixels = upload(frames, self.device).permute(0, 3, 1, 2).float()
        pixels, top, left = pad(pixels.mul_(2 / 255).sub_(1))
        with self._lock, full_float32(self.device):
            flow = self._raft(pixels[:-1], pixels[1:], num_flow_updates=self.updates)[-1]
        flow = flow[:, :, top : top + height, left : left + width]
        return hand_over(flow.permute(0, 2, 3, 1).float())


class RaftSmall(Raft):
    """RAFT small, trained on Chairs and Things: faster and coarser."""

    name = "raft-small"
    network = "raft-small"


def pad(pixels: Tensor) -> tuple[Tensor, int, int]:
    """Repeat the border of pictures all around until RAFT can take them.

    Args:
        pixels: ``[N, C, H, W]``.

    Returns:
        The larger pictures, and where in them the old ones begin: top and left.
    """
    sides = []
    for size in pixels.shape[2:]:
        target = max(MIN_SIDE_PX, -(-size // SIDE_MULTIPLE_PX) * SIDE_MULTIPLE_PX)
        front = (target - size) // 2
        sides.append((front, target - size - front))
    (top, bottom), (left, right) = sides
    return F.pad(pixels, (left, right, top, bottom), mode="replicate"), top, left
