"""What ``hrpro eval`` is asked for, and whether it can be done; looked at before networks load."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from hrpro.errors import DataError, UsageError
from hrpro.localize.data.catalogue import dataset_folder
from hrpro.localize.training.model_files import check_model_folder

EVENT_TIOU = 0.5
_SAY_AGAINST = "say what to measure against: "


@dataclass(frozen=True)
class TruthOptions:
    """What to measure against: a dataset, or a ground truth file."""

    dataset: str | Path | None = None
    """Folder, preset name or name of a public data set."""
    data_root: str | Path = "."
    """Where the folders of public data sets lie."""
    preset: str | None = None
    """Settings to use instead of the dataset's own."""
    ground_truth: Path | None = None
    """ActivityNet JSON."""
    subset: str | None = None
    """Of the ground truth; see `truth_of_file`."""
    exclude: Collection[str] = ()
    """Videos of the ground truth to leave out."""
    ambiguous: Path | None = None
    """THUMOS14's list of ambiguous segments."""
    tiou: str | None = None
    """Thresholds, see `parse_tious`; those of the dataset by default."""
    event_tiou: float = EVENT_TIOU
    """Overlap from which on an event is right."""

    def check(self) -> None:
        """Refuse what does not go together.

        Raises:
            UsageError: not exactly one truth, options of the other kind, no such dataset, or
                thresholds that are none.
        """
        if (self.dataset is None) == (self.ground_truth is None):
            raise UsageError(f"{_SAY_AGAINST}--dataset, or --ground-truth GT.json")
        if self.dataset is not None and (self.subset or self.exclude or self.ambiguous):
            raise UsageError(
                "--subset, --exclude and --ambiguous go with --ground-truth; a dataset brings its "
                "own"
            )
        if self.dataset is not None:
            dataset_folder(self.dataset, self.data_root)
        if self.tiou:
            parse_tious(self.tiou)

    @property
    def tious(self) -> tuple[float, ...] | None:
        """The thresholds asked for."""
        return parse_tious(self.tiou) if self.tiou else None


@dataclass(frozen=True)
class ModelOptions:
    """How to run the model that is measured, and what to keep of it."""

    device: str | None = None
    """``cpu``, ``cuda``, ...; a GPU by default, if there is one."""
    allow_mixed: bool = False
    """Use features that the model was not trained on."""
    outs: Sequence[Path] = ()
    """Result files to write."""
    curves: bool = False
    """Put the class activation sequences into them, for reports."""


def check_request(
    result: object | None, against: TruthOptions, model: Path | None, options: ModelOptions
) -> None:
    """Refuse a request that makes no sense, or names what is not there.

    Args:
        result: a result file, or results.
        against: what to measure against.
        model: folder of a model.
        options: how the model is run.

    Raises:
        UsageError: options that do not go together, no such folder.
        DataError: no such file, or the folder is no model.
    """
    if (result is None) == (model is None):
        raise UsageError("give either a result file, or --model with --dataset")
    if model is not None and against.dataset is None:
        raise UsageError(f"{_SAY_AGAINST}--model goes with --dataset")
    if model is None and (options.outs or options.curves):
        raise UsageError("--out and --curves go with --model: a result file is written already")
    against.check()
    for path in (result, against.ground_truth, against.ambiguous):
        if isinstance(path, Path) and not path.is_file():
            raise DataError(f"{path}: no such file")
    if model is not None:
        if not model.is_dir():
            raise UsageError(f"{model}: no such folder; --model takes one that 'hrpro train' wrote")
        check_model_folder(model)


def parse_tious(text: str) -> tuple[float, ...]:
    """Read thresholds: ``0.5``, ``0.3,0.5,0.7`` or ``0.1:0.1:0.7`` (first, step, last).

    Raises:
        UsageError: it is none of these, or a value does not lie between 0 and 1.
    """
    try:
        if ":" in text:
            first, step, last = map(float, text.split(":"))
            values = [first + step * i for i in range(round((last - first) / step) + 1)]
        else:
            values = [float(part) for part in text.split(",")]
    except (ValueError, ZeroDivisionError) as error:
        raise UsageError(
            f"--tiou {text}: write 0.5, or 0.3,0.5,0.7, or 0.1:0.1:0.7 (first:step:last)"
        ) from error
    tious = tuple(round(value, 6) for value in values)
    if not tious or not all(0 < tiou <= 1 for tiou in tious):
        raise UsageError(f"--tiou {text}: thresholds lie between 0 and 1")
    return tious
