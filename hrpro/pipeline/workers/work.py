"""What a worker does: build the networks once, then turn the videos it is given into files.

A worker is a process of its own (`hrpro.pipeline.workers.engines`), an actor on another machine,
or the process that asks. It takes `Job`s and answers with events. This module imports no network
before a worker is built, so that whoever only talks to workers starts at once.
"""

from __future__ import annotations

import errno
import os
import platform
import time
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from hrpro.arguments import check_choice
from hrpro.compute import ComputeOptions
from hrpro.errors import HrproError, VideoError
from hrpro.extract.jobs import Job
from hrpro.features import write_features
from hrpro.pipeline.workers.messages import (
    Broken,
    Done,
    Event,
    Failed,
    JobFeed,
    Listener,
    Progressed,
    Ready,
    Started,
    WorkerError,
)
from hrpro.wording import one_line

if TYPE_CHECKING:
    from hrpro.extract.config import ExtractConfig
    from hrpro.extract.extractor import Extractor
    from hrpro.extract.video_progress import VideoFeatures

_PROGRESS_S = 0.25  # at most one report of progress in so long
_AT_HAND = {"cuda": 16}  # videos that a worker knows of at a time, so that batches are full
_AT_HAND_ELSEWHERE = 2
# Errors of writing that are the fault of one name, not of the disk or the folder.
_ERRORS_OF_ONE_NAME = {errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.EILSEQ}


@dataclass(frozen=True)
class WorkerSettings:
    """How a worker makes features; plain values that go through any pipe."""

    recipe: dict[str, Any] = field(default_factory=dict)
    """Options of `make_recipe`. The worker settles the streams where they are left open."""
    compute: ComputeOptions = field(default_factory=ComputeOptions)
    num_threads: int | None = None
    """Threads of the networks on a CPU; all cores without."""
    strict: bool = False
    """A truncated video fails instead of giving features up to the damage."""
    dtype: str = "float32"
    """Of the numbers in feature files: ``float32`` or ``float16``."""
    show_download: bool = False

    def __post_init__(self) -> None:
        check_choice("--dtype", self.dtype, ("float32", "float16"))


class Output(Protocol):
    """What a worker makes of the features of a video: a file."""

    needs_logits: bool
    about: Mapping[str, Any]
    """What the file depends on besides the fingerprint of the features, as JSON holds it."""

    def write(self, job: Job, video: VideoFeatures) -> None:
        """Write the file of a video, complete or not at all.

        Raises:
            HrproError: it cannot be written, or nothing can be made of this video.
        """


class Workshop(NamedTuple):
    """What a worker works with."""

    extractor: Extractor
    output: Output


Build = Callable[[WorkerSettings, Callable[[str], None]], Workshop]
"""Builds the workshop of a worker; takes lines for the person in front of the run."""


class FeatureFiles:
    """The features themselves, each video's in a file; see `Output`.

    Args:
        dtype: ``float32`` or ``float16``, as written.
    """

    needs_logits = False

    def __init__(self, dtype: str = "float32"):
        self.about: Mapping[str, Any] = {}
        self._dtype = dtype

    def write(self, job: Job, video: VideoFeatures) -> None:
        """Write features and sidecar."""
        assert job.target is not None
        sidecar = video.sidecar.model_copy(update={"dtype": self._dtype})
        write_features(job.target, video.features.astype(self._dtype, copy=False), sidecar)


def make_extractor(config: ExtractConfig, settings: WorkerSettings) -> Extractor:
    """Make the networks of a worker.

    Args:
        config: the recipe.
        settings: device, threads, ...

    Raises:
        UsageError: settings that do not fit.
        WeightsError: weights are missing and cannot be fetched.
    """
    import torch

    from hrpro.extract.extractor import Extractor

    if settings.num_threads:
        torch.set_num_threads(settings.num_threads)
    return Extractor(config, settings.compute, progress=settings.show_download)


def serve(
    settings: WorkerSettings, build: Build, feed: JobFeed, say: Callable[[Event], None]
) -> None:
    """Be a worker: say `Ready`, then what becomes of the jobs. It returns only after an error.

    Args:
        settings: of the run.
        build: makes the workshop.
        feed: the jobs.
        say: takes the events, from several threads. The last one is `Broken`.
    """
    notes: list[str] = []
    try:
        workshop = build(settings, notes.append)
        say(introduce(workshop, notes))
        for event in work(workshop, feed, say, strict=settings.strict):
            say(event)
    except Exception as error:
        with suppress(OSError):  # nobody listens any more
            say(Broken(_innocently(error), traceback.format_exc()))


