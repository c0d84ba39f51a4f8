"""Leases: which process works on what, among all that share a folder, on one machine or many.

A lease is a small file that only one process can create. Its owner touches it every few seconds
while it lives. It can be taken away from an owner that is gone: a process of this machine that
ended, or one anywhere that has not touched its lease for a minute. Nothing but creating, removing
and touching files is needed, so that this works on NFS and Lustre, where file locks often do not.
"""

from __future__ import annotations

import os
import platform
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hrpro.errors import HrproError

BEAT_S = 5.0
"""Seconds between two touches of a lease by its owner."""
STALE_S = 60.0
"""An owner that has not touched its lease for so long is taken to be gone."""

_HIDDEN = "hidden"  # a process that is there, but does not tell when it started
_GUARD_S = 0.02  # another process is just taking a lease away: come back a little later


class Owner(BaseModel):
    """The process that holds a lease."""

    model_config = ConfigDict(frozen=True)

    host: str
    pid: int = Field(gt=0)
    machine: str
    """Where `pid` means something: this boot of this machine, and the container in it."""
    birth: str | None
    """When the process started, in ticks of the machine; numbers of processes are used again."""
    token: str
    """Unlike that of any other owner."""

    @classmethod
    def this_process(cls) -> Owner:
        """This process, under a new token."""
        pid = os.getpid()
        return cls(
            host=platform.node(),
            pid=pid,
            machine=_machine(),
            birth=_birth(pid),
            token=uuid.uuid4().hex,
        )

    def is_gone(self) -> bool:
        """Whether its process has certainly ended; False where that cannot be told from here."""
        return self.machine == _machine() and _birth(self.pid) not in (self.birth, _HIDDEN)

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"


@dataclass(frozen=True)
class _Seen:
    """A lease file as it was found."""

    text: str
    modified_ns: int

    def owner(self) -> Owner | None:
        """Who wrote it; None if that is unreadable, as in the instant of its creation."""
        try:
            return Owner.model_validate_json(self.text)
        except (ValidationError, ValueError):
            return None


class Leases:
    """The leases of this process below one folder.

    Args:
        folder: a folder that all processes share; the leases lie in it or below it.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._text = Owner.this_process().model_dump_json()
        self._held: set[Path] = set()
        self._closing = threading.Event()
        self._beating: threading.Thread | None = None

    def claim(self, path: Path) -> str | None:
        """Take a lease: None if this process holds it now, else ``host:pid`` of who does.

        Raises:
            HrproError: the lease cannot be written.
        """
        seen = None
        for _ in range(3):  # others may take or drop it between two steps
            if self._create(path):
                return None
            seen = _look(path)
            if seen is None:
                continue
            if not self._is_stale(seen):
                break
            self._take_away(path, seen)
        return str((seen and seen.owner()) or "another process")

    def holder(self, path: Path) -> str | None:
        """``host:pid`` of the process that holds a lease and lives; None if there is none."""
        seen = _look(path)
        if seen is None or self._is_stale(seen):
            return None
        return str(seen.owner() or "another process")

    def release(self, path: Path) -> None:
        """Give a lease back; nothing happens if it was taken away in the meantime."""
        self._held.discard(path)
        seen = _look(path)
        if seen is not None and seen.text == self._text:
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Give back all leases."""
        self._closing.set()
        for path in list(self._held):
            with suppress(OSError, HrproError):
                self.release(path)

    def now(self) -> float:
        """The time by the clock of the file system that holds the folder, as `time.time` counts.

        The clocks of two machines differ; that of a shared file system is the same for both.
        """
        probe = self._folder / f".clock-{uuid.uuid4().hex}"
        try:
            probe.touch()
            return probe.stat().st_mtime
        except OSError:  # a folder that this process only looks at
            return time.time()
        finally:
            with suppress(OSError):
                probe.unlink(missing_ok=True)

    def _create(self, path: Path) -> bool:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            return False
        except OSError as error:
            raise HrproError(f"{path}: cannot write: {error.strerror}") from error
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(self._text)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise HrproError(f"{path}: cannot write: {error.strerror}") from error
        self._held.add(path)
        if self._beating is None:
            self._beating = threading.Thread(target=self._beat, name="leases", daemon=True)
            self._beating.start()
        return True

    def _is_stale(self, seen: _Seen) -> bool:
        owner = seen.owner()
        return bool(owner and owner.is_gone()) or self.now() - seen.modified_ns / 1e9 > STALE_S

    def _take_away(self, path: Path, seen: _Seen) -> None:
        """Remove the stale lease that was seen, and never the fresh one of a quicker process.

        Only the process that makes the guard may do so, and it looks once more before.
        """
        guard = path.with_name(f"{path.name}.guard")
        try:
            os.close(os.open(guard, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        except FileExistsError:
            made = _look(guard)
            if made is not None and self._is_stale(made):  # its maker died in this instant
                guard.unlink(missing_ok=True)
            time.sleep(_GUARD_S)
            return
        try:
            if _look(path) == seen:
                path.unlink(missing_ok=True)
        finally:
            guard.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._closing.wait(BEAT_S):
            for path in list(self._held):
                with suppress(OSError, HrproError):
                    seen = _look(path)
                    if seen is not None and seen.text == self._text:
                        os.utime(path)


class Visit:
    """Shows to other processes that this one uses a folder, until it leaves.

    Args:
        folder: for the leases of visitors; made if it is not there.

    Raises:
        HrproError: it cannot be written.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._leases = Leases(folder)
        self._mine = folder / f"{uuid.uuid4().hex}.lease"
        self._leases.claim(self._mine)

    def is_alone(self) -> bool:
        """Whether no other living process is there."""
        others = set(self._folder.glob("*.lease")) - {self._mine}
        return not any(self._leases.holder(each) for each in others)

    def close(self) -> None:
        """Leave."""
        self._leases.close()


def _look(path: Path) -> _Seen | None:
    """Read a lease; opening the file makes NFS ask the server for its true age."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return _Seen(file.read(10_000), os.fstat(file.fileno()).st_mtime_ns)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HrproError(f"{path}: cannot read: {error.strerror}") from error


def _machine() -> str:
    """What numbers of processes are unique in: one boot of a machine, one container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return platform.node()


def _birth(pid: int) -> str | None:
    """When a process of this machine started; None if there is none, or it is dead."""
    if not Path("/proc/self/stat").exists():
        return _HIDDEN  # no way to tell on this system: what counts is the last touch
    try:
        # The second field, the name of the program, may hold blanks and parentheses.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return _HIDDEN if _is_of_another_user(pid) else None
    state, start = fields[0], fields[19]
    return None if state in "ZX" else start


def _is_of_another_user(pid: int) -> bool:
    """Whether a process is there that this user may not touch; clusters hide those in /proc."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return False
