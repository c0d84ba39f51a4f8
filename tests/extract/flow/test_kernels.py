"""The kernels of TV-L1: in Triton's interpreter, in its compiler, and on a GPU."""

from __future__ import annotations

import os
import subprocess
import sys

import interpreted_kernels as cases
import numpy as np
import pytest
import torch

from hrpro.extract.flow.solvers import Linearized, State, TvL1Settings, solve_in_place
from hrpro.extract.flow.tvl1 import TvL1, linearize, solvers_for

pytest.importorskip("triton", reason="needs Triton, which PyTorch brings on Linux")


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory) -> dict[str, torch.Tensor]:
    """What the kernels give, on the CPU."""
    from safetensors.torch import load_file

    path = tmp_path_factory.mktemp("kernels") / "results.safetensors"
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    subprocess.run([sys.executable, cases.__file__, path], env=environment, check=True)
    return load_file(path)


@pytest.fixture(scope="module")
def plain() -> dict[str, torch.Tensor]:
    """What they should give."""
    return cases.results(linearize, solve_in_place)


@pytest.mark.parametrize("case", cases.CASES)
def test_frames_are_linearized_as_by_pytorch(interpreted, plain, case):
    found, expected = (
        Linearized(*(each[f"{case}, {part}"] for part in Linearized._fields))
        for each in (interpreted, plain)
    )
    torch.testing.assert_close(found.gradient, expected.gradient, atol=1e-2, rtol=0)
    steep = (expected.gradient**2).sum(2) > 1  # elsewhere hardly a digit of them means anything
    residuals = [data.residual[steep] for data in (found, expected)]
    torch.testing.assert_close(*residuals, atol=1e-3, rtol=1e-3)
    slopes = [data.slope.movedim(2, -1)[steep] for data in (found, expected)]
    torch.testing.assert_close(*slopes, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("case", cases.CASES)
@pytest.mark.parametrize("part", State._fields)
def test_flow_is_minimized_as_by_pytorch(interpreted, plain, case, part):
    key = f"{case}, {part}"
    torch.testing.assert_close(interpreted[key], plain[key], atol=1e-5, rtol=1e-5)


def test_kernels_can_be_built_for_a_gpu_that_is_not_here(tmp_path, monkeypatch):
    """The interpreter takes more than the compiler does."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from hrpro.extract.flow import kernels

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    constants = {"PIXELS": 256, "WAVES": kernels.WAVES, "COLUMNS": 256}
    integers = {"height", "width", "rows", "columns", "inner", "outer"}
    numbers = {"bound", "tau", "ratio", "limit", "flat"}
    for kernel, num_warps in ((kernels._linearize, 4), (kernels._minimize, 32)):
        types = {
            name: "constexpr" if name in constants
            else "i32" if name in integers
            else "fp32" if name in numbers
            else "*fp32"
            for name in kernel.arg_names
        }  # fmt: skip
        values = {name: constants[name] for name in kernel.arg_names if name in constants}
        target = GPUTarget("cuda", 90, 32)
        options = {"num_warps": num_warps, "num_stages": 1}
        built = triton.compile(ASTSource(kernel, types, values), target=target, options=options)
        assert built.asm["cubin"]


def test_a_gpu_finds_with_kernels_what_it_finds_without(cuda):
    rng = np.random.default_rng(0)
    large = np.repeat(np.repeat(rng.integers(0, 255, (40, 50), np.uint8), 4, 0), 4, 1)
    frames = np.stack([large[2 * k : 2 * k + 97, k : k + 131] for k in range(6)])
    triton, torch_alone = solvers_for(torch.device(cuda))
    assert (triton.name, torch_alone.name) == ("triton", "torch")
    exact = TvL1Settings(scales=2, warps=2, outer=1, inner=7, epsilon=0)
    for settings, most in ((exact, 5e-3), (TvL1Settings(), 0.05)):
        found, expected = (
            torch.as_tensor(TvL1(cuda, solver=solver, settings=settings)(frames)).cpu().numpy()
            for solver in (triton, torch_alone)
        )
        assert np.linalg.norm(found - expected, axis=-1).mean() < most
