"""The segments of a dataset that the student learns from: marked by people, or a generator's."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from hrpro.localize.data.dataset import Dataset, Video
from hrpro.localize.data.sequences import DatasetSequences, FeatureSequence
from hrpro.localize.methods.base import Localizer
from hrpro.localize.methods.student.config import StudentConfig
from hrpro.localize.methods.student.localizer import signals_of
from hrpro.localize.methods.student.pseudo import Points, moved_on, segments_of_points
from hrpro.localize.methods.student.stage import TrainingVideo, point_videos, training_video
from hrpro.localize.proposals.density import density_filter
from hrpro.localize.proposals.generate import Proposals

Find = Callable[[Sequence[FeatureSequence], Sequence[int]], Proposals]
"""Looks for some classes in some videos."""


def marked_videos(dataset: Dataset, config: StudentConfig) -> list[TrainingVideo]:
    """The training videos with the segments that people have marked in them."""
    index = {name: number for number, name in enumerate(dataset.classes)}
    found = []
    for video, sequence in zip(dataset.train, _read(dataset), strict=True):
        actions = [action for action in video.actions or () if action.label in index]
        marks = np.array([(a.start_s, a.end_s) for a in actions], float).reshape(-1, 2)
        found.append(
            training_video(
                sequence.features,
                sequence.grid,
                video.grid.clock.to_snippets(marks),
                np.array([index[a.label] for a in actions], np.int64),
                len(dataset.classes),
                config,
            )
        )
    return found


def pointed_videos(
    dataset: Dataset,
    seen: Dataset,
    generator: Localizer,
    config: StudentConfig,
    device: torch.device,
) -> list[TrainingVideo]:
    """The training videos with a segment around each point label, from a trained generator.

    Args:
        dataset: of the videos and points.
        seen: the same, as the generator sees it: maybe with fewer snippets.
        generator: a trained localizer.
        config: how a segment is chosen.
        device: of the generator.
    """
    points = points_table(dataset)
    signals = signals_of(generator, DatasetSequences(seen, seen.train, device))
    found = find_known_classes(generator.candidates, seen, device)
    found = moved_on(found, [v.grid.stride_s for v in seen.train], config.pseudo.shift)
    sequences = _read(dataset)
    return point_videos(
        [sequence.features for sequence in sequences],
        [sequence.grid for sequence in sequences],
        points,
        segments_of_points(found, points, config.pseudo, signals),
        len(dataset.classes),
        config,
    )


def labelled_videos(
    dataset: Dataset,
    seen: Dataset,
    generator: Localizer,
    config: StudentConfig,
    device: torch.device,
) -> list[TrainingVideo]:
    """The training videos with a trained generator's detections of the classes they show.

    Those stay that others agree with (FuSTAL's second stage). A video without any is all background
    but for its label.

    Args:
        dataset: of the videos and their labels.
        seen: the same, as the generator sees it: maybe with fewer snippets.
        generator: a trained localizer.
        config: of the density filter.
        device: of the generator.
    """
    found = find_known_classes(generator.localize, seen, device)
    found = density_filter(found, config.pseudo.density)
    found = moved_on(found, [v.grid.stride_s for v in seen.train], config.pseudo.shift)
    videos = []
    for number, (video, sequence) in enumerate(zip(dataset.train, _read(dataset), strict=True)):
        mine = found[found.video == number]
        videos.append(
            training_video(
                sequence.features,
                sequence.grid,
                np.stack([mine.start_s, mine.end_s], axis=1),
                mine.label,
                len(dataset.classes),
                config,
                video_label=dataset.video_label(video),
            )
        )
    return videos


def points_table(dataset: Dataset) -> Points:
    """The point labels of the training videos."""
    rows = [
        (number, point.time_s, point.class_index)
        for number, video in enumerate(dataset.train)
        for point in video.points
    ]
    video, time, label = np.array(rows, float).reshape(-1, 3).T
    return Points(video.astype(np.int64), time, label.astype(np.int64))


def find_known_classes(find: Find, dataset: Dataset, device: torch.device) -> Proposals:
    """Look in each training video for the classes that it is known to show, and no others.

    Args:
        find: looks for them.
        dataset: of the videos.
        device: where features are wanted.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for number, video in enumerate(dataset.train):
        groups.setdefault(video.labels, []).append(number)
    tables = []
    for labels, rows in groups.items():
        if labels:
            videos: list[Video] = [dataset.train[row] for row in rows]
            table = find(DatasetSequences(dataset, videos, device), labels)
            tables.append(table.replace(video=np.array(rows)[table.video]))
    return Proposals.concatenate(tables)


def _read(dataset: Dataset) -> DatasetSequences:
    """Features of the training videos; batches of windows are moved to where they are needed."""
    return DatasetSequences(dataset, dataset.train, torch.device("cpu"))
