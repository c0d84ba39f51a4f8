"""The work on one video, as it is handed from the one who asks to the one who does it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Job(NamedTuple):
    """One video's work."""

    path: Path
    root: Path | None = None
    """Folder that the path in the sidecar is relative to; the video's own by default."""
    strict: bool = False
    """Fail on a truncated video instead of keeping what could be decoded."""
    key: str = ""
    """Name of the video in the run; see `hrpro.extract.sources.VideoSource`."""
    target: Path | None = None
    """File to be made of its features, for whoever makes one."""
