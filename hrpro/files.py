"""Small file helpers: atomic writes, and paths that must stay inside their folder."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hrpro.errors import DataError, HrproError, UsageError
from hrpro.texts import read_text


@contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`; rename it to `target` if the block succeeds.

    The temporary name keeps the suffix, because writers choose their format by it. On any
    failure, Ctrl-C included, the temporary file is removed and `target` is left as it was.

    Raises:
        HrproError: the folder cannot be created or written (read-only, disk full).
    """
    target = Path(target)
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        prefix, suffix = _temporary_name(target)
        temporary = target.with_name(f"{prefix}{secrets.token_hex(4)}{suffix}")
        # Not by `tempfile`: its files are for this user alone, and to give them the usual rights
        # one would have to ask for the umask, which means to change it for all threads.
        temporary.open("xb").close()
        yield temporary
        temporary.replace(target)
    except OSError as error:
        # NumPy reports a short write as an OSError without a number.
        reason = error.strerror or f"is the disk full? ({error})"
        raise HrproError(f"{target}: cannot write: {reason}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def remove_leftovers(target: str | Path) -> None:
    """Remove the temporary files of writers of `target` that were killed; none may be alive."""
    target = Path(target)
    prefix, suffix = _temporary_name(target)
    pattern = f"{glob.escape(prefix)}{'[0-9a-z_]' * 8}{glob.escape(suffix)}"
    for path in target.parent.glob(pattern):
        path.unlink(missing_ok=True)


def _temporary_name(target: Path) -> tuple[str, str]:
    """What the names of temporary files of `target`, and of no other file, begin and end with."""
    stem = target.stem
    if len(stem) > 60:
        stem = f"{stem[:40]}-{hashlib.sha256(os.fsencode(stem)).hexdigest()[:16]}"
    return f".{stem}.", f".part{target.suffix}"


def check_writable(target: str | Path) -> None:
    """Refuse a file or folder that could not be made, before hours of work are spent on it.

    Raises:
        UsageError: its folder, or the nearest one above that is there, cannot be written.
    """
    folder = next(parent for parent in Path(target).resolve().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{target}: cannot write into {folder}; choose another folder")


def check_folder(folder: str | Path) -> None:
    """Refuse a folder in which no file could be made, before hours of work are spent on it.

    Raises:
        UsageError: it is a file, or it, or the nearest one above it, cannot be written.
    """
    if Path(folder).exists() and not Path(folder).is_dir():
        raise UsageError(f"{folder}: is a file; name a folder")
    try:
        check_writable(Path(folder) / "x")
    except UsageError as error:
        raise UsageError(f"{folder}: cannot write into it; choose another folder") from error


def check_kind(target: str | Path, suffixes: Sequence[str], what: str) -> None:
    """Refuse a name that is not that of a kind of file, before hours of work are spent.

    Args:
        target: the file.
        suffixes: those that fit, with their dots, in lower case.
        what: the kind, with its article.

    Raises:
        UsageError: another suffix.
    """
    if Path(target).suffix.lower() not in suffixes:
        raise UsageError(f"{target}: {what} must be one of {', '.join(suffixes)}")


def write_text(target: str | Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(target: str | Path, value: Any) -> None:
    """Write JSON atomically; NaN and infinity are refused, since other readers choke on them."""
    write_text(target, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(
    path: str | Path,
    object_pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None,
    note: Callable[[str], None] | None = None,
) -> Any:
    """Read a JSON file, in any of the encodings of `hrpro.texts.read_text`.

    Args:
        path: the file.
        object_pairs_hook: as for `json.loads`; lets a reader notice keys that are there twice.
        note: is told if the encoding had to be guessed. Without it, nothing is guessed.

    Raises:
        DataError: the file is missing, unreadable or not JSON; names file, line and column.
    """
    path = Path(path)
    try:
        return json.loads(read_text(path, note), object_pairs_hook=object_pairs_hook)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}:{error.lineno}:{error.colno}: not valid JSON: {error.msg}"
        ) from error
    except RecursionError as error:
        raise DataError(f"{path}: not usable JSON: nested too deeply") from error


def inside(folder: str | Path, name: str) -> Path:
    """Return `folder / name`, refusing names from data files that would leave `folder`.

    Raises:
        DataError: `name` is absolute, holds ``..`` or NUL, or resolves outside `folder`.
    """
    folder = Path(folder)
    if not name or "\0" in name or Path(name).is_absolute() or ".." in Path(name).parts:
        raise DataError(f"{name!r}: not a name inside {folder}")
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{name!r}: leads outside {folder}")
    return path


def walk(
    folder: str | Path, on_error: Callable[[OSError], None] | None = None
) -> Iterator[tuple[Path, list[str]]]:
    """Yield a folder and those below it with the names of their files; hidden ones do not count.

    Links to folders elsewhere are followed, as people keep what is large on another disk. Not so
    those to what is looked through anyway, or to a folder above: they would go in circles.

    Args:
        folder: it need not exist.
        on_error: is told of a folder that cannot be listed, by default left out.
    """
    trees = [Path(folder).resolve()]
    for parent, folders, files in os.walk(folder, onerror=on_error, followlinks=True):
        visible = sorted(name for name in folders if not name.startswith("."))
        folders[:] = [name for name in visible if _leads_down(Path(parent, name), trees)]
        yield Path(parent), sorted(name for name in files if not name.startswith("."))


def _leads_down(folder: Path, trees: list[Path]) -> bool:
    """Whether to walk into a folder; the target of a link becomes one of the trees."""
    if not folder.is_symlink():
        return True
    target = folder.resolve()
    if any(target.is_relative_to(tree) for tree in trees):
        return False
    if folder.parent.resolve().is_relative_to(target):
        return False
    trees.append(target)
    return True
