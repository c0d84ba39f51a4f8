"""Events as a playlist: players show the parts of the videos, and nothing is written again.

VLC reads start and stop out of both formats; other players play whole videos.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

from hrpro.files import atomic_path, check_kind, check_writable
from hrpro.pipeline.clips.plan import Film, Piece
from hrpro.pipeline.video_files import link_to
from hrpro.wording import clock

PLAYLIST_SUFFIXES = (".m3u8", ".m3u", ".xspf")
_XSPF = "http://xspf.org/ns/0/"
_VLC = "http://www.videolan.org/vlc/playlist/ns/0/"
_VLC_APPLICATION = "http://www.videolan.org/vlc/playlist/0"


def check_playlist_path(path: Path) -> None:
    """Refuse a playlist that could not be written.

    Raises:
        UsageError: the name is not that of a playlist, or the folder cannot be written.
    """
    check_kind(path, PLAYLIST_SUFFIXES, "a playlist")
    check_writable(path)


def write_playlist(films: Sequence[Film], path: Path) -> None:
    """Write the pieces of films as a playlist; the suffix decides which kind.

    Raises:
        HrproError: the file cannot be written.
    """
    pieces = [piece for film in films for piece in film.pieces]
    text = _xspf(pieces, path) if path.suffix.lower() == ".xspf" else _m3u(pieces, path)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _m3u(pieces: Sequence[Piece], path: Path) -> str:
    lines = ["#EXTM3U"]
    for piece in pieces:
        place = unquote(link_to(piece.path, path))
        if not place.isprintable() or place.startswith("#") or "://" in place:
            place = piece.path.resolve().as_uri()
        lines += [
            f"#EXTINF:{round(piece.end_s - piece.start_s)},{_title(piece)}",
            *(f"#EXTVLCOPT:{option}" for option in _options(piece)),
            place,
        ]
    return "\n".join(lines) + "\n"


def _xspf(pieces: Sequence[Piece], path: Path) -> str:
    ElementTree.register_namespace("", _XSPF)
    ElementTree.register_namespace("vlc", _VLC)
    playlist = ElementTree.Element(f"{{{_XSPF}}}playlist", version="1")
    tracks = ElementTree.SubElement(playlist, f"{{{_XSPF}}}trackList")
    for number, piece in enumerate(pieces):
        track = ElementTree.SubElement(tracks, f"{{{_XSPF}}}track")
        for tag, text in (
            ("location", link_to(piece.path, path)),
            ("title", _title(piece)),
            ("duration", str(round(1000 * (piece.end_s - piece.start_s)))),
        ):
            ElementTree.SubElement(track, f"{{{_XSPF}}}{tag}").text = text
        extension = ElementTree.SubElement(
            track, f"{{{_XSPF}}}extension", application=_VLC_APPLICATION
        )
        ElementTree.SubElement(extension, f"{{{_VLC}}}id").text = str(number)
        for option in _options(piece):
            ElementTree.SubElement(extension, f"{{{_VLC}}}option").text = option
    ElementTree.indent(playlist)
    return ElementTree.tostring(playlist, "unicode", xml_declaration=True) + "\n"


def _options(piece: Piece) -> Iterator[str]:
    yield f"start-time={piece.start_s:.3f}"
    yield f"stop-time={piece.end_s:.3f}"


def _title(piece: Piece) -> str:
    """On one line; XML takes no control characters either."""
    labels = ", ".join(dict.fromkeys(event.label for event in piece.events))
    text = f"{labels} ({piece.video_id}, {clock(piece.start_s)} - {clock(piece.end_s)})"
    return "".join(each if each.isprintable() else " " for each in text)
