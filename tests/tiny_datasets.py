"""Easy little datasets made on the fly: features in which each class has a look of its own."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from hrpro.annotations import Action, VideoAnnotation, write_ground_truth

CLASSES = ("jump", "run", "throw")
DIM = 16
SNIPPETS = 40
SNIPPET_S = 0.64

PRESET = str(Path(__file__).with_name("tiny.yaml"))
"""Settings with which stage 1 and stage 2 learn such a dataset in a second or two."""


def make_dataset(
    root: Path,
    num_train: int = 8,
    num_test: int = 4,
    *,
    ground_truth: bool = True,
    seed: int = 0,
) -> Path:
    """Write a dataset folder; each video of 25.6 s holds one action of each of two classes."""
    rng = np.random.default_rng(seed)
    looks = 2 * rng.random((len(CLASSES) + 1, DIM))
    annotations, points = [], []
    for subset, count in (("train", num_train), ("test", num_test)):
        names = [f"{subset}_{number}" for number in range(count)]
        for name in names:
            features = np.tile(looks[-1], (SNIPPETS, 1))
            actions = []
            for half, label in enumerate(rng.choice(len(CLASSES), 2, replace=False)):
                start = 20 * half + int(rng.integers(3, 10))
                end = start + int(rng.integers(4, 9))
                features[start:end] = looks[label]
                actions.append(Action(CLASSES[label], start * SNIPPET_S, end * SNIPPET_S))
                points.append((name, CLASSES[label], (start + end) / 2 * SNIPPET_S))
            features = np.maximum(features + rng.normal(0, 0.2, features.shape), 0)
            path = root / "features" / subset / f"{name}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, features.astype(np.float32))
            duration_s = SNIPPETS * SNIPPET_S
            annotations.append(VideoAnnotation(name, subset, duration_s, 25, tuple(actions)))
        (root / f"split_{subset}.txt").write_text("".join(f"{name}\n" for name in names))
    with (root / "points.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["video_id", "class", "time"])
        writer.writerows(row for row in points if row[0].startswith("train"))
    if ground_truth:
        write_ground_truth(root / "annotations.json", annotations)
    return root
