"""BORIS projects (``.boris``): an observation per video, point and state events.

A state event is on from its first time to its second, per subject and modifiers, which are those
of the detection. What overlaps even so goes to further subjects when written, since BORIS cannot
have a state on twice: "overlap 2", "hen (overlap 2)". The score stands in the comment.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from hrpro.errors import DataError
from hrpro.files import read_json
from hrpro.pipeline.results.formats import Format
from hrpro.pipeline.results.interchange.media import (
    Linked,
    joined,
    path_of,
    relative_link,
)
from hrpro.pipeline.results.interchange.notes import Notes
from hrpro.pipeline.results.interchange.rates import exact_rate, to_frame
from hrpro.pipeline.results.interchange.texts import plain
from hrpro.pipeline.results.interchange.tiers import Mark, in_tiers
from hrpro.pipeline.results.model import Detection, Results, VideoResult
from hrpro.video_ids import names_video

FORMAT_VERSION = "7.0"
POINT, STATE = "Point event", "State event"

_KEYS = "123456789abcdefghijklmnopqrstuvwxyz"
_SCORE = re.compile(r"score (-?\d+(?:\.\d+)?(?:e[-+]?\d+)?)")
_VIDEO = "hrpro video: "  # before the video id, which may differ from the name of the file
_OVERLAP = re.compile(r"overlap \d+|(.+) \(overlap \d+\)")
_NO_MODIFIER = "None"  # how BORIS writes that nothing of a set of modifiers was chosen
_PICTURES = "IMAGES"  # the type of an observation of which the events have no times
_PLAYERS = [str(number) for number in range(1, 9)]


def write_boris(results: Results, path: Path) -> None:
    """Write a project: ethogram, one observation per video, its events in order of time.

    A class of which every mark is a point becomes a point event, any other a state event.
    """
    found = [each for video in results.videos for each in video.detections]
    states = {plain(each.label) for each in found if each.end_s > each.start_s}
    labels = sorted({plain(each.label) for each in found})
    modifiers = {label: _modifier_sets(found, label) for label in labels}
    now = datetime.now().isoformat(timespec="seconds")
    observations = {
        plain(video.video_id): _observation(video, states, modifiers, path.parent, now)
        for video in results.videos
    }
    subjects = {event[1] for each in observations.values() for event in each["events"]} - {""}
    project = {
        "time_format": "hh:mm:ss",
        "project_date": now,
        "project_name": "hrpro",
        "project_description": "",
        "project_format_version": FORMAT_VERSION,
        "subjects_conf": {
            str(index): {
                "key": "",
                "name": name,
                "description": "what overlaps in one class" if _OVERLAP.fullmatch(name) else "",
            }
            for index, name in enumerate(sorted(subjects))
        },
        "behaviors_conf": {
            str(index): {
                "type": STATE if label in states else POINT,
                "key": _KEYS[index] if index < len(_KEYS) else "",
                "code": label,
                "description": "",
                "color": "",
                "category": "",
                "modifiers": modifiers[label],
                "excluded": "",
                "coding map": "",
            }
            for index, label in enumerate(labels)
        },
        "behavioral_categories": [],
        "independent_variables": {},
        "coding_map": {},
        "behaviors_coding_map": [],
        "converters": {},
        "observations": observations,
    }
    path.write_text(json.dumps(project, indent=1) + "\n", encoding="utf-8")


def read_boris(path: Path) -> Results:
    """Read the events of every observation; observations of one video are put together.

    Times are those of the video: offsets of the observation and of its player are taken off, and of
    several videos that follow each other in a player each gets its own events. An observation
    without a video (live) has its name. One that cannot be read costs that observation.

    Raises:
        DataError: unreadable, malformed, or nothing could be read; names the observation.
    """
    notes = Notes()
    project = read_json(path, note=notes.say)
    observations = project.get("observations") if isinstance(project, Mapping) else None
    behaviours = project.get("behaviors_conf") if isinstance(project, Mapping) else None
    if not isinstance(observations, Mapping) or not isinstance(behaviours, Mapping):
        raise DataError(f"{path}: not a BORIS project: it has no observations and behaviors_conf")
    states = {
        str(each.get("code"))
        for each in behaviours.values()
        if isinstance(each, Mapping) and str(each.get("type")).startswith(STATE)
    }
    found: list[Linked] = []
    for name, observation in observations.items():
        where = f"observation {name!r}"
        try:
            found += list(_videos(name, observation, states, path.parent, notes))
        except DataError as error:
            events = observation.get("events") if isinstance(observation, Mapping) else None
            lost = len(events) if isinstance(events, list) else 1
            notes.left_out(where, error, lost)
    try:
        videos = joined(found)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return notes.results(path, videos)


# ---------------------------------------------------------------------------------- writing


_ModifierSets = dict[str, dict[str, Any]]


def _modifier_sets(found: Iterable[Detection], label: str) -> _ModifierSets:
    """The ethogram's sets of modifiers of a class: the first of every detection, the second, ..."""
    chosen = [each.modifiers for each in found if plain(each.label) == label]
    return {
        str(index): {
            "name": "",
            "type": 0,  # one of the set
            "values": sorted({_modifier(each[index]) for each in chosen if index < len(each)}),
        }
        for index in range(max(map(len, chosen), default=0))
    }


