"""Accuracy in plain words."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from hrpro.localize.evaluation.events import Found, measure_events
from hrpro.pipeline.console.words import advice, boundaries, headline, quality_lines


def quality(*rows):
    columns = ["video", "label", "start_s", "end_s", "score"]
    actions = pd.DataFrame(
        [("one", "jump", 1, 3), ("one", "run", 5, 7), ("two", "jump", 0, 2)], columns=columns[:4]
    )
    return measure_events(pd.DataFrame(list(rows), columns=columns), actions)


RIGHT = [
    ("one", "jump", 1.4, 3.0, 0.9),
    ("one", "run", 4.8, 7.0, 0.9),
    ("two", "jump", 0.4, 2.0, 0.9),
]


def test_all_found_needs_no_advice():
    found = quality(*RIGHT)
    assert headline(found) == "found 3 of 3 actions, 0 false alarms"
    assert advice(found) == []
    head, jump, run, total = quality_lines(found)
    assert head.startswith("class  actions  found  false alarms")
    assert jump.split(maxsplit=4) == ["jump", "2", "2", "0", "starts 0.4 s late, ends on time"]
    assert run.endswith("starts 0.2 s early, ends on time")
    assert total == "boundaries: what was found starts 0.4 s late, ends on time (median)"


def test_advice_names_class_video_and_mistake():
    told = advice(quality(RIGHT[0], ("one", "jump", 5, 7, 0.8), ("two", "run", 10, 12, 0.8)))
    assert told[0] == "mark more of what is found least: run (0 of 1), jump (1 of 2)"
    assert told[1] == (
        "label next more videos like one (1 missed, 1 false alarm), two (1 missed, 1 false alarm)"
    )
    assert told[2].startswith("most false alarms (1 of 2): ")
    assert told[3] == "most often mixed up: run taken for jump (1x)"


@pytest.mark.parametrize(
    ("start", "end", "text"),
    [
        (None, None, ""),
        (0.04, -0.04, "starts on time, ends on time"),
        (-0.26, 1.0, "starts 0.3 s early, ends 1.0 s late"),
    ],
)
def test_boundaries_in_words(start, end, text):
    one = Found("jump", 1, 1, 0)
    assert boundaries(replace(one, start_late_s=start, end_late_s=end)) == text
