"""CMX 3600 edit decision lists (``.edl``): a cut list of all actions, one file per video.

Every action is an event on the one video track: source in and out are its first frame and the one
after its last, the record times put one action after the other, and a locator (``* LOC:``) has
the label with the score. So actions that overlap fit, too, and an editor opens the list as a reel
of what was found.

Timecode counts frames from the first frame of the video as 00:00:00:00. It is always non-drop:
at 29.97 and 59.94 frames per second it counts 30 and 60 to the second and falls behind the clock
(3.6 s per hour), but every frame has its own number and none is skipped. Drop-frame lists are
read as well. CMX 3600 knows no rate above 60; faster videos are written the same way, with which
not every editor agrees.

The files are written and read here, not by the adapter of OpenTimelineIO, since that writes labels
in capitals and knows only some frame rates.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from hrpro.errors import DataError
from hrpro.pipeline.results.formats import Format
from hrpro.pipeline.results.interchange.media import joined, video_id_of
from hrpro.pipeline.results.interchange.rates import (
    Rates,
    from_frames,
    rate_of,
    to_frames,
    to_seconds,
)
from hrpro.pipeline.results.interchange.texts import caption, from_caption, plain, read_text
from hrpro.pipeline.results.model import Detection, Results, VideoResult

MARKER_COLORS = ("RED", "GREEN", "BLUE", "CYAN", "MAGENTA", "YELLOW", "ORANGE", "PURPLE", "PINK")
"""One per class, over and over; locators and OpenTimelineIO know these names."""

_RECORD_START_S = 3600  # the usual start of a programme, 01:00:00:00
_TIMECODE = r"(\d\d):(\d\d):(\d\d)([:;.,])(\d\d\d?)"
_EVENT = re.compile(  # number, reel, channel, kind of edit, four timecodes; reels may hold spaces
    r"\d+\s+.*?(?P<channel>\S+)\s+(?:C|D|W\d+|K[BO]?)\s+(?:\d+\s+)?"
    rf"(?P<start>{_TIMECODE})\s+(?P<end>{_TIMECODE})\s+\S+\s+\S+"
)
_LONGEST_EVENT = 500  # characters
_LOCATOR = re.compile(rf"\*\s*LOC:\s*(?P<time>{_TIMECODE})\s+(?P<color>\S+)(?:\s+(?P<text>.*))?")
_CLIP_NAME = re.compile(r"\*\s*FROM CLIP NAME:\s*(?P<name>.*)")


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
    """Read the events that have a locator; the label is its text.

    An event with one locator is an action from its source in to its source out. In one with more,
    say a whole video with markers, each locator is a point.

    Raises:
        DataError: unreadable, or a line is wrong; names the line.
        UsageError: the frame rate is unknown.
    """
    events: list[_Event] = []
    is_drop = False
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        line, where = line.strip(), f"{path}:{number}"
        if line.upper().startswith("FCM:"):
            is_drop = "NON" not in line.upper()
        elif line[:1].isdigit():
            match = _EVENT.fullmatch(line) if len(line) <= _LONGEST_EVENT else None
            if match is None:
                raise DataError(f"{where}: not an event such as 001 AX V C and four timecodes")
            events.append(_Event(where, match, is_drop))
        elif events and (match := _CLIP_NAME.fullmatch(line)):
            events[-1].clip_name = match["name"]
        elif events and (match := _LOCATOR.fullmatch(line)):
            events[-1].locators.append((where, match))
    videos = []
    for event in events:
        video_id = video_id_of(event.clip_name) if event.clip_name else path.stem
        rate = rates.of(video_id)
        detections = tuple(event.detections(rate)) if event.shows_video else ()
        videos.append(VideoResult(video_id, fps=float(rate), detections=detections))
    return joined(videos or [VideoResult(path.stem)])


@dataclass
class _Event:
    """An edit with its comments; times are put off until the frame rate is known."""

    where: str
    match: re.Match[str]
    is_drop: bool
    clip_name: str = ""
    locators: list[tuple[str, re.Match[str]]] = field(default_factory=list)

    @property
    def shows_video(self) -> bool:
        return self.match["channel"] == "B" or "V" in self.match["channel"]

    def detections(self, rate: Fraction) -> Iterator[Detection]:
        spans = {"start": self.match["start"], "end": self.match["end"]}
        start, end = (_to_frame(self.where, text, rate, self.is_drop) for text in spans.values())
        if end <= start:
            raise DataError(f"{self.where}: the source ends before it starts")
        for where, match in self.locators:
            label, score = from_caption(match["text"] or match["color"])
            if len(self.locators) == 1:
                yield Detection(label, score, *from_frames(start, end, rate))
            else:
                time_s = to_seconds(_to_frame(where, match["time"], rate, self.is_drop), rate)
                yield Detection(label, score, time_s, time_s)


def _events(video: VideoResult, rate: Fraction) -> Iterator[str]:
    name = plain(Path(video.path).name if video.path else video.video_id)
    labels = sorted({found.label for found in video.detections})
    colors = {label: MARKER_COLORS[i % len(MARKER_COLORS)] for i, label in enumerate(labels)}
    record = _RECORD_START_S * math.ceil(rate)
    spans = [(*to_frames(each.start_s, each.end_s, rate), each) for each in video.detections]
    for number, (start, end, found) in enumerate(sorted(spans, key=lambda s: s[:2]), start=1):
        frames = (start, end, record, record + end - start)
        times = " ".join(_timecode(frame, rate) for frame in frames)
        yield f"{number:03d}  AX       V     C        {times}"
        yield f"* FROM CLIP NAME:  {name}"
        yield f"* LOC: {_timecode(start, rate)} {colors[found.label]:7} {caption(found)}"
        record += end - start


def _timecode(frame: int, rate: Fraction) -> str:
    """Write a frame number as non-drop timecode."""
    seconds, frame = divmod(frame, math.ceil(rate))
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}:{frame:02d}"


def _to_frame(where: str, timecode: str, rate: Fraction, is_drop: bool) -> int:
    """Return the frame number of a timecode; drop-frame timecode skips numbers, not frames."""
    hours, minutes, seconds, mark, frames = re.fullmatch(_TIMECODE, timecode).groups()
    per_second = math.ceil(rate)
    if int(frames) >= per_second:
        raise DataError(
            f"{where}: {timecode} has more than {per_second} frames in a second; is the frame "
            "rate right?"
        )
    total_minutes = int(hours) * 60 + int(minutes)
    frame = (total_minutes * 60 + int(seconds)) * per_second + int(frames)
    if (is_drop or mark != ":") and per_second % 30 == 0 and rate.denominator == 1001:
        frame -= per_second // 15 * (total_minutes - total_minutes // 10)
    return frame


EDL = Format(write_edl, read_edl, one_video=True, counts_frames=True)
