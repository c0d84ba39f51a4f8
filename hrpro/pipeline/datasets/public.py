"""``hrpro dataset``: list, check and fetch data sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hrpro.errors import UsageError
from hrpro.localize.config import DEFAULT_METHOD, resolve_dataset
from hrpro.localize.data.catalogue import DATASETS, KnownDataset, find_known
from hrpro.pipeline.datasets.check import DatasetReport, check_dataset
from hrpro.pipeline.datasets.fetch import FetchResult, fetch_dataset


@dataclass(frozen=True)
class Listed:
    """A public data set, and where it is."""

    known: KnownDataset
    folder: Path | None

    def lines(self) -> Iterator[str]:
        """Describe it in two lines."""
        known = self.known
        yield f"{known.name:14}{known.title}"
        where = self.folder or f"not here: hrpro dataset fetch {known.name}"
        yield (
            f"{'':14}{known.num_train} training and {known.num_test} test videos, "
            f"{known.num_points} points; preset {known.preset}; {where}"
        )

    def to_json(self) -> dict[str, Any]:
        """The same as JSON can hold it."""
        names = ("name", "preset", "title", "num_train", "num_test", "num_points")
        return {
            **{name: getattr(self.known, name) for name in names},
            "folder": self.folder and str(self.folder),
        }


@dataclass(frozen=True)
class Fetched:
    """What a download brought, and the folder it went to."""

    folder: Path
    result: FetchResult

    @property
    def complete(self) -> bool:
        """Whether nothing went wrong; files to get by hand may remain."""
        return not self.result.failed

    def lines(self) -> Iterator[str]:
        """What came, what failed and what to do by hand, line by line."""
        for what in ("fetched", "kept", "failed", "by_hand"):
            for text in getattr(self.result, what):
                yield f"{what.replace('_', ' ')}: {text}"
        yield f"next: hrpro dataset check {self.folder}"

    def to_json(self) -> dict[str, Any]:
        """The same as JSON can hold it."""
        return {"folder": str(self.folder), **asdict(self.result)}


def known_datasets(data_root: str | Path = ".") -> list[Listed]:
    """The public data sets, with the folders that lie in `data_root`."""
    return [Listed(known, _folder(known, Path(data_root))) for known in DATASETS]


def _folder(known: KnownDataset, data_root: Path) -> Path | None:
    candidates = (data_root / name for name in (*known.folders, known.preset))
    return next((path for path in candidates if path.is_dir()), None)


def check(
    name: str, *, data_root: str | Path = ".", preset: str | None = None, allow_mixed: bool = False
) -> DatasetReport:
    """Check a dataset folder, or a public data set by its name.

    Raises:
        UsageError: there is no such data set, or its config is wrong.
    """
    folder, config = resolve_dataset(name, data_root=data_root, preset=preset)
    chosen = config.localize.needs if config.localize.method != DEFAULT_METHOD else None
    return check_dataset(folder, config.dataset, needs=chosen, allow_mixed=allow_mixed)


def fetch(
    name: str, data_root: str | Path = ".", report: Callable[[str], None] = lambda line: None
) -> Fetched:
    """Download a public data set into its folder in `data_root`.

    Raises:
        UsageError: there is no public data set of this name.
        HrproError: the folder cannot be written.
    """
    known = find_known(name)
    if known is None:
        names = ", ".join(dataset.name for dataset in DATASETS)
        raise UsageError(f"{name}: no public data set of this name; there are {names}")
    folder = _folder(known, Path(data_root)) or Path(data_root) / known.folders[0]
    return Fetched(folder, fetch_dataset(known, folder, report=report))
