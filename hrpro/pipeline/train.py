"""``hrpro train``: find the data set, train, measure, and say where the model is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hrpro.devices import choose_device
from hrpro.localize.config import resolve_dataset
from hrpro.localize.dataset import load_dataset
from hrpro.localize.measure import to_json
from hrpro.localize.model_folder import BEST
from hrpro.localize.training_run import Observer, StageResult, TrainingRun
from hrpro.pipeline.progress import Reporter
from hrpro.pipeline.tables import map_lines
from hrpro.pipeline.training_display import TensorBoard, TrainingDisplay


@dataclass(frozen=True)
class TrainOutcome:
    """What a training left behind."""

    run_dir: Path
    results: tuple[StageResult, ...]

    def lines(self) -> list[str]:
        """The mAP table, and what can be done next."""
        rows = {}
        for result in self.results:
            if result.last is not None and result.best is not None:
                rows[f"stage {result.stage}, last"] = result.last
                rows[f"stage {result.stage}, {BEST} (update {result.best_update})"] = result.best
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
        lines.append(f"next: hrpro detect VIDEO --model {self.run_dir} --out result.json")
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
    *,
    data_root: str | Path = ".",
    preset: str | None = None,
    run_dir: str | Path | None = None,
    overrides: Sequence[str] = (),
    stage: int | None = None,
    stage1: Path | None = None,
    resume: bool = False,
    device: str | None = None,
    allow_mixed: bool = False,
    tensorboard: bool = True,
    save_every_s: float = 60.0,
    reporter: Reporter | None = None,
) -> TrainOutcome:
    """Train on a dataset and measure, with what `overrides` change of its preset.

    Args:
        dataset: folder, preset name or name of a public data set; see `resolve_dataset`.
        data_root: where the folders of public data sets lie.
        preset: use this one, whatever the folder says.
        run_dir: where the model goes; ``runs/NAME`` of the dataset by default.
        overrides: ``a.b=c`` texts.
        stage: train this one alone.
        stage1: model folder to build stage 2 on; that in `run_dir` by default.
        resume: go on with an interrupted run, skip what is done.
        device: ``cpu``, ``cuda``, ...; a GPU by default, if there is one.
        allow_mixed: accept features of different fingerprints.
        tensorboard: write scalars for TensorBoard, if it is installed.
        save_every_s: seconds between checkpoints.
        reporter: where progress goes; silent by default.

    Raises:
        UsageError: wrong options or config.
        DataError: the dataset is not complete, or something in it is wrong.
        HrproError: the run folder cannot be written, or training failed.
    """
    reporter = reporter or Reporter(quiet=True)
    folder, config = resolve_dataset(dataset, overrides, data_root=data_root, preset=preset)
    torch_device = choose_device(device)
    data = load_dataset(folder, config.dataset, allow_mixed=allow_mixed)
    for warning in data.warnings:
        reporter.line(f"warning: {warning}")
    num_points = sum(len(video.points) for video in data.train)
    reporter.line(
        f"{data.name}: {len(data.train)} training videos, {num_points} points, "
        f"{len(data.classes)} classes, {len(data.test)} test videos, {data.dim} channels; "
        f"{torch_device}"
    )
    run_dir = Path(run_dir) if run_dir is not None else Path("runs", data.name)
    display = TrainingDisplay(reporter)
    observers: list[Observer] = [display]
    if tensorboard and find_spec("tensorboard"):
        observers.append(TensorBoard(run_dir / "tensorboard"))
    elif tensorboard:
        reporter.line("no TensorBoard scalars: python -m pip install tensorboard")
    run = TrainingRun(run_dir, data, config, torch_device, resume, save_every_s, stage1, observers)
    with display.shown():
        results = run.run([stage] if stage else None)
    return TrainOutcome(run_dir, tuple(results))
