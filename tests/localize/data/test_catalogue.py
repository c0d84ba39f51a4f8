"""Public data sets: the catalogue, and fetching from a server on this machine."""

from __future__ import annotations

import hashlib
import io
import re
import stat
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from hrpro.configs.loader import preset_names
from hrpro.errors import DataError
from hrpro.localize.data.catalogue import (
    DATASETS,
    DriveArchive,
    KnownDataset,
    RemoteFile,
    find_known,
)
from hrpro.localize.data.dataset import load_dataset
from hrpro.pipeline.datasets import fetch
from hrpro.pipeline.datasets.archives import unpack
from hrpro.pipeline.datasets.fetch import fetch_dataset

# The catalogue


def test_every_entry_is_complete() -> None:
    for dataset in DATASETS:
        assert dataset.preset in preset_names()
        assert {"split_train.txt", "split_test.txt", "point_labels/point_gaussian.csv"} <= {
            file.target for file in dataset.files
        }
        assert all(re.fullmatch(r"[0-9a-f]{64}", file.sha256) for file in dataset.files)
        assert all(file.url.startswith("https://") for file in dataset.files)
        assert dataset.archive or any("features" in text for text in dataset.manual)


def test_names_presets_and_folders_find_their_entry() -> None:
    assert {find_known(name) for name in ("thumos14", "thumos", "THUMOS14")} == {DATASETS[0]}
    assert find_known("ActivityNet1.3") is find_known("activitynet") is DATASETS[3]
    assert find_known("custom") is None


@pytest.mark.parametrize("dataset", DATASETS, ids=lambda dataset: dataset.name)
def test_checksums_and_counts_are_those_of_the_published_files(
    shared: Path, dataset: KnownDataset
) -> None:
    folder = shared / "data" / dataset.name
    for file in dataset.files:
        content = (folder / file.target).read_bytes()
        assert hashlib.sha256(content).hexdigest() == file.sha256, file.target
    for name, count in (("train", dataset.num_train), ("test", dataset.num_test)):
        assert len((folder / f"split_{name}.txt").read_text().split()) == count
    points = (folder / "point_labels/point_gaussian.csv").read_text().splitlines()
    assert len(points) - 1 == dataset.num_points


