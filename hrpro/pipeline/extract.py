"""``hrpro extract``: find the videos, choose who works on which, supervise the workers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hrpro.extract.sources import VideoSource, find_videos, video_ids
from hrpro.files import check_writable
from hrpro.pipeline.console.progress import Reporter, Summary
from hrpro.pipeline.recipe import choose_streams, make_recipe
from hrpro.pipeline.workers.agenda import Assignment
from hrpro.pipeline.workers.engines import Engine
from hrpro.pipeline.workers.launch import STALL_TIMEOUT_S, WorkerOptions, running_engine
from hrpro.pipeline.workers.ledger import Ledger
from hrpro.pipeline.workers.sharding import Shard
from hrpro.pipeline.workers.supervisor import Supervisor
from hrpro.pipeline.workers.targets import FeatureTargets, default_target
from hrpro.pipeline.workers.work import FeatureFiles, WorkerSettings, Workshop, make_extractor
from hrpro.videos_folder import LeftOut


def extract_features(
    inputs: Sequence[str],
    *,
    out: Path | None = None,
    only: Collection[str] | None = None,
    settings: WorkerSettings | None = None,
    workers: WorkerOptions | None = None,
    shard: Shard | None = None,
    overwrite: bool = False,
    retry_poisoned: bool = False,
    reporter: Reporter | None = None,
) -> Summary:
    """Extract the features of everything `inputs` name.

    One bad video costs that video, and what is done already is skipped. Several processes may
    work into one folder at the same time, also from several machines.

    Args:
        inputs: video files, folders, globs or dataset folders.
        out: target folder; ``features/``, or that of the dataset folder, by default. The folders
            below the videos' root are kept.
        only: work on the videos of these ids alone (see `video_ids`); on all by default.
        settings: the recipe, what to compute on, what to do about truncated videos, number type.
        workers: where and how many; by default this process does the work itself.
        shard: work on this part of the videos only.
        overwrite: extract again what is there.
        retry_poisoned: try videos again that crashed their worker twice.
        reporter: where progress goes; silent by default.

    Raises:
        UsageError: no videos, options that do not fit, or `out` holds features of another recipe
            and `overwrite` was not asked for.
        HrproError: features cannot be written, workers cannot be kept alive, or the program or
            the device has failed.
    """
    reporter = reporter or Reporter(quiet=True)
    settings = settings or WorkerSettings()
    left_out = LeftOut()
    sources = find_videos(inputs, left_out)
    if left_out:
        reporter.line(left_out.line())
    workers = (workers or WorkerOptions()).at_most(len(sources))
    out = out or default_target(inputs)
    check_writable(out / "features")
    make_recipe(settings.recipe)  # refuse what is wrong before workers start
    settings = replace(settings, show_download=not reporter.quiet)
    with running_engine(workers, settings, build_extraction) as engine:
        return supervise(
            engine,
            sources,
            out,
            only=only,
            shard=shard,
            stall_timeout_s=workers.stall_timeout_s,
            reporter=reporter,
            overwrite=overwrite,
            retry_poisoned=retry_poisoned,
        )


def build_extraction(settings: WorkerSettings, note: Callable[[str], None]) -> Workshop:
    """Make the workshop of a worker that writes features; see `Build`.

    Raises:
        UsageError: settings that do not fit.
        WeightsError: weights are missing and cannot be fetched.
    """
    recipe = make_recipe(choose_streams(settings.recipe, note))
    return Workshop(make_extractor(recipe, settings), FeatureFiles(settings.dtype))


def supervise(
    engine: Engine[Any],
    sources: Sequence[VideoSource],
    out: Path,
    *,
    reporter: Reporter,
    only: Collection[str] | None = None,
    shard: Shard | None = None,
    stall_timeout_s: float = STALL_TIMEOUT_S,
    **redo: bool,
) -> Summary:
    """Extract videos with the workers of an engine; see `extract_features`.

    Args:
        redo: `overwrite` and `retry_poisoned`.
    """
    targets = FeatureTargets(sources, out)  # of all: names depend on the other videos
    num_videos = len(sources)
    if only is not None:
        ids = video_ids(sources)
        sources = [source for source in sources if ids[source.key] in only]
    if shard:
        sources = shard.take(sources)
        reporter.line(f"shard {shard}: {len(sources)} of {num_videos} videos")
    if not sources:
        return Summary()
    ledger = Ledger(out, reporter.problem)
    assignment = Assignment("extract", sources, targets, ledger, **redo)
    supervisor = Supervisor(engine, assignment, reporter=reporter, stall_timeout_s=stall_timeout_s)
    return supervisor.run()
