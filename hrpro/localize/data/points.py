"""Point labels: one click per action, in a CSV file."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from hrpro.cells import from_cell, from_id_cell, from_list, to_cell, to_id_cell, to_list
from hrpro.localize.data.rows import read_rows
from hrpro.problems import Problems

COLUMNS = ("video_id", "class", "time")
"""Of the files that hrpro writes."""
PEOPLE_COLUMNS = ("subject", "modifiers")
"""And these, where a point has one: who does it, and how (``fast|left``)."""
DECIMALS = 6
"""Of a time in seconds: far finer than any frame, and short in a file that people read."""
NEEDED = (("video_id",), ("class",), ("point", "time"))
COLUMNS_REMEDY = (
    "the first line must name the columns video_id, class and point (frame) or time (seconds)"
)


@dataclass(frozen=True)
class PointLabel:
    """One row of the CSV file: this class happens in this video here."""

    video_id: str
    label: str
    line: int
    """Line of the file, counted from 1."""
    frame: float | None = None
    """Frame index at the video's own frame rate, if the file counts in frames."""
    time_s: float | None = None
    """Time in seconds, if the file counts in seconds."""
    stop_frame: float | None = None
    """Last frame of the action, which the published files carry; never used for training."""
    subject: str | None = None
    """Who does it, if the file says so; never used for training."""
    modifiers: tuple[str, ...] = ()
    """How; never used for training."""


class PointRow(NamedTuple):
    """A point label to be written."""

    video_id: str
    label: str
    time_s: float
    subject: str | None = None
    modifiers: tuple[str, ...] = ()


def read_points(path: str | Path, problems: Problems | None = None) -> list[PointLabel]:
    """Read point labels.

    Columns: ``video_id``, ``class``, and ``time`` (seconds) or ``point`` (frame at the video's own
    rate); a row's ``time`` goes before its ``point``. ``subject`` and ``modifiers`` ride along,
    other columns are ignored. The apostrophe that keeps a name from being a formula comes off.

    Args:
        path: the CSV file.
        problems: where to put what is wrong. With it, nothing is raised and the good rows are
            returned; without it, the first problem is raised.

    Raises:
        DataError: unreadable, a column is missing, or a row is wrong; names file and line.
    """
    path = Path(path)
    found = problems if problems is not None else Problems()
    points: dict[tuple[object, ...], PointLabel] = {}
    for line, row in read_rows(path, NEEDED, COLUMNS_REMEDY, found):
        point = _point(path, line, row, found)
        if point is None:
            continue
        key = (point.video_id, point.label, point.frame, point.time_s, point.subject)
        if key in points:
            found.warning(
                f"{path}:{line}", f"the same point as in line {points[key].line}", "used once"
            )
        points.setdefault(key, point)
    if problems is None:
        found.raise_first()
    return list(points.values())


def points_csv(points: Iterable[PointRow | tuple[str, str, float]]) -> str:
    """The text of a CSV file of point labels.

    Args:
        points: video, class and time in seconds of each, and who does it and how.
    """
    rows = [PointRow(*point) for point in points]
    people = any(row.subject is not None or row.modifiers for row in rows)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*COLUMNS, *PEOPLE_COLUMNS) if people else COLUMNS)
    for row in rows:
        cells = (to_id_cell(row.video_id), to_cell(row.label), round(row.time_s, DECIMALS))
        who = (to_cell(row.subject or ""), to_cell(to_list(row.modifiers))) if people else ()
        writer.writerow((*cells, *who))
    return text.getvalue()


def _point(path: Path, line: int, row: dict[str, str], problems: Problems) -> PointLabel | None:
    where = f"{path}:{line}"
    video_id, label = from_id_cell(row["video_id"].strip()), from_cell(row["class"].strip())
    if not video_id or not label:
        problems.error(where, "video_id or class is empty", "fill it in or delete the line")
        return None
    column = "time" if row.get("time", "").strip() else "point"
    value = _number(row.get(column, ""))
    if value is None:
        problems.error(
            where,
            f"column {column!r}: {row.get(column, '')!r} is not a number from 0 up",
            "give the frame (point) or the seconds (time)",
        )
        return None
    return PointLabel(
        video_id,
        label,
        line,
        frame=value if column == "point" else None,
        time_s=value if column == "time" else None,
        stop_frame=_number(row.get("stop_frame", "")),
        subject=from_cell(row.get("subject", "").strip()) or None,
        modifiers=from_list(from_cell(row.get("modifiers", "").strip())),
    )


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
