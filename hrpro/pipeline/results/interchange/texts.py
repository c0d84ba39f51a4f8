"""Labels and scores as one line of text."""

from __future__ import annotations

import re

from hrpro.pipeline.results.model import Detection

# Control characters, half surrogate pairs, and two code points that XML forbids.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
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
