"""Files of a dataset folder: which one is which, and the splits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hrpro.errors import DataError
from hrpro.localize.data.config import DatasetConfig
from hrpro.problems import Problems
from hrpro.texts import read_text
from hrpro.videos_folder import videos_folder

POINT_FILES = ("point_labels/point_gaussian.csv", "points.csv", "point_labels/points.csv")
LABELS = "labels.csv"


@dataclass(frozen=True)
class Layout:
    """Paths inside a dataset folder; None where the file is not there.

    ``gt_full.json`` or ``annotations.json``, ``point_labels/point_gaussian.csv`` or
    ``points.csv``, ``labels.csv``, ``split_train.txt``, ``split_test.txt``, ``features/``,
    ``videos/``.
    """

    folder: Path
    ground_truth: Path | None
    points: Path | None
    labels: Path | None
    split_train: Path | None
    split_test: Path | None
    ambiguous: Path | None
    features: Path
    videos: Path

    @property
    def splits(self) -> dict[str, Path | None]:
        """The split files by subset."""
        return {"train": self.split_train, "test": self.split_test}


def find_layout(folder: str | Path, config: DatasetConfig) -> Layout:
    """Look which files are there.

    Raises:
        DataError: the folder does not exist, a configured file name leads out of it, or a file is
            not there because its link leads nowhere.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such dataset folder; name one with videos/ and points.csv, or see "
            "'hrpro dataset list'"
        )

    def first(names: Iterable[str]) -> Path | None:
        paths = [_below(folder, name) for name in names]
        found = next((path for path in paths if path.is_file()), None)
        if found is None:
            _refuse_dead_links(folder, paths)
        return found

    features = folder / "features"
    _refuse_dead_links(folder, [features])
    return Layout(
        folder,
        ground_truth=first(config.ground_truth),
        points=first(POINT_FILES),
        labels=first([LABELS]),
        split_train=first(["split_train.txt"]),
        split_test=first(["split_test.txt"]),
        ambiguous=first([config.ambiguous] if config.ambiguous else []),
        features=features,
        videos=videos_folder(folder),
    )


def _below(folder: Path, name: str) -> Path:
    # Unlike `hrpro.files.inside`, links may lead out: people link the files of large data sets.
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise DataError(f"{name!r}: not a name inside {folder}; correct it in the dataset's config")
    return folder / name


def _refuse_dead_links(folder: Path, paths: Iterable[Path]) -> None:
    """What a link to nothing stands for is not absent, it was lost: folders get moved."""
    for path in paths:
        inside = path.relative_to(folder)
        for link in (folder / each for each in (inside, *inside.parents)):
            if link.is_symlink() and not link.exists():
                raise DataError(
                    f"{link}: is a link to {link.readlink()}, which is not there; "
                    "link it anew or delete it"
                )


def read_split(path: Path, problems: Problems) -> dict[str, int]:
    """Read a split file, one video name a line.

    Returns:
        Video name -> line, in the order of the file.

    Raises:
        DataError: the file cannot be read.
    """
    lines = read_text(path, lambda what: problems.warning(path, what)).splitlines()
    videos: dict[str, int] = {}
    for line, name in enumerate(map(str.strip, lines), start=1):
        if not name:
            continue
        if name in videos:
            problems.error(
                f"{path}:{line}",
                f"{name!r} is already in line {videos[name]}",
                "delete one of the two lines",
            )
        videos.setdefault(name, line)
    return videos


def check_disjoint(
    train: Mapping[str, int], test: Mapping[str, int], layout: Layout, problems: Problems
) -> None:
    """Refuse a video that is both in training and in test: its mAP would mean nothing.

    Args:
        train: video id -> line of the split file; likewise `test`.
    """
    for name in train.keys() & test.keys():
        problems.error(
            f"{layout.split_test}:{test[name]}",
            f"{name!r} is also in {layout.split_train}:{train[name]}",
            "a test video must not be trained on: delete one of the two lines",
        )
