"""Flow from the device where it is computed to the networks."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def hand_over(fields: Tensor) -> np.ndarray | Tensor:
    """Flow as a `FlowAlgorithm` gives it: on a GPU it stays there, once it is computed."""
    if fields.device.type == "cpu":
        return fields.numpy()
    if fields.device.type == "cuda":
        torch.cuda.current_stream(fields.device).synchronize()
    return fields
