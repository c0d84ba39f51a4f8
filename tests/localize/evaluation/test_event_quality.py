"""How events meet the actions that people marked: counts, boundaries, mistakes."""

from __future__ import annotations

import pandas as pd
import pytest

from hrpro.localize.evaluation.events import measure_events


def table(*rows, columns=("video", "label", "start_s", "end_s", "score")):
    return pd.DataFrame(rows, columns=columns)


ACTIONS = table(
    ("one", "jump", 1.0, 3.0),
    ("one", "jump", 5.0, 7.0),
    ("one", "run", 8.0, 9.0),
    ("two", "jump", 0.0, 2.0),
    columns=("video", "label", "start_s", "end_s"),
)


def test_every_action_counts_once():
    events = table(
        ("one", "jump", 1.2, 3.4, 0.9),
        ("one", "jump", 5.4, 7.2, 0.8),
        ("one", "jump", 8.0, 9.0, 0.7),  # is a run
        ("two", "jump", 10.0, 11.0, 0.6),  # nothing is there
    )
    quality = measure_events(events, ACTIONS)
    assert (quality.total.num_actions, quality.total.num_found, quality.total.num_false) == (
        4,
        2,
        2,
    )
    jump, run = quality.classes
    assert (jump.name, jump.num_actions, jump.num_found, jump.num_false) == ("jump", 3, 2, 2)
    assert jump.start_late_s == pytest.approx(0.3)
    assert jump.end_late_s == pytest.approx(0.3)
    assert (run.num_found, run.start_late_s, run.num_wrong) == (0, None, 1)
    assert [(each.name, each.num_wrong) for each in quality.videos] == [("one", 2), ("two", 2)]
    assert quality.confusions == {("run", "jump"): 1}
    assert sum(quality.mistakes.counts.values()) == len(events)
    assert quality.mistakes.counts["wrong label"] == 1
    assert quality.mistakes.counts["background"] == 1


def test_the_overlap_can_be_asked_for():
    events = table(("two", "jump", 0.0, 1.0, 0.9))
    assert measure_events(events, ACTIONS, tiou=0.5).total.num_found == 1
    assert measure_events(events, ACTIONS, tiou=0.6).total.num_found == 0


def test_no_events_find_nothing():
    events = table().astype({"start_s": float, "end_s": float, "score": float})
    quality = measure_events(events, ACTIONS)
    assert (quality.total.num_found, quality.total.num_false) == (0, 0)
    assert quality.total.start_late_s is None
    assert quality.confusions == {}
