"""Pictures that show where the samples of chroma lie, for the tests of conversion."""

from __future__ import annotations

import av
import cv2
import numpy as np
from videos import Painter


def painted(width: int, height: int, pixel_format: str, seed: int, detail: float) -> av.VideoFrame:
    """A frame with smooth noise in each of its planes."""
    frame = av.VideoFrame(width, height, pixel_format)
    chance = np.random.default_rng(seed)
    for plane in frame.planes:
        wide = plane.line_size // plane.width >= 2 and "10" in pixel_format
        columns = plane.line_size // (2 if wide else 1)
        noise = chance.random((plane.height, columns), np.float32)
        smooth = cv2.GaussianBlur(noise, (0, 0), detail)
        values = cv2.normalize(smooth, None, 16, 235, cv2.NORM_MINMAX)
        if wide:
            values = (values * 4).astype(np.uint16) << (6 if pixel_format == "p010le" else 0)
        else:
            values = values.astype(np.uint8)
        plane.update(values.tobytes().ljust(plane.buffer_size, b"\0"))
    return frame


def blobs(width: int, height: int) -> Painter:
    """Paint coloured clouds that move."""
    chance = np.random.default_rng(0)
    noise = cv2.GaussianBlur(chance.random((height, width, 3), np.float32), (0, 0), 2)
    clouds = cv2.normalize(noise, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    return lambda number: np.ascontiguousarray(np.roll(clouds, 3 * number, axis=1))
