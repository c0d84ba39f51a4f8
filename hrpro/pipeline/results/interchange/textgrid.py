"""Praat (``.TextGrid``): an interval tier per class, a point tier per class of points.

Intervals fill their tier from its start to its end; those without a text are silence. The tiers
of a class have its name, the intervals and points the label with the score as their text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from hrpro.errors import DataError
from hrpro.pipeline.results.formats import Format
from hrpro.pipeline.results.interchange.notes import Notes
from hrpro.pipeline.results.interchange.texts import caption, from_caption, plain
from hrpro.pipeline.results.interchange.tiers import Mark, in_tiers
from hrpro.pipeline.results.model import Detection, Results, VideoResult
from hrpro.texts import read_text

# Praat reads free-standing numbers, quoted texts and <flags>; all other words are decoration. So
# the long and the short form of the file are the same to a reader. "!" starts a comment.
_TOKEN = re.compile(
    r'"(?P<text>(?:[^"]|"")*)"|!.*|(?<!\S)(?P<number>-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)(?!\S)'
    r"|<(?P<flag>exists|absent)>|\S+"
)
_INTERVALS, _POINTS = "IntervalTier", "TextTier"


def write_textgrid(results: Results, path: Path) -> None:
    """Write one video in the long text form, times in seconds."""
    detections = [found for video in results.videos for found in video.detections]
    length = max(
        [video.duration_s or 0.0 for video in results.videos]
        + [found.end_s for found in detections],
        default=0.0,
    )
    length = max(length, 0.001)  # Praat takes no empty grid
    marks = [Mark(max(0.0, each.start_s), max(0.0, each.end_s), each) for each in detections]
    spans = in_tiers(mark for mark in marks if mark.end > mark.start)
    points = in_tiers(mark for mark in marks if mark.end == mark.start)
    tiers: list[tuple[str, str, Sequence[Sequence[str]]]] = [
        *((_INTERVALS, name, list(_intervals(rows, length))) for name, rows in spans.items()),
        *((_POINTS, _free(name, spans), _points(rows)) for name, rows in points.items()),
    ]
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', ""]
    lines += ["xmin = 0 ", f"xmax = {length!r} ", f"tiers? {'<exists>' if tiers else '<absent>'} "]
    if tiers:
        lines += [f"size = {len(tiers)} ", "item []: "]
    for number, (kind, name, rows) in enumerate(tiers, start=1):
        unit = "intervals" if kind == _INTERVALS else "points"
        lines += [f"    item [{number}]:", f'        class = "{kind}" ']
        lines += [f"        name = {_quoted(name)} ", "        xmin = 0 "]
        lines += [f"        xmax = {length!r} ", f"        {unit}: size = {len(rows)} "]
        for row_number, row in enumerate(rows, start=1):
            lines += [f"        {unit} [{row_number}]:", *(f"            {line} " for line in row)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_textgrid(path: Path) -> Results:
    """Read a TextGrid in either text form, in any encoding that Praat writes.

    Raises:
        DataError: unreadable, or not a TextGrid; says what was expected.
    """
    notes = Notes()
    tokens = _Tokens(path, notes)
    if tokens.text() != "ooTextFile" or tokens.text() != "TextGrid":
        raise tokens.error("not a TextGrid in text form; save it as text in Praat")
    tokens.span()
    detections: list[Detection] = []
    for _ in range(tokens.count() if tokens.flag() == "exists" else 0):
        kind, name = tokens.text(), tokens.text()
        if kind not in (_INTERVALS, _POINTS):
            raise tokens.error(f"tier {name!r} is of the unknown class {kind!r}")
        tokens.span()
        for _ in range(tokens.count()):
            start_s, end_s = tokens.span() if kind == _INTERVALS else [tokens.number()] * 2
            text = tokens.text().strip()
            if not text and kind == _INTERVALS:
                continue  # silence
            try:
                detections.append(Detection(*from_caption(text or name), start_s, end_s))
            except DataError as error:
                notes.left_out(tokens.line, error)
    return notes.results(path, [VideoResult(path.stem, detections=tuple(detections))])


def _intervals(marks: Sequence[Mark[float]], length_s: float) -> Iterator[tuple[str, str, str]]:
    """Yield intervals from 0 to the end, empty ones between those of the marks."""
    now = 0.0
    for mark in marks:
        if mark.start > now:
            yield _interval(now, mark.start, "")
        yield _interval(mark.start, mark.end, caption(mark.detection))
        now = mark.end
    if now < length_s:
        yield _interval(now, length_s, "")


def _interval(start_s: float, end_s: float, text: str) -> tuple[str, str, str]:
    return f"xmin = {start_s!r}", f"xmax = {end_s!r}", f"text = {_quoted(text)}"


def _points(marks: Sequence[Mark[float]]) -> list[tuple[str, str]]:
    return [
        (f"number = {mark.start!r}", f"mark = {_quoted(caption(mark.detection))}") for mark in marks
    ]


def _free(name: str, taken: dict[str, list[Mark[float]]]) -> str:
    while name in taken:
        name += " (points)"
    return name


def _quoted(text: str) -> str:
    return '"' + plain(text).replace('"', '""') + '"' if text else '""'


class _Tokens:
    """Texts, numbers and flags of a Praat text file, one after the other."""

    def __init__(self, path: Path, notes: Notes) -> None:
        self._path = path
        self._content = read_text(path, notes.say)
        self._matches = _TOKEN.finditer(self._content)
        self._position = 0

    def text(self) -> str:
        return self._next("text", "a text in quotes").replace('""', '"')

    def number(self) -> float:
        return float(self._next("number", "a number"))

    def span(self) -> tuple[float, float]:
        return self.number(), self.number()

    def count(self) -> int:
        count = self.number()
        if count < 0 or not count.is_integer():
            raise self.error(f"a count was expected, not {count:g}")
        return int(count)

    def flag(self) -> str:
        return self._next("flag", "<exists> or <absent>")

    @property
    def line(self) -> int:
        """Of the token that was read last, counted from 1."""
        return self._content.count("\n", 0, self._position) + 1

    def error(self, message: str) -> DataError:
        return DataError(f"{self._path}:{self.line}: {message}")

    def _next(self, kind: str, expected: str) -> str:
        for match in self._matches:
            self._position = match.start()
            if match.lastgroup == kind:
                return match[kind]
            if match.lastgroup is not None:
                break
        raise self.error(f"not a usable TextGrid: {expected} was expected")


TEXTGRID = Format(write_textgrid, read_textgrid, one_video=True)
