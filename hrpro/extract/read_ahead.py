"""Run iterators, and work on their items, ahead of the consumer in background threads."""

from __future__ import annotations

import queue
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import ExitStack
from typing import Any, Generic, NamedTuple, TypeVar

J = TypeVar("J")
T = TypeVar("T")

_END = object()
_POLL_S = 0.1  # how soon a producer that waits for a free place notices that nobody wants it
_IDLE_S = 0.02  # from one question for a job to the next, where none is at hand
_PATIENCE_S = 2.0  # to wait for threads that were told to stop


class Prefetcher(Iterator[T], Generic[T]):
    """Iterator over what a daemon thread has produced ahead; see `prefetch`."""

    def __init__(self, iterable: Iterable[T], depth: int) -> None:
        if depth < 1:
            raise ValueError(f"depth must be at least 1, not {depth}")
        self._queue: queue.Queue = queue.Queue(depth)
        self._stop = threading.Event()
        # The thread must not hold a reference to self, or an abandoned prefetcher would live on.
        self._thread = threading.Thread(
            target=_produce, args=(iterable, self._queue, self._stop), name="prefetch", daemon=True
        )
        self._abandon = weakref.finalize(self, self._stop.set)
        self._thread.start()

    def __iter__(self) -> Prefetcher[T]:
        return self

    def __next__(self) -> T:
        if self._stop.is_set():
            raise StopIteration
        item, error = self._queue.get()
        if item is not _END:
            return item
        self.close()
        if error is not None:
            raise error
        raise StopIteration

    def close(self) -> None:
        """Stop the thread, wait for it, and drop what it had ready; safe to call again."""
        self._stop.set()
        self._thread.join()
        with self._queue.mutex:
            self._queue.queue.clear()

    def __enter__(self) -> Prefetcher[T]:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def prefetch(iterable: Iterable[T], depth: int = 64) -> Prefetcher[T]:
    """Iterate in a daemon thread that stays up to `depth` items ahead of the consumer.

    Decoding releases the interpreter lock, so it overlaps with the network. The thread starts at
    once; an exception of the iterable is raised again in the consumer. Use it as a context
    manager, so that leaving early (break, Ctrl-C, an error) stops the thread:

        with FrameReader(path) as reader, prefetch(reader, 64) as frames:
            for frame in frames: ...

    A generator or an object with `close()` is closed by the thread that ran it. A prefetcher
    that is dropped without `close` stops too.
    """
    return Prefetcher(iterable, depth)


def _produce(iterable: Iterable, ready: queue.Queue, stop: threading.Event) -> None:
    error: BaseException | None = None
    iterator: Iterator | None = None
    try:
        iterator = iter(iterable)
        for item in iterator:
            if not _put(ready, (item, None), stop):
                break
    except BaseException as raised:
        error = raised
    finally:
        try:
            if (close := getattr(iterator, "close", None)) is not None:
                close()
        except BaseException as raised:
            error = error or raised
        _put(ready, (_END, error), stop)


def _put(ready: queue.Queue, entry: object, stop: threading.Event) -> bool:
    """Queue an entry; False when the consumer has gone."""
    while not stop.is_set():
        try:
            ready.put(entry, timeout=_POLL_S)
        except queue.Full:
            continue
        return True
    return False


def map_ahead(
    function: Callable[[J], T], items: Iterable[J], pool: Executor | None, ahead: int
) -> Iterator[tuple[J, T]]:
    """Yield each item with its result, in order, while `ahead` more are computed in the pool.

    Without a pool each result is computed when it is asked for.
    """
    if pool is None:
        yield from ((item, function(item)) for item in items)
        return
    waiting: deque[tuple[J, Future[T]]] = deque()
    try:
        for item in items:
            waiting.append((item, pool.submit(function, item)))
            if len(waiting) > ahead:
                item, future = waiting.popleft()
                yield item, future.result()
        while waiting:
            item, future = waiting.popleft()
            yield item, future.result()
    finally:
        for _, future in waiting:
            future.cancel()


class Produced(NamedTuple):
    """One item of one job, as `prefetch_each` hands it out."""

    job: Any
    item: Any
    """None: the job has come to its end."""
    error: Exception | None = None
    """What ended the job, if it was not the end of its items."""


def prefetch_each(
    jobs: Iterable[J | None],
    work: Callable[[J], Iterable[T]],
    *,
    threads: int = 1,
    depth: int = 2,
) -> Generator[Produced | None, None, None]:
    """Work on several jobs at once, each in one of a few daemon threads, ahead of the consumer.

    Items of one job come in their order; an error ends its job alone. Close the generator to stop
    early: threads close what they have open and end, at the latest when a computation that is
    under way is over; the caller does not wait longer than a moment for that.

    Args:
        jobs: taken one by one when a thread is free. It must not block: None says that there is
            none at hand right now, and it is asked again soon.
        work: gives the items of a job; runs in the threads.
        threads: jobs that are worked on at the same time.
        depth: most items that wait for the consumer.

    Yields:
        Items and ends of jobs; None when no job was at hand and nothing is under way.

    Raises:
        Exception: what `jobs` itself raises.
    """
    team = _Team(jobs, work, depth)
    members = [
        threading.Thread(target=team.run, name="prefetch", daemon=True) for _ in range(threads)
    ]
    for member in members:
        member.start()
    try:
        working = threads
        while working:
            produced = team.ready.get()
            if produced is _END:
                working -= 1
            elif isinstance(produced, BaseException):
                raise produced
            else:
                yield produced
    finally:
        team.stop.set()
        deadline = time.monotonic() + _PATIENCE_S
        for member in members:
            member.join(max(0.0, deadline - time.monotonic()))


class _Team(Generic[J, T]):
    """What the threads of `prefetch_each` share."""

    def __init__(self, jobs: Iterable[J | None], work: Callable[[J], Iterable[T]], depth: int):
        self.ready: queue.Queue = queue.Queue(depth)
        self.stop = threading.Event()
        self._jobs = iter(jobs)
        self._work = work
        self._taking = threading.Lock()
        self._under_way = 0

    def run(self) -> None:
        """Take jobs until there are none; what each thread does."""
        try:
            while not self.stop.is_set():
                with self._taking:
                    job: Any = next(self._jobs, _END)
                    idle = job is None and not self._under_way
                    if job is not None and job is not _END:
                        self._under_way += 1
                if job is _END:
                    break
                if job is None:
                    if idle:
                        _put(self.ready, None, self.stop)
                    self.stop.wait(_IDLE_S)
                    continue
                self._produce(job)
                with self._taking:
                    self._under_way -= 1
        except BaseException as raised:
            _put(self.ready, raised, self.stop)
        _put(self.ready, _END, self.stop)

    def _produce(self, job: J) -> None:
        error = None
        try:
            with ExitStack() as stack:
                items = iter(self._work(job))
                if hasattr(items, "close"):
                    stack.callback(items.close)
                for item in items:
                    if not _put(self.ready, Produced(job, item), self.stop):
                        return
        except Exception as raised:
            error = raised
        _put(self.ready, Produced(job, None, error), self.stop)
