"""Measure a localizer on the test videos of a dataset, by the dataset's protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hrpro.localize.data.dataset import Dataset
from hrpro.localize.evaluation.average_precision import (
    AveragePrecision,
    drop_ambiguous,
    mean_average_precision,
)
from hrpro.localize.proposals.generate import Proposals


def measure(
    dataset: Dataset, video_ids: Sequence[str], classes: Sequence[str], detections: Proposals
) -> AveragePrecision:
    """Mean average precision of detections in test videos, at the dataset's tIoU thresholds.

    Args:
        dataset: with ground truth, see `Dataset.can_evaluate`.
        video_ids: names of the videos that the detections count.
        classes: names of the classes that they count.
        detections: after NMS; measured as result files have them.
    """
    videos = {video.video_id: video for video in dataset.test}
    clocks = [videos[video_id].grid.clock for video_id in video_ids]
    reported = detections.in_file_clocks(clocks).reported(
        [videos[video_id].duration_s for video_id in video_ids], [clock.start_s for clock in clocks]
    )
    table = reported.to_frame(video_ids, classes)
    if dataset.ambiguous is not None:
        table = drop_ambiguous(table, dataset.ambiguous)
    return mean_average_precision(table, dataset.ground_truth_table("test"), dataset.config.tiou)


def to_json(precision: AveragePrecision) -> dict[str, Any]:
    """Return an average precision as JSON can hold it; numbers from 0 to 1."""
    return {
        "tiou": list(precision.tious),
        "mAP": precision.mean.tolist(),
        "average": precision.average,
        "per_class": dict(zip(precision.classes, precision.per_class.T.tolist(), strict=True)),
    }


def from_json(value: dict[str, Any]) -> AveragePrecision:
    """The opposite of `to_json`."""
    classes = tuple(value["per_class"])
    table = np.array([value["per_class"][name] for name in classes], dtype=float)
    return AveragePrecision(tuple(value["tiou"]), classes, table.T)
