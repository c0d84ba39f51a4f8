"""Checkpoints of interrupted training: one safetensors file, written at once or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hrpro.errors import DataError
from hrpro.files import atomic_path

_STATE = "state"


@dataclass(frozen=True)
class Checkpoint:
    """Tensors in groups (``model``, ``optimizer``, ...) and a state that JSON can hold."""

    tensors: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; on any failure the one that was there stays.

    The state travels in the header of the same file, so that the two cannot come apart.

    Raises:
        HrproError: the folder cannot be written.
    """
    flat = {
        f"{group}/{name}": tensor.detach().cpu().contiguous()
        for group, tensors in checkpoint.tensors.items()
        for name, tensor in tensors.items()
    }
    with atomic_path(path) as temporary:
        save_file(flat, temporary, metadata={_STATE: json.dumps(checkpoint.state)})


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        DataError: the file is not there or not a checkpoint.
    """
    groups: dict[str, dict[str, Tensor]] = {}
    try:
        with safe_open(path, framework="pt") as file:
            state = json.loads(file.metadata()[_STATE])
            for key in file.keys():  # noqa: SIM118 - not a dict
                group, _, name = key.partition("/")
                groups.setdefault(group, {})[name] = file.get_tensor(key)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not a readable checkpoint; delete it to start anew") from error
    return Checkpoint(groups, state)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of an optimizer, flat: ``NUMBER.NAME``, by the number of the parameter."""
    return {
        f"{number}.{name}": tensor
        for number, values in optimizer.state_dict()["state"].items()
        for name, tensor in values.items()
    }


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put a state back; rates and the like stay as they were set up."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = tensor
    whole = optimizer.state_dict()
    optimizer.load_state_dict({**whole, "state": state})
