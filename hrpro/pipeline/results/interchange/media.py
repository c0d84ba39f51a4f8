"""Links to video files: how other tools name a video, and which video that is here."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

from hrpro.pipeline.results.model import Results, VideoResult
from hrpro.video_ids import VIDEO_SUFFIXES

_UPLOAD_PREFIX = re.compile(r"[0-9a-f]{8}-")  # Label Studio puts it before uploaded files


def video_id_of(link: str) -> str:
    """Return the video id that a path or URL stands for: its file name without the suffix."""
    try:
        parts = urlsplit(link)
    except ValueError:
        parts = urlsplit("")
    if len(parts.scheme) > 1 or link.startswith("/data/"):
        path = parse_qs(parts.query).get("d", [unquote(parts.path)])[0]
    else:
        path = link
    name = PurePosixPath(path.replace("\\", "/")).name or link
    if path.startswith("/data/upload/"):
        name = _UPLOAD_PREFIX.sub("", name, count=1)
    return PurePosixPath(name).stem if names_video(name) else name


def names_video(link: str) -> bool:
    """Whether a path or URL ends like the name of a video file."""
    return PurePosixPath(link).suffix.lower() in VIDEO_SUFFIXES


def relative_link(video: str, folder: Path) -> str:
    """Return the path of a video as seen from `folder`, with forward slashes."""
    try:
        return Path(os.path.relpath(video, folder)).as_posix()
    except ValueError:  # another drive, or NUL in the name
        return Path(video).as_posix()


def path_of(link: str, folder: Path) -> str:
    """Return the path of a video that a file in `folder` links to; URLs stay as they are."""
    scheme, _, rest = link.partition("://")
    if scheme == "file":
        return unquote("/" + rest.lstrip("/"))
    return link if rest else os.path.normpath(folder / link)


def joined(videos: Iterable[VideoResult]) -> Results:
    """Return results in which what was found in one video, in several places, is one entry."""
    by_id: dict[str, list[VideoResult]] = {}
    for video in videos:
        by_id.setdefault(video.video_id, []).append(video)
    return Results(
        tuple(
            replace(same[0], detections=tuple(each for video in same for each in video.detections))
            for same in by_id.values()
        )
    )
