"""``annotations.json``: the intervals, between whatever else the file says.

Entries, keys and annotations that the page knows nothing of stay in it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hrpro.annotations import (
    AMBIGUOUS,
    Action,
    VideoAnnotation,
    annotation_json,
    read_ground_truth,
)
from hrpro.errors import DataError
from hrpro.files import read_json
from hrpro.pipeline.label.label_file import LabelFile, write_durably
from hrpro.pipeline.label.state import INTERVAL, Interval, Labels, Value, Values
from hrpro.video_ids import KnownVideos

MADE_BY = "hrpro label"
"""Said of the entry of a video that was not in the file, so that it goes with its last interval:
an entry without annotations says that nothing happens in a video."""
_KNOWN = {"label", "segment", "subject", "modifiers"}

VideoFacts = Callable[[str], VideoAnnotation]
"""Video id -> its subset, length and frame rate, as far as they are known."""


class AnnotationsFile(LabelFile):
    """The JSON file of start and end marks.

    Args:
        path: of the file.
        videos: those of the dataset; intervals keep the name of a video that is none of them.
        facts: for the entry of a video that is not yet in the file.
    """

    def __init__(self, path: Path, videos: KnownVideos, facts: VideoFacts) -> None:
        super().__init__(path)
        self.videos = videos
        self._facts = facts

    def holds(self, values: Mapping[str, Value | None]) -> bool:
        """See `LabelFile`."""
        return any(name.startswith(INTERVAL) for name in values)

    def difference(self, labels: Labels, source: Path | None = None) -> dict[str, Values]:
        """See `LabelFile`. Intervals that are in both stay the same intervals.

        Raises:
            DataError: the file is wrong, or names a video in a way that several are named.
        """
        path = source or self.path
        read = list(self._read(path))
        missing = Counter(_content(video_id, interval) for video_id, interval in read)
        changes: dict[str, Values] = {}
        for video_id, interval_id, interval in labels.intervals():
            content = _content(video_id, interval)
            if missing[content]:
                missing[content] -= 1
            else:
                changes.setdefault(video_id, {})[INTERVAL + interval_id] = None
        index = 0
        for video_id, interval in read:
            content = _content(video_id, interval)
            if missing[content]:
                missing[content] -= 1
                name = f"{INTERVAL}ip{labels.number + 1}-{index}"
                changes.setdefault(video_id, {})[name] = interval
                index += 1
        return changes

    def _read(self, path: Path) -> Iterator[tuple[str, Interval]]:
        truth = read_ground_truth(path)
        database = read_json(path)["database"]
        names = self._names(path, truth)
        for name, video in truth.items():
            raw = [each for each in database[name].get("annotations") or [] if _is_action(each)]
            for action, about in zip(video.actions, raw, strict=True):
                yield (
                    names[name],
                    Interval(
                        label=action.label,
                        start_s=action.start_s,
                        end_s=action.end_s,
                        source="file",
                        subject=action.subject,
                        modifiers=action.modifiers,
                        more={key: value for key, value in about.items() if key not in _KNOWN},
                    ),
                )

    def _names(self, path: Path, names: Iterable[str]) -> dict[str, str]:
        """Return the video id that every name in the file means."""
        matches = self.videos.match_all(names)
        for match in matches.values():
            if match.problem and match.near is None:
                raise DataError(f"{path}: {match.problem}")
        return {name: match.video_id or name for name, match in matches.items()}

    def _write(self, labels: Labels, video_ids: Iterable[str] | None) -> None:
        content: dict[str, Any] = {"version": "hrpro", "database": {}}
        if not self.is_empty:
            content = read_json(self.path)
        database = content["database"]
        entries = {video_id: name for name, video_id in self._names(self.path, database).items()}
        if video_ids is None:
            video_ids = {*labels.videos, *entries}
        for video_id in sorted(video_ids):
            intervals = labels.video(video_id).intervals.values()
            name = entries.get(video_id, video_id)
            if name not in database and not intervals:
                continue
            entry = database.setdefault(name, _new_entry(self._facts(video_id)))
            others = [each for each in entry.get("annotations") or [] if not _is_action(each)]
            entry["annotations"] = [*map(_annotation, intervals), *others]
            if not entry["annotations"] and entry.get("made_by") == MADE_BY:
                del database[name]
        write_durably(self.path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _new_entry(facts: VideoAnnotation) -> dict[str, Any]:
    known = {"subset": facts.subset, "duration": facts.duration_s, "fps": facts.fps}
    return {
        **{key: value for key, value in known.items() if value is not None},
        "made_by": MADE_BY,
    }


def _is_action(annotation: dict[str, Any]) -> bool:
    return bool(annotation["label"] != AMBIGUOUS)


def _annotation(interval: Interval) -> dict[str, Any]:
    action = Action(
        interval.label,
        interval.start_s,
        interval.end_s,
        subject=interval.subject,
        modifiers=interval.modifiers,
    )
    return {**annotation_json(action), **interval.more}


def _content(video_id: str, interval: Interval) -> str:
    """What the file says of an interval, as something that can be counted."""
    return json.dumps([video_id, _annotation(interval)], sort_keys=True)
