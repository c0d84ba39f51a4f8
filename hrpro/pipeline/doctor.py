"""Look at the installation: versions, devices, weights, cache; and say how to mend what is off."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Literal

from hrpro import __version__
from hrpro.compute import ComputeOptions
from hrpro.errors import HrproError, UsageError
from hrpro.pipeline.tried_versions import (
    NEWEST,
    NEWEST_PYTHON,
    installed_dependencies,
    python_is_newer,
    requirements,
)
from hrpro.wording import megabytes

Status = Literal["ok", "warn", "missing"]

MIN_FREE_BYTES = 1 << 30
"""Below this the cache folder gets a warning: a weight file and its download need 100 MB."""

_H264_ENCODERS = ("libx264", "h264_nvenc", "libopenh264", "h264_videotoolbox")
_REINSTALL = "python -m pip install --upgrade --force-reinstall -e ."


@dataclass(frozen=True)
class Check:
    """One row of ``hrpro doctor``."""

    name: str
    status: Status
    """``warn``: something optional is absent; ``missing``: hrpro cannot do its main job."""
    detail: str
    remedy: str = ""
    """The command that mends it; empty if all is well."""


def diagnose(
    device: str | None = None, precision: str | None = None, convolutions: str | None = None
) -> list[Check]:
    """Check everything, without the network.

    Args:
        device: whose arithmetic is checked; a GPU if there is one.
        precision: in which numbers; by default the fastest that keeps the features.
        convolutions: in which form of I3D; see `hrpro.compute.ComputeOptions`.

    Raises:
        UsageError: there is no such device or precision; whatever else fails becomes a row.
    """
    examinations = {examine.__name__: examine for examine in _EXAMINATIONS}
    examinations["arithmetic"] = partial(
        _arithmetic, ComputeOptions(device, precision, convolutions=convolutions)
    )
    checks: list[Check] = []
    for name, examine in examinations.items():
        try:
            checks.extend(examine())
        except UsageError:
            raise
        except (HrproError, ImportError, OSError, RuntimeError, AttributeError) as error:
            # A broken installation is what this is for: report it and go on.
            checks.append(Check(name.removeprefix("_"), "missing", _first_line(error), _REINSTALL))
    return checks


def _python() -> Iterator[Check]:
    version = platform.python_version()
    note = f", newer than {NEWEST_PYTHON}, the last one tried" if python_is_newer(version) else ""
    yield Check("python", "ok", f"{version}{note} on {platform.platform()} ({sys.executable})")


def _packages() -> Iterator[Check]:
    yield Check("hrpro", "ok", f"{__version__} in {Path(__file__).parents[1]}")
    yield _import_check("torch", "torch")
    yield _import_check("torchvision", "torchvision")
    # Its .transforms do not import with current versions of torchvision; hrpro uses .models.
    yield _import_check("pytorchvideo", "pytorchvideo.models")
    yield _import_check("opencv", "cv2", project="opencv-python")


def _versions() -> Iterator[Check]:
    """How the versions of all dependencies stand to those that hrpro was tried with."""
    dependencies = installed_dependencies()
    for each in dependencies:
        remedy = f'python -m pip install "{each.project}{each.bounds}"'
        if each.standing == "too old":
            detail = f"{each.version} does not do; hrpro needs {each.bounds}"
            yield Check(f"{each.project} version", "missing", detail, remedy)
        elif each.standing == "absent":
            yield Check(f"{each.project} version", "missing", "not installed", remedy)
    newer = [
        f"{each.project} {each.version} (tried up to {NEWEST[each.project]})"
        for each in dependencies
        if each.standing == "newer"
    ]
    detail = f"{sum(each.standing == 'tried' for each in dependencies)} as tried"
    yield Check("versions", "ok", "; ".join([detail, *(f"newer: {each}" for each in newer)]))


def _import_check(name: str, module: str, project: str = "") -> Check:
    project = project or name
    try:
        with warnings.catch_warnings():  # deprecations between the libraries are not ours
            warnings.simplefilter("ignore")
            imported = importlib.import_module(module)
    except Exception as error:  # a binary package can fail to load in any way
        return Check(name, "missing", _first_line(error), _reinstall(project))
    return Check(name, "ok", _version(imported, project))


def _version(module: ModuleType, project: str) -> str:
    own = getattr(module, "__version__", None)
    return str(own) if own else metadata.version(project)


def _video_libraries() -> Iterator[Check]:
    check = _import_check("av", "av")
    if check.status != "ok":
        yield check
        return
    import av

    build = getattr(av, "ffmpeg_version_info", "")
    libraries = ", ".join(
        f"{name} {'.'.join(map(str, version))}" for name, version in av.library_versions.items()
    )
    yield Check("av", "ok", f"{check.detail}, FFmpeg {build}: {libraries}")
    encoders = [name for name in _H264_ENCODERS if _can_encode(name)]
    if encoders:
        yield Check("h264 encoder", "ok", ", ".join(encoders))
    else:
        detail = "this FFmpeg build cannot write H.264; --render needs it"
        remedy = "python -m pip install --force-reinstall --only-binary av av"
        yield Check("h264 encoder", "warn", detail, remedy)


def _can_encode(codec: str) -> bool:
    import av

    try:
        av.Codec(codec, "w")
    except ValueError:  # av's "unknown codec" errors are ValueErrors
        return False
    return True


def _devices() -> Iterator[Check]:
    import torch

    from hrpro.devices import cpu_name
    from hrpro.extract.i3d import best_dtype

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    precision = str(best_dtype("cpu")).removeprefix("torch.")
    yield Check("cpu", "ok", f"{cpu_name()}, {cores} usable cores, {precision} by default")
    if not torch.cuda.is_available():
        reason = "this torch is built without CUDA" if torch.version.cuda is None else "none found"
        yield Check("cuda", "ok", f"{reason}; hrpro runs on the CPU")
        return
    for index in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(index)
        yield Check(f"cuda:{index}", "ok", f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB")


def _weights() -> Iterator[Check]:
    from hrpro.extract.backbones import Stream
    from hrpro.extract.weights.library import find_weights

    absent: dict[Stream, Status] = {"rgb": "missing", "flow": "warn"}
    for stream, if_absent in absent.items():
        found = find_weights(stream)
        if found:
            detail = f"{found.name}, {megabytes(found.size_bytes)}, {found.path}"
            yield Check(f"{stream} weights", "ok", detail)
        else:
            remedy = f"hrpro weights fetch {stream}"
            yield Check(f"{stream} weights", if_absent, "not in the cache", remedy)


def _cache() -> Iterator[Check]:
    from hrpro.extract.weights.library import cache_dir

    folder = cache_dir()
    remedy = "set HRPRO_CACHE to a folder on a disk with room that you may write to"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        free = shutil.disk_usage(folder).free
    except OSError as error:
        yield Check("cache", "warn", f"{folder}: {error.strerror or error}", remedy)
        return
    detail = f"{folder}, {free / 1e9:.1f} GB free"
    enough = free >= MIN_FREE_BYTES
    yield Check("cache", "ok" if enough else "warn", detail, "" if enough else remedy)


_DEVELOPERS_EXTRAS = {"core-test", "dev", "test"}


def _extras() -> Iterator[Check]:
    """The optional packages that hrpro's own metadata names, extra by extra."""
    for extra in sorted(metadata.metadata("hrpro").get_all("Provides-Extra") or []):
        projects = [requirement.name for requirement in requirements(extra)]
        absent = [project for project in projects if not _is_installed(project)]
        if absent and extra in _DEVELOPERS_EXTRAS:
            yield Check(f"extra {extra}", "ok", "not installed; for work on hrpro itself")
        elif absent:
            remedy = f"python -m pip install {' '.join(absent)}"
            yield Check(f"extra {extra}", "warn", f"not installed: {', '.join(absent)}", remedy)
        else:
            yield Check(f"extra {extra}", "ok", ", ".join(projects))