def _innocently(error: Exception) -> HrproError:
    """An error that is not that of a video, in words, and as a type that goes through a pipe."""
    from hrpro.devices import is_device_fault

    if isinstance(error, HrproError):
        return error
    text = f"{type(error).__name__}: {one_line(error)}"
    what, remedy = "the program", "--debug shows where"
    if is_device_fault(error):
        what = "the device"
        remedy = "try again, without --compile or --convolutions 2d, or with another --device"
    return WorkerError(f"an error of {what}, which no video is blamed for: {text} ({remedy})")


def introduce(workshop: Workshop, notes: Sequence[str] = ()) -> Ready:
    """What a worker says first.

    Args:
        workshop: its own.
        notes: lines for the person in front of the run.
    """
    extractor = workshop.extractor
    devices = [str(extractor.device)]
    if extractor.device.type == "cuda" and extractor.device.index is None:
        import torch

        devices = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return Ready(
        worker=process_name(),
        fingerprint=extractor.fingerprint,
        devices=tuple(devices),
        at_hand=_AT_HAND.get(extractor.device.type, _AT_HAND_ELSEWHERE),
        notes=tuple(notes),
        about=workshop.output.about,
    )


def process_name() -> str:
    """``host:pid`` of this process."""
    return f"{platform.node()}:{os.getpid()}"


def work(
    workshop: Workshop, feed: JobFeed, listener: Listener, *, strict: bool = False
) -> Generator[Done | Failed]:
    """Make the files of the videos of a feed, which may grow meanwhile. It does not end: close it.

    Args:
        workshop: networks, and what is made of the features.
        feed: the videos.
        listener: takes `Started` (in the thread that decodes) and `Progressed` events.
        strict: a truncated video fails instead of giving features up to the damage.

    Yields:
        What became of each video.

    Raises:
        Exception: what is not the fault of a video: files cannot be written (disk full), the
            device has no memory for even the smallest batch or has failed, the program is wrong.
    """
    extractor, output = workshop
    began: dict[str, float] = {}
    reported: dict[str, float] = {}

    def started(job: Job) -> None:
        began[job.key] = reported[job.key] = time.monotonic()
        listener(Started(job.key))

    def progress(job: Job, done_s: float, duration_s: float) -> None:
        if (now := time.monotonic()) - reported[job.key] > _PROGRESS_S:
            reported[job.key] = now
            listener(Progressed(job.key, done_s, duration_s))

    jobs = (job and job._replace(strict=strict) for job in feed)
    results = extractor.extract_many(
        jobs, keep_logits=output.needs_logits, progress=progress, started=started
    )
    with closing(results):
        for job, result in results:
            error = _write(output, job, result)
            seconds = time.monotonic() - began.pop(job.key)
            if error is None:
                assert not isinstance(result, Exception)
                facts, warnings = result.sidecar.video, tuple(result.report.warnings)
                yield Done(
                    job.key,
                    facts.num_snippets,
                    facts.duration_s,
                    seconds,
                    warnings,
                    facts.lost_s,
                    extractor.waits.take(),
                )
            else:
                yield Failed(job.key, _reason(error, job.path), seconds)
            del reported[job.key]


def _write(output: Output, job: Job, result: VideoFeatures | Exception) -> Exception | None:
    """Write the file of a video; return what is wrong with this one video, if anything is."""
    from hrpro.devices import is_device_fault

    error = result if isinstance(result, Exception) else None
    if not isinstance(result, Exception):
        try:
            if not np.isfinite(result.features).all():
                raise VideoError(f"{job.path}: the network gave NaN; try --precision float32")
            output.write(job, result)
        except Exception as raised:
            if _is_of_the_disk(raised):
                raise
            error = raised
    if error is not None and is_device_fault(error):
        raise error
    return error


def _is_of_the_disk(error: Exception) -> bool:
    """Whether the next file could not be written either."""
    cause = error.__cause__
    return (
        isinstance(error, HrproError)
        and isinstance(cause, OSError)
        and cause.errno not in _ERRORS_OF_ONE_NAME
    )


def _reason(error: Exception, path: Path) -> str:
    """Say in one line what is wrong with a video, without its name."""
    text = (str(error).splitlines() or [""])[0].removeprefix(f"{path}: ")
    if isinstance(error, (HrproError, MemoryError, RuntimeError, OSError)):
        return text or type(error).__name__
    return f"internal error: {type(error).__name__}: {text}"
