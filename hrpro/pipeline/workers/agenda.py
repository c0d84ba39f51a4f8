"""What a run has to do: which videos are left, which it has claimed, which are suspected."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hrpro.errors import HrproError, UsageError
from hrpro.extract.jobs import Job
from hrpro.extract.sources import VideoSource
from hrpro.pipeline.console.progress import Failure, ManyProgress, Summary
from hrpro.pipeline.workers.ledger import Ledger, Record, State, file_identity, utc_now
from hrpro.pipeline.workers.messages import Ready
from hrpro.pipeline.workers.targets import Targets

MAX_CRASHES = 2
"""A video that crashed its worker so often, with no other video begun there, is poisoned."""


@dataclass(frozen=True)
class Assignment:
    """What a run is to do."""

    title: str
    """Of the work, for people."""
    sources: Sequence[VideoSource]
    targets: Targets
    ledger: Ledger
    """Of the folder of the targets."""
    overwrite: bool = False
    """Make again what is there."""
    retry_poisoned: bool = False
    """Try videos again that crashed their worker twice."""


class Agenda:
    """The videos of a run. All that happens to them goes through here into the ledger.

    A video is claimed before it is given out, so that several runs can share a folder.

    Args:
        assignment: the videos and their files.
        summary: takes the videos that need no worker.
        progress: told of videos that other runs did in the meantime.
    """

    def __init__(self, assignment: Assignment, summary: Summary, progress: ManyProgress):
        self._ledger = assignment.ledger
        self._ledger.create()
        self._sources = {source.key: source for source in assignment.sources}
        self._targets = assignment.targets
        self._summary = summary
        self._progress = progress
        self._overwrite = assignment.overwrite
        self._retry_poisoned = assignment.retry_poisoned or assignment.overwrite
        self._began = self._ledger.now()
        self._worker: Ready | None = None
        self._queue: deque[str] = deque()
        """Keys of videos to claim."""
        self._suspects: deque[Job] = deque()
        """Claimed; to be tried alone, because a worker died while it had them."""
        self._records: dict[str, Record] = {}
        """Of the videos that are claimed; `running` if this run has begun them."""
        self._taken: dict[str, str] = {}
        """Videos that other processes work on, and which ones."""

    def path(self, key: str) -> Path:
        """The file of a video."""
        return self._sources[key].path

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left to give out."""
        return not self._queue and not self._suspects

    @property
    def taken(self) -> list[Failure]:
        """Videos that other processes work on."""
        return [Failure(key, owner) for key, owner in self._taken.items()]

    def survey(self, worker: Ready) -> list[str]:
        """Find the videos that are not done; the others go into the summary.

        Args:
            worker: says how the files would be made.

        Raises:
            UsageError: there are features of another recipe, and they are not to be overwritten.
        """
        self._worker = worker
        self._queue.extend(key for key in self._sources if not self._is_settled(key, since=None))
        return list(self._queue)

    def next_job(self) -> Job | None:
        """Claim the next video that is free and still to be done.

        Suspects of earlier runs are claimed on the way, and kept for `next_suspect`.
        """
        while self._queue:
            key = self._queue.popleft()
            if owner := self._ledger.claim(key):
                self._taken[key] = owner
            elif self._is_settled(key, since=self._began):
                self._ledger.release(key)
                self._progress.finish(key)
            else:
                job, record = self._open(key)
                if not record.crashes and record.state != "poisoned":
                    return job
                self._suspects.append(job)
        return None

    def next_suspect(self) -> Job | None:
        """A video to be given to a worker that has nothing else."""
        return self._suspects.popleft() if self._suspects else None

    def pick_up_dropped(self) -> bool:
        """Go round again by the videos that other processes had; whether one is free now."""
        for key in list(self._taken):
            if owner := self._ledger.holder(key):
                self._taken[key] = owner
            else:
                del self._taken[key]
                self._queue.append(key)
        return bool(self._queue)

    def begin(self, key: str, worker: str) -> None:
        """A worker has begun with a video."""
        attempts = self._records[key].attempts + 1
        times = {"started": utc_now(), "finished": None}
        self._note(key, "running", attempts=attempts, worker=worker, error="", **times)

    def finish(self, key: str, state: State, error: str = "", seconds: float = 0.0) -> None:
        """A video is `done`, or `failed`."""
        self._note(key, state, error=error, finished=utc_now(), seconds=round(seconds, 3))
        self._let_go(key)

    def lose(self, job: Job, how: str, *, to_blame: bool, alone: bool) -> str | None:
        """The worker that had a video has ended.

        Args:
            job: the video.
            how: the worker ended, in words.
            to_blame: whether the video may be the reason.
            alone: whether nothing but the video can be, because no other one was begun.

        Returns:
            Why the video is poisoned now, if so; else None: it is going to be tried again.
        """
        key, record = job.key, self._records[job.key]
        if record.state != "running":  # it had not begun
            self._let_go(key)
            self._queue.appendleft(key)
            return None
        self._targets.remove_leftovers(key)
        crashes = record.crashes + to_blame
        crashes_alone = record.crashes_alone + (to_blame and alone)
        counts = {"crashes": crashes, "crashes_alone": crashes_alone, "finished": utc_now()}
        if crashes_alone >= MAX_CRASHES:
            reason = f"crashed the worker twice ({how})"
            self._note(key, "poisoned", error=reason, **counts)
            self._let_go(key)
            return reason
        self._note(key, "interrupted", error=f"its worker died ({how})", **counts)
        self._suspects.append(job)
        return None

    def stall(self, job: Job, reason: str) -> None:
        """A video got no further, and its worker was ended."""
        self._targets.remove_leftovers(job.key)
        self.finish(job.key, "failed", reason)

    def acquit(self, key: str) -> None:
        """A video was poisoned, but by now it seems that every other one would have been, too."""
        if record := self._ledger.read(key):
            changes = {"state": "interrupted", "crashes_alone": MAX_CRASHES - 1}
            self._ledger.write(record.model_copy(update=changes))

    def close(self) -> None:
        """Leave everything that is not finished to a later run; never raises."""
        for key, record in list(self._records.items()):
            if record.state == "running":
                with suppress(HrproError, OSError):
                    self._targets.remove_leftovers(key)
                    self._note(key, "interrupted", error="the run was stopped", finished=utc_now())
        self._ledger.close()

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
        state = self._targets.state(source, self._worker)
        if isinstance(state, list) and not self._overwrite:
            raise UsageError(
                f"{self._targets.path(key)}: was made with other settings ({'; '.join(state)}); "
                "choose another folder with -o, or replace it with --overwrite"
            )
        was_done = record is not None and record.state == "done"
        if state == "done" and (not self._overwrite or (is_new and was_done)):
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

    def _open(self, key: str) -> tuple[Job, Record]:
        """Begin the record of a video that was just claimed."""
        source, target = self._sources[key], self._targets.path(key)
        record = self._ledger.read(key)
        if record is None or not record.is_about(source.path):
            record = Record(key=key, state="interrupted")
        size, mtime = file_identity(source.path)
        shown = target.relative_to(self._targets.folder).as_posix()
        changes = {"file": shown, "size_bytes": size, "mtime_ns": mtime}
        if record.state == "running":  # its run was killed
            self._targets.remove_leftovers(key)
            changes["state"] = "interrupted"
        elif record.state != "interrupted":  # crashes count up to an end of any kind
            changes |= {"crashes": 0, "crashes_alone": 0}
        self._records[key] = record.model_copy(update=changes)
        return Job(source.path, source.root, key=key, target=target), self._records[key]

    def _note(self, key: str, state: State, **changes: object) -> None:
        record = self._records[key].model_copy(update={"state": state, **changes})
        self._records[key] = record
        self._ledger.write(record)

    def _let_go(self, key: str) -> None:
        del self._records[key]
        self._ledger.release(key)
