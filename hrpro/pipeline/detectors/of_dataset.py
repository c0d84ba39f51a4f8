"""A trained model on the features of a dataset, without any video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from hrpro.localize.data.dataset import Dataset, Video
from hrpro.localize.data.sequences import DatasetSequences
from hrpro.localize.training.model_folder import TrainedModel
from hrpro.pipeline.detectors.trained import to_curves, to_detections
from hrpro.pipeline.results.model import VideoResult


def detect_in_dataset(
    model: TrainedModel,
    data: Dataset,
    videos: Sequence[Video],
    device: torch.device,
    *,
    curves: bool = False,
) -> tuple[VideoResult, ...]:
    """Everything a model finds in videos of a dataset, in the clocks of the video files.

    Args:
        model: on `device`.
        data: the dataset.
        videos: of it.
        device: where the features go.
        curves: report the class activation sequences of what was found, too.
    """
    sequences = DatasetSequences(data, videos, device)
    found = model.localizer.localize(sequences)
    found = found.in_file_clocks([video.grid.clock for video in videos])
    results = []
    for index, video in enumerate(videos):
        start_s = video.grid.clock.start_s
        rows = found[found.video == index]
        detections = to_detections(rows, model.classes, video.duration_s, start_s)
        results.append(
            VideoResult(
                video.video_id,
                duration_s=video.duration_s,
                start_s=start_s,
                detections=tuple(detections),
            )
        )
    if not curves:
        return tuple(results)
    activations = model.localizer.activations(sequences)
    return tuple(
        replace(
            result,
            curves=to_curves(
                values,
                sequence.grid,
                model.classes,
                dict.fromkeys(each.label for each in result.detections),
            ),
        )
        for result, sequence, values in zip(results, sequences, activations, strict=True)
    )
