"""A font that can show the labels: the one matplotlib ships, or one of the system if need be."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import matplotlib
from matplotlib.font_manager import fontManager
from matplotlib.ft2font import FT2Font

# Fonts that cover everything with boxes or serve machines, not readers.
_UNFIT = ("LastResort", "Fallback", "Barcode")


def font_for(texts: Iterable[str], bold: bool = False) -> Path:
    """Return the font file that shows most of the characters of `texts`.

    It is DejaVu Sans (Latin, Greek, Cyrillic, ...), which comes with matplotlib, unless a font of
    the system covers more, as it does for Chinese, Japanese or Korean labels.
    """
    characters = {ord(char) for text in texts for char in text if char.isprintable()}
    return _covering(frozenset(characters), "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")


@lru_cache(maxsize=16)
def _covering(wanted: frozenset[int], shipped_name: str) -> Path:
    shipped = Path(matplotlib.get_data_path(), "fonts", "ttf", shipped_name)
    best, fewest = shipped, len(wanted - _characters(shipped))
    if fewest == 0:
        return best
    candidates = {Path(font.fname) for font in fontManager.ttflist}
    for path in sorted(candidates):
        if not any(word in path.name for word in _UNFIT):
            missing = len(wanted - _characters(path))
            if missing < fewest:
                best, fewest = path, missing
    return best


@lru_cache(maxsize=256)
def _characters(path: Path) -> frozenset[int]:
    try:
        return frozenset(FT2Font(str(path)).get_charmap())
    except (OSError, RuntimeError):  # gone since matplotlib listed it, or damaged
        return frozenset()
