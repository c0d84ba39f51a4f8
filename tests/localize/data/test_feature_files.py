"""The feature files of a dataset: which are missing, damaged, or made in other ways."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from published_layout import DIM, damage_nan, features, refusal, save

from hrpro.errors import DataError
from hrpro.features import Fingerprint, Sidecar, write_features
from hrpro.localize.data.config import DatasetConfig
from hrpro.localize.data.dataset import load_dataset
from hrpro.pipeline.datasets.check import check_dataset


def test_missing_features_are_counted(folder: Path) -> None:
    (folder / "features/test/c.npy").unlink()
    assert refusal(folder) == (
        f"{folder}/features: features of 1 of 2 test videos are missing (c); "
        "put test/NAME.npy there"
    )
    (folder / "videos").mkdir()
    assert refusal(folder).endswith(f"; run: hrpro extract {folder}")


def test_two_files_for_one_video_are_refused(folder: Path) -> None:
    (folder / "features/train/a.npy").unlink()
    save(folder / "features/rgb/a.npy", features())
    save(folder / "features/flow/a.npy", features())
    assert "'a' can be 'flow/a' or 'rgb/a'" in refusal(folder)


def damage_width(path: Path) -> None:
    save(path, features(dim=DIM + 1))


def damage_truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-8])


def damage_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps([1, 2]))


def damage_object_array(path: Path) -> None:
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)


def damage_shape(path: Path) -> None:
    save(path, np.zeros((2, 3, 4), np.float32))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_width, "7 channels, where 3 files such as b.npy have 6; extract them again"),
        (damage_nan, "NaN or infinity in 1 of 20 snippets (first: 7); extract it again"),
        (damage_truncate, "truncated or not a .npy file"),
        (damage_pickle, "pickle"),
        (damage_object_array, "holds pickled objects"),
        (damage_shape, "expected floats of shape [snippets, channels]"),
    ],
)
def test_bad_feature_file_is_named(folder: Path, damage, message: str) -> None:
    path = folder / "features/train/a.npy"
    damage(path)
    line = refusal(folder)
    assert line.startswith(str(path))
    assert message in line
    report = check_dataset(folder)
    assert [p.where for p in report.problems] == [str(path)]


def fingerprint(folder: Path, name: str, **settings: object) -> None:
    path = folder / f"features/{name}.npy"
    write_features(path, np.load(path), Sidecar(fingerprint=Fingerprint(**settings), dim=DIM))


def test_different_fingerprints_are_refused_with_the_difference(folder: Path) -> None:
    for name in ("train/a", "train/b", "test/c"):
        fingerprint(folder, name, stride=16)
    fingerprint(folder, "test/d", stride=8)
    line = refusal(folder)
    assert line.startswith(str(folder / "features/test/d.npy"))
    assert "not made as a.npy was: stride: 8 != 16; extract again with one setting" in line
    data = load_dataset(folder, allow_mixed=True)
    assert data.warnings[0].remedy == "mixed on request"
    assert data.fingerprint == Fingerprint()


def test_file_of_unknown_origin_among_known_ones_is_refused(folder: Path) -> None:
    for name in ("train/a", "train/b", "test/c"):
        fingerprint(folder, name)
    assert "not made as a.npy was: it has no sidecar" in refusal(folder)


def test_sidecar_of_another_width_is_refused(folder: Path) -> None:
    path = folder / "features/train/a.npy"
    write_features(path, features(), Sidecar(fingerprint=Fingerprint(), dim=3))
    assert "6 channels, but its sidecar says 3" in refusal(folder)


@pytest.mark.parametrize("cache_gb", [0.0, 1.0])
def test_features_are_float32_whether_cached_or_mapped(folder: Path, cache_gb: float) -> None:
    save(folder / "features/train/a.npy", features().astype(np.float16))
    data = load_dataset(folder, DatasetConfig(cache_gb=cache_gb))
    a, b = (data.features(video) for video in data.train)
    assert a.dtype == b.dtype == np.float32
    assert isinstance(b, np.memmap) == (cache_gb == 0)
    assert (data.features(data.train[1]) is b) == (cache_gb > 0)
    np.testing.assert_array_equal(b, features(1))
    with pytest.raises(ValueError, match="read-only"):
        b[0, 0] = 1


def test_nan_shows_on_reading_if_it_was_not_looked_for(folder: Path) -> None:
    damage_nan(folder / "features/train/a.npy")
    data = load_dataset(folder, check_values=False)
    with pytest.raises(DataError, match="NaN or infinity"):
        data.features(data.train[0])
