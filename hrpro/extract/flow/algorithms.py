"""Optical flow between neighbouring frames, behind one small interface.

A flow algorithm turns N + 1 frames into N fields of displacements in pixels: channel 0 is u (to the
right), channel 1 is v (down). `scale_flow` then clamps and scales a field to the input of the flow
stream, as kinetics-i3d does: [-20, 20] pixels become [-1, 1].
"""

from __future__ import annotations

import importlib
import itertools
import threading
from typing import TYPE_CHECKING, Any, Literal, Protocol

import cv2
import numpy as np

from hrpro.errors import UsageError
from hrpro.shared_switch import SharedSwitch

if TYPE_CHECKING:
    import torch

FLOW_BOUND_PX = 20.0
"""Displacements beyond this are clamped before the network sees them (kinetics-i3d)."""


class FlowAlgorithm(Protocol):
    """What a flow algorithm has to offer. Several threads may call one object at once."""

    name: str
    chunk: int
    """Pairs of frames that are best given in one call: a GPU wants many."""
    wants_rgb: bool
    """Whether it works on colour frames rather than on grey ones."""

    def __init__(self, device: torch.device | str = "cpu", *, progress: bool = True): ...

    def parameters(self) -> dict[str, Any]:
        """Everything that changes the result; goes into the fingerprint."""

    def __call__(self, frames: np.ndarray) -> np.ndarray | torch.Tensor:
        """Flow of each frame to the next.

        Args:
            frames: ``[N + 1, H, W]`` uint8 grey, neighbours in time; ``[N + 1, H, W, 3]`` RGB
                if it `wants_rgb`.

        Returns:
            ``[N, H, W, 2]`` float32 displacements in pixels; a tensor if it is on a device where
            the networks take it.
        """


def _use_one_thread() -> int:
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    return before


_ONE_THREAD = SharedSwitch(_use_one_thread, cv2.setNumThreads)
"""We give OpenCV several chunks of frames at a time. Threads of its own inside of these would be in
each other's way; and DIS finds another flow with each number of them."""


class Dis:
    """Dense Inverse Search (Kroeger et al., ECCV 2016) in OpenCV: the fast choice on a CPU."""

    name = "dis"
    chunk = 16
    wants_rgb = False

    def __init__(self, device: torch.device | str = "cpu", *, progress: bool = True):
        self._local = threading.local()  # a DIS object works on its own buffers

    def parameters(self) -> dict[str, Any]:
        """The preset; OpenCV fixes the rest."""
        return {"preset": "medium"}

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """See `FlowAlgorithm`."""
        if not hasattr(self._local, "dis"):
            self._local.dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        dis = self._local.dis
        pairs = itertools.pairwise(frames)
        with _ONE_THREAD.held():
            return _stack([dis.calc(here, there, None) for here, there in pairs], frames)


class Farneback:
    """Polynomial expansion (Farnebäck, SCIA 2003) in OpenCV, with the parameters of its manual."""

    name = "farneback"
    chunk = 16
    wants_rgb = False

    def __init__(self, device: torch.device | str = "cpu", *, progress: bool = True):
        pass

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
        start: Any = None  # no flow to start from; OpenCV's types want one all the same
        with _ONE_THREAD.held():
            fields = [
                cv2.calcOpticalFlowFarneback(here, there, start, **options) for here, there in pairs
            ]
        return _stack(fields, frames)


def _stack(fields: list[np.ndarray], frames: np.ndarray) -> np.ndarray:
    if not fields:
        return np.zeros((0, *frames.shape[1:], 2), np.float32)
    return np.stack(fields).astype(np.float32, copy=False)


ALGORITHMS = {
    "dis": "hrpro.extract.flow.algorithms:Dis",
    "farneback": "hrpro.extract.flow.algorithms:Farneback",
    "tvl1": "hrpro.extract.flow.tvl1:TvL1",
    "raft": "hrpro.extract.flow.raft:Raft",
    "raft-small": "hrpro.extract.flow.raft:RaftSmall",
}
"""Flow algorithms by name: module and class, imported only when they are asked for."""


def make_flow(
    name: str, *, device: torch.device | str = "cpu", progress: bool = True
) -> FlowAlgorithm:
    """Build a flow algorithm by its name.

    Args:
        name: a key of `ALGORITHMS`.
        device: where to compute; the algorithms of OpenCV are always on the CPU.
        progress: show the download if the algorithm needs weights that are not there yet.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in ALGORITHMS:
        raise UsageError(f"--flow {name}: no such algorithm; choose from {', '.join(ALGORITHMS)}")
    module, _, cls = ALGORITHMS[name].partition(":")
    return getattr(importlib.import_module(module), cls)(device, progress=progress)


def to_grey(frames: np.ndarray) -> np.ndarray:
    """``[N, H, W, 3]`` uint8 RGB to ``[N, H, W]`` grey by OpenCV's weights (ITU-R BT.601)."""
    if not len(frames):
        return np.zeros(frames.shape[:3], np.uint8)
    return np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames])


def scale_flow(
    flow_px: np.ndarray | torch.Tensor, bits: Literal[8] | None = None
) -> np.ndarray | torch.Tensor:
    """Clamp displacements to +-20 pixels and scale them to [-1, 1] (kinetics-i3d).

    Args:
        flow_px: displacements in pixels.
        bits: 8 rounds them to 256 steps first, as feature sets do whose flow was stored in JPEG
            files. No step lies at zero: what does not move becomes 1/255.
    """
    scaled = flow_px.clip(-FLOW_BOUND_PX, FLOW_BOUND_PX) / FLOW_BOUND_PX
    if bits is None:
        return scaled
    steps = 2**bits - 1
    return ((scaled + 1) * (steps / 2)).round() * (2 / steps) - 1
