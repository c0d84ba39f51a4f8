"""Colours, resize and crop as tensor operations, so that a GPU can do them.

The planes of a frame go to the device as they come out of the decoder, 1.5 bytes a pixel, unless
they are there already, and pictures come back. Of their numbers, 99 in 100 are within one grey
level of those of swscale (see `hrpro.extract.geometry`): the same filter, taken apart into a matrix
for the rows and one for the columns, and the same matrices of colour, without the rounding in
between.

Where among the pixels the samples of chroma lie, FFmpeg knows and PyAV does not tell. So swscale
does the first pictures, and goes on until they show which place, and that the result is the same.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations, groupby
from typing import NamedTuple

import av
import cv2
import numpy as np
import torch
from torch import Tensor

from hrpro.devices import full_float32
from hrpro.extract.geometry import FrameConverter, Orientation, centre_crop, upright
from hrpro.extract.planes import is_readable, stacked
from hrpro.extract.pyav import on_gpu, pixel_format, to_host
from hrpro.wording import one_line

_log = logging.getLogger(__name__)

FRAMES_AT_ONCE = 16


class Layout(NamedTuple):
    """How the planes of a pixel format lie in memory."""

    across: int
    """Columns of the picture for one of chroma; 0 if there is no chroma."""
    down: int = 1
    """Rows likewise."""
    interleaved: bool = False
    """U and V in turns in one plane."""
    scale: float = 1.0
    """What makes a value one of 8 bits."""
    wide: bool = False
    """16 bits in memory."""
    full_range: bool = False
    """By the format itself, whatever the frame says."""


def _layouts() -> dict[str, Layout]:
    layouts = {
        "gray": Layout(0, full_range=True),
        "nv12": Layout(2, 2, interleaved=True),
        "p010le": Layout(2, 2, interleaved=True, scale=1 / 256, wide=True),
    }
    for name, across, down in (("420", 2, 2), ("422", 2, 1), ("444", 1, 1)):
        layouts[f"yuv{name}p"] = Layout(across, down)
        layouts[f"yuvj{name}p"] = Layout(across, down, full_range=True)
        layouts[f"yuv{name}p10le"] = Layout(across, down, scale=1 / 4, wide=True)
    return layouts


LAYOUTS = _layouts()
"""The pixel formats that are done here; swscale does the others."""

# V in red, U in blue, U in green, V in green, for the range of video in 16 bits behind the point,
# by the number of the matrix (ITU-T H.273). Undeclared is BT.601, as in FFmpeg.
_BT601 = (104597, 132201, 25675, 53279)
_BT2020 = (110013, 140363, 12277, 42626)
_MATRICES = {
    1: (117489, 138438, 13975, 34925),  # BT.709
    4: (104448, 132798, 24759, 53109),  # FCC
    7: (117579, 136230, 16907, 35559),  # SMPTE 240M
    9: _BT2020,
    10: _BT2020,
}
_FULL_RANGE = 2
_LEAST_SIDE_PX = 16
"""Of planes; swscale shortens its filter in smaller ones."""


class Place(NamedTuple):
    """Where samples of chroma lie in the pixels that share them, in units of these."""

    x: float
    y: float


CENTRE = Place(0.5, 0.5)


class Kind(NamedTuple):
    """Frames that go through the same operations."""

    format: str
    width: int
    height: int
    matrix: int
    full_range: bool
    on_gpu: bool = False


class TensorConverter:
    """Turns decoded frames into upright RGB pictures; stands in for `FrameConverter`.

    Args:
        orientation: see `FrameConverter`, as for the next three.
        pixel_aspect: of the stored pixels.
        short_side: in pixels.
        crop: in pixels.
        device: where.
    """

    at_once = FRAMES_AT_ONCE

    def __init__(
        self,
        orientation: Orientation,
        pixel_aspect: Fraction | None,
        short_side: int | None,
        crop: int | None,
        *,
        device: torch.device,
    ) -> None:
        self._swscale = FrameConverter(orientation, pixel_aspect, short_side, crop)
        self._orientation, self._crop = orientation, crop
        self._device = device
        self._resizers: dict[Kind, Resizer | None] = {}
        self._copies = False  # of frames on a GPU, because reading them there failed

    def __call__(self, frames: Sequence[av.VideoFrame]) -> list[np.ndarray]:
        """Convert frames to uint8 RGB, ``[crop, crop, 3]`` or ``[H, W, 3]`` each."""
        try:
            return self._grouped([self._readable(frame) for frame in frames])
        except Exception as error:
            if self._copies or not any(map(on_gpu, frames)):
                raise
            _log.debug("frames are copied from the GPU from here on (%s)", one_line(error))
            self._copies = True
            return self._grouped([to_host(frame) for frame in frames])

    def _readable(self, frame: av.VideoFrame) -> av.VideoFrame:
        return to_host(frame) if self._copies or not is_readable(frame) else frame

    def _grouped(self, frames: list[av.VideoFrame]) -> list[np.ndarray]:
        pictures: list[np.ndarray] = []
        for kind, group in groupby(frames, kind_of):
            pictures += self._convert(kind, list(group))
        return pictures

    def _convert(self, kind: Kind | None, frames: list[av.VideoFrame]) -> list[np.ndarray]:
        pictures: list[np.ndarray] = []
        if kind is not None and kind not in self._resizers:
            pictures = self._swscale(frames[:1])
            self._learn(kind, frames[0], pictures[0])
        resizer = None if kind is None else self._resizers.get(kind)
        rest = frames[len(pictures) :]
        if not rest:
            return pictures
        if resizer is None or kind is None:
            return pictures + self._swscale(rest)
        return pictures + list(self._pictures(kind, resizer, rest))

    def _learn(self, kind: Kind, frame: av.VideoFrame, expected: np.ndarray) -> None:
        """Find out where the samples of chroma lie, if the picture shows it."""
        size = self._swscale.stored_size(frame)
        part = _stored_part(*size, self._orientation, self._crop)
        resizers = [Resizer(kind, size, part, place, self._device) for place in places(kind)]
        found = [self._pictures(kind, resizer, [frame])[0] for resizer in resizers]
        if all(_differ(one, other) for one, other in combinations(found, 2)):
            alike = [
                resizer
                for resizer, picture in zip(resizers, found, strict=True)
                if not _differ(picture, expected)
            ]
            self._resizers[kind] = alike[0] if alike else None

    @torch.inference_mode()
    def _pictures(self, kind: Kind, resizer: Resizer, frames: list[av.VideoFrame]) -> np.ndarray:
        scale = LAYOUTS[kind.format].scale
        luma, *chroma = (plane.float().mul_(scale) for plane in self._planes(kind, frames))
        with full_float32(self._device):
            rgb = to_rgb(resizer.luma(luma), [resizer.chroma(each) for each in chroma], kind)
        if self._orientation.mirrored:
            rgb = rgb.flip(1)
        turned = torch.rot90(rgb, self._orientation.rotation // 90, (1, 2))
        return turned.contiguous().cpu().numpy()

    def _planes(self, kind: Kind, frames: list[av.VideoFrame]) -> list[Tensor]:
        """Y, U and V of the frames, ``[N, H, W]`` each; Y alone if there is no chroma."""
        layout = LAYOUTS[kind.format]
        planes = []
        for number, plane in enumerate(frames[0].planes):
            step = 2 if number and layout.interleaved else 1
            width = plane.width * step
            there = stacked(frames, number, width, wide=layout.wide, device=self._device)
            if layout.wide:
                there = there.int().bitwise_and_(0xFFFF)
            planes += [there[..., start::step] for start in range(step)]
        return planes


def kind_of(frame: av.VideoFrame) -> Kind | None:
    """What is to be done with a frame; None if it is not done here."""
    name = pixel_format(frame)
    layout = LAYOUTS.get(name)
    smallest = min(min(plane.width, plane.height) for plane in frame.planes)
    if layout is None or smallest < _LEAST_SIDE_PX:
        return None
    full_range = layout.full_range or int(frame.color_range) == _FULL_RANGE
    matrix = int(frame.colorspace)
    return Kind(name, frame.width, frame.height, matrix, full_range, on_gpu(frame))


def places(kind: Kind) -> list[Place]:
    """Where the samples of chroma may lie: in the centre, at the left, or in the corner."""
    layout = LAYOUTS[kind.format]
    if layout.across < 2:
        return [CENTRE]
    left = Place(0.25, 0.5)
    return [CENTRE, left] if layout.down < 2 else [CENTRE, left, Place(0.25, 0.25)]


def _differ(picture: np.ndarray, other: np.ndarray) -> bool:
    """Whether two pictures are more than a grey level apart in a hundredth of the values."""
    return bool((cv2.absdiff(picture, other) > 1).mean() > 0.01)


class Resizer:
    """Resizes the planes of frames of one size to the part of the picture that is kept.

    Args:
        kind: of the frames.
        target: width and height of the whole stored picture after the resize.
        part: rows and columns of it that are kept.
        place: of the samples of chroma.
        device: where.
    """

    def __init__(
        self,
        kind: Kind,
        target: tuple[int, int],
        part: tuple[slice, slice],
        place: Place,
        device: torch.device,
    ) -> None:
        layout, (width, height), (rows, columns) = LAYOUTS[kind.format], target, part

        def matrices(across: int, down: int, place: Place) -> tuple[Tensor, Tensor]:
            tall = bilinear(-(-kind.height // down), height, place.y)[rows]
            wide = bilinear(-(-kind.width // across), width, place.x)[columns]
            return tall.to(device), wide.T.contiguous().to(device)

        self._luma = matrices(1, 1, CENTRE)
        self._chroma = matrices(layout.across or 1, layout.down, place)

    def luma(self, planes: Tensor) -> Tensor:
        """``[N, H, W]`` to ``[N, h, w]``."""
        return self._luma[0] @ (planes @ self._luma[1])

    def chroma(self, planes: Tensor) -> Tensor:
        """Planes of U or V likewise, which may have fewer pixels."""
        return self._chroma[0] @ (planes @ self._chroma[1])


def bilinear(size: int, new_size: int, place: float = 0.5) -> Tensor:
    """The matrix ``[new_size, size]`` that resizes a line as swscale does.

    A triangle as wide as two pixels, of the old or the new line, whichever are larger. The border
    is repeated.

    Args:
        size: values in the line.
        new_size: what they become.
        place: of the first value, in old pixels from the end of the line.
    """
    step = ((size << 16) + new_size // 2) // new_size / 65536  # in swscale's precision
    centres = (torch.arange(new_size, dtype=torch.float64) + 0.5) * step - place
    radius = max(1.0, size / new_size)
    reach = int(radius) + 1
    taps = centres.floor()[:, None] + torch.arange(-reach, reach + 1)
    weights = (1 - (taps - centres[:, None]).abs() / radius).clamp_(min=0)
    weights /= weights.sum(1, keepdim=True)
    matrix = torch.zeros(new_size, size, dtype=torch.float64)
    matrix.scatter_add_(1, taps.long().clamp_(0, size - 1), weights)
    return matrix.float()


def to_rgb(luma: Tensor, chroma: Sequence[Tensor], kind: Kind) -> Tensor:
    """Y ``[N, H, W]`` and U and V likewise, in 8-bit units, to uint8 RGB ``[N, H, W, 3]``."""
    if not kind.full_range:
        luma = (luma - 16) * (255 / 219)
    red = green = blue = luma
    if chroma:
        u, v = (each - 128 for each in chroma)
        gain = 224 / 255 if kind.full_range else 1.0
        v_red, u_blue, u_green, v_green = (
            part * gain / 65536 for part in _MATRICES.get(kind.matrix, _BT601)
        )
        red, blue = luma + v_red * v, luma + u_blue * u
        green = luma - u_green * u - v_green * v
    rgb = torch.stack([red, green, blue], dim=-1)
    return rgb.add_(0.5).clamp_(0, 255).to(torch.uint8)


def _stored_part(
    width: int, height: int, orientation: Orientation, crop: int | None
) -> tuple[slice, slice]:
    """Rows and columns of a stored picture that the crop of the upright one keeps."""
    if crop is None:
        return slice(0, height), slice(0, width)
    rows, columns = np.mgrid[:height, :width]
    kept = [
        centre_crop(upright(each, orientation.rotation, orientation.mirrored), crop)
        for each in (rows, columns)
    ]
    first, last = ([int(end(each)) for each in kept] for end in (np.min, np.max))
    return slice(first[0], last[0] + 1), slice(first[1], last[1] + 1)
