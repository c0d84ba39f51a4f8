"""One process at a time labels a dataset; where it is, and where the last one was."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any
from uuid import uuid4

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hrpro.errors import DataError, HrproError, UsageError
from hrpro.files import read_json


class PageMemory(BaseModel):
    """What the page of a dataset goes by: the same at each start, so that an open tab goes on.

    A folder that was copied or moved is another dataset: what a tab could not send yet must not
    reach the copy.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: str
    id: str = Field(default_factory=lambda: uuid4().hex)
    """Name of the dataset towards browsers, which keep by it what could not be sent yet."""
    token: str = Field(default_factory=lambda: secrets.token_urlsafe(24), min_length=16)
    """Whoever knows it may label."""
    port: int | None = None
    """Where it was served last."""


class FolderLock:
    """Keeps a second process from labelling the same dataset, and tells it where the first one is.

    Args:
        folder: the dataset.
        own: name of the folder in it that is made for labelling.

    Attributes:
        was_killed: whether the process that had the folder before never came to its end.
        page: what the page of the dataset goes by.

    Raises:
        UsageError: another process has it; names its address.
        HrproError: the folder cannot be written.
    """

    def __init__(self, folder: Path, own: str) -> None:
        self._own = folder / own
        try:
            self._own.mkdir(exist_ok=True)
            self._lock = FileLock(self._own / "lock", timeout=0)
            self._lock.acquire()
        except Timeout:
            raise UsageError(
                f"{folder}: is being labelled already{_address(self._running)}; open that page, in "
                "as many windows as you like"
            ) from None
        except OSError as error:
            raise HrproError(
                f"{self._own}: cannot write: {error.strerror or error}; copy the dataset to a "
                "folder of yours"
            ) from error
        self._announced = False
        self.was_killed = self._running.exists()
        self.page = _read_memory(self._memory, folder)

    @property
    def _running(self) -> Path:
        return self._own / "server.json"

    @property
    def _memory(self) -> Path:
        return self._own / "page.json"

    def begin(self) -> None:
        """Leave a mark that goes at the end: where it stays, the process was killed."""
        self._announced = True
        _write_private(self._running, {})

    def announce(self, url: str, port: int) -> None:
        """Leave the address of the page for a second process, and for the next start."""
        self._announced = True
        self.page = self.page.model_copy(update={"port": port})
        _write_private(self._running, {"url": url})
        _write_private(self._memory, self.page.model_dump())

    def release(self) -> None:
        """Let go of the folder."""
        if self._announced:  # else the mark of one that was killed stays
            self._running.unlink(missing_ok=True)
        self._lock.release()


def _write_private(path: Path, value: dict[str, Any]) -> None:
    """Write a file that nobody else may read, not even for a moment: it holds the token."""
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(value, file)


def _address(running: Path) -> str:
    try:
        return f" at {read_json(running)['url']}"
    except (DataError, KeyError, TypeError):
        return ""


def _read_memory(path: Path, folder: Path) -> PageMemory:
    fresh = PageMemory(folder=str(folder.resolve()))
    try:
        memory = PageMemory.model_validate(read_json(path))
    except (DataError, ValidationError):
        return fresh
    return memory if memory.folder == fresh.folder else fresh
