"""How well events count actions: recommended scores against fixed ones, on held-out videos.

    python benchmarks/event_quality.py runs/a=data/a runs/b=data/b     # MODEL=DATASET ...

Each model finds events in the test videos of its dataset. The recommended scores are chosen twice,
both times without the videos they are measured on: on the points of the training videos, and on
the other half of the test videos (halves A and B, every second video by name, both ways). Several
models of one data set, such as folds, are one line. The columns: actions marked by people; events;
right ones (tIoU 0.5); F1; and the mean absolute error of the counts, of a class over all videos
and of a class in one video (of all pairs in which it was marked or found).
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from hrpro.devices import choose_device
from hrpro.localize.data.dataset import Dataset, load_dataset
from hrpro.localize.evaluation.average_precision import Matching
from hrpro.localize.training.model_folder import load_model
from hrpro.pipeline.detectors.of_dataset import detect_in_dataset
from hrpro.pipeline.results.events import EventRules, events_of
from hrpro.pipeline.results.model import VideoResult
from hrpro.pipeline.thresholds import choose_thresholds, judge_by_actions, judge_training_videos

FIXED = (0.2, 0.5)
TIOU = 0.5


@dataclass
class Tally:
    """Counts over the videos of one way to choose the scores."""

    true: Counter[tuple[str, str]] = field(default_factory=Counter)
    found: Counter[tuple[str, str]] = field(default_factory=Counter)
    right: int = 0

    def add(self, videos: Iterable[VideoResult], rules: EventRules, actions: pd.DataFrame) -> None:
        """Make events of some videos and compare them with the actions in these."""
        rows = [
            (video.video_id, event.label, event.start_s, event.end_s, event.score)
            for video in videos
            for event in events_of(video.detections, rules)
        ]
        events = pd.DataFrame(rows, columns=["video", "label", "start_s", "end_s", "score"])
        actions = actions[actions["video"].isin([video.video_id for video in videos])]
        self.true.update(zip(actions["video"], actions["label"], strict=True))
        self.found.update(zip(events["video"], events["label"], strict=True))
        self.right += int((Matching(events, actions, stable_ties=True).match(TIOU) >= 0).sum())

    def line(self, name: str) -> str:
        """A row of the table."""
        true, found = self.true.total(), self.found.total()
        return (
            f"| {name} | {true} | {found} | {self.right} | "
            f"{200 * self.right / max(1, true + found):.1f} | {self._error(per_video=False):.2f} | "
            f"{self._error(per_video=True):.2f} |"
        )

    def _error(self, *, per_video: bool) -> float:
        kinds = [
            Counter({key if per_video else key[1]: 0 for key in counts})
            for counts in (self.true, self.found)
        ]
        for kind, counts in zip(kinds, (self.true, self.found), strict=True):
            for key, number in counts.items():
                kind[key if per_video else key[1]] += number
        keys = {*kinds[0], *kinds[1]}
        return sum(abs(kinds[0][key] - kinds[1][key]) for key in keys) / max(1, len(keys))


def measure(model_folder: Path, folder: Path, tallies: dict[str, Tally]) -> None:
    """Add what one model does on the test videos of its dataset."""
    device = choose_device("cpu")
    model = load_model(model_folder, device)
    data = load_dataset(folder)
    actions = data.ground_truth_table("test")
    videos = sorted(
        detect_in_dataset(model, data, data.measured, device), key=lambda video: video.video_id
    )
    learned = choose_thresholds(judge_training_videos(model, data, device)) or EventRules()
    tallies.setdefault("chosen on training points", Tally()).add(videos, learned, actions)
    crossed = tallies.setdefault("chosen on the other half", Tally())
    for half, other in ((videos[::2], videos[1::2]), (videos[1::2], videos[::2])):
        crossed.add(half, _chosen_on(other, actions, data), actions)
    for threshold in FIXED:
        rules = EventRules(threshold=threshold)
        tallies.setdefault(f"{threshold:g} for all", Tally()).add(videos, rules, actions)


def _chosen_on(videos: Sequence[VideoResult], actions: pd.DataFrame, data: Dataset) -> EventRules:
    theirs = actions[actions["video"].isin([video.video_id for video in videos])]
    return choose_thresholds(judge_by_actions(videos, theirs, data.ambiguous)) or EventRules()


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pairs", nargs="+", metavar="MODEL=DATASET")
    tallies: dict[str, Tally] = {}
    for pair in parser.parse_args().pairs:
        model, _, dataset = pair.rpartition("=")
        measure(Path(model), Path(dataset), tallies)
    print("| scores | actions | events | right | F1 | error per class | per class and video |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    print("\n".join(tally.line(name) for name, tally in tallies.items()))


if __name__ == "__main__":
    main()
