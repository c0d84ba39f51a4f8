"""What differs between the versions of PyAV, 17.1 to 19, so that no other module has to know."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Literal

import av

_MAJOR = int(av.__version__.partition(".")[0])

# Text in an unknown encoding was an error before PyAV 19 unless one asked for replacements; there
# it is taken as it is, and the parameter is gone.
_LENIENT: dict[str, Any] = {"metadata_errors": "replace"} if _MAJOR < 19 else {}


Hardware = Literal["cuda"]
"""A decoder beside FFmpeg's own."""


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
        hardware: the decoder to take, and no other; its frames are brought to the host.

    Raises:
        av.FFmpegError, ValueError: FFmpeg cannot open it.
    """
    more = dict(_LENIENT)
    if hardware is not None:
        from av.codec.hwaccel import HWAccel

        more["hwaccel"] = HWAccel(hardware, allow_software_fallback=False)
    return av.open(url, container_options=container_options, options=codec_options, **more)


def rational(value: Any) -> Fraction | None:
    """Return a frame rate or an aspect ratio of PyAV as a fraction; `None` where it is unknown.

    Up to version 18 PyAV gives a `Fraction`, or `None` for what FFmpeg calls 0/1 or 0/0. PyAV 19
    gives a type of its own that knows neither `None` nor a fraction's methods.
    """
    return Fraction(value.numerator, value.denominator) if value else None


def tick_s(stream: av.stream.Stream) -> Fraction:
    """Return the seconds per tick of the times of a stream."""
    return rational(stream.time_base) or Fraction(1, av.time_base)
