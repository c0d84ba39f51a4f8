"""Work through many videos: one bad file costs that file, and a rerun resumes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from hrpro.errors import DataError, UsageError, VideoError
from hrpro.extract.extractor import Extractor
from hrpro.extract.sources import VideoSource
from hrpro.features import (
    Fingerprint,
    VideoFacts,
    read_sidecar,
    sidecar_path,
    write_features,
)
from hrpro.files import inside
from hrpro.pipeline.progress import Failure, Reporter, Summary

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


def extract_batch(
    sources: Sequence[VideoSource],
    out: Path,
    extractor: Extractor,
    *,
    reporter: Reporter,
    overwrite: bool = False,
    strict: bool = False,
    dtype: str = "float32",
) -> Summary:
    """Write the features of many videos, skipping those that are done already.

    Args:
        sources: the videos.
        out: target folder; the folders below the videos' root are kept.
        extractor: networks and recipe.
        reporter: where progress goes.
        overwrite: extract again what is there.
        strict: a truncated video fails instead of giving features up to the damage.
        dtype: ``float32`` or ``float16``, as written.

    Raises:
        UsageError: `out` holds features of another recipe, and `overwrite` was not asked for.
        HrproError: `out` cannot be written.
    """
    summary = Summary()
    pending: list[VideoSource] = []
    targets = feature_targets(sources, out)
    for source in sources:
        state = _state(targets[source.key], source, extractor.fingerprint)
        if state == "done" and not overwrite:
            summary.skipped.append(source.key)
        elif isinstance(state, list) and not overwrite:
            raise UsageError(
                f"{targets[source.key]}: was made with other settings ({'; '.join(state)}); "
                "choose another folder with -o, or replace it with --overwrite"
            )
        else:
            pending.append(source)

    def work(source: VideoSource, progress: Callable[[float, float], None]) -> float:
        video = extractor.extract(
            source.path, root=source.root, strict=strict, keep_logits=False, progress=progress
        )
        sidecar = video.sidecar.model_copy(update={"dtype": dtype})
        if not np.isfinite(video.features).all():
            raise VideoError(f"{source.path}: the network gave NaN; try --precision float32")
        write_features(targets[source.key], video.features.astype(dtype, copy=False), sidecar)
        for warning in video.report.warnings:
            summary.warnings.append(f"{source.key}: {warning}")
            reporter.line(f"warning: {source.path}: {warning}")
        facts = sidecar.video
        reporter.detail(f"{source.key}: {facts.num_snippets} snippets, {facts.duration_s:.1f} s")
        return facts.duration_s

    return run_batch("extract", pending, work, reporter, summary)


def video_ids(sources: Sequence[VideoSource]) -> dict[str, str]:
    """The name of each video in features and results: its path below the root without the suffix.

    Two videos that differ only in their suffix keep it: ``a.avi`` and ``a.mp4``.
    """
    stems = {source.key: str(PurePosixPath(source.key).with_suffix("")) for source in sources}
    uses = Counter(stems.values())
    return {key: stem if uses[stem] == 1 else key for key, stem in stems.items()}


def feature_targets(sources: Sequence[VideoSource], out: Path) -> dict[str, Path]:
    """Where the features of each video go, by the keys of the sources."""
    return {key: inside(out, f"{name}.npy") for key, name in video_ids(sources).items()}


def _state(target: Path, source: VideoSource, fingerprint: Fingerprint) -> str | list[str]:
    """``done``, ``missing``, or the list of differences to the features that are there."""
    if not (target.is_file() and sidecar_path(target).is_file()):
        return "missing"
    try:
        sidecar = read_sidecar(target)
    except DataError:
        return "missing"  # damaged: make it anew
    if sidecar is None:
        return "missing"
    if differences := sidecar.fingerprint.difference(fingerprint):
        return differences
    return "done" if _same_file(sidecar.video, source.path) else "missing"


def _same_file(facts: VideoFacts, path: Path) -> bool:
    try:
        stat = path.stat()
    except OSError:
        return False
    return (facts.size_bytes, facts.mtime_ns) == (stat.st_size, stat.st_mtime_ns)
