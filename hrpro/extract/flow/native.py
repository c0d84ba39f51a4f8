"""The minimization of TV-L1 in machine code, compiled by Numba at the first call.

One pass over the flow and one over its dual variable make an iteration, where PyTorch makes
seventeen; and Python's lock is released all the while, so that threads do not wait for each other.
Numba is optional: see `available`.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from hrpro.extract.flow.solvers import Linearized, State, TvL1Settings, median_in_place

# Sums may be reordered; infinities and NaN are not assumed away.
_FAST_MATH = {"contract", "arcp", "nsz", "reassoc"}


def available() -> bool:
    """Whether Numba is installed."""
    return find_spec("numba") is not None


def solve_natively(state: State, data: Linearized, settings: TvL1Settings) -> None:
    """Minimize on a CPU, one pair after the other; see `hrpro.extract.flow.solvers`."""
    iterate = _compiled()
    _, height, _, width = state.flow.shape
    numbers = np.array(
        [
            settings.lambda_ * settings.theta,
            settings.tau,
            settings.tau / settings.theta,
            settings.epsilon**2 * height * width,
        ],
        np.float32,
    )
    for pair, flow in enumerate(state.flow):
        planes = [part[pair].numpy() for part in (*state, *data)]
        for _ in range(settings.outer):
            median_in_place(flow[None])
            if iterate(*planes, *numbers, settings.inner):
                break


@cache
def _compiled() -> Any:
    import numba

    options: dict[str, Any] = {"nogil": True, "fastmath": _FAST_MATH, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(_iterate)
    except RuntimeError:  # there is no folder that it may keep the machine code in
        return numba.njit(**options)(_iterate)


def _iterate(  # type: ignore[no-untyped-def]
    flow, dual_x, dual_y, gradient, residual, slope, bound, tau, ratio, limit, count
):
    """Make up to `count` iterations in place; return whether the flow has come to rest.

    The planes are those of one pair, ``[H, 2, W]`` (``residual``: ``[H, W]``) float32. The flow
    rests when the squares of its changes add up to `limit` or less.
    """
    height, _, width = flow.shape
    step, nothing = np.empty(width, np.float32), np.zeros((2, width), np.float32)
    one = np.float32(1)
    for _ in range(count):
        total = np.float32(0)
        for y in range(height):
            above = dual_y[y - 1] if y > 0 else nothing
            for x in range(width):
                rho = residual[y, x]
                rho += slope[y, 0, x] * flow[y, 0, x] + slope[y, 1, x] * flow[y, 1, x]
                step[x] = min(max(rho, -bound), bound)
            for k in range(2):  # the ends of a line by themselves: no machine is fast with ifs
                change = step[0] * gradient[y, k, 0] + dual_x[y, k, 0] + dual_y[y, k, 0]
                change -= above[k, 0]
                flow[y, k, 0] += change
                total += change * change
                for x in range(1, width):
                    change = step[x] * gradient[y, k, x] + dual_x[y, k, x] + dual_y[y, k, x]
                    change -= dual_x[y, k, x - 1] + above[k, x]
                    flow[y, k, x] += change
                    total += change * change
        for y in range(height):
            below = flow[min(y + 1, height - 1)]
            for k in range(2):
                for x in range(width - 1):
                    grad_x = flow[y, k, x + 1] - flow[y, k, x]
                    grad_y = below[k, x] - flow[y, k, x]
                    norm = one / (one + ratio * np.sqrt(grad_x * grad_x + grad_y * grad_y))
                    dual_x[y, k, x] = (dual_x[y, k, x] + tau * grad_x) * norm
                    dual_y[y, k, x] = (dual_y[y, k, x] + tau * grad_y) * norm
                grad_y = below[k, width - 1] - flow[y, k, width - 1]
                dual_y[y, k, width - 1] += tau * grad_y
                dual_y[y, k, width - 1] /= one + ratio * abs(grad_y)
        if total <= limit:
            return True
    return False