def _modifier(text: str) -> str:
    return plain(text).replace("|", "/")  # BORIS parts them by it


def _observation(
    video: VideoResult,
    states: set[str],
    modifiers: Mapping[str, _ModifierSets],
    folder: Path,
    date: str,
) -> dict[str, Any]:
    file = relative_link(plain(video.path), folder) if video.path else plain(video.video_id)
    about: dict[str, Any] = {
        "length": {} if video.duration_s is None else {file: video.duration_s},
        "fps": {} if video.fps is None else {file: video.fps},
        "hasVideo": {file: True},
        "hasAudio": {file: False},
        "offset": {"1": 0.0},
    }
    return {
        "file": {player: [file] if player == "1" else [] for player in _PLAYERS},
        "type": "MEDIA",
        "date": date,
        "description": _VIDEO + plain(video.video_id),
        "time offset": 0.0,
        "events": sorted(_events(video, states, modifiers), key=lambda event: event[0]),
        "observation time interval": [0, 0],
        "independent_variables": {},
        "visualize_spectrogram": False,
        "visualize_waveform": False,
        "close_behaviors_between_videos": False,
        "scan_sampling_time": 0,
        "media_info": about,
    }


def _events(
    video: VideoResult, states: set[str], modifiers: Mapping[str, _ModifierSets]
) -> Iterator[list[Any]]:
    """Yield [time, subject, code, modifier, comment, frame] of every event."""
    rate = exact_rate(video.fps) if video.fps else None
    paired: dict[tuple[str, str], list[Mark[float]]] = {}
    for each in video.detections:
        subject = "" if each.subject is None else plain(each.subject)
        chosen = list(map(_modifier, each.modifiers))
        chosen += [_NO_MODIFIER] * (len(modifiers[plain(each.label)]) - len(chosen))
        mark = Mark(_time(each.start_s), _time(each.end_s), each)
        paired.setdefault((subject, "|".join(chosen)), []).append(mark)
    for (subject, modifier), marks in paired.items():
        rows: dict[str, int] = {}
        for tier in in_tiers(marks).values():
            label = plain(tier[0].detection.label)
            row = rows[label] = rows.get(label, 0) + 1
            who = subject if row == 1 else f"overlap {row}"
            if row > 1 and subject:
                who = f"{subject} ({who})"
            for mark in tier:
                comment = "" if mark.detection.score == 1 else f"score {mark.detection.score!r}"
                times = (mark.start, mark.end) if label in states else (mark.start,)
                for time_s in times:
                    frame = to_frame(time_s, rate) if rate else "NA"
                    yield [time_s, who, label, modifier, comment, frame]


def _time(time_s: float) -> float:
    return round(max(0.0, time_s), 3)  # BORIS rounds to milliseconds


# ---------------------------------------------------------------------------------- reading


def _videos(
    name: str, observation: Any, states: set[str], folder: Path, notes: Notes
) -> Iterator[Linked]:
    if not isinstance(observation, Mapping):
        raise DataError("an object is expected")
    if observation.get("type") == _PICTURES:
        raise DataError("of pictures, not of a video")
    where = f"observation {name!r}"
    about_video = str(observation.get("description") or "")
    stated = about_video.removeprefix(_VIDEO) if about_video.startswith(_VIDEO) else None
    player, files = _played(observation, where, notes)
    about = observation.get("media_info")
    about = about if isinstance(about, Mapping) else {}
    offset_s = _number(observation.get("time offset") or 0.0, "time offset")
    if observation.get("media_creation_date_as_offset"):
        offset_s += _of(about, "media_creation_time", files[0] if files else "") or 0.0
    if delay_s := _of(about, "offset", player):
        offset_s += delay_s
        notes.say(f"its video starts {delay_s:g} s late (media offset); taken off", where)
    actions = list(_actions(observation.get("events"), states, where, notes))
    if not files and actions:
        notes.say("of no video; its name stands for one", where)
    for index, file in enumerate(files or [None]):
        length_s = _of(about, "length", file)
        is_last = index >= len(files) - 1
        if not is_last and length_s is None:
            raise DataError(f"the length of {file} is unknown, and other videos follow it")
        # An action belongs to the video in which it starts; the last has whatever remains.
        ours = [
            each
            for each in actions
            if is_last or length_s is None or each.start_s < offset_s + length_s
        ]
        actions = actions[len(ours) :]
        video = VideoResult(
            stated or name,
            None if file is None else path_of(file, folder),
            length_s,
            _of(about, "fps", file),
            tuple(
                replace(each, start_s=each.start_s - offset_s, end_s=each.end_s - offset_s)
                for each in ours
            ),
        )
        yield Linked(video, None if stated else file)
        offset_s += length_s or 0.0


