"""Ground truth: which action happens when, in the ActivityNet JSON format.

``{"version": ..., "database": {VIDEO: {"subset", "duration" [s], "fps", "annotations":
[{"label", "segment": [start_s, end_s]}]}}}``; an annotation may have a "subject" (who does it) and
"modifiers" (how), which ride along.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hrpro.files import read_json, write_json
from hrpro.problems import Problems
from hrpro.wording import some

AMBIGUOUS = "Ambiguous"
"""The label of segments in which nobody can say what happens (THUMOS14); it is no class."""
FORMAT = 'expected {"database": {VIDEO: {"duration": seconds, "annotations": [...]}}}'


@dataclass(frozen=True)
class Action:
    """One instance of an action; `subject` and `modifiers` say who does it and how."""

    label: str
    start_s: float
    end_s: float
    subject: str | None = field(default=None, kw_only=True)
    modifiers: tuple[str, ...] = field(default=(), kw_only=True)


@dataclass(frozen=True)
class VideoAnnotation:
    """What is known of one video. What a file does not say is None."""

    video_id: str
    subset: str | None = None
    duration_s: float | None = None
    fps: float | None = None
    """Frames per second of the video itself, not of its features."""
    actions: tuple[Action, ...] = ()
    ambiguous: tuple[tuple[float, float], ...] = ()
    """Start and end in seconds of the segments labelled `AMBIGUOUS`, which are no actions."""

    @property
    def labels(self) -> frozenset[str]:
        """The classes that occur in the video."""
        return frozenset(action.label for action in self.actions)

    @property
    def ends_late(self) -> bool:
        """Whether an action ends after the video does, by more than rounding."""
        latest = max((action.end_s for action in self.actions), default=0.0)
        return self.duration_s is not None and latest > self.duration_s + 0.1


def read_ground_truth(
    path: str | Path, problems: Problems | None = None
) -> dict[str, VideoAnnotation]:
    """Read an ActivityNet-style ground truth.

    A video may lack ``subset``, ``duration``, ``fps`` and ``annotations``. Published files hold
    actions that end after their video; they are kept (mAP depends on them) and warned about.

    Args:
        path: the JSON file.
        problems: where to put what is wrong. With it, nothing is raised and the good videos are
            returned; without it, the first problem is raised.

    Raises:
        DataError: the file cannot be read, or an entry is wrong; names file, video and remedy.
    """
    path = Path(path)
    found = problems if problems is not None else Problems()
    told = None if problems is None else lambda what: found.warning(path, what)
    database = _database(path, found, told)
    videos = {
        video_id: annotation
        for video_id, entry in database.items()
        if (annotation := _video(path, video_id, entry, found)) is not None
    }
    if late := sorted(v.video_id for v in videos.values() if v.ends_late):
        found.warning(
            path,
            f"{len(late)} videos have actions that end after the video does ({some(late, 1)})",
            "kept as they are",
        )
    if problems is None:
        found.raise_first()
    return videos


def write_ground_truth(
    path: str | Path, videos: Iterable[VideoAnnotation], version: str = "hrpro"
) -> None:
    """Write ground truth so that `read_ground_truth` and the ActivityNet tools can read it."""
    database: dict[str, Any] = {}
    for video in videos:
        known = {"subset": video.subset, "duration": video.duration_s, "fps": video.fps}
        entry: dict[str, Any] = {key: value for key, value in known.items() if value is not None}
        entry["annotations"] = [annotation_json(action) for action in video.actions]
        entry["annotations"] += [
            {"label": AMBIGUOUS, "segment": list(segment)} for segment in video.ambiguous
        ]
        database[video.video_id] = entry
    write_json(path, {"version": version, "database": database})


def annotation_json(action: Action) -> dict[str, Any]:
    """Return an action as an entry of ``"annotations"``."""
    entry: dict[str, Any] = {"label": action.label, "segment": [action.start_s, action.end_s]}
    if action.subject is not None:
        entry["subject"] = action.subject
    if action.modifiers:
        entry["modifiers"] = list(action.modifiers)
    return entry


def _database(path: Path, problems: Problems, note: Callable[[str], None] | None) -> dict[str, Any]:
    repeated: list[str] = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) < len(pairs):  # JSON readers keep the last of two equal keys, silently
            seen: set[str] = set()
            for key, _ in pairs:
                if key in seen:
                    repeated.append(key)
                seen.add(key)
        return result

    content = read_json(path, unique, note)
    if not isinstance(content, dict) or not isinstance(content.get("database"), dict):
        problems.error(path, "not an ActivityNet-style ground truth", FORMAT)
        return {}
    for name in repeated:
        problems.error(path, f"{name!r} is there twice", "keep one of the two entries")
    return content["database"]


def _video(path: Path, video_id: str, entry: Any, problems: Problems) -> VideoAnnotation | None:
    where = f"{path}: video {video_id!r}"
    if not isinstance(entry, dict):
        problems.error(where, f"an object is expected, found {_kind(entry)}", FORMAT)
        return None
    duration_s = _positive(where, entry, "duration", "seconds", problems)
    fps = _positive(where, entry, "fps", "frames per second", problems)
    subset = entry.get("subset")
    if subset is not None and not isinstance(subset, str):
        problems.error(where, f"'subset' is {_kind(subset)}", "write it as text, or leave it out")
        subset = None
    annotations = entry.get("annotations") or []
    if not isinstance(annotations, list):
        problems.error(where, f"'annotations' is {_kind(annotations)}", "make it a list")
        annotations = []
    marked = [
        action
        for number, annotation in enumerate(annotations, start=1)
        if (action := _action(f"{where}, annotation {number}", annotation, problems)) is not None
    ]
    actions = tuple(action for action in marked if action.label != AMBIGUOUS)
    ambiguous = tuple((each.start_s, each.end_s) for each in marked if each.label == AMBIGUOUS)
    return VideoAnnotation(video_id, subset, duration_s, fps, actions, ambiguous)


def _action(where: str, annotation: Any, problems: Problems) -> Action | None:
    if not isinstance(annotation, dict):
        problems.error(where, f"an object is expected, found {_kind(annotation)}")
        return None
    label, segment = annotation.get("label"), annotation.get("segment")
    if not isinstance(label, str) or not label:
        problems.error(where, "has no 'label'", "name its class, as text")
        return None
    if not (isinstance(segment, list) and len(segment) == 2 and all(map(_is_number, segment))):
        problems.error(
            where, f"'segment' is {segment!r}", "write [start, end] as two numbers in seconds"
        )
        return None
    start_s, end_s = map(float, segment)
    if start_s < 0 or end_s < start_s:
        problems.error(
            where, f"'segment' {segment} is not in order", "start >= 0 and end > start, in seconds"
        )
        return None
    subject, modifiers = annotation.get("subject"), annotation.get("modifiers") or []
    if not (subject is None or isinstance(subject, str)):
        problems.error(where, f"'subject' is {_kind(subject)}", "write it as text, or leave it out")
        return None
    if not (isinstance(modifiers, list) and all(isinstance(each, str) for each in modifiers)):
        problems.error(where, f"'modifiers' is {modifiers!r}", 'make it a list of texts: ["fast"]')
        return None
    return Action(label, start_s, end_s, subject=subject or None, modifiers=tuple(modifiers))


def _positive(
    where: str, entry: dict[str, Any], key: str, unit: str, problems: Problems
) -> float | None:
    value = entry.get(key)
    if value is None:
        return None
    if not _is_number(value) or value <= 0:
        problems.error(where, f"'{key}' is {value!r}", f"give {unit} as a number above 0")
        return None
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true/false"}
    return "null" if value is None else names.get(type(value), "a number")
