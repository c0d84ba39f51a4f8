"""``hrpro dataset classes``: look at the classes of a dataset, and change them everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from hrpro.pipeline.label.class_requests import ClassEdit
from hrpro.pipeline.label.project import Project


def list_classes(folder: str | Path) -> list[dict[str, Any]]:
    """Return the classes of a dataset: name, key, color, description, num_points, num_intervals.

    Raises:
        UsageError: a published dataset, or one that is being labelled.
        DataError: a file of it is damaged.
    """
    with closing(Project(folder, needs_videos=False)) as project:
        return _rows(project)


def edit_classes(folder: str | Path, edit: ClassEdit) -> list[dict[str, Any]]:
    """Change the classes of a dataset, with its points, intervals, reviews and settings.

    What was interrupted is finished when the same is asked for again, and by the label page.

    Returns:
        The classes, as `list_classes`.

    Raises:
        UsageError: it makes no sense, or the dataset is being labelled (then do it on the page).
        HrproError: a class with labels is to be deleted, or something cannot be written.
    """
    with closing(Project(folder, needs_videos=False)) as project:
        project.edit_classes(edit)
        return _rows(project)


def class_lines(rows: list[dict[str, Any]]) -> Iterator[str]:
    """The classes as a table, for people."""
    width = max((len(row["name"]) for row in rows), default=0)
    for row in rows:
        counts = (
            f"{row['num_points']:5} points {row['num_intervals']:5} intervals "
            f"{row['num_videos']:5} videos"
        )
        key = row["key"] or "-"
        line = f"{row['name']:{width}}  {key}  {row['color']}  {counts}  {row['description']}"
        yield line.rstrip()


def _rows(project: Project) -> list[dict[str, Any]]:
    counts = project.count_labels()
    return [
        {
            **row,
            "num_points": counts["points"][row["name"]],
            "num_intervals": counts["intervals"][row["name"]],
            "num_videos": counts["videos"][row["name"]],
        }
        for row in project.state()["classes"]
    ]
