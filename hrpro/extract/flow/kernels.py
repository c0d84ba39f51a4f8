"""The steps of TV-L1 flow as two kernels in Triton, for GPUs.

`linearize` works on all pixels of all pairs at once. In `minimize` each pair has a multiprocessor
to itself from the first iteration to the last, and ends by itself when its flow has come to rest:
no pair waits for another, and nothing waits for the host.

Iterations follow each other down the rows like waves: each is three rows behind the one before.
So a row is fetched from memory once for `WAVES` iterations, and the others find it in the cache. At
any moment (rows modulo 3, the flow of a wave being at row 0)

- flow is written in rows 0, which needs the dual variable in rows 0 and 2;
- the dual variable is written in rows 1, two behind, which needs flow in rows 1 and 2.

Nothing that is written is read by another wave in the same moment, so one barrier for each is all
that is needed. The first wave leaves what it reads as it was and writes to other memory, where the
others go on in place. So if the flow came to rest before the last one, fewer can be made instead.

Importing this fails where Triton is missing.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from hrpro.extract.flow.solvers import Linearized, State, TvL1Settings

WAVES = 4
"""Iterations at once: a power of two."""
_COLUMNS = (128, 256)
"""Fewest and most pixels of a row at once: powers of two."""
_PIXELS = 256
"""That one program of `linearize` works on."""
_THREADS_PER_WARP = 32
_FLAT = torch.finfo(torch.float32).eps


def linearize(here: Tensor, target: Tensor, flow: Tensor) -> Linearized:
    """See `hrpro.extract.flow.tvl1.linearize`."""
    num_pairs, height, width = here.shape
    data = Linearized(torch.empty_like(flow), torch.empty_like(here), torch.empty_like(flow))
    grid = (triton.cdiv(height * width, _PIXELS), num_pairs)
    with torch.cuda.device_of(flow):
        _linearize[grid](
            here, target, flow, *data,
            height, width, *target.shape[2:], _FLAT, PIXELS=_PIXELS,
        )  # fmt: skip
    return data


def minimize(state: State, data: Linearized, settings: TvL1Settings) -> None:
    """See `hrpro.extract.flow.solvers`."""
    num_pairs, height, _, width = state.flow.shape
    fewest, most = _COLUMNS
    columns = max(fewest, min(most, triton.next_power_of_2(width)))
    with torch.cuda.device_of(state.flow):
        _minimize[(num_pairs,)](
            *state, *(torch.empty_like(part) for part in state), *data, height, width,
            settings.lambda_ * settings.theta, settings.tau, settings.tau / settings.theta,
            settings.epsilon**2 * height * width, settings.inner, settings.outer,
            WAVES=WAVES, COLUMNS=columns,
            num_warps=WAVES * columns // _THREADS_PER_WARP,  # a pixel for each thread
            num_stages=1,
        )  # fmt: skip


@triton.jit(do_not_specialize=["height", "width", "rows", "columns"])
def _linearize(
    here, target, flow, gradient, residual, slope,
    height, width, rows, columns, flat, PIXELS: tl.constexpr,
):  # fmt: skip
    """Sample the second frame and its derivatives (bicubic, as PyTorch and OpenCV do)."""
    pair = tl.program_id(1).to(tl.int64)
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    inside = pixel < height * width
    y, x = pixel // width, pixel % width
    at = pair * height * width + pixel
    along_u = 2 * pair * height * width + 2 * y * width + x
    along_v = along_u + width
    u = tl.load(flow + along_u, inside, 0.0)
    v = tl.load(flow + along_v, inside, 0.0)

    left, top = tl.floor(x + u), tl.floor(y + v)
    beyond_x, beyond_y = x + u - left, y + v - top
    value = tl.zeros([PIXELS], tl.float32)
    slope_x = tl.zeros([PIXELS], tl.float32)
    slope_y = tl.zeros([PIXELS], tl.float32)
    target += 3 * pair * rows * columns
    for down in tl.static_range(-1, 3):
        row = top.to(tl.int32) + down
        for right in tl.static_range(-1, 3):
            column = left.to(tl.int32) + right
            seen = inside & (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
            weight = _cubic(tl.abs(beyond_x - right)) * _cubic(tl.abs(beyond_y - down))
            tap = target + row * columns + column
            value += weight * tl.load(tap, seen, 0.0)
            slope_x += weight * tl.load(tap + rows * columns, seen, 0.0)
            slope_y += weight * tl.load(tap + 2 * rows * columns, seen, 0.0)

    square = slope_x * slope_x + slope_y * slope_y
    factor = tl.where(square > flat, -1 / square, 0.0)  # no gradient, no information
    unexplained = value - slope_x * u - slope_y * v - tl.load(here + at, inside, 0.0)
    tl.store(residual + at, unexplained * factor, inside)
    tl.store(gradient + along_u, slope_x, inside)
    tl.store(gradient + along_v, slope_y, inside)
    tl.store(slope + along_u, slope_x * factor, inside)
    tl.store(slope + along_v, slope_y * factor, inside)


@triton.jit
def _cubic(distance):
    """Weight of a tap so many pixels away, up to 2."""
    near = (1.25 * distance - 2.25) * distance * distance + 1
    far = ((-0.75 * distance + 3.75) * distance - 6) * distance + 3
    return tl.where(distance <= 1, near, far)


@triton.jit(do_not_specialize=["height", "width", "inner", "outer"])
def _minimize(
    flow, dual_x, dual_y, next_flow, next_dual_x, next_dual_y, gradient, residual, slope,
    height, width, bound, tau, ratio, limit, inner, outer,
    WAVES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Minimize for one pair."""
    pixels = tl.program_id(0).to(tl.int64) * height * width
    flow += 2 * pixels
    dual_x += 2 * pixels
    dual_y += 2 * pixels
    next_flow += 2 * pixels
    next_dual_x += 2 * pixels
    next_dual_y += 2 * pixels
    gradient += 2 * pixels
    residual += pixels
    slope += 2 * pixels
    result, result_x, result_y = flow, dual_x, dual_y
    moves = inner > 0
    num_medians = 0
    while (num_medians < outer) & moves:
        _median(flow, next_flow, height, width, WAVES, COLUMNS)
        tl.debug_barrier()
        flow, next_flow = next_flow, flow
        made = 0
        while (made < inner) & moves:
            count = tl.minimum(inner - made, WAVES)
            again = count > 0
            while again:
                rest = _iterate(
                    flow, dual_x, dual_y, next_flow, next_dual_x, next_dual_y,
                    gradient, residual, slope, height, width, bound, tau, ratio, limit, count,
                    WAVES, COLUMNS,
                )  # fmt: skip
                moves = rest > count
                again = rest < count
                count = tl.minimum(rest, count)
            made += count
            flow, next_flow = next_flow, flow
            dual_x, next_dual_x = next_dual_x, dual_x
            dual_y, next_dual_y = next_dual_y, dual_y
        num_medians += 1
    size = 2 * height * width
    _copy(flow, result, size, WAVES * COLUMNS)
    _copy(dual_x, result_x, size, WAVES * COLUMNS)
    _copy(dual_y, result_y, size, WAVES * COLUMNS)


