"""Where the videos of a dataset folder are, and which files of a folder are videos.

They are in ``videos/``, or where ``dataset.yaml`` says.
"""

from __future__ import annotations

import codecs
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import yaml

from hrpro.errors import DataError
from hrpro.files import walk
from hrpro.texts import read_text
from hrpro.video_ids import PREVIEW_SUFFIXES, distinct_ids, names_video

DATASET_YAML = "dataset.yaml"

# TypeScript, Go modules and playlists end like streams of cameras and broadcasts.
_MAY_BE_TEXT = frozenset({".mod", ".mts", ".rm", ".tp", ".ts"})
_WIDE_TEXT = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_NOT_IN_TEXT = frozenset({*range(32), 127}) - set(b"\t\n\f\r\x1b")


class LeftOut:
    """What a search for videos left out, for one line that says so."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._kinds: Counter[str] = Counter()

    def add(self, name: str, why: str = "") -> None:
        """Note a file, and why it is none of the videos if its suffix does not tell."""
        kind = Path(name).suffix.lower() or "without a suffix"
        self._names.append(name)
        self._kinds[f"{kind} ({why})" if why else kind] += 1

    def __bool__(self) -> bool:
        return bool(self._names)

    def line(self) -> str:
        """What was left out, in one line."""
        by_count = sorted(self._kinds.items(), key=lambda item: (-item[1], item[0]))
        kinds = ", ".join(f"{count} {kind}" for kind, count in by_count)
        named = f": {', '.join(sorted(self._names))}" if len(self._names) <= 3 else ""
        return f"left out what is no video by its name or content: {kinds}{named}"


def videos_folder(folder: str | Path) -> Path:
    """Return the folder that holds the videos of a dataset; it need not exist.

    ``videos/`` in the dataset folder, which may be a link. Where links cannot be made, the line
    ``videos: PATH`` of ``dataset.yaml`` names another folder; a relative path counts from the
    dataset folder.
    """
    folder = Path(folder)
    try:
        settings = yaml.safe_load(read_text(folder / DATASET_YAML))
    except (DataError, yaml.YAMLError):
        settings = None  # those who need the settings say what is wrong with them
    named = settings.get("videos") if isinstance(settings, dict) else None
    return folder / named if isinstance(named, str) and named else folder / "videos"


def videos_below(folder: Path, left_out: LeftOut | None = None) -> Iterator[Path]:
    """Yield the videos below a folder, as `hrpro.files.walk` goes through it.

    Raises:
        DataError: a folder cannot be listed.
    """

    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename}: cannot list: {error.strerror}") from error

    for parent, names in walk(folder, refuse):
        for path in (parent / name for name in names):
            if is_video(path, left_out):
                yield path


def is_video(path: Path, left_out: LeftOut | None = None) -> bool:
    """Whether a file is a video, by its name and, where many texts are named so, its content."""
    why = ""
    if path.suffix.lower() in PREVIEW_SUFFIXES:
        why = "a small copy"
    elif names_video(path.name):
        if not (path.suffix.lower() in _MAY_BE_TEXT and _is_text(path)):
            return True
        why = "text"
    if left_out is not None:
        left_out.add(path.name, why)
    return False


def video_key(path: Path, root: Path) -> str:
    """Return the path below the root; bytes that are not UTF-8 are spelled out as ``\\xff``."""
    relative = path.relative_to(root).as_posix()
    return os.fsencode(relative).decode("utf-8", "backslashreplace")


def ids_in_folder(folder: Path) -> list[str]:
    """Return the ids of the videos below a folder, sorted; none if there is no such folder.

    Raises:
        DataError: a folder cannot be listed.
    """
    if not folder.is_dir():
        return []
    return sorted(distinct_ids(video_key(path, folder) for path in videos_below(folder)).values())


def _is_text(path: Path) -> bool:
    if not path.is_file():
        return False  # reading from a pipe would wait for whoever writes into it
    try:
        with path.open("rb") as file:
            head = file.read(1024)
    except OSError:
        return False  # whoever opens it says what is wrong
    if head.startswith(_WIDE_TEXT):
        return True
    return bool(head) and _NOT_IN_TEXT.isdisjoint(head)