def _is_installed(project: str) -> bool:
    try:
        metadata.version(project)
    except metadata.PackageNotFoundError:
        return False
    return True


def _arithmetic(compute: ComputeOptions) -> Iterator[Check]:
    """Whether this device computes features that are right."""
    from hrpro.devices import choose_device
    from hrpro.extract.arithmetic import FORMULA, check_arithmetic
    from hrpro.extract.extractor import choose_convolutions, choose_dtype

    place = choose_device(compute.device)
    dtype = choose_dtype(compute.precision, place)
    convolutions = choose_convolutions(compute)
    number = str(dtype).removeprefix("torch.")
    report = check_arithmetic(place, dtype, convolutions)
    weights = "made-up weights" if report.weights == FORMULA else "the RGB weights"
    form = ", 2-D convolutions" if convolutions == "2d" else ""
    detail = (
        f"I3D on {place} in {number}{form}, {weights}: cosine {report.cosine:.5f} with stored ones"
    )
    if report.right:
        yield Check("arithmetic", "ok", detail)
        return
    detail += f", and {report.least} is the least that will do; its features are wrong"
    remedy = "--device cpu" if number == "float32" else "--precision float32"
    remedy = "--convolutions 3d" if form else remedy
    yield Check("arithmetic", "missing", detail, f"use {remedy}, or another version of torch")


def _reinstall(project: str) -> str:
    return f"python -m pip install --upgrade --force-reinstall {project}"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


_EXAMINATIONS: tuple[Callable[[], Iterator[Check]], ...] = (
    _python,
    _packages,
    _versions,
    _video_libraries,
    _devices,
    _weights,
    _cache,
    _extras,
)
