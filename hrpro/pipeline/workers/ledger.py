"""The ledger of an output folder: what became of every video, told to all who work on it.

Beside the files that a run makes lies a folder ``.ledger`` with two small files per video::

    .ledger/sub/a.mp4.json     the record: state, attempts, error, worker, times
    .ledger/sub/a.mp4.lease    only while a process works on it: which one

What is done is decided by the files themselves; the ledger tells the story, and remembers which
videos crashed their worker. It may be deleted at any time when nothing runs.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from hrpro.errors import DataError, HrproError
from hrpro.files import inside, read_json, write_json
from hrpro.pipeline.workers.leases import Leases

FOLDER = ".ledger"

State = Literal["running", "done", "failed", "poisoned", "interrupted"]


class Record(BaseModel):
    """What is known about the work on one video."""

    model_config = ConfigDict(frozen=True)

    key: str
    """Path of the video below the folder that was searched."""
    state: State
    """`failed` is tried again by the next run, `poisoned` only if asked for."""
    file: str = Field("", validation_alias=AliasChoices("file", "features"))
    """What is made of it, relative to the output folder."""
    attempts: int = Field(0, ge=0)
    """How often it was begun."""
    crashes: int = Field(0, ge=0)
    """How often the worker died while it had it."""
    crashes_alone: int = Field(0, ge=0)
    """How often it was the only one that the worker had begun then."""
    error: str = ""
    worker: str = ""
    """``host:pid`` of the process that last worked on it."""
    started: datetime | None = None
    finished: datetime | None = None
    seconds: float = Field(0.0, ge=0, allow_inf_nan=False)
    """What the last attempt took."""
    size_bytes: int | None = None
    """Of the video, as is `mtime_ns`: what was found about a file does not hold for another."""
    mtime_ns: int | None = None

    def is_about(self, video: Path) -> bool:
        """Whether the video is still the file that the record was written about."""
        return (self.size_bytes, self.mtime_ns) == file_identity(video)


class Ledger:
    """Records and leases of one output folder, for this process.

    Args:
        out: the output folder.
        warn: takes one line for each record that is damaged; it counts as absent.
    """

    def __init__(self, out: Path, warn: Callable[[str], None] = lambda line: None):
        self.folder = out / FOLDER
        self._leases = Leases(self.folder)
        self._warn = warn
        self._warned: set[Path] = set()

    def create(self) -> None:
        """Make the folder if it is not there yet.

        Raises:
            HrproError: it cannot be made.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HrproError(f"{self.folder}: cannot be made: {error.strerror}") from error

    def read(self, key: str) -> Record | None:
        """The record of a video; None if there is none, or a damaged one."""
        return self._read(self._path(key, "json"))

    def write(self, record: Record) -> None:
        """Replace the record of a video.

        Raises:
            HrproError: it cannot be written (disk full, read-only).
        """
        write_json(self._path(record.key, "json"), record.model_dump(mode="json"))

    def records(self) -> Iterator[Record]:
        """All records, in the order of their names."""
        for path in sorted(self.folder.rglob("*.json")):
            if not path.name.startswith(".") and (record := self._read(path)):
                yield record

    def written_since(self, key: str, moment: float) -> bool:
        """Whether the record of a video is newer than a moment of the clock `now`."""
        try:
            return self._path(key, "json").stat().st_mtime >= moment
        except OSError:
            return False

    def now(self) -> float:
        """The time by the clock of the file system, which all machines share."""
        return self._leases.now()

    def claim(self, key: str) -> str | None:
        """Take a video for this process: None if that worked, else ``host:pid`` of its owner.

        Whoever has claimed a video looks again whether it is still to be done: another process
        may just have finished it.
        """
        return self._leases.claim(self._path(key, "lease"))

    def release(self, key: str) -> None:
        """Leave a video to others."""
        self._leases.release(self._path(key, "lease"))

    def holder(self, key: str) -> str | None:
        """``host:pid`` of the living process that works on a video, if there is one."""
        return self._leases.holder(self._path(key, "lease"))

    def close(self) -> None:
        """Leave everything that is still claimed to others."""
        self._leases.close()

    def _path(self, key: str, suffix: str) -> Path:
        parts = [_short(part) for part in key.split("/")]
        return inside(self.folder, f"{'/'.join(parts)}.{suffix}")

    def _read(self, path: Path) -> Record | None:
        if not path.exists():
            return None
        try:
            record = Record.model_validate(read_json(path))
            if self._path(record.key, "json") != path:
                raise DataError(f"is about another video, {record.key!r}")
            return record
        except (DataError, ValueError) as error:
            if path not in self._warned:
                self._warned.add(path)
                reason = str(error).splitlines()[0].removeprefix(f"{path}: ")
                self._warn(f"{path}: damaged, and taken for absent: {reason}")
            return None


def file_identity(path: Path) -> tuple[int | None, int | None]:
    """Size in bytes and time of the last change in ns; Nones if the file is not there."""
    try:
        stat = path.stat()
    except OSError:
        return None, None
    return stat.st_size, stat.st_mtime_ns


def utc_now() -> datetime:
    """The time of day, as records note it."""
    return datetime.now(timezone.utc).replace(microsecond=0)


def _short(part: str) -> str:
    """Shorten a name so that a suffix can be added within the limit of file systems."""
    if len(os.fsencode(part)) <= 200:
        return part
    return f"{part[:40]}-{hashlib.sha256(os.fsencode(part)).hexdigest()[:16]}"
