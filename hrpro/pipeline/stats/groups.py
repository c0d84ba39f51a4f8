"""Groups of videos: their folders, or what a table says."""

from __future__ import annotations

import csv
import io
from pathlib import Path, PurePosixPath

from hrpro.cells import delimiter_of, from_cell, from_id_cell
from hrpro.errors import DataError, UsageError
from hrpro.pipeline.results.model import Results
from hrpro.texts import read_text
from hrpro.video_ids import KnownVideos
from hrpro.wording import some

BY_FOLDER = "folder"
_COLUMNS = ("video_id", "group")


def groups_of(results: Results, by: str) -> dict[str, str]:
    """The group of each video.

    Args:
        results: the videos.
        by: ``folder``, or a CSV file with the columns ``video_id`` and ``group``.

    Returns:
        Video id -> group; those that a table does not name are missing.

    Raises:
        UsageError: there is no such table.
        DataError: the table cannot be read, or names no video of the results.
    """
    if by == BY_FOLDER:
        return {
            video.video_id: _folder(video.video_id) or _folder(Path(video.path or "").as_posix())
            for video in results.videos
        }
    path = Path(by)
    if not path.exists():
        raise UsageError(f"--group {by}: no such file; give folder, or a table: video_id,group")
    return _by_table(results, path)


def _folder(path: str) -> str:
    return PurePosixPath(path).parent.name


def _by_table(results: Results, path: Path) -> dict[str, str]:
    text = read_text(path)
    rows = csv.DictReader(io.StringIO(text), delimiter=delimiter_of(text))
    names = [name.strip() for name in rows.fieldnames or ()]
    rows.fieldnames = names
    if missing := [name for name in _COLUMNS if name not in names]:
        raise DataError(f"{path}:1: no column {', '.join(missing)}; columns: video_id,group")
    try:
        table = {from_id_cell(row["video_id"]): from_cell(row["group"] or "") for row in rows}
    except csv.Error as error:
        raise DataError(f"{path}: not valid CSV: {error}") from error
    known = KnownVideos(video.video_id for video in results.videos)
    found = {
        match.video_id: table[name]
        for name, match in known.match_all(table).items()
        if match.video_id is not None
    }
    if not found:
        raise DataError(f"{path}: names no video of the results (it names {some(table, 3)})")
    return found
