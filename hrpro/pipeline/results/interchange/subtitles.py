"""WebVTT (``.vtt``) and SubRip (``.srt``): a cue per action, one file per video.

The cue is the label with the score. Any player shows them; ``<track>`` shows them in a browser.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path

from hrpro.errors import DataError
from hrpro.pipeline.results.formats import Format
from hrpro.pipeline.results.interchange.texts import caption, from_caption, plain, read_text
from hrpro.pipeline.results.interchange.tiers import from_milliseconds, millisecond_marks
from hrpro.pipeline.results.model import Detection, Results, VideoResult

_VTT_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
# SubRip has no escapes and its players read tags: use look-alikes.
_SRT_ESCAPES = str.maketrans({"<": "\u2039", ">": "\u203a", "{": "(", "}": ")"})
_CLOCK = r"(?:(\d{1,6}):)?([0-5]?\d):([0-5]?\d)[.,](\d{3})"
_TIMING = re.compile(rf"\s*{_CLOCK}\s+-->\s+{_CLOCK}(?:\s.*)?")
_TAG = re.compile(r"</?[a-zA-Z0-9][^<>]*>")


def write_vtt(results: Results, path: Path) -> None:
    """Write WebVTT cues in order of time."""
    cues = [f"\n{cue}\n" for cue in _cues(results, ".", _VTT_ESCAPES)]
    path.write_text("WEBVTT\n" + "".join(cues), encoding="utf-8")


def write_srt(results: Results, path: Path) -> None:
    """Write SubRip cues in order of time."""
    cues = [f"{number}\n{cue}\n" for number, cue in enumerate(_cues(results, ",", _SRT_ESCAPES), 1)]
    path.write_text("\n".join(cues), encoding="utf-8")


def read_subtitles(path: Path) -> Results:
    """Read WebVTT or SubRip: every cue is an action, named by the file.

    Raises:
        DataError: unreadable, or a line with ``-->`` that is no timing; names the line.
    """
    detections: list[Detection] = []
    times: tuple[int, int] | None = None
    text: list[str] = []
    for number, line in enumerate([*read_text(path).split("\n"), ""], start=1):
        if "-->" in line:
            times, text = _times(f"{path}:{number}", line), []
        elif line.strip():
            text.append(line)
        elif times is not None:
            if words := _TAG.sub("", " ".join(text)).strip():
                label, score = from_caption(html.unescape(words))
                detections.append(Detection(label, score, *from_milliseconds(*times)))
            times, text = None, []
    return Results((VideoResult(path.stem, detections=tuple(detections)),))


def _cues(results: Results, decimal_mark: str, escapes: dict[int, str]) -> Iterator[str]:
    """Yield "start --> end / label score" in order of time, as both formats want it."""
    found = (detection for video in results.videos for detection in video.detections)
    for mark in sorted(millisecond_marks(found), key=lambda mark: (mark.start, mark.end)):
        yield (
            f"{_clock(mark.start, decimal_mark)} --> {_clock(mark.end, decimal_mark)}\n"
            f"{plain(caption(mark.detection)).translate(escapes)}"
        )


def _clock(time_ms: int, decimal_mark: str) -> str:
    seconds, milliseconds = divmod(time_ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{decimal_mark}{milliseconds:03d}"


def _times(where: str, line: str) -> tuple[int, int]:
    """Return start and end in milliseconds."""
    match = _TIMING.fullmatch(line)
    if match is None:
        raise DataError(f"{where}: not a timing such as 00:00:01.000 --> 00:00:02.500")
    numbers = [int(number or 0) for number in match.groups()]
    start, end = (
        ((hours * 60 + minutes) * 60 + seconds) * 1000 + milliseconds
        for hours, minutes, seconds, milliseconds in (numbers[:4], numbers[4:])
    )
    if end < start:
        raise DataError(f"{where}: the end lies before the start")
    return start, end


VTT = Format(write_vtt, read_subtitles, one_video=True)
SRT = Format(write_srt, read_subtitles, one_video=True)
