"""Measure localization against straightforward one-by-one versions, in one run.

    python benchmarks/localize.py [proposals] [map] [--data FOLDER]

Each section checks that both give the same numbers and prints the time of each and their ratio.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import localize_plain as plain
import numpy as np
import pandas as pd

from hrpro.files import read_json
from hrpro.localize.evaluation.average_precision import mean_average_precision
from hrpro.localize.proposals.generate import Proposals, generate_proposals
from hrpro.localize.proposals.nms import soft_nms

DATA = Path(__file__).parents[2] / "shared" / "data"


def measure(function: Callable[[], Any], repeats: int) -> tuple[Any, float]:
    """Return the result and the shortest wall-clock time in seconds."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - begin)
    return result, min(times)


def report(what: str, plain_s: float, ours_s: float, difference: float) -> None:
    """Print one line of the comparison."""
    print(
        f"{what:<28} one by one {plain_s:8.3f} s   hrpro {ours_s:8.4f} s   "
        f"{plain_s / ours_s:7.1f} x   largest difference {difference:.1e}",
        flush=True,
    )


def read_segments(path: Path, key: str) -> pd.DataFrame:
    """Read segments of ActivityNet JSON: key ``database`` (test subset) or ``results``."""
    rows = []
    for video, entry in read_json(path)[key].items():
        if key == "database" and entry["subset"].lower() != "test":
            continue
        for item in entry["annotations"] if key == "database" else entry:
            rows.append((video, item["label"], *map(float, item["segment"]), item.get("score", 1)))
    return pd.DataFrame(rows, columns=["video", "label", "start_s", "end_s", "score"])


def simulate_sequences(data: Path, seed: int = 0) -> list[tuple[np.ndarray, ...]]:
    """Make activations like those of a trained stage 1 on THUMOS14's test videos.

    Returns fused scores `[T, C]`, video score `[C]` and attention `[T]` of every video. Lengths,
    classes and places of the actions are the real ones; heights, the softness of the boundaries,
    false alarms and noise are drawn.
    """
    rng = np.random.default_rng(seed)
    path = data / "thumos14" / "gt_full.json"
    truth = read_segments(path, "database")
    database = read_json(path)["database"]
    classes = sorted(truth["label"].unique())
    videos = []
    for video, actions in truth.groupby("video"):
        num_snippets = max(4, int(database[video]["duration"] * 25 / 16))
        time_s = (np.arange(num_snippets) + 0.5) * 16 / 25
        logits = np.full((num_snippets, len(classes)), -6.0)
        present = [classes.index(label) for label in actions["label"].unique()]
        false = rng.uniform(0, time_s[-1], len(actions) // 2 + 1)
        spots = [(classes.index(a.label), a.start_s, a.end_s) for a in actions.itertuples()]
        spots += [(rng.choice(present), start_s, start_s + 2.0) for start_s in false]
        for label, start_s, end_s in spots:
            centre, half = (start_s + end_s) / 2, (end_s - start_s) / 2
            softness = rng.uniform(0.3, 1.2)
            bump = rng.uniform(2, 10) * (1 - np.tanh((abs(time_s - centre) - half) / softness)) / 2
            logits[:, label] = np.maximum(logits[:, label], bump - 6)
        logits += rng.normal(0, 0.5, logits.shape)
        attention = 1 / (1 + np.exp(-(logits.max(axis=1) + rng.normal(0, 0.5, num_snippets) + 1)))
        scores = attention[:, None] / (1 + np.exp(-logits))
        video_score = np.isin(np.arange(len(classes)), present) * 0.9
        videos.append((scores.astype(np.float32), video_score, attention.astype(np.float32)))
    return videos


def _sorted_rows(proposals: Proposals) -> np.ndarray:
    """Return video, class and the sorted scores in an order that does not depend on the method."""
    order = np.lexsort((proposals.score, proposals.label, proposals.video))
    return np.stack([proposals.video, proposals.label, proposals.score], axis=1)[order]


def compare_proposals(data: Path, repeats: int) -> None:
    """Compare proposal generation and soft-NMS over a set of videos of THUMOS14's size."""
    videos = simulate_sequences(data)
    scores, video_scores, attentions = zip(*videos, strict=True)

    def one_by_one() -> list[dict[int, list[plain.Row]]]:
        return [plain.generate_proposals(*video) for video in videos]

    def as_table(found: list[dict[int, list[plain.Row]]]) -> Proposals:
        rows = [
            (video, *row)
            for video, classes in enumerate(found)
            for per_class in classes.values()
            for row in per_class
        ]
        video, start_s, end_s, label, score = np.array(rows).T
        return Proposals(video, start_s, end_s, label, score)

    found, plain_generate_s = measure(one_by_one, repeats)
    candidates, generate_s = measure(
        lambda: generate_proposals(scores, video_scores, attentions), 3 * repeats
    )
    kept, plain_nms_s = measure(
        lambda: [{c: plain.soft_nms(rows) for c, rows in video.items()} for video in found],
        repeats,
    )
    suppressed, nms_s = measure(lambda: soft_nms(candidates), 3 * repeats)

    print(f"{len(candidates)} proposals of {len(videos)} simulated videos")
    expected = as_table(found)
    difference = np.abs(_sorted_rows(candidates) - _sorted_rows(expected)).max()
    report("proposals", plain_generate_s, generate_s, difference)
    suppressed_difference = np.abs(_sorted_rows(suppressed) - _sorted_rows(as_table(kept))).max()
    report("soft-NMS", plain_nms_s, nms_s, suppressed_difference)
    report(
        "proposals + soft-NMS",
        plain_generate_s + plain_nms_s,
        generate_s + nms_s,
        max(difference, suppressed_difference),
    )


def compare_map(data: Path, repeats: int) -> None:
    """Compare mAP on real detections of THUMOS14's test videos."""
    folder = data / "thumos14"
    expected = read_json(folder / "expected_map.json")
    predictions = read_segments(folder / "real_detections.json", "results")
    truth = read_segments(folder / "gt_full.json", "database")
    predictions = predictions[~predictions["video"].isin(expected["blocked_videos"])]
    truth = truth[~truth["video"].isin(expected["blocked_videos"])]
    tious = expected["thresholds"]

    def one_by_one() -> np.ndarray:
        return np.stack(
            [
                plain.average_precision(predictions[predictions["label"] == label], own, tious)
                for label, own in truth.groupby("label")
            ],
            axis=1,
        )

    plain_ap, plain_s = measure(one_by_one, 1)
    ours, ours_s = measure(
        lambda: mean_average_precision(predictions, truth, tious), max(5, repeats)
    )
    print(f"{len(predictions)} real detections, average mAP {ours.average:.6f}")
    report("mAP", plain_s, ours_s, np.abs(ours.per_class - plain_ap).max())


SECTIONS = {"proposals": compare_proposals, "map": compare_map}


def main() -> None:
    """Run the sections named on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sections", nargs="*", help=f"of {', '.join(SECTIONS)}; default: all")
    parser.add_argument("--data", type=Path, default=DATA, help="folder that holds thumos14/")
    parser.add_argument("--repeats", type=int, default=3, help="the shortest of so many counts")
    arguments = parser.parse_args()
    unknown = set(arguments.sections) - set(SECTIONS)
    if unknown:
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    for name in arguments.sections or SECTIONS:
        SECTIONS[name](arguments.data, arguments.repeats)


if __name__ == "__main__":
    main()
