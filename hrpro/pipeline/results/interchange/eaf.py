"""ELAN (``.eaf``): a tier per class, times in milliseconds, one file per video.

The value of an annotation is the label with the score, so that it reads well in ELAN and a
corrected file reads back. In files from elsewhere the value is the label too; where it is empty,
the name of the tier is.
"""

from __future__ import annotations

import mimetypes
from pathlib import Path
from typing import Any
from xml.parsers import expat

from hrpro.errors import DataError
from hrpro.pipeline.results.formats import Format
from hrpro.pipeline.results.interchange.media import path_of, relative_link, video_id_of
from hrpro.pipeline.results.interchange.texts import caption, from_caption, plain
from hrpro.pipeline.results.interchange.tiers import from_milliseconds, in_tiers, millisecond_marks
from hrpro.pipeline.results.model import Detection, Results, VideoResult

_VIDEO_PROPERTY = "hrpro-video"  # the video id, which may differ from the name of the file


def write_eaf(results: Results, path: Path) -> None:
    """Write one video with its annotations, and link the video file relative to `path`."""
    from pympi import Elan

    document = Elan.Eaf(author="hrpro")
    document.remove_tier("default")
    for video in results.videos:
        document.add_property(_VIDEO_PROPERTY, plain(video.video_id))
        if video.path is not None:
            _link_video(document, plain(video.path), path.parent)
        for name, marks in in_tiers(millisecond_marks(video.detections)).items():
            document.add_tier(name)
            for mark in marks:
                document.add_annotation(name, mark.start, mark.end, caption(mark.detection))
    # Not its to_file: that renames what is there to .bak.
    text = Elan.to_string(document)
    path.write_text(f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n', encoding="utf-8")


def read_eaf(path: Path) -> Results:
    """Read the annotations that have times of their own.

    Those of dependent tiers, which say more about another annotation, are left out.

    Raises:
        DataError: unreadable, not an ELAN file, or XML with a document type declaration.
    """
    from pympi import Elan

    _check_xml(path)
    try:
        document = Elan.Eaf(str(path), suppress_version_warning=True)
        rows = [
            (tier, *row)
            for tier, (_, references, *_) in document.tiers.items()
            if not references
            for row in document.get_annotation_data_for_tier(tier)
        ]
        media = document.get_linked_files()
        links = [each.get("RELATIVE_MEDIA_URL") or each.get("MEDIA_URL") for each in media]
        names = [text for name, text in document.get_properties() if name == _VIDEO_PROPERTY]
    except Exception as error:  # pympi checks nothing: a missing attribute is a KeyError
        reason = f"{type(error).__name__}: {error}"
        raise DataError(f"{path}: not a usable ELAN file ({reason})") from error
    detections = tuple(
        _detection(f"{path}: tier {tier!r}", tier, start, end, value)
        for tier, start, end, value in rows
        if start is not None and end is not None  # time slots that were never aligned
    )
    link = next(filter(None, links), None)
    video_id = next(filter(None, names), None) or (video_id_of(link) if link else path.stem)
    found = path_of(link, path.parent) if link else None
    return Results((VideoResult(video_id, found, detections=detections),))


def _link_video(document: Any, video: str, folder: Path) -> None:
    relative = relative_link(video, folder)
    document.add_linked_file(
        Path(video).absolute().as_uri(),
        relpath=relative if relative.startswith("..") else f"./{relative}",
        mimetype=mimetypes.guess_type(video)[0] or "unknown",
    )


def _detection(where: str, tier: str, start: int, end: int, value: str | None) -> Detection:
    label, score = from_caption(value or tier)
    try:
        return Detection(label, score, *from_milliseconds(start, end))
    except (DataError, OverflowError) as error:
        raise DataError(f"{where}: {error}") from error


def _check_xml(path: Path) -> None:
    """Refuse what is not XML, and the declarations by which XML reads files or fills the memory."""

    def refuse(*declaration: object) -> None:
        raise DataError(
            f"{path}:{parser.CurrentLineNumber}: has a document type declaration, which ELAN files "
            "have not; save it again in ELAN"
        )

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(path.read_bytes(), True)
    except OSError as error:
        raise DataError(f"{path}: cannot read: {error.strerror or error}") from error
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise DataError(f"{path}: not valid XML: {error}") from error


EAF = Format(write_eaf, read_eaf, one_video=True, module="pympi")
