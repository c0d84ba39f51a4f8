"""The verified events as a file to download."""

from __future__ import annotations

import io
import re
import zipfile
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from hrpro.errors import UsageError
from hrpro.pipeline.results.formats import write_results
from hrpro.pipeline.results.model import Results, VideoResult

FORMATS = ("csv", "eaf", "boris", "json")
LINKING = ("eaf", "boris")
"""Those that link videos as seen from themselves."""


def export(results: Results, name: str, suffix: str) -> tuple[str, bytes]:
    """Return the name and the content of a file; of a ``.zip`` where a file holds one video.

    Args:
        results: what to write. Videos are linked as if they lay beside the file, since nobody
            knows where it will be put.
        name: of the dataset.
        suffix: one of `FORMATS`.

    Raises:
        UsageError: another format, or a package for it is missing.
    """
    if suffix not in FORMATS:
        raise UsageError(f"format {suffix!r}: use one of {', '.join(FORMATS)}")
    stem = re.sub(r"[^\w.+=@ -]", "_", name).strip(". ") or "events"
    with TemporaryDirectory() as folder:
        if suffix in LINKING:
            results = replace(results, videos=tuple(_beside(folder, v) for v in results.videos))
        files = write_results(results, Path(folder) / f"{stem}.{suffix}")
        if len(files) == 1:
            return files[0].name, files[0].read_bytes()
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in files:
                archive.write(file, file.name)
        return f"{stem}.zip", content.getvalue()


def _beside(folder: str, video: VideoResult) -> VideoResult:
    return replace(video, path=video.path and str(Path(folder) / Path(video.path).name))
