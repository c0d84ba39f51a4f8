"""Video labels: which actions a video shows, not when, in a CSV file."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from hrpro.cells import from_cell, from_id_cell, to_cell, to_id_cell
from hrpro.localize.data.rows import read_rows
from hrpro.problems import Problems

COLUMNS = ("video_id", "class")
_REMEDY = "the first line must name the columns video_id and class"


@dataclass(frozen=True)
class VideoLabel:
    """One row of the CSV file: this class happens in this video, or none does."""

    video_id: str
    label: str
    """Empty: the video shows none of the actions."""
    line: int
    """Line of the file, counted from 1."""


def read_video_labels(path: str | Path, problems: Problems | None = None) -> list[VideoLabel]:
    """Read video labels.

    Columns ``video_id`` and ``class``, a row for each class of a video; others are ignored. A row
    without a class says that the video shows none of the actions. The apostrophe that keeps a name
    from being a formula comes off.

    Args:
        path: the CSV file.
        problems: where to put what is wrong. With it, nothing is raised and the good rows are
            returned; without it, the first problem is raised.

    Raises:
        DataError: unreadable, a column is missing, or a row is wrong; names file and line.
    """
    path = Path(path)
    found = problems if problems is not None else Problems()
    rows: dict[tuple[str, str], VideoLabel] = {}
    for line, cells in read_rows(path, [(name,) for name in COLUMNS], _REMEDY, found, fill=""):
        where = f"{path}:{line}"
        video_id, label = from_id_cell(cells["video_id"].strip()), from_cell(cells["class"].strip())
        if not video_id:
            found.error(where, "video_id is empty", "fill it in or delete the line")
            continue
        if before := rows.get((video_id, label)):
            found.warning(where, f"the same label as in line {before.line}", "used once")
        rows.setdefault((video_id, label), VideoLabel(video_id, label, line))
    if problems is None:
        found.raise_first()
    return list(rows.values())


def video_labels_csv(labels: Mapping[str, Collection[str]]) -> str:
    """The text of a CSV file of video labels.

    Args:
        labels: the classes of each video; none: it shows none of the actions.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for video_id in sorted(labels):
        for label in sorted(labels[video_id]) or [""]:
            writer.writerow((to_id_cell(video_id), to_cell(label)))
    return text.getvalue()
