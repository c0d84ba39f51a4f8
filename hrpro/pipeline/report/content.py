"""What a report shows of the results of one run, as JSON can hold it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hrpro.annotations import Action
from hrpro.errors import DataError
from hrpro.localize.evaluation.average_precision import drop_ambiguous, mean_average_precision
from hrpro.pipeline.console.tables import averages
from hrpro.pipeline.console.words import advice, boundaries, headline, rule
from hrpro.pipeline.evaluate import Evaluation, Truth, evaluate_results, results_table
from hrpro.pipeline.render.palette import result_colors
from hrpro.pipeline.render.still import still
from hrpro.pipeline.report.budget import budget_content
from hrpro.pipeline.results.model import Curves, Detection, Results, VideoResult
from hrpro.pipeline.video_files import VideoFiles, link_to

MOST_DETECTIONS = 300
"""Detections of one video in a report; the result file has them all."""
MOST_PICTURES = 200
"""So many videos have a picture on paper; each takes a moment and about 10 kB."""
PER_VIDEO = 8
"""Without ground truth the slider starts where this many detections a video are left."""
EMBEDDED_BYTES = 12_000_000
"""Videos are put into the page as long as they take no more than this together."""
_MEDIA_TYPES = {".mp4": "video/mp4", ".m4v": "video/mp4", ".webm": "video/webm"}


@dataclass(frozen=True)
class Content:
    """The data of a page, and the videos that go into it by the id that the data calls them."""

    data: dict[str, Any]
    media: dict[str, Path]


def run_content(
    name: str,
    results: Results,
    page: Path,
    truth: Truth | None = None,
    videos: Path | None = None,
    embed_bytes: int = EMBEDDED_BYTES,
) -> Content:
    """Everything about one run.

    Args:
        name: of the run, for the heading.
        results: its detections.
        page: where the page goes; links to videos are relative to it.
        truth: ground truth to compare with.
        videos: folder in which the videos are looked for first.
        embed_bytes: put videos into the page up to this size together.
    """
    true_ids = _true_ids(results, truth) if truth is not None else {}
    shown = {
        name: truth.videos[true_id].actions
        for name, true_id in true_ids.items()
        if truth is not None
    }
    classes = _classes(results, shown)
    evaluation = _evaluate(name, results, truth)
    quality = _quality(evaluation, results, truth, true_ids) if evaluation and truth else {}
    media: dict[str, Path] = {}
    footage = VideoFiles(videos)
    rows: list[dict[str, Any]] = []
    for video in results.videos:
        row = _video(video, shown.get(video.video_id), classes)
        row["quality"] = quality.get(true_ids.get(video.video_id, ""))
        source = footage.find(video)
        if source is not None:
            if len(rows) < MOST_PICTURES:
                row["picture"] = still(source, _shown_at_s(video))
            size = source.stat().st_size
            kind = _MEDIA_TYPES.get(source.suffix.lower())
            if kind and size <= embed_bytes:
                embed_bytes -= size
                row["embedded"] = {"id": f"media-{len(media)}", "type": kind}
                media[row["embedded"]["id"]] = source
            else:
                row["link"] = link_to(source, page)
        rows.append(row)
    data = {
        "name": name,
        "model": _model_text(results.model),
        "classes": list(classes),
        "colors": list(map(result_colors(results, classes).get, classes)),
        "videos": rows,
        "has_events": any(video.events is not None for video in results.videos),
        "threshold": _first_threshold(results, sum(map(len, shown.values()))),
        "evaluation": evaluation and _evaluation(evaluation),
        "budget": budget_content(results, classes),
    }
    return Content(data, media)


def _shown_at_s(video: VideoResult) -> float:
    """When a picture of a video is taken: in the middle of its best detection."""
    if not video.detections:
        return (video.duration_s or 0.0) / 2
    best = video.detections[0]
    return (best.start_s + best.end_s) / 2


def _classes(results: Results, shown: Mapping[str, Sequence[Action]]) -> dict[str, int]:
    """Index of every class that occurs, those of the ground truth first, each by name."""
    true = {action.label for actions in shown.values() for action in actions}
    found = {
        each.label
        for video in results.videos
        for each in (*video.detections, *(video.events or ()))
    }
    return {label: index for index, label in enumerate([*sorted(true), *sorted(found - true)])}


def _video(
    video: VideoResult, actions: Sequence[Action] | None, classes: Mapping[str, int]
) -> dict[str, Any]:
    """Times are rounded to the millisecond, which is finer than a frame."""
    kept = video.detections[:MOST_DETECTIONS]
    ends_s = [each.end_s for each in (*kept, *video.spans)] + [each.end_s for each in actions or ()]
    last_s = max(ends_s, default=0.0)
    return {
        "id": video.video_id,
        "duration": video.duration_s or last_s,
        "fps": video.fps,
        "events": None if video.events is None else _rows(video.events, classes),
        "detections": _rows(kept, classes),
        "left_out": len(video.detections) - len(kept),
        "truth": actions
        and [[classes[a.label], round(a.start_s, 3), round(a.end_s, 3)] for a in actions],
        "curves": video.curves and _curves(video.curves, classes),
    }


def _rows(spans: Sequence[Detection], classes: Mapping[str, int]) -> list[list[float]]:
    return [
        [classes[each.label], round(each.score, 4), round(each.start_s, 3), round(each.end_s, 3)]
        for each in spans
    ]


def _curves(curves: Curves, classes: Mapping[str, int]) -> dict[str, Any]:
    return {
        "start": curves.start_s,
        "step": curves.step_s,
        "classes": {
            classes[label]: [round(value, 3) for value in curve]
            for label, curve in curves.classes.items()
            if label in classes
        },
    }


def _true_ids(results: Results, truth: Truth) -> dict[str, str]:
    """What the ground truth calls those videos of the results that it has."""
    matches = truth.matches(video.video_id for video in results.videos)
    return {
        name: match.video_id
        for name, match in matches.items()
        if match.video_id is not None and match.video_id in truth.videos
    }


def _evaluate(name: str, results: Results, truth: Truth | None) -> Evaluation | None:
    """Measure, where there is anything to measure."""
    if truth is None or not any(video.actions for video in truth.videos.values()):
        return None
    try:
        return evaluate_results(name, results, truth)
    except DataError:
        return None  # results of other videos than the ground truth's


def _quality(
    evaluation: Evaluation, results: Results, truth: Truth, true_ids: Mapping[str, str]
) -> dict[str, float]:
    """Average mAP within each video that has ground truth, as if it were the whole data set."""
    found, true = results_table(results.videos), truth.table()
    found = found.assign(video=[true_ids.get(name) for name in found["video"]])
    if truth.ambiguous is not None:
        found = drop_ambiguous(found, truth.ambiguous)
    by_video = dict(iter(found.groupby("video", sort=False)))
    tious = evaluation.precision.tious
    return {
        str(video): mean_average_precision(
            by_video.get(video, found.iloc[:0]), actions, tious
        ).average
        for video, actions in true.groupby("video", sort=False)
    }


def _evaluation(evaluation: Evaluation) -> dict[str, Any]:
    precision, mistakes, events = evaluation.precision, evaluation.mistakes, evaluation.events
    return {
        "words": {
            "headline": headline(events),
            "scores": evaluation.scores_from,
            "rule": rule(events),
            "boundaries": boundaries(events.total),
            "advice": advice(events),
            "classes": [
                [each.name, each.num_actions, each.num_found, each.num_false, boundaries(each)]
                for each in events.classes
            ],
        },
        "tious": list(precision.tious),
        "map": precision.mean.tolist(),
        "averages": averages(precision),
        "classes": [
            {"label": label, "ap": column.tolist()}
            for label, column in zip(precision.classes, precision.per_class.T, strict=True)
        ],
        "mistakes": {"tiou": mistakes.tiou, "counts": mistakes.counts},
        "num_videos": evaluation.num_videos,
        "warnings": list(evaluation.warnings),
    }


def _first_threshold(results: Results, num_actions: int) -> float:
    """The score that leaves about as many detections as there are actions."""
    scores = sorted(
        (each.score for video in results.videos for each in video.detections), reverse=True
    )
    wanted = num_actions or PER_VIDEO * len(results.videos)
    return scores[min(wanted, len(scores)) - 1] if scores else 0.0


def _model_text(model: Mapping[str, Any]) -> str:
    """The model in a few words."""
    name = str(model.get("name", ""))
    parts = [str(model[key]) for key in ("folder", "weights") if model.get(key)]
    return f"{name} ({', '.join(parts)})" if parts else name
