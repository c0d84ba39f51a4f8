"""Frames to the device where flow is computed, and flow from there to the networks."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def upload(frames: np.ndarray, device: torch.device) -> Tensor:
    """Bring frames to a device, without waiting for it."""
    host = torch.from_numpy(frames)
    if device.type == "cuda":
        host = host.pin_memory()  # from other memory the copy would wait
    return host.to(device, non_blocking=True)


def hand_over(fields: Tensor) -> np.ndarray | Tensor:
    """Flow as a `FlowAlgorithm` gives it: on a GPU it stays there, once it is computed."""
    if fields.device.type == "cpu":
        return fields.numpy()
    if fields.device.type == "cuda":
        torch.cuda.current_stream(fields.device).synchronize()
    return fields
