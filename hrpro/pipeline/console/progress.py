"""What a long run tells the person in front of it: progress on stderr, a summary at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


@dataclass(frozen=True)
class Failure:
    """An input that could not be used, with one line that says why."""

    path: str
    reason: str


@dataclass
class Summary:
    """What a batch did with its videos."""

    done: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    poisoned: list[Failure] = field(default_factory=list)
    """Videos that are left alone because they crashed their worker twice."""
    taken: list[Failure] = field(default_factory=list)
    """Videos that another process is working on; the reason is its ``host:pid``."""
    warnings: list[str] = field(default_factory=list)
    video_s: float = 0.0
    """Seconds of video worked through."""
    lost_s: float = 0.0
    """Seconds of their pictures that were lost to damage."""
    elapsed_s: float = 0.0
    waited: dict[str, float] = field(default_factory=dict)
    """Seconds that workers waited for each part of the work."""

    def bottleneck(self) -> str:
        """What the work waited for, in one line; empty if nobody has told."""
        total_s = sum(self.waited.values())
        if not total_s:
            return ""
        shares = [
            f"{part} {waited_s / total_s:.0%}"
            for part, waited_s in sorted(self.waited.items(), key=lambda each: -each[1])
            if waited_s
        ]
        return f"waited for: {', '.join(shares)}"

    def line(self) -> str:
        """The summary in one line."""
        text = f"{len(self.done)} done, {len(self.skipped)} skipped, {len(self.failed)} failed"
        if self.poisoned:
            text += f", {len(self.poisoned)} poisoned"
        if self.taken:
            text += f", {len(self.taken)} left to other processes"
        if self.video_s and self.elapsed_s:
            text += (
                f"; {self.video_s:.1f} s of video in {self.elapsed_s:.1f} s "
                f"({self.video_s / self.elapsed_s:.1f}x real time)"
            )
        if self.lost_s:
            text += f"; {self.lost_s:.2f} s of the pictures lost to damage"
        return text

    def lines(self) -> list[str]:
        """The summary, and a line for each video that is neither done nor skipped."""
        lines = [self.line()]
        lines += [f"  taken by {each.reason}: {each.path}" for each in self.taken]
        lines += [f"  failed: {each.path}: {each.reason}" for each in self.failed]
        lines += [f"  poisoned: {each.path}: {each.reason}" for each in self.poisoned]
        if self.poisoned:
            lines.append("  poisoned videos are tried again only with --retry-poisoned")
        return lines

    def sort(self) -> None:
        """Put the videos in order, which several workers do not keep."""
        self.done.sort()
        self.skipped.sort()
        for failures in (self.failed, self.poisoned, self.taken):
            failures.sort(key=lambda each: each.path)

    def as_dict(self) -> dict:
        """The summary for ``--json``."""
        return {
            "done": self.done,
            "skipped": self.skipped,
            "failed": [asdict(each) for each in self.failed],
            "poisoned": [asdict(each) for each in self.poisoned],
            "taken": [{"path": each.path, "worker": each.reason} for each in self.taken],
            "warnings": self.warnings,
            "video_s": round(self.video_s, 3),
            "elapsed_s": round(self.elapsed_s, 3),
        }


class Reporter:
    """Shows the progress of a batch of videos; silent if `quiet`.

    On a terminal it draws a bar with rate and remaining time, elsewhere it prints a line a video,
    which is what a log file wants. The remaining time is estimated from file sizes, because the
    durations in video headers lie and are slow to ask for.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False):
        self.quiet, self.verbose = quiet, verbose
        self.console = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._started = time.monotonic()
        self._num_videos = 0

    @contextmanager
    def batch(self, title: str, total: float, num_videos: int) -> Iterator[None]:
        """Show progress for the length of the block; `total` is the work to do, say in bytes."""
        self._started = time.monotonic()
        self._num_videos = num_videos
        if self.quiet or not self.console.is_terminal:
            yield
            return
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[counts]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console, transient=True) as self._progress:
            self._task = self._progress.add_task(title, total=max(total, 1), counts="")
            try:
                yield
            finally:
                self._progress = None

    def advance(self, num_videos: int, done: float, video_s: float | None = None) -> None:
        """Note what is done since the start: whole videos, amount of work, seconds of video."""
        if self._progress is None or self._task is None:
            return
        elapsed_s = time.monotonic() - self._started
        rate = f" {video_s / elapsed_s:.1f}x real time" if video_s and elapsed_s > 0 else ""
        counts = f"{num_videos}/{self._num_videos}{rate}"
        self._progress.update(self._task, completed=done, counts=counts)

    def line(self, text: str) -> None:
        """Print a line that belongs to the normal output of a run."""
        if not self.quiet:
            self.console.print(text, markup=False)

    def note(self, text: str) -> None:
        """Print a line of somebody else; a warning is seen even with ``-q``."""
        (self.problem if text.startswith("warning: ") else self.line)(text)

    def detail(self, text: str) -> None:
        """Print a line only with ``-v``."""
        if self.verbose and not self.quiet:
            self.console.print(text, markup=False)

    def problem(self, text: str) -> None:
        """Print a line that must be seen even with ``-q``."""
        self.console.print(text, markup=False)


class ManyProgress:
    """The progress of several videos at a time, shown as that of the batch they belong to."""

    def __init__(self, reporter: Reporter):
        self._reporter = reporter
        self._sizes: Mapping[str, int] = {}
        self._num_finished = 0
        self._finished_bytes = 0
        self._finished_s = 0.0
        self._open: dict[str, tuple[float, float]] = {}
        """Of the videos under way: the share that is done, and its seconds."""

    def batch(self, title: str, sizes: Mapping[str, int]) -> AbstractContextManager[None]:
        """Show progress for the length of the block; `sizes` are those of the files in bytes."""
        self._sizes = sizes
        return self._reporter.batch(title, sum(sizes.values()), len(sizes))

    def advance(self, key: str, done_s: float, duration_s: float) -> None:
        """So many seconds of a video are done; its duration is 0 if that is not known."""
        self._open[key] = (min(1.0, done_s / duration_s) if duration_s else 0.0, done_s)
        self._show()

    def finish(self, key: str, video_s: float = 0.0) -> None:
        """Nothing is left to do for a video."""
        self._open.pop(key, None)
        self._num_finished += 1
        self._finished_bytes += self._sizes.get(key, 0)
        self._finished_s += video_s
        self._show()

    def _show(self) -> None:
        share = sum(share * self._sizes.get(key, 0) for key, (share, _) in self._open.items())
        video_s = self._finished_s + sum(seconds for _, seconds in self._open.values())
        self._reporter.advance(self._num_finished, self._finished_bytes + share, video_s)
