"""What an extraction waits for: shows which part of it is the bottleneck."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

PARTS = ("decoding", "conversion", "flow", "networks")
_PICTURES = "pictures"
"""What the networks wait for: all the other parts together, which run side by side."""


class Waits:
    """Adds up the seconds that each part was waited for; several threads may do so at once.

    A part is an iterator that takes from the one before it. What it waits for there is not its own.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._local = threading.local()
        self._seconds = dict.fromkeys((*PARTS, _PICTURES), 0.0)

    def of(self, part: str, items: Iterable[T]) -> Iterator[T]:
        """The items, the time they take booked to a part."""
        iterator, end = iter(items), object()
        try:
            while True:
                outer_s = getattr(self._local, "inner_s", 0.0)
                self._local.inner_s = 0.0
                started = time.perf_counter()
                item = next(iterator, end)
                took_s = time.perf_counter() - started
                with self._lock:
                    self._seconds[part] += took_s - self._local.inner_s
                self._local.inner_s = outer_s + took_s
                if item is end:
                    return
                yield item  # type: ignore[misc]
        finally:
            if (close := getattr(iterator, "close", None)) is not None:
                close()

    def pictures(self, items: Iterable[T]) -> Iterator[T]:
        """Items that the networks wait for, which other threads make."""
        return self.of(_PICTURES, items)

    def take(self) -> dict[str, float]:
        """Seconds that the networks, and through them everybody, waited for each part since.

        The wait for pictures is divided among their parts by the time that these took.
        """
        with self._lock:
            seconds = self._seconds
            self._seconds = dict.fromkeys(seconds, 0.0)
        pictures_s = seconds.pop(_PICTURES)
        before = [part for part in PARTS if part != "networks"]
        in_all_s = sum(seconds[part] for part in before)
        share = pictures_s / in_all_s if in_all_s else 0.0
        return {part: seconds[part] * (share if part in before else 1.0) for part in PARTS}
