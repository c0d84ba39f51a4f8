"""Labels and scores as one line of text, and reading text files."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from hrpro.errors import DataError
from hrpro.pipeline.results.model import Detection

# Control characters, half surrogate pairs, and two code points that XML forbids.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SCORED = re.compile(r"(.+) (-?\d+\.\d\d)")


def plain(text: str) -> str:
    """Return `text` on one line, without characters that text files and XML cannot hold."""
    return " ".join(_UNPRINTABLE.sub(" ", text).split()) or "?"


def caption(detection: Detection) -> str:
    """Return "label score" with two decimals, or the label alone if the score is 1."""
    label = plain(detection.label)
    if detection.score == 1 and not _SCORED.fullmatch(label):
        return label
    return f"{label} {detection.score:.2f}"


def from_caption(text: str) -> tuple[str, float]:
    """Return label and score of a caption; without a score it is the work of a person: 1."""
    text = plain(text)
    match = _SCORED.fullmatch(text)
    return (match[1], float(match[2])) if match else (text, 1.0)


def read_text(path: Path) -> str:
    """Read a text file: UTF-8, or UTF-16 if it says so; line ends become newlines.

    Raises:
        DataError: it is missing, unreadable, or in another encoding.
    """
    try:
        data = path.read_bytes()
        text = data.decode("utf-16" if data.startswith(_UTF_16) else "utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a UTF-8 text file") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")
