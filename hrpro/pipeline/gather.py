"""The results behind what a person names: result files, folders of them, dataset folders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from hrpro.errors import UsageError
from hrpro.localize.data.config import DatasetConfig
from hrpro.localize.data.layout import find_layout
from hrpro.pipeline.results.events import EventOptions
from hrpro.pipeline.results.formats import read_results
from hrpro.pipeline.results.model import Results, VideoResult
from hrpro.video_ids import distinct_ids
from hrpro.videos_folder import DATASET_YAML

Tell = Callable[[str], None]


def gather(
    paths: Sequence[Path], tell: Tell | None = None, events: EventOptions | None = None
) -> Results:
    """Read all results behind some paths, as one.

    Of detections that nobody has made events of, they are made, as their model recommends it.

    A folder stands for the .json result files in it and below, as `hrpro watch` leaves them; that
    of a dataset for what people say happens in its videos: its verified events.

    Args:
        paths: files in any format that can be read, folders.
        tell: takes lines on what was left out.
        events: make them otherwise, or leave all detections.

    Returns:
        All videos; of what made them, what the first file says.

    Raises:
        UsageError: nothing is named or there, or two files are about one video.
        DataError: a file cannot be read.
    """
    if not paths:
        raise UsageError("no results given; name result files, folders of them or a dataset folder")
    events = events or EventOptions()
    read = [
        (file, with_events(results, events))
        for path in _each_once(paths)
        for file, results in _read(path, tell)
    ]
    videos = _told_apart([(file, video) for file, results in read for video in results.videos])
    model = next((results.model for _, results in read if results.model), {})
    notes = tuple(note for _, results in read for note in results.notes)
    return Results(tuple(videos), model, notes)


def with_events(results: Results, events: EventOptions) -> Results:
    """Make events of what a model has detected, unless all of it is wanted.

    Args:
        results: those of people stay as they are.
        events: what was asked for.
    """
    if events.events is None and results.model:
        events = replace(events, events=True)
    return events.apply(results)


def is_dataset(folder: Path) -> bool:
    """Whether a folder is that of a dataset."""
    if not folder.is_dir():
        return False
    if (folder / DATASET_YAML).is_file():
        return True
    layout = find_layout(folder, DatasetConfig())
    return layout.ground_truth is not None or layout.points is not None


def _each_once(paths: Sequence[Path]) -> list[Path]:
    """Without those that are named twice."""
    return list({path.resolve(): path for path in reversed(paths)}.values())[::-1]


def _read(path: Path, tell: Tell | None) -> Iterator[tuple[Path, Results]]:
    if not path.is_dir():
        yield path, read_results(path, tell=tell)
    elif is_dataset(path):
        from hrpro.pipeline.label.folder_events import read_verified

        yield path, read_verified(path)
    else:
        files = sorted(file for file in path.rglob("*.json") if _is_visible(file, path))
        if not files:
            raise UsageError(f"{path}: no result files (.json) in this folder")
        for file in files:
            yield file, read_results(file, tell=tell)


def _is_visible(file: Path, folder: Path) -> bool:
    return not any(part.startswith(".") for part in file.relative_to(folder).parts)


def _told_apart(found: Sequence[tuple[Path, VideoResult]]) -> Iterator[VideoResult]:
    """Videos of one name in two folders get the folder; one video in two files is refused."""
    uses = Counter(video.video_id for _, video in found)
    places = [
        video.path if video.path and uses[video.video_id] > 1 else video.video_id
        for _, video in found
    ]
    files: dict[str, Path] = {}
    for (file, video), place in zip(found, places, strict=True):
        if (other := files.setdefault(place, file)) != file:
            raise UsageError(
                f"{other} and {file} are both about {video.video_id}; give one of them, or "
                "compare them with hrpro stats --against"
            )
    ids = distinct_ids(places)
    for (_, video), place in zip(found, places, strict=True):
        yield video if place == video.video_id else replace(video, video_id=ids[place])
