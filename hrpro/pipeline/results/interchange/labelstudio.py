"""Label Studio (``.labelstudio.json``): a task per video, a ``TimelineLabels`` region per action.

It takes the file as an import, and this module reads its JSON and JSON-MIN exports. The labeling
configuration of the project needs these names, and the frame rate from the task::

    <View>
      <Video name="video" value="$video" frameRate="$fps"/>
      <TimelineLabels name="actions" toName="video">
        <Label value="jump"/> ...
      </TimelineLabels>
    </View>

Label Studio numbers frames from 1 and counts the last one in; one frame alone is a point here.
What a model found becomes predictions, what people marked becomes annotations.

Read are also the ``Labels`` of its template "Video Timeline Segmentation", which lie on the sound
and count in seconds. A region with several labels is an action of each. What other regions say
(choices, texts, boxes) is left out and counted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeGuard

from hrpro.errors import DataError
from hrpro.files import read_json
from hrpro.pipeline.results.formats import Format
from hrpro.pipeline.results.interchange.media import Linked, id_of, ids_of, joined
from hrpro.pipeline.results.interchange.notes import Notes
from hrpro.pipeline.results.interchange.rates import Rates, from_frames, rate_of, to_frames
from hrpro.pipeline.results.interchange.texts import plain
from hrpro.pipeline.results.model import Detection, Results, VideoResult
from hrpro.video_ids import names_video

_HTML_SOURCE = re.compile(r"""<[^<>]*?\ssrc\s*=\s*["']?([^"'\s>]+)""")
_FRAMES, _SECONDS = "timelinelabels", "labels"  # the keys of labels, which tell how times count


def write_labelstudio(results: Results, path: Path) -> None:
    """Write the tasks to import, with the predictions or annotations in them.

    Raises:
        UsageError: the frame rate of a video is unknown.
    """
    tasks = []
    for video in results.videos:
        regions = [_region(video, index) for index in range(len(video.detections))]
        marks: dict[str, Any] = {"result": regions}
        if results.model:
            marks["model_version"] = str(results.model.get("name") or "hrpro")
            scores = [found.score for found in video.detections]
            marks["score"] = min(1.0, max(0.0, max(scores, default=0.0)))
        data = {
            "video": video.path or video.video_id,
            "video_id": video.video_id,
            "fps": float(rate_of(video)),
        }
        key = "predictions" if results.model else "annotations"
        tasks.append({"data": data, key: [marks]})
    path.write_text(json.dumps(tasks, indent=1) + "\n", encoding="utf-8")


def read_labelstudio(path: Path, rates: Rates) -> Results:
    """Read an export, or a file of `write_labelstudio`.

    Raises:
        DataError: unreadable, or not tasks of Label Studio; names file and task.
        UsageError: the frame rate of a video is unknown.
    """
    notes = Notes()
    return from_tasks(path, read_json(path, note=notes.say), rates, notes)


def is_tasks(value: Any) -> bool:
    """Whether a JSON value is a list of tasks, or one task."""
    return isinstance(value, list) or (isinstance(value, dict) and "data" in value)


def from_tasks(path: Path, value: Any, rates: Rates, notes: Notes) -> Results:
    """Read the JSON value of an export; tasks of one video are put together.

    A region that cannot be read costs that region, a task that is no task costs that task: they
    go to the `notes` on the file.

    Raises:
        DataError: nothing could be read; says in which task something is malformed.
        UsageError: the frame rate of a video is unknown.
    """
    tasks = []
    for number, value_of_task in enumerate(value if isinstance(value, list) else [value], start=1):
        try:
            tasks.append(_task(f"task {number}", value_of_task, notes))
        except DataError as error:
            notes.left_out(f"task {number}", error)
    try:
        ids = ids_of(task.link for task in tasks if task.link is not None)
        found = [
            Linked(task.video(ids.get(task.link or "", task.video_id), rates, notes), task.link)
            for task in tasks
        ]
        return notes.results(path, joined(found))
    except DataError as error:
        raise error if str(error).startswith(f"{path}") else DataError(f"{path}: {error}") from None


def _region(video: VideoResult, index: int) -> dict[str, Any]:
    found = video.detections[index]
    start, end = to_frames(found.start_s, found.end_s, rate_of(video))
    return {
        "id": f"hrpro-{index + 1}",
        "from_name": "actions",
        "to_name": "video",
        "type": "timelinelabels",
        "score": found.score,
        "value": {
            "ranges": [{"start": start + 1, "end": end}],
            "timelinelabels": [plain(found.label)],
        },
    }


@dataclass(frozen=True)
class _Task:
    """A video and the regions of the annotation that counts."""

    where: str
    video_id: str
    path: str
    link: str | None
    fps: float | None
    regions: list[tuple[Mapping[str, Any], float]]
    """Value and score of each."""

    def video(self, video_id: str, rates: Rates, notes: Notes) -> VideoResult:
        in_frames = any(_FRAMES in value for value, _ in self.regions)
        rate = rates.of(video_id, self.fps) if in_frames else None
        detections: list[Detection] = []
        for value, score in self.regions:
            try:
                detections += _detections(value, score, rate)
            except DataError as error:
                notes.left_out(self.where, error)
        lengths = [value.get("original_length") for value, _ in self.regions]
        return VideoResult(
            video_id,
            self.path,
            max((float(each) for each in lengths if _is_number(each) and each > 0), default=None),
            float(rate) if rate else self.fps,
            tuple(detections),
        )


def _task(where: str, task: Any, notes: Notes) -> _Task:
    if not isinstance(task, Mapping):
        raise DataError("an object is expected: is this an export of Label Studio?")
    data = task.get("data", task)  # JSON-MIN has the keys of the data in the task itself
    if not isinstance(data, Mapping):
        raise DataError("'data' must be an object")
    link = data.get("video")
    if not isinstance(link, str) or not link or link.lstrip().startswith("<"):
        # The configuration may call it something else; templates of old play it by HTML.
        texts = [text for text in data.values() if isinstance(text, str) and text]
        sources = [source for text in texts for source in _HTML_SOURCE.findall(text)]
        link = next((text for text in (*texts, *sources) if names_video(text)), None)
    if link is None:
        raise DataError("'data' names no video")
    stated = data.get("video_id")
    stated = stated if isinstance(stated, str) and stated else None
    return _Task(
        where,
        stated or id_of(link),
        link,
        None if stated else link,
        _fps(data.get("fps")),
        list(_regions(where, task, notes)),
    )


def _fps(value: Any) -> float | None:
    try:  # imported from a table it is a text
        fps = float(value) if isinstance(value, str) or _is_number(value) else 0.0
    except ValueError:
        return None
    return fps if 0 < fps <= 1000 else None


def _regions(
    where: str, task: Mapping[str, Any], notes: Notes
) -> Iterator[tuple[Mapping[str, Any], float]]:
    """Yield value and score of every region that has labels and times."""
    if "data" not in task:
        for key, member in task.items():
            for each in member if isinstance(member, list) else ():
                if _is_timed(each):
                    yield each, 1.0
                elif isinstance(each, Mapping):
                    notes.left_out(where, f"regions of {key!r} are no labels with times")
        return
    for region in _chosen_marks(where, task, notes):
        value = region.get("value") if isinstance(region, Mapping) else None
        if _is_timed(value):
            score, length = region.get("score"), region.get("original_length")
            timed = value if length is None else {**value, "original_length": length}
            yield timed, score if _is_number(score) else 1.0
        else:
            kind = region.get("type") if isinstance(region, Mapping) else region
            notes.left_out(where, f"regions of the type {kind!r} are no labels with times")


def _chosen_marks(where: str, task: Mapping[str, Any], notes: Notes) -> list[Any]:
    """Return what people marked: the ground truth if one is, else the latest; or predictions."""
    for key in ("annotations", "completions", "predictions"):  # completions: the name of old
        marks = task.get(key) or []
        if not isinstance(marks, list) or not all(isinstance(each, Mapping) for each in marks):
            raise DataError(f"{key!r} must be a list of objects")
        kept = [each for each in marks if not each.get("was_cancelled")]
        if kept:
            chosen = next((each for each in kept if each.get("ground_truth")), kept[-1])
            result = chosen.get("result") or []
            if not isinstance(result, list):
                raise DataError(f"the 'result' in {key!r} must be a list")
            if len(kept) > 1:
                notes.say(f"has {len(kept)} {key}; one of them counts", where)
            return result
    return []


def _is_timed(value: Any) -> TypeGuard[Mapping[str, Any]]:
    """Whether it is the value of a region that has times and labels; labels of texts have none."""
    if not isinstance(value, Mapping):
        return False
    on_sound = _SECONDS in value and {"start", "end"} <= value.keys() and "text" not in value
    return on_sound or {"ranges", _FRAMES} <= value.keys()


def _detections(
    value: Mapping[str, Any], score: float, rate: Fraction | None
) -> Iterator[Detection]:
    """Yield an action for each span and each label of a region."""
    key = _FRAMES if _FRAMES in value else _SECONDS
    labels = value[key]
    if not isinstance(labels, list) or not labels:
        raise DataError(f"{key!r} must hold a label, not {labels!r}")
    spans = [_seconds(value)] if rate is None or key == _SECONDS else _spans(value["ranges"], rate)
    for start_s, end_s in spans:
        for label in dict.fromkeys(map(_text, labels)):
            yield Detection(label, score, start_s, end_s)


def _text(label: Any) -> str:
    if not isinstance(label, str):
        raise DataError(f"the label must be a text, not {label!r}")
    return label


def _seconds(value: Mapping[str, Any]) -> tuple[float, float]:
    start, end = value["start"], value["end"]
    if not (_is_number(start) and _is_number(end)):
        raise DataError(f"start and end must be seconds, not {start!r} and {end!r}")
    return min(start, end), max(start, end)


def _spans(ranges: Any, rate: Fraction) -> list[tuple[float, float]]:
    if not isinstance(ranges, list) or not ranges:
        raise DataError(f"'ranges' must hold a start and an end, not {ranges!r}")
    spans = []
    for each in ranges:
        ends = [each.get("start"), each.get("end")] if isinstance(each, Mapping) else [None]
        frames = [round(frame) for frame in ends if _is_number(frame) and 1 <= frame < 1e9]
        if len(frames) < 2:
            raise DataError(f"start and end must be frames, counted from 1, not {each!r}")
        start, end = sorted(frames)
        spans.append(from_frames(start - 1, end, rate))
    return spans


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15


LABELSTUDIO = Format(write_labelstudio, read_labelstudio, counts_frames=True)
