"""Which clips are to be made: their pieces of video, and their names."""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

from hrpro.arguments import check_choice, check_number
from hrpro.errors import UsageError
from hrpro.file_names import MOST_BYTES, DistinctNames, safe_name, shortened
from hrpro.pipeline.results.model import Detection, VideoResult
from hrpro.pipeline.results.ranges import joined

Reel = Literal["class", "video", "all"]
SUFFIX = ".mp4"
DEFAULT_NAMES = {
    None: "{video}_{number}_{class}",
    "class": "{class}",
    "video": "{video}",
    "all": "all",
}
"""By what a reel is made of; None for a file per event."""
_EVENT_FIELDS = (
    *("video", "class", "number", "start", "end", "duration", "score", "subject", "modifiers"),
)
_FIELDS: dict[str | None, tuple[str, ...]] = {
    None: _EVENT_FIELDS,
    "class": ("class",),
    "video": ("video",),
    "all": (),
}
_SHARES = {"video": 60, "class": 40}
"""Bytes of a name that one field may take, so that there is room for the others."""


@dataclass(frozen=True)
class ClipOptions:
    """What clips are to be like.

    Raises:
        UsageError: a number that does not fit, or a wrong name.
    """

    lead_s: float = 0.0
    """Begin so many seconds before the event."""
    lag_s: float = 0.0
    """End so many seconds after it."""
    name: str | None = None
    """Of the files, with fields in braces; a slash makes folders."""
    reel: Reel | None = None
    """One file of all events of a class, of a video, or of all, instead of a file per event."""
    copy: bool = False
    """Copy the stream where a key frame lies near enough before the begin."""
    tolerance_s: float = 0.5
    """How much earlier than asked for a copied clip may begin."""
    overwrite: bool = False
    """Make again what is there."""

    def __post_init__(self) -> None:
        for option, value in (
            ("--lead", self.lead_s),
            ("--lag", self.lag_s),
            ("--tolerance", self.tolerance_s),
        ):
            check_number(option, value, "seconds, 0 or more")
        if self.reel is not None:
            check_choice("--reel", self.reel, get_args(Reel))
        if self.copy and self.reel is not None:
            raise UsageError("--copy makes a file per event; a reel is always encoded again")
        _check_template(self.template, self.reel)

    @property
    def template(self) -> str:
        """The name with its fields."""
        return self.name or DEFAULT_NAMES[self.reel]


@dataclass(frozen=True)
class Piece:
    """A part of one video, with the events in it; times in seconds of the file's clock."""

    video_id: str
    path: Path
    start_s: float
    end_s: float
    events: tuple[Detection, ...]


@dataclass(frozen=True)
class Film:
    """A file to be made of pieces, one after the other: a clip has one, a reel several."""

    name: str
    """Of the file, below the folder of the clips, with forward slashes."""
    title: str
    pieces: tuple[Piece, ...]


def plan_films(videos: Sequence[tuple[VideoResult, Path]], options: ClipOptions) -> list[Film]:
    """Lay out the clips, or reels, of some videos.

    Args:
        videos: results with their files; what is cut are the `spans`.
        options: lead, lag, names, and what goes together.

    Raises:
        UsageError: points, which have no length, and neither lead nor lag.
    """
    names = DistinctNames()
    if options.reel is None:
        return list(_clips(videos, options, names))
    together: dict[str, list[Piece]] = {}
    for video, path in videos:
        by_key: dict[str, list[Detection]] = {}
        for event in video.spans:
            key = {"class": event.label, "video": video.video_id, "all": "all"}[options.reel]
            by_key.setdefault(key, []).append(event)
        for key, events in by_key.items():
            together.setdefault(key, []).extend(_joined(video, path, events, options))
    return [
        Film(
            _name(options.template, {options.reel: key}, names),
            "all events" if options.reel == "all" else key,
            tuple(pieces),
        )
        for key, pieces in together.items()
    ]


