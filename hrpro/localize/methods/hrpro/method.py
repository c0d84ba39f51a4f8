"""How HR-Pro is trained: stage 1 on point labels, stage 2 on the proposals of stage 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from hrpro.localize.data.dataset import Dataset, Video
from hrpro.localize.data.sequences import DatasetSequences, in_batches
from hrpro.localize.methods.base import Earlier, Schedule, Stage
from hrpro.localize.methods.hrpro import instance_losses, snippet_losses
from hrpro.localize.methods.hrpro.config import HrproConfig
from hrpro.localize.methods.hrpro.instance_losses import InstanceTargets, choose_proposals
from hrpro.localize.methods.hrpro.instance_model import InstanceModel, ProposalBatch
from hrpro.localize.methods.hrpro.localizer import HrproLocalizer, snippet_boxes
from hrpro.localize.methods.hrpro.pseudo_snippets import select_pseudo_snippets
from hrpro.localize.methods.hrpro.ranking import NONE, negative_proposals, reliable_proposals
from hrpro.localize.methods.hrpro.snippet_model import SnippetModel
from hrpro.localize.nn.precision import autocast
from hrpro.localize.proposals.generate import Array, Proposals
from hrpro.localize.sampling.epochs import EpochBatches, derive_seed
from hrpro.localize.sampling.packing import Packing, VideoBatch


class HrproMethod:
    """HR-Pro, as a `hrpro.localize.methods.base.Method`."""

    num_stages = 2

    def build(
        self, dim: int, num_classes: int, config: HrproConfig, num_stages: int
    ) -> HrproLocalizer:
        """Return both networks, or that of stage 1 alone, untrained."""
        return HrproLocalizer(dim, num_classes, config, num_stages)

    def stage(
        self,
        number: int,
        localizer: nn.Module,
        dataset: Dataset,
        config: HrproConfig,
        device: torch.device,
    ) -> Stage:
        """Return stage 1 (snippets) or 2 (instances)."""
        assert isinstance(localizer, HrproLocalizer)
        stage = SnippetStage if number == 1 else InstanceStage
        return stage(localizer, dataset, config, device)

    def earlier_weights(self, number: int, config: HrproConfig) -> Literal["last", "best-on-test"]:
        """Which weights of stage 1 stage 2 builds on."""
        return config.stage2.stage1_weights

    def differences(
        self, number: int, earlier: Earlier[HrproConfig], config: HrproConfig
    ) -> list[str]:
        """Stage 2 builds on the architecture and the thresholds of stage 1."""
        return [] if earlier.config.snippet == config.snippet else ["localize.snippet"]


class SnippetStage(Stage):
    """Stage 1: snippet-level discrimination (HR-Pro, section 3.2)."""

    model: SnippetModel

    def __init__(
        self,
        localizer: HrproLocalizer,
        dataset: Dataset,
        config: HrproConfig,
        device: torch.device,
    ) -> None:
        self.localizer, self.model, self.config = localizer, localizer.snippets, config
        self.schedule = config.schedule()
        self.train = DatasetSequences(dataset, dataset.train, device)
        self.test = DatasetSequences(dataset, dataset.measured, device)
        self.num_videos = len(dataset.train)
        self.device = device
        self.points = [point_tensor(dataset, video, device) for video in dataset.train]
        self.labels = [
            torch.from_numpy(dataset.video_label(video)).bool().to(device)
            for video in dataset.train
        ]

    def prepare(self) -> None:
        """Fill the memory with the mean features of the point snippets."""
        with autocast(self.device, self.config.precision):
            self.model.initialise_memory(
                self._batch(range(first, first + len(batch)))
                for first, batch in in_batches(self.train)
            )

    def losses(self, videos: Sequence[int]) -> dict[str, Tensor]:
        """Losses of a batch of videos; moves the memory along."""
        return snippet_losses.training_losses(self.model, self._batch(videos))

    def _batch(self, videos: Sequence[int]) -> VideoBatch:
        batch = VideoBatch.collate(
            [self.train[v].features for v in videos],
            [self.points[v] for v in videos],
            [self.labels[v] for v in videos],
        )
        return batch.to(self.device)

    def detect(self) -> Proposals:
        """Detections of stage 1 in the test videos."""
        candidates, _ = self.localizer.snippet_proposals(self.test)
        return self.localizer.suppress(candidates)


@dataclass(frozen=True)
class RankedProposals:
    """What stage 2 learns from in one training video; segments in snippets.

    Attributes:
        proposals: ``[M, 2]`` positive and negative proposals.
        labels: ``[M]`` class of each, -1 for the negatives.
        reliable: ``[R, 2]`` reliable proposals.
        reliable_labels: ``[R]`` class of each.
    """

    proposals: Tensor
    labels: Tensor
    reliable: Tensor
    reliable_labels: Tensor


class InstanceStage(Stage):
    """Stage 2: instance-level completeness (HR-Pro, section 3.4)."""

    model: InstanceModel

    def __init__(
        self,
        localizer: HrproLocalizer,
        dataset: Dataset,
        config: HrproConfig,
        device: torch.device,
    ) -> None:
        assert localizer.instances is not None
        self.localizer, self.model, self.device = localizer, localizer.instances, device
        training, num_videos = config.stage2, len(dataset.train)
        per_epoch = EpochBatches(num_videos, training.batch_videos, config.seed).per_epoch
        self.schedule = Schedule(
            updates=training.epochs * per_epoch,
            batch_videos=training.batch_videos,
            eval_every=training.eval_every * per_epoch,
            lr=training.lr,
            weight_decay=training.weight_decay,
        )
        self.num_videos = num_videos
        self.max_proposals = config.instance.max_proposals
        self.train = DatasetSequences(dataset, dataset.train, device)
        self.test = DatasetSequences(dataset, dataset.measured, device)
        # Stage 1 does not change any more: its proposals are made once.
        rng = np.random.default_rng(derive_seed(config.seed, 2))
        self.ranked = rank_proposals(localizer, dataset, self.train, training.negative_ratio, rng)
        self.candidates, _ = localizer.snippet_proposals(self.test)

    def losses(self, videos: Sequence[int]) -> dict[str, Tensor]:
        """Losses of a batch of videos, on a random choice of their proposals."""
        ranked = [self.ranked[v] for v in videos]
        chosen = [choose_proposals(len(r.proposals), self.max_proposals) for r in ranked]
        batch = ProposalBatch.collate(
            [self.train[v].features for v in videos],
            [r.proposals[rows] for r, rows in zip(ranked, chosen, strict=True)],
        )
        targets = InstanceTargets.collate(
            [r.reliable for r in ranked],
            [r.labels[rows] for r, rows in zip(ranked, chosen, strict=True)],
            [r.reliable_labels for r in ranked],
        )
        return instance_losses.training_losses(
            self.model, batch.to(self.device), targets.to(self.device)
        )

    def detect(self) -> Proposals:
        """Detections of both stages in the test videos."""
        return self.localizer.suppress(self.localizer.refine(self.test, self.candidates))


def rank_proposals(
    localizer: HrproLocalizer,
    dataset: Dataset,
    sequences: DatasetSequences,
    negative_ratio: float,
    rng: np.random.Generator,
) -> list[RankedProposals]:
    """Sort the proposals of the training videos by their reliability (HR-Pro, section 3.3).

    Positive: all candidates of stage 1. Reliable: per point, the best that contains it. Negative:
    random intervals of pseudo background, `negative_ratio` for each positive; drawn once.

    Args:
        localizer: stage 1 is trained.
        dataset: of the points.
        sequences: features of the training videos.
        negative_ratio: negatives per positive.
        rng: draws the negatives.
    """
    videos = dataset.train
    positive, attentions = localizer.snippet_proposals(sequences)
    points = [(v, point) for v, video in enumerate(videos) for point in video.points]
    rows = reliable_proposals(
        positive,
        np.array([v for v, _ in points], dtype=np.int64),
        np.array([point.time_s for _, point in points], dtype=np.float64),
        np.array([point.class_index for _, point in points], dtype=np.int64),
    )
    reliable = positive[np.unique(rows[rows != NONE])]
    boxes = snippet_boxes(sequences, positive)
    reliable_boxes = snippet_boxes(sequences, reliable)
    background = _pseudo_background(localizer, dataset, attentions)

    indices = np.arange(len(videos) + 1)
    bounds = np.searchsorted(positive.video, indices)
    reliable_bounds = np.searchsorted(reliable.video, indices)
    ranked = []
    for v in range(len(videos)):
        part = slice(bounds[v], bounds[v + 1])
        reliable_part = slice(reliable_bounds[v], reliable_bounds[v + 1])
        count = int(negative_ratio * (part.stop - part.start))
        negative = negative_proposals(background[v], count, rng)
        ranked.append(
            RankedProposals(
                torch.from_numpy(np.concatenate([boxes[part], negative])).float(),
                torch.from_numpy(
                    np.concatenate([positive.label[part], np.full(len(negative), NONE)])
                ),
                torch.from_numpy(reliable_boxes[reliable_part]).float(),
                torch.from_numpy(reliable.label[reliable_part]),
            )
        )
    return ranked


def _pseudo_background(
    localizer: HrproLocalizer, dataset: Dataset, attentions: Sequence[Array]
) -> list[Array]:
    """The pseudo-background snippets of the training videos, bool ``[T]`` each."""
    config = localizer.config.snippet
    scores = [1 - torch.from_numpy(attention) for attention in attentions]
    packing = Packing.of(scores)
    pseudo = select_pseudo_snippets(
        torch.cat(scores),
        torch.cat([point_tensor(dataset, v, torch.device("cpu")) for v in dataset.train]),
        packing,
        config.action_threshold,
        config.background_threshold,
    )
    return [background.numpy() for background in packing.split(pseudo.background)]


def point_tensor(dataset: Dataset, video: Video, device: torch.device) -> Tensor:
    """Point labels of a training video, bool ``[T, C]``."""
    return torch.from_numpy(dataset.point_labels(video)).bool().to(device)
