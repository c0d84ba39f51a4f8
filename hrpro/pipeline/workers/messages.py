"""What workers and their supervisor say to each other: small values that go through any pipe."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hrpro.errors import HrproError
from hrpro.extract.jobs import Job
from hrpro.features import Fingerprint


class WorkerError(HrproError):
    """Workers cannot be kept alive, or met an error that is not the fault of a video."""


@dataclass(frozen=True)
class Ready:
    """The networks are built."""

    worker: str
    """``host:pid``."""
    fingerprint: Fingerprint
    devices: tuple[str, ...]
    """Devices that workers with the same settings can be spread over."""
    at_hand: int
    """Videos that the worker should be given at a time."""
    notes: tuple[str, ...] = ()
    """Lines for the person in front of the run."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """What its files depend on besides the fingerprint, as JSON holds it."""


@dataclass(frozen=True)
class Started:
    """Work on a video begins; said before its file is opened."""

    key: str


@dataclass(frozen=True)
class Progressed:
    """So much of a video is done; the duration is 0 where its header has none."""

    key: str
    done_s: float
    duration_s: float


@dataclass(frozen=True)
class Done:
    """The file of a video is written."""

    key: str
    num_snippets: int
    duration_s: float
    seconds: float
    """What the work took."""
    warnings: tuple[str, ...] = ()
    lost_s: float = 0.0
    """Seconds of picture that cannot be shown."""
    waited: Mapping[str, float] = field(default_factory=dict)
    """Seconds that the worker waited for each part of the work since the video before."""


@dataclass(frozen=True)
class Failed:
    """A video cannot be used; the worker goes on with the next."""

    key: str
    reason: str
    seconds: float


@dataclass(frozen=True)
class Broken:
    """The worker cannot go on, and no video is to blame: wrong settings, disk full, a fault of the
    device or of the program."""

    error: HrproError
    trace: str
    """The stack trace, for ``--debug``."""


Event = Ready | Started | Progressed | Done | Failed | Broken
Listener = Callable[[Event], None]


class JobFeed(Iterator["Job | None"]):
    """The jobs of a worker in their order; None where none is at hand right now."""

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()

    def put(self, job: Job) -> None:
        """Append a job; any thread may do so."""
        self._jobs.append(job)

    def __next__(self) -> Job | None:
        try:
            return self._jobs.popleft()
        except IndexError:
            return None
