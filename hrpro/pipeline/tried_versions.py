"""Which versions of Python and of the dependencies hrpro has been tried with.

The oldest of each are the lower bounds in hrpro's own metadata, which the core tests are run with;
the newest are below. ``docs/compatibility.md`` has the table of what ran with what.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Literal

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

NEWEST_PYTHON = "3.13"

NEWEST = {
    "torch": "2.15.0",
    "torchvision": "0.29.2",
    "pytorchvideo": "0.1.5",
    "opencv-python": "5.0.0.93",
    "av": "19.0.2",
    "numpy": "2.5.5",
    "pandas": "3.1.1",
    "click": "8.5.1",
    "filelock": "4.3.1",
    "matplotlib": "3.11.2",
    "packaging": "26.4",
    "Pillow": "13.0.0",
    "platformdirs": "4.14.8",
    "pydantic": "2.14.4",
    "PyYAML": "6.0.4",
    "requests": "2.34.2",
    "rich": "15.0.0",
    "ruamel.yaml": "0.19.1",
    "safetensors": "0.8.0",
    "starlette": "1.10.0",
    "tensorboard": "2.21.0",
    "uvicorn": "0.54.0",
}

Standing = Literal["tried", "newer", "too old", "absent"]


@dataclass(frozen=True)
class Installed:
    """A dependency as it is on this machine."""

    project: str
    version: str
    """Empty if it is absent."""
    bounds: SpecifierSet
    standing: Standing
    """``tried``: between the oldest and the newest version that were tried."""


def requirements(extra: str = "") -> Iterator[Requirement]:
    """What hrpro's metadata asks for, of the core or of one extra, on this Python."""
    for text in metadata.requires("hrpro") or []:
        requirement = Requirement(text)
        marker = requirement.marker
        if extra:
            if marker and not marker.evaluate({"extra": ""}) and marker.evaluate({"extra": extra}):
                yield requirement
        elif marker is None or marker.evaluate({"extra": ""}):
            yield requirement


def installed_dependencies() -> list[Installed]:
    """Every dependency of the core, and how its version stands to those that were tried."""
    return [_installed(requirement) for requirement in requirements()]


def python_is_newer(version: str) -> bool:
    """Whether this version of Python is newer than those that were tried."""
    return Version(version).release[:2] > Version(NEWEST_PYTHON).release


def _installed(requirement: Requirement) -> Installed:
    project, bounds = requirement.name, requirement.specifier
    try:
        version = metadata.version(project)
    except metadata.PackageNotFoundError:
        return Installed(project, "", bounds, "absent")
    standing: Standing = "tried"
    if not bounds.contains(version, prereleases=True):
        standing = "too old"
    # The base: "2.14.1+cpu" is 2.14.1 from elsewhere.
    elif project in NEWEST and Version(Version(version).public) > Version(NEWEST[project]):
        standing = "newer"
    return Installed(project, version, bounds, standing)
