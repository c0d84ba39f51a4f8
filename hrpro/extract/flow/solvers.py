"""The minimization at the heart of TV-L1 flow in PyTorch, for a CPU and for a GPU.

Between two warps the flow u and its dual variable p are updated in turns (Zach et al., DAGM 2007,
section 2.2; names as there):

- rho, the brightness that the flow leaves unexplained, gives a step along the image gradient,
  clamped to lambda * theta times that gradient;
- theta times the divergence of p pulls the flow towards a smooth one;
- p follows the gradient of the flow: p = (p + tau / theta * grad u) / (1 + tau / theta * |grad u|).

Two things are folded into the constants here. rho comes divided by minus the squared image
gradient, so that the three cases of the thresholding are a single clamp; and theta * p is stored
instead of p.

Planes lie as ``[N, H, 2, W]``, the rows of u and v in turns. As the x part of p is zero in the last
column and its y part in the last row, differences between neighbours along x and y are then
differences of the flat array with itself shifted by 1 and by 2 W: the fastest kind of operation
PyTorch has on a CPU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import torch
import torch.nn.functional as F
from torch import Tensor

MEDIAN_SIZE_PX = 5
ITERATIONS_PER_LOOK = 5
"""On a GPU: iterations between two looks at whether all pairs have converged."""
PAIRS_PER_MEDIAN = 16
"""On a GPU: it takes the memory of some fifty planes for each."""


@dataclass(frozen=True)
class TvL1Settings:
    """The parameters of the method; the defaults are those of OpenCV."""

    tau: float = 0.25
    """Time step of the dual variables."""
    lambda_: float = 0.15
    """Weight of brightness constancy against smoothness."""
    theta: float = 0.3
    """How tightly the smooth flow and the one that explains the brightness are coupled."""
    scales: int = 5
    scale_step: float = 0.8
    warps: int = 5
    """Linearizations per scale."""
    epsilon: float = 0.01
    """A warp ends when the root mean square change of the flow is this many pixels or less."""
    inner: int = 30
    """Iterations between two median filters."""
    outer: int = 10
    """Median filters per warp, at most."""


class State(NamedTuple):
    """What a solver improves in place. All are ``[N, H, 2, W]``."""

    flow: Tensor
    dual_x: Tensor
    """theta * p along x; zero in the last column."""
    dual_y: Tensor
    """theta * p along y; zero in the last row."""


class Linearized(NamedTuple):
    """Brightness constancy around one warp."""

    gradient: Tensor
    """Image gradient of the warped second frame, ``[N, H, 2, W]``."""
    residual: Tensor
    """The part of rho that does not depend on the flow, times -1 / |gradient|^2, ``[N, H, W]``."""
    slope: Tensor
    """The gradient times -1 / |gradient|^2, ``[N, H, 2, W]``."""


def solve_in_place(state: State, data: Linearized, settings: TvL1Settings) -> None:
    """Minimize on a CPU: in place, with buffers that are made once.

    A pair is done when its flow changes by no more than epsilon. What is computed for it until the
    last pair is done does not count.
    """
    flow, dual_x, dual_y = state
    num_pairs, height, _, width = flow.shape
    row = 2 * width
    bound = settings.lambda_ * settings.theta
    ratio = settings.tau / settings.theta
    limit = settings.epsilon * math.sqrt(height * width)
    one = torch.ones(())

    step = torch.empty_like(data.residual)
    change, grad_x, grad_y, norm = (torch.empty_like(flow) for _ in range(4))
    flow_u, flow_v = flow[:, :, 0], flow[:, :, 1]
    slope_u, slope_v = data.slope[:, :, 0], data.slope[:, :, 1]
    flat_flow, flat_change = flow.view(-1), change.view(-1)
    flat_grad_x, flat_grad_y = grad_x.view(-1)[:-1], grad_y.view(-1)[:-row]
    left_of, above = dual_x.view(-1)[:-1], dual_y.view(-1)[:-row]
    last_column, last_row = grad_x[..., -1], grad_y[:, -1]

    done: dict[int, State] = {}
    for _ in range(settings.outer):
        median_in_place(flow)
        for _ in range(settings.inner):
            torch.addcmul(data.residual, slope_u, flow_u, out=step)
            step.addcmul_(slope_v, flow_v).clamp_(-bound, bound)
            torch.mul(step[:, :, None], data.gradient, out=change)
            change.add_(dual_x).add_(dual_y)
            flat_change[1:].sub_(left_of)
            flat_change[row:].sub_(above)
            flow.add_(change)

            torch.sub(flat_flow[1:], flat_flow[:-1], out=flat_grad_x)
            torch.sub(flat_flow[row:], flat_flow[:-row], out=flat_grad_y)
            last_column.zero_()
            last_row.zero_()
            torch.mul(grad_x, grad_x, out=norm).addcmul_(grad_y, grad_y).sqrt_()
            torch.add(one, norm, alpha=ratio, out=norm)
            dual_x.add_(grad_x, alpha=settings.tau).div_(norm)
            dual_y.add_(grad_y, alpha=settings.tau).div_(norm)

            changes = torch.linalg.vector_norm(change.view(num_pairs, -1), dim=1)
            for pair, size in enumerate(changes.tolist()):
                if size <= limit and pair not in done:
                    done[pair] = State(*(part[pair].clone() for part in state))
            if len(done) == num_pairs:
                break
        if len(done) == num_pairs:
            break
    for pair, result in done.items():
        for part, value in zip(state, result, strict=True):
            part[pair] = value


def median_in_place(flow: Tensor) -> None:
    """5 x 5 median of each plane of ``[N, H, 2, W]``, by OpenCV."""
    for planes in flow.numpy():  # [H, 2, W]
        for plane in (planes[:, 0], planes[:, 1]):
            plane[:] = cv2.medianBlur(plane, MEDIAN_SIZE_PX)


def solve_in_batches(state: State, data: Linearized, settings: TvL1Settings) -> None:
    """Minimize on a GPU: all pairs at once, with few and large operations.

    Which pairs are done is decided on the device, after every iteration; only every so often the
    host asks whether it may stop.
    """
    num_pairs, height, _, width = state.flow.shape
    active = torch.ones(num_pairs, 1, 1, 1, dtype=torch.bool, device=state.flow.device)
    limit = settings.epsilon**2 * height * width
    current = state
    for _ in range(settings.outer):
        groups = current.flow.transpose(1, 2).split(PAIRS_PER_MEDIAN)
        smooth = torch.cat([median5(planes) for planes in groups]).transpose(1, 2)
        current = current._replace(flow=torch.where(active, smooth, current.flow))
        for made in range(1, settings.inner + 1):
            current, active = _iterate(current, active, data, settings, limit)
            if made % ITERATIONS_PER_LOOK == 0 and not active.any():
                break
        if not active.any():
            break
    for part, value in zip(state, current, strict=True):
        part.copy_(value)


def _iterate(
    state: State, active: Tensor, data: Linearized, settings: TvL1Settings, limit: float
) -> tuple[State, Tensor]:
    """Make an iteration; pairs that are not `active`, ``[N, 1, 1, 1]`` bool, keep their values.

    A pair is done when the squared changes of its flow add up to `limit` or less.
    """
    flow, dual_x, dual_y = state
    tau, bound = settings.tau, settings.lambda_ * settings.theta
    step = (data.residual + (data.slope * flow).sum(2)).clamp(-bound, bound)
    change = step[:, :, None] * data.gradient + dual_x + dual_y
    change = change - F.pad(dual_x, (1, -1)) - F.pad(dual_y, (0, 0, 0, 0, 1, -1))
    moved = flow + change
    grad_x = F.pad(moved[..., 1:] - moved[..., :-1], (0, 1))
    grad_y = F.pad(moved[:, 1:] - moved[:, :-1], (0, 0, 0, 0, 0, 1))
    norm = 1 + (tau / settings.theta) * (grad_x * grad_x + grad_y * grad_y).sqrt()
    after = State(moved, (dual_x + tau * grad_x) / norm, (dual_y + tau * grad_y) / norm)
    state = State(*(torch.where(active, *both) for both in zip(after, state, strict=True)))
    return state, active & ((change * change).sum((1, 2, 3), keepdim=True) > limit)


def median5(planes: Tensor) -> Tensor:
    """5 x 5 median of ``[..., C, H, W]``, the border repeated, by minima and maxima only.

    Sort the columns of the window, then the rows of what comes out: the value at (i, j) is then not
    smaller than (i + 1)(j + 1) - 1 others and not larger than (5 - i)(5 - j) - 1. The median of 25
    has 12 on either side, which leaves 13 candidates, among which it is the median again.
    """
    height, width = planes.shape[-2:]
    padded = F.pad(planes, (2, 2, 2, 2), mode="replicate")
    columns = _sort([padded[..., k : k + height, :] for k in range(5)])
    rows = [_sort([part[..., k : k + width] for k in range(5)]) for part in columns]
    middle = [
        rows[i][j]
        for i in range(5)
        for j in range(5)
        if (i + 1) * (j + 1) <= 13 and (5 - i) * (5 - j) <= 13
    ]
    return _median(middle)


def _exchange(values: list[Tensor], low: int, high: int) -> None:
    values[low], values[high] = (
        torch.minimum(values[low], values[high]),
        torch.maximum(values[low], values[high]),
    )


def _sort(values: list[Tensor]) -> list[Tensor]:
    """Sort planes elementwise, by odd-even transposition."""
    values = list(values)
    for turn in range(len(values)):
        for k in range(turn % 2, len(values) - 1, 2):
            _exchange(values, k, k + 1)
    return values


def _median(values: list[Tensor]) -> Tensor:
    """Median of an odd number of planes, elementwise.

    Of any half plus two of them, the smallest and the largest cannot be the median: both are
    dropped, the next one is taken in.
    """
    size = len(values) // 2 + 2
    kept, rest = list(values[:size]), list(values[size:])
    while len(kept) > 1:
        last = len(kept) - 1
        for k in range(last):
            _exchange(kept, k, last)  # the largest to the end
        for k in range(last - 1, 0, -1):
            _exchange(kept, 0, k)  # the smallest to the front
        kept = kept[1:-1]
        if rest:
            kept.append(rest.pop())
    return kept[0]
