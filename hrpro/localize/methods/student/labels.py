"""Where the labels of an update come from: first the given segments, later the EMA teacher's.

FuSTAL, phases A and B; with point labels, the teacher's segments stay one per point.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from hrpro.localize.data.grid import SnippetGrid
from hrpro.localize.methods.student.batch import Segments
from hrpro.localize.proposals.generate import Proposals


class TeacherConfig(BaseModel):
    """When the EMA model gives the labels, and which. Defaults are FuSTAL's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    first_epochs: int = Field(61, ge=0, description="epochs on the given segments: phase A")
    epochs: int = Field(101, ge=1, description="epochs in all; those after phase A are phase B")
    min_score: float = Field(
        0.4, description="detections of the EMA model above it are labels, else its best one is"
    )
    no_detection: Literal["leave-out-video", "released"] = Field(
        "leave-out-video",
        description="a video without any detection: leave it out; the release drops the batch and "
        "goes back to the given segments for the rest of the epoch",
    )


def teacher_segments(
    detections: Proposals, grid: SnippetGrid, config: TeacherConfig
) -> Segments | None:
    """What the EMA model's detections in one video, in seconds, teach; None without detections."""
    if not len(detections):
        return None
    chosen = detections[detections.score > config.min_score]
    if not len(chosen):
        chosen = detections[np.array([np.argmax(detections.score)])]
    bounds = grid.position_at(np.stack([chosen.start_s, chosen.end_s], axis=1))
    return Segments.of(torch.from_numpy(np.maximum(bounds, 0)), torch.from_numpy(chosen.label))


class LabelSwitch:
    """Chooses the labels of each batch by the epoch.

    Args:
        config: see `TeacherConfig`.
    """

    def __init__(self, config: TeacherConfig) -> None:
        self.config = config
        self._epoch, self._fallen_back = -1, False

    def is_over(self, epoch: int) -> bool:
        """Whether training has ended before `epoch`, counted from 0."""
        return epoch >= self.config.epochs

    def choose(
        self,
        epoch: int,
        given: Sequence[Segments],
        teach: Callable[[], Sequence[Segments | None]],
    ) -> list[Segments | None]:
        """The labels of a batch's videos; None for a video that is to be left out.

        Args:
            epoch: counted from 0.
            given: the given segments of the videos.
            teach: makes those of the EMA model; called only if they are needed.
        """
        if epoch != self._epoch:
            self._epoch, self._fallen_back = epoch, False
        if epoch < self.config.first_epochs or self._fallen_back:
            return list(given)
        taught = list(teach())
        if self.config.no_detection == "released" and any(t is None for t in taught):
            self._fallen_back = True
            return [None] * len(taught)
        return taught
