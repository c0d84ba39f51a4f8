"""The planes of decoded frames as tensors on a device, from whichever memory they lie in."""

from __future__ import annotations

from collections.abc import Sequence

import av
import numpy as np
import torch
from torch import Tensor

from hrpro.extract.pyav import on_gpu, pixel_format

_EXPORTED_FORMATS = ("nv12", "p010le")


def is_readable(frame: av.VideoFrame) -> bool:
    """Whether the values of a frame can be had from the memory that they lie in.

    Of frames on a GPU, PyAV gives away two formats, and rounds the sides of chroma down.
    """
    if not on_gpu(frame):
        return True
    return pixel_format(frame) in _EXPORTED_FORMATS and frame.width % 2 == frame.height % 2 == 0


def exported(frame: av.VideoFrame) -> list[Tensor]:
    """View the planes of a frame on a GPU, ``[H, W]`` each, U and V in turns in their lines.

    Returns:
        uint8, or the bits of 16-bit values as int16; see `stacked` for when they may be read.

    Raises:
        ValueError: it is on no GPU, or its planes cannot be had in full.
        RuntimeError, TypeError, ...: by PyAV or torch.
    """
    if not (on_gpu(frame) and is_readable(frame)):
        raise ValueError(
            f"no planes to be had of {pixel_format(frame)} {frame.width}x{frame.height}"
        )
    return [_exported(plane) for plane in frame.planes]


def stacked(
    frames: Sequence[av.VideoFrame],
    number: int,
    width: int,
    *,
    wide: bool,
    device: torch.device,
) -> Tensor:
    """One plane of each frame, ``[N, H, width]`` on a device, in one copy or one upload.

    Args:
        frames: of one size and format, all in the same memory.
        number: of the plane.
        width: values in a line, without the padding.
        wide: values have 16 bits; their bits come back as int16, else uint8.
        device: where to.
    """
    planes = [frame.planes[number] for frame in frames]
    shape = (len(frames), planes[0].height, width)
    dtype = torch.int16 if wide else torch.uint8
    if on_gpu(frames[0]):
        if device.type == "cuda":  # FFmpeg copied them in the order of this stream
            torch.cuda.default_stream(device).synchronize()
        there = torch.empty(shape, dtype=dtype, device=device)
        for row, plane in zip(there, planes, strict=True):
            row.copy_(_exported(plane))
        return there
    host = torch.empty(shape, dtype=dtype, pin_memory=device.type == "cuda")
    for line, plane in zip(host.numpy(), planes, strict=True):
        line[:] = _lines(plane, line.dtype)[:, :width]
    return host.to(device, non_blocking=True)


def _exported(plane: av.video.plane.VideoPlane) -> Tensor:
    tensor = torch.from_dlpack(plane.__dlpack__(stream=None)).flatten(1)
    return tensor if tensor.dtype == torch.uint8 else tensor.view(torch.int16)


def _lines(plane: av.video.plane.VideoPlane, dtype: np.dtype) -> np.ndarray:
    """The values of a plane in the host's memory; its lines are padded there."""
    return np.frombuffer(memoryview(plane), dtype).reshape(-1, plane.line_size // dtype.itemsize)[
        : plane.height
    ]
