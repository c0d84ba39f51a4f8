"""Run an iterator ahead of its consumer in a background thread."""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

_END = object()
_POLL_S = 0.1  # how soon a producer that waits for a free place notices that nobody wants it


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
            if hasattr(iterator, "close"):
                iterator.close()
        except BaseException as raised:
            error = error or raised
        _put(ready, (_END, error), stop)


def _put(ready: queue.Queue, entry: tuple, stop: threading.Event) -> bool:
    """Queue an entry; False when the consumer has gone."""
    while not stop.is_set():
        try:
            ready.put(entry, timeout=_POLL_S)
        except queue.Full:
            continue
        return True
    return False
