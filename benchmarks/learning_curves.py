"""How SAL and FuSTAL's generator learn on simulated features, step by step.

    python simulate_features.py THUMOS14 FEATURES --dim 256 --limit-train 80 --limit-test 72
    python benchmarks/learning_curves.py THUMOS14 FEATURES [--method sal] [--seeds 0,1]

THUMOS14 is the folder of its annotations, FEATURES holds train/NAME.npy and test/NAME.npy; the
videos that have features are trained and measured on. Networks are narrow and the learning rate is
ten times the published one, so that a curve takes minutes. What comes out compares implementations
of a method on such features; it says nothing about real ones.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from hrpro.localize.config import resolve_dataset
from hrpro.localize.data.dataset import load_dataset
from hrpro.localize.evaluation.average_precision import AveragePrecision
from hrpro.localize.training.run import Observer, TrainingRun

RATE, LENGTH = 1e-3, 750

SETTINGS = {
    "sal": (
        "localize.method=sal",
        f"localize.lr={RATE}",
        f"localize.network.length={LENGTH}",
        "localize.network.width=128",
        "localize.network.rgb_channels=128",
        "localize.batch_videos=2",
        "localize.updates=1600",
        "localize.eval_every=400",
    ),
    "fustal": (
        "localize.method=fustal",
        f"localize.generator.lr={RATE}",
        f"localize.generator.network.length={LENGTH}",
        "localize.generator.network.width=256",
        "localize.generator.batch_videos=16",
        "localize.generator.updates=700",
        "localize.generator.eval_every=100",
    ),
}
"""Of FuSTAL, only its generator is trained: stage 1."""


def make_dataset(annotations: Path, features: Path, folder: Path, all_classes: bool) -> int:
    """A dataset folder of the videos that have features; returns the number of its classes.

    Args:
        annotations: of THUMOS14.
        features: of some of its videos.
        folder: where the dataset goes.
        all_classes: measure on classes, too, that no training video shows: those are never found.
    """
    truth = json.loads((annotations / "gt_full.json").read_text())
    database = truth["database"]
    splits = {}
    for split in ("train", "test"):
        names = (annotations / f"split_{split}.txt").read_text().split()
        splits[split] = [n for n in names if (features / split / f"{n}.npy").is_file()]
        (folder / f"split_{split}.txt").write_text("".join(f"{n}\n" for n in splits[split]))
    used = [*splits["train"], *(splits["test"] if all_classes else [])]
    classes = {action["label"] for name in used for action in database[name]["annotations"]}
    for video in database.values():
        video["annotations"] = [each for each in video["annotations"] if each["label"] in classes]
    (folder / "gt_full.json").write_text(json.dumps(truth))
    (folder / "Ambiguous_test.txt").symlink_to((annotations / "Ambiguous_test.txt").resolve())
    (folder / "features").symlink_to(features.resolve())
    (folder / "dataset.yaml").write_text("preset: thumos\n")
    return len(classes)


class Curve(Observer):
    """Prints the average mAP(0.1:0.7), in percent, as soon as it is measured."""

    def evaluated(self, stage: int, update: int, precision: AveragePrecision) -> None:
        """Print a point of the curve."""
        print(f"  {update}: {100 * precision.average:.1f}", end="", flush=True)


def train(dataset: Path, method: str, seed: int, extra: Sequence[str] = ()) -> None:
    """Train the first stage of a method and print its curve in a line."""
    settings = (*SETTINGS[method], f"localize.seed={seed}", *extra)
    folder, config = resolve_dataset(dataset, settings)
    data = load_dataset(folder, config.dataset, needs="labels")
    print(f"{method}, seed {seed}:", end="", flush=True)
    with tempfile.TemporaryDirectory() as run_dir:
        run = TrainingRun(Path(run_dir), data, config, torch.device("cpu"), observers=[Curve()])
        run.run([1])
    print()


def main() -> None:
    """Train with every seed and print the curves."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("annotations", type=Path)
    parser.add_argument("features", type=Path)
    parser.add_argument("--method", choices=SETTINGS, default="sal")
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--all-classes", action="store_true")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        num_classes = make_dataset(args.annotations, args.features, Path(folder), args.all_classes)
        print(f"{num_classes} classes", flush=True)
        for seed in map(int, args.seeds.split(",")):
            train(Path(folder), args.method, seed, args.set)


if __name__ == "__main__":
    main()
