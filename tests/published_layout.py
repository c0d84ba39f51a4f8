"""A tiny dataset in the layout that HR-Pro published, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hrpro.annotations import Action, VideoAnnotation, write_ground_truth
from hrpro.errors import DataError
from hrpro.localize.data.dataset import load_dataset

DIM = 6
SNIPPETS = 20  # 12.8 s


def save(path: Path, features: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, features)
    return path


def features(seed: int = 0, snippets: int = SNIPPETS, dim: int = DIM) -> np.ndarray:
    return np.random.default_rng(seed).random((snippets, dim), dtype=np.float32)


def damage_nan(path: Path) -> None:
    bad = features()
    bad[7, 2] = np.nan
    save(path, bad)


def write_published(root: Path) -> Path:
    """Two training and two test videos of 12.8 s at 30 fps, classes jump and run."""
    root.mkdir()
    write_ground_truth(
        root / "gt_full.json",
        [
            VideoAnnotation("a", "training", 12.8, 30, (Action("run", 1, 4),)),
            VideoAnnotation("b", "training", 12.8, 30, (Action("jump", 2, 3),)),
            VideoAnnotation("c", "validation", 12.8, 30, (Action("run", 5, 6),)),
            VideoAnnotation("d", "validation", 12.8, 30, (Action("run", 7, 9),)),
        ],
    )
    (root / "split_train.txt").write_text("a\nb\n")
    (root / "split_test.txt").write_text("c\nd\n")
    write_points(root, "video_id,class,point\na,run,60\nb,jump,72\nb,run,300\n")
    for number, name in enumerate(["train/a", "train/b", "test/c", "test/d"]):
        save(root / f"features/{name}.npy", features(number))
    return root


def write_points(root: Path, text: str) -> Path:
    path = root / "point_labels" / "point_gaussian.csv"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, **options: object) -> str:
    """The one line that loading ends with."""
    with pytest.raises(DataError) as caught:
        load_dataset(folder, **options)  # type: ignore[arg-type]
    text = str(caught.value)
    assert "\n" not in text
    return text
