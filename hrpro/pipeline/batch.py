"""Work through videos one by one; what belongs to which video, and whether it is there."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from hrpro.errors import DataError, VideoError
from hrpro.extract.sources import VideoSource, video_ids
from hrpro.features import Fingerprint, read_sidecar, sidecar_path
from hrpro.files import inside
from hrpro.pipeline.console.progress import Failure, Reporter, Summary
from hrpro.pipeline.workers.ledger import file_identity

Work = Callable[[VideoSource, Callable[[float, float], None]], float]
"""Handles one video; calls back with the seconds done and the duration, returns its seconds."""


def run_batch(
    title: str, sources: Sequence[VideoSource], work: Work, reporter: Reporter, summary: Summary
) -> Summary:
    """Call `work` for every video; an error of one video is noted and the next one begins.

    Raises:
        KeyboardInterrupt: Ctrl-C; what was finished before stays.
    """
    started = time.monotonic()
    sizes = [source.path.stat().st_size if source.path.is_file() else 0 for source in sources]
    done_bytes = 0
    with reporter.batch(title, sum(sizes), len(sources)):
        for index, (source, size) in enumerate(zip(sources, sizes, strict=True)):

            def progress(
                done_s: float, duration_s: float, index=index, done_bytes=done_bytes, size=size
            ) -> None:
                share = min(1.0, done_s / duration_s) if duration_s else 0.0
                reporter.advance(index, done_bytes + share * size, summary.video_s + done_s)

            progress(0.0, 0.0)
            try:
                video_s = work(source, progress)
            except (VideoError, MemoryError, RuntimeError) as error:
                _note_failure(summary, reporter, source, error)
            else:
                summary.done.append(source.key)
                summary.video_s += video_s
            done_bytes += size
    summary.elapsed_s = time.monotonic() - started
    return summary


def _note_failure(
    summary: Summary, reporter: Reporter, source: VideoSource, error: Exception
) -> None:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    reason = reason.removeprefix(f"{source.path}: ")
    summary.failed.append(Failure(source.key, reason))
    reporter.problem(f"failed: {source.path}: {reason}")


def feature_targets(sources: Sequence[VideoSource], out: Path) -> dict[str, Path]:
    """Where the features of each video go, by the keys of the sources."""
    return {key: inside(out, f"{name}.npy") for key, name in video_ids(sources).items()}


def feature_state(
    target: Path, source: VideoSource, fingerprint: Fingerprint | None = None
) -> str | list[str]:
    """``done``, ``missing``, or the list of differences to the features that are there.

    Without a fingerprint, features of any recipe count as done.
    """
    if not (target.is_file() and sidecar_path(target).is_file()):
        return "missing"
    try:
        sidecar = read_sidecar(target)
    except DataError:
        return "missing"  # damaged: make it anew
    if sidecar is None:
        return "missing"
    if fingerprint and (differences := sidecar.fingerprint.difference(fingerprint)):
        return differences
    if fingerprint and sidecar.fingerprint.stream != fingerprint.stream:
        return [f"stream: {sidecar.fingerprint.stream} != {fingerprint.stream}"]
    facts = sidecar.video
    same = (facts.size_bytes, facts.mtime_ns) == file_identity(source.path)
    return "done" if same else "missing"