def _clips(
    videos: Sequence[tuple[VideoResult, Path]], options: ClipOptions, names: DistinctNames
) -> Iterator[Film]:
    for video, path in videos:
        events = video.spans
        digits = max(3, len(str(len(events))))
        for number, event in enumerate(events, start=1):
            values = {
                "video": video.video_id,
                "class": event.label,
                "number": _Number(number, f"0{digits}"),
                "start": _Number(event.start_s, ".2f"),
                "end": _Number(event.end_s, ".2f"),
                "duration": _Number(event.end_s - event.start_s, ".2f"),
                "score": _Number(event.score, ".2f"),
                "subject": event.subject or "nobody",
                "modifiers": " ".join(event.modifiers) or "none",
            }
            start_s, end_s = _range(video, event, options)
            yield Film(
                _name(options.template, values, names),
                f"{event.label} in {video.video_id}",
                (Piece(video.video_id, path, start_s, end_s, (event,)),),
            )


def _joined(
    video: VideoResult, path: Path, events: Iterable[Detection], options: ClipOptions
) -> Iterator[Piece]:
    """The pieces of a reel: no moment of a video is in it twice."""
    ranges = [(_range(video, event, options), event) for event in events]
    for start_s, end_s in joined(each for each, _ in ranges):
        inside = (event for each, event in ranges if start_s <= each[0] and each[1] <= end_s)
        yield Piece(video.video_id, path, start_s, end_s, tuple(inside))


def _range(video: VideoResult, event: Detection, options: ClipOptions) -> tuple[float, float]:
    start_s, end_s = max(0.0, event.start_s - options.lead_s), event.end_s + options.lag_s
    if start_s >= end_s:
        raise UsageError(
            f"{video.video_id}: {event.label} at {event.start_s:g} s is a point without a length; "
            "give seconds around it: --lead 2 --lag 2"
        )
    return start_s, end_s


# ------------------------------------------------------------------------------- names of files


class _Number:
    """A number with the format that it has where the name gives none."""

    def __init__(self, value: float, default: str):
        self._value, self._default = value, default

    def __format__(self, spec: str) -> str:
        return format(self._value, spec or self._default)


def _check_template(template: str, reel: Reel | None) -> None:
    fields = _FIELDS[reel]
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise UsageError(f"--name {template}: {error}") from error
    for _, field, spec, conversion in parts:
        if field is None:
            continue
        if field not in fields or conversion or "{" in (spec or ""):
            close = get_close_matches(field, fields, n=1)
            known = " ".join(f"{{{each}}}" for each in fields) or "none for one reel of all"
            hint = f"did you mean {{{close[0]}}}?" if close else f"fields are {known}"
            raise UsageError(f"--name {template}: there is no {{{field}}}; {hint}")
    path = PurePosixPath(template)
    if not template or path.is_absolute() or ".." in path.parts or template.endswith("/"):
        raise UsageError(f"--name {template}: name files inside the folder of the clips")
    texts = dict.fromkeys(_FIELDS[reel], "x")
    numbers = {name: _Number(value, "") for name, value in _NUMBERS.items()}
    sample = {name: numbers.get(name, text) for name, text in texts.items()}
    try:
        string.Formatter().vformat(template, (), sample)
    except (ValueError, TypeError) as error:
        raise UsageError(f"--name {template}: {error}") from error


_NUMBERS = {"number": 1, "start": 0.5, "end": 0.5, "duration": 0.5, "score": 0.5}
"""The fields that are numbers, with one of their kind: only ``number`` is whole."""


def _name(template: str, values: Mapping[str, Any], names: DistinctNames) -> str:
    """Fill in a template; no value can lead out of the folder or make a name too long."""
    safe = {
        name: safe_name(value, _SHARES.get(name, 30)) or "none" if isinstance(value, str) else value
        for name, value in values.items()
    }
    text = string.Formatter().vformat(template.removesuffix(SUFFIX), (), safe)
    *folders, last = (part for part in text.split("/") if part)
    room = MOST_BYTES - len(SUFFIX)
    parts = [safe_name(part, room) or "none" for part in folders]
    stem = shortened(safe_name(last, room), room) or "clip"
    folder = "/".join(parts)
    name = names.unlike_others(stem, SUFFIX, folder)
    return f"{folder}/{name}" if folder else name