# Fetching


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Address of a server on the loopback interface, and the folder it serves."""
    root = tmp_path / "served"
    root.mkdir()
    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(root)))
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}", root
    http.shutdown()
    thread.join()
    http.server_close()


def archive_bytes(names: list[str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name in names:
            features = io.BytesIO()
            np.save(features, np.ones((20, 4), np.float32))
            info = tarfile.TarInfo(name)
            info.size = features.tell()
            features.seek(0)
            tar.addfile(info, features)
    return buffer.getvalue()


@pytest.fixture
def known(server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> KnownDataset:
    """A data set whose files are on the server; its archive is served in place of Google Drive."""
    address, root = server
    contents = {
        "split_train.txt": "a\n",
        "split_test.txt": "b\n",
        "point_labels/point_gaussian.csv": "video_id,class,point\na,run,30\n",
    }
    files = []
    for target, text in contents.items():
        (root / Path(target).name).write_text(text)
        digest = hashlib.sha256(text.encode()).hexdigest()
        files.append(RemoteFile(target, f"{address}/{Path(target).name}", digest))
    (root / "ID").write_bytes(
        archive_bytes(["top/features/train/a.npy", "top/features/test/b.npy"])
    )
    monkeypatch.setattr(fetch, "DRIVE_URL", f"{address}/{{}}")
    archive = DriveArchive("ID", "features.tar.gz", "features")
    return KnownDataset(
        "toy", "gtea", "a toy", ("toy",), 1, 1, 1, tuple(files), archive, ("videos: film them.",)
    )


def test_fetched_dataset_is_ready_to_load(known: KnownDataset, tmp_path: Path) -> None:
    lines: list[str] = []
    result = fetch_dataset(known, tmp_path / "toy", report=lines.append)
    assert not result.failed
    assert result.fetched == [
        "split_train.txt",
        "split_test.txt",
        "point_labels/point_gaussian.csv",
        "features (2 files)",
    ]
    assert result.by_hand == [f"{tmp_path / 'toy'}: videos: film them."]
    assert len(lines) == 4
    data = load_dataset(tmp_path / "toy")
    assert (data.name, data.config.fps, data.dim) == ("toy", 15, 4)
    assert data.train[0].points[0].snippet == 3
    assert not (tmp_path / "toy" / fetch.DOWNLOADS).exists()


def test_second_fetch_leaves_everything_as_it_is(known: KnownDataset, tmp_path: Path) -> None:
    fetch_dataset(known, tmp_path / "toy")
    mine = tmp_path / "toy/split_train.txt"
    mine.write_text("mine\n")
    result = fetch_dataset(known, tmp_path / "toy")
    assert not result.fetched
    assert len(result.kept) == 4
    assert mine.read_text() == "mine\n"


def test_changed_file_is_refused_and_the_others_still_come(
    known: KnownDataset, server: tuple[str, Path], tmp_path: Path
) -> None:
    (server[1] / "split_test.txt").write_text("evil\n")
    result = fetch_dataset(known, tmp_path / "toy")
    assert not (tmp_path / "toy/split_test.txt").exists()
    assert len(result.failed) == 1
    assert "not the expected file" in result.failed[0]
    assert "split_test.txt: download it from http://127.0.0.1" in result.by_hand[1]
    assert "features (2 files)" in result.fetched


def test_drive_that_hands_nothing_out_is_explained(
    known: KnownDataset, server: tuple[str, Path], tmp_path: Path
) -> None:
    (server[1] / "ID").unlink()
    result = fetch_dataset(known, tmp_path / "toy")
    (line,) = result.failed
    assert line.startswith("https://drive.google.com/file/d/ID/view: cannot download: ")
    assert "open https://drive.google.com/file/d/ID/view in a browser" in result.by_hand[-1]


def test_web_page_in_place_of_the_archive_is_explained(
    known: KnownDataset, server: tuple[str, Path], tmp_path: Path
) -> None:
    (server[1] / "ID").write_text("<html>quota exceeded</html>")
    result = fetch_dataset(known, tmp_path / "toy")
    assert "not a zip or tar archive; the download page may have come instead" in result.failed[0]
    (server[1] / "ID").write_bytes(archive_bytes(["a.npy", "b.npy"]))
    assert fetch_dataset(known, tmp_path / "toy").fetched == ["features (2 files)"]


def test_without_gdown_the_way_to_get_it_is_named(
    known: KnownDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gdown", None)
    result = fetch_dataset(known, tmp_path / "toy")
    assert 'python -m pip install "hrpro[fetch]"' in result.failed[0]
    assert len(result.fetched) == 3


def test_archive_without_features_is_refused(
    known: KnownDataset, server: tuple[str, Path], tmp_path: Path
) -> None:
    (server[1] / "ID").write_bytes(archive_bytes(["notes.txt"]))
    assert "holds no .npy files" in fetch_dataset(known, tmp_path / "toy").failed[0]


# Unpacking


def zip_of(path: Path, names: list[str], mode: int = 0o644) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name in names:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            zipped.writestr(info, "x" * 1000)
    return path


def test_zip_and_tar_unpack(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", ["x/y.npy", "z.npy"])
    assert [
        p.relative_to(tmp_path / "out").as_posix() for p in unpack(archive, tmp_path / "out")
    ] == [
        "x/y.npy",
        "z.npy",
    ]
    (tmp_path / "b").write_bytes(archive_bytes(["t/a.npy"]))
    assert unpack(tmp_path / "b", tmp_path / "out2") == [tmp_path / "out2/t/a.npy"]


@pytest.mark.parametrize("name", ["../evil.npy", "/evil.npy", "a/../../evil.npy"])
def test_entry_that_leads_outside_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "t.tar.gz").write_bytes(archive_bytes([name]))
    zip_of(tmp_path / "z.zip", [name])
    for archive in ("t.tar.gz", "z.zip"):
        with pytest.raises(DataError, match=rf"{archive}: .*not a name inside"):
            unpack(tmp_path / archive, tmp_path / "deep/out")
    assert not list(tmp_path.rglob("evil.npy"))


def test_links_are_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "t.tar", "w") as tar:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(info)
    zip_of(tmp_path / "z.zip", ["link"], stat.S_IFLNK | 0o777)
    for archive in ("t.tar", "z.zip"):
        with pytest.raises(DataError, match="is a link or device"):
            unpack(tmp_path / archive, tmp_path / "out")


def test_bomb_is_refused(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "z.zip", ["a", "b", "c"])
    with pytest.raises(DataError, match="unpacks to more than 2500 bytes"):
        unpack(archive, tmp_path / "out", max_bytes=2500)


def test_damaged_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.tar.gz"
    path.write_bytes(archive_bytes([f"{n}.npy" for n in range(50)])[:-200])
    with pytest.raises(DataError, match=r"t\.tar\.gz: "):
        unpack(path, tmp_path / "out")
