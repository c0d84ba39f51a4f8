"""Hand videos to workers, tell what becomes of them, and survive the crashes of workers.

A worker that dies is replaced. The videos it had begun are tried again, each alone in a worker, so
that the guilty one is found and the others get done; a video that crashed its worker twice is
poisoned: set aside until somebody asks for it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hrpro.errors import HrproError
from hrpro.extract.sources import VideoSource
from hrpro.features import Fingerprint
from hrpro.pipeline.console.progress import Failure, ManyProgress, Reporter, Summary
from hrpro.pipeline.workers.agenda import Agenda
from hrpro.pipeline.workers.engines import NOT_ITS_FAULT, Engine, WorkerHandle
from hrpro.pipeline.workers.ledger import Ledger, file_identity
from hrpro.pipeline.workers.work import (
    Broken,
    Done,
    Event,
    Failed,
    Progressed,
    Ready,
    Started,
    Task,
)

_WAIT_S = 0.5
_STOP_S = 1.0  # for workers to clean up before they are killed
_MAX_FRUITLESS = 10  # ends of workers in a row, with no video finished in between


class WorkerError(HrproError):
    """Workers cannot be kept alive."""


class RemoteTraceback(Exception):
    """Carries the stack trace of an error from the process in which it happened."""


@dataclass
class _Member:
    """A worker of the team and what it has to do."""

    handle: WorkerHandle
    device: str | None
    ready: Ready | None = None
    tasks: dict[str, Task] = field(default_factory=dict)
    """Handed out and not finished."""
    alone: bool = False
    """It has a suspect, and gets nothing beside it."""

    def has_room(self) -> bool:
        return self.ready is not None and not self.alone and len(self.tasks) < self.ready.at_hand

    def submit(self, task: Task, alone: bool = False) -> None:
        self.tasks[task.key] = task
        self.alone = alone
        self.handle.submit(task)


class Supervisor:
    """Extracts videos with the workers of an engine.

    Args:
        engine: where workers run.
        ledger: of the output folder.
        sources: the videos.
        targets: feature file of each, by its key.
        out: the output folder.
        reporter: where progress goes.
        overwrite: extract again what is there.
        retry_poisoned: try videos again that crashed their worker twice.
    """

    def __init__(
        self,
        engine: Engine,
        ledger: Ledger,
        sources: Sequence[VideoSource],
        targets: Mapping[str, Path],
        out: Path,
        *,
        reporter: Reporter,
        overwrite: bool = False,
        retry_poisoned: bool = False,
    ):
        self._engine = engine
        self._reporter = reporter
        self._summary = Summary()
        self._progress = ManyProgress(reporter)
        self._agenda = Agenda(
            sources,
            targets,
            out,
            ledger,
            self._summary,
            self._progress,
            overwrite=overwrite,
            retry_poisoned=retry_poisoned,
        )
        self._members: list[_Member] = []
        self._vacant: deque[str | None] = deque()
        """Devices whose worker has died."""
        self._num_workers = 1
        self._fingerprint: Fingerprint | None = None
        self._fruitless = 0

    def run(self) -> Summary:
        """Extract what is not there yet.

        Raises:
            UsageError: the folder holds features of another recipe, and to overwrite them was not
                asked for; or settings that do not fit.
            HrproError: features cannot be written, or no worker can be kept alive.
            KeyboardInterrupt: everything is stopped and put in order.
        """
        summary, agenda = self._summary, self._agenda
        try:
            self._start_worker(None)
            while self._fingerprint is None:
                self._listen()
            ready = time.monotonic()
            if pending := agenda.survey(self._fingerprint):
                sizes = {key: file_identity(agenda.path(key))[0] or 0 for key in pending}
                with self._progress.batch("extract", sizes):
                    self._start_the_others(len(pending))
                    self._work()
        finally:
            self._stop()
        summary.taken = agenda.taken
        summary.elapsed_s = time.monotonic() - ready
        summary.sort()
        return summary

    def _start_worker(self, device: str | None) -> None:
        self._members.append(_Member(self._engine.start(device, self._num_workers), device))

    def _start_the_others(self, num_videos: int) -> None:
        """Start as many workers as the machine and the number of videos call for."""
        first = self._members[0].ready
        assert first is not None
        self._num_workers = min(self._engine.num_workers(first), num_videos)
        for index in range(1, self._num_workers):
            self._start_worker(first.devices[index % len(first.devices)])

    def _work(self) -> None:
        while True:
            self._hand_out()
            while self._vacant and not self._agenda.is_empty:
                self._start_worker(self._vacant.popleft())
            if not self._agenda.is_empty or any(member.tasks for member in self._members):
                self._listen()
            elif not self._agenda.pick_up_dropped():
                return

    def _hand_out(self) -> None:
        """Give every worker what it has room for; a suspect to one that has nothing."""
        for member in self._members:
            if member.ready and not member.tasks:
                member.alone = False
                if suspect := self._agenda.next_suspect():
                    member.submit(suspect, alone=True)
            while member.has_room() and (task := self._agenda.next_task()):
                member.submit(task)
            if member.ready and not member.tasks and (suspect := self._agenda.next_suspect()):
                member.submit(suspect, alone=True)  # nothing else was left

    def _listen(self) -> None:
        """Wait for the workers and take in what they say; note who has died."""
        self._engine.wait([member.handle for member in self._members], _WAIT_S)
        for member in list(self._members):
            has_ended = member.handle.ended() is not None  # asked first: its last words are heard
            member.handle.poll(lambda event, member=member: self._on_event(member, event))
            if has_ended:  # asked again: its last words may say how
                self._on_end(member, member.handle.ended() or "")

    def _on_event(self, member: _Member, event: Event) -> None:
        match event:
            case Ready():
                self._on_ready(member, event)
            case Started(key):
                self._agenda.begin(key, member.handle.name)
            case Progressed(key, done_s, duration_s):
                self._progress.advance(key, done_s, duration_s)
            case Done():
                self._on_done(member, event)
            case Failed():
                self._on_failed(member, event)
            case Broken(error, trace):
                raise error from RemoteTraceback(f"\n{trace}")

    def _on_ready(self, member: _Member, ready: Ready) -> None:
        member.ready = ready
        if self._fingerprint is None:
            self._fingerprint = ready.fingerprint
            for note in ready.notes:
                self._reporter.line(note)
        elif differences := self._fingerprint.difference(ready.fingerprint):
            raise WorkerError(
                f"the workers would not make the same features ({'; '.join(differences)}); "
                "were weights replaced in the cache meanwhile?"
            )

    def _on_done(self, member: _Member, done: Done) -> None:
        key, path = done.key, self._agenda.path(done.key)
        for warning in done.warnings:
            self._summary.warnings.append(f"{key}: {warning}")
            self._reporter.line(f"warning: {path}: {warning}")
        self._reporter.detail(f"{key}: {done.num_snippets} snippets, {done.duration_s:.1f} s")
        self._summary.done.append(key)
        self._summary.video_s += done.duration_s
        self._summary.lost_s += done.lost_s
        self._fruitless = 0
        del member.tasks[key]
        self._agenda.finish(key, "done", seconds=done.seconds)
        self._progress.finish(key, done.duration_s)

    def _on_failed(self, member: _Member, failed: Failed) -> None:
        key = failed.key
        self._reporter.problem(f"failed: {self._agenda.path(key)}: {failed.reason}")
        self._summary.failed.append(Failure(key, failed.reason))
        self._fruitless = 0
        del member.tasks[key]
        self._agenda.finish(key, "failed", failed.reason, failed.seconds)
        self._progress.finish(key)

    def _on_end(self, member: _Member, how: str) -> None:
        """A worker died: see which videos it had, and leave its place to another one."""
        self._members.remove(member)
        member.handle.join(0)
        if how in NOT_ITS_FAULT:
            time.sleep(0.2)  # then this process is most likely to end as well
        if member.ready is None:
            if not self._members:
                raise WorkerError(
                    f"a worker ended before it was ready ({how}); if memory is short, try fewer "
                    "--workers or a smaller --batch-size"
                )
            return
        self._fruitless += 1
        if self._fruitless >= _MAX_FRUITLESS:
            raise WorkerError(
                f"{self._fruitless} workers in a row ended without finishing a video, the last "
                f"one by: {how}; `hrpro doctor` checks the installation"
            )
        self._vacant.append(member.device)
        self._reporter.line(f"a worker died ({how}); what it had begun is tried again")
        for task in member.tasks.values():
            if reason := self._agenda.lose(task, how, to_blame=how not in NOT_ITS_FAULT):
                self._reporter.problem(f"poisoned: {task.path}: {reason}")
                self._summary.poisoned.append(Failure(task.key, reason))
                self._progress.finish(task.key)

    def _stop(self) -> None:
        """End the workers and leave what is not finished to a later run."""
        busy = any(member.tasks for member in self._members)
        for member in self._members:
            member.handle.stop()
        deadline = time.monotonic() + (_STOP_S if busy else 0)
        for member in self._members:
            member.handle.join(max(0.0, deadline - time.monotonic()))
        self._agenda.close()
