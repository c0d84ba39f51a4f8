"""Pictures of events: one for each beside its clip, or all of them on one sheet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hrpro.errors import VideoError
from hrpro.extract.probe import VideoInfo
from hrpro.files import atomic_path, check_kind, check_writable
from hrpro.pipeline.clips.reading import pictures
from hrpro.pipeline.render.fonts import font_for
from hrpro.pipeline.results.model import Detection, VideoResult
from hrpro.wording import clock

SHEET_SUFFIXES = (".jpg", ".jpeg", ".png")
MOST_ON_A_SHEET = 240
"""Events; more go on further sheets, which viewers still open."""
_COLUMNS = 6
_TILE = (240, 135)
_LINE = 18
_GAP = 10
_BAR = 5
_QUALITY = 85
_MOMENT_S = 1e-3
_GROUND, _TEXT, _FAINT = "#14171a", "#f2f4f5", "#a9b1b8"


@dataclass(frozen=True)
class EventPicture:
    """The picture in the middle of an event; black where there is none."""

    video_id: str
    event: Detection
    picture: np.ndarray


def check_sheet_path(path: Path) -> None:
    """Refuse a sheet that could not be written.

    Raises:
        UsageError: the name is not that of a picture, or the folder cannot be written.
    """
    check_kind(path, SHEET_SUFFIXES, "a contact sheet")
    check_writable(path)


def event_pictures(
    video: VideoResult, info: VideoInfo, short_side: int = _TILE[1]
) -> Iterator[EventPicture]:
    """Yield a picture of each event of a video, in time order; the file is read once.

    Args:
        video: its `spans` are shown.
        info: the file.
        short_side: of the pictures, in pixels.
    """
    events = sorted(video.spans, key=_middle_s)
    left = list(reversed(events))
    last = np.zeros((short_side, short_side * 16 // 9, 3), np.uint8)
    try:
        moments = [(_middle_s(event), _middle_s(event) + _MOMENT_S) for event in events]
        for shown in pictures(info, moments, short_side):
            while left and _middle_s(left[-1]) < shown.end_s:
                last = shown.picture
                yield EventPicture(video.video_id, left.pop(), last)
    except VideoError:
        pass  # what is damaged stays black; who cuts the clips says so
    for event in reversed(left):  # behind the end of the video
        yield EventPicture(video.video_id, event, last)


def write_sheets(
    shown: Sequence[EventPicture], path: Path, colors: Mapping[str, str]
) -> list[Path]:
    """Draw events on sheets: picture, colour and name of the class, time, video.

    Args:
        shown: the events, in the order of the sheet.
        path: the first sheet; further ones are ``NAME-2.jpg`` and so on.
        colors: ``#rrggbb`` by class.

    Returns:
        The files.

    Raises:
        HrproError: a file cannot be written.
    """
    names = {text for each in shown for text in (each.event.label, each.video_id)}
    font_file = str(font_for(names))
    fonts = ImageFont.truetype(font_file, 14), ImageFont.truetype(font_file, 12)
    several = len({each.video_id for each in shown}) > 1
    written = []
    for number, first in enumerate(range(0, len(shown), MOST_ON_A_SHEET), start=1):
        part = shown[first : first + MOST_ON_A_SHEET]
        target = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
        sheet = _draw(part, colors, fonts, several)
        with atomic_path(target) as temporary:
            sheet.save(temporary, **_saving(target))
        written.append(target)
    return written


def write_thumbnail(shown: EventPicture, path: Path) -> None:
    """Write the picture of one event as JPEG."""
    with atomic_path(path) as temporary:
        Image.fromarray(shown.picture).save(temporary, **_saving(path))


def _draw(
    part: Sequence[EventPicture],
    colors: Mapping[str, str],
    fonts: tuple[ImageFont.FreeTypeFont, ImageFont.FreeTypeFont],
    with_video: bool,
) -> Image.Image:
    """Draw one sheet: rows of tiles, each a picture with a coloured bar and two lines of text."""
    text_height = _LINE * (3 if with_video else 2)
    width, height = _TILE[0] + _GAP, _TILE[1] + _BAR + text_height + _GAP
    columns = min(_COLUMNS, max(1, len(part)))
    rows = max(1, -(-len(part) // columns))
    sheet = Image.new("RGB", (columns * width + _GAP, rows * height + _GAP), _GROUND)
    draw = ImageDraw.Draw(sheet)
    for index, each in enumerate(part):
        row, column = divmod(index, columns)
        left, top = _GAP + column * width, _GAP + row * height
        picture = Image.fromarray(each.picture)
        picture.thumbnail(_TILE)
        inset = (_TILE[0] - picture.width) // 2, (_TILE[1] - picture.height) // 2
        draw.rectangle((left, top, left + _TILE[0] - 1, top + _TILE[1] - 1), "black")
        sheet.paste(picture, (left + inset[0], top + inset[1]))
        bar = top + _TILE[1]
        draw.rectangle((left, bar, left + _TILE[0] - 1, bar + _BAR - 1), colors[each.event.label])
        event = each.event
        times = f"{_time(event.start_s)} - {_time(event.end_s)} · {event.score:.2f}"
        lines = [(event.label, fonts[0], _TEXT), (times, fonts[1], _FAINT)]
        if with_video:
            lines.append((each.video_id, fonts[1], _FAINT))
        for line, (text, font, color) in enumerate(lines):
            place = (left, bar + _BAR + 2 + line * _LINE)
            draw.text(place, _fitting(text, font, _TILE[0]), color, font)
    return sheet


def _fitting(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """Shorten a text until it is no wider than `width` pixels."""
    text = " ".join(text.split())
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"


def _time(time_s: float) -> str:
    return f"{clock(time_s)}.{int(time_s * 10 % 10)}"


def _middle_s(event: Detection) -> float:
    return (event.start_s + event.end_s) / 2


def _saving(path: Path) -> dict[str, Any]:
    return {"quality": _QUALITY} if path.suffix.lower() in (".jpg", ".jpeg") else {}
