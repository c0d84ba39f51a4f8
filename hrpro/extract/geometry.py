"""Picture geometry: which way is up, how wide a pixel is, and the resize and crop of I3D."""

from __future__ import annotations

import math
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from hrpro.errors import VideoError
from hrpro.extract.pyav import to_host

# 8192 x 8192. Larger than any camera; small enough that a forged header cannot exhaust the memory.
MAX_PIXELS = 1 << 26
# A 10000 x 1 picture resized to a short side of 256 would need 2 GB.
MAX_ASPECT = 32
# Bilinear as in kinetics-i3d. The other flags keep full chroma resolution and give the same
# pixels on every CPU, which plain SIMD code paths of swscale do not.
# Numbers of libswscale/swscale.h, because PyAV names the flags only since version 18.
_FULL_CHR_H_INT, _ACCURATE_RND, _BITEXACT = 0x2000, 0x40000, 0x80000
SCALING = int(Interpolation.BILINEAR) | _FULL_CHR_H_INT | _ACCURATE_RND | _BITEXACT


@dataclass(frozen=True)
class Orientation:
    """How stored pixels have to be turned to stand upright."""

    rotation: int = 0  # degrees counterclockwise: 0, 90, 180 or 270
    mirrored: bool = False  # flip top to bottom before the rotation (front cameras)

    @property
    def swaps_sides(self) -> bool:
        """Whether width and height change places."""
        return self.rotation % 180 == 90

    @classmethod
    def of(cls, frame: av.VideoFrame) -> Orientation:
        """Read the orientation that the file asks for; FFmpeg's decoders do not apply it."""
        # Cameras write multiples of 90; anything else is snapped to the nearest.
        rotation = round(frame.rotation / 90) * 90 % 360
        side_data: Mapping[str, Any] = frame.side_data  # PyAV's types know the motion vectors alone
        matrix = side_data.get("DISPLAYMATRIX")
        if matrix is None:
            return cls(rotation)
        a, b, _, c, d, *_ = struct.unpack("9i", bytes(matrix)[:36])
        return cls(rotation, mirrored=a * d - b * c < 0)


def upright(array: np.ndarray, rotation: int, mirrored: bool = False) -> np.ndarray:
    """Turn a stored picture `[H, W, ...]` upright; a view, no copy.

    `rotation` is in degrees counterclockwise, a multiple of 90 (`VideoInfo.rotation`).
    """
    if rotation % 90:
        raise ValueError(f"rotation must be a multiple of 90 degrees, not {rotation}")
    return np.rot90(array[::-1] if mirrored else array, k=rotation // 90 % 4)


def display_size(
    width: int, height: int, pixel_aspect: Fraction | None, orientation: Orientation
) -> tuple[int, int]:
    """Return width and height of the upright picture with square pixels.

    Raises:
        VideoError: no pixels, too many of them, or a picture that is a mere line.
    """
    if width < 1 or height < 1:
        raise VideoError(f"the picture has no size ({width}x{height})")
    # 0/1 means "unknown"; factors beyond 10 are damaged headers, not lenses.
    if pixel_aspect and Fraction(1, 10) <= pixel_aspect <= 10:
        width = max(1, round(width * pixel_aspect))
    if width * height > MAX_PIXELS:
        raise VideoError(f"the picture is too large ({width}x{height} pixels)")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise VideoError(f"the picture is too elongated ({width}x{height} pixels)")
    return (height, width) if orientation.swaps_sides else (width, height)


def resized(width: int, height: int, short_side: int | None) -> tuple[int, int]:
    """Scale a size so that its short side is `short_side`; the aspect is kept."""
    if short_side is None:
        return width, height
    scale = Fraction(short_side, min(width, height))
    # Half up, because Python's round() goes to even.
    return math.floor(width * scale + Fraction(1, 2)), math.floor(height * scale + Fraction(1, 2))


class Converter(Protocol):
    """What turns decoded frames into upright RGB pictures."""

    at_once: int
    """Frames that are best given in one call."""

    def __call__(self, frames: Sequence[av.VideoFrame]) -> list[np.ndarray]:
        """Convert frames to uint8 RGB, `[H, W, 3]` or `[crop, crop, 3]` each."""


MakeConverter = Callable[[Orientation, Fraction | None, int | None, int | None], Converter]
"""Makes the converter of a video: orientation, shape of its pixels, short side, crop."""


class FrameConverter:
    """Turns decoded frames into upright RGB arrays: colours, pixel aspect, resize, crop.

    Colour conversion and resize are one swscale call, which honours the range (limited or full)
    and the matrix (BT.601, BT.709, BT.2020) that the frame declares; undeclared means limited
    BT.601, as in FFmpeg. Without a crop all pictures have the size of the first one, even when
    the resolution changes within the video. Several threads may call it at once.
    """

    at_once = 1

    def __init__(
        self,
        orientation: Orientation,
        pixel_aspect: Fraction | None,
        short_side: int | None,
        crop: int | None,
    ) -> None:
        if crop is not None and short_side is not None and crop > short_side:
            raise ValueError(f"crop {crop} is larger than the short side {short_side}")
        self._orientation = orientation
        self._pixel_aspect = pixel_aspect
        self._short_side = short_side
        self._crop = crop
        self._size: tuple[int, int] | None = None
        # One reformatter for all frames of a thread keeps swscale's tables.
        self._local = threading.local()

    def __call__(self, frames: Sequence[av.VideoFrame]) -> list[np.ndarray]:
        """Convert frames to uint8 RGB, `[H, W, 3]` or `[crop, crop, 3]` each, C-contiguous."""
        return [self._convert(frame) for frame in frames]

    def _convert(self, frame: av.VideoFrame) -> np.ndarray:
        width, height = self.stored_size(frame)
        if not hasattr(self._local, "reformatter"):
            self._local.reformatter = VideoReformatter()
        rgb = self._local.reformatter.reformat(
            to_host(frame),
            width,
            height,
            "rgb24",
            interpolation=SCALING,
            threads=1,
        )
        picture = upright(_pixels(rgb), self._orientation.rotation, self._orientation.mirrored)
        if self._crop is not None:
            picture = centre_crop(picture, self._crop)
        return np.array(picture, order="C")  # always a copy: the frame's memory is recycled

    def stored_size(self, frame: av.VideoFrame) -> tuple[int, int]:
        """Width and height after the resize, before the picture is turned upright."""
        width, height = self._target_size(frame)
        return (height, width) if self._orientation.swaps_sides else (width, height)

    def _target_size(self, frame: av.VideoFrame) -> tuple[int, int]:
        if self._crop is None and self._size is not None:
            return self._size
        upright_size = display_size(
            frame.width, frame.height, self._pixel_aspect, self._orientation
        )
        self._size = resized(*upright_size, self._short_side)
        return self._size


def centre_crop(picture: np.ndarray, size: int) -> np.ndarray:
    """Cut the central `size` x `size` pixels out of `[H, W, 3]`; a view.

    Raises:
        VideoError: the picture is smaller than that.
    """
    height, width = picture.shape[:2]
    if min(height, width) < size:
        raise VideoError(
            f"the picture ({width}x{height}) is smaller than the {size}x{size} crop; "
            "resize it with a short side"
        )
    top, left = (height - size) // 2, (width - size) // 2
    return picture[top : top + size, left : left + size]


def _pixels(rgb: av.VideoFrame) -> np.ndarray:
    """View the pixels of an rgb24 frame as `[H, W, 3]`; its lines are padded in memory."""
    plane = rgb.planes[0]
    lines = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    return lines[: rgb.height, : rgb.width * 3].reshape(rgb.height, rgb.width, 3)
