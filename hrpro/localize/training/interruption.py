"""Ctrl-C and SIGTERM during training wait until what was learned is saved."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

PATIENCE_S = 2.0
"""Signals that come twice within this time, as to a process and to its group, are one."""
_STOPS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """A request to stop that came while it had to wait."""

    def __init__(self) -> None:
        self.number: int | None = None
        """Of the signal; None while nobody has asked."""
        self.at = 0.0
        """When it came, by the monotonic clock."""

    def __bool__(self) -> bool:
        return self.number is not None


@contextmanager
def held_back() -> Iterator[Interruption]:
    """Hold back the first Ctrl-C or SIGTERM; it comes into effect when the block ends.

    The block looks at the `Interruption` now and then, and ends soon if there is one. Who asks
    again after `PATIENCE_S` does not want to wait: that signal acts at once. Only the main thread
    gets signals; in others this does nothing.
    """
    asked = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.getsignal(number) for number in _STOPS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, frame: FrameType | None) -> None:
        if not asked:
            asked.number, asked.at = number, time.monotonic()
        elif time.monotonic() - asked.at > PATIENCE_S:
            restore()
            signal.raise_signal(number)

    # What is ignored, or not Python's to handle, stays so.
    for number, handler in before.items():
        if handler not in (signal.SIG_IGN, None):
            signal.signal(number, note)
    try:
        yield asked
    finally:
        restore()
    if asked.number is not None:
        signal.raise_signal(asked.number)
