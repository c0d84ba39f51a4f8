"""Numbers, names, times and errors in words, the same in every message."""

from __future__ import annotations

from collections.abc import Iterable


def count(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun: ``1 video``, ``3 videos``, ``2 classes``.

    Args:
        number: how many.
        one: the noun for one.
        many: the noun for another number; by default `one` with an s.
    """
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def some(names: Iterable[str], limit: int = 3) -> str:
    """Return the first names in order, and whether there are more: ``a, b, c, ...``."""
    listed = sorted(names)
    return ", ".join(listed[:limit]) + (", ..." if len(listed) > limit else "")


def and_more(number: int, hint: str = "") -> str:
    """Return what follows the first of several: `` (and 2 more)``; nothing if there are no more.

    Args:
        number: how many there are beside the first.
        hint: where they are to be seen.
    """
    return f" (and {number} more{hint})" if number > 0 else ""


def one_line(error: Exception | str) -> str:
    """Return what an error says without line breaks; its name if it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def clock(time_s: float) -> str:
    """Return a time in seconds as players show it: ``1:05``, ``1:02:03``."""
    minutes, seconds = divmod(int(time_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def megabytes(size_bytes: int) -> str:
    """Return the size of a file: ``51 MB``."""
    return f"{size_bytes / 1e6:.0f} MB"
