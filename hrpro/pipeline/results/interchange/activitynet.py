"""ActivityNet JSON: detections (``.json``) and ground truth (``annotations.json``)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hrpro.annotations import Action, VideoAnnotation, read_ground_truth, write_ground_truth
from hrpro.errors import DataError
from hrpro.files import read_json
from hrpro.pipeline.results.formats import Format
from hrpro.pipeline.results.interchange.labelstudio import from_tasks, is_tasks
from hrpro.pipeline.results.interchange.notes import Notes
from hrpro.pipeline.results.interchange.rates import Rates
from hrpro.pipeline.results.model import (
    Detection,
    Results,
    VideoResult,
    from_json,
    write_results_json,
)
from hrpro.problems import Problems


def read_any_json(path: Path, rates: Rates) -> Results:
    """Read a JSON file by what is in it: detections, ground truth, or tasks of Label Studio.

    Raises:
        DataError: none of these, or malformed; one line that names the file.
        UsageError: it counts in frames and the rate is unknown.
    """
    notes = Notes()
    value = read_json(path, note=notes.say)
    if isinstance(value, dict) and "database" in value:
        return read_annotations(path)
    if is_tasks(value):
        return from_tasks(path, value, rates, notes)
    try:
        results = from_json(value, notes.left_out)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return replace(notes.results(path, results.videos), model=results.model)


def write_annotations(results: Results, path: Path) -> None:
    """Write ground truth: labels and segments, without scores."""
    write_ground_truth(
        path,
        [
            VideoAnnotation(
                video.video_id,
                duration_s=video.duration_s,
                fps=video.fps,
                actions=tuple(
                    Action(
                        found.label,
                        found.start_s,
                        found.end_s,
                        subject=found.subject,
                        modifiers=found.modifiers,
                    )
                    for found in sorted(video.detections, key=lambda found: found.start_s)
                ),
            )
            for video in results.videos
        ],
    )


def read_annotations(path: Path) -> Results:
    """Read ground truth; every action has the score 1.

    Raises:
        DataError: unreadable or malformed; names file and video.
    """
    problems, notes = Problems(), Notes()
    truth = read_ground_truth(path, problems)
    if not any(video.actions for video in truth.values()):
        problems.raise_first()
    notes.take(problems, path)
    return notes.results(
        path,
        [
            VideoResult(
                video.video_id,
                duration_s=video.duration_s,
                fps=video.fps,
                detections=tuple(
                    Detection(
                        action.label,
                        1.0,
                        action.start_s,
                        action.end_s,
                        subject=action.subject,
                        modifiers=action.modifiers,
                    )
                    for action in video.actions
                ),
            )
            for video in truth.values()
        ],
    )


RESULTS = Format(write_results_json, read_any_json, counts_frames=True, holds_all=True)
ANNOTATIONS = Format(write_annotations, read_annotations, for_detections=False)