@triton.jit
def _iterate(
    flow, dual_x, dual_y, next_flow, next_dual_x, next_dual_y, gradient, residual, slope,
    height, width, bound, tau, ratio, limit, count, WAVES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Make `count` iterations; return after how many the flow was at rest, or a larger number.

    It rests when the squares of its changes add up to `limit` or less.
    """
    waves = tl.arange(0, WAVES)
    wave = waves[:, None]
    first = wave == 0
    old_flow = tl.where(first, flow, next_flow)
    old_dual_x = tl.where(first, dual_x, next_dual_x)
    old_dual_y = tl.where(first, dual_y, next_dual_y)
    changes = tl.zeros([WAVES, COLUMNS], tl.float32)
    for moment in range(0, height + 2 + 3 * (count - 1)):
        y = moment - 3 * wave
        for left in range(0, width, COLUMNS):
            x = left + tl.arange(0, COLUMNS)[None, :]
            under_way = (wave < count) & (x < width)
            changes += _move(
                old_flow, old_dual_x, old_dual_y, next_flow, gradient, residual, slope,
                width, y, x, under_way & (y >= 0) & (y < height), bound,
            )  # fmt: skip
            _follow(
                next_flow, old_dual_x, old_dual_y, next_dual_x, next_dual_y, height, width,
                y - 2, x, under_way & (y >= 2) & (y < height + 2), tau, ratio,
            )  # fmt: skip
        tl.debug_barrier()
    rests = (tl.sum(changes, 1) <= limit) & (waves < count)
    return tl.min(tl.where(rests, waves + 1, WAVES + 1), 0)


@triton.jit
def _move(
    flow, dual_x, dual_y, next_flow, gradient, residual, slope, width, y, x, inside, bound
):  # fmt: skip
    """Update the flow of some pixels; return its squared changes."""
    at = 2 * y * width + x
    values = (tl.load(flow + at, inside, 0.0), tl.load(flow + at + width, inside, 0.0))
    step = tl.load(residual + y * width + x, inside, 0.0)
    step += tl.load(slope + at, inside, 0.0) * values[0]
    step += tl.load(slope + at + width, inside, 0.0) * values[1]
    step = tl.minimum(tl.maximum(step, -bound), bound)
    squares = tl.zeros_like(step)
    for plane in tl.static_range(2):
        change = step * tl.load(gradient + at, inside, 0.0)
        change += tl.load(dual_x + at, inside, 0.0) + tl.load(dual_y + at, inside, 0.0)
        change -= tl.load(dual_x + at - 1, inside & (x > 0), 0.0)
        change -= tl.load(dual_y + at - 2 * width, inside & (y > 0), 0.0)
        tl.store(next_flow + at, values[plane] + change, inside)
        squares += change * change
        at += width
    return squares


@triton.jit
def _follow(
    flow, dual_x, dual_y, next_dual_x, next_dual_y, height, width, y, x, inside, tau, ratio
):  # fmt: skip
    """Update the dual variable of some pixels."""
    at = 2 * y * width + x
    for _ in tl.static_range(2):
        here = tl.load(flow + at, inside, 0.0)
        grad_x = tl.load(flow + at + 1, inside & (x + 1 < width), here) - here
        grad_y = tl.load(flow + at + 2 * width, inside & (y + 1 < height), here) - here
        norm = 1 + ratio * tl.sqrt(grad_x * grad_x + grad_y * grad_y)
        along_x = tl.load(dual_x + at, inside, 0.0) + tau * grad_x
        along_y = tl.load(dual_y + at, inside, 0.0) + tau * grad_y
        tl.store(next_dual_x + at, along_x / norm, inside)
        tl.store(next_dual_y + at, along_y / norm, inside)
        at += width


@triton.jit
def _median(flow, next_flow, height, width, LINES: tl.constexpr, COLUMNS: tl.constexpr):
    """5 x 5 median of u and v, the border repeated; see `solvers.median5` for why this is it."""
    for first in range(0, 2 * height, LINES):
        line = first + tl.arange(0, LINES)[:, None]
        y, plane = line // 2, line % 2
        for left in range(0, width, COLUMNS):
            x = left + tl.arange(0, COLUMNS)[None, :]
            inside = (y < height) & (x < width)
            window = ()
            for down in tl.static_range(-2, 3):
                row = tl.minimum(tl.maximum(y + down, 0), height - 1)
                for right in tl.static_range(-2, 3):
                    column = tl.minimum(tl.maximum(x + right, 0), width - 1)
                    tap = flow + (2 * row + plane) * width + column
                    window += (tl.load(tap, inside, 0.0),)  # type: ignore[assignment]
            for k in tl.static_range(5):
                window = _sort(window, k, 5)
            for k in tl.static_range(5):
                window = _sort(window, 5 * k, 1)
            kept = window[3:5] + window[7:10] + window[11:14] + window[15:18] + window[20:22]
            tl.store(next_flow + line * width + x, _middle(kept), inside)


@triton.jit
def _sort(values, first: tl.constexpr, step: tl.constexpr):
    """Sort five of the values, `step` apart, by odd-even transposition."""
    for turn in tl.static_range(5):
        for k in tl.static_range(turn % 2, 4, 2):
            values = _exchange(values, first + k * step, first + (k + 1) * step)
    return values


@triton.jit
def _middle(values):
    """Median of 13 values: of any 8, the smallest and the largest cannot be it, and so on."""
    kept, rest = values[:8], values[8:]
    for dropped in tl.static_range(6):
        for k in tl.static_range(7 - dropped):
            kept = _exchange(kept, k, 7 - dropped)
        for k in tl.static_range(1, 7 - dropped):
            kept = _exchange(kept, 0, k)
        kept = kept[1 : 7 - dropped] + rest[dropped : dropped + 1]
    return kept[0]


@triton.jit
def _exchange(values, low: tl.constexpr, high: tl.constexpr):
    smaller = tl.minimum(values[low], values[high])
    larger = tl.maximum(values[low], values[high])
    before, between, after = values[:low], values[low + 1 : high], values[high + 1 :]
    return before + (smaller,) + between + (larger,) + after  # noqa: RUF005, Triton knows no *


@triton.jit
def _copy(source, target, size, AT_ONCE: tl.constexpr):
    for first in range(0, size, AT_ONCE):
        at = first + tl.arange(0, AT_ONCE)
        tl.store(target + at, tl.load(source + at, at < size), at < size)
