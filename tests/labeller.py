"""What a person does on the label page, without the page."""

from __future__ import annotations

import csv
import json

from hrpro.annotations import VideoAnnotation
from hrpro.pipeline.label.actions import Change, read_request
from hrpro.pipeline.label.annotations_file import AnnotationsFile
from hrpro.pipeline.label.store import LabelStore
from hrpro.pipeline.label.suggestions import VideoSuggestions
from hrpro.video_ids import KnownVideos

SUGGESTED = VideoSuggestions.model_validate(
    {
        "uncertainty": 0.5,
        "detections": [
            {"label": "run", "score": 0.5, "start_s": 10.0, "end_s": 20.0},
            {"label": "jump", "score": 0.9, "start_s": 1.0, "end_s": 3.0},
        ],
    }
)
JUMP, RUN = SUGGESTED.by_id


def action(**values):
    return read_request(json.dumps({"client": "c", "action": values}).encode()).action


class Labeller:
    """A store and what the page does with it, without the page."""

    def __init__(self, folder, frame_rate=lambda video_id: None, was_killed=False):
        (folder / "label").mkdir(exist_ok=True)
        self.folder = folder
        videos = KnownVideos([])
        marks = AnnotationsFile(folder / "annotations.json", videos, VideoAnnotation)
        self.store = LabelStore(folder, frame_rate, was_killed, videos, marks)

    def act(self, video="v", client="c", **values):
        labels = self.store.labels.video(video)
        if values["type"] in ("undo", "redo"):
            edit = labels.to_undo(client) if values["type"] == "undo" else labels.to_redo(client)
            if edit is None:
                return False
            sets = edit.before if values["type"] == "undo" else edit.after
            self.store.commit(client, values, {video: sets}, edit.number)
        else:
            new_id = f"p{self.store.labels.number + 1}"
            sets = Change(labels, SUGGESTED, 100.0, new_id).values(action(**values))
            self.store.commit(client, values, {video: sets})
        return True

    def add(self, time_s=1.0, label="jump", **options):
        self.act(type="add", label=label, time_s=time_s, **options)
        return f"p{self.store.labels.number}"

    def points(self, video="v"):
        return [
            (point_id, point.label, point.time_s)
            for point_id, point in self.store.labels.video(video).points.items()
        ]

    def intervals(self, video="v"):
        return [
            (interval_id, interval.label, interval.start_s, interval.end_s)
            for interval_id, interval in self.store.labels.video(video).intervals.items()
        ]

    def marked(self, video="v"):
        """The annotations of a video, as they are on disk."""
        content = json.loads((self.folder / "annotations.json").read_text())
        return content["database"].get(video, {}).get("annotations")

    def reviews(self, video="v"):
        return self.store.labels.video(video).reviews

    def rows(self):
        with (self.folder / "points.csv").open(newline="") as file:
            return list(csv.reader(file))[1:]

    def again(self, **options):
        self.store.close()
        return Labeller(self.folder, **options)
