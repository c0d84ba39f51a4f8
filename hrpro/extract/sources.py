"""Find the videos that a person means: files, folders, glob patterns, dataset folders."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hrpro.errors import DataError, UsageError
from hrpro.videos_folder import DATASET_YAML, videos_folder

# What is taken from folders and patterns. A file that is named itself is opened whatever its name.
VIDEO_SUFFIXES = (
    *(".3g2", ".3gp", ".apng", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".gif", ".h264"),
    *(".h265", ".hevc", ".ivf", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov"),
    *(".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".nut", ".ogm", ".ogv", ".rm", ".rmvb", ".ts"),
    *(".vob", ".webm", ".wmv", ".y4m"),
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


def find_videos(inputs: Iterable[str | Path]) -> list[VideoSource]:
    """List the videos behind what was typed, each once, sorted by key.

    Args:
        inputs: files, folders (searched with their subfolders), glob patterns (`**` for any
            depth), dataset folders (their `videos` folder). A name that exists is taken
            literally, even if it looks like a pattern. A file that does not exist is listed too,
            so that it is reported as failed beside the others.

    Raises:
        UsageError: nothing was given, a URL, a folder or pattern without videos.
        DataError: a folder cannot be read.
    """
    found: dict[Path, VideoSource] = {}
    for given in inputs:
        root, paths = _expand(str(given))
        for path in paths:
            absolute = Path(os.path.abspath(path))  # noqa: PTH100 (resolve() would follow links)
            found.setdefault(absolute, VideoSource(path, _key(path, root), root))
    if not found:
        raise UsageError("no videos given; name files, folders or patterns such as 'videos/*.mp4'")
    sources = list(found.values())
    if len({source.key for source in sources}) < len(sources):
        sources = _under_common_root(found)
    return sorted(sources, key=lambda source: source.key)


def video_ids(sources: Sequence[VideoSource]) -> dict[str, str]:
    """The name of each video in features and results: its path below the root without the suffix.

    Two videos that differ only in their suffix keep it: ``a.avi`` and ``a.mp4``.
    """
    stems = {source.key: str(PurePosixPath(source.key).with_suffix("")) for source in sources}
    uses = Counter(stems.values())
    return {key: stem if uses[stem] == 1 else key for key, stem in stems.items()}


def _expand(given: str) -> tuple[Path, Sequence[Path]]:
    """Return the root folder and the videos of one argument."""
    if not given or "\0" in given:
        raise UsageError(f"{given!r}: not a file name")
    path = Path(given)
    if path.is_dir():
        return _in_folder(path)
    if path.exists():
        return path.parent, [path]
    if "://" in given:
        raise UsageError(f"{given}: URLs are not opened; download the video first")
    if glob.has_magic(given):
        return _matching(given)
    return path.parent, [path]


def _in_folder(folder: Path) -> tuple[Path, Sequence[Path]]:
    videos = videos_folder(folder)
    if videos.is_dir() and any((folder / mark).exists() for mark in _DATASET_MARKS):
        folder = videos
    paths = list(_walk(folder))
    if not paths:
        raise UsageError(f"{folder}: no videos in this folder (.mp4, .mkv, .avi, .mov, ...)")
    return folder, paths


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the videos below a folder; hidden files and folders are left out."""

    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename}: cannot list: {error.strerror}") from error

    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in names if _is_video_name(name))


def _matching(pattern: str) -> tuple[Path, Sequence[Path]]:
    parts = Path(pattern).parts
    fixed = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    root = Path(*parts[:fixed])
    paths: list[Path] = []
    for match in map(Path, glob.glob(pattern, recursive=True)):  # noqa: PTH207 (absolute patterns)
        if match.is_dir():
            paths += _walk(match)
        elif _is_video_name(match.name):
            paths.append(match)
    if not paths:
        raise UsageError(f"{pattern}: no video matches this pattern")
    return root, paths


def _is_video_name(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in VIDEO_SUFFIXES


def _key(path: Path, root: Path) -> str:
    """Return the path below the root; bytes that are not UTF-8 are spelled out as ``\\xff``."""
    relative = path.relative_to(root).as_posix()
    return os.fsencode(relative).decode("utf-8", "backslashreplace")


def _under_common_root(found: dict[Path, VideoSource]) -> list[VideoSource]:
    """Key all videos by their path below the folder that holds them all."""
    try:
        root = Path(os.path.commonpath([path.parent for path in found]))
    except ValueError as error:  # two drives
        raise UsageError(
            "videos of equal names on different drives; give one drive at a time"
        ) from error
    return [
        VideoSource(source.path, _key(absolute, root), root) for absolute, source in found.items()
    ]
