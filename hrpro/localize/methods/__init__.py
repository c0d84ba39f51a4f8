"""The registry of methods: ways to learn to localize, each a package of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from hrpro.localize.method_names import unknown_method
from hrpro.localize.methods.base import Method, MethodConfig
from hrpro.localize.methods.fustal.config import GeneratorConfig
from hrpro.localize.methods.hrpro.config import HrproConfig
from hrpro.localize.methods.sal.config import SalConfig
from hrpro.localize.methods.student.config import GeneratedConfig, MarksStudentConfig


class FustalConfig(GeneratedConfig):
    """How FuSTAL learns: its generator, then the student."""

    method: Literal["fustal"] = "fustal"
    generator: GeneratorConfig = Field(GeneratorConfig(), validate_default=True)


class HrproStudentConfig(GeneratedConfig):
    """How the student learns behind HR-Pro."""

    method: Literal["hrpro+student"] = "hrpro+student"
    generator: HrproConfig = Field(HrproConfig(), validate_default=True)


class SalStudentConfig(GeneratedConfig):
    """How the student learns behind SAL."""

    method: Literal["sal+student"] = "sal+student"
    generator: SalConfig = Field(SalConfig(), validate_default=True)


@dataclass(frozen=True)
class Registered:
    """A method, and where to find it."""

    config: type[MethodConfig]
    load: Callable[[], Method[Any]]
    """Imports the method; a config can be read without it."""
    generator: str | None = None
    """The method whose settings stand in section ``generator``, if it is one of these itself."""


def _hrpro() -> Method[HrproConfig]:
    from hrpro.localize.methods.hrpro.method import HrproMethod

    return HrproMethod()


def _sal() -> Method[SalConfig]:
    from hrpro.localize.methods.sal.method import SalMethod

    return SalMethod()


def _fustal() -> Method[FustalConfig]:
    from hrpro.localize.methods.fustal.method import GeneratorMethod

    return _student(GeneratorMethod())


def _student(generator: Method[Any] | None = None) -> Method[Any]:
    from hrpro.localize.methods.student.method import StudentMethod

    return StudentMethod(generator)


GENERATOR = "generator"
"""What stands before the settings of a generator, and before the names of its weights."""

METHODS: dict[str, Registered] = {
    "hrpro": Registered(HrproConfig, _hrpro),
    "sal": Registered(SalConfig, _sal),
    "fustal": Registered(FustalConfig, _fustal),
    "hrpro+student": Registered(HrproStudentConfig, lambda: _student(_hrpro()), "hrpro"),
    "sal+student": Registered(SalStudentConfig, lambda: _student(_sal()), "sal"),
    "student": Registered(MarksStudentConfig, _student),
}
"""Methods by the name that ``localize.method`` gives."""

METHOD_FOR: dict[str, str] = {"labels": "fustal", "points": "hrpro", "full": "student"}
"""What to learn with from a kind of supervision, see `hrpro.localize.data.supervision`."""

BEST_FOR: dict[str, str] = {"labels": "fustal", "points": "hrpro+student", "full": "student"}
"""The same for people who rather wait: what was best where they were measured side by side."""


def find_method(name: object) -> Registered:
    """Find a method by its name in the config.

    Raises:
        UsageError: there is none; names the one that was probably meant.
    """
    if isinstance(name, str) and name in METHODS:
        return METHODS[name]
    raise unknown_method(name, METHODS)


def get_method(config: MethodConfig) -> Method[Any]:
    """Return the method that a config is of."""
    return find_method(config.method).load()
