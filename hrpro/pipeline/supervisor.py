"""Hand videos to workers, note in the ledger what becomes of them, and survive their crashes.

Every video is claimed before it is handed out, so that several supervisors, on one machine or
many, can share an output folder. A worker that dies is replaced. The videos it had begun are tried
again, each alone in a worker, so that the guilty one is found and the others get done; a video that
crashed its worker twice is poisoned: set aside until somebody asks for it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from hrpro.errors import HrproError, UsageError
from hrpro.extract.sources import VideoSource
from hrpro.features import Fingerprint, sidecar_path
from hrpro.files import remove_leftovers
from hrpro.pipeline.batch import feature_state
from hrpro.pipeline.ledger import Ledger, Record, file_identity, utc_now
from hrpro.pipeline.progress import Failure, ManyProgress, Reporter, Summary
from hrpro.pipeline.worker import (
    Broken,
    Done,
    Event,
    Failed,
    Progressed,
    Ready,
    Started,
    Task,
)
from hrpro.pipeline.workers import NOT_ITS_FAULT, Engine, WorkerHandle

MAX_CRASHES = 2
"""A video that crashed its worker so often is poisoned."""

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
        self._ledger = ledger
        self._sources = {source.key: source for source in sources}
        self._targets = targets
        self._out = out
        self._reporter = reporter
        self._overwrite = overwrite
        self._retry_poisoned = retry_poisoned or overwrite
        self._summary = Summary()
        self._members: list[_Member] = []
        self._fingerprint: Fingerprint | None = None
        self._queue: deque[str] = deque()
        """Keys of videos to claim."""
        self._suspects: deque[Task] = deque()
        """Claimed; to be tried alone, because their worker died."""
        self._records: dict[str, Record] = {}
        """Of the videos that are claimed."""
        self._taken: dict[str, str] = {}
        """Videos that other processes work on, and which ones."""
        self._fruitless = 0
        self._progress = ManyProgress(reporter)

    def run(self) -> Summary:
        """Extract what is not there yet.

        Raises:
            UsageError: the folder holds features of another recipe, and to overwrite them was not
                asked for; or settings that do not fit.
            HrproError: features cannot be written, or no worker can be kept alive.
            KeyboardInterrupt: everything is stopped and put in order.
        """
        self._ledger.create()
        self._began = self._ledger.now()
        summary = self._summary
        try:
            self._start_worker(None, 1)
            while self._fingerprint is None:
                self._listen()
            ready = time.monotonic()
            self._queue.extend(self._pending())
            if self._queue:
                sizes = {key: file_identity(self._sources[key].path)[0] or 0 for key in self._queue}
                with self._progress.batch("extract", sizes):
                    self._start_the_others()
                    self._work()
        finally:
            self._stop()
        summary.taken = [Failure(key, owner) for key, owner in self._taken.items()]
        summary.elapsed_s = time.monotonic() - ready
        summary.sort()
        return summary

    # What there is to do

    def _pending(self) -> list[str]:
        """Keys of the videos that this run is to try; the others go into the summary."""
        pending = []
        for key in self._sources:
            if not self._is_settled(key, since=None):
                pending.append(key)
        return pending

    def _is_settled(self, key: str, since: float | None) -> bool:
        """Whether there is nothing left to do for a video; if so, the summary says what it is.

        Args:
            key: of the video.
            since: what other processes did since then, by the clock of the ledger, counts as done
                by this run. None for what was there before.
        """
        summary, source = self._summary, self._sources[key]
        record = self._ledger.read(key)
        if record is not None and not record.is_about(source.path):
            record = None
        is_new = record is not None and since is not None and self._ledger.written_since(key, since)
        state = feature_state(self._targets[key], source, self._fingerprint)
        if isinstance(state, list) and not self._overwrite:
            raise UsageError(
                f"{self._targets[key]}: was made with other settings ({'; '.join(state)}); "
                "choose another folder with -o, or replace it with --overwrite"
            )
        if state == "done" and (not self._overwrite or (is_new and record.state == "done")):
            summary.skipped.append(key)
        elif record is None:
            return False
        elif record.state == "poisoned" and (is_new or not self._retry_poisoned):
            summary.poisoned.append(Failure(key, record.error))
        elif record.state == "failed" and is_new:
            summary.failed.append(Failure(key, record.error))
        else:
            return False
        return True

    def _claim_next(self) -> Task | None:
        """Claim the next video that is free and still to be done.

        Suspects of earlier runs are claimed, too, and wait for a worker of their own.
        """
        while self._queue:
            key = self._queue.popleft()
            if owner := self._ledger.claim(key):
                self._taken[key] = owner
                continue
            if self._is_settled(key, since=self._began):
                self._ledger.release(key)
                self._progress.finish(key)
                continue
            task = self._task(key)
            if self._records[key].crashes == 0:
                return task
            self._suspects.append(task)
        return None

    def _task(self, key: str) -> Task:
        """What to hand out for a video that was just claimed."""
        source, target = self._sources[key], self._targets[key]
        record = self._ledger.read(key)
        if record is None or not record.is_about(source.path):
            record = Record(key=key, state="interrupted")
        elif record.state == "running":  # its supervisor was killed
            self._clean(key)
        elif record.state == "poisoned":
            record = record.model_copy(update={"crashes": 0})
        size, mtime = file_identity(source.path)
        features = target.relative_to(self._out).as_posix()
        facts = {"features": features, "size_bytes": size, "mtime_ns": mtime}
        self._records[key] = record.model_copy(update=facts)
        return Task(key, source.path, source.root, target)

    def _pick_up_dropped(self) -> bool:
        """Queue the videos that other processes had and do not have any more."""
        for key in list(self._taken):
            if owner := self._ledger.holder(key):
                self._taken[key] = owner
            else:
                del self._taken[key]
                self._queue.append(key)
        return bool(self._queue)

    # The team

    def _start_worker(self, device: str | None, num_workers: int) -> None:
        self._members.append(_Member(self._engine.start(device, num_workers), device))

    def _start_the_others(self) -> None:
        """Start as many workers as the machine and the number of videos call for."""
        first = self._members[0].ready
        assert first is not None
        self._num_workers = min(self._engine.num_workers(first), len(self._queue))
        for index in range(1, self._num_workers):
            self._start_worker(first.devices[index % len(first.devices)], self._num_workers)

    def _work(self) -> None:
        while True:
            self._hand_out()
            if any(member.tasks for member in self._members) or self._suspects or self._queue:
                self._listen()
            elif not self._pick_up_dropped():
                return

    def _hand_out(self) -> None:
        for member in self._members:
            if member.ready and not member.tasks:
                member.alone = False
                if self._suspects:
                    self._submit(member, self._suspects.popleft())
                    member.alone = True
            while member.has_room() and (task := self._claim_next()):
                self._submit(member, task)
            if member.ready and not member.tasks and self._suspects:  # only suspects were left
                self._submit(member, self._suspects.popleft())
                member.alone = True

    def _submit(self, member: _Member, task: Task) -> None:
        member.tasks[task.key] = task
        member.handle.submit(task)

    def _listen(self) -> None:
        """Wait for the workers and take in what they say; replace those that died."""
        self._engine.wait([member.handle for member in self._members], _WAIT_S)
        for member in list(self._members):
            how = member.handle.ended()  # asked first, so that its last words are heard
            member.handle.poll(lambda event, member=member: self._on_event(member, event))
            if how is not None:
                self._on_end(member, how)

    def _on_event(self, member: _Member, event: Event) -> None:
        match event:
            case Ready():
                self._on_ready(member, event)
            case Started(key):
                record = self._records[key]
                began = {"started": utc_now(), "worker": member.handle.name, "finished": None}
                self._note(key, "running", attempts=record.attempts + 1, error="", **began)
            case Progressed(key, done_s, duration_s):
                self._progress.advance(key, done_s, duration_s)
            case Done(key):
                self._on_done(member, event)
            case Failed(key, reason):
                self._reporter.problem(f"failed: {self._sources[key].path}: {reason}")
                self._summary.failed.append(Failure(key, reason))
                self._finish(member, key, "failed", reason, event.seconds)
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
        path = self._sources[done.key].path
        for warning in done.warnings:
            self._summary.warnings.append(f"{done.key}: {warning}")
            self._reporter.line(f"warning: {path}: {warning}")
        self._reporter.detail(f"{done.key}: {done.num_snippets} snippets, {done.duration_s:.1f} s")
        self._summary.done.append(done.key)
        self._summary.video_s += done.duration_s
        self._finish(member, done.key, "done", "", done.seconds, done.duration_s)

    def _finish(
        self,
        member: _Member,
        key: str,
        state: str,
        error: str,
        seconds: float,
        video_s: float = 0.0,
    ) -> None:
        """A video has come to its end in this run."""
        self._fruitless = 0
        del member.tasks[key]
        self._note(key, state, error=error, finished=utc_now(), seconds=round(seconds, 3))
        self._let_go(key)
        self._progress.finish(key, video_s)

    def _on_end(self, member: _Member, how: str) -> None:
        """A worker died: find out which video is to blame, and replace the worker."""
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
        for key, task in member.tasks.items():
            self._clean(key)
            if self._records[key].state != "running":  # not begun
                self._let_go(key)
                self._queue.appendleft(key)
            elif how in NOT_ITS_FAULT:
                self._note(key, "interrupted", error=how, finished=utc_now())
                self._suspects.append(task)
            else:
                self._blame(task, how)
        if len(self._members) < self._num_workers:
            self._start_worker(member.device, self._num_workers)

    def _blame(self, task: Task, how: str) -> None:
        """A worker died over a video: try the video again alone, or set it aside."""
        key, crashes = task.key, self._records[task.key].crashes + 1
        if crashes < MAX_CRASHES:
            self._reporter.line(f"{task.path}: its worker died ({how}); will be tried again alone")
            error = f"its worker died ({how})"
            self._note(key, "interrupted", crashes=crashes, error=error, finished=utc_now())
            self._suspects.append(task)
            return
        reason = f"crashed the worker twice ({how})"
        self._reporter.problem(f"poisoned: {task.path}: {reason}")
        self._summary.poisoned.append(Failure(key, reason))
        self._note(key, "poisoned", crashes=crashes, error=reason, finished=utc_now())
        self._let_go(key)
        self._progress.finish(key)

    def _stop(self) -> None:
        """End the workers and leave what is not finished to a later run."""
        busy = any(member.tasks for member in self._members)
        for member in self._members:
            member.handle.stop()
        deadline = time.monotonic() + (_STOP_S if busy else 0)
        for member in self._members:
            member.handle.join(max(0.0, deadline - time.monotonic()))
        for key in list(self._records):
            with suppress(HrproError, OSError):
                self._clean(key)
                if self._records[key].state == "running":
                    self._note(key, "interrupted", error="the run was stopped", finished=utc_now())
        self._ledger.close()

    # The ledger

    def _note(self, key: str, state: str, **changes: object) -> None:
        record = self._records[key].model_copy(update={"state": state, **changes})
        self._records[key] = record
        self._ledger.write(record)

    def _let_go(self, key: str) -> None:
        del self._records[key]
        self._ledger.release(key)

    def _clean(self, key: str) -> None:
        """Remove what a killed worker has left half-written."""
        for target in (self._targets[key], sidecar_path(self._targets[key])):
            remove_leftovers(target)
