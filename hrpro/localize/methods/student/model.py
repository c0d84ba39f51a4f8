"""The network of the student: a pyramid with Trident heads (FuSTAL; TriDet, section 3)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hrpro.localize.methods.student.config import StudentConfig
from hrpro.localize.methods.student.recognition import SegmentClassifier
from hrpro.localize.nn.pyramid import ConvStack, Levels, MaskedConv, Pyramid


@dataclass(frozen=True)
class StudentOutput:
    """What the network says about the P points of B videos; all is 0 where padded.

    Attributes:
        levels: where the points lie.
        valid: bool ``[B, P]``, False where padded.
        class_logits: ``[B, P, C]``.
        start_logits: ``[B, P, C]``, that an action of the class starts there.
        end_logits: ``[B, P, C]``.
        offset_logits: ``[B, P, 2, bins + 1]``; left from far to near, right from near to far.
    """

    levels: Levels
    valid: Tensor
    class_logits: Tensor
    start_logits: Tensor
    end_logits: Tensor
    offset_logits: Tensor

    def distances(self, video: Tensor, point: Tensor, label: Tensor) -> Tensor:
        """How far points see the two ends of an action: the Trident head's decoding.

        A distance is the mean over 0..bins, weighted by a softmax of the boundary logits of the
        steps that lie so far away plus the point's own offset logits; beyond a level's ends
        boundary logits count as 0.

        Args:
            video: int64 ``[K]``, index in the batch.
            point: int64 ``[K]``.
            label: int64 ``[K]``, class.

        Returns:
            ``[K, 2]`` distances to start and end, in strides of the point's level.
        """
        distance = torch.arange(self.offset_logits.shape[-1], device=point.device)
        ends = []
        for boundary, offsets, there in (
            (self.start_logits, self.offset_logits[video, point, 0].flip(-1), -distance),
            (self.end_logits, self.offset_logits[video, point, 1], distance),
        ):
            row = point.unsqueeze(1) + there
            first, last = self.levels.first[point, None], self.levels.last[point, None]
            inside = (row >= first) & (row <= last)
            row = row.clamp(0, self.levels.num_points - 1)
            seen = boundary[video.unsqueeze(1), row, label.unsqueeze(1)] * inside
            weights = (seen + offsets).softmax(-1)
            ends.append(weights @ distance.to(weights.dtype))
        return torch.stack(ends, 1)


class Head(nn.Module):
    """Convolutions over every level, with the same weights."""

    def __init__(self, width: int, out: int, num_convs: int, kernel: int) -> None:
        super().__init__()
        self.hidden = ConvStack([width] * (num_convs + 1), kernel)
        self.out = MaskedConv(width, out, kernel, bias=True)

    def forward(self, values: Tensor, mask: Tensor, keep: Tensor) -> Tensor:
        """``[B, rows, width]`` to ``[B, rows, out]``; see `ConvStack`."""
        return self.out(self.hidden(values, mask, keep), mask)


class StudentModel(nn.Module):
    """Class, start, end and offset heads on a pyramid; all levels go through a head at once.

    Args:
        dim: feature width D.
        num_classes: C.
        config: see `StudentConfig`.
    """

    normaliser: Tensor
    """Running count of the positive points of a batch, by which losses are divided."""
    recognition: SegmentClassifier | None
    """Beside the network: what class a whole segment is; None unless the config asks for it."""

    def __init__(self, dim: int, num_classes: int, config: StudentConfig | None = None) -> None:
        super().__init__()
        self.config = config or StudentConfig()
        self.num_classes = num_classes
        heads, width = self.config.heads, self.config.pyramid.width
        self.pyramid = Pyramid(dim, self.config.pyramid)

        def head(out: int) -> Head:
            return Head(width, out, heads.num_convs, heads.kernel)

        self.class_head, self.start_head, self.end_head = (head(num_classes) for _ in range(3))
        self.offset_head = head(2 * (heads.bins + 1))
        self.offset_scale = nn.Parameter(torch.ones(self.config.pyramid.num_levels))
        for classifier in (self.class_head, self.start_head, self.end_head):
            bias = classifier.out.conv.bias
            assert bias is not None
            nn.init.constant_(bias, -math.log((1 - heads.prior) / heads.prior))
        self.register_buffer("normaliser", torch.tensor(self.config.loss.normaliser_start))
        recognition = self.config.recognition
        self.recognition = (
            SegmentClassifier(dim, num_classes, recognition) if recognition.share else None
        )

    def forward(self, features: Tensor, valid: Tensor) -> StudentOutput:
        """Look at padded videos.

        Args:
            features: ``[B, T, D]``.
            valid: bool ``[B, T]``, False where padded.
        """
        points, levels = self.pyramid(features, valid)
        valid = levels.valid(valid)
        # Levels lie end to end, so far apart that no convolution sees two of them.
        gap = self.config.heads.kernel // 2
        rows = levels.spread(points, gap)
        mask = levels.spread(valid.unsqueeze(2).to(points.dtype), gap)
        keep = mask
        if self.config.pyramid.padding == "seen":
            keep = levels.spread(torch.ones_like(mask[:1, : levels.num_points]), gap)
        back = levels.gapped(gap)
        # The boundary heads do not move the pyramid.
        detached = rows.detach()
        class_logits = self.class_head(rows, mask, keep)[:, back]
        start_logits = self.start_head(detached, mask, keep)[:, back]
        end_logits = self.end_head(detached, mask, keep)[:, back]
        scale = self.offset_scale[levels.level].view(1, -1, 1)
        offsets = F.relu(self.offset_head(rows, mask, keep)[:, back] * scale)
        # What follows is float32 even under autocast.
        return StudentOutput(
            levels=levels,
            valid=valid,
            class_logits=class_logits.to(features.dtype),
            start_logits=start_logits.to(features.dtype),
            end_logits=end_logits.to(features.dtype),
            offset_logits=offsets.to(features.dtype).unflatten(2, (2, -1)),
        )
