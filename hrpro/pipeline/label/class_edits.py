"""Bring everything that is labelled in line with classes that were renamed, merged or deleted.

``dataset.yaml`` is written first, and by itself says what is to be done; all of this can be done
again, so that whatever was interrupted is finished by the next start.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from hrpro.cells import delimiter_of, from_cell, to_cell
from hrpro.files import write_text
from hrpro.pipeline.datasets.classes import Renamed, current_name
from hrpro.pipeline.label.state import Interval, Labels, Point, Review, Value, Values
from hrpro.texts import read_text

VIDEO_LABELS = "labels.csv"


def rename_values(labels: Labels, renamed: Renamed) -> dict[str, Values]:
    """Return what the labels of each video become, as far as they change."""
    changes = {
        video_id: {
            name: new
            for name, value in of_video.values.items()
            if (new := renamed_value(value, renamed)) != value
        }
        for video_id, of_video in labels.videos.items()
    }
    return {video_id: values for video_id, values in changes.items() if values}


def renamed_value(value: Value | None, renamed: Renamed) -> Value | None:
    """Return a value under the present name of its class; None where that was deleted."""
    if not isinstance(value, Point | Interval | Review):
        return value
    label = current_name(value.label, renamed)
    return None if label is None else value.model_copy(update={"label": label})


def rename_in_table(path: Path, renamed: Renamed) -> bool:
    """Rename the classes in the column ``class`` of a CSV file; return whether any was there.

    Rows of deleted classes go, and rows that have become equal are one.

    Raises:
        HrproError: the file cannot be read or written.
    """
    if not renamed or not path.is_file():
        return False
    text = read_text(path)
    delimiter = delimiter_of(text)
    rows = list(csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True))
    if not rows or "class" not in (names := [name.strip() for name in rows[0]]):
        return False
    column = names.index("class")
    kept: list[tuple[str, ...]] = []
    changed = False
    for row in rows[1:]:
        old = from_cell(row[column].strip()) if len(row) > column else ""
        new = current_name(old, renamed)
        changed |= new != old
        if new == old:
            kept.append(tuple(row))
        elif new is not None:
            kept.append((*row[:column], to_cell(new), *row[column + 1 :]))
    if changed:
        table = io.StringIO()
        writer = csv.writer(table, delimiter=delimiter, lineterminator="\n")
        writer.writerows([rows[0], *dict.fromkeys(kept)])
        write_text(path, table.getvalue())
    return changed
