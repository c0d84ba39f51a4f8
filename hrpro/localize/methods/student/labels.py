"""Where the labels of an update come from: first the given segments, later the EMA teacher's.

FuSTAL, phases A and B; with point labels, the teacher's segments stay one per point.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from hrpro.localize.data.grid import SnippetGrid
from hrpro.localize.methods.student.batch import Segments
from hrpro.localize.methods.student.config import PseudoConfig, TeacherConfig
from hrpro.localize.methods.student.pseudo import Points, segments_of_points
from hrpro.localize.proposals.generate import Proposals


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


def renewed_segments(
    detections: Proposals, given: Sequence[Segments], config: TeacherConfig, pseudo: PseudoConfig
) -> list[Segments]:
    """The given segments, moved to where the EMA model sees the action of their point label.

    Args:
        detections: of the EMA model in the videos, in steps, before suppression.
        given: segments of each video, in steps; those without a point stay.
        config: which detections count, and how far a segment moves.
        pseudo: how a detection is chosen for a point.
    """
    owner = np.repeat(np.arange(len(given)), [len(segments) for segments in given])
    bounds, time, label = (
        np.concatenate([np.empty(shape), *(getattr(s, name).cpu().numpy() for s in given)])
        for name, shape in (("bounds", (0, 2)), ("points", 0), ("labels", 0))
    )
    rows = np.flatnonzero(np.isfinite(time))
    points = Points(owner[rows], time[rows], label[rows].astype(np.int64))
    if pseudo.choice == "bump":
        pseudo = pseudo.model_copy(update={"choice": "best"})
    chosen = segments_of_points(detections, points, pseudo)
    moves = chosen.found & (np.nan_to_num(chosen.score) > config.min_score)
    target = np.stack([chosen.start, chosen.end], axis=1)[moves]
    bounds[rows[moves]] += config.blend * (target - bounds[rows[moves]])
    return [
        replace(segments, bounds=torch.from_numpy(bounds[owner == video]).to(segments.bounds))
        for video, segments in enumerate(given)
    ]


class LabelSwitch:
    """Chooses the labels of each batch by the epoch.

    Args:
        config: see `TeacherConfig`.

    Attributes:
        epoch: the last one that asked.
        fallen_back: whether that epoch goes on with the given segments, as in the release.
    """

    def __init__(self, config: TeacherConfig) -> None:
        self.config = config
        self.epoch, self.fallen_back = -1, False

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
        if epoch != self.epoch:
            self.epoch, self.fallen_back = epoch, False
        given_only = epoch < self.config.first_epochs or self.config.rule == "never"
        if given_only or self.fallen_back:
            return list(given)
        taught = list(teach())
        if self.config.no_detection == "released" and any(t is None for t in taught):
            self.fallen_back = True
            return [None] * len(taught)
        return taught
