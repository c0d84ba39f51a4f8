"""The journal: one action a line, on disk before anybody is told that it is saved."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import ValidationError

from hrpro.errors import DataError, HrproError
from hrpro.pipeline.label.state import Entry


class Journal:
    """An append-only JSONL file.

    Args:
        path: the file; its folder exists.

    Raises:
        HrproError: it cannot be opened or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            _sync_folder(path.parent)
        except OSError as error:
            raise HrproError(f"{path}: cannot write: {error.strerror or error}") from error

    def read(self) -> list[Entry]:
        """Return all entries. A last line that a power cut left incomplete is cut off.

        Its action was never confirmed to anybody.

        Raises:
            DataError: a line in the middle is damaged; names it.
        """
        whole = _whole_lines(self.path)
        os.ftruncate(self._file, len(whole))
        return _entries(self.path, whole)

    def append(self, entry: Entry) -> None:
        """Write an entry; on return it is on the disk.

        Raises:
            HrproError: the disk is full or gone; the journal is as it was.
        """
        line = entry.model_dump_json().encode() + b"\n"
        size = os.fstat(self._file).st_size
        try:
            written = os.write(self._file, line)
            if written < len(line):
                raise OSError("is the disk full?")
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, size)
            raise HrproError(
                f"{self.path}: cannot write: {error.strerror or error}; nothing was changed"
            ) from error

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def read_entries(path: Path) -> list[Entry]:
    """Return the entries of a journal that somebody else may be writing; none without one.

    Raises:
        DataError: a line is damaged; names it.
    """
    return _entries(path, _whole_lines(path)) if path.is_file() else []


def _whole_lines(path: Path) -> bytes:
    """Return the lines that are complete, with their ends."""
    try:
        whole, newline, _ = path.read_bytes().rpartition(b"\n")
    except OSError as error:
        raise DataError(f"{path}: cannot read: {error.strerror or error}") from error
    return whole + newline


def _entries(path: Path, data: bytes) -> list[Entry]:
    entries = []
    for line, text in enumerate(data.split(b"\n")[:-1], start=1):
        try:
            entry = Entry.model_validate_json(text)
            if entry.number != line:
                raise ValueError(f"number {entry.number} in line {line}")
        except (ValidationError, ValueError) as error:
            raise DataError(
                f"{path}:{line}: damaged; restore the file from a backup, or move it away: "
                "points.csv is read in its place"
            ) from error
        entries.append(entry)
    return entries


def _sync_folder(folder: Path) -> None:
    """Make the name of a new file last, where the system can do that."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
