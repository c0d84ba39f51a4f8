"""Which score makes an event: chosen after a training, class by class, by what people marked.

The candidates are the events without any threshold. Each is judged, right or wrong; a class then
gets the score from which on its F1 is the highest. Where a class has few actions, the curve of all
classes together counts the more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from hrpro.localize.data.dataset import Dataset
from hrpro.localize.evaluation.average_precision import Matching, drop_ambiguous
from hrpro.localize.training.model_folder import EventScores, TrainedModel, save_event_scores
from hrpro.pipeline.detectors.base import MIN_SCORE
from hrpro.pipeline.detectors.of_dataset import detect_in_dataset
from hrpro.pipeline.results.events import EventRules, events_of
from hrpro.pipeline.results.model import Detection, VideoResult

TIOU = 0.5
"""Overlap from which on an event is the marked action."""
ENOUGH = 10
"""With fewer actions in the held-out videos, the training videos are judged instead."""
PRIOR = 10.0
"""All classes together weigh as much as this many actions of a class."""

_EVERY = EventRules(threshold=MIN_SCORE)
"""What scores lower is not reported by default, so it cannot become an event."""


@dataclass(frozen=True)
class Judged:
    """Events of one class, and which of them are right.

    Attributes:
        scores: of the events, ``[N]``.
        right: whether each is one of the actions, ``[N]``.
        num_actions: how many there are to be found.
    """

    scores: np.ndarray
    right: np.ndarray
    num_actions: int


def choose_thresholds(judged: dict[str, Judged]) -> EventRules | None:
    """The score for each class at which its F1 is the highest.

    A class's counts (events, right ones, actions) are added to those of all classes, which are
    scaled to `PRIOR` actions. The threshold lies in the middle between the lowest score that is
    wanted and the next one below.

    Returns:
        None where nothing was right.
    """
    total = Judged(
        np.concatenate([each.scores for each in judged.values()] or [np.zeros(0)]),
        np.concatenate([each.right for each in judged.values()] or [np.zeros(0, bool)]),
        sum(each.num_actions for each in judged.values()),
    )
    if not total.right.any():
        return None
    levels = np.unique(total.scores)[::-1]
    pooled = _counts(total, levels) * (PRIOR / total.num_actions)

    def best(counts: np.ndarray) -> float:
        found, right, actions = counts
        at = int(np.argmax(2 * right / (found + actions)))
        below = levels[at + 1] if at + 1 < len(levels) else MIN_SCORE
        return round(float((levels[at] + below) / 2), 4)

    of_classes = {
        label: best(pooled + _counts(each, levels))
        for label, each in judged.items()
        if each.num_actions
    }
    return EventRules(threshold=best(pooled), thresholds=of_classes)


def _counts(judged: Judged, levels: np.ndarray) -> np.ndarray:
    """Events and right events that score at least each level, and the actions, ``[3, L]``."""
    order = np.argsort(-judged.scores)
    found = np.searchsorted(-judged.scores[order], -levels, side="right")
    right = np.concatenate([[0], np.cumsum(judged.right[order])])[found]
    return np.stack([found, right, np.full(len(levels), judged.num_actions)]).astype(float)


# ------------------------------------------------------------------------- what is right


def judge_by_actions(
    videos: Iterable[VideoResult], actions: pd.DataFrame, ambiguous: pd.DataFrame | None = None
) -> dict[str, Judged]:
    """Right is an event that overlaps an action of its class by `TIOU`, each action once.

    Args:
        videos: with their detections.
        actions: columns video, label, start_s, end_s.
        ambiguous: segments in which events do not count.
    """
    rows = [
        (video.video_id, each.label, each.start_s, each.end_s, each.score)
        for video in videos
        for each in events_of(video.detections, _EVERY)
    ]
    events = pd.DataFrame(rows, columns=["video", "label", "start_s", "end_s", "score"])
    if ambiguous is not None:
        events = drop_ambiguous(events, ambiguous)
    matching = Matching(events, actions, stable_ties=True)
    right = np.zeros(len(events), dtype=bool)
    right[matching.row[matching.match(TIOU) >= 0]] = True
    of_label = dict(zip(matching.classes, matching.num_segments.tolist(), strict=True))
    return _by_class(events["label"], events["score"], right, of_label)


def judge_by_points(
    videos: Iterable[VideoResult], points: Sequence[Sequence[tuple[str, float]]]
) -> dict[str, Judged]:
    """Right is an event with exactly one point of its class in it.

    Args:
        videos: with their detections.
        points: class and time in seconds, for each video.
    """

    def judged() -> Iterator[tuple[Detection, bool]]:
        for video, marked in zip(videos, points, strict=True):
            for event in events_of(video.detections, _EVERY):
                times = [time_s for label, time_s in marked if label == event.label]
                yield event, sum(event.start_s <= time <= event.end_s for time in times) == 1

    return _judged_by_class(judged(), [label for marked in points for label, _ in marked])


def judge_by_labels(
    videos: Iterable[VideoResult], labels: Sequence[Sequence[str]]
) -> dict[str, Judged]:
    """Of each class and video the best event, which is right if the video shows the class.

    Args:
        videos: with their detections.
        labels: the classes that each video shows.
    """

    def judged() -> Iterator[tuple[Detection, bool]]:
        for video, shown in zip(videos, labels, strict=True):
            best: dict[str, Detection] = {}
            for each in video.detections:  # the highest score first
                if each.score >= MIN_SCORE:
                    best.setdefault(each.label, each)
            yield from ((each, label in shown) for label, each in best.items())

    return _judged_by_class(judged(), [label for shown in labels for label in shown])


def _judged_by_class(
    judged: Iterable[tuple[Detection, bool]], actions: Sequence[str]
) -> dict[str, Judged]:
    rows = [(event.label, event.score, right) for event, right in judged]
    table = pd.DataFrame(rows, columns=["label", "score", "right"])
    of_label = {label: actions.count(label) for label in set(actions)}
    return _by_class(table["label"], table["score"], table["right"].to_numpy(bool), of_label)


def _by_class(
    labels: pd.Series, scores: pd.Series, right: np.ndarray, num_actions: dict[str, int]
) -> dict[str, Judged]:
    """Sort judged events by their classes; those without events or actions have none."""
    label, score = labels.to_numpy(object), scores.to_numpy(float)
    return {
        name: Judged(score[label == name], right[label == name], num_actions.get(name, 0))
        for name in sorted({*label, *num_actions})
    }


# ----------------------------------------------------------------------------- of a model


def choose_event_scores(
    model: TrainedModel, data: Dataset, device: torch.device
) -> EventScores | None:
    """Choose the event scores of a model and put them into its folder.

    The held-out videos decide, if they hold enough marked actions; else the training videos.

    Returns:
        The scores; None where not a single event is right.

    Raises:
        HrproError: the folder cannot be written.
    """
    if sum(len(video.actions or ()) for video in data.measured) >= ENOUGH:
        chosen_on = "marks of the held-out videos"
        found = detect_in_dataset(model, data, data.measured, device)
        judged = judge_by_actions(found, data.ground_truth_table("test"), data.ambiguous)
    else:
        needs = model.config.localize.needs
        chosen_on = f"{'marks' if needs == 'full' else needs} of the training videos"
        judged = judge_training_videos(model, data, device)
    rules = choose_thresholds(judged)
    if rules is None:
        return None
    scores = EventScores(
        threshold=rules.threshold, thresholds=rules.thresholds, chosen_on=chosen_on
    )
    save_event_scores(model.folder, scores)
    return scores


def judge_training_videos(
    model: TrainedModel, data: Dataset, device: torch.device
) -> dict[str, Judged]:
    """Judge by what a model was trained with: points, marks or labels of the training videos."""
    found = detect_in_dataset(model, data, data.train, device)
    if model.config.localize.needs == "full":
        return judge_by_actions(found, data.ground_truth_table("train"))
    if model.config.localize.needs == "labels":
        return judge_by_labels(
            found, [[data.classes[index] for index in video.labels] for video in data.train]
        )
    return judge_by_points(
        found,
        [
            [
                (data.classes[point.class_index], video.grid.clock.to_file(point.time_s))
                for point in video.points
            ]
            for video in data.train
        ],
    )
