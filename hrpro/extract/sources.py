"""Find the videos that a person means: files, folders, glob patterns, dataset folders."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hrpro.errors import UsageError
from hrpro.video_ids import distinct_ids
from hrpro.videos_folder import (
    DATASET_YAML,
    LeftOut,
    is_video,
    video_key,
    videos_below,
    videos_folder,
)

# A folder with one of these and videos elsewhere than in itself is a dataset.
_DATASET_MARKS = (
    DATASET_YAML,
    "gt_full.json",
    "annotations.json",
    "points.csv",
    "point_labels",
    "split_train.txt",
    "split_test.txt",
)


@dataclass(frozen=True)
class VideoSource:
    """A video to work on."""

    path: Path
    key: str  # its path below `root`, with forward slashes and suffix: unique within a run
    root: Path  # the folder that was searched


def find_videos(inputs: Iterable[str | Path], left_out: LeftOut | None = None) -> list[VideoSource]:
    """List the videos behind what was typed, each once, sorted by key.

    Args:
        inputs: files, folders (searched with their subfolders), glob patterns (`**` for any
            depth), dataset folders (their `videos` folder). A name that exists is taken
            literally, even if it looks like a pattern. A file that does not exist is listed too,
            so that it is reported as failed beside the others.
        left_out: where to note the files of folders and patterns that are no videos. A file that
            is named itself is opened whatever its name.

    Raises:
        UsageError: nothing was given, a URL, a folder or pattern without videos.
        DataError: a folder cannot be read.
    """
    found: dict[Path, VideoSource] = {}
    for given in inputs:
        root, paths = _expand(str(given), left_out)
        for path in paths:
            absolute = Path(os.path.abspath(path))  # noqa: PTH100 (resolve() would follow links)
            found.setdefault(absolute, VideoSource(path, video_key(path, root), root))
    if not found:
        raise UsageError("no videos given; name files, folders or patterns such as 'videos/*.mp4'")
    sources = list(found.values())
    if len({source.key for source in sources}) < len(sources):
        sources = _under_common_root(found)
    return sorted(sources, key=lambda source: source.key)


def video_ids(sources: Sequence[VideoSource]) -> dict[str, str]:
    """The id of each video in features and results, by its key: see `hrpro.video_ids`."""
    return distinct_ids(source.key for source in sources)


def _expand(given: str, left_out: LeftOut | None) -> tuple[Path, Sequence[Path]]:
    """Return the root folder and the videos of one argument."""
    if not given or "\0" in given:
        raise UsageError(f"{given!r}: not a file name")
    path = Path(given)
    if path.is_dir():
        return _in_folder(path, left_out)
    if path.exists():
        return path.parent, [path]
    if "://" in given:
        raise UsageError(f"{given}: URLs are not opened; download the video first")
    if glob.has_magic(given):
        return _matching(given, left_out)
    return path.parent, [path]


def _in_folder(folder: Path, left_out: LeftOut | None) -> tuple[Path, Sequence[Path]]:
    videos = videos_folder(folder)
    if videos.is_dir() and any((folder / mark).exists() for mark in _DATASET_MARKS):
        folder = videos
    left_out = LeftOut() if left_out is None else left_out
    paths = list(videos_below(folder, left_out))
    if not paths:
        others = f"; {left_out.line()}" if left_out else ""
        raise UsageError(
            f"{folder}: no videos in this folder (.mp4, .mkv, .avi, .mov, ...){others}"
        )
    return folder, paths


def _matching(pattern: str, left_out: LeftOut | None) -> tuple[Path, Sequence[Path]]:
    parts = Path(pattern).parts
    fixed = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    root = Path(*parts[:fixed])
    paths: list[Path] = []
    for match in map(Path, glob.glob(pattern, recursive=True)):  # noqa: PTH207 (absolute patterns)
        if match.is_dir():
            paths += videos_below(match, left_out)
        elif not match.name.startswith(".") and is_video(match, left_out):
            paths.append(match)
    if not paths:
        raise UsageError(f"{pattern}: no video matches this pattern")
    return root, paths


def _under_common_root(found: dict[Path, VideoSource]) -> list[VideoSource]:
    """Key all videos by their path below the folder that holds them all."""
    try:
        root = Path(os.path.commonpath([path.parent for path in found]))
    except ValueError as error:  # two drives
        raise UsageError(
            "videos of equal names on different drives; give one drive at a time"
        ) from error
    return [
        VideoSource(source.path, video_key(absolute, root), root)
        for absolute, source in found.items()
    ]
