"""``hrpro train --compare``: several methods on one dataset, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hrpro.errors import HrproError, UsageError
from hrpro.localize.config import resolve_dataset
from hrpro.localize.data.supervision import Supervision
from hrpro.localize.evaluation.average_precision import AveragePrecision
from hrpro.pipeline.console.progress import Reporter
from hrpro.pipeline.console.tables import map_lines
from hrpro.pipeline.train import RunOptions, TrainOutcome, train
from hrpro.pipeline.workers.launch import WorkerOptions
from hrpro.pipeline.workers.work import WorkerSettings
from hrpro.wording import one_line


@dataclass(frozen=True, eq=False)
class Compared:
    """What became of one method."""

    method: str
    needs: Supervision
    """What it learns from."""
    outcome: TrainOutcome | None = None
    error: str = ""
    """Why there is no outcome."""

    @property
    def title(self) -> str:
        """Of the row in the table."""
        return f"{self.method} ({self.needs})"

    @property
    def precision(self) -> AveragePrecision | None:
        """Of the last weights; None without any, or without test videos to measure on."""
        return self.outcome.results[-1].last if self.outcome else None

    @property
    def seconds(self) -> float:
        """Of training all stages, evaluations included."""
        return sum(result.seconds for result in self.outcome.results) if self.outcome else 0.0

    def to_json(self) -> dict[str, Any]:
        """The same as JSON can hold it."""
        return {
            "method": self.method,
            "needs": self.needs,
            "seconds": self.seconds,
            "mean_ap": self.outcome and self.outcome.mean_ap,
            "error": self.error,
            **(self.outcome.to_json() if self.outcome else {}),
        }


@dataclass(frozen=True)
class Comparison:
    """What became of several methods on one dataset; each keeps its weights ``last``."""

    dataset: str
    run_dir: Path
    """Holds a model folder for each method, of its name."""
    methods: tuple[Compared, ...]

    @property
    def failed(self) -> bool:
        """Whether some method could not be trained."""
        return any(each.error for each in self.methods)

    def lines(self) -> Iterator[str]:
        """A table: a line per method, a column per tIoU, and the seconds of training."""
        measured = {each: each.precision for each in self.methods}
        rows = {each.title: found for each, found in measured.items() if found is not None}
        if rows:
            times = [f"{each.seconds:.0f}" for each, found in measured.items() if found is not None]
            for line, cell in zip(map_lines(rows), ["seconds", *times], strict=True):
                yield f"{line}  {cell:>7}"
        for each in self.methods:
            if each.error:
                yield f"{each.title}: failed: {each.error}"
            elif each.precision is None:
                yield f"{each.title}: trained in {each.seconds:.0f} s; nothing to measure on"
        yield f"models: {self.run_dir}/METHOD (weights: last)"

    def to_json(self) -> dict[str, Any]:
        """The same as JSON can hold it."""
        return {
            "dataset": self.dataset,
            "run_dir": str(self.run_dir),
            "methods": [each.to_json() for each in self.methods],
        }


def compare(
    dataset: str | Path,
    methods: Sequence[str],
    options: RunOptions | None = None,
    *,
    data_root: str | Path = ".",
    preset: str | None = None,
    overrides: Sequence[str] = (),
    allow_mixed: bool = False,
    settings: WorkerSettings | None = None,
    workers: WorkerOptions | None = None,
    reporter: Reporter | None = None,
) -> Comparison:
    """Train several methods on one dataset, each into a folder of its name.

    What is done already is kept: the same call goes on where an interrupted one stopped. A method
    that cannot be trained on this dataset costs only itself.

    Args:
        dataset: see `hrpro.pipeline.train.train`, as for all arguments but these.
        methods: their names.
        options: `run_dir` holds the folders of all methods, ``runs/NAME-compared`` by default;
            single stages cannot be chosen.

    Raises:
        UsageError: no such method or data set, or wrong settings for any of the methods.
    """
    options = options or RunOptions()
    reporter = reporter or Reporter(quiet=True)
    methods = list(dict.fromkeys(methods))
    if not methods:
        raise UsageError("--compare: name the methods, as in hrpro,sal,hrpro+student")
    if options.stage is not None or options.stage1 is not None:
        raise UsageError("--compare trains all stages of all methods; leave --stage and such out")
    needs: dict[str, Supervision] = {}
    name = ""
    for method in methods:  # refuses what is wrong before anything is trained
        settled = (*overrides, f"localize.method={method}")
        folder, config = resolve_dataset(dataset, settled, data_root=data_root, preset=preset)
        needs[method] = config.localize.needs
        name = config.dataset.name or folder.resolve().name
    run_dir = options.run_dir or Path("runs", f"{name}-compared")
    compared = []
    for method in methods:
        reporter.line(f"{method}:")
        try:
            outcome = train(
                dataset,
                replace(options, run_dir=run_dir / method, resume=True),
                data_root=data_root,
                preset=preset,
                method=method,
                overrides=overrides,
                allow_mixed=allow_mixed,
                settings=settings,
                workers=workers,
                reporter=reporter,
            )
            compared.append(Compared(method, needs[method], outcome))
        except HrproError as error:
            compared.append(Compared(method, needs[method], error=one_line(error)))
            reporter.problem(f"failed: {method}: {one_line(error)}")
    return Comparison(name, run_dir, tuple(compared))
