"""CMX 3600 edit decision lists (``.edl``): a cut list of all actions, one file per video.

Every action is an event on the one video track: source in and out are its first frame and the one
after its last, the record times put one action after the other, and a locator (``* LOC:``) at its
start, in record time as editors have it, has the label with the score. So actions that overlap
fit, too, and an editor opens the list as a reel of what was found. Source timecode counts from the
first frame of the video as 00:00:00:00 and is non-drop. CMX 3600 knows no rate above 60; faster
videos are written the same way, with which not every editor agrees.

Read are locators, and the markers that DaVinci Resolve writes as events of their own::

    001  001      V     C        01:00:05:00 01:00:05:01 01:00:05:00 01:00:05:01
     |C:ResolveColorBlue |M:jump |D:50

Those count from the start of the timeline, which the file does not tell: it is taken to be the
full hour before the first marker (01:00:00:00 by default in Resolve).

The files are written and read here, not by the adapter of OpenTimelineIO, since that writes labels
in capitals and knows only some frame rates.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from hrpro.errors import DataError
from hrpro.pipeline.results.formats import Format
from hrpro.pipeline.results.interchange.media import Linked, ids_of, joined
from hrpro.pipeline.results.interchange.notes import Notes
from hrpro.pipeline.results.interchange.rates import Rates, from_frames, rate_of, to_frames
from hrpro.pipeline.results.interchange.texts import caption, from_caption, plain
from hrpro.pipeline.results.interchange.timecode import TIMECODE, from_timecode, to_timecode
from hrpro.pipeline.results.model import Detection, Results, VideoResult
from hrpro.texts import read_text
from hrpro.video_ids import names_video

MARKER_COLORS = ("RED", "GREEN", "BLUE", "CYAN", "MAGENTA", "YELLOW", "ORANGE", "PURPLE", "PINK")
"""One per class, over and over; locators and OpenTimelineIO know these names."""
_COLORS = (
    *MARKER_COLORS,
    *("BLACK", "WHITE", "GREY", "GRAY", "GOLD", "VIOLET", "FOREST", "DENIM"),  # of Avid
    *("FUCHSIA", "ROSE", "LAVENDER", "SKY", "MINT", "LEMON", "SAND", "COCOA", "CREAM"),  # Resolve
)

_RECORD_START_S = 3600  # the usual start of a programme, 01:00:00:00
_EVENT = re.compile(  # number, reel, channel, kind of edit, four timecodes; reels may hold spaces
    r"\d+\s+(?P<reel>.*?)\s*(?P<channel>\S+)\s+(?P<kind>C|D|W\d+|K[BO]?)\s+(?:\d+\s+)?"
    rf"(?P<source_in>{TIMECODE})\s+(?P<source_out>{TIMECODE})\s+"
    rf"(?P<record_in>{TIMECODE})\s+(?P<record_out>{TIMECODE})"
)
_NUMBERED = re.compile(rf"\d{{3,6}}\s|\d.*\s{TIMECODE}")  # else a text that begins with a number
_LONGEST_EVENT = 500  # characters
_LOCATOR = re.compile(
    rf"\*\s*LOC:\s*(?P<time>{TIMECODE})(?:\s+(?P<color>{'|'.join(_COLORS)})(?=\s|$))?(?P<text>.*)",
    re.IGNORECASE,
)
_NAME = re.compile(
    r"\*\s*(?P<kind>(?:FROM|TO) CLIP NAME|SOURCE FILE|FROM FILE):\s*(?P<name>.+)", re.IGNORECASE
)
_MARKER = re.compile(
    r"(?P<note>[^|]*)\|\s*C:(?P<color>[^|]*)\|\s*M:(?P<text>.*)\|\s*D:\s*(?P<frames>\d{1,9})"
)
_NO_REELS = {"AX", "BL", ""}  # "auxiliary" and "black"


def write_edl(results: Results, path: Path) -> None:
    """Write the cut list of one video.

    Raises:
        UsageError: its frame rate is unknown.
    """
    title = plain(results.videos[0].video_id) if results.videos else "hrpro"
    lines = [f"TITLE: {title}", "FCM: NON-DROP FRAME", ""]
    for video in results.videos:
        lines += _events(video, rate_of(video))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_edl(path: Path, rates: Rates) -> Results:
    """Read the events that have a locator, and markers; the label is their text.

    An event with one locator, at its start, is an action from its source in to its source out. Any
    other locator is a point: it counts in record time and is moved to the source (one outside of
    the record times of its event is taken for source time).

    Raises:
        DataError: unreadable, or nothing in it could be read; names the first line.
        UsageError: the frame rate is unknown.
    """
    notes = Notes()
    every = list(_parsed(path, notes))
    events = [event for event in every if event.marks]
    if every and not events:
        notes.left_out(every[0].line, "no locator (* LOC:) and no marker names it", len(every))
    shown = [event for event in events if event.shows_video]
    for event in events:
        if not event.shows_video:
            notes.left_out(event.line, "is on a sound track", len(event.marks))
    links = {event.line: event.link(shown) for event in shown}
    ids = ids_of(link for link in links.values() if link is not None)
    found = []
    for event in shown:
        link = links[event.line]
        video_id = path.stem if link is None else ids[link]
        rate = rates.of(video_id)
        if event.markers:
            start = _timeline_start(shown, rate, rates, notes)
            detections = tuple(event.marked(rate, start, notes))
        else:
            detections = tuple(event.located(rate, shown, notes))
        found.append(Linked(VideoResult(video_id, fps=float(rate), detections=detections), link))
    return notes.results(path, joined(found) or [VideoResult(path.stem)])


@dataclass
class _Event:
    """An edit with its comments; times are put off until the frame rate is known."""

    line: int
    match: re.Match[str]
    is_drop: bool
    names: dict[str, str] = field(default_factory=dict)
    locators: list[tuple[int, re.Match[str]]] = field(default_factory=list)
    markers: list[tuple[int, re.Match[str]]] = field(default_factory=list)

    @property
    def marks(self) -> list[tuple[int, re.Match[str]]]:
        return [*self.locators, *self.markers]

    @property
    def shows_video(self) -> bool:
        return self.match["channel"] == "B" or "V" in self.match["channel"]

    def link(self, events: Iterable[_Event]) -> str | None:
        """Return the file or clip that is shown; the reel, if nothing else tells reels apart."""
        files = (self.names.get(kind, "") for kind in ("FROM FILE", "SOURCE FILE"))
        if file := next(filter(names_video, files), None):
            return file
        is_cut = self.match["kind"] == "C"  # others show two clips, and start with the one before
        kinds = ("FROM CLIP NAME",) if is_cut else ("TO CLIP NAME", "FROM CLIP NAME")
        if name := next((self.names[kind] for kind in kinds if kind in self.names), None):
            return name
        reels = {event.match["reel"] for event in events if not event.markers} - _NO_REELS
        return self.match["reel"] if len(reels) > 1 else None

    def frames(self, kind: str, rate: Fraction) -> tuple[int, int]:
        """Return first frame and the one after the last, of the "source" or the "record"."""
        start, end = (
            from_timecode(self.match[f"{kind}_{side}"], rate, self.is_drop)
            for side in ("in", "out")
        )
        if end < start:
            raise DataError(f"the {kind} ends before it starts")
        return start, end

    def located(
        self, rate: Fraction, events: Sequence[_Event], notes: Notes
    ) -> Iterator[Detection]:
        """Yield what the locators mark."""
        for line, match in self.locators:
            label, score = from_caption(match["text"].strip() or match["color"] or "")
            try:
                time = from_timecode(match["time"], rate, self.is_drop)
                source, record = self.frames("source", rate), self.frames("record", rate)
                if len(self.locators) == 1 and time in (record[0], source[0]):
                    yield Detection(label, score, *from_frames(*source, rate))
                    continue
                frame = _source_frame(time, source, record)
                yield Detection(label, score, *[float(frame / rate)] * 2)
            except DataError as error:
                notes.left_out(line, error)

    def marked(self, rate: Fraction, timeline_start: int, notes: Notes) -> Iterator[Detection]:
        """Yield what the markers of a timeline mark; its start is a frame number, as theirs."""
        for line, match in self.markers:
            label = plain(match["text"].strip() or match["note"].strip() or match["color"])
            try:
                start = self.frames("record", rate)[0] - timeline_start
                length = max(1, int(match["frames"]))
                yield Detection(label, 1.0, *from_frames(start, start + length, rate))
            except DataError as error:
                notes.left_out(line, error)


def _parsed(path: Path, notes: Notes) -> Iterator[_Event]:
    event: _Event | None = None
    is_drop = False
    for number, line in enumerate(read_text(path, notes.say).split("\n"), start=1):
        line = line.strip()
        if line.upper().startswith("FCM:"):
            is_drop = "NON" not in line.upper()
        elif event is not None and (match := _MARKER.fullmatch(line)):
            event.markers.append((number, match))
        elif _NUMBERED.match(line[:_LONGEST_EVENT]):
            if event is not None:
                yield event
            match = _EVENT.fullmatch(line) if len(line) <= _LONGEST_EVENT else None
            event = None if match is None else _Event(number, match, is_drop)
            if match is None:
                notes.left_out(number, "not an event such as 001 AX V C and four timecodes")
        elif event is not None and (match := _NAME.fullmatch(line)):
            event.names[match["kind"].upper()] = match["name"].strip()
        elif event is not None and (match := _LOCATOR.fullmatch(line)):
            event.locators.append((number, match))
    if event is not None:
        yield event


def _source_frame(time: int, source: tuple[int, int], record: tuple[int, int]) -> Fraction:
    """Return the frame of the source that a locator marks, given in record or source time."""
    if record[0] <= time <= record[1]:
        length = record[1] - record[0]
        speed = Fraction(source[1] - source[0], length) if length else Fraction(1)
        return source[0] + (time - record[0]) * speed
    if source[0] <= time <= source[1]:
        return Fraction(time)
    raise DataError("the locator lies outside of its event")


def _timeline_start(events: Iterable[_Event], rate: Fraction, rates: Rates, notes: Notes) -> int:
    """Return the frame number at which the timeline of Resolve's markers starts."""
    if rates.timecode is not None:
        return 0  # the user knows better; `hrpro convert` takes it off
    marked = [event for event in events if event.markers]
    first = min(marked, key=lambda event: event.match["record_in"])
    in_first = first.match["record_in"]
    start = f"{in_first[:2]}:00:00{in_first[8]}00"
    notes.say(
        f"markers count from the start of the timeline, taken to be {start}; --timecode says "
        "otherwise"
    )
    return from_timecode(start, rate, first.is_drop)


def _events(video: VideoResult, rate: Fraction) -> Iterator[str]:
    name = plain(Path(video.path).name if video.path else video.video_id)
    labels = sorted({found.label for found in video.detections})
    colors = {label: MARKER_COLORS[i % len(MARKER_COLORS)] for i, label in enumerate(labels)}
    record = _RECORD_START_S * math.ceil(rate)
    spans = [(*to_frames(each.start_s, each.end_s, rate), each) for each in video.detections]
    for number, (start, end, found) in enumerate(sorted(spans, key=lambda s: s[:2]), start=1):
        frames = (start, end, record, record + end - start)
        times = " ".join(to_timecode(frame, rate) for frame in frames)
        yield f"{number:03d}  AX       V     C        {times}"
        yield f"* FROM CLIP NAME:  {name}"
        yield f"* LOC: {to_timecode(record, rate)} {colors[found.label]:7} {caption(found)}"
        record += end - start


EDL = Format(write_edl, read_edl, one_video=True, counts_frames=True)
