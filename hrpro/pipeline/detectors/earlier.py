"""What an earlier run has found, taken over out of its result file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from hrpro.errors import DataError, UsageError
from hrpro.extract.sources import VideoSource
from hrpro.features import Fingerprint
from hrpro.files import read_json
from hrpro.pipeline.detectors.parts import RUN_KEY, Part, ResultParts
from hrpro.pipeline.results.model import Results, from_json, to_json
from hrpro.pipeline.workers.ledger import file_identity


def result_to_resume(paths: Sequence[Path]) -> Path:
    """The one of some result files that holds everything that was found.

    Raises:
        UsageError: there is none.
    """
    for path in paths:
        if path.suffix.lower() == ".json":
            return path
    raise UsageError("--resume goes on from a result file: give one that ends in .json with --out")


def take_over(result: Path, sources: Sequence[VideoSource], parts: ResultParts) -> int:
    """Make parts of a result file, for the videos that have not changed since it was written.

    Whether they fit the run, the run itself finds out: parts of another model are made anew.

    Args:
        result: as `hrpro detect` writes it; nothing happens if it is not there.
        sources: the videos.
        parts: those that are there already stay.

    Returns:
        How many were made.

    Raises:
        DataError: the file is no result file; names it.
        HrproError: a part cannot be written.
    """
    if not result.is_file():
        return 0
    written_ns = result.stat().st_mtime_ns
    try:
        results = from_json(read_json(result))
    except DataError as error:
        raise DataError(f"{result}: cannot go on from it: {error}") from error
    about = results.model.get(RUN_KEY)
    try:
        fingerprint = Fingerprint.model_validate(results.model.get("features"))
    except ValidationError:
        return 0  # of an earlier version, or of another program
    if not isinstance(about, dict):
        return 0
    found = {video.video_id: video for video in results.videos}
    number = 0
    for source in sources:
        video = found.get(parts.video_ids[source.key])
        size_bytes, mtime_ns = file_identity(source.path)
        if video is None or mtime_ns is None or mtime_ns > written_ns:
            continue
        if parts.state(source) == "done":
            continue
        Part(
            size_bytes=size_bytes,
            mtime_ns=mtime_ns,
            fingerprint=fingerprint,
            about=about,
            results=to_json(Results((replace(video, events=None),), results.model)),
        ).write(parts.path(source.key))
        number += 1
    return number
