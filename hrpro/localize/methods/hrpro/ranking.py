"""Reliability ranking of proposals: what stage 2 learns from (HR-Pro, section 3.4)."""

from __future__ import annotations

import numpy as np

from hrpro.localize.proposals.generate import SNIPPET_S, Array, Proposals, runs, spans

NONE = -1
"""Index that stands for "no proposal"."""


def reliable_proposals(
    proposals: Proposals, point_video: Array, point_s: Array, point_label: Array
) -> Array:
    """Return, per annotated point, the row of its reliable proposal, or `NONE`; int64 `[N]`.

    Of the proposals of its class that contain the point and have a positive score, the best one;
    first among those that reach to neither neighbouring point of the video, whatever its class.
    If there is none, the neighbours are ignored. Among equal scores the first row is taken.

    Args:
        proposals: the candidates before suppression.
        point_video: video index of each point, int `[N]`.
        point_s: time of each point in seconds, `[N]`.
        point_label: class index of each point, int `[N]`.
    """
    point_video, point_s, point_label = map(np.asarray, (point_video, point_s, point_label))
    previous, following = _neighbours(point_video, point_s)
    # Pair every point with the proposals of its video and class.
    num_labels = 1 + max(proposals.label.max(initial=0), point_label.max(initial=0))
    keys = proposals.video * num_labels + proposals.label
    by_key = np.argsort(keys, kind="stable")
    point_key = point_video * num_labels + point_label
    first = np.searchsorted(keys[by_key], point_key)
    stop = np.searchsorted(keys[by_key], point_key, side="right")
    point, place = spans(stop - first)
    row = by_key[first[point] + place]

    start, end, score = proposals.start_s[row], proposals.end_s[row], proposals.score[row]
    time = point_s[point]
    fits = (start <= time) & (time <= end) & (score > 0)
    alone = (start > previous[point]) & (end < following[point])
    best_last = np.lexsort((-row, score, alone, point))
    best_last = best_last[fits[best_last]]
    reliable = np.full(len(point_s), NONE)
    last = np.flatnonzero(np.diff(point[best_last], append=-1))
    reliable[point[best_last[last]]] = row[best_last[last]]
    return reliable


def _neighbours(video: Array, time: Array) -> tuple[Array, Array]:
    """Return the times of the points before and after each one in its video, infinite if none."""
    order = np.lexsort((time, video))
    same = np.diff(video[order]) == 0
    previous, following = np.full(len(time), -np.inf), np.full(len(time), np.inf)
    previous[order[1:][same]] = time[order[:-1][same]]
    following[order[:-1][same]] = time[order[1:][same]]
    return previous, following


def negative_proposals(background: Array, count: int, rng: np.random.Generator) -> Array:
    """Draw `count` random intervals within runs of pseudo-background snippets.

    A run is drawn uniformly, the start uniformly in it, the end uniformly from there to the last
    snippet of the run; empty intervals are drawn again. A run of one snippet gives that snippet.

    Args:
        background: which snippets of the video are pseudo background, bool `[T]`.
        count: how many intervals; half of the number of proposals in HR-Pro.
        rng: source of the random numbers.

    Returns:
        Starts and ends in snippets, int64 `[count, 2]`; `[0, 2]` without background.
    """
    first, last = runs(np.asarray(background, dtype=bool))
    intervals = np.zeros((count if len(first) else 0, 2), dtype=np.int64)
    empty = np.arange(len(intervals))
    while len(empty):
        run = rng.integers(len(first), size=len(empty))
        start = rng.integers(first[run], last[run] + 1)
        end = rng.integers(start, last[run] + 1)
        end[first[run] == last[run]] += 1
        intervals[empty] = np.stack([start, end], axis=1)
        empty = empty[start == end]
    return intervals


def to_snippets(seconds: Array, snippet_s: float | Array = SNIPPET_S) -> Array:
    """Convert seconds to snippets, rounded to three decimals as in the HR-Pro release."""
    return np.round(np.asarray(seconds) / snippet_s, 3)
