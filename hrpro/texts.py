"""Text files in the encodings that people have: one reader for all of them.

UTF-8, with and without a mark in front, is what editors and programs write by now. Windows
PowerShell, the Notepad of old, Praat, spreadsheets ("Unicode text") and broadcast tools write
UTF-16, mostly but not always with a mark. What is neither is Windows-1252 in most of the world;
that is a guess, so it is made only where somebody is told.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from pathlib import Path

from hrpro.errors import DataError

_MARKS = {  # those of UTF-32 first: they begin like those of UTF-16
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_GUESS = "windows-1252"
_GUESSED = "neither UTF-8 nor UTF-16: read as Windows-1252; save it as UTF-8 if letters are wrong"
_UNKNOWN = "not a UTF-8 or UTF-16 text file; save it as UTF-8"
_NO_TEXT = re.compile("[\0-\x08\x0e-\x1a\x1c-\x1f]")
_DECLARED = re.compile(rb"""^\s*<\?xml[^>]*?\sencoding\s*=\s*["']([\w.:-]{1,40})["']""")


def read_text(path: str | Path, note: Callable[[str], None] | None = None) -> str:
    r"""Read a text file: UTF-8, UTF-16 or UTF-32; line ends become ``\n``, a mark goes.

    Args:
        path: the file.
        note: is told if the encoding had to be guessed. Without it, nothing is guessed.

    Raises:
        DataError: it is missing, unreadable, no text, or in an encoding that would be a guess.
    """
    return _decoded(path, _bytes(path), note)


def read_xml(path: str | Path, note: Callable[[str], None] | None = None) -> str:
    """Read an XML file as text: as its first bytes say, else as its declaration says.

    Editors save XML in another encoding and leave the declaration as it was, so what the bytes
    show goes first. A parser that is given text does not heed the declaration.

    Raises:
        DataError: as `read_text`, or the declared encoding is not known.
    """
    data = _bytes(path)
    declared = _DECLARED.match(data)
    encoding = declared[1].decode("ascii").lower() if declared else "utf-8"
    if encoding.startswith(("utf", "us-ascii")) or b"\0" in data:
        return _decoded(path, data, note)
    try:
        return _plain_lines(data.decode(encoding))
    except (LookupError, UnicodeError) as error:
        raise DataError(f"{path}: cannot be read as {encoding}, which it says it is") from error


def _bytes(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot read: {error.strerror or error}") from error


def _decoded(path: str | Path, data: bytes, note: Callable[[str], None] | None) -> str:
    for encoding in _possible(data):
        try:
            return _plain_lines(data.decode(encoding))
        except UnicodeDecodeError:
            continue
    if note is None:
        raise DataError(f"{path}: {_UNKNOWN}")
    try:
        text = data.decode(_GUESS)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: {_UNKNOWN}") from error
    if _NO_TEXT.search(text):
        raise DataError(f"{path}: not a text file")
    note(_GUESSED)
    return _plain_lines(text)


def _possible(data: bytes) -> list[str]:
    """The encodings that the bytes show, the most certain first."""
    marked = next((name for mark, name in _MARKS.items() if data.startswith(mark)), None)
    if marked is not None:
        return [marked]
    if b"\0" not in data:
        return ["utf-8"]
    # Of letters, digits and line ends in UTF-16 one byte of the two is 0.
    little, big = data[1::2].count(0), data[::2].count(0)
    return ["utf-16-le" if little > big else "utf-16-be"]


def _plain_lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")
