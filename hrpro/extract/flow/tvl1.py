"""TV-L1 optical flow, the flow that the two-stream networks were trained on.

Zach, Pock and Bischof, "A Duality Based Approach for Realtime TV-L1 Optical Flow" (DAGM 2007), in
the scheme and with the parameters of OpenCV's ``DualTVL1OpticalFlow``: a pyramid of five scales;
at each of them five times the second frame is warped by the flow so far (bicubic), the brightness
constancy is linearized there, and an alternating minimization (`solvers`) improves the flow
until it hardly changes any more. Which code does the two is chosen by the device: `solvers_for`.

Flow fields are kept as ``[N, H, 2, W]`` while they are computed: see `solvers`.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hrpro.devices import upload
from hrpro.extract.compute_threads import computing_pool
from hrpro.extract.faster import OrPlain
from hrpro.extract.flow.native import available, solve_natively
from hrpro.extract.flow.solvers import (
    Linearized,
    State,
    TvL1Settings,
    solve_in_batches,
    solve_in_place,
)
from hrpro.extract.flow.transfer import hand_over

_log = logging.getLogger(__name__)
_SLOWER = "TV-L1 flow: not with %s here, so more slowly (%s)"

MIN_SIDE_PX = 16
"""The pyramid ends before a side gets shorter than this."""

PAIRS_PER_TASK = 4
"""Pairs that one CPU thread works on at a time: more leave the cache, fewer cost Python's time."""

MAX_THREADS = 8
"""Without machine code, more would wait for Python, which lets only one of them start an operation
at a time."""

PAIRS_PER_GPU_CALL = 64

ALIKE_PX = 0.1
"""Mean distance of two flows of a pair that is still due to rounding."""


class Solver(NamedTuple):
    """How flow is improved from one warp to the next."""

    name: str
    linearize: Callable[[Tensor, Tensor, Tensor], Linearized]
    """As `linearize`."""
    minimize: Callable[[State, Linearized, TvL1Settings], None]
    """Improves the state in place, from one of `solvers`, `native` or `kernels`."""


class TvL1:
    """TV-L1 (Zach et al., DAGM 2007) on any device.

    On a CPU it works on as many groups of pairs at once as PyTorch has threads when the object is
    made, each in a thread of its own: spreading single operations over threads costs more than it
    gains on planes this small. On any other device the flow stays there.

    Args:
        device: where to compute.
        progress: there is nothing to download.
        settings: parameters of the method; OpenCV's by default.
        solver: by default the fastest for the device that works here; see `solvers_for`.
    """

    name = "tvl1"
    wants_rgb = False

    def __init__(
        self,
        device: torch.device | str = "cpu",
        *,
        progress: bool = True,
        settings: TvL1Settings | None = None,
        solver: Solver | None = None,
    ):
        self.settings = settings or TvL1Settings()
        self.device = torch.device(device)
        solvers = [solver] if solver else solvers_for(self.device)
        self._flow = _fastest(solvers, self.settings)
        if self.device.type == "cpu":
            self.chunk = 16
            self._num_threads = torch.get_num_threads()
            if solvers[0].minimize is solve_in_place:
                self._num_threads = min(MAX_THREADS, self._num_threads)
            self._pool = computing_pool(self._num_threads, name="tvl1")
        else:
            self.chunk = PAIRS_PER_GPU_CALL
            if self.device.type == "cuda":  # a pair for each; see `kernels`
                properties = torch.cuda.get_device_properties(self.device)
                self.chunk = properties.multi_processor_count
            self._lock = threading.Lock()

    def parameters(self) -> dict[str, Any]:
        """The settings."""
        return {key.rstrip("_"): value for key, value in asdict(self.settings).items()}

    def __call__(self, frames: np.ndarray) -> np.ndarray | Tensor:
        """See `FlowAlgorithm`."""
        num_pairs = len(frames) - 1
        if num_pairs < 1:
            return np.zeros((0, *frames.shape[1:], 2), np.float32)
        planes = upload(frames, self.device).float()
        if self.device.type == "cpu":
            size = min(PAIRS_PER_TASK, math.ceil(num_pairs / self._num_threads))
            groups = [planes[k : k + size + 1] for k in range(0, num_pairs, size)]
            return hand_over(torch.cat(list(self._pool.map(self._flow, groups))))
        with self._lock:
            fields = self._flow(planes)
        return hand_over(fields)  # meanwhile another thread has the next ones ready


def solvers_for(device: torch.device) -> list[Solver]:
    """What computes on a device, the fastest first. The last one needs nothing but PyTorch."""
    if device.type == "cpu":
        plain = Solver("torch", linearize, solve_in_place)
        return [Solver("numba", linearize, solve_natively), plain] if available() else [plain]
    plain = Solver("torch", linearize, solve_in_batches)
    if device.type != "cuda":
        return [plain]
    try:
        from hrpro.extract.flow import kernels
    except Exception as error:  # Triton is missing, or broken in whichever way
        _log.warning(_SLOWER, "triton", error)
        return [plain]
    return [Solver("triton", kernels.linearize, kernels.minimize), plain]


def _fastest(solvers: Sequence[Solver], settings: TvL1Settings) -> Callable[[Tensor], Tensor]:
    """`tvl1_flow` with the first of some solvers that works."""
    first, *others = solvers
    flow = partial(tvl1_flow, solver=first, settings=settings)
    if not others:
        return flow
    failed = partial(_log.warning, _SLOWER, first.name)
    # What a driver makes of a kernel is not ours to know.
    agree = alike if first.name == "triton" else None
    return OrPlain(_fastest(others, settings), flow, failed, agree)


