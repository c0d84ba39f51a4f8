"""Which device to compute on, and which number formats it is good at."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hrpro.errors import UsageError
from hrpro.shared_switch import SharedSwitch

DEVICES = ("cpu", "cuda", "mps")


def choose_device(name: str | None) -> torch.device:
    """The named device, or the best there is for None and ``auto``.

    Raises:
        UsageError: the device does not exist on this machine.
    """
    if name is None or name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"--device {name}: no such device; try cpu, cuda or cuda:0") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"--device {name}: torch sees {torch.cuda.device_count()} CUDA devices; "
            "`hrpro doctor` lists them"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError(f"--device {name}: torch sees no Apple GPU; `hrpro doctor` lists devices")
    if device.type not in DEVICES:
        raise UsageError(f"--device {name}: choose one of {', '.join(DEVICES)}")
    return device


def has_fast_bfloat16(device: torch.device | str) -> bool:
    """Whether the device has instructions for bfloat16 (AVX512-BF16, AMX; Ampere and later).

    False where torch cannot tell: emulated bfloat16 is slower than float32.
    """
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        abilities = _cpu_capabilities()
        return bool(abilities.get("avx512_bf16") or abilities.get("amx_bf16"))
    return False


def upload(values: Tensor | np.ndarray, device: torch.device | str) -> Tensor:
    """Bring values to a device without waiting for what it is busy with."""
    values = torch.as_tensor(values)
    if torch.device(device).type == "cuda" and values.device.type == "cpu":
        values = values.pin_memory()  # from other memory the copy would wait
    return values.to(device, non_blocking=True)


@contextmanager
def full_float32(device: torch.device | str) -> Iterator[None]:
    """Context in which a GPU multiplies float32 as it is, and not rounded to TF32 (10 bits).

    cuDNN's convolutions take TF32 otherwise. Elsewhere there is nothing to switch.
    """
    if torch.device(device).type != "cuda":
        yield
        return
    with _TF32.held():
        yield


def _switch_tf32_off() -> list[tuple[Any, str, Any]]:
    switches = _tf32_switches()
    before = [(place, name, getattr(place, name)) for place, name, _ in switches]
    _set(switches)
    return before


def _tf32_switches() -> list[tuple[Any, str, Any]]:
    """Where, under which name, and the value that keeps all bits."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    common = [(place, "allow_tf32", False) for place in (matmul, cudnn)]
    try:
        for place, name, _ in common:
            getattr(place, name)
    except RuntimeError:  # the program has used the finer switches that torch 2.9 brought
        finer: Any = cudnn
        places = (matmul, finer.conv, finer.rnn)
        return [(place, "fp32_precision", "ieee") for place in places]
    return common


def _set(switches: list[tuple[Any, str, Any]]) -> None:
    for place, name, value in switches:
        setattr(place, name, value)


_TF32 = SharedSwitch(_switch_tf32_off, _set)


@contextmanager
def deterministic(device: torch.device | str) -> Iterator[None]:
    """Context in which the same computation gives the same bits on a GPU, too, more slowly.

    Raises:
        UsageError: what was computed has no such form on the device.
    """
    workspace = "CUBLAS_WORKSPACE_CONFIG"
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    added = torch.device(device).type == "cuda" and workspace not in os.environ
    if added:  # without a fixed workspace cuBLAS may add up in another order each time
        os.environ[workspace] = ":4096:8"
    torch.use_deterministic_algorithms(True)
    try:
        yield
    except RuntimeError as error:
        if "deterministic" not in str(error):
            raise
        reason = str(error).splitlines()[0]
        raise UsageError(f"--deterministic is not possible on {device}: {reason}") from error
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)
        if added:
            del os.environ[workspace]


_DEVICE_FAULT = re.compile(r"\b(CUDA|cuDNN|cuBLAS|cuFFT|HIP|MPS)( driver| backend)? error", re.I)


def is_device_fault(error: BaseException) -> bool:
    """Whether a device or its driver has failed, which is not the fault of what it computed.

    A lack of memory is none: the next, smaller input may fit.
    """
    if isinstance(error, torch.OutOfMemoryError):
        return False
    failure = getattr(torch, "AcceleratorError", None)  # absent before torch 2.8
    if failure is not None and isinstance(error, failure):
        return True
    return isinstance(error, RuntimeError) and bool(_DEVICE_FAULT.search(str(error)))


def cpu_name() -> str:
    """What the CPU calls itself."""
    return _cpu_capabilities().get("cpu_name") or platform.processor() or platform.machine()


def _cpu_capabilities() -> dict[str, Any]:
    ask = getattr(torch.cpu, "get_capabilities", dict)  # absent before torch 2.10
    return ask()
