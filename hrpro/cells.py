"""CSV cells that a spreadsheet does not take for formulas, and what parts the cells.

A text that a spreadsheet could run gets an apostrophe in front, which comes off when read here:

- a label, which people type freely, if it begins with ``=``, ``+``, ``-``, ``@`` or a tab and is no
  number;
- a video id only if it begins with ``=``, or with one of the others and holds ``|`` or ``"``,
  without which it calls nothing. So ids such as ``-_a8SjJXw4M`` and ``@user-12`` stay as they are,
  for every reader.

Numbers are never touched. A list of texts is one text: ``|`` parts them, ``\\`` protects one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_LABEL = re.compile(r"'*(?!'|[+-]?\d+(?:[.,]\d+)?$)[=+\-@\t]")
_ID = re.compile(r"""'*(?:=|[+\-@\t].*[|"])""")
_DELIMITERS = ",;\t"


def to_cell(label: str) -> str:
    """Put an apostrophe before a label that a spreadsheet could run as a formula."""
    return _guarded(label, _LABEL)


def from_cell(label: str) -> str:
    """Take the apostrophe of `to_cell` off again."""
    return _bare(label, _LABEL)


def to_id_cell(video_id: str) -> str:
    """Put an apostrophe before a video id that is a formula and hardly the name of a file."""
    return _guarded(video_id, _ID)


def from_id_cell(video_id: str) -> str:
    """Take the apostrophe of `to_id_cell` off again."""
    return _bare(video_id, _ID)


def to_list(texts: Iterable[str]) -> str:
    """Put several texts into one: ``fast|left``."""
    return "|".join(re.sub(r"([\\|])", r"\\\1", text) for text in texts)


def from_list(text: str) -> tuple[str, ...]:
    """Take the texts of `to_list` apart again; empty ones are none."""
    parts: list[str] = re.findall(r"(?:[^\\|]|\\.)+|\\$", text, re.DOTALL)
    return tuple(re.sub(r"\\(.)", r"\1", part, flags=re.DOTALL) for part in parts)


def delimiter_of(text: str) -> str:
    """What parts the cells of a CSV text, as its first line shows: comma, semicolon or tab.

    Spreadsheets write semicolons where the comma is the decimal mark, and tabs as "Unicode text".
    """
    first = text.partition("\n")[0]
    return max(_DELIMITERS, key=first.count)


def _guarded(text: str, formula: re.Pattern[str]) -> str:
    # Not every CSV reader takes line ends and NUL, quoted or not.
    text = re.sub(r"[\r\n\0]", " ", text)
    return "'" + text if formula.match(text) else text


def _bare(text: str, formula: re.Pattern[str]) -> str:
    return text[1:] if text.startswith("'") and formula.match(text) else text
