"""What networks compute on, and how: the options that travel together through every command."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ComputeOptions:
    """How to run networks. None leaves the choice to the machine."""

    device: str | None = None
    """``cpu``, ``cuda``, ``cuda:1``, ...; by default a GPU if there is one."""
    precision: str | None = None
    """``float32``, ``bfloat16`` or ``float16``; by default the fastest that keeps the features."""
    batch_size: int | None = None
    """Snippets per forward pass."""
    compile: bool = False
    """Compile the networks with ``torch.compile``, which takes a minute or so at the start and is
    meant for GPUs; where it does not work, they run as they are."""
    convolutions: str | None = None
    """How I3D is computed: ``3d``, the default, or ``2d``: as 2-D convolutions over stacked frames,
    in one CUDA graph, which is meant for GPUs and not measured yet."""
    convert: str | None = None
    """Where colours are converted and pictures resized: ``cpu``, or the ``device`` of the networks;
    by default a GPU does it itself."""
    decode: str | None = None
    """What decodes: ``cpu``, or ``gpu`` for an NVIDIA decoder where it can, file by file; ``auto``,
    the default, is ``cpu``."""
