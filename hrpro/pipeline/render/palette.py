"""One colour per class: on the label page, in reports, previews and plots alike."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable
from zlib import crc32

from hrpro.pipeline.results.model import Results

# Easy to tell apart, for the colour-blind too, on dark and on light ground: those of Okabe and Ito,
# lightened, and six more.
_COLORS = (
    *("#56b4e9", "#e69f00", "#00bc8c", "#f0e442", "#de6eaa", "#e86828"),
    *("#8c8cf5", "#a6d854", "#c49a6c", "#4fd1d9", "#f58c8c", "#cfa6ee"),
)
_GOLDEN_ANGLE = 0.6180339887


def class_colors(classes: Iterable[str]) -> dict[str, str]:
    """Choose a colour for each class.

    A class gets the colour that its name picks, so that it keeps it from video to video and when
    classes come and go. Of two that pick the same, the first by name has it; the other gets the
    next free one.

    Args:
        classes: names, in any order.

    Returns:
        Colours as ``#rrggbb`` by class; no two are alike.
    """
    names = sorted(set(classes))
    chosen: dict[str, str] = {}
    free = dict.fromkeys(range(len(_COLORS)))
    for name in names:
        if _pick(name) in free:
            del free[_pick(name)]
            chosen[name] = _COLORS[_pick(name)]
    for number, name in enumerate(name for name in names if name not in chosen):
        if free:
            slot = min(free, key=lambda slot: (slot - _pick(name)) % len(_COLORS))
            del free[slot]
            chosen[name] = _COLORS[slot]
        else:
            chosen[name] = _further_color(number)
    return chosen


def result_colors(results: Results, others: Iterable[str] = ()) -> dict[str, str]:
    """Choose a colour for each class of `results`, the same as for the dataset behind the model.

    Args:
        results: what was found; ``classes`` of their model are what could have been.
        others: more classes, such as those of a ground truth.
    """
    found = {each.label for video in results.videos for each in video.detections}
    known = results.model.get("classes")
    listed = {each for each in known if isinstance(each, str)} if isinstance(known, list) else set()
    return class_colors({*listed, *found, *others})


def _pick(name: str) -> int:
    return crc32(name.encode("utf-8", "surrogatepass")) % len(_COLORS)


def _further_color(number: int) -> str:
    rgb = colorsys.hls_to_rgb(number * _GOLDEN_ANGLE % 1, 0.54 + 0.16 * (number % 2), 0.62)
    return "#{:02x}{:02x}{:02x}".format(*(round(255 * part) for part in rgb))
