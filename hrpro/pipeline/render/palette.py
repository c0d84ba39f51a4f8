"""One colour per class: on the label page, in reports, previews and plots alike."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Iterable, Mapping
from zlib import crc32

from hrpro.pipeline.results.model import Results

# Easy to tell apart, for the colour-blind too, on dark and on light ground: those of Okabe and Ito,
# lightened, and six more.
_COLORS = (
    *("#56b4e9", "#e69f00", "#00bc8c", "#f0e442", "#de6eaa", "#e86828"),
    *("#8c8cf5", "#a6d854", "#c49a6c", "#4fd1d9", "#f58c8c", "#cfa6ee"),
)
_GOLDEN_ANGLE = 0.6180339887


def class_colors(classes: Iterable[str], chosen: Mapping[str, str] | None = None) -> dict[str, str]:
    """Choose a colour for each class.

    A class gets the colour that its name picks, so that it keeps it from video to video and when
    classes come and go. Of two that pick the same, the first by name has it; the other gets the
    next free one.

    Args:
        classes: names, in any order.
        chosen: colours that people have chosen.

    Returns:
        Colours as ``#rrggbb`` by class; no two are alike, but for those that people chose alike.
    """
    by_people = chosen or {}
    every = sorted(set(classes))
    colors = {name: by_people[name] for name in every if name in by_people}
    names = [name for name in every if name not in colors]
    taken = {color.lower() for color in colors.values()}
    free = dict.fromkeys(slot for slot, color in enumerate(_COLORS) if color not in taken)
    for name in names:
        if _pick(name) in free:
            del free[_pick(name)]
            colors[name] = _COLORS[_pick(name)]
    for number, name in enumerate(name for name in names if name not in colors):
        if free:
            slot = min(free, key=lambda slot: (slot - _pick(name)) % len(_COLORS))
            del free[slot]
            colors[name] = _COLORS[slot]
        else:
            colors[name] = _further_color(number)
    return colors


def result_colors(results: Results, others: Iterable[str] = ()) -> dict[str, str]:
    """Choose a colour for each class of `results`, the same as for the dataset behind the model.

    Args:
        results: what was found; ``classes`` of their model are what could have been, and
            ``colors`` those that were chosen in the dataset that it was trained on.
        others: more classes, such as those of a ground truth.
    """
    found = {each.label for video in results.videos for each in video.detections}
    known = results.model.get("classes")
    listed = {each for each in known if isinstance(each, str)} if isinstance(known, list) else set()
    chosen = results.model.get("colors")
    usable = {
        name: color
        for name, color in (chosen.items() if isinstance(chosen, dict) else ())
        if isinstance(color, str) and re.fullmatch("#[0-9a-fA-F]{6}", color)
    }
    return class_colors({*listed, *found, *others}, usable)


def _pick(name: str) -> int:
    return crc32(name.encode("utf-8", "surrogatepass")) % len(_COLORS)


def _further_color(number: int) -> str:
    rgb = colorsys.hls_to_rgb(number * _GOLDEN_ANGLE % 1, 0.54 + 0.16 * (number % 2), 0.62)
    return "#{:02x}{:02x}{:02x}".format(*(round(255 * part) for part in rgb))
