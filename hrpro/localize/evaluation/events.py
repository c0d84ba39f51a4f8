"""How well events answer what people ask: how many there are, when each begins and ends."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hrpro.localize.evaluation.average_precision import Matching
from hrpro.localize.evaluation.mistakes import FalsePositives, false_positive_breakdown
from hrpro.localize.proposals.generate import temporal_iou


@dataclass(frozen=True)
class Found:
    """How much of something was found."""

    name: str
    """Of a class or a video."""
    num_actions: int
    """Marked by people."""
    num_found: int
    num_false: int
    """False alarms: events that are none of the actions."""
    start_late_s: float | None = None
    """By how much the events start after their actions, median; below 0: early; None: no event."""
    end_late_s: float | None = None

    @property
    def num_wrong(self) -> int:
        """Actions that were missed, and false alarms."""
        return self.num_actions - self.num_found + self.num_false


@dataclass(frozen=True)
class EventQuality:
    """How well events meet the actions that people marked.

    Attributes:
        tiou: overlap from which on an event is an action of its class.
        total: of all classes and videos together.
        classes: of each class, by name.
        videos: of each video, by name.
        mistakes: the kinds of all events.
        confusions: how often an event of the second class stands where the first one is.
    """

    tiou: float
    total: Found
    classes: tuple[Found, ...]
    videos: tuple[Found, ...]
    mistakes: FalsePositives
    confusions: dict[tuple[str, str], int]


def measure_events(events: pd.DataFrame, actions: pd.DataFrame, tiou: float = 0.5) -> EventQuality:
    """Match events with actions, the best score first, each action once.

    Args:
        events: columns video, label, start_s, end_s, score; without overlaps in a class.
        actions: columns video, label, start_s, end_s.
        tiou: overlap from which on an event is an action of its class.

    Raises:
        DataError: a column is missing, a number is not finite, or there are no actions.
    """
    matching = Matching(events, actions, stable_ties=True)
    taken = np.full(len(events), -1)
    taken[matching.row] = matching.match(tiou)
    events = events.assign(right=taken >= 0)
    matched = events[events["right"]].reset_index(drop=True)
    true = actions.iloc[taken[taken >= 0]].reset_index(drop=True)
    late = pd.DataFrame(
        {
            "label": matched["label"],
            "video": matched["video"],
            "start_s": matched["start_s"] - true["start_s"],
            "end_s": matched["end_s"] - true["end_s"],
        }
    )

    def of(column: str) -> tuple[Found, ...]:
        names = sorted({*actions[column], *events[column]})
        return tuple(
            _found(
                name,
                actions[actions[column] == name],
                events[events[column] == name],
                late[late[column] == name],
            )
            for name in names
        )

    return EventQuality(
        tiou,
        _found("all", actions, events, late),
        of("label"),
        of("video"),
        false_positive_breakdown(events, actions, tiou, top=len(events)),
        _confusions(events[~events["right"]], actions, tiou),
    )


def _found(name: str, actions: pd.DataFrame, events: pd.DataFrame, late: pd.DataFrame) -> Found:
    num_right = int(events["right"].sum())
    medians = [float(late[side].median()) if len(late) else None for side in ("start_s", "end_s")]
    return Found(name, len(actions), num_right, len(events) - num_right, *medians)


def _confusions(
    wrong: pd.DataFrame, actions: pd.DataFrame, tiou: float
) -> dict[tuple[str, str], int]:
    pairs = wrong.merge(actions, on="video", suffixes=("", "_true"))
    times = (pairs[name].to_numpy(float) for name in ("start_s", "end_s"))
    true_times = (pairs[f"{name}_true"].to_numpy(float) for name in ("start_s", "end_s"))
    near = temporal_iou(*times, *true_times) >= tiou
    other = (pairs["label"] != pairs["label_true"]).to_numpy(bool)
    pairs = pairs[near & other]
    return dict(Counter(zip(pairs["label_true"], pairs["label"], strict=True)).most_common())