def alike(some: Tensor, others: Tensor) -> bool:
    """Whether two flows of the same pairs, ``[N, H, W, 2]``, are the same up to rounding.

    Rounding alone moves TV-L1's flow where frames are far apart, so most pairs decide.
    """
    difference_px = (some - others).norm(dim=-1).mean(dim=(1, 2))
    return bool(difference_px.median() <= ALIKE_PX)


@torch.inference_mode()
def tvl1_flow(
    frames: Tensor,
    solver: Solver,
    settings: TvL1Settings,
) -> Tensor:
    """Flow of each frame to the next.

    Args:
        frames: ``[N + 1, H, W]`` float32 grey, 0 to 255.
        solver: see `solvers_for`.
        settings: parameters of the method.

    Returns:
        ``[N, H, W, 2]`` displacements in pixels.
    """
    flow: Tensor | None = None
    for level in reversed(_pyramid(frames, settings)):
        here, there = level[:-1], level[1:]
        num_pairs, height, width = here.shape
        if flow is None:
            flow = here.new_zeros(num_pairs, height, 2, width)
        else:
            flow = _interpolate(flow, 1, height, flow.shape[1] / height)
            flow = _interpolate(flow, 3, width, flow.shape[3] / width)
            flow.div_(settings.scale_step)
        target = for_sampling(there)
        state = State(flow, torch.zeros_like(flow), torch.zeros_like(flow))
        for _ in range(settings.warps):
            solver.minimize(state, solver.linearize(here, target, state.flow), settings)
        flow = state.flow
    assert flow is not None  # there is at least one scale
    return flow.transpose(2, 3).contiguous()


def _pyramid(frames: Tensor, settings: TvL1Settings) -> list[Tensor]:
    """The frames at each scale, the finest first."""
    levels = [frames]
    scale = 1 / settings.scale_step
    while len(levels) < settings.scales:
        height, width = (round(side * settings.scale_step) for side in levels[-1].shape[1:])
        if min(height, width) < MIN_SIDE_PX:
            break
        shrunk = _interpolate(levels[-1], 1, height, scale)
        levels.append(_interpolate(shrunk, 2, width, scale))
    return levels


def _interpolate(planes: Tensor, dim: int, size: int, scale: float) -> Tensor:
    """Linear interpolation along one axis, with pixels as areas and the border repeated.

    Args:
        planes: what to resize.
        dim: its axis.
        size: new length of the axis.
        scale: old pixels per new pixel. Not always old length / new length: OpenCV keeps 1 / 0.8
            where the new length had to be rounded.
    """
    left, right, weights = _taps(planes.shape[dim], size, scale, planes.dtype, planes.device)
    weights = weights.view(-1, *[1] * (planes.dim() - dim - 1))
    return torch.lerp(planes.index_select(dim, left), planes.index_select(dim, right), weights)


@lru_cache(maxsize=256)
def _taps(
    old_size: int, size: int, scale: float, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Both neighbours of each new pixel, and the weight of the right one; they stay on the device.

    The frames of a video have few sizes, and a GPU would wait for these small tensors each time.
    """
    last = old_size - 1
    positions = (torch.arange(size, dtype=torch.float64) + 0.5) * scale - 0.5
    positions = positions.clamp_(0, last)
    left = positions.floor()
    weights = (positions - left).to(dtype).to(device)
    left = left.long().to(device)
    return left, (left + 1).clamp_(max=last), weights


def _central_gradient(planes: Tensor) -> tuple[Tensor, Tensor]:
    """Derivatives along x and y of ``[N, H, W]``; half a one-sided difference at the border."""
    padded = F.pad(planes, (1, 1, 1, 1), mode="replicate")
    along_x = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2
    along_y = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / 2
    return along_x, along_y


def for_sampling(frames: Tensor) -> Tensor:
    """Frames ``[N, H, W]`` and their derivatives along x and y, ``[N, 3, ...]``.

    Zeros are added behind the last two axes up to a power of two plus one. `grid_sample` wants
    positions from -1 to 1. Over such a side whole pixels survive the conversion without an error,
    so that what does not move is not moved by rounding.
    """
    planes = torch.stack([frames, *_central_gradient(frames)], dim=1)
    height, width = (1 << (side - 1).bit_length() for side in planes.shape[-2:])
    return F.pad(planes, (0, width + 1 - planes.shape[-1], 0, height + 1 - planes.shape[-2]))


def linearize(here: Tensor, target: Tensor, flow: Tensor) -> Linearized:
    """Brightness constancy, linearized at the flow so far.

    Args:
        here: first frames, ``[N, H, W]``.
        target: second frames; see `for_sampling`.
        flow: ``[N, H, 2, W]``.
    """
    height, width = here.shape[1:]
    x = torch.arange(width, device=here.device, dtype=here.dtype)
    y = torch.arange(height, device=here.device, dtype=here.dtype)[:, None]
    rows, columns = target.shape[2:]
    # Times numbers: tensors of them would have to be brought to a GPU each time.
    across = (x + flow[:, :, 0]).mul_(2 / (columns - 1))
    down = (y + flow[:, :, 1]).mul_(2 / (rows - 1))
    grid = torch.stack([across, down], dim=-1).sub_(1)  # [N, H, W, 2] from -1 to 1
    warped = F.grid_sample(target, grid, "bicubic", "zeros", align_corners=True)
    gradient = warped[:, 1:].transpose(1, 2).contiguous()  # [N, H, 2, W]
    residual = warped[:, 0] - (gradient * flow).sum(2) - here
    square = (gradient * gradient).sum(2)
    flat = square <= torch.finfo(square.dtype).eps  # no gradient, no information
    factor = square.reciprocal_().neg_().masked_fill_(flat, 0)
    return Linearized(gradient, residual * factor, gradient * factor[:, :, None])
