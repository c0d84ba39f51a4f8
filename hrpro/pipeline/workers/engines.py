"""Where workers run: in processes of their own on this machine, or in the process that asks.

The supervisor knows workers only by the two protocols below, so that other engines can be added.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import queue
import signal
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing import connection, resource_tracker
from typing import Protocol, TypeVar

from hrpro.extract.jobs import Job
from hrpro.pipeline.workers.messages import Done, Event, Failed, JobFeed, Listener, Ready
from hrpro.pipeline.workers.work import (
    Build,
    WorkerSettings,
    introduce,
    process_name,
    serve,
    work,
)

ENDED_ON_REQUEST = "it was told to end (SIGTERM)"
MACHINE_GONE = "its machine is gone"
NOT_ITS_FAULT = {ENDED_ON_REQUEST, MACHINE_GONE}
"""How a worker ended that is not to blame its video for."""

_EXIT_ON_REQUEST = 128 + signal.SIGTERM
_ORPHAN_S = 5.0  # a worker whose parent is gone may take so long to clean up


class WorkerHandle(Protocol):
    """One worker, as its supervisor sees it.

    A worker builds its networks once, says `Ready` or `Broken`, and then runs
    `hrpro.pipeline.workers.work.work` on the jobs it is given until it is stopped. It writes the
    files itself; only jobs and events, which are small, pass between it and the supervisor. Calls
    come from one thread. No call raises because the worker has ended.
    """

    name: str
    """``host:pid``, as the ledger shows it; an actor that is not placed yet may have another."""

    def submit(self, job: Job) -> None:
        """Give it a video, in addition to those it has; does not wait."""

    def poll(self, listener: Listener) -> None:
        """Pass on all events since the last call, oldest first; does not wait for more.

        Everything a worker said before it ended is still passed on. The supervisor may raise out
        of `listener`.
        """

    def ended(self) -> str | None:
        """How it ended, in words, or None while it lives.

        One of `NOT_ITS_FAULT` if that was not the fault of a video: someone stopped it, or its
        machine was taken away. Everything else is a crash, which the videos that had started are
        blamed for.
        """

    def stop(self) -> None:
        """Ask it to drop its work and end; does not wait."""

    def join(self, timeout_s: float) -> None:
        """Wait for its end; after `timeout_s` make it end. It is the last call."""


Worker = TypeVar("Worker", bound=WorkerHandle)


class Engine(Protocol[Worker]):
    """A place where workers run; it waits for its own ones."""

    def start(self, device: str | None, num_workers: int) -> Worker:
        """Start a worker; does not wait until it is ready.

        Args:
            device: what it computes on; None for that of the settings.
            num_workers: how many there are to be in all, for a fair share of the cores.
        """

    def wait(self, workers: Sequence[Worker], timeout_s: float) -> None:
        """Wait until one of the workers has said something or has ended, or for `timeout_s`."""

    def num_workers(self, ready: Ready) -> int:
        """How many workers to run, now that the first one has told what there is."""


class LocalEngine:
    """Worker processes on this machine: a crash in one costs the videos it had begun, at most.

    Args:
        settings: of the run.
        build: makes the workshop in a process; found there by its module and name.
        num_workers: processes; by default one per GPU that can be seen, or one.
    """

    def __init__(self, settings: WorkerSettings, build: Build, num_workers: int | None = None):
        self._settings = settings
        self._num_workers = num_workers
        self._build = build

    def start(self, device: str | None, num_workers: int) -> LocalWorker:
        """See `Engine`."""
        # The first worker starts before it is known how many there will be.
        sharing = max(num_workers, self._num_workers or 1)
        threads = max(1, _num_cores() // sharing) if sharing > 1 else None
        settings = replace(self._settings, num_threads=threads)
        if device is not None:
            settings = replace(settings, compute=replace(settings.compute, device=device))
        return LocalWorker(settings, self._build)

    def wait(self, workers: Sequence[LocalWorker], timeout_s: float) -> None:
        """See `Engine`."""
        connection.wait([each for worker in workers for each in worker.signs()], timeout_s)

    def num_workers(self, ready: Ready) -> int:
        """See `Engine`."""
        return self._num_workers or len(ready.devices)


class LocalWorker:
    """A worker process; see `WorkerHandle`."""

    def __init__(self, settings: WorkerSettings, build: Build):
        # Spawned, because CUDA does not survive a fork, and neither do threads.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=worker_main, args=(theirs, settings, build), daemon=True
        )
        with _deaf_to_ctrl_c():
            self._process.start()
        theirs.close()  # or the end of the process would not end the pipe
        self.name = f"{platform.node()}:{self._process.pid}"

    def submit(self, job: Job) -> None:
        """See `WorkerHandle`."""
        with suppress(OSError):
            self._pipe.send(job)

    def poll(self, listener: Listener) -> None:
        """See `WorkerHandle`."""
        while event := self._receive():
            listener(event)

    def _receive(self) -> Event | None:
        try:
            return self._pipe.recv() if self._pipe.poll() else None
        except (EOFError, OSError):
            return None

    def ended(self) -> str | None:
        """See `WorkerHandle`."""
        code = self._process.exitcode
        if code is None:
            return None
        if code in (-signal.SIGTERM, _EXIT_ON_REQUEST):
            return ENDED_ON_REQUEST
        return _exit_in_words(code)

    def stop(self) -> None:
        """See `WorkerHandle`."""
        self._process.terminate()

    def join(self, timeout_s: float) -> None:
        """See `WorkerHandle`."""
        self._process.join(timeout_s)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
        self._process.close()
        self._pipe.close()

    def signs(self) -> list[connection.Connection | int]:
        """What becomes ready when it has said something or has ended."""
        return [self._pipe, self._process.sentinel]


class InlineEngine:
    """The one worker that is this process itself: nothing to start, no protection from crashes.

    Args:
        settings: of the run.
        build: makes the workshop.
    """

    def __init__(self, settings: WorkerSettings, build: Build):
        self._settings = settings
        self._build = build

    def start(self, device: str | None, num_workers: int) -> InlineWorker:
        """See `Engine`."""
        return InlineWorker(self._settings, self._build)

    def wait(self, workers: Sequence[WorkerHandle], timeout_s: float) -> None:
        """See `Engine`."""

    def num_workers(self, ready: Ready) -> int:
        """See `Engine`."""
        return 1


class InlineWorker:
    """This process as a worker; `poll` does the work, up to the end of the next video."""

    def __init__(self, settings: WorkerSettings, build: Build):
        self.name = process_name()
        self._settings = settings
        self._build = build
        self._feed = JobFeed()
        self._results: Generator[Done | Failed] | None = None
        self._num_open = 0
        self._said: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._listener: Listener | None = None
        self._poller = 0

    def submit(self, job: Job) -> None:
        """See `WorkerHandle`."""
        self._feed.put(job)
        self._num_open += 1

    def poll(self, listener: Listener) -> None:
        """See `WorkerHandle`; an error that is not the fault of a video is raised here."""
        self._listener, self._poller = listener, threading.get_ident()
        if self._results is None:
            self._begin()
        elif self._num_open:
            self._say(next(self._results))
            self._num_open -= 1

    def _begin(self) -> None:
        settings = self._settings
        notes: list[str] = []
        workshop = self._build(settings, notes.append)
        self._results = work(workshop, self._feed, self._say, strict=settings.strict)
        self._say(introduce(workshop, notes))

    def _say(self, event: Event) -> None:
        """Pass an event on; what decoding threads say waits until the thread of `poll` comes by."""
        self._said.put(event)
        if self._listener and threading.get_ident() == self._poller:
            while not self._said.empty():
                self._listener(self._said.get())

    def ended(self) -> str | None:
        """See `WorkerHandle`."""
        return None

    def stop(self) -> None:
        """See `WorkerHandle`."""
        if self._results is not None:
            self._results.close()

    def join(self, timeout_s: float) -> None:
        """See `WorkerHandle`."""


def worker_main(pipe: connection.Connection, settings: WorkerSettings, build: Build) -> None:
    """What a worker process does: jobs come in through the pipe, events go out."""
    signal.signal(signal.SIGTERM, _exit_on_request)
    feed, sending = JobFeed(), threading.Lock()

    def say(event: Event) -> None:
        with sending:
            pipe.send(event)

    threading.Thread(target=_receive_jobs, args=(pipe, feed), daemon=True).start()
    try:
        serve(settings, build, feed, say)
        os._exit(1)
    except SystemExit:  # what is open is closed by now; spare the long way out through torch
        os._exit(_EXIT_ON_REQUEST)


def _receive_jobs(pipe: connection.Connection, feed: JobFeed) -> None:
    try:
        while True:
            feed.put(pipe.recv())
    except (EOFError, OSError):  # the parent is gone: end too, and leave no half-written file
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(_ORPHAN_S)
        os._exit(_EXIT_ON_REQUEST)


def _exit_on_request(number: int, frame: object) -> None:
    signal.signal(number, signal.SIG_IGN)
    raise SystemExit(_EXIT_ON_REQUEST)


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Start processes that never see Ctrl-C, which reaches all processes of a terminal.

    Their supervisor ends them. A signal that comes meanwhile reaches this process afterwards.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # starting it later would undo the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _exit_in_words(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
    hint = "; out of memory?" if name == "SIGKILL" else ""
    return f"signal {-code}, {name}{hint}"


def _num_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
