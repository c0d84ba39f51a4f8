"""What solvers of TV-L1 make of small planes. Run by itself, what the kernels in Triton make.

Triton's interpreter has to be chosen before Triton is imported, so it needs a process of its own:
`TRITON_INTERPRET=1 python interpreted_kernels.py RESULTS.safetensors`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from hrpro.extract.flow import tvl1
from hrpro.extract.flow.solvers import State, TvL1Settings

CASES = {
    "without rest": ((1, 6, 9), TvL1Settings(inner=5, outer=2, epsilon=0)),
    "at rest after 5, 3, 1": ((3, 3, 5), TvL1Settings(inner=6, outer=2, epsilon=0.25)),
    "wide": ((1, 2, 259), TvL1Settings(inner=5, outer=1, epsilon=0)),  # more than is taken at once
    "a pixel": ((1, 1, 1), TvL1Settings(inner=2, outer=1, epsilon=0)),
}
"""Pairs, height and width, and settings."""


def results(linearize: Callable, minimize: Callable) -> dict[str, Tensor]:
    """Linearized data, and states after the minimization, by case and part."""
    found = {}
    for name, (size, settings) in CASES.items():
        here, target, flow = planes(*size)
        data = tvl1.linearize(here, target, flow)
        state = State(flow.clone(), torch.zeros_like(flow), torch.zeros_like(flow))
        minimize(state, data, settings)
        parts = {**linearize(here, target, flow)._asdict(), **state._asdict()}
        found.update({f"{name}, {part}": tensor for part, tensor in parts.items()})
    return found


def planes(num_pairs: int, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """First frames, second frames with derivatives, and flow, some of it out of the picture."""
    torch.manual_seed(0)
    frames = F.avg_pool2d(255 * torch.rand(num_pairs + 1, height + 2, width + 2), 3, stride=1)
    flow = 2 * torch.randn(num_pairs, height, 2, width)
    flow[0, 0, 0, 0] = 1e4
    target = tvl1.for_sampling(frames[1:])
    return frames[:-1], target, flow


if __name__ == "__main__":
    from hrpro.extract.flow import kernels

    save_file(results(kernels.linearize, kernels.minimize), sys.argv[1])
