"""Unpack archives that come from the network, so that they cannot write outside their folder."""

from __future__ import annotations

import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from hrpro.errors import DataError
from hrpro.files import inside

MAX_BYTES = 200 * 2**30
"""No published feature set is larger; stops archives made to fill the disk."""


def unpack(archive: str | Path, folder: str | Path, max_bytes: int = MAX_BYTES) -> list[Path]:
    """Unpack a zip or tar archive (any compression) into a folder.

    Only plain files are written, each below `folder`; links and devices are refused.

    Args:
        archive: the file; its content decides the format, not its name.
        folder: where to; made if need be.
        max_bytes: refuse to write more than this.

    Returns:
        The files written.

    Raises:
        DataError: not an archive, damaged, too large, or an entry that leads outside.
    """
    archive, folder = Path(archive), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    left = max_bytes
    try:
        for name, size, content in _entries(archive):
            left -= size
            if left < 0:
                raise DataError(f"unpacks to more than {max_bytes} bytes")
            target = inside(folder, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            with content, target.open("wb") as file:
                shutil.copyfileobj(content, file, 1 << 20)
            if target.stat().st_size != size:
                raise DataError(f"{name} is truncated; download it again")
            written.append(target)
    except DataError as error:
        raise DataError(f"{archive}: {error}") from error
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, RuntimeError) as error:
        raise DataError(f"{archive}: cannot unpack: {error}; download it again") from error
    return written


def _entries(archive: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    """Yield name, size and content of each file."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                kind = stat.S_IFMT(info.external_attr >> 16)
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise DataError(f"{info.filename!r} is a link or device")
                if not info.is_dir():
                    yield info.filename, info.file_size, zipped.open(info)
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as tarred:
            for member in tarred:
                if not (member.isfile() or member.isdir()):
                    raise DataError(f"{member.name!r} is a link or device")
                content = tarred.extractfile(member)
                if member.isfile() and content is not None:
                    yield member.name, member.size, content
    else:
        raise DataError("not a zip or tar archive; the download page may have come instead")
