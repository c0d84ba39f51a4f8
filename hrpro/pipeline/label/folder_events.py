"""The verified events of a dataset folder, as results that any format can hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from hrpro.annotations import VideoAnnotation, read_ground_truth
from hrpro.errors import DataError
from hrpro.extract.sources import find_videos, video_ids
from hrpro.localize.data.config import read_dataset_config
from hrpro.localize.data.layout import find_layout
from hrpro.pipeline.label.annotations_file import AnnotationsFile
from hrpro.pipeline.label.journal import read_entries
from hrpro.pipeline.label.label_file import LabelFile
from hrpro.pipeline.label.playable import MediaFacts, look_at
from hrpro.pipeline.label.points_file import PointsFile
from hrpro.pipeline.label.state import Entry, Labels
from hrpro.pipeline.label.store import FOLDER, JOURNAL
from hrpro.pipeline.label.verified import verified_events
from hrpro.pipeline.results.model import Results, VideoResult
from hrpro.video_ids import KnownVideos


def read_verified(folder: str | Path) -> Results:
    """Read the verified events of a dataset folder; nothing is written, a page may be open.

    Raises:
        DataError: nothing is labelled yet, or a file of the dataset is damaged.
        UsageError: ``dataset.yaml`` is wrong.
    """
    folder = Path(folder)
    config = read_dataset_config(folder)
    layout = find_layout(folder, config)
    videos: dict[str, Path] = {}
    if layout.videos.is_dir():
        sources = find_videos([layout.videos])
        ids = video_ids(sources)
        videos = {ids[source.key]: source.path for source in sources}
    known = KnownVideos(videos)
    rates: dict[str, float | None] = {}
    if layout.ground_truth is not None:
        truth = read_ground_truth(layout.ground_truth)
        matches = known.match_all(truth)
        rates = {matches[name].video_id or name: each.fps for name, each in truth.items()}
    labels = Labels()
    for entry in read_entries(folder / FOLDER / JOURNAL):
        labels.apply(entry)
    files: list[LabelFile] = []
    if layout.points is not None:
        files.append(PointsFile(layout.points, lambda v: rates.get(v) or config.fps, known))
    if layout.ground_truth is not None:
        files.append(AnnotationsFile(layout.ground_truth, known, VideoAnnotation))
    for file in files:  # what was written into them by hand since
        changes = {} if file.is_empty else file.difference(labels)
        action: dict[str, object] = {"type": "import"}
        number = labels.number + 1
        labels.apply(Entry(number=number, at="", client="file", action=action, videos=changes))
    results = Results(tuple(event_results(labels, videos, lambda name: look_at(videos[name]))))
    if not results.videos:
        raise DataError(f"{folder}: nothing is labelled yet; do so in: hrpro label {folder}")
    return results


def event_results(
    labels: Labels, videos: Mapping[str, Path], look: Callable[[str], MediaFacts]
) -> Iterator[VideoResult]:
    """Yield the verified events of every video that has some, as its detections.

    Args:
        labels: of the dataset.
        videos: the files by video id.
        look: tells what the file of a video is.
    """
    for video_id, of_video in sorted(labels.videos.items()):
        if events := verified_events(of_video):
            path = videos.get(video_id)
            facts = None if path is None else look(video_id)
            yield VideoResult(
                video_id,
                None if path is None else str(path),
                facts.duration_s if facts else None,
                facts.fps if facts else None,
                events,
            )
