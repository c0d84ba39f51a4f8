"""The registry of methods: ways to learn to localize, each a package of its own."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hrpro.errors import UsageError
from hrpro.localize.methods.base import Method, MethodConfig
from hrpro.localize.methods.hrpro.config import HrproConfig
from hrpro.localize.methods.sal.config import SalConfig


@dataclass(frozen=True)
class Registered:
    """A method, and where to find it."""

    config: type[MethodConfig]
    load: Callable[[], Method[Any]]
    """Imports the method; a config can be read without it."""


def _hrpro() -> Method[HrproConfig]:
    from hrpro.localize.methods.hrpro.method import HrproMethod

    return HrproMethod()


def _sal() -> Method[SalConfig]:
    from hrpro.localize.methods.sal.method import SalMethod

    return SalMethod()


METHODS: dict[str, Registered] = {
    "hrpro": Registered(HrproConfig, _hrpro),
    "sal": Registered(SalConfig, _sal),
}
"""Methods by the name that ``localize.method`` gives."""


def find_method(name: object) -> Registered:
    """Find a method by its name in the config.

    Raises:
        UsageError: there is none; names the one that was probably meant.
    """
    if isinstance(name, str) and name in METHODS:
        return METHODS[name]
    close = difflib.get_close_matches(str(name), METHODS, n=1)
    guess = f"; did you mean {close[0]!r}?" if close else ""
    raise UsageError(f"localize.method: no method {name!r}{guess} (known: {', '.join(METHODS)})")


def get_method(config: MethodConfig) -> Method[Any]:
    """Return the method that a config is of."""
    return find_method(config.method).load()
