"""WebVTT (``.vtt``) and SubRip (``.srt``): a cue per action, one file per video.

The cue is the label with the score. Any player shows them; ``<track>`` shows them in a browser.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from hrpro.errors import DataError
from hrpro.pipeline.results.formats import Format
from hrpro.pipeline.results.interchange.notes import Notes
from hrpro.pipeline.results.interchange.texts import caption, from_caption, plain
from hrpro.pipeline.results.interchange.tiers import from_milliseconds, millisecond_marks
from hrpro.pipeline.results.model import Detection, Results, VideoResult
from hrpro.texts import read_text

_VTT_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
# SubRip has no escapes and its players read tags: use look-alikes.
_SRT_ESCAPES = str.maketrans({"<": "\u2039", ">": "\u203a", "{": "(", "}": ")"})
_CLOCK = r"(?:(\d{1,6}):)?([0-5]?\d):([0-5]?\d)[.,](\d{3})"
_TIMING = re.compile(rf"\s*{_CLOCK}\s+-->\s+{_CLOCK}(?:\s.*)?")
_TAG = re.compile(r"</?[a-zA-Z0-9][^<>]*>")
_SRT_TAG = re.compile(rf"{_TAG.pattern}|{{\\[^{{}}]*}}")
_STREAMED = "X-TIMESTAMP-MAP"  # which cue time is which time of an MPEG stream
_LOCAL = re.compile(rf"LOCAL:{_CLOCK}")
_MPEG = re.compile(r"MPEGTS:(\d{1,12})")
_MPEG_CLOCK = 90_000


def write_vtt(results: Results, path: Path) -> None:
    """Write WebVTT cues in order of time."""
    cues = [f"\n{cue}\n" for cue in _cues(results, ".", _VTT_ESCAPES)]
    path.write_text("WEBVTT\n" + "".join(cues), encoding="utf-8")


def write_srt(results: Results, path: Path) -> None:
    """Write SubRip cues in order of time."""
    cues = [f"{number}\n{cue}\n" for number, cue in enumerate(_cues(results, ",", _SRT_ESCAPES), 1)]
    path.write_text("\n".join(cues), encoding="utf-8")


def read_vtt(path: Path) -> Results:
    """Read WebVTT: every cue is an action, named by the file.

    Captions of a stream (``X-TIMESTAMP-MAP``) count from their LOCAL time, which is taken for the
    start of the video; the MPEG time beside it is that of the stream's own clock.

    Raises:
        DataError: unreadable, or of all lines with ``-->`` none is a timing; names the line.
    """
    return _read(path, _TAG)


def read_srt(path: Path) -> Results:
    """Read SubRip, in which players take ``{\\an8}`` for a tag, too; else as `read_vtt`.

    Raises:
        DataError: as `read_vtt`.
    """
    return _read(path, _SRT_TAG)


def _read(path: Path, tag: re.Pattern[str]) -> Results:
    notes = Notes()
    detections: list[Detection] = []
    times: tuple[int, int] | None = None
    origin_ms = 0
    text: list[str] = []
    for number, line in enumerate([*read_text(path, notes.say).split("\n"), ""], start=1):
        if line.startswith(_STREAMED):
            origin_ms = _origin(line, notes)
        elif "-->" in line:
            text = []
            try:
                times = _times(line)
            except DataError as error:
                times = None
                notes.left_out(number, error)
        elif line.strip():
            text.append(line)
        elif times is not None:
            if words := tag.sub("", " ".join(text)).strip():
                label, score = from_caption(html.unescape(words))
                start_s, end_s = from_milliseconds(*(time - origin_ms for time in times))
                detections.append(Detection(label, score, start_s, end_s))
            times, text = None, []
    return notes.results(path, [VideoResult(path.stem, detections=tuple(detections))])


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


def _origin(line: str, notes: Notes) -> int:
    """Return the cue time, in milliseconds, at which the stream starts."""
    local, mpeg = _LOCAL.search(line), _MPEG.search(line)
    origin_ms = _milliseconds(local.groups()) if local else 0
    if origin_ms or (mpeg and int(mpeg[1])):
        mpeg_s = int(mpeg[1]) / _MPEG_CLOCK if mpeg else 0.0
        notes.say(
            f"captions of a stream: {origin_ms / 1000:.3f} s in them is taken for the start of the "
            f"video, whose own clock then shows {mpeg_s:.3f} s"
        )
    return origin_ms


def _times(line: str) -> tuple[int, int]:
    """Return start and end in milliseconds."""
    match = _TIMING.fullmatch(line)
    if match is None:
        raise DataError("not a timing such as 00:00:01.000 --> 00:00:02.500")
    start, end = _milliseconds(match.groups()[:4]), _milliseconds(match.groups()[4:])
    if end < start:
        raise DataError("the end lies before the start")
    return start, end


def _milliseconds(parts: Sequence[str | None]) -> int:
    hours, minutes, seconds, milliseconds = (int(part or 0) for part in parts)
    return ((hours * 60 + minutes) * 60 + seconds) * 1000 + milliseconds


VTT = Format(write_vtt, read_vtt, one_video=True)
SRT = Format(write_srt, read_srt, one_video=True)
