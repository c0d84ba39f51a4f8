"""``hrpro extract``: find the videos, choose who works on which, supervise the workers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hrpro.errors import UsageError
from hrpro.extract.sources import VideoSource, find_videos, video_ids
from hrpro.files import check_writable
from hrpro.pipeline.batch import feature_targets
from hrpro.pipeline.console.progress import Reporter, Summary
from hrpro.pipeline.recipe import make_recipe
from hrpro.pipeline.workers.engines import Engine, InlineEngine, LocalEngine
from hrpro.pipeline.workers.ledger import Ledger
from hrpro.pipeline.workers.ray_engine import RayEngine, ray_cluster
from hrpro.pipeline.workers.sharding import Shard
from hrpro.pipeline.workers.supervisor import Supervisor
from hrpro.pipeline.workers.work import WorkerSettings
from hrpro.videos_folder import LeftOut, videos_folder

if TYPE_CHECKING:
    from hrpro.extract.extractor import Extractor


def extract_features(
    inputs: Sequence[str],
    *,
    out: Path | None = None,
    only: Collection[str] | None = None,
    recipe: dict[str, Any] | None = None,
    device: str | None = None,
    precision: str | None = None,
    batch_size: int | None = None,
    compile: bool = False,
    strict: bool = False,
    dtype: str = "float32",
    workers: int | None = 0,
    engine: Literal["local", "ray"] = "local",
    address: str | None = None,
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
        only: work on the videos of these names alone (see `video_ids`); on all by default.
        recipe: options of `make_recipe` that differ from the canonical ones.
        device: see `Extractor`; so are `precision`, `batch_size` and `compile`.
        precision: arithmetic of the networks.
        batch_size: snippets per forward pass.
        compile: compile the networks first.
        strict: a truncated video fails instead of giving features up to the damage.
        dtype: ``float32`` or ``float16``, as written.
        workers: worker processes; None for one per GPU, or one. With 0 this process does the work
            itself, and a video that crashes the decoder takes it along. Scripts that ask for
            workers need the usual ``if __name__ == "__main__":``.
        engine: ``local`` for this machine, ``ray`` for a Ray cluster, where `workers` are actors:
            one per GPU, or one per machine, if it is not given.
        address: of the Ray cluster; see `ray_cluster`.
        shard: work on this part of the videos only.
        overwrite: extract again what is there.
        retry_poisoned: try videos again that crashed their worker twice.
        reporter: where progress goes; silent by default.

    Raises:
        UsageError: no videos, options that do not fit, or `out` holds features of another recipe
            and `overwrite` was not asked for.
        HrproError: features cannot be written, or workers cannot be kept alive.
    """
    reporter = reporter or Reporter(quiet=True)
    left_out = LeftOut()
    sources = find_videos(inputs, left_out)
    if left_out:
        reporter.line(left_out.line())
    out = out or default_target(inputs)
    check_writable(out / "features")
    recipe = recipe or {}
    make_recipe(recipe)  # refuse what is wrong before workers start
    settings = WorkerSettings(
        recipe=recipe,
        device=device,
        precision=precision,
        batch_size=batch_size,
        compile=compile,
        strict=strict,
        dtype=dtype,
        show_download=not reporter.quiet,
    )
    workers = min(workers, len(sources)) if workers else workers
    with _engine(engine, address, workers, settings) as running:
        return supervise(
            running,
            sources,
            out,
            only=only,
            shard=shard,
            reporter=reporter,
            overwrite=overwrite,
            retry_poisoned=retry_poisoned,
        )


@contextmanager
def _engine(
    kind: str, address: str | None, workers: int | None, settings: WorkerSettings
) -> Iterator[Engine]:
    """The place where workers are to run, for the length of the block."""
    if kind == "ray":
        with ray_cluster(address):
            yield RayEngine(settings, workers or None)
    elif address is not None:
        raise UsageError("--address goes with --engine ray")
    else:
        yield InlineEngine(settings) if workers == 0 else LocalEngine(settings, workers)


def extract_batch(
    sources: Sequence[VideoSource],
    out: Path,
    extractor: Extractor,
    *,
    reporter: Reporter,
    strict: bool = False,
    dtype: str = "float32",
    **options: bool,
) -> Summary:
    """Write the features of many videos with an extractor that is there already.

    Args:
        sources: the videos.
        out: target folder.
        extractor: networks and recipe.
        reporter: where progress goes.
        strict: see `extract_features`; so are `dtype` and the other options.
        dtype: of the numbers in the files.
        options: `overwrite` and `retry_poisoned`.

    Raises:
        HrproError: as `extract_features`.
    """
    engine = InlineEngine(WorkerSettings(recipe={}, strict=strict, dtype=dtype), extractor)
    return supervise(engine, sources, out, reporter=reporter, **options)


def supervise(
    engine: Engine,
    sources: Sequence[VideoSource],
    out: Path,
    *,
    reporter: Reporter,
    only: Collection[str] | None = None,
    shard: Shard | None = None,
    overwrite: bool = False,
    retry_poisoned: bool = False,
) -> Summary:
    """Extract videos with the workers of an engine; see `extract_features`."""
    targets = feature_targets(sources, out)  # of all: names depend on the other videos
    if only is not None:
        names = video_ids(sources)
        sources = [source for source in sources if names[source.key] in only]
    if shard:
        sources = shard.take(sources)
        reporter.line(f"shard {shard}: {len(sources)} of {len(targets)} videos")
    if not sources:
        return Summary()
    return Supervisor(
        engine,
        Ledger(out, reporter.problem),
        sources,
        targets,
        out,
        reporter=reporter,
        overwrite=overwrite,
        retry_poisoned=retry_poisoned,
    ).run()


def default_target(inputs: Sequence[str]) -> Path:
    """``DATASET/features`` if the only input is a dataset folder, else ``features``."""
    if len(inputs) == 1:
        folder = Path(inputs[0])
        if folder.name != "videos" and videos_folder(folder).is_dir():
            return folder / "features"
    return Path("features")
