"""ELAN (``.eaf``): a tier per class and subject, times in milliseconds, one file per video.

The subject is the participant of the tier, ``class@subject``; modifiers are on a tier of the
linguistic type "modifiers" that depends on it.

The value of an annotation is the label with the score, so that it reads well in ELAN and a
corrected file reads back. In files from elsewhere the value is the label too; where it is empty,
the name of the tier is.

A linked file may have a media offset (``TIME_ORIGIN``): the annotations count from that time of it.
Of several linked files the first video counts, or the one that the user names.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.parsers import expat

from hrpro.cells import from_list, to_list
from hrpro.errors import DataError
from hrpro.pipeline.results.formats import Format
from hrpro.pipeline.results.interchange.media import (
    id_of,
    path_of,
    relative_link,
)
from hrpro.pipeline.results.interchange.notes import Notes
from hrpro.pipeline.results.interchange.rates import Rates
from hrpro.pipeline.results.interchange.texts import caption, from_caption, plain
from hrpro.pipeline.results.interchange.tiers import (
    Mark,
    from_milliseconds,
    in_tiers,
    millisecond_marks,
)
from hrpro.pipeline.results.model import Detection, Results, VideoResult
from hrpro.texts import read_xml
from hrpro.video_ids import names_video

_VIDEO_PROPERTY = "hrpro-video"  # the video id, which may differ from the name of the file
_MODIFIERS = "modifiers"  # a linguistic type
_UNITS_MS = {  # of the time slots; ELAN itself writes milliseconds only
    "milliseconds": Fraction(1),
    "PAL-frames": Fraction(1000, 25),
    "NTSC-frames": Fraction(1001, 30),
}


def write_eaf(results: Results, path: Path) -> None:
    """Write one video with its annotations, and link the video file relative to `path`."""
    from pympi import Elan

    document = Elan.Eaf(author="hrpro")
    document.remove_tier("default")
    for video in results.videos:
        document.add_property(_VIDEO_PROPERTY, plain(video.video_id))
        if video.path is not None:
            _link_video(document, plain(video.path), path.parent)
        for name, marks in in_tiers(millisecond_marks(video.detections), by_subject=True).items():
            subject = marks[0].detection.subject
            document.add_tier(name, part=None if subject is None else plain(subject))
            for mark in marks:
                document.add_annotation(name, mark.start, mark.end, caption(mark.detection))
            if any(mark.detection.modifiers for mark in marks):
                _add_modifiers(document, name, marks)
    # Not its to_file: that renames what is there to .bak.
    text = Elan.to_string(document)
    path.write_text(f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n', encoding="utf-8")


def _add_modifiers(document: Any, parent: str, marks: list[Mark[int]]) -> None:
    """Put modifiers on a tier that depends on that of the actions."""
    if _MODIFIERS not in document.get_linguistic_type_names():
        document.add_linguistic_type(_MODIFIERS, "Symbolic_Association", timealignable=False)
    name = f"{parent} ({_MODIFIERS})"
    document.add_tier(name, ling=_MODIFIERS, parent=parent)
    for mark in marks:
        if mark.detection.modifiers:
            value = to_list(map(plain, mark.detection.modifiers))
            document.add_ref_annotation(name, parent, (mark.start + mark.end) / 2, value)


def read_eaf(path: Path, rates: Rates) -> Results:
    """Read the annotations that have times of their own, in the time of the video.

    Those of dependent tiers, which say more about another annotation, are left out, but for
    modifiers.

    Raises:
        DataError: unreadable, not an ELAN file, or XML with a document type declaration.
    """
    notes = Notes()
    document = _parsed(path, read_xml(path, notes.say))
    try:
        video = _video(document, path, rates, notes)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return notes.results(path, [video])


def _video(document: ElementTree.Element, path: Path, rates: Rates, notes: Notes) -> VideoResult:
    header = document.find("HEADER")
    if header is None:
        header = ElementTree.Element("HEADER")
    media = _linked(header, rates, notes)
    stated = header.find(f"PROPERTY[@NAME='{_VIDEO_PROPERTY}']")
    video_id = (stated.text if stated is not None else None) or (media and id_of(media.link))
    unit_ms = _UNITS_MS.get(units := header.get("TIME_UNITS", "milliseconds"))
    if unit_ms is None:
        raise DataError(f"its time unit {units!r} is unknown")
    return VideoResult(
        video_id or path.stem,
        path_of(media.link, path.parent) if media else None,
        detections=tuple(_detections(document, unit_ms, media.origin_ms if media else 0, notes)),
    )


@dataclass(frozen=True)
class _Media:
    """A linked file, and the time in it from which the annotations count."""

    link: str
    origin_ms: int
    is_video: bool


def _linked(header: ElementTree.Element, rates: Rates, notes: Notes) -> _Media | None:
    """Choose the linked file that the annotations are about."""
    media = []
    for each in header.iter("MEDIA_DESCRIPTOR"):
        link = each.get("RELATIVE_MEDIA_URL") or each.get("MEDIA_URL")
        if link:
            kind = each.get("MIME_TYPE", "")
            is_video = kind.startswith("video/") or (
                not kind.startswith("audio/") and names_video(link)
            )
            media.append(_Media(link, _whole(each.get("TIME_ORIGIN") or "0"), is_video))
    if not media and (link := header.get("MEDIA_FILE")):  # how ELAN of old linked it
        media = [_Media(link, 0, True)]
    videos = [each for each in media if each.is_video] or media
    named = [each for each in videos if rates.knows(id_of(each.link))]
    chosen = next(iter(named or videos), None)
    if chosen is not None and len(videos) > 1:
        names = ", ".join(id_of(each.link) for each in videos)
        notes.say(f"links {len(videos)} videos ({names}); read for {id_of(chosen.link)}")
    return chosen


def _detections(
    document: ElementTree.Element, unit_ms: Fraction, origin_ms: int, notes: Notes
) -> Iterator[Detection]:
    slots = {
        slot.get("TIME_SLOT_ID"): slot.get("TIME_VALUE") for slot in document.iter("TIME_SLOT")
    }
    modifiers = {
        each.get("ANNOTATION_REF"): from_list(each.findtext("ANNOTATION_VALUE") or "")
        for tier in document.iter("TIER")
        if tier.get("LINGUISTIC_TYPE_REF") == _MODIFIERS
        for each in tier.iter("REF_ANNOTATION")
    }
    for tier in document.iter("TIER"):
        name, subject = tier.get("TIER_ID", ""), tier.get("PARTICIPANT") or None
        where = f"tier {name!r}"
        dependent = sum(1 for _ in tier.iter("REF_ANNOTATION"))
        if dependent and tier.get("LINGUISTIC_TYPE_REF") != _MODIFIERS:
            notes.left_out(where, "depends on other annotations", dependent)
        for annotation in tier.iter("ALIGNABLE_ANNOTATION"):
            ends = (slots.get(annotation.get(f"TIME_SLOT_REF{end}")) for end in (1, 2))
            value = annotation.findtext("ANNOTATION_VALUE") or name.removesuffix(f"@{subject}")
            try:
                start, end = (round(_whole(each) * unit_ms) + origin_ms for each in ends)
                yield Detection(
                    *from_caption(value),
                    *from_milliseconds(start, end),
                    subject=subject,
                    modifiers=modifiers.get(annotation.get("ANNOTATION_ID"), ()),
                )
            except (DataError, OverflowError) as error:
                notes.left_out(where, error)


def _whole(text: str | None) -> int:
    if text is None:
        raise DataError("has no time of its own")
    try:
        return int(text)
    except ValueError as error:
        raise DataError(f"the time is {text!r}, not a whole number") from error


def _link_video(document: Any, video: str, folder: Path) -> None:
    relative = relative_link(video, folder)
    document.add_linked_file(
        Path(video).absolute().as_uri(),
        relpath=relative if relative.startswith("..") else f"./{relative}",
        mimetype=mimetypes.guess_type(video)[0] or "unknown",
    )


def _parsed(path: Path, text: str) -> ElementTree.Element:
    """Refuse what is not ELAN, and declarations by which XML reads files or fills the memory."""

    def refuse(*declaration: object) -> None:
        raise DataError(
            f"{path}:{checker.CurrentLineNumber}: has a document type declaration, which ELAN "
            "files have not; save it again in ELAN"
        )

    checker = expat.ParserCreate()
    checker.StartDoctypeDeclHandler = refuse
    try:
        checker.Parse(text, True)
        document = ElementTree.fromstring(text)
    except (expat.ExpatError, ElementTree.ParseError, ValueError) as error:
        raise DataError(f"{path}: not valid XML: {error}") from error
    if document.tag != "ANNOTATION_DOCUMENT":
        raise DataError(f"{path}: not an ELAN file: its root is {document.tag}")
    return document


EAF = Format(write_eaf, read_eaf, one_video=True, counts_frames=True, module="pympi")
