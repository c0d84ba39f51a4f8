"""A key and a colour for each class."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence

from hrpro.localize.data.config import CLASS_KEYS

# Easy to tell apart, for the colour-blind too; the first ones are those of preview videos.
_COLOURS = (
    *("#56b4e9", "#e69f00", "#00bc8c", "#f0e442", "#de6eaa", "#e86828"),
    *("#8c8cf5", "#a6d854", "#c49a6c", "#4fd1d9", "#f58c8c", "#b8b8b8"),
)
_GOLDEN_ANGLE = 0.6180339887


def colours(number: int) -> list[str]:
    """Return that many colours as ``#rrggbb``, neighbours as different as can be."""
    more = (
        colorsys.hls_to_rgb(index * _GOLDEN_ANGLE % 1, 0.62, 0.62)
        for index in range(len(_COLOURS), number)
    )
    return [
        *_COLOURS[:number],
        *("#{:02x}{:02x}{:02x}".format(*(round(255 * part) for part in rgb)) for rgb in more),
    ]


def keys(classes: Sequence[str], chosen: Mapping[str, str]) -> list[str | None]:
    """Return the key of each class: the chosen one, else the next free; None when all are taken."""
    taken = {chosen[label] for label in classes if label in chosen}
    free = iter([key for key in CLASS_KEYS if key not in taken])
    return [chosen[label] if label in chosen else next(free, None) for label in classes]
