"""Does this machine compute I3D right? One input, made by a formula, against stored features.

Some versions of cuDNN compute 3-D convolutions in bfloat16 wrongly, and say nothing. So the network
sees a snippet of moving waves, on the device and in the precision in question, and its features
are compared with those that `write_expected` stored, computed in float32 on a CPU.

The published RGB weights are used where they are in the cache, and weights made by a formula
elsewhere, so that the check needs no network. To store the features anew, with the published
weights in the cache::

    python -m hrpro.extract.arithmetic
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hrpro.devices import full_float32
from hrpro.extract.backbones import BACKBONES
from hrpro.extract.faster import Network, as_cuda_graph
from hrpro.extract.snippet_network import Convolutions, SnippetNetwork, load_i3d_as
from hrpro.extract.weights.library import find_weights, load_weights
from hrpro.extract.weights.zoo import expected_shapes

WEIGHTS = "i3d-rgb-kinetics400"
"""The published weights that features are stored for."""
FORMULA = "formula"
"""Name of the weights that are made here."""

LEAST_COSINE = 0.999
"""What every precision has to keep; `hrpro.extract.i3d.best_dtype` relies on it."""
LEAST_COSINE_FLOAT32 = 0.9999
"""Float32 has to be nearer."""

BATCH_SIZE = {"cuda": 32}
"""Snippets at once; elsewhere 1, which takes least time."""

_EXPECTED = "arithmetic.npz"


@dataclass(frozen=True)
class ArithmeticReport:
    """How near the features of this machine are to the stored ones."""

    cosine: float
    """With the stored ones; the lowest of the batch."""
    least: float
    weights: str
    """`WEIGHTS` or `FORMULA`."""

    @property
    def right(self) -> bool:
        """Whether the features can be used; not if they hold NaN either."""
        return self.cosine >= self.least


def check_arithmetic(
    device: torch.device | str, dtype: torch.dtype, convolutions: Convolutions = "3d"
) -> ArithmeticReport:
    """Compute the features of `wave_snippet` in `dtype` on `device`, and compare.

    Raises:
        WeightsError: the weights in the cache are damaged.
        RuntimeError: the device cannot compute them at all.
    """
    found = find_weights("rgb")
    weights = WEIGHTS if found is not None and found.name == WEIGHTS else FORMULA
    features = compute_features(weights, device, dtype, convolutions)
    with resources.files("hrpro.extract").joinpath(_EXPECTED).open("rb") as file:
        expected = np.load(file, allow_pickle=False)[weights]
    norms = np.linalg.norm(features, axis=1) * np.linalg.norm(expected)
    cosine = float((features @ expected / norms).min())  # NaN if there is one
    least = LEAST_COSINE_FLOAT32 if dtype == torch.float32 else LEAST_COSINE
    return ArithmeticReport(cosine, least, weights)


def compute_features(
    weights: str,
    device: torch.device | str,
    dtype: torch.dtype,
    convolutions: Convolutions = "3d",
) -> np.ndarray:
    """Features ``[B, 1024]`` float32 of a batch that holds B times the same snippet.

    B is what extraction takes on the device, because cuDNN chooses its algorithm by the shape.
    """
    device = torch.device(device)
    state_dict = formula_weights() if weights == FORMULA else load_weights("rgb").state_dict
    i3d = load_i3d_as(convolutions, state_dict, device=device, dtype=dtype)
    network: Network = SnippetNetwork(i3d, BACKBONES["i3d"], dtype)
    if convolutions == "2d":
        network = as_cuda_graph(network, device)
    snippet = torch.from_numpy(wave_snippet()).to(device)
    batch = snippet.expand(BATCH_SIZE.get(device.type, 1), -1, -1, -1, -1)
    exact = full_float32(device) if dtype == torch.float32 else nullcontext()
    with torch.inference_mode(), exact:
        return network(batch).features.cpu().numpy()


def wave_snippet() -> np.ndarray:
    """Coloured waves and rings that move, uint8 ``[3, 16, 224, 224]``: integers, all the way."""
    channel, t, y, x = np.ogrid[:3, :16, :224, :224]
    rings = (x - 112) ** 2 // 40 + (y - 112) ** 2 // 50
    phase = (3 + channel) * x + 5 * y + (7 - 9 * channel) * t + channel * rings
    wave = np.abs(phase % 256 - 128) * 255 // 128
    return wave.astype(np.uint8)


def formula_weights() -> dict[str, Tensor]:
    """RGB weights that mean nothing but keep the signal alive through all layers (He et al. 2015).

    The kernels sum to zero: else all that reaches the end is the mean brightness, which an error
    hardly changes. NumPy has frozen the numbers of its old generator: they are the same everywhere.
    """
    generator = np.random.RandomState(0)
    weights = {}
    for name, shape in expected_shapes("rgb").items():
        if len(shape) == 5:
            width = 2 * np.sqrt(6 / np.prod(shape[1:]))
            uniform = generator.random_sample(shape)
            values = width * (uniform - uniform.mean(axis=(1, 2, 3, 4), keepdims=True))
        else:
            values = np.full(shape, name.endswith(("bn.weight", "running_var")))
        weights[name] = torch.from_numpy(values.astype(np.float32))
    return weights


def write_expected(path: Path) -> None:
    """Store what `check_arithmetic` compares with, computed in float32 on the CPU."""
    features = {name: compute_features(name, "cpu", torch.float32) for name in (WEIGHTS, FORMULA)}
    np.savez_compressed(path, **{name: rows[0] for name, rows in features.items()})


if __name__ == "__main__":
    write_expected(Path(__file__).with_name(_EXPECTED))
