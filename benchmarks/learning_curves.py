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
from hrpro.localize.training.run import TrainingRun

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


def make_dataset(annotations: Path, features: Path, folder: Path) -> None:
    """A dataset folder of the videos that have features, out of links to what is there."""
    for name in ("gt_full.json", "Ambiguous_test.txt"):
        (folder / name).symlink_to((annotations / name).resolve())
    (folder / "features").symlink_to(features.resolve())
    for split in ("train", "test"):
        names = (annotations / f"split_{split}.txt").read_text().split()
        there = [name for name in names if (features / split / f"{name}.npy").is_file()]
        (folder / f"split_{split}.txt").write_text("".join(f"{name}\n" for name in there))
    database = json.loads((annotations / "gt_full.json").read_text())["database"].values()
    classes = sorted({action["label"] for video in database for action in video["annotations"]})
    (folder / "dataset.yaml").write_text(f"preset: thumos\nclasses: {json.dumps(classes)}\n")


def curve(dataset: Path, method: str, seed: int, extra: Sequence[str] = ()) -> dict[int, float]:
    """Average mAP(0.1:0.7) in percent of the weights after so many updates."""
    settings = (*SETTINGS[method], f"localize.seed={seed}", *extra)
    folder, config = resolve_dataset(dataset, settings)
    data = load_dataset(folder, config.dataset, needs="labels")
    with tempfile.TemporaryDirectory() as run_dir:
        TrainingRun(Path(run_dir), data, config, torch.device("cpu")).run([1])
        history = json.loads(Path(run_dir, "stage1", "history.json").read_text())
    return {each["update"]: 100 * each["test"]["average"] for each in history["evaluations"]}


def main() -> None:
    """Train with every seed and print the curves."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("annotations", type=Path)
    parser.add_argument("features", type=Path)
    parser.add_argument("--method", choices=SETTINGS, default="sal")
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make_dataset(args.annotations, args.features, Path(folder))
        for seed in map(int, args.seeds.split(",")):
            found = curve(Path(folder), args.method, seed, args.set)
            points = "  ".join(f"{update}: {mean_ap:.1f}" for update, mean_ap in found.items())
            print(f"{args.method}, seed {seed}  {points}", flush=True)


if __name__ == "__main__":
    main()
