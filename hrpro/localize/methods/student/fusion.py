"""Test time: what the generator knows about the student's detections."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from hrpro.localize.methods.student.config import FusionConfig
from hrpro.localize.methods.student.pseudo import Signal
from hrpro.localize.proposals.generate import Array, Proposals, spans, temporal_iou

OUTER_MARGIN = 0.25
"""Width of what is around a segment, on each side, in its lengths; HR-Pro's."""
LEAST_CONTRAST = 1e-4
"""Of a segment that does not stand out; so small ones still come in the student's order."""

AGREEING_IOU = 0.7
"""From which a segment of the generator is taken for the same action as the student's."""
PAIRS_AT_ONCE = 1 << 20
"""Of segments of the student and of the generator, that are compared."""


@dataclass(frozen=True)
class Opinion:
    """What a generator says about some videos; see `fuse`."""

    config: FusionConfig
    segments: Proposals | None = None
    video_scores: Sequence[Array] | None = None
    signals: Sequence[Signal] | None = None

    def applied(self, student: Proposals) -> Proposals:
        """The student's candidates in the same videos, with the scores that follow."""
        return fuse(student, self.config, self.segments, self.video_scores, self.signals)


def fuse(
    student: Proposals,
    config: FusionConfig,
    generator: Proposals | None = None,
    video_scores: Sequence[Array] | None = None,
    signals: Sequence[Signal] | None = None,
) -> Proposals:
    """Score the student's candidates with the generator's help; before soft-NMS.

    Args:
        student: candidates, in seconds.
        config: what counts how much.
        generator: its detections in the same videos, in seconds; scores of any range, of which
            only their share of the best one of their video counts.
        video_scores: the generator's scores of the classes in each video, ``[C]`` from 0 to 1.
        signals: the generator's activations in each video.

    Returns:
        The candidates with new scores, and maybe the generator's segments behind them.

    Raises:
        ValueError: the config needs what is not given.
    """
    if generator is None and config.needs_segments:
        raise ValueError("the fusion needs the generator's detections")
    if video_scores is None and config.gate:
        raise ValueError("the fusion needs the generator's video scores")
    if signals is None and config.contrast:
        raise ValueError("the fusion needs the generator's activations")
    if config.contrast and signals is not None:
        contrast = np.maximum(outer_inner_contrast(student, signals), LEAST_CONTRAST)
        score = student.score ** (1 - config.contrast) * contrast**config.contrast
        student = student.replace(score=score)
    parts = [student]
    if generator is not None:
        generator = generator.replace(score=relative_scores(generator))
        if config.generator_share:
            share = config.generator_share
            support = best_support(student, generator)
            student = student.replace(score=student.score ** (1 - share) * support**share)
        parts = [drawn_together(student, generator, config.generator_ends)]
        if config.generator_segments:
            parts.append(generator.replace(score=config.generator_segments * generator.score))
    joined = Proposals.concatenate(parts)
    if config.gate and video_scores is not None and len(joined):
        gates = np.stack(list(video_scores))[joined.video, joined.label]
        joined = joined.replace(score=joined.score * np.maximum(gates, 0) ** config.gate)
    return joined


def outer_inner_contrast(segments: Proposals, signals: Sequence[Signal]) -> Array:
    """How much higher the activation of its class is inside a segment than around it, ``[M]``.

    Args:
        segments: in seconds.
        signals: the activations in each video, at equal distances in time.
    """
    contrast = np.zeros(len(segments))
    margin = OUTER_MARGIN * (segments.end_s - segments.start_s)
    ends = np.stack(
        [segments.start_s - margin, segments.start_s, segments.end_s, segments.end_s + margin]
    )
    for video in np.unique(segments.video):
        rows, signal = np.flatnonzero(segments.video == video), signals[video]
        # An activation holds for its snippet; its integral is linear in between.
        step = np.diff(signal.time[:2]).sum() or 1.0
        position = ((ends[:, rows] - signal.time[0]) / step + 0.5).clip(0, len(signal.time))
        total = np.pad(np.cumsum(signal.values, axis=0, dtype=np.float64), ((1, 0), (0, 0)))
        low = np.minimum(position.astype(np.int64), len(signal.time) - 1)
        label = segments.label[rows]
        below = total[low, label]
        area = below + (position - low) * (total[low + 1, label] - below)
        inner, around = area[2] - area[1], area[3] - area[0]
        length, whole = position[2] - position[1], position[3] - position[0]
        outer = (around - inner) / np.maximum(whole - length, 1e-9)
        contrast[rows] = inner / np.maximum(length, 1e-9) - outer
    return contrast


def relative_scores(proposals: Proposals) -> Array:
    """Scores as shares of the best one of their video, from 0 to 1, ``[M]``."""
    if not len(proposals):
        return proposals.score
    best = np.full(proposals.video.max() + 1, -np.inf)
    np.maximum.at(best, proposals.video, proposals.score)
    return np.clip(proposals.score / np.maximum(best[proposals.video], 1e-12), 0, 1)


def drawn_together(student: Proposals, generator: Proposals, share: float) -> Proposals:
    """Move the student's segments towards what the generator sees of the same actions.

    Args:
        student: segments to move.
        generator: segments; those of the class that overlap enough make a mean, by their scores.
        share: of that mean in the new ends.
    """
    if not share:
        return student
    total, start, end = np.zeros((3, len(student)))
    for rows, owner, two, iou in _pairs(student, generator):
        weight = (iou >= AGREEING_IOU) * generator.score[two]
        for sums, values in (
            (total, weight),
            (start, weight * generator.start_s[two]),
            (end, weight * generator.end_s[two]),
        ):
            sums[rows] = np.bincount(owner, values, rows.stop - rows.start)
    shares = np.where(total > 0, share, 0.0)
    total = np.maximum(total, 1e-300)
    return student.replace(
        start_s=student.start_s + shares * (start / total - student.start_s),
        end_s=student.end_s + shares * (end / total - student.end_s),
    )


def best_support(student: Proposals, generator: Proposals) -> Array:
    """The best of score times IoU among the generator's segments of the same class, ``[M]``."""
    support = np.zeros(len(student))
    for rows, owner, two, iou in _pairs(student, generator):
        np.maximum.at(support[rows], owner, iou * generator.score[two])
    return support


def _pairs(student: Proposals, generator: Proposals) -> Iterator[tuple[slice, Array, Array, Array]]:
    """Pairs of the same class and video, and their IoU.

    Long videos have more pairs than fit into memory, so they come in blocks.

    Yields:
        Some rows of the student's, and for each of K pairs, which of these it has, the row of the
        generator's, and the IoU, ``[K]`` each.
    """
    num_labels = 1 + max(student.label.max(initial=0), generator.label.max(initial=0))
    keys = generator.video * num_labels + generator.label
    by_key = np.argsort(keys, kind="stable")
    wanted = student.video * num_labels + student.label
    first = np.searchsorted(keys[by_key], wanted)
    count = np.searchsorted(keys[by_key], wanted, side="right") - first
    block = np.cumsum(count) // PAIRS_AT_ONCE
    borders = [0, *(np.flatnonzero(np.diff(block)) + 1).tolist(), len(student)]
    for start, stop in pairwise(borders):
        rows = slice(start, stop)
        owner, place = spans(count[rows])
        two = by_key[first[rows][owner] + place]
        iou = temporal_iou(
            student.start_s[rows][owner],
            student.end_s[rows][owner],
            generator.start_s[two],
            generator.end_s[two],
        )
        yield rows, owner, two, iou
