"""Which points of the pyramid learn which segment, for a whole batch at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hrpro.devices import upload
from hrpro.localize.methods.student.config import AssignmentConfig
from hrpro.localize.nn.pyramid import Levels


@dataclass(frozen=True)
class PointTargets:
    """What the P points of B videos learn.

    Attributes:
        classes: ``[B, P, C]`` ones and zeros, the classes of each point; none: background.
        segment: int64 ``[B, P]``, row of the segment that the point learns to bound.
        distances: ``[B, P, 2]`` from the point to its ends in strides; 0 where not positive.
    """

    classes: Tensor
    segment: Tensor
    distances: Tensor

    @property
    def positive(self) -> Tensor:
        """Bool ``[B, P]``: points that learn a segment."""
        return self.classes.any(-1)


def assign(
    levels: Levels,
    segments: Tensor,
    labels: Tensor,
    present: Tensor,
    num_classes: int,
    config: AssignmentConfig,
) -> PointTargets:
    """Give each point the shortest of the segments that it lies in the middle of.

    A point may learn a segment if it lies inside, at most ``center_radius`` strides from its
    centre, and the farther end is within the reach of its level.

    Args:
        levels: the points.
        segments: ``[B, N, 2]`` start and end, in steps.
        labels: int64 ``[B, N]``.
        present: bool ``[B, N]``, False for rows that only fill up.
        num_classes: C.
        config: constants.
    """
    num_points, num_segments = levels.num_points, segments.shape[1]
    if not num_segments:
        shape = (len(segments), num_points)
        return PointTargets(
            segments.new_zeros(*shape, num_classes),
            labels.new_zeros(shape),
            segments.new_zeros(*shape, 2),
        )
    position = levels.position.to(segments.dtype).view(1, -1, 1)
    stride = levels.stride.to(segments.dtype).view(1, -1, 1)
    reaches = torch.tensor(config.reaches(len(levels.lengths)), dtype=segments.dtype)
    reach = upload(reaches, segments.device)[levels.level]
    start, end = segments[:, None, :, 0], segments[:, None, :, 1]
    radius = config.center_radius * stride
    centre = (start + end) / 2
    far = torch.maximum(position - start, end - position)  # [B, P, N]
    fits = (
        (torch.maximum(centre - radius, start) < position)
        & (position < torch.minimum(centre + radius, end))
        & (reach[:, :1] <= far)
        & (far <= reach[:, 1:])
        & present.unsqueeze(1)
    )
    length = torch.where(fits, end - start, float("inf"))
    shortest, segment = length.min(-1)
    same = fits & (length <= shortest.unsqueeze(-1) + config.same_length)
    one_hot = F.one_hot(labels, num_classes).to(segments.dtype)
    classes = (same.to(segments.dtype) @ one_hot).clamp(max=1)
    bounds = segments.gather(1, segment.unsqueeze(-1).expand(-1, -1, 2))
    outward = torch.stack(
        [position[..., 0] - bounds[..., 0], bounds[..., 1] - position[..., 0]], -1
    )
    distances = outward / stride * fits.any(-1, keepdim=True)
    return PointTargets(classes, segment, distances)
