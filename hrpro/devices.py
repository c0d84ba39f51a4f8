"""Which device to compute on, and which number formats it is good at."""

from __future__ import annotations

import platform
import re
from typing import Any

import torch

from hrpro.errors import UsageError

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
