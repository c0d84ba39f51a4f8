"""Hand videos to workers, tell what becomes of them, and survive the crashes of workers.

A worker that dies is replaced. The videos it had begun are tried again, each alone in a worker, so
that the guilty one is found and the others get done; a video that crashes its worker twice while it
is alone there is poisoned: set aside until somebody asks for it. A worker whose video gets no
further is ended. What is the fault of no video, but of the program or a device, ends the run.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from hrpro.extract.jobs import Job
from hrpro.pipeline.console.progress import Failure, ManyProgress, Reporter, Summary
from hrpro.pipeline.workers.agenda import Agenda, Assignment
from hrpro.pipeline.workers.engines import NOT_ITS_FAULT, Engine, WorkerHandle
from hrpro.pipeline.workers.ledger import file_identity
from hrpro.pipeline.workers.messages import (
    Broken,
    Done,
    Event,
    Failed,
    Progressed,
    Ready,
    Started,
    WorkerError,
)

_WAIT_S = 0.5
_STOP_S = 1.0  # for workers to clean up before they are killed
_MAX_FRUITLESS = 10  # ends of workers in a row, with no video finished in between


class RemoteTraceback(Exception):
    """Carries the stack trace of an error from the process in which it happened."""


@dataclass
class _Member:
    """A worker of the team and what it has to do."""

    handle: WorkerHandle
    device: str | None
    ready: Ready | None = None
    jobs: dict[str, Job] = field(default_factory=dict)
    """Handed out and not finished, by their keys."""
    signs: dict[str, float] = field(default_factory=dict)
    """When something was last heard of each video that is begun, by the monotonic clock."""
    alone: bool = False
    """It has a suspect, and gets nothing beside it."""

    def has_room(self) -> bool:
        return self.ready is not None and not self.alone and len(self.jobs) < self.ready.at_hand

    def submit(self, job: Job, alone: bool = False) -> None:
        self.jobs[job.key] = job
        self.alone = alone
        self.handle.submit(job)

    def hear_of(self, key: str) -> None:
        self.signs[key] = time.monotonic()

    def finish(self, key: str) -> None:
        del self.jobs[key]
        self.signs.pop(key, None)


class Supervisor:
    """Makes the files of an assignment with the workers of an engine.

    Args:
        engine: where workers run.
        assignment: the videos and their files.
        reporter: where progress goes.
        stall_timeout_s: end a worker whose video gets no further for so long; 0 waits for ever.
        watch: called with the summary so far, at least every half second, to see what is done.
    """

    def __init__(
        self,
        engine: Engine[Any],
        assignment: Assignment,
        *,
        reporter: Reporter,
        stall_timeout_s: float = 0.0,
        watch: Callable[[Summary], None] = lambda summary: None,
    ):
        self._engine = engine
        self._title = assignment.title
        self._reporter = reporter
        self._stall_timeout_s = stall_timeout_s
        self._watch = watch
        self._summary = Summary()
        self._progress = ManyProgress(reporter)
        self._agenda = Agenda(assignment, self._summary, self._progress)
        self._members: list[_Member] = []
        self._vacant: deque[str | None] = deque()
        """Devices whose worker has died."""
        self._num_workers = 1
        self._first: Ready | None = None
        """What the first worker said: the others have to make the same."""
        self._fruitless = 0
        self._condemned: list[str] = []
        """Poisoned since a video was last finished: maybe any other would have been, too."""

    def run(self) -> Summary:
        """Make what is not there yet.

        Raises:
            UsageError: the folder holds features of another recipe, and to overwrite them was not
                asked for; or settings that do not fit.
            HrproError: files cannot be written, no worker can be kept alive, or one met an error
                that is not the fault of a video.
            KeyboardInterrupt: everything is stopped and put in order.
        """
        summary, agenda = self._summary, self._agenda
        try:
            self._start_worker(None)
            while self._first is None:
                self._listen()
            ready = time.monotonic()
            pending = agenda.survey(self._first)
            self._watch(summary)
            if pending:
                sizes = {key: file_identity(agenda.path(key))[0] or 0 for key in pending}
                with self._progress.batch(self._title, sizes):
                    self._start_the_others(len(pending))
                    self._work()
        finally:
            self._stop()
        summary.taken = agenda.taken
        summary.elapsed_s = time.monotonic() - ready
        summary.sort()
        if line := summary.bottleneck():
            self._reporter.detail(line)
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
            if not self._agenda.is_empty or any(member.jobs for member in self._members):
                self._listen()
                self._end_stalled()
                self._watch(self._summary)
            elif not self._agenda.pick_up_dropped():
                return

    def _hand_out(self) -> None:
        """Give every worker what it has room for; a suspect to one that has nothing."""
        for member in self._members:
            if member.ready and not member.jobs:
                member.alone = False
                if suspect := self._agenda.next_suspect():
                    member.submit(suspect, alone=True)
            while member.has_room() and (job := self._agenda.next_job()):
                member.submit(job)
            if member.ready and not member.jobs and (suspect := self._agenda.next_suspect()):
                member.submit(suspect, alone=True)  # nothing else was left

    def _listen(self) -> None:
        """Wait for the workers and take in what they say; note who has died."""
        self._engine.wait([member.handle for member in self._members], _WAIT_S)
        for member in list(self._members):
            has_ended = member.handle.ended() is not None  # asked first: its last words are heard
            member.handle.poll(partial(self._on_event, member))
            if has_ended:  # asked again: its last words may say how
                self._on_end(member, member.handle.ended() or "")

    def _on_event(self, member: _Member, event: Event) -> None:
        match event:
            case Ready():
                self._on_ready(member, event)
            case Started(key):
                member.hear_of(key)
                self._agenda.begin(key, member.handle.name)
            case Progressed(key, done_s, duration_s):
                member.hear_of(key)
                self._progress.advance(key, done_s, duration_s)
            case Done():
                self._on_done(member, event)
            case Failed():
                self._on_failed(member, event)
            case Broken(error, trace):
                raise error from RemoteTraceback(f"\n{trace}")

    def _on_ready(self, member: _Member, ready: Ready) -> None:
        member.ready = ready
        if self._first is None:
            self._first = ready
            for note in ready.notes:
                self._reporter.note(note)
        elif differences := self._first.fingerprint.difference(ready.fingerprint):
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
        for part, waited_s in done.waited.items():
            self._summary.waited[part] = self._summary.waited.get(part, 0.0) + waited_s
        self._note_fruit()
        member.finish(key)
        self._agenda.finish(key, "done", seconds=done.seconds)
        self._progress.finish(key, done.duration_s)

    def _on_failed(self, member: _Member, failed: Failed) -> None:
        key = failed.key
        self._reporter.problem(f"failed: {self._agenda.path(key)}: {failed.reason}")
        self._summary.failed.append(Failure(key, failed.reason))
        self._note_fruit()
        member.finish(key)
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
        self._note_fruitless(how)
        self._vacant.append(member.device)
        self._reporter.line(f"a worker died ({how}); what it had begun is tried again")
        self._lose_jobs(member, how, to_blame=how not in NOT_ITS_FAULT)

    def _lose_jobs(self, member: _Member, how: str, to_blame: bool) -> None:
        alone = len(member.signs) == 1
        for job in member.jobs.values():
            if reason := self._agenda.lose(job, how, to_blame=to_blame, alone=alone):
                self._reporter.problem(f"poisoned: {job.path}: {reason}")
                self._summary.poisoned.append(Failure(job.key, reason))
                self._condemned.append(job.key)
                self._progress.finish(job.key)

    def _end_stalled(self) -> None:
        """End the workers of which one video gets no further."""
        longest_s = self._stall_timeout_s
        for member in list(self._members):
            silent_since = min(member.signs.values(), default=time.monotonic())
            if longest_s and time.monotonic() - silent_since >= longest_s:
                self._on_stall(member)

    def _on_stall(self, member: _Member) -> None:
        """End a worker. The video is to blame if it was alone, or others have got further since."""
        now, longest_s = time.monotonic(), self._stall_timeout_s
        self._members.remove(member)
        member.handle.stop()
        member.handle.join(_STOP_S)
        self._vacant.append(member.device)
        reason = f"no progress for {longest_s:g} s (--stall-timeout), so its worker was ended"
        self._note_fruitless(reason)
        stalled = {key for key, heard in member.signs.items() if now - heard >= longest_s}
        if len(member.signs) == 1 or now - max(member.signs.values()) < longest_s / 2:
            for key in stalled:
                job = member.jobs[key]
                self._reporter.problem(f"failed: {job.path}: {reason}")
                self._summary.failed.append(Failure(key, reason))
                self._agenda.stall(job, reason)
                self._progress.finish(key)
                member.finish(key)
        self._lose_jobs(member, "no progress", to_blame=False)

    def _note_fruit(self) -> None:
        """A video is finished: workers can work."""
        self._fruitless = 0
        self._condemned.clear()

    def _note_fruitless(self, how: str) -> None:
        """A worker has ended.

        Raises:
            WorkerError: too many have, and nothing was finished: it is not the videos' fault.
        """
        self._fruitless += 1
        if self._fruitless >= _MAX_FRUITLESS:
            for key in self._condemned:
                self._agenda.acquit(key)
            raise WorkerError(
                f"{self._fruitless} workers in a row ended without finishing a video, the last "
                f"one by: {how}; `hrpro doctor` checks the installation"
            )

    def _stop(self) -> None:
        """End the workers and leave what is not finished to a later run."""
        busy = any(member.jobs for member in self._members)
        for member in self._members:
            member.handle.stop()
        deadline = time.monotonic() + (_STOP_S if busy else 0)
        for member in self._members:
            member.handle.join(max(0.0, deadline - time.monotonic()))
        self._agenda.close()
