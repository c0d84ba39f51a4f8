"""``hrpro extract --status``: how far an extraction is, without starting anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hrpro.errors import DataError, UsageError
from hrpro.extract.sources import VideoSource, find_videos
from hrpro.features import sidecar_path
from hrpro.files import inside
from hrpro.pipeline.console.progress import Reporter
from hrpro.pipeline.workers.ledger import Ledger, Record
from hrpro.pipeline.workers.targets import FeatureTargets, default_target

STATES = ("done", "running", "pending", "interrupted", "failed", "poisoned")
_MOST = 50  # videos that are listed for people; --json has all


@dataclass(frozen=True)
class VideoStatus:
    """How far one video is."""

    key: str
    state: str
    """One of `STATES`: `pending` has not been begun; `interrupted` was, and nobody is at it."""
    record: Record | None = None

    def line(self) -> str:
        """The video in one line."""
        record = self.record
        if record is None:
            return f"{self.state}: {self.key}"
        if self.state == "running":
            since = f" since {record.started:%Y-%m-%d %H:%M:%S} UTC" if record.started else ""
            return f"running: {self.key}: {record.worker}{since}"
        tries = f" ({record.attempts} attempts)" if record.attempts > 1 else ""
        return f"{self.state}: {self.key}: {record.error}{tries}"

    def to_json(self) -> dict[str, Any]:
        """The video for ``--json``."""
        known = {"key", "state", "size_bytes", "mtime_ns"}
        record = self.record.model_dump(mode="json", exclude=known) if self.record else {}
        return {"path": self.key, "state": self.state, **record}


@dataclass(frozen=True)
class ExtractionStatus:
    """How far the videos of an output folder are."""

    out: Path
    videos: tuple[VideoStatus, ...]
    knows_pending: bool
    """Whether the videos were looked for; else only those that were begun are known."""

    def counts(self) -> dict[str, int]:
        """Videos by state."""
        found = Counter(video.state for video in self.videos)
        states = [state for state in STATES if state != "pending" or self.knows_pending]
        return {state: found[state] for state in states}

    def lines(self) -> list[str]:
        """The status for people: counts, and every video that is not simply done or pending."""
        lines = [", ".join(f"{number} {state}" for state, number in self.counts().items())]
        if not self.knows_pending:
            lines[0] += " (name the videos, too, to count those that were not begun)"
        for state in ("running", "interrupted", "failed", "poisoned"):
            shown = [video for video in self.videos if video.state == state]
            lines += [f"  {video.line()}" for video in shown[:_MOST]]
            if len(shown) > _MOST:
                lines.append(f"  ... and {len(shown) - _MOST} more {state}")
        return lines

    def to_json(self) -> dict[str, Any]:
        """The status for ``--json``; videos that are done or pending are only counted."""
        listed = [each for each in self.videos if each.state not in ("done", "pending")]
        return {
            "out": str(self.out),
            "counts": self.counts(),
            "videos": [each.to_json() for each in listed],
        }


def extraction_status(
    inputs: Sequence[str], out: Path | None = None, *, reporter: Reporter | None = None
) -> ExtractionStatus:
    """Look up how far an extraction is.

    Args:
        inputs: what is extracted, as for `extract_features`; may be empty if `out` is given.
        out: the output folder, by default that of `extract_features`.
        reporter: takes warnings about damaged records.

    Raises:
        UsageError: nothing was ever extracted there, and no videos are named.
    """
    reporter = reporter or Reporter(quiet=True)
    out = out or default_target(inputs)
    ledger = Ledger(out, reporter.problem)
    if inputs:
        sources = find_videos(inputs)
        targets = FeatureTargets(sources, out)
        videos = [_of_source(source, targets, ledger) for source in sources]
    elif not ledger.folder.is_dir():
        raise UsageError(
            f"{out}: no record of an extraction here; name the right folder by -o, or the videos"
        )
    else:
        videos = [_of_record(record, out, ledger) for record in ledger.records()]
    return ExtractionStatus(out, tuple(videos), knows_pending=bool(inputs))


def _of_source(source: VideoSource, targets: FeatureTargets, ledger: Ledger) -> VideoStatus:
    record = ledger.read(source.key)
    if record is not None and record.state == "running" and ledger.holder(source.key):
        return VideoStatus(source.key, "running", record)
    if targets.state(source) == "done":
        return VideoStatus(source.key, "done", record)
    if record is None or record.state == "done" or not record.is_about(source.path):
        return VideoStatus(source.key, "pending")
    return VideoStatus(source.key, _without_owner(record), record)


def _of_record(record: Record, out: Path, ledger: Ledger) -> VideoStatus:
    if record.state == "running" and ledger.holder(record.key):
        return VideoStatus(record.key, "running", record)
    if record.state == "done":
        return VideoStatus(record.key, "done" if _is_there(record, out) else "pending", record)
    return VideoStatus(record.key, _without_owner(record), record)


def _is_there(record: Record, out: Path) -> bool:
    try:
        target = inside(out, record.file)
    except DataError:
        return False
    return target.is_file() and sidecar_path(target).is_file()


def _without_owner(record: Record) -> str:
    return "interrupted" if record.state == "running" else record.state
