"""What a worker does: build the extractor once, then turn the videos it is given into files.

A worker is a process of its own (`hrpro.pipeline.workers.engines`), an actor on another machine,
or the process that asks. It takes `Task`s and answers with events. This module imports no network
before a worker is built, so that whoever only talks to workers starts at once.
"""

from __future__ import annotations

import errno
import os
import platform
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hrpro.errors import HrproError, VideoError
from hrpro.features import Fingerprint, write_features

if TYPE_CHECKING:
    from hrpro.extract.extractor import Extractor
    from hrpro.extract.video_progress import VideoFeatures

_PROGRESS_S = 0.25  # at most one report of progress in so long
_AT_HAND = {"cuda": 16}  # videos that a worker knows of at a time, so that batches are full
_AT_HAND_ELSEWHERE = 2
# Errors of writing that are the fault of one name, not of the disk or the folder.
_ERRORS_OF_ONE_NAME = {errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.EILSEQ}


class Task(NamedTuple):
    """A video to extract: a job of `Extractor.extract_many`, and where its features go."""

    key: str
    """Name of the video in the run."""
    path: Path
    root: Path
    """Folder that the path in the sidecar is relative to."""
    target: Path
    """Feature file to write."""
    strict: bool = False
    """Fail on a truncated video; set by the worker, which knows the settings."""


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker needs to know about a run; plain values that go through any pipe."""

    recipe: dict[str, Any]
    """Options of `make_recipe`. The worker settles the streams where they are left open."""
    device: str | None = None
    precision: str | None = None
    batch_size: int | None = None
    compile: bool = False
    num_threads: int | None = None
    """Threads of the networks on a CPU; all cores without."""
    strict: bool = False
    dtype: str = "float32"
    """Of the numbers in the feature files."""
    show_download: bool = False


@dataclass(frozen=True)
class Ready:
    """The extractor is built."""

    worker: str
    """``host:pid``."""
    fingerprint: Fingerprint
    devices: tuple[str, ...]
    """Devices that workers with the same settings can be spread over."""
    at_hand: int
    """Videos that the worker should be given at a time."""
    notes: tuple[str, ...] = ()
    """Lines for the person in front of the run."""


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
    """The features of a video are written."""

    key: str
    num_snippets: int
    duration_s: float
    seconds: float
    """What the work took."""
    warnings: tuple[str, ...] = ()
    lost_s: float = 0.0
    """Seconds of picture that cannot be shown."""


@dataclass(frozen=True)
class Failed:
    """A video cannot be used; the worker goes on with the next."""

    key: str
    reason: str
    seconds: float


@dataclass(frozen=True)
class Broken:
    """The worker cannot go on, and another one could not either: wrong settings, disk full."""

    error: Exception
    trace: str
    """The stack trace, for ``--debug``."""


@dataclass(frozen=True)
class Crashing:
    """The worker ends by an error that a fresh one may not meet, say of a GPU."""

    reason: str


Event = Ready | Started | Progressed | Done | Failed | Broken | Crashing
Listener = Callable[[Event], None]
Build = Callable[[WorkerSettings, Callable[[str], None]], "Extractor"]


class TaskFeed(Iterator["Task | None"]):
    """The tasks of a worker in their order; None where none is at hand right now."""

    def __init__(self) -> None:
        self._tasks: deque[Task] = deque()

    def put(self, task: Task) -> None:
        """Append a task; any thread may do so."""
        self._tasks.append(task)

    def __next__(self) -> Task | None:
        try:
            return self._tasks.popleft()
        except IndexError:
            return None


def build_extractor(settings: WorkerSettings, note: Callable[[str], None]) -> Extractor:
    """Make the extractor of a worker.

    Args:
        settings: of the run.
        note: takes lines for the person in front of the run.

    Raises:
        UsageError: settings that do not fit.
        WeightsError: weights are missing and cannot be fetched.
    """
    import torch

    from hrpro.extract.extractor import Extractor
    from hrpro.pipeline.recipe import choose_streams, make_recipe

    if settings.num_threads:
        torch.set_num_threads(settings.num_threads)
    return Extractor(
        make_recipe(choose_streams(settings.recipe, note)),
        device=settings.device,
        precision=settings.precision,
        batch_size=settings.batch_size,
        compile=settings.compile,
        progress=settings.show_download,
    )


def serve(
    settings: WorkerSettings, build: Build, feed: TaskFeed, say: Callable[[Event], None]
) -> None:
    """Be a worker: say `Ready`, then what becomes of the tasks. It returns only after an error.

    Args:
        settings: of the run.
        build: makes the extractor.
        feed: the tasks.
        say: takes the events, from several threads. The last one is `Broken` or `Crashing`.
    """
    notes: list[str] = []
    ready = False
    try:
        extractor = build(settings, notes.append)
        say(introduce(extractor, notes))
        ready = True
        for event in work(extractor, feed, say, strict=settings.strict, dtype=settings.dtype):
            say(event)
    except Exception as error:
        text = f"{type(error).__name__}: {' '.join(str(error).split())}"
        with suppress(OSError):  # nobody listens any more
            if ready and not isinstance(error, HrproError):
                say(Crashing(text))
            else:  # other errors may not go through a pipe
                told = error if isinstance(error, HrproError) else RuntimeError(text)
                say(Broken(told, traceback.format_exc()))


def introduce(extractor: Extractor, notes: Sequence[str] = ()) -> Ready:
    """What a worker says first.

    Args:
        extractor: its own.
        notes: lines for the person in front of the run.
    """
    devices = [str(extractor.device)]
    if extractor.device.type == "cuda" and extractor.device.index is None:
        import torch

        devices = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return Ready(
        worker=process_name(),
        fingerprint=extractor.fingerprint,
        devices=tuple(devices),
        at_hand=_AT_HAND.get(extractor.device.type, _AT_HAND_ELSEWHERE),
        notes=tuple(notes),
    )


def process_name() -> str:
    """``host:pid`` of this process."""
    return f"{platform.node()}:{os.getpid()}"


def work(
    extractor: Extractor,
    feed: TaskFeed,
    listener: Listener,
    *,
    strict: bool = False,
    dtype: str = "float32",
) -> Iterator[Done | Failed]:
    """Extract the videos of a feed, which may grow meanwhile. It does not end: close it.

    Args:
        extractor: networks and recipe.
        feed: the videos.
        listener: takes `Started` (in the thread that decodes) and `Progressed` events.
        strict: a truncated video fails instead of giving features up to the damage.
        dtype: ``float32`` or ``float16``, as written.

    Yields:
        What became of each video.

    Raises:
        HrproError: features cannot be written (disk full), or the device has no memory for even
            the smallest batch.
    """
    began: dict[str, float] = {}
    reported: dict[str, float] = {}

    def started(task: Task) -> None:
        began[task.key] = reported[task.key] = time.monotonic()
        listener(Started(task.key))

    def progress(task: Task, done_s: float, duration_s: float) -> None:
        if (now := time.monotonic()) - reported[task.key] > _PROGRESS_S:
            reported[task.key] = now
            listener(Progressed(task.key, done_s, duration_s))

    tasks = (task and task._replace(strict=strict) for task in feed)
    with closing(extractor.extract_many(tasks, progress=progress, started=started)) as results:
        for task, result in results:
            outcome = _write(task, result, dtype)
            seconds = time.monotonic() - began.pop(task.key)
            if isinstance(outcome, Exception):
                yield Failed(task.key, _reason(outcome, task.path), seconds)
            else:
                facts, warnings = outcome.sidecar.video, tuple(outcome.report.warnings)
                yield Done(
                    task.key,
                    facts.num_snippets,
                    facts.duration_s,
                    seconds,
                    warnings,
                    facts.lost_s,
                )
            del reported[task.key]


def _write(task: Task, result: VideoFeatures | Exception, dtype: str) -> VideoFeatures | Exception:
    """Write the features of a video; return them, or what is wrong with this one video."""
    if isinstance(result, Exception):
        return result
    if not np.isfinite(result.features).all():
        return VideoError(f"{task.path}: the network gave NaN; try --precision float32")
    sidecar = result.sidecar.model_copy(update={"dtype": dtype})
    try:
        write_features(task.target, result.features.astype(dtype, copy=False), sidecar)
    except HrproError as error:
        if getattr(error.__cause__, "errno", None) not in _ERRORS_OF_ONE_NAME:
            raise
        return error
    return result


def _reason(error: Exception, path: Path) -> str:
    """Say in one line what is wrong with a video, without its name."""
    text = (str(error).splitlines() or [""])[0].removeprefix(f"{path}: ")
    if isinstance(error, (HrproError, MemoryError, RuntimeError, OSError)):
        return text or type(error).__name__
    return f"internal error: {type(error).__name__}: {text}"
