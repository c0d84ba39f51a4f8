"""Frames as NVIDIA's decoder leaves them on a GPU, but for their values: these are on the host."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import torch


class GpuPlane:
    """A plane that can be read by DLPack only; its lines are padded to the pitch of a GPU."""

    def __init__(self, frame: av.VideoFrame, number: int, pitch_bytes: int) -> None:
        plane = frame.planes[number]
        self.width, self.height, self.line_size = plane.width, plane.height, pitch_bytes
        self.buffer_size = pitch_bytes * plane.height
        dtype = np.dtype(np.uint16 if frame.format.name == "p010le" else np.uint8)
        values = self.width * (number + 1)  # U and V in turns
        lines = np.frombuffer(memoryview(plane), dtype).reshape(
            plane.height, plane.line_size // dtype.itemsize
        )
        padded = np.full((self.height, pitch_bytes // dtype.itemsize), 0xEE, dtype)
        padded[:, :values] = lines[:, :values]
        tensor = torch.from_numpy(padded)
        if number:  # as PyAV does it: sides of chroma are rounded down
            tensor = tensor[: frame.height // 2, : frame.width // 2 * 2].unflatten(1, (-1, 2))
        else:
            tensor = tensor[:, :values]
        assert not tensor.is_contiguous()
        self._tensor = tensor

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._tensor.__dlpack_device__()

    def __dlpack__(self, *, stream: int | None = None) -> Any:
        if stream is not None:
            raise NotImplementedError("Pass stream=None and synchronize before.")
        return self._tensor.__dlpack__()


class GpuFrame:
    """Stands in for a frame that was kept on a GPU.

    Args:
        host: the same in the host's memory, NV12 or P010.
        pitch_bytes: of a line.
        torn: whether DLPack fails.

    Attributes:
        num_copies: how often it was copied to the host.
    """

    def __init__(self, host: av.VideoFrame, *, pitch_bytes: int = 1024, torn: bool = False) -> None:
        self._host = host
        self.format = SimpleNamespace(name="cuda")
        self.sw_format = host.format
        self.planes = tuple(
            SimpleNamespace(width=plane.width, height=plane.height, buffer_size=1)
            if torn
            else GpuPlane(host, number, pitch_bytes)
            for number, plane in enumerate(host.planes)
        )
        self.num_copies = 0

    def reformat(self, *, format: str) -> av.VideoFrame:
        assert format == self.sw_format.name
        self.num_copies += 1
        return self._host

    def __getattr__(self, name: str) -> Any:
        return getattr(self._host, name)
