"""``hrpro watch``: detect in the files of a folder as they arrive, for as long as it runs.

Folders are looked through again and again, which works on network drives, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hrpro.errors import DataError, HrproError, UsageError
from hrpro.extract.probe import probe
from hrpro.extract.sources import VideoSource
from hrpro.files import check_folder, inside
from hrpro.pipeline.clips.plan import ClipOptions
from hrpro.pipeline.clips.run import ClipOutputs, clips_of
from hrpro.pipeline.console.progress import Reporter, Summary
from hrpro.pipeline.detectors.base import DetectOptions
from hrpro.pipeline.detectors.parts import ResultParts
from hrpro.pipeline.detectors.worker import build_detection, check_model
from hrpro.pipeline.gather import with_events
from hrpro.pipeline.results.events import EventOptions
from hrpro.pipeline.results.formats import format_of, write_results
from hrpro.pipeline.results.model import Results
from hrpro.pipeline.workers.agenda import Assignment
from hrpro.pipeline.workers.launch import WorkerOptions, running_engine
from hrpro.pipeline.workers.leases import Visit
from hrpro.pipeline.workers.ledger import Ledger, file_identity
from hrpro.pipeline.workers.supervisor import Supervisor
from hrpro.pipeline.workers.work import WorkerSettings
from hrpro.videos_folder import video_key, videos_below
from hrpro.wording import count, one_line

_PARTS = ".parts"
"""Holds what is done, in the target folder; a watch that is started again goes on from it."""
_VISITS = ".runs"
_CLIPS = "clips"

Identity = tuple[int | None, int | None]
"""Size in bytes and time of the last change of a file."""


@dataclass(frozen=True)
class WatchOptions:
    """What to make of a file, and when it is complete.

    Raises:
        UsageError: an unknown format, or a time that is none.
    """

    settle_s: float = 10.0
    """A file that has not changed for so long is taken to be complete."""
    poll_s: float = 2.0
    """The folder is looked through this often."""
    formats: tuple[str, ...] = ("json",)
    """Files to write of each video, by their suffixes."""
    clips: bool = False
    """Cut the events out of each video, too."""

    def __post_init__(self) -> None:
        if self.settle_s < 0 or self.poll_s <= 0:
            raise UsageError("--settle takes seconds from 0 on, --poll seconds above 0")
        for name in self.formats:
            if not format_of(f"--format {name}", name).for_detections:
                raise UsageError(f"--format {name}: is for labels by people; take json or csv")


@dataclass
class Tally:
    """How many files were handled so far."""

    done: int = 0
    failed: int = 0

    def line(self) -> str:
        """In one line."""
        return f"{self.done} done, {self.failed} failed"


class Incoming:
    """The videos of a folder, each once when it is complete, and again when it has changed.

    Args:
        folder: is searched with its folders.
        settle_s: how long a file must stay as it is.
        apart: a folder below it that is not searched.
        now: the time in seconds.
    """

    def __init__(
        self,
        folder: Path,
        settle_s: float,
        apart: Path | None = None,
        now: Callable[[], float] = time.monotonic,
    ):
        self._folder = folder
        self._settle_s = settle_s
        self._apart = None if apart is None else apart.resolve()
        self._now = now
        self._seen: dict[str, tuple[Identity, float]] = {}
        """Files with what they were, and since when they are so."""
        self._given: dict[str, Identity] = {}

    def ready(self) -> list[VideoSource]:
        """Look through the folder; return the files that have become complete.

        Raises:
            DataError: a folder cannot be listed.
        """
        now = self._now()
        before, self._seen = self._seen, {}
        ready = []
        for path in sorted(self._videos()):
            key, identity = video_key(path, self._folder), file_identity(path)
            if identity[0] is None:
                continue  # gone in this moment
            last, since = before.get(key, (None, now))
            self._seen[key] = identity, since if last == identity else now
            if self._given.get(key) != identity and now - self._seen[key][1] >= self._settle_s:
                self._given[key] = identity
                ready.append(VideoSource(path, key, self._folder))
        self._given = {key: given for key, given in self._given.items() if key in self._seen}
        return ready

    def _videos(self) -> Iterator[Path]:
        for path in videos_below(self._folder):
            if self._apart is None or self._apart not in path.resolve().parents:
                yield path


def watch(
    folder: Path,
    out: Path,
    options: DetectOptions | None = None,
    watching: WatchOptions | None = None,
    *,
    events: EventOptions | None = None,
    settings: WorkerSettings | None = None,
    workers: WorkerOptions | None = None,
    reporter: Reporter | None = None,
    until: Callable[[], bool] = lambda: False,
) -> Tally:
    """Detect in every video of a folder, and in every one that arrives there.

    A file that still grows is left alone, and so is one that cannot be opened: it is told of once,
    and tried again when it has changed. What is done is not done again, also by a later call.

    Args:
        folder: is searched with its folders, again and again.
        out: gets ``VIDEO.json`` and what else is wanted of each video, in the same folders.
        options: the model, and what to report.
        watching: when a file is complete, what is written.
        events: how events are made of what is found; by default as the model recommends it.
        settings: the recipe, what to compute on.
        workers: where and how many. Worker processes end with each batch of new files, so that
            this process needs no more memory after weeks than at first.
        reporter: where is told what happens; silent by default.
        until: asked after each look; true ends the watch, else Ctrl-C does.

    Returns:
        How many files were done, and how many failed.

    Raises:
        UsageError: wrong options, no such folder, another watch with the same `out`.
        HrproError: results cannot be written, workers cannot be kept alive.
        KeyboardInterrupt: everything is stopped and put in order.
    """
    reporter, watching = reporter or Reporter(quiet=True), watching or WatchOptions()
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder")
    options = options or DetectOptions()
    check_model(options.model)
    check_folder(out)
    desk = _Desk(
        out,
        options,
        watching,
        events or EventOptions(),
        settings or WorkerSettings(),
        workers or WorkerOptions(),
        reporter,
    )
    # Clips are videos, too. Results may also lie beside the videos, or above them.
    is_below = folder.resolve() in out.resolve().parents
    apart = out if is_below else out / _CLIPS
    incoming = Incoming(folder, watching.settle_s, apart)
    trouble = ""
    with closing(Visit(out / _PARTS / _VISITS)) as visit:
        if not visit.is_alone():
            raise UsageError(f"{out}: another hrpro watch writes there; choose another folder")
        reporter.line(f"watching {folder} (Ctrl-C ends it)")
        while True:
            try:
                desk.handle(incoming.ready())
                trouble = ""
            except DataError as error:  # the folder is away for a while
                if trouble != (trouble := one_line(error)):
                    reporter.problem(f"warning: {trouble}")
            if until():
                return desk.tally
            time.sleep(watching.poll_s)


class _Desk:
    """Handles what comes in."""

    def __init__(
        self,
        out: Path,
        options: DetectOptions,
        watching: WatchOptions,
        events: EventOptions,
        settings: WorkerSettings,
        workers: WorkerOptions,
        reporter: Reporter,
    ):
        self.tally = Tally()
        self._out = out
        self._options = options
        self._watching = watching
        self._events = events
        self._settings = settings
        self._workers = workers
        self._reporter = reporter

    # What failed is told of once: `Incoming` gives a file again only when it has changed.
    def handle(self, sources: Sequence[VideoSource]) -> None:
        """Detect in complete files and write what was asked for."""
        sources = [source for source in sources if self._can_be_opened(source)]
        if not sources:
            return
        parts = ResultParts(sources, self._out / _PARTS, by_key=True)
        written: set[str] = set()

        def collect(summary: Summary) -> None:
            for key in [*summary.skipped, *summary.done]:
                if key not in written:
                    written.add(key)
                    self._write(key, parts, is_new=key in summary.done)

        workers = self._workers.at_most(len(sources))
        build = partial(build_detection, self._options)
        with running_engine(workers, self._settings, build) as engine:
            ledger = Ledger(parts.folder, self._reporter.problem)
            summary = Supervisor(
                engine,
                Assignment("detect", sources, parts, ledger),
                reporter=self._reporter,
                stall_timeout_s=workers.stall_timeout_s,
                watch=collect,
            ).run()
        collect(summary)
        self.tally.done += len(summary.done)
        self.tally.failed += len(summary.failed) + len(summary.poisoned)

    def _can_be_opened(self, source: VideoSource) -> bool:
        try:
            probe(source.path)
        except HrproError as error:
            self._reporter.problem(f"left alone until it changes: {one_line(error)}")
            self.tally.failed += 1
            return False
        return True

    def _write(self, key: str, parts: ResultParts, is_new: bool) -> None:
        """Write the files of one video; those that are there stay, unless it was done anew."""
        video, model = parts.read(key)
        results = with_events(Results((video,), model), self._events)
        for name in self._watching.formats:
            target = inside(self._out, f"{key}.{name}")
            if is_new or not target.is_file():
                write_results(results, target)
        if self._watching.clips:
            folder = inside(self._out / _CLIPS, key)
            with suppress(UsageError):
                clips_of(results, ClipOutputs(folder), ClipOptions(), reporter=self._reporter)
        if is_new:
            found = results.videos[0].spans
            self._reporter.line(f"{key}: {count(len(found), 'event')}")
