"""What differs between the versions of PyAV, 17.1 to 19, so that no other module has to know."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
from av.codec.hwaccel import HWAccel

_MAJOR = int(av.__version__.partition(".")[0])

# Text in an unknown encoding was an error before PyAV 19 unless one asked for replacements; there
# it is taken as it is, and the parameter is gone.
_LENIENT: dict[str, Any] = {"metadata_errors": "replace"} if _MAJOR < 19 else {}


# The standards of these fix every bit of a picture. Decoders of others round in their own ways.
_EXACT_CODECS = ("h264", "hevc", "vp8", "vp9", "av1")

# Flags for the CUDA context are lost on their way up to PyAV 18; options are not. Without them a
# decoder that keeps its frames wants to set up the context that torch already has, and fails.
_CONTEXT_OF_TORCH: dict[str, object] = {"primary_ctx": "0", "current_ctx": "1"}


@dataclass(frozen=True)
class Hardware:
    """NVIDIA's decoder (NVDEC), beside FFmpeg's own."""

    gpu: int = 0
    """Number of the GPU."""
    keeps_frames: bool = False
    """Whether frames stay in the memory of the GPU, where torch can read them."""

    def __str__(self) -> str:
        return "NVDEC, frames kept" if self.keeps_frames else "NVDEC, frames copied"


def open_input(
    url: str,
    *,
    container_options: dict[str, str],
    codec_options: dict[str, str],
    hardware: Hardware | None = None,
) -> av.container.InputContainer:
    """Open a file for reading, whatever the encoding of the texts in it.

    Args:
        url: a path, or FFmpeg's ``protocol:path``.
        container_options: for the demuxer and the protocol.
        codec_options: for each stream's decoder.
        hardware: the decoder to take, and no other.

    Raises:
        av.FFmpegError, ValueError: FFmpeg cannot open it.
        RuntimeError, NotImplementedError: there is no such hardware, or nothing for it to decode.
    """
    more = dict(_LENIENT)
    context: AbstractContextManager[None] = nullcontext()
    if hardware is not None:
        more["hwaccel"] = _accelerator(hardware)
        if hardware.keeps_frames:
            context = _context_of_torch(hardware.gpu)
    with context:
        return av.open(url, container_options=container_options, options=codec_options, **more)


def _accelerator(hardware: Hardware) -> HWAccel:
    if _MAJOR < 18:
        raise NotImplementedError("PyAV 17 loses colours and rotation of its frames")
    return HWAccel(
        "cuda",
        device=hardware.gpu,
        allow_software_fallback=False,
        options=_CONTEXT_OF_TORCH if hardware.keeps_frames else None,
        is_hw_owned=hardware.keeps_frames,
    )


@contextmanager
def _context_of_torch(gpu: int) -> Iterator[None]:
    """Within, the CUDA context of torch is the current one of this thread."""
    import torch

    with torch.cuda.device(gpu):
        torch.zeros(1, device="cuda")  # only what is filled makes it the current one
        yield


def decodes_exactly(stream: av.video.stream.VideoStream) -> bool:
    """Whether the hardware decodes a stream, and to the same bits as FFmpeg."""
    context = stream.codec_context
    return context.is_hwaccel and context.codec.canonical_name in _EXACT_CODECS


def pixel_format(frame: av.VideoFrame) -> str:
    """Return what the values of a frame are, whichever memory they lie in."""
    return (getattr(frame, "sw_format", None) or frame.format).name


def on_gpu(frame: av.VideoFrame) -> bool:
    """Whether the values of a frame lie in the memory of an NVIDIA GPU."""
    return frame.format.name == "cuda"


def to_host(frame: av.VideoFrame) -> av.VideoFrame:
    """Return a frame itself, or its copy in the host's memory."""
    return frame.reformat(format=pixel_format(frame)) if on_gpu(frame) else frame


def rational(value: Any) -> Fraction | None:
    """Return a frame rate or an aspect ratio of PyAV as a fraction; `None` where it is unknown.

    Up to version 18 PyAV gives a `Fraction`, or `None` for what FFmpeg calls 0/1 or 0/0. PyAV 19
    gives a type of its own that knows neither `None` nor a fraction's methods.
    """
    return Fraction(value.numerator, value.denominator) if value else None


def tick_s(stream: av.stream.Stream) -> Fraction:
    """Return the seconds per tick of the times of a stream."""
    return rational(stream.time_base) or Fraction(1, av.time_base)
