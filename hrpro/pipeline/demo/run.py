"""``hrpro demo``: the whole loop on videos that it draws itself.

Make a labelled video set, extract features, train both stages from one point per action, evaluate
on the held-out videos, then find the actions of a new video and draw them beside the truth.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hrpro.compute import ComputeOptions
from hrpro.errors import HrproError, UsageError
from hrpro.pipeline.console.progress import Reporter
from hrpro.pipeline.demo.videos import make_demo_dataset, make_unseen_video
from hrpro.pipeline.detect import detect_videos
from hrpro.pipeline.detectors.base import DetectOptions
from hrpro.pipeline.extract import extract_features
from hrpro.pipeline.outputs import OutputPlan
from hrpro.pipeline.results.model import Results
from hrpro.pipeline.train import RunOptions, TrainOutcome, train
from hrpro.pipeline.workers.work import WorkerSettings

RECIPE = {"streams": "rgb", "short_side": 112, "crop": 112}
"""Small pictures are enough for drawn figures, and four times as fast."""

MIN_SCORE = 0.3
"""Detections below are not shown in the preview."""

_MARK = ".hrpro-demo"


@dataclass(frozen=True)
class DemoOutcome:
    """What the demo made, and how long each step took."""

    folder: Path
    files: dict[str, Path]
    seconds: dict[str, float]
    training: TrainOutcome
    results: Results

    def as_dict(self) -> dict[str, Any]:
        """The same as JSON can hold it."""
        return {
            "folder": str(self.folder),
            "files": {name: str(path) for name, path in self.files.items()},
            "seconds": self.seconds,
            "training": self.training.to_json(),
        }


def run_demo(
    folder: str | Path = "hrpro-demo",
    *,
    num_train: int = 24,
    num_test: int = 8,
    seed: int = 0,
    overrides: tuple[str, ...] = (),
    compute: ComputeOptions | None = None,
    reporter: Reporter | None = None,
) -> DemoOutcome:
    """Run the whole loop. A second run in the same folder begins anew.

    Args:
        folder: everything goes in here.
        num_train: training videos of 20 to 40 s.
        num_test: held-out videos.
        seed: of the videos and of the training.
        overrides: ``a.b=c`` texts for the training.
        compute: device, precision, ... of the networks.
        reporter: where progress goes; silent by default.

    Raises:
        UsageError: `folder` holds something that is not a demo.
        WeightsError: the RGB weights cannot be fetched.
        HrproError: `folder` cannot be written.
    """
    reporter = reporter or Reporter(quiet=True)
    folder = Path(folder)
    _begin(folder)
    seconds: dict[str, float] = {}
    started = time.monotonic()

    def step(name: str, text: str) -> None:
        nonlocal started
        if name:
            seconds[name] = round(time.monotonic() - started, 1)
            reporter.line(f"  {seconds[name]:.0f} s")
        started = time.monotonic()
        if text:
            reporter.line(text)

    dataset, run_dir = folder / "dataset", folder / "model"
    step("", f"1/5 drawing {num_train + num_test} videos and a new one")
    made = make_demo_dataset(dataset, num_train, num_test, seed)
    unseen = make_unseen_video(folder, seed)
    step("videos", f"2/5 extracting features of {len(made.train) + len(made.test)} videos")
    settings = WorkerSettings(recipe=RECIPE, compute=compute or ComputeOptions())
    summary = extract_features([str(dataset)], settings=settings, reporter=reporter)
    if summary.failed:
        raise HrproError(f"{dataset}: extraction failed: {summary.failed[0].reason}")
    step("extract", "3/5 training both stages from one point per action, and evaluating")
    training = train(
        dataset,
        RunOptions(run_dir),
        overrides=(*overrides, f"localize.seed={seed}"),
        settings=replace(settings, recipe={}),
        reporter=reporter,
    )
    step("train", "4/5 detecting in the new video")
    files = {
        "result": folder / "result.json",
        "table": folder / "result.csv",
        "timeline": folder / "timeline.png",
        "preview": folder / "preview.mp4",
        "report": folder / "report.html",
    }
    plan = OutputPlan(
        results=(files["result"], files["table"]),
        render=files["preview"],
        plot=files["timeline"],
        report=files["report"],
        ground_truth={unseen.annotation.video_id: unseen.annotation},
    )
    results, failures = detect_videos(
        [str(unseen.path)],
        plan,
        DetectOptions(str(run_dir), min_score=MIN_SCORE),
        settings=replace(settings, recipe={}),
        reporter=reporter,
    )
    if failures.failed:
        raise HrproError(f"{unseen.path}: {failures.failed[0].reason}")
    step("detect", "5/5 done")
    files |= {"dataset": dataset, "model": run_dir, "video": unseen.path}
    return DemoOutcome(folder, files, seconds, training, results)


def _begin(folder: Path) -> None:
    """Make the folder ready, removing what an earlier demo left there and nothing else."""
    mark = folder / _MARK
    if folder.exists() and any(folder.iterdir()) and not mark.exists():
        raise UsageError(f"{folder}: is not empty; choose another folder with -o")
    if mark.exists():
        for name in ("dataset", "model"):
            shutil.rmtree(folder / name, ignore_errors=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        mark.touch()
    except OSError as error:
        raise HrproError(f"{folder}: cannot write: {error.strerror or error}") from error


def demo_lines(outcome: DemoOutcome) -> list[str]:
    """What the demo found and where everything is, for people."""
    lines = [*outcome.training.lines()[:-1], ""]
    lines.append(f"everything is in {outcome.folder}:")
    width = max(map(len, outcome.files))
    lines += [f"  {name:{width}}  {path}" for name, path in outcome.files.items()]
    total = sum(outcome.seconds.values())
    lines.append(f"{total:.0f} s in all")
    return lines
