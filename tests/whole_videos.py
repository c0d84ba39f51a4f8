"""Reads whole videos."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from videos import number_of

from hrpro.extract.decode import FrameReader


def read(path, **options) -> tuple[list[np.ndarray], FrameReader]:
    with FrameReader(path, **options) as reader:
        return list(reader), reader


def whole(path, fps: Fraction | int | None = None, **options):
    return read(path, fps=fps, short_side=None, crop=None, **options)


def numbers(path, **options) -> list[int]:
    return [number_of(picture) for picture in whole(path, **options)[0]]
