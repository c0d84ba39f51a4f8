"""``hrpro train``: find the data set, extract what is missing, train, measure, and say where."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from hrpro.configs.loader import changes
from hrpro.devices import choose_device, deterministic
from hrpro.localize.config import RunConfig, resolve_dataset
from hrpro.localize.data.config import dataset_layers
from hrpro.localize.data.dataset import Dataset, load_dataset
from hrpro.localize.data.layout import find_layout
from hrpro.localize.data.scan import scan_dataset
from hrpro.localize.data.supervision import Supervision
from hrpro.localize.evaluation.average_precision import AveragePrecision
from hrpro.localize.evaluation.measure import to_json
from hrpro.localize.training.model_folder import BEST, load_model
from hrpro.localize.training.run import Observer, StageResult, TrainingRun
from hrpro.pipeline.console.progress import Failure, Reporter
from hrpro.pipeline.console.tables import map_lines
from hrpro.pipeline.console.training import TensorBoard, TrainingDisplay
from hrpro.pipeline.datasets.methods import choose_method
from hrpro.pipeline.datasets.missing_features import extract_missing
from hrpro.pipeline.thresholds import choose_event_scores
from hrpro.pipeline.workers.launch import WorkerOptions
from hrpro.pipeline.workers.work import WorkerSettings
from hrpro.problems import Problems

if TYPE_CHECKING:
    import pandas as pd

SMALL = 30
"""With fewer training videos, the preset ``small`` goes before ``custom``."""


@dataclass(frozen=True)
class RunOptions:
    """Where the model of a training goes, and which part of the work is to be done."""

    run_dir: Path | None = None
    """``runs/NAME`` of the dataset by default."""
    stage: int | None = None
    """Train this one alone."""
    stage1: Path | None = None
    """Model folder to build stage 2 on; that in `run_dir` by default."""
    resume: bool = False
    """Go on with an interrupted run, skip what is done."""
    tensorboard: bool = True
    """Write scalars for TensorBoard, if it is installed."""
    save_every_s: float = 60.0
    """Seconds between checkpoints."""
    deterministic: bool = False
    """The same bits in every run on a GPU, too, more slowly; see `hrpro.devices.deterministic`."""


class Measured(NamedTuple):
    """How good some weights are on the test videos."""

    stage: int
    weights: str
    """``last`` or ``best-on-test``."""
    update: int
    """After which these weights were taken."""
    precision: AveragePrecision

    @property
    def title(self) -> str:
        """Of the row in a table."""
        update = f" (update {self.update})" if self.weights == BEST else ""
        return f"stage {self.stage}, {self.weights}{update}"


@dataclass(frozen=True)
class TrainOutcome:
    """What a training left behind."""

    run_dir: Path
    results: tuple[StageResult, ...]
    to_review: Path | None = None
    """The dataset folder, if it has videos in which the detections can be looked at."""
    failed: tuple[Failure, ...] = ()
    """Videos that cannot be extracted, and so were left out of training and evaluation."""
    warnings: tuple[str, ...] = ()
    """What is worth knowing of the data set."""

    @property
    def measured(self) -> Iterator[Measured]:
        """What was measured: of each stage the last weights, and those that did best."""
        for result in self.results:
            if result.last is not None:
                yield Measured(result.stage, "last", result.num_updates, result.last)
            if result.best is not None and result.best_update is not None:
                yield Measured(result.stage, BEST, result.best_update, result.best)

    @property
    def mean_ap(self) -> float | None:
        """Average mAP of the last weights, 0 to 1; None if there was nothing to measure on."""
        last = self.results[-1].last if self.results else None
        return None if last is None else last.average

    def to_dataframe(self) -> pd.DataFrame:
        """A row per stage, weights and tIoU; empty if there was nothing to measure on.

        Columns: ``stage``, ``weights`` (``last`` or ``best-on-test``), ``update`` (after which),
        ``tiou``, ``mean_ap`` (0 to 1).
        """
        import pandas as pd

        rows = [
            (each.stage, each.weights, each.update, tiou, mean_ap)
            for each in self.measured
            for tiou, mean_ap in each.precision.mean_by_tiou.items()
        ]
        return pd.DataFrame(rows, columns=["stage", "weights", "update", "tiou", "mean_ap"])

    def lines(self) -> list[str]:
        """The mAP table, and what can be done next."""
        rows = {each.title: each.precision for each in self.measured}
        lines = ["no ground truth for the test videos: trained, but nothing can be measured"]
        if rows:
            lines = map_lines(rows)
        lines += [
            f"{result.num_updates} updates of stage {result.stage} in {result.seconds:.0f} s"
            for result in self.results
        ]
        lines.append(f"model: {self.run_dir} (weights: last)")
        if rows:
            lines.append(f"       {self.run_dir / BEST} (chosen by the test set)")
        run_dir = shlex.quote(str(self.run_dir))
        lines.append(f"next: hrpro detect VIDEO --model {run_dir} --out result.json")
        if self.to_review is not None:
            folder = shlex.quote(str(self.to_review))
            lines.append(f"      hrpro label {folder} --model {run_dir} (accept what it found)")
        return lines

    def to_json(self) -> dict[str, Any]:
        """The same as JSON can hold it."""
        return {
            "run_dir": str(self.run_dir),
            "stages": [
                {
                    "stage": result.stage,
                    "updates": result.num_updates,
                    "seconds": result.seconds,
                    "last": result.last and to_json(result.last),
                    BEST: result.best and to_json(result.best),
                    f"{BEST} update": result.best_update,
                }
                for result in self.results
            ],
        }


def train(
    dataset: str | Path,
    options: RunOptions | None = None,
    *,
    data_root: str | Path = ".",
    preset: str | None = None,
    method: str | None = None,
    overrides: Sequence[str] = (),
    allow_mixed: bool = False,
    settings: WorkerSettings | None = None,
    workers: WorkerOptions | None = None,
    reporter: Reporter | None = None,
) -> TrainOutcome:
    """Train on a dataset and measure, with what `overrides` change of its preset.

    A folder with videos and points, or with the classes of each video, is enough: missing features
    are extracted first. Start and end marks of test videos are measured against; those of training
    videos are not looked at, unless the method learns from them.

    Args:
        dataset: folder, preset name or name of a public data set; see `resolve_dataset`.
        options: where the model goes, and which part of the work is to be done.
        data_root: where the folders of public data sets lie.
        preset: use this one, whatever the folder says.
        method: what to learn with; see `hrpro.pipeline.datasets.methods.choose_method`.
        overrides: ``a.b=c`` texts.
        allow_mixed: accept features of different fingerprints.
        settings: how features are made that are missing; its device is that of the training, too.
        workers: where and how many extract them; see `extract_features`.
        reporter: where progress goes; silent by default.

    Raises:
        UsageError: wrong options or config.
        DataError: the dataset is not complete, or something in it is wrong.
        HrproError: the run folder cannot be written, or training failed.
    """
    reporter = reporter or Reporter(quiet=True)
    overrides = choose_method(
        dataset, method, overrides, data_root=data_root, preset=preset, say=reporter.line
    )
    folder, config = resolve_dataset(dataset, overrides, data_root=data_root, preset=preset)
    options = options or RunOptions()
    settings = settings or WorkerSettings()
    device = choose_device(settings.compute.device)
    layout = find_layout(folder, config.dataset)
    failed: Mapping[str, str] = {}
    if layout.videos.is_dir():
        failed = _extract(folder, config, settings, workers, reporter)
        config = _without(config, failed)
    data = load_dataset(
        folder, config.dataset, needs=config.localize.needs, allow_mixed=allow_mixed
    )
    warnings = (*map(str, data.warnings), *_overlapping(data, config))
    for warning in warnings:
        reporter.line(f"warning: {warning}")
    taught = _taught(data, config.localize.needs)
    reporter.line(
        f"{data.name}: {len(data.train)} training videos, {taught}, "
        f"{len(data.classes)} classes, {len(data.test)} test videos, {data.dim} channels; "
        f"{device}"
    )
    if preset is None and _takes_small(folder, dataset, data):
        _, small = resolve_dataset(dataset, overrides, preset="small")
        small = small.model_copy(update={"dataset": config.dataset})
        if different := _differences(config, small):
            reporter.line(
                f"small data set ({len(data.train)} videos, {taught}): preset small: "
                f"{different} (--preset custom keeps those)"
            )
        config = small
    run_dir = options.run_dir or Path("runs", data.name)
    display = TrainingDisplay(reporter)
    observers: list[Observer] = [display]
    if options.tensorboard and find_spec("tensorboard"):
        observers.append(TensorBoard(run_dir / "tensorboard"))
    elif options.tensorboard:
        reporter.line("no TensorBoard scalars: python -m pip install tensorboard")
    run = TrainingRun(
        run_dir,
        data,
        config,
        device,
        options.resume,
        options.save_every_s,
        options.stage1,
        observers,
    )
    exactly = deterministic(device) if options.deterministic else nullcontext()
    with display.shown(), exactly:
        results = run.run([options.stage] if options.stage else None)
    scores = None
    for trained in (run_dir / BEST, run_dir):
        if trained.is_dir():
            scores = choose_event_scores(load_model(trained, device), data, device)
    if scores is not None:
        reporter.line(f"events: {scores.line()}")
    return TrainOutcome(
        run_dir,
        tuple(results),
        to_review=folder if layout.videos.is_dir() else None,
        failed=tuple(Failure(name, reason) for name, reason in failed.items()),
        warnings=warnings,
    )


def _overlapping(data: Dataset, config: RunConfig) -> Iterator[str]:
    """A warning where HR-Pro sees snippets that overlap, which it loses by: docs/methods.md."""
    grids = [video.grid.thinned(config.localize.stride) for video in data.train]
    fine = [grid for grid in grids if grid.stride < grid.snippet]
    if config.localize.method == "hrpro" and fine:
        stride, snippet = fine[0].stride, fine[0].snippet
        yield (
            f"{data.folder}: features every {stride} frames, of which HR-Pro makes less than of "
            f"those every {snippet}; add --set localize.stride={snippet}"
        )


def _taught(data: Dataset, needs: Supervision) -> str:
    """How much people have said about the training videos."""
    kinds = {
        "labels": ("labels", (video.labels for video in data.train)),
        "points": ("points", (video.points for video in data.train)),
        "full": ("marked actions", (video.actions or () for video in data.train)),
    }
    what, said = kinds[needs]
    return f"{sum(map(len, said))} {what}"


def _extract(
    folder: Path,
    config: RunConfig,
    settings: WorkerSettings,
    workers: WorkerOptions | None,
    reporter: Reporter,
) -> dict[str, str]:
    """Extract missing features of the videos that are trained and tested on.

    Returns:
        The videos that cannot be extracted, and why.
    """
    problems = Problems()
    scan = scan_dataset(folder, config.dataset, problems, needs=config.localize.needs)
    if not scan.labels or any(problem.severity == "error" for problem in problems):
        return {}  # load_dataset will say so
    wanted = (*scan.train, *scan.test)
    if not settings.recipe and all(name in scan.files for name in wanted):
        return {}
    failed = extract_missing(folder, wanted, settings=settings, workers=workers, reporter=reporter)
    reasons = {_last_part(name): reason for name, reason in failed.items()} | failed
    failed = {name: reasons[name] for name in wanted if name in reasons}
    if failed:
        reporter.problem(
            "warning: cannot be extracted, and so left out of training and evaluation: "
            + ", ".join(failed)
        )
    return failed


def _last_part(video_id: str) -> str:
    return PurePosixPath(video_id).name


def _without(config: RunConfig, videos: Iterable[str]) -> RunConfig:
    """Leave videos out of training and evaluation."""
    excluded = (*config.dataset.excluded_videos, *videos)
    dataset = config.dataset.model_copy(update={"excluded_videos": excluded})
    return config.model_copy(update={"dataset": dataset})


def _takes_small(folder: Path, dataset: str | Path, data: Dataset) -> bool:
    """Whether a dataset that asks for nothing but ``custom`` is a small one."""
    own, _ = dataset_layers(folder)
    return Path(dataset).is_dir() and own in (None, "custom") and len(data.train) < SMALL


def _differences(before: RunConfig, now: RunConfig) -> str:
    found = changes(before.model_dump(mode="json"), now.model_dump(mode="json"))
    return ", ".join(f"{key} {new} instead of {old}" for key, old, new in found)
