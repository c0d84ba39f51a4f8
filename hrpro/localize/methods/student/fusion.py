"""Test time: what the generator knows about the student's detections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hrpro.localize.methods.student.config import FusionConfig
from hrpro.localize.proposals.generate import Array, Proposals, spans, temporal_iou


@dataclass(frozen=True)
class Opinion:
    """What a generator says about some videos; see `fuse`."""

    config: FusionConfig
    segments: Proposals | None = None
    video_scores: Sequence[Array] | None = None

    def applied(self, student: Proposals) -> Proposals:
        """The student's candidates in the same videos, with the scores that follow."""
        return fuse(student, self.config, self.segments, self.video_scores)


def fuse(
    student: Proposals,
    config: FusionConfig,
    generator: Proposals | None = None,
    video_scores: Sequence[Array] | None = None,
) -> Proposals:
    """Score the student's candidates with the generator's help; before soft-NMS.

    Args:
        student: candidates, in seconds.
        config: what counts how much.
        generator: its detections in the same videos, in seconds; scores of any range, of which
            only their share of the best one of their video counts.
        video_scores: the generator's scores of the classes in each video, ``[C]`` from 0 to 1.

    Returns:
        The candidates with new scores, and maybe the generator's segments behind them.

    Raises:
        ValueError: the config needs what is not given.
    """
    if generator is None and (config.generator_share or config.generator_segments):
        raise ValueError("the fusion needs the generator's detections")
    if video_scores is None and config.gate:
        raise ValueError("the fusion needs the generator's video scores")
    parts = [student]
    if generator is not None:
        generator = generator.replace(score=relative_scores(generator))
        if config.generator_share:
            share = config.generator_share
            support = best_support(student, generator)
            parts = [student.replace(score=student.score ** (1 - share) * support**share)]
        if config.generator_segments:
            parts.append(generator.replace(score=config.generator_segments * generator.score))
    joined = Proposals.concatenate(parts)
    if config.gate and video_scores is not None and len(joined):
        gates = np.stack(list(video_scores))[joined.video, joined.label]
        joined = joined.replace(score=joined.score * np.maximum(gates, 0) ** config.gate)
    return joined


def relative_scores(proposals: Proposals) -> Array:
    """Scores as shares of the best one of their video, from 0 to 1, ``[M]``."""
    if not len(proposals):
        return proposals.score
    best = np.full(proposals.video.max() + 1, -np.inf)
    np.maximum.at(best, proposals.video, proposals.score)
    return np.clip(proposals.score / np.maximum(best[proposals.video], 1e-12), 0, 1)


def best_support(student: Proposals, generator: Proposals) -> Array:
    """The best of score times IoU among the generator's segments of the same class, ``[M]``."""
    num_labels = 1 + max(student.label.max(initial=0), generator.label.max(initial=0))
    keys = generator.video * num_labels + generator.label
    by_key = np.argsort(keys, kind="stable")
    wanted = student.video * num_labels + student.label
    first = np.searchsorted(keys[by_key], wanted)
    stop = np.searchsorted(keys[by_key], wanted, side="right")
    one, place = spans(stop - first)
    two = by_key[first[one] + place]
    iou = temporal_iou(
        student.start_s[one], student.end_s[one], generator.start_s[two], generator.end_s[two]
    )
    support = np.zeros(len(student))
    np.maximum.at(support, one, iou * generator.score[two])
    return support
