"""THUMOS14's ambiguous test segments: detections that overlap one are not counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hrpro.errors import DataError


def read_ambiguous(path: str | Path) -> dict[str, np.ndarray]:
    """Read lines of ``video start end`` (seconds), separated by blanks.

    Returns:
        Video -> segments ``[K, 2]`` in seconds, float64.

    Raises:
        DataError: unreadable, or a line that is not of that form.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot read: {error}") from error
    segments: dict[str, list[tuple[float, float]]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            video_id, start, end = line.split()
            segment = float(start), float(end)
        except ValueError as error:
            raise DataError(
                f"{path}:{number}: {line!r} is not 'video start end', with times in seconds"
            ) from error
        segments.setdefault(video_id, []).append(segment)
    return {video_id: np.array(found) for video_id, found in segments.items()}
