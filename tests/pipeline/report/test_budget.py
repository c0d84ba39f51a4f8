"""The time budget of a report."""

from __future__ import annotations

import pytest

from hrpro.pipeline.report.budget import NUM_BINS, budget_content
from hrpro.pipeline.results.model import Detection, Results, VideoResult

RUNS = tuple(Detection("run", 0.9, start, start + 4) for start in (0, 20, 22))
CLASSES = {"jump": 0, "run": 1}


def test_a_row_per_class_with_what_happens_when():
    video = VideoResult("a", duration_s=40.0, detections=RUNS, events=RUNS)
    content = budget_content(Results((video, VideoResult("b", duration_s=80.0))), CLASSES)
    assert content is not None
    assert (content["longest"], content["num_videos"]) == (80, 2)
    (row,) = content["rows"]
    assert (row["label"], row["count"], row["total"]) == (1, 3, 10)
    assert row["share"] == pytest.approx(10 / 120, abs=1e-6)
    seconds = row["over_time"]
    assert len(seconds) == NUM_BINS
    assert seconds[:3] == [2, 2, 0]  # bins of 2 s
    assert seconds[10:13] == [2, 2, 2]
    assert sum(seconds) == pytest.approx(10)


def test_detections_that_nobody_has_made_events_of_are_not_counted():
    video = VideoResult("a", duration_s=40.0, detections=RUNS)
    assert budget_content(Results((video,), {"name": "hrpro"}), CLASSES) is None
    assert budget_content(Results((video,)), CLASSES) is not None  # of people
    assert budget_content(Results(), CLASSES) is None
