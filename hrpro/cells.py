"""Texts in CSV cells that a spreadsheet program does not take for formulas."""

from __future__ import annotations

import re

_FORMULA = re.compile(r"'*[=+\-@\t]")


def to_cell(text: str) -> str:
    """Put an apostrophe before what a spreadsheet would run as a formula.

    Line ends and NUL become spaces: not every CSV reader takes them, quoted or not.
    """
    text = re.sub(r"[\r\n\0]", " ", text)
    return "'" + text if _FORMULA.match(text) else text


def from_cell(text: str) -> str:
    """Take the apostrophe of `to_cell` off again."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text
