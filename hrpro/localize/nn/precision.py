"""The number format of the networks' arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal

import torch
from torch import Tensor

from hrpro.devices import full_float32, has_fast_bfloat16

Precision = Literal["auto", "float32", "bfloat16"]


def resolve_precision(device: torch.device | str, precision: Precision) -> torch.dtype:
    """The dtype of matrix products; ``auto`` is bfloat16 where `device` computes in it fast."""
    if precision != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
    return torch.bfloat16 if has_fast_bfloat16(device) else torch.float32


@contextmanager
def autocast(device: torch.device | str, precision: Precision) -> Iterator[None]:
    """Context in which a model runs with `precision`; its parameters stay float32."""
    device = torch.device(device)
    exact = resolve_precision(device, precision) is torch.float32
    with (
        full_float32(device) if exact else nullcontext(),
        torch.autocast(device.type, dtype=torch.bfloat16, enabled=not exact),
    ):
        yield


def casting_anew(device: torch.device | str) -> AbstractContextManager[None]:
    """Context within `autocast` that neither uses nor leaves behind casts of weights.

    Autocast keeps its casts until it ends. One made while a parameter held other weights (those of
    an average, say) would be taken for the parameter's own later on.
    """
    kind = torch.device(device).type
    return torch.autocast(
        kind,
        dtype=torch.get_autocast_dtype(kind),
        enabled=torch.is_autocast_enabled(kind),
        cache_enabled=False,
    )


def at_least_float32(values: Tensor) -> Tensor:
    """What autocast computed in fewer bits, as float32; float64 stays as it is."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