def _played(observation: Mapping[str, Any], where: str, notes: Notes) -> tuple[str, list[str]]:
    """Return the first player that shows videos, and the files that follow each other in it."""
    players = observation.get("file") or {}
    if not isinstance(players, Mapping):
        return "1", []
    for player in players:
        files = players[player] or []
        if not isinstance(files, list) or not all(isinstance(file, str) and file for file in files):
            raise DataError(f"the files of player {player} must be a list of names")
    used = [player for player in players if players[player]]
    shown = [player for player in used if any(map(names_video, players[player]))]
    first = next(iter(shown or used), "1")
    if len(shown) > 1:
        notes.say(f"plays {len(shown)} videos side by side; read for player {first}", where)
    return first, players.get(first) or []


def _actions(events: Any, states: set[str], where: str, notes: Notes) -> list[Detection]:
    """Pair the events of states; return actions in order of their start."""
    if not isinstance(events, list):
        raise DataError("'events' must be a list")
    rows = []
    for number, event in enumerate(events, start=1):
        try:
            rows.append(_event(number, event))
        except DataError as error:
            if not isinstance(event, list) or len(event) < 3 or str(event[2]) in states:
                raise  # the states after it cannot be paired
            notes.left_out(where, error)
    actions = [
        _detection(who, score, time_s, time_s)
        for who, time_s, score in rows
        if who[1] not in states
    ]
    pending = sorted((row for row in rows if row[0][1] in states), key=lambda row: row[:2])
    for who, group in groupby(pending, key=lambda row: row[0]):
        actions += _pairs(who, list(group))
    return sorted(actions, key=lambda action: action.start_s)


_Who = tuple[str, str, str]
"""Subject, code and modifier of an event."""


def _pairs(who: _Who, rows: list[tuple[_Who, float, float]]) -> Iterable[Detection]:
    if len(rows) % 2:
        whose = f" of {who[0]}" if who[0] else ""
        raise DataError(
            f"the state {who[1]!r}{whose} at {rows[-1][1]:g} s has no end; "
            "BORIS adds it with Observations > Fix unpaired events"
        )
    for start, end in zip(rows[::2], rows[1::2], strict=True):
        yield _detection(who, start[2], start[1], end[1])


def _detection(who: _Who, score: float, start_s: float, end_s: float) -> Detection:
    subject, code, modifier = who
    overlap = _OVERLAP.fullmatch(subject)
    chosen = tuple(each for each in modifier.split("|") if each not in ("", _NO_MODIFIER))
    return Detection(
        code,
        score,
        start_s,
        end_s,
        subject=(overlap[1] if overlap else subject) or None,
        modifiers=chosen,
    )


def _event(number: int, event: Any) -> tuple[_Who, float, float]:
    """Return who, what and with which modifier; the time in seconds; the score."""
    if not isinstance(event, list) or len(event) < 3:
        raise DataError(f"event {number} must be [time, subject, code, ...]")
    time_s = _number(event[0], f"time of event {number}")
    subject, code, modifier, comment = (str(part or "") for part in [*event[1:5], "", ""][:4])
    if not code:
        raise DataError(f"event {number} has no code")
    score = _SCORE.fullmatch(comment)
    return (subject, code, modifier), time_s, float(score[1]) if score else 1.0


def _of(about: Mapping[str, Any], key: str, file: str | None) -> float | None:
    values = about.get(key)
    value = values.get(file) if isinstance(values, Mapping) else None
    return None if value in (None, "") else _number(value, f"{key} of {file}")


def _number(value: Any, name: str) -> float:
    """Return a number; BORIS writes some as text."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"the {name} is {value!r}, not a number")
    return number


BORIS = Format(write_boris, read_boris)
