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
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from hrpro.errors import DataError
from hrpro.files import read_json
from hrpro.pipeline.results.formats import Format
from hrpro.pipeline.results.interchange.media import joined, names_video, video_id_of
from hrpro.pipeline.results.interchange.rates import Rates, from_frames, rate_of, to_frames
from hrpro.pipeline.results.interchange.texts import plain
from hrpro.pipeline.results.model import Detection, Results, VideoResult


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
    value = read_json(path)
    try:
        return from_tasks(value, rates)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def is_tasks(value: Any) -> bool:
    """Whether a JSON value is a list of tasks, or one task."""
    return isinstance(value, list) or (isinstance(value, dict) and "data" in value)


def from_tasks(value: Any, rates: Rates) -> Results:
    """Read the JSON value of an export; tasks of one video are put together.

    Raises:
        DataError: something is malformed; says in which task.
        UsageError: the frame rate of a video is unknown.
    """
    tasks = value if isinstance(value, list) else [value]
    videos = []
    for number, task in enumerate(tasks, start=1):
        try:
            videos.append(_video(task, rates))
        except DataError as error:
            raise DataError(f"task {number}: {error}") from error
    return joined(videos)


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


def _video(task: Any, rates: Rates) -> VideoResult:
    if not isinstance(task, Mapping):
        raise DataError("an object is expected: is this an export of Label Studio?")
    data = task.get("data", task)  # JSON-MIN has the keys of the data in the task itself
    if not isinstance(data, Mapping):
        raise DataError("'data' must be an object")
    link = data.get("video")
    if not isinstance(link, str) or not link:  # the configuration may call it something else
        texts = [text for text in data.values() if isinstance(text, str) and text]
        link = next((text for text in texts if names_video(text)), None)
    if link is None:
        raise DataError("'data' names no video")
    video_id = data.get("video_id")
    if not isinstance(video_id, str) or not video_id:
        video_id = video_id_of(link)
    regions = list(_regions(task))
    stated = data.get("fps")
    stated = float(stated) if type(stated) in (int, float) and 0 < stated <= 1000 else None
    rate = rates.of(video_id, stated) if regions else None
    detections = tuple(each for region in regions for each in _detections(*region, rate))
    return VideoResult(video_id, link, fps=float(rate) if rate else stated, detections=detections)


def _regions(task: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], float]]:
    """Yield value and score of every timeline region."""
    if "data" not in task:
        for member in task.values():
            if isinstance(member, list):
                yield from ((each, 1.0) for each in member if _has_ranges(each))
        return
    for region in _chosen_marks(task):
        value = region.get("value") if isinstance(region, Mapping) else None
        if _has_ranges(value):
            score = region.get("score")
            yield value, score if type(score) in (int, float) else 1.0


def _chosen_marks(task: Mapping[str, Any]) -> list[Any]:
    """Return what people marked: the ground truth if one is, else the latest; or predictions."""
    for key in ("annotations", "predictions"):
        marks = task.get(key) or []
        if not isinstance(marks, list) or not all(isinstance(each, Mapping) for each in marks):
            raise DataError(f"{key!r} must be a list of objects")
        kept = [each for each in marks if not each.get("was_cancelled")]
        if kept:
            chosen = next((each for each in kept if each.get("ground_truth")), kept[-1])
            result = chosen.get("result") or []
            if not isinstance(result, list):
                raise DataError(f"the 'result' in {key!r} must be a list")
            return result
    return []


def _has_ranges(value: Any) -> bool:
    return isinstance(value, Mapping) and "ranges" in value and "timelinelabels" in value


def _detections(value: Mapping[str, Any], score: float, rate: Fraction) -> Iterator[Detection]:
    ranges, labels = value["ranges"], value["timelinelabels"]
    if not isinstance(labels, list) or not labels:
        raise DataError(f"'timelinelabels' must hold a label, not {labels!r}")
    if not isinstance(ranges, list) or not ranges:
        raise DataError(f"'ranges' must hold a start and an end, not {ranges!r}")
    for each in ranges:
        frames = [each.get("start"), each.get("end")] if isinstance(each, Mapping) else [None]
        if not all(type(frame) in (int, float) and 1 <= frame < 1e9 for frame in frames):
            raise DataError(f"start and end must be frames, counted from 1, not {each!r}")
        start, end = sorted(map(round, frames))
        yield Detection(labels[0], score, *from_frames(start - 1, end, rate))


LABELSTUDIO = Format(write_labelstudio, read_labelstudio, counts_frames=True)
