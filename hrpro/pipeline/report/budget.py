"""How often and for how long, for the report: the time budget, and when each action happens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hrpro.pipeline.results.model import Results, VideoResult
from hrpro.pipeline.stats.budget import time_budget

NUM_BINS = 40
"""Bars of the small plot of each class."""


def budget_content(results: Results, classes: Mapping[str, int]) -> dict[str, Any] | None:
    """The time budget of all videos of a run, as JSON can hold it.

    Args:
        results: their events are measured.
        classes: index of each class on the page.

    Returns:
        A row per class; None where nobody has made events, or there are none: a number of
        overlapping detections says nothing about how often something happens.
    """
    if results.model and any(video.events is None for video in results.videos):
        return None
    longest_s = max((_length_s(video) for video in results.videos), default=0.0)
    if not longest_s:
        return None
    budget = time_budget(results, bin_s=longest_s / NUM_BINS)
    over_time: dict[str, list[float]] = {label: [0.0] * NUM_BINS for label in budget.classes}
    for row in budget.of("bin"):
        number = round((row.bin_start_s or 0.0) / longest_s * NUM_BINS)
        over_time[row.label][min(number, NUM_BINS - 1)] += row.total_s
    rows = [
        {
            "label": classes[row.label],
            "count": row.count,
            "rate": row.rate_per_h,
            "total": row.total_s,
            "share": row.share,
            "mean": row.mean_s,
            "median": row.median_s,
            "min": row.min_s,
            "max": row.max_s,
            "over_time": [round(seconds, 3) for seconds in over_time[row.label]],
        }
        for row in budget.of("all")
        if row.label in classes
    ]
    return {"rows": rows, "longest": longest_s, "num_videos": budget.num_videos} if rows else None


def _length_s(video: VideoResult) -> float:
    return video.duration_s or max((span.end_s for span in video.spans), default=0.0)
