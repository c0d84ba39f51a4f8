"""Settings of the whole process that several threads need changed for a while."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class SharedSwitch:
    """Changes a setting when the first asks for it, and restores it when the last is done.

    Args:
        change: changes the setting, and returns what it was.
        restore: takes that.
    """

    def __init__(self, change: Callable[[], Any], restore: Callable[[Any], None]):
        self._change, self._restore = change, restore
        self._lock = threading.Lock()
        self._num_users = 0
        self._before: Any = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Context in which the setting is changed."""
        with self._lock:
            if not self._num_users:
                self._before = self._change()
            self._num_users += 1
        try:
            yield
        finally:
            with self._lock:
                self._num_users -= 1
                if not self._num_users:
                    self._restore(self._before)
