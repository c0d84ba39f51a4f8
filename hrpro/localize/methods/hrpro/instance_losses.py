"""The losses of stage 2 (HR-Pro, section 3.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hrpro.devices import upload
from hrpro.localize.methods.hrpro.instance_model import InstanceConfig, InstanceModel, ProposalBatch
from hrpro.localize.sampling.packing import Packing


@dataclass(frozen=True)
class InstanceTargets:
    """The reliable proposals of a batch of videos, packed, and the classes to match by.

    Attributes:
        reliable: ``[R, 2]`` reliable proposals, in snippets.
        packing: where each video lies among the R.
        labels: ``[M]`` class of each proposal of the batch; only for class-aware matching.
        reliable_labels: ``[R]`` class of each reliable proposal; likewise.
    """

    reliable: Tensor
    packing: Packing
    labels: Tensor | None = None
    reliable_labels: Tensor | None = None

    @classmethod
    def collate(
        cls,
        reliable: Sequence[Tensor],
        labels: Sequence[Tensor] | None = None,
        reliable_labels: Sequence[Tensor] | None = None,
    ) -> InstanceTargets:
        """Pack videos of ``[R, 2]`` reliable proposals each and, if needed, the classes."""
        return cls(
            reliable=torch.cat(list(reliable)).float(),
            packing=Packing.of(reliable),
            labels=None if labels is None else torch.cat(list(labels)),
            reliable_labels=None if reliable_labels is None else torch.cat(list(reliable_labels)),
        )

    def to(self, device: torch.device | str) -> InstanceTargets:
        """The same targets on `device`."""
        labels = (self.labels, self.reliable_labels)
        moved = (None if label is None else upload(label, device) for label in labels)
        return InstanceTargets(upload(self.reliable, device), self.packing.to(device), *moved)


def training_losses(
    model: InstanceModel,
    batch: ProposalBatch,
    targets: InstanceTargets,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """One forward pass over a batch and its losses.

    Args:
        model: stage 2.
        batch: features and proposals of the videos; see `choose_proposals` for their number.
        targets: their reliable proposals.
        generator: draws the negatives; PyTorch's global one by default.

    Returns:
        ``regression, score, total``: scalars, means over the videos.
    """
    config = model.config
    with torch.no_grad():
        regions = batch.regions(batch.proposals, config)
    completeness, refined = model(regions, batch.proposals)
    with torch.autocast(batch.features.device.type, enabled=False):
        return instance_losses(
            completeness, refined, batch.proposals, batch.packing, targets, config, generator
        )


def instance_losses(
    completeness: Tensor,
    refined: Tensor,
    proposals: Tensor,
    packing: Packing,
    targets: InstanceTargets,
    config: InstanceConfig,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Regression loss, score loss and their weighted sum, each the mean over the videos.

    Args:
        completeness: ``[M]`` scores of the proposals.
        refined: ``[M, 2]`` refined proposals.
        proposals: ``[M, 2]`` proposals.
        packing: where each video lies among the M.
        targets: reliable proposals.
        config: weights and thresholds.
        generator: draws the negatives.
    """
    matches = _may_match(packing, targets, config)
    overlap = _best(segment_iou(proposals, targets.reliable), matches)
    positive = overlap >= config.positive_iou

    rows = positive.nonzero().squeeze(1)
    refined_overlap = _best(segment_iou(refined[rows], targets.reliable), matches[rows])
    misfit = F.smooth_l1_loss(refined_overlap, torch.ones_like(refined_overlap), reduction="none")
    regression = _mean_per_video(misfit, packing, rows)

    rows = (positive | _draw_negatives(positive, packing, generator)).nonzero().squeeze(1)
    misjudged = F.smooth_l1_loss(completeness[rows], overlap[rows], reduction="none")
    score = _mean_per_video(misjudged, packing, rows)
    return {
        "regression": regression,
        "score": score,
        "total": config.regression_weight * regression + config.score_weight * score,
    }


def segment_iou(first: Tensor, second: Tensor) -> Tensor:
    """Temporal IoU of ``[M, 2]`` with ``[R, 2]`` segments: ``[M, R]``."""
    start = torch.maximum(first[:, None, 0], second[None, :, 0])
    end = torch.minimum(first[:, None, 1], second[None, :, 1])
    length = (first[:, 1] - first[:, 0])[:, None] + (second[:, 1] - second[:, 0])[None]
    intersection = end - start
    return (intersection / (length - intersection + 1e-6)).clamp(min=0)


def choose_proposals(
    num_proposals: int, maximum: int, generator: torch.Generator | None = None
) -> Tensor:
    """Indices of at most `maximum` of a video's proposals, drawn at random if there are more."""
    if num_proposals <= maximum:
        return torch.arange(num_proposals)
    return torch.randperm(num_proposals, generator=generator)[:maximum]


def _may_match(packing: Packing, targets: InstanceTargets, config: InstanceConfig) -> Tensor:
    """``[M, R]`` bool: same video and, if the config says so, same class."""
    matches = packing.video[:, None] == targets.packing.video[None]
    if config.class_aware_matching:
        if targets.labels is None or targets.reliable_labels is None:
            raise ValueError("class-aware matching needs the classes of the proposals")
        matches &= targets.labels[:, None] == targets.reliable_labels[None]
    return matches


def _best(iou: Tensor, matches: Tensor) -> Tensor:
    """``[M]`` highest IoU among the matches, 0 without any."""
    return F.pad(iou * matches, (0, 1)).max(dim=1).values


def _draw_negatives(
    positive: Tensor, packing: Packing, generator: torch.Generator | None
) -> Tensor:
    """Random ``[M]`` selection of the negatives, on average as many as a video has positives."""
    num_positive = packing.sum(positive.to(torch.float32))
    ratio = (num_positive / (packing.length - num_positive)).clamp(max=1)
    chance = torch.rand(positive.shape, generator=generator, device=positive.device)
    return ~positive & (chance > 1 - ratio[packing.video])


def _mean_per_video(losses: Tensor, packing: Packing, rows: Tensor) -> Tensor:
    """Mean of the `losses` of some rows in each video, 0 where a video has none; then of all."""
    video = packing.video[rows]
    count = torch.bincount(video, minlength=packing.num_videos)
    return (losses / count[video]).sum() / packing.num_videos
