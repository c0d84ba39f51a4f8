"""What a public data set's evaluation protocol adds to its annotations."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from hrpro.annotations import VideoAnnotation
from hrpro.errors import DataError
from hrpro.texts import read_text

THUMOS_TIOUS = tuple(round(0.1 * i, 1) for i in range(1, 8))
"""0.1, 0.2, ..., 0.7: THUMOS14, GTEA and BEOID."""


def read_ambiguous(path: str | Path) -> pd.DataFrame:
    """Read THUMOS14's list of ambiguous segments: ``video start end`` on each line, in seconds.

    Raises:
        DataError: the file cannot be read as such a list.
    """
    columns = ["video", "start_s", "end_s"]
    try:
        table = pd.read_csv(io.StringIO(read_text(path)), sep=r"\s+", header=None, names=columns)
        return table.astype({"video": str, "start_s": float, "end_s": float})
    except ValueError as error:
        raise DataError(
            f"{path}: not a list of ambiguous segments (video start end): {error}"
        ) from error


def ambiguous_segments(
    videos: Iterable[VideoAnnotation], listed: pd.DataFrame | None = None
) -> pd.DataFrame | None:
    """Join the ambiguous segments of annotations and those of a list.

    Args:
        videos: annotations that may have some.
        listed: as `read_ambiguous` gives them.

    Returns:
        Columns video, start_s, end_s; None if there are none.
    """
    rows = [(video.video_id, *segment) for video in videos for segment in video.ambiguous]
    if not rows:
        return listed
    marked = pd.DataFrame(rows, columns=["video", "start_s", "end_s"])
    return marked if listed is None else pd.concat([listed, marked], ignore_index=True)
