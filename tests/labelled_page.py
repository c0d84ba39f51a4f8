"""What is on the label page in a browser, and what it has saved."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from browser import LabelPage

VIDEO = "train_outdoor_026"
CLASSES = ("HandShaking", "Pushing", "Kicking")
FRAME_S = 1 / 25
REACTION_S = 0.2
DETECTIONS = [
    ("HandShaking", 0.91, 1.2, 4.5),
    ("Pushing", 0.78, 7.0, 9.0),
    ("Kicking", 0.44, 11.0, 13.2),
    ("Pushing", 0.12, 20.0, 21.0),
]


def make_dataset(folder: Path, classes=CLASSES) -> Path:
    (folder / "videos").mkdir(parents=True)
    (folder / "dataset.yaml").write_text(json.dumps({"classes": list(classes)}), encoding="utf-8")
    return folder


def points(folder: Path, video: str = VIDEO) -> list[tuple[str, float]]:
    """Class and time of the points that are on disk."""
    with (folder / "points.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["video_id"] == video]
    return [(row["class"], float(row["time"])) for row in rows]


def middle(frame: int, fps: float = 25) -> float:
    """Time in the middle of a frame, as the page gives it."""
    return pytest.approx((frame + 0.5) / fps, abs=6e-4)


def shown_frame(label: LabelPage) -> int:
    """The number that is painted in the picture on display, out of `videos.numbered`."""
    mean = label.page.evaluate(
        """() => {
            const canvas = document.createElement("canvas");
            [canvas.width, canvas.height] = [16, 12];
            const context = canvas.getContext("2d");
            context.drawImage(document.querySelector("#video"), 0, 0, 16, 12);
            const { data } = context.getImageData(4, 4, 8, 4);
            return data.filter((_, at) => at % 4 === 1).reduce((sum, each) => sum + each) / 32;
        }"""
    )
    return round((mean - 16) / 4)


def frame_reading(label: LabelPage) -> int:
    text = label.page.locator("[data-part=frame]").inner_text()
    return int(text.removeprefix("frame "))
