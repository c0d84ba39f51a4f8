"""FuSTAL's density filter: a proposal is as good a label as others agree with it."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from hrpro.localize.proposals.generate import Array, Proposals

GUARD = 1e-9
"""Added to the union of two proposals, as in the release."""


class DensityConfig(BaseModel):
    """Which proposals of the training videos become labels. Defaults are FuSTAL's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_overlap: float = Field(
        0.2, ge=0, description="sum of the IoUs with the video's other proposals, from which"
    )
    min_score: float = Field(0.4, description="and the score above which a proposal is kept")
    keep_best: bool = Field(
        False,
        description="the best of each class of a video is kept, whatever it overlaps and scores: "
        "else a video whose only proposal has no company teaches that nothing happens in it",
    )


def overlap_sums(proposals: Proposals) -> Array:
    """Sum of each proposal's IoUs with all others of its video, whatever their class, ``[M]``."""
    sums = np.zeros(len(proposals))
    for video in np.unique(proposals.video):
        rows = np.flatnonzero(proposals.video == video)
        start, end = proposals.start_s[rows], proposals.end_s[rows]
        both = np.minimum.outer(end, end) - np.maximum.outer(start, start)
        both = np.maximum(both, 0)
        length = end - start
        iou = both / (np.add.outer(length, length) - both + GUARD)
        np.fill_diagonal(iou, 0)
        sums[rows] = iou.sum(1)
    return sums


def density_filter(proposals: Proposals, config: DensityConfig) -> Proposals:
    """Keep what overlaps enough with other proposals of its video, and scores well enough."""
    kept = (overlap_sums(proposals) >= config.min_overlap) & (proposals.score > config.min_score)
    if config.keep_best:
        kept[proposals.leaders()] = True
    return proposals[kept]
