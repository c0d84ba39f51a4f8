"""Stage 2 of HR-Pro: how complete each proposal is, and better boundaries (section 3.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hrpro.devices import upload
from hrpro.localize.methods.hrpro.config import InstanceConfig
from hrpro.localize.nn.compiling import compilable
from hrpro.localize.nn.dropout import Dropout
from hrpro.localize.nn.roi import region_features
from hrpro.localize.sampling.packing import Packing


@dataclass(frozen=True)
class ProposalBatch:
    """Proposals of several videos with the features they lie in, packed.

    Attributes:
        features: ``[S, D]`` raw snippet features.
        snippets: where each video lies among the S snippets.
        proposals: ``[M, 2]`` start and end, in snippets.
        packing: where each video lies among the M proposals.
    """

    features: Tensor
    snippets: Packing
    proposals: Tensor
    packing: Packing

    @classmethod
    def collate(cls, features: Sequence[Tensor], proposals: Sequence[Tensor]) -> ProposalBatch:
        """Pack videos of ``[T, D]`` features and ``[M, 2]`` proposals each."""
        return cls(
            features=torch.cat(list(features)).float(),
            snippets=Packing.of(features),
            proposals=torch.cat(list(proposals)).float(),
            packing=Packing.of(proposals),
        )

    def to(self, device: torch.device | str) -> ProposalBatch:
        """The same batch on `device`."""
        return ProposalBatch(
            features=upload(self.features, device),
            snippets=self.snippets.to(device),
            proposals=upload(self.proposals, device),
            packing=self.packing.to(device),
        )

    def regions(self, proposals: Tensor, config: InstanceConfig) -> Tensor:
        """``[M, 3, D]`` region features of `proposals`, which belong to the videos as ours do."""
        video = self.packing.video
        return region_features(
            self.features,
            proposals,
            self.snippets.start[video],
            self.snippets.length[video],
            config.extension,
            config.num_bins,
            config.edge_bins,
        )


@dataclass(frozen=True)
class InstancePrediction:
    """What stage 2 says about the M proposals of one video.

    Attributes:
        completeness: ``[M]`` of the proposals as they are.
        refined: ``[M, 2]`` refined start and end, in snippets.
        refined_completeness: ``[M]`` of the refined proposals.
    """

    completeness: Tensor
    refined: Tensor
    refined_completeness: Tensor


class InstanceModel(nn.Module):
    """Stage 2 of HR-Pro: score head and boundary regression on region features.

    Args:
        dim: feature width D.
        config: see `InstanceConfig`.
    """

    def __init__(self, dim: int, config: InstanceConfig | None = None) -> None:
        super().__init__()
        self.config = config or InstanceConfig()
        self.score_head = nn.Sequential(
            nn.Linear(3 * dim, dim),
            nn.ReLU(),
            Dropout(self.config.dropout),
            nn.Linear(dim, dim // 2),
            nn.ReLU(),
            nn.Linear(dim // 2, 1),
        )
        self.start_head = _regression_head(dim)
        self.end_head = _regression_head(dim)

    @compilable(dynamic=True)
    def forward(self, regions: Tensor, proposals: Tensor) -> tuple[Tensor, Tensor]:
        """Score and refine proposals.

        Args:
            regions: ``[M, 3, D]`` features of the start, centre and end region.
            proposals: ``[M, 2]`` start and end, in snippets.

        Returns:
            ``[M]`` completeness and ``[M, 2]`` refined proposals.
        """
        start, _, end = regions.unbind(dim=1)
        offsets = torch.cat([self.start_head(start), self.end_head(end)], dim=1)
        offsets = offsets.to(proposals.dtype) * (proposals[:, 1:] - proposals[:, :1])
        if self.config.offset_sign == "minus":
            offsets = -offsets
        return self.completeness(regions), proposals + offsets

    def completeness(self, regions: Tensor) -> Tensor:
        """``[M, 3, D]`` region features to ``[M]`` completeness."""
        start, centre, end = regions.unbind(dim=1)
        contrast = torch.cat([centre - start, centre, centre - end], dim=1)
        return self.score_head(contrast).squeeze(1).to(regions.dtype).sigmoid()

    @torch.no_grad()
    def predict(
        self, features: Sequence[Tensor], proposals: Sequence[Tensor], chunk_size: int = 4096
    ) -> list[InstancePrediction]:
        """Score, refine and score again the proposals of whole videos, in eval mode.

        Args:
            features: ``[T, D]`` raw features of each video.
            proposals: ``[M, 2]`` proposals of each video, in snippets.
            chunk_size: proposals at a time, which bounds the memory.
        """
        training = self.training
        self.eval()
        device = next(self.parameters()).device
        batch = ProposalBatch.collate(features, proposals).to(device)
        scores, refined, refined_scores = [], [], []
        video = batch.packing.video
        first, length = batch.snippets.start[video], batch.snippets.length[video]
        shape = (self.config.extension, self.config.num_bins, self.config.edge_bins)
        for at in range(0, len(batch.proposals), chunk_size):
            part = slice(at, at + chunk_size)
            boxes = batch.proposals[part]
            begin, size = first[part], length[part]
            score, better = self(region_features(batch.features, boxes, begin, size, *shape), boxes)
            again = self.completeness(region_features(batch.features, better, begin, size, *shape))
            scores.append(score)
            refined.append(better)
            refined_scores.append(again)
        self.train(training)
        empty = batch.proposals.new_empty(0)
        columns = (
            batch.packing.split(torch.cat([empty, *scores])),
            batch.packing.split(torch.cat([empty.view(0, 2), *refined])),
            batch.packing.split(torch.cat([empty, *refined_scores])),
        )
        return [InstancePrediction(*video) for video in zip(*columns, strict=True)]


def _regression_head(dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dim, dim // 2), nn.ReLU(), nn.Linear(dim // 2, 1))
