"""``points.csv``: written from the labels after every action, read where a person changed it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from hrpro.errors import DataError
from hrpro.localize.data.points import DECIMALS, PointLabel, PointRow, points_csv, read_points
from hrpro.pipeline.label.label_file import LabelFile, by_video, write_durably
from hrpro.pipeline.label.state import POINT, Labels, Point, Value, Values
from hrpro.video_ids import KnownVideos

FrameRate = Callable[[str], float | None]
"""Video id -> frames per second, or None."""


class PointsFile(LabelFile):
    """The CSV file of the points.

    Args:
        path: of the file.
        frame_rate: for a file that counts in frames.
        videos: those of the dataset; points keep the name of a video that is none of them.
    """

    def __init__(self, path: Path, frame_rate: FrameRate, videos: KnownVideos) -> None:
        super().__init__(path)
        self._frame_rate = frame_rate
        self.videos = videos

    def holds(self, values: Mapping[str, Value | None]) -> bool:
        """See `LabelFile`; it is there from the first action on, whatever that was."""
        return True

    def difference(self, labels: Labels, source: Path | None = None) -> dict[str, Values]:
        """See `LabelFile`. Points that are in both stay the same points.

        A place that is there twice counts once. New points are named after the next entry of the
        journal.

        Raises:
            DataError: the file is wrong, counts frames of a video without a frame rate, or names a
                video in a way that several are named.
        """
        path = source or self.path
        rows = by_video(path, read_points(path), self.videos)
        wanted = dict.fromkeys(self._row(path, row) for row in rows)
        changes: dict[str, Values] = {}
        known = set()
        for video_id, point_id, point in labels.points():
            row = _row(video_id, point)
            known.add(row)
            if row not in wanted:
                changes.setdefault(video_id, {})[POINT + point_id] = None
        for index, row in enumerate(each for each in wanted if each not in known):
            point = Point(
                label=row.label,
                time_s=row.time_s,
                source="file",
                subject=row.subject,
                modifiers=row.modifiers,
            )
            changes.setdefault(row.video_id, {})[f"{POINT}p{labels.number + 1}-{index}"] = point
        return changes

    def _write(self, labels: Labels, video_ids: Iterable[str] | None) -> None:
        write_durably(self.path, points_text(labels))

    def _row(self, path: Path, row: PointLabel) -> PointRow:
        time_s = row.time_s
        if time_s is None:
            fps = self._frame_rate(row.video_id)
            if fps is None or row.frame is None:
                raise DataError(
                    f"{path}:{row.line}: counts frames, but the frame rate of {row.video_id!r} is "
                    "not known; write 'fps: 25' or what it is into dataset.yaml"
                )
            time_s = row.frame / fps
        return PointRow(row.video_id, row.label, _rounded(time_s), row.subject, row.modifiers)


def points_text(labels: Labels) -> str:
    """Return the CSV file that holds these points."""
    rows = [_row(video_id, point) for video_id, _, point in labels.points()]
    return points_csv(dict.fromkeys(rows))  # two points may have been moved onto each other


def _row(video_id: str, point: Point) -> PointRow:
    return PointRow(video_id, point.label, _rounded(point.time_s), point.subject, point.modifiers)


def _rounded(time_s: float) -> float:
    return round(float(time_s), DECIMALS)
