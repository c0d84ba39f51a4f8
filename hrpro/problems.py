"""Collect what is wrong with input files, so that one look shows everything, not just the first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hrpro.errors import DataError
from hrpro.wording import and_more

Severity = Literal["error", "missing", "warning"]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where it is, what it is, what to do about it."""

    severity: Severity
    """``error`` (wrong), ``missing`` (not there yet) or ``warning`` (usable as it is)."""
    where: str
    """File, or ``file:line``."""
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        """Return one line: ``where: what; remedy``."""
        return f"{self.where}: {self.what}" + (f"; {self.remedy}" if self.remedy else "")


class Problems:
    """A growing list of `Problem`; readers add to it and go on."""

    def __init__(self) -> None:
        self._items: list[Problem] = []

    def error(self, where: str | Path, what: str, remedy: str = "") -> None:
        """Add something wrong that must be put right."""
        self._items.append(Problem("error", str(where), what, remedy))

    def missing(self, where: str | Path, what: str, remedy: str = "") -> None:
        """Add something that is not there yet."""
        self._items.append(Problem("missing", str(where), what, remedy))

    def warning(self, where: str | Path, what: str, remedy: str = "") -> None:
        """Add something worth knowing that stops nobody."""
        self._items.append(Problem("warning", str(where), what, remedy))

    def add_exception(self, error: DataError) -> None:
        """Add an exception whose message already names file and remedy."""
        where, _, what = str(error).partition(": ")
        self.error(where, what)

    def __iter__(self) -> Iterator[Problem]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What is worth knowing but stops nobody."""
        return tuple(problem for problem in self if problem.severity == "warning")

    @property
    def blocking(self) -> tuple[Problem, ...]:
        """Errors and missing things, in the order they were found."""
        return tuple(problem for problem in self if problem.severity != "warning")

    def raise_first(self, hint: str = "") -> None:
        """Raise the first blocking problem, if there is one.

        Raises:
            DataError: one line; says how many more there are, and `hint` where to see them.
        """
        blocking = self.blocking
        if not blocking:
            return
        raise DataError(f"{blocking[0]}{and_more(len(blocking) - 1, hint)}")
