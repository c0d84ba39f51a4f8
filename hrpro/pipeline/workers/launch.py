"""Start the engine that was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from hrpro.arguments import check_whole
from hrpro.errors import UsageError
from hrpro.pipeline.workers.engines import Engine, InlineEngine, LocalEngine
from hrpro.pipeline.workers.ray_engine import RayEngine, ray_cluster
from hrpro.pipeline.workers.work import Build, WorkerSettings

STALL_TIMEOUT_S = 600.0
"""More than any sound video was seen to take from one batch to the next, compilation included."""


@dataclass(frozen=True)
class WorkerOptions:
    """Where the workers of a run are, how many, and how long one of them may be silent.

    Raises:
        UsageError: a number that does not fit.
    """

    workers: int | None = 0
    """Worker processes; None for one per GPU, or one. With 0 this process does the work itself:
    a video that crashes the decoder takes it along, and nobody notices a decoder that hangs.
    Scripts that ask for workers need the usual ``if __name__ == "__main__":``."""
    engine: Literal["local", "ray"] = "local"
    """``local`` for this machine, ``ray`` for a Ray cluster, where workers are actors: one per
    GPU, or one per machine, if their number is not given."""
    address: str | None = None
    """Of the Ray cluster; see `ray_cluster`."""
    stall_timeout_s: float = STALL_TIMEOUT_S
    """A worker whose video gets no further for so many seconds is ended; 0 waits for ever."""

    def __post_init__(self) -> None:
        if self.workers is not None:
            check_whole("--workers", self.workers, "a whole number from 0 on")

    def at_most(self, num_videos: int) -> WorkerOptions:
        """No more workers than videos, so that those there are share all cores."""
        workers = min(self.workers, num_videos) if self.workers else self.workers
        return replace(self, workers=workers)


@contextmanager
def running_engine(
    options: WorkerOptions, settings: WorkerSettings, build: Build
) -> Iterator[Engine[Any]]:
    """The place where workers are to run, for the length of the block.

    Raises:
        UsageError: options that do not fit together, no such cluster.
    """
    if options.engine == "ray":
        with ray_cluster(options.address):
            yield RayEngine(settings, build, options.workers or None)
    elif options.address is not None:
        raise UsageError("--address goes with --engine ray")
    elif options.workers == 0:
        yield InlineEngine(settings, build)
    else:
        yield LocalEngine(settings, build, options.workers)
