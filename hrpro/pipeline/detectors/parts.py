"""The detections of one video in a file of its own, until those of all videos are there.

The parts are what a detection run has done so far: the result files are put together from them,
and a run that was killed goes on from them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from hrpro.errors import DataError
from hrpro.extract.sources import VideoSource, video_ids
from hrpro.features import Fingerprint
from hrpro.files import inside, read_json, remove_leftovers, write_json
from hrpro.pipeline.results.model import VideoResult, from_json
from hrpro.pipeline.workers.ledger import file_identity
from hrpro.pipeline.workers.messages import Ready

RUN_KEY = "run"
"""What the model of a result file calls that which the detections depend on; see `Part.about`."""


class Part(BaseModel):
    """What was found in one video, and what it was found with."""

    model_config = ConfigDict(frozen=True)

    size_bytes: int | None
    """Of the video, as is `mtime_ns`: what was found in a file does not hold for another."""
    mtime_ns: int | None
    fingerprint: Fingerprint
    about: dict[str, Any]
    """Model and limits; see `Ready`."""
    results: dict[str, Any]
    """As result files have it, with this video alone."""

    def write(self, path: Path) -> None:
        """Write the part, complete or not at all.

        Raises:
            HrproError: it cannot be written.
        """
        write_json(path, self.model_dump(mode="json"))


class ResultParts:
    """The parts of a run; see `hrpro.pipeline.workers.targets.Targets`.

    Args:
        sources: all videos of the run.
        folder: where the parts are.
        by_key: name parts by the keys of their videos, which do not depend on the other videos.
    """

    def __init__(self, sources: Sequence[VideoSource], folder: Path, *, by_key: bool = False):
        self.folder = folder
        self.video_ids = video_ids(sources)
        """By the keys of the videos."""
        self._sources = {source.key: source for source in sources}
        self._paths = {
            key: inside(folder, f"{key if by_key else video_id}.json")
            for key, video_id in self.video_ids.items()
        }

    def path(self, key: str) -> Path:
        """See `Targets`."""
        return self._paths[key]

    def state(self, source: VideoSource, worker: Ready | None = None) -> str:
        """See `Targets`; a part that was made otherwise is made anew."""
        try:
            part = self._read(source.key)
        except DataError:
            return "missing"
        if (part.size_bytes, part.mtime_ns) != file_identity(source.path):
            return "missing"
        if worker is not None:
            wanted = json.loads(json.dumps(dict(worker.about)))
            if part.about != wanted or part.fingerprint.changes(worker.fingerprint):
                return "missing"
        return "done"

    def remove_leftovers(self, key: str) -> None:
        """See `Targets`."""
        remove_leftovers(self._paths[key])

    def read(self, key: str) -> tuple[VideoResult, dict[str, Any]]:
        """What was found in a video, and the model that found it.

        Raises:
            DataError: the part is not there, or damaged.
        """
        results = from_json(self._read(key).results)
        path = str(self._sources[key].path)
        video = replace(results.videos[0], video_id=self.video_ids[key], path=path)
        return video, results.model

    def _read(self, key: str) -> Part:
        path = self._paths[key]
        try:
            return Part.model_validate(read_json(path))
        except ValidationError as error:
            raise DataError(f"{path}: damaged; remove it and run the command again") from error
