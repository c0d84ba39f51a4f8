"""Optical flow between neighbouring frames, behind one small interface.

A flow algorithm turns N + 1 grey frames into N fields of displacements in pixels: channel 0 is u
(to the right), channel 1 is v (down). `scale_flow` then clamps and scales a field to the input of
the flow stream, as kinetics-i3d does: [-20, 20] pixels become [-1, 1].
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Protocol

import cv2
import numpy as np

from hrpro.errors import UsageError

FLOW_BOUND_PX = 20.0
"""Displacements beyond this are clamped before the network sees them (kinetics-i3d)."""


class FlowAlgorithm(Protocol):
    """What a flow algorithm has to offer."""

    name: str

    def parameters(self) -> dict[str, Any]:
        """Everything that changes the result; goes into the fingerprint."""

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Flow of each frame to the next.

        Args:
            frames: ``[N + 1, H, W]`` uint8 grey, neighbours in time.

        Returns:
            ``[N, H, W, 2]`` float32 displacements in pixels.
        """


class Dis:
    """Dense Inverse Search (Kroeger et al., ECCV 2016) in OpenCV: the fast choice on a CPU."""

    name = "dis"

    def __init__(self) -> None:
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def parameters(self) -> dict[str, Any]:
        """The preset; OpenCV fixes the rest."""
        return {"preset": "medium"}

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """See `FlowAlgorithm`."""
        pairs = itertools.pairwise(frames)
        return _stack([self._dis.calc(here, there, None) for here, there in pairs], frames)


class Farneback:
    """Polynomial expansion (Farnebäck, SCIA 2003) in OpenCV, with the parameters of its manual."""

    name = "farneback"

    def parameters(self) -> dict[str, Any]:
        """Arguments of ``cv2.calcOpticalFlowFarneback``."""
        return {
            "pyr_scale": 0.5,
            "levels": 3,
            "winsize": 15,
            "iterations": 3,
            "poly_n": 5,
            "poly_sigma": 1.2,
            "flags": 0,
        }

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """See `FlowAlgorithm`."""
        options = self.parameters()
        pairs = itertools.pairwise(frames)
        fields = [
            cv2.calcOpticalFlowFarneback(here, there, None, **options) for here, there in pairs
        ]
        return _stack(fields, frames)


def _stack(fields: list[np.ndarray], frames: np.ndarray) -> np.ndarray:
    if not fields:
        return np.zeros((0, *frames.shape[1:], 2), np.float32)
    return np.stack(fields).astype(np.float32, copy=False)


ALGORITHMS: dict[str, Callable[[], FlowAlgorithm]] = {"dis": Dis, "farneback": Farneback}
"""Flow algorithms by name; a new one is added here."""


def make_flow(name: str) -> FlowAlgorithm:
    """Build a flow algorithm by its name.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in ALGORITHMS:
        raise UsageError(f"--flow {name}: no such algorithm; choose from {', '.join(ALGORITHMS)}")
    return ALGORITHMS[name]()


def to_grey(frames: np.ndarray) -> np.ndarray:
    """``[N, H, W, 3]`` uint8 RGB to ``[N, H, W]`` grey by OpenCV's weights (ITU-R BT.601)."""
    if not len(frames):
        return np.zeros(frames.shape[:3], np.uint8)
    return np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames])


def scale_flow(flow_px: np.ndarray) -> np.ndarray:
    """Clamp displacements to +-20 pixels and scale them to [-1, 1] (kinetics-i3d)."""
    return np.clip(flow_px, -FLOW_BOUND_PX, FLOW_BOUND_PX) / FLOW_BOUND_PX
