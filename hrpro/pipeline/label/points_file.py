"""``points.csv``: written from the labels after every action, read where a person changed it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from hrpro.errors import DataError
from hrpro.files import atomic_path
from hrpro.localize.data.points import DECIMALS, PointLabel, points_csv, read_points
from hrpro.pipeline.label.state import POINT, Labels, Point, Values
from hrpro.video_ids import KnownVideos

FrameRate = Callable[[str], float | None]
"""Video id -> frames per second, or None."""


def points_text(labels: Labels) -> str:
    """Return the CSV file that holds these points."""
    rows = [
        (video_id, point.label, _rounded(point.time_s)) for video_id, _, point in labels.points()
    ]
    return points_csv(dict.fromkeys(rows))  # two points may have been moved onto each other


def write_durably(path: Path, text: str) -> None:
    """Write a text file atomically, so that not even a power cut leaves it empty.

    Raises:
        HrproError: it cannot be written.
    """
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def difference(
    path: Path, labels: Labels, number: int, frame_rate: FrameRate, videos: KnownVideos
) -> dict[str, Values]:
    """Return what turns the points of `labels` into those of a file, by video.

    Points that are in both stay the same points. A place that is there twice counts once.

    Args:
        path: the CSV file, in seconds or in frames.
        labels: the points so far.
        number: of the journal entry that this becomes; new points are named after it.
        frame_rate: for a file in frames.
        videos: those of the dataset; points keep the name of a video that is none of them.

    Raises:
        DataError: the file is wrong, counts frames of a video without a frame rate, or names a
            video in a way that several are named.
    """
    rows = _by_video(path, read_points(path), videos)
    wanted = dict.fromkeys(_place(path, row, frame_rate) for row in rows)
    changes: dict[str, Values] = {}
    known = set()
    for video_id, point_id, point in labels.points():
        place = (video_id, point.label, _rounded(point.time_s))
        known.add(place)
        if place not in wanted:
            changes.setdefault(video_id, {})[POINT + point_id] = None
    for index, (video_id, label, time_s) in enumerate(each for each in wanted if each not in known):
        point = Point(label=label, time_s=time_s, source="file")
        changes.setdefault(video_id, {})[f"{POINT}p{number}-{index}"] = point
    return changes


def _by_video(path: Path, rows: Sequence[PointLabel], videos: KnownVideos) -> list[PointLabel]:
    """Put the ids of the videos into the rows, however a person spelt them."""
    matches = videos.match_all(row.video_id for row in rows)
    for row in rows:
        match = matches[row.video_id]
        if match.problem and match.near is None:
            raise DataError(f"{path}:{row.line}: {match.problem}")
    return [replace(row, video_id=matches[row.video_id].video_id or row.video_id) for row in rows]


def _place(path: Path, row: PointLabel, frame_rate: FrameRate) -> tuple[str, str, float]:
    time_s = row.time_s
    if time_s is None:
        fps = frame_rate(row.video_id)
        if fps is None or row.frame is None:
            raise DataError(
                f"{path}:{row.line}: counts frames, but the frame rate of {row.video_id!r} is not "
                "known; write 'fps: 25' or what it is into dataset.yaml"
            )
        time_s = row.frame / fps
    return row.video_id, row.label, _rounded(time_s)


def _rounded(time_s: float) -> float:
    return round(float(time_s), DECIMALS)
