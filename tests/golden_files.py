"""How the golden files of the methods are read and compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hrpro.localize.proposals.generate import Proposals

Arrays = dict[str, np.ndarray]


def load(path: Path) -> Arrays:
    """All arrays of a file."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def grouped(arrays: Arrays) -> dict[str, Arrays]:
    """Arrays by what stands before their first slash, ``""`` if there is none."""
    groups: dict[str, Arrays] = {}
    for name, values in arrays.items():
        group, _, rest = name.rpartition("/") if name.count("/") == 0 else name.partition("/")
        groups.setdefault(group, {})[rest] = values
    return groups


def double(values: np.ndarray) -> Tensor:
    """An array in float64, in which the golden values were computed."""
    return torch.from_numpy(np.asarray(values)).double()


def equal(ours: Tensor | np.ndarray, theirs: np.ndarray, what: str, atol: float) -> None:
    """Compare with an absolute tolerance."""
    ours = ours.detach().numpy() if isinstance(ours, Tensor) else ours
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol, err_msg=what)


def rows(table: Proposals) -> np.ndarray:
    """Start, end, class and score, ``[M, 4]``, as golden files have them."""
    return np.stack([table.start_s, table.end_s, table.label, table.score], axis=1)
