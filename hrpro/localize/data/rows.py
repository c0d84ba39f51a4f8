"""Rows of the CSV files in which people say what is to be seen in videos."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from hrpro.cells import delimiter_of
from hrpro.problems import Problems
from hrpro.texts import read_text

Alternatives = tuple[str, ...]
"""Names of columns of which a file must have one."""


def read_rows(
    path: Path,
    needed: Sequence[Alternatives],
    remedy: str,
    problems: Problems,
    *,
    fill: str | None = None,
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the number and the cells of each row, by column; rows that are wrong are passed over.

    Commas, semicolons or tabs between the cells, in any encoding that `read_text` knows.

    Args:
        path: the file.
        needed: columns that must be there.
        remedy: what to do if they are not.
        problems: where to put what is wrong.
        fill: what stands in cells that a short row lacks; None: such a row is wrong.

    Raises:
        DataError: the file cannot be read.
    """
    text = read_text(path, lambda what: problems.warning(path, what))
    reader = csv.DictReader(
        io.StringIO(text),
        delimiter=delimiter_of(text),
        skipinitialspace=True,
        strict=True,
        restval=fill,
    )
    try:
        columns = [name.strip() for name in reader.fieldnames or []]
        reader.fieldnames = columns
        if missing := [" or ".join(names) for names in needed if not set(names) & set(columns)]:
            found = ", ".join(columns) or "none"
            problems.error(f"{path}:1", f"no column {', '.join(missing)} (found: {found})", remedy)
            return
        for row in reader:
            if None in row or None in row.values():
                problems.error(
                    f"{path}:{reader.line_num}",
                    f"{len(columns)} values are expected, as in line 1",
                    "put names that hold a comma in double quotes",
                )
                continue
            yield reader.line_num, row
    except csv.Error as error:
        line = reader.reader.line_num
        problems.error(f"{path}:{line}", f"not valid CSV: {error}", "save it again")
