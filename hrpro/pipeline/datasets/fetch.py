"""``hrpro dataset fetch``: download the published files of a public data set."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hrpro.errors import DataError, HrproError
from hrpro.extract.weights.download import Digest, download
from hrpro.files import inside, write_text
from hrpro.localize.data.catalogue import RELEASE, DriveArchive, KnownDataset, RemoteFile
from hrpro.localize.data.config import DATASET_YAML
from hrpro.localize.data.features import FeatureFolder
from hrpro.pipeline.datasets.archives import unpack
from hrpro.wording import one_line

DRIVE_URL = "https://drive.google.com/uc?id={}"
DOWNLOADS = ".downloads"
"""Folder for what is not complete yet; removed when everything is in its place."""


@dataclass
class FetchResult:
    """What came, and what a person has to do by hand, one sentence each."""

    fetched: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    by_hand: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def fetch_dataset(
    dataset: KnownDataset, folder: str | Path, *, report: Callable[[str], None] = lambda line: None
) -> FetchResult:
    """Download what is missing of a public data set; run again, it goes on where it stopped.

    A file that cannot be fetched does not stop the others: it ends up in `failed`, and the way to
    get it by hand in `by_hand`.

    Args:
        dataset: an entry of `hrpro.localize.data.catalogue.DATASETS`.
        folder: dataset folder, made if need be.
        report: called with one line per file.

    Raises:
        HrproError: the folder cannot be written.
    """
    folder = Path(folder)
    result = FetchResult(by_hand=[f"{folder}: {text}" for text in dataset.manual])
    if not (folder / DATASET_YAML).exists():
        write_text(folder / DATASET_YAML, f"preset: {dataset.preset}\nname: {dataset.name}\n")
    for file in dataset.files:
        report(f"{file.target} from {file.url}")
        try:
            (result.fetched if _fetch_file(file, folder) else result.kept).append(file.target)
        except HrproError as error:
            result.failed.append(str(error))
            result.by_hand.append(
                f"{folder / file.target}: download it from {file.url} (see {RELEASE}) and put it "
                "there"
            )
    if dataset.archive is not None:
        _fetch_features(dataset.archive, folder, result, report)
    if not result.failed:
        shutil.rmtree(folder / DOWNLOADS, ignore_errors=True)
    return result


def _fetch_file(file: RemoteFile, folder: Path) -> bool:
    target = inside(folder, file.target)
    if target.exists():  # perhaps the user's own version: never overwritten
        return False
    part = download(
        file.url, folder / DOWNLOADS / target.name, Digest("sha256", file.sha256), progress=False
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    part.replace(target)
    return True


def _fetch_features(
    archive: DriveArchive, folder: Path, result: FetchResult, report: Callable[[str], None]
) -> None:
    interrupted = (folder / DOWNLOADS / archive.file_name).exists()  # killed while unpacking
    if len(FeatureFolder(folder / "features")) and not interrupted:
        result.kept.append("features")
        return
    report(f"features ({archive.what}) from {archive.page}")
    try:
        path = download_from_drive(archive, folder / DOWNLOADS)
        try:
            count = _install(path, folder)
        finally:
            path.unlink()  # used up, or not what it should be: the next fetch starts anew
        result.fetched.append(f"features ({count} files)")
    except HrproError as error:
        result.failed.append(str(error))
        result.by_hand.append(
            f"{folder / 'features'}: open {archive.page} in a browser, download "
            f"{archive.file_name} ({archive.what}) and unpack it so that the files are "
            "features/train/NAME.npy and features/test/NAME.npy"
        )


def download_from_drive(archive: DriveArchive, folder: Path) -> Path:
    """Download an archive from Google Drive into a folder, going on where it stopped.

    Raises:
        DataError: gdown is not installed, or Google Drive does not hand the file out.
    """
    try:
        import gdown  # an extra: only needed here, and it brings its own dependencies
    except ImportError as error:
        raise DataError(
            f"{archive.file_name}: downloading from Google Drive needs gdown: "
            'python -m pip install "hrpro[fetch]"'
        ) from error
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / archive.file_name
    try:
        # resume skips a file that is already complete; cookies would be written to the home folder
        gdown.download(
            DRIVE_URL.format(archive.drive_id), str(target), resume=True, use_cookies=False
        )
    except Exception as error:  # gdown raises requests', its own and OS errors
        reason = one_line(error)[:200]
        raise DataError(f"{archive.page}: cannot download: {reason}") from error
    return target


def _install(archive: Path, folder: Path) -> int:
    """Unpack an archive and move its parts into the dataset folder; count the feature files.

    Archives differ in what they put around ``features/``. If there is a folder of that name, what
    lies beside it (splits, ground truth) comes along; otherwise everything is features.
    """
    unpacked = archive.with_name("unpacked")
    shutil.rmtree(unpacked, ignore_errors=True)
    files = [path.relative_to(unpacked) for path in unpack(archive, unpacked)]
    depths = [path.parts.index("features") for path in files if "features" in path.parts[:-1]]
    for path in files:
        parts = path.parts[min(depths) :] if depths else ("features", *path.parts)
        target = folder.joinpath(*parts)
        if parts and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            (unpacked / path).replace(target)
    shutil.rmtree(unpacked)
    count = len(FeatureFolder(folder / "features"))
    if not count:
        raise DataError(f"{archive}: holds no .npy files")
    return count
