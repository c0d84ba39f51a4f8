"""Result files that are written while a run goes on, so that its end costs nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hrpro.files import remove_leftovers
from hrpro.pipeline.results.formats import format_of, paths_by_video, write_results
from hrpro.pipeline.results.model import Results, VideoResult

_SHARE = 0.05  # of the time, at most, is spent on writing


class GrowingResults:
    """Result files that hold, at any time, what is done so far.

    Args:
        paths: the files; the suffix decides.
        video_ids: of all videos of the run, in the order of the files.
    """

    def __init__(self, paths: Sequence[Path], video_ids: Sequence[str]):
        self.video_ids = list(video_ids)
        self._paths = paths
        self._videos: dict[str, VideoResult] = {}
        self._model: dict[str, Any] = {}
        self._new: list[VideoResult] = []
        self._written: dict[Path, None] = {}
        self._again_at = 0.0

    @property
    def results(self) -> Results:
        """All that is done."""
        videos = (self._videos[each] for each in self.video_ids if each in self._videos)
        return Results(tuple(videos), self._model)

    def remove_leftovers(self) -> None:
        """Remove what a run that was killed has left half-written beside the files."""
        for path in self._paths:
            for target in {path, *paths_by_video(path, self.video_ids).values()}:
                remove_leftovers(target)

    def add(self, video: VideoResult, model: dict[str, Any]) -> None:
        """Take in a video that is done, and what made its detections."""
        self._videos[video.video_id] = video
        self._model = model
        self._new.append(video)

    def write_soon(self) -> None:
        """Write what is new, if it is not too early after the last time."""
        if self._new and (began := time.monotonic()) >= self._again_at:
            self.write()
            now = time.monotonic()
            self._again_at = now + (now - began) / _SHARE

    def write(self) -> None:
        """Write what is new: files of all videos as a whole, files of one video once.

        Raises:
            HrproError: a file cannot be written.
        """
        if not self._new:
            return
        new = Results(tuple(self._new), self._model)
        for path in self._paths:
            results = new if format_of(path).one_video else self.results
            written = write_results(results, path, video_ids=self.video_ids)
            self._written.update(dict.fromkeys(written))
        self._new.clear()

    @property
    def written(self) -> list[Path]:
        """The files that there are."""
        return list(self._written)
