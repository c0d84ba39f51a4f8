"""Which file is to be made of which video, and whether it is there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from hrpro.errors import DataError
from hrpro.extract.sources import VideoSource, video_ids
from hrpro.features import read_sidecar, sidecar_path
from hrpro.files import inside, remove_leftovers
from hrpro.pipeline.workers.ledger import file_identity
from hrpro.pipeline.workers.messages import Ready
from hrpro.videos_folder import videos_folder


class Targets(Protocol):
    """The files that a run is to make, one of each video."""

    folder: Path
    """Holds them all, and the ledger."""

    def path(self, key: str) -> Path:
        """The file of a video."""

    def state(self, source: VideoSource, worker: Ready | None = None) -> str | list[str]:
        """``done``, ``missing``, or what separates the file that is there from the one wanted.

        Args:
            source: the video.
            worker: says how the file would be made; without one, files made in any way are done.
        """

    def remove_leftovers(self, key: str) -> None:
        """Remove what a killed worker has left half-written."""


class FeatureTargets:
    """Feature files with their sidecars; see `Targets`.

    Args:
        sources: all videos of the run: names depend on the others.
        folder: where the files go; the folders below the videos' root are kept.
    """

    def __init__(self, sources: Sequence[VideoSource], folder: Path):
        self.folder = folder
        self._paths = {key: inside(folder, f"{i}.npy") for key, i in video_ids(sources).items()}

    def path(self, key: str) -> Path:
        """See `Targets`."""
        return self._paths[key]

    def state(self, source: VideoSource, worker: Ready | None = None) -> str | list[str]:
        """See `Targets`."""
        target = self._paths[source.key]
        if not (target.is_file() and sidecar_path(target).is_file()):
            return "missing"
        try:
            sidecar = read_sidecar(target)
        except DataError:
            return "missing"  # damaged: make it anew
        if sidecar is None:
            return "missing"
        if worker and (differences := sidecar.fingerprint.changes(worker.fingerprint)):
            return differences
        facts = sidecar.video
        same = (facts.size_bytes, facts.mtime_ns) == file_identity(source.path)
        return "done" if same else "missing"

    def remove_leftovers(self, key: str) -> None:
        """See `Targets`."""
        for path in (self._paths[key], sidecar_path(self._paths[key])):
            remove_leftovers(path)


def default_target(inputs: Sequence[str]) -> Path:
    """``DATASET/features`` if the only input is a dataset folder, else ``features``."""
    if len(inputs) == 1:
        folder = Path(inputs[0])
        if folder.name != "videos" and videos_folder(folder).is_dir():
            return folder / "features"
    return Path("features")
