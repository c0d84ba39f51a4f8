"""A file of the dataset that follows the journal, and that people may change by hand."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from hrpro.errors import DataError
from hrpro.files import atomic_path
from hrpro.localize.data.points import PointLabel
from hrpro.localize.data.video_labels import VideoLabel
from hrpro.pipeline.label.playable import stamp
from hrpro.pipeline.label.state import Labels, Value, Values
from hrpro.video_ids import KnownVideos

Row = TypeVar("Row", PointLabel, VideoLabel)


class LabelFile(ABC):
    """What the store of the labels asks of such a file.

    Args:
        path: of the file, which may not be there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp: object = None

    @abstractmethod
    def holds(self, values: Mapping[str, Value | None]) -> bool:
        """Whether the file shows any of these values."""

    @abstractmethod
    def difference(self, labels: Labels, source: Path | None = None) -> dict[str, Values]:
        """Return what turns `labels` into what the file (or `source`) holds, by video.

        Raises:
            DataError: the file is wrong.
        """

    @abstractmethod
    def _write(self, labels: Labels, video_ids: Iterable[str] | None) -> None:
        """Bring the file in line with the labels of some videos, or of all."""

    def write(self, labels: Labels, video_ids: Iterable[str] | None = None) -> None:
        """Bring the file in line with the labels of these videos; None: of all.

        Raises:
            HrproError: it cannot be written; then it is as it was.
        """
        self._write(labels, video_ids)
        self.note()

    def note(self) -> None:
        """Take what the file holds now for what the journal knows of it."""
        self._stamp = stamp(self.path)

    @property
    def was_changed(self) -> bool:
        """Whether somebody else has written it since `note`."""
        return stamp(self.path) != self._stamp

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing: it is not there, or has no content."""
        return not self.path.is_file() or self.path.stat().st_size == 0


def by_video(path: Path, rows: Sequence[Row], videos: KnownVideos) -> list[Row]:
    """Put the ids of the videos into rows, however a person spelt them.

    Args:
        path: of the file that the rows are from.
        rows: of a file of labels.
        videos: those of the dataset; rows of others keep the name.

    Raises:
        DataError: a name means several videos.
    """
    matches = videos.match_all(row.video_id for row in rows)
    for row in rows:
        match = matches[row.video_id]
        if match.problem and match.near is None:
            raise DataError(f"{path}:{row.line}: {match.problem}")
    ids = {name: match.video_id or name for name, match in matches.items()}
    return [replace(row, video_id=ids[row.video_id]) for row in rows]


def write_durably(path: Path, text: str) -> None:
    """Write a text file atomically, so that not even a power cut leaves it empty.

    Raises:
        HrproError: it cannot be written.
    """
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
