"""``hrpro dataset check``: what a folder holds, what is wrong or missing, what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hrpro.errors import DataError, HrproError
from hrpro.features import read_features
from hrpro.files import read_json
from hrpro.localize.data.catalogue import find_known
from hrpro.localize.data.config import DatasetConfig, read_dataset_config
from hrpro.localize.data.features import check_finite
from hrpro.localize.data.scan import DatasetScan, scan_dataset
from hrpro.localize.data.supervision import Supervision
from hrpro.localize.training.model_files import METRICS_FILE, WEIGHTS_FILE
from hrpro.pipeline.datasets.methods import Advice, advise
from hrpro.problems import Problem, Problems


@dataclass(frozen=True)
class DatasetReport:
    """Everything that was found, in the order in which it should be put right."""

    folder: Path
    counts: dict[str, int]
    """What is there: classes, points, videos and features by split, videos with ground truth."""
    problems: tuple[Problem, ...]
    next_command: str
    advice: Advice
    """Which methods the labels allow."""

    @property
    def ok(self) -> bool:
        """Whether training can start."""
        return all(problem.severity == "warning" for problem in self.problems)

    def lines(self) -> Iterator[str]:
        """Return the report as text, line by line."""
        yield f"{self.folder}"
        for what, count in self.counts.items():
            yield f"  {what}: {count}"
        for line in self.advice.lines():
            yield f"  {line}"
        for problem in self.problems:
            yield f"{problem.severity}: {problem}"
        yield f"next: {self.next_command}"

    def to_json(self) -> dict[str, Any]:
        """Return the report as values that JSON can hold."""
        return {
            "folder": str(self.folder),
            "ok": self.ok,
            "counts": self.counts,
            "problems": [vars(problem) for problem in self.problems],
            "methods": list(self.advice.allowed),
            "recommended": self.advice.recommended,
            "next": self.next_command,
        }


def check_dataset(
    folder: str | Path,
    config: DatasetConfig | None = None,
    *,
    needs: Supervision | None = None,
    allow_mixed: bool = False,
    check_values: bool = True,
) -> DatasetReport:
    """Check a dataset folder without stopping at the first problem.

    Args:
        folder: the dataset folder.
        config: settings; None takes the folder's own.
        needs: what training videos must carry for the method that is to learn from them; by
            default what says most of them.
        allow_mixed: accept features of different fingerprints.
        check_values: read all features to find NaN and infinity.

    Raises:
        DataError: the folder does not exist.
        UsageError: ``dataset.yaml`` is wrong.
    """
    folder = Path(folder)
    config = config if config is not None else read_dataset_config(folder)
    problems = Problems()
    advice = advise(folder, config)
    needs = needs or advice.usual or "points"
    scan = scan_dataset(folder, config, problems, allow_mixed=allow_mixed, needs=needs)
    if check_values:
        for file in scan.files.values():
            try:
                check_finite(file.path, read_features(file.path))
            except DataError as error:
                problems.add_exception(error)
    return DatasetReport(
        folder, _counts(scan), tuple(problems), _next_command(scan, config, problems), advice
    )


def _counts(scan: DatasetScan) -> dict[str, int]:
    return {
        "classes": len(scan.classes),
        "points": len(scan.rows),
        **({"video labels": len(scan.listed)} if scan.listed else {}),
        **(
            {"points of test videos (not used)": scan.num_test_points}
            if scan.num_test_points
            else {}
        ),
        "training videos": len(scan.train),
        "training videos with features": sum(v in scan.files for v in scan.train),
        "test videos": len(scan.test),
        "test videos with features": sum(v in scan.files for v in scan.test),
        "test videos with ground truth": sum(v in scan.ground_truth for v in scan.test),
    }


def _next_command(scan: DatasetScan, config: DatasetConfig, problems: Problems) -> str:
    """The first step that is not done: videos, points, features, training, and then use."""
    layout, folder = scan.layout, shlex.quote(str(scan.layout.folder))
    known = find_known(config.name) or find_known(layout.folder.resolve().name)
    if any(problem.severity == "error" for problem in problems):
        return f"put the errors right, then: hrpro dataset check {folder}"
    if not problems.blocking and _unmarked(scan, config):
        return f"hrpro label {folder}"
    if not problems.blocking:
        if (run := _trained(scan, config)) is not None:
            return f"hrpro detect VIDEO --model {shlex.quote(str(run))} --out result.json"
        return f"hrpro train --dataset {folder}"
    if known is not None and not layout.videos.is_dir():
        return f"hrpro dataset fetch {known.name}"
    if not layout.videos.is_dir():
        return f"hrpro init {folder} --videos DIR"
    if not (layout.points or layout.labels or layout.split_train or layout.split_test):
        return f"hrpro init {folder}"
    if not scan.labels or _unmarked(scan, config):
        return f"hrpro label {folder}"
    return f"hrpro extract {folder}"


def _unmarked(scan: DatasetScan, config: DatasetConfig) -> set[str]:
    """Classes that a person wants to be learned, and has not marked anywhere."""
    return set(config.classes or ()) - {label for each in scan.labels.values() for label in each}


def _trained(scan: DatasetScan, config: DatasetConfig) -> Path | None:
    """The latest model of this dataset below ``runs/``, if nothing was marked since."""
    layout = scan.layout
    usual = Path("runs", config.name or layout.folder.resolve().name)
    own = [
        run.parent
        for run in Path("runs").glob(f"*/{WEIGHTS_FILE}")
        if run.parent == usual or _learned_from(run.parent) == layout.folder.resolve()
    ]
    marks = [layout.points, layout.labels, layout.ground_truth, *layout.splits.values()]
    try:
        trained = {run: (run / WEIGHTS_FILE).stat().st_mtime_ns for run in own}
        marked_ns = [path.stat().st_mtime_ns for path in marks if path is not None]
    except OSError:
        return None
    run = max(own, key=trained.__getitem__, default=None)
    return run if run and all(each < trained[run] for each in marked_ns) else None


def _learned_from(run: Path) -> Path | None:
    """The dataset folder that a model was trained on, as far as it says so."""
    try:
        about = read_json(run / METRICS_FILE)
        return Path(about["dataset"]["folder"])
    except (HrproError, KeyError, TypeError):
        return None
