"""Suggest what to label next: what a model finds in every video, and how unsure it is of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from hrpro.compute import ComputeOptions
from hrpro.devices import choose_device
from hrpro.errors import DataError
from hrpro.extract.sources import find_videos, video_ids
from hrpro.features import read_features
from hrpro.files import write_json
from hrpro.localize.data.config import read_dataset_config
from hrpro.localize.data.features import (
    FeatureFile,
    FeatureFolder,
    check_finite,
    inspect_features,
)
from hrpro.localize.data.layout import find_layout
from hrpro.localize.data.sequences import FeatureSequence
from hrpro.localize.proposals.generate import Array
from hrpro.localize.proposals.nms import hard_nms
from hrpro.localize.training.model_folder import TrainedModel, load_model
from hrpro.pipeline.console.progress import Reporter
from hrpro.pipeline.datasets.missing_features import extract_missing
from hrpro.pipeline.detectors.class_facts import class_facts
from hrpro.pipeline.detectors.trained import extract_config, to_detections
from hrpro.pipeline.workers.launch import WorkerOptions
from hrpro.pipeline.workers.work import WorkerSettings
from hrpro.video_ids import KnownVideos
from hrpro.wording import count

SUGGESTIONS = Path("label", "suggestions.json")
"""Where they are in the dataset folder."""

MIN_SCORE = 0.2
"""Detections that score lower are not worth a person's look: with models of 5 to 15 training
videos, half of those from 0.2 on were right and 6 % of the actions had none; from 0.1 on that were
3 %, but five of six detections were wrong."""

MAX_OVERLAP = 0.3
"""tIoU from which the weaker of two detections of a class is left out."""

COUNTED = 10
"""How many of its best detections make a video uncertain."""


def suggest(
    folder: str | Path,
    model: str | Path,
    *,
    min_score: float = MIN_SCORE,
    compute: ComputeOptions | None = None,
    workers: WorkerOptions | None = None,
    allow_mixed: bool = False,
    stream: int | None = None,
    reporter: Reporter | None = None,
) -> Path:
    """Write ``label/suggestions.json`` for the label page.

    Stored features are used; missing ones are extracted first, as the model needs them.

    Args:
        folder: dataset folder.
        model: model folder.
        min_score: leave out detections that score lower.
        compute: device of the model and the networks, ...; a GPU by default, if there is one.
        workers: of an extraction; see `extract_features`.
        allow_mixed: use features that the model was not trained on.
        stream: which of several video streams to extract; see
            `hrpro.extract.streams.choose_stream`.
        reporter: where progress goes; silent by default.

    Returns:
        The file: ``{"model": ..., "videos": {NAME: {"uncertainty": 0..1, "detections": [...]}}}``.

    Raises:
        HrproError: no videos, no such model, features that do not fit it, or the file cannot be
            written.
    """
    folder = Path(folder)
    reporter = reporter or Reporter(quiet=True)
    config = read_dataset_config(folder)
    compute = compute or ComputeOptions()
    trained = load_model(model, choose_device(compute.device))
    for note in class_facts(trained.classes, trained.metrics).notes(str(model)):
        reporter.problem(f"{note}; shown under the present names")
    if trained.features.fingerprint is not None:
        extract_missing(
            folder,
            config=extract_config(trained.features, model).model_copy(update={"stream": stream}),
            settings=WorkerSettings(compute=compute),
            workers=workers,
            reporter=reporter,
        )
    features = FeatureFolder(find_layout(folder, config).features)
    names = list(video_ids(find_videos([folder])).values())
    excluded = KnownVideos(names).match_all(config.excluded_videos).values()
    names = sorted(set(names) - {match.video_id for match in excluded})
    without = set(features.without(names))
    entries = {}
    for name in names:
        if name not in without and (path := features.any_subset(name)) is not None:
            entries[name] = _entry(inspect_features(path), trained, min_score, allow_mixed)
    if without:
        missing = count(len(without), "video")
        reporter.problem(f"warning: no suggestions for {missing} without features")
    target = folder / SUGGESTIONS
    write_json(target, {"model": str(model), "videos": entries})
    found = count(sum(len(entry["detections"]) for entry in entries.values()), "suggestion")
    reporter.line(f"{found} in {count(len(entries), 'video')}: {target}")
    return target


def _entry(
    file: FeatureFile, model: TrainedModel, min_score: float, allow_mixed: bool
) -> dict[str, Any]:
    """What the model finds in one video, as the file has it."""
    fingerprint = file.sidecar.fingerprint if file.sidecar else None
    try:
        model.features.check(file.dim, fingerprint, allow_mixed)
    except DataError as error:
        raise DataError(f"{file.path}: {error}") from error
    features = np.array(read_features(file.path), dtype=np.float32)
    check_finite(file.path, features)
    grid = model.features.grid.grid()
    video = FeatureSequence(torch.from_numpy(features), file.grid(grid))
    (scores,) = model.localizer.video_scores([video])
    clock = video.grid.clock
    found = hard_nms(model.localizer.localize([video]), MAX_OVERLAP, "exact")
    found = found[found.score >= min_score]
    found = found.in_file_clocks([clock])
    detections = to_detections(found, model.classes, file.end_s(grid), clock.start_s)
    return {
        "uncertainty": round(uncertainty(scores, found.score), 4),
        "detections": [
            {"label": d.label, "score": d.score, "start_s": d.start_s, "end_s": d.end_s}
            for d in detections
        ],
    }


def uncertainty(video_scores: Array, detection_scores: Array) -> float:
    """How unsure a model is of a video, from 0 (sure) to 1.

    Uncertainty sampling (Lewis and Gale, A Sequential Algorithm for Training Text Classifiers,
    1994) labels next what the model is least sure of. Here, that is the mean of two parts, both
    from the binary entropy, which is 1 where a score is 0.5 and 0 where it is 0 or 1:

    - that of the class whose video score is the least certain: is it in this video at all?
    - the mean over the ten best detections, of which absent ones count 0: the more detections of
      middling score, the more there is to learn from looking at them.

    Args:
        video_scores: ``[C]``, of the classes.
        detection_scores: of the detections in the video, best first.
    """
    best = entropy(np.asarray(detection_scores)[:COUNTED])
    return float((entropy(video_scores).max(initial=0.0) + best.sum() / COUNTED) / 2)


def entropy(score: Array) -> Array:
    """Binary entropy in bits, of scores that are taken as probabilities."""
    p = np.clip(np.asarray(score, dtype=np.float64), 1e-12, 1 - 1e-12)
    return -(p * np.log2(p) + (1 - p) * np.log2(1 - p))
