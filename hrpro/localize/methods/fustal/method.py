"""How FuSTAL's generator is trained: one stage, on the classes of each video."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from hrpro.errors import DataError
from hrpro.localize.data.dataset import Dataset
from hrpro.localize.data.sequences import DatasetSequences
from hrpro.localize.methods.base import Earlier, Schedule, Stage
from hrpro.localize.methods.fustal.config import GeneratorConfig
from hrpro.localize.methods.fustal.localizer import GeneratorLocalizer
from hrpro.localize.methods.fustal.losses import generator_losses
from hrpro.localize.proposals.generate import Proposals
from hrpro.localize.sampling.fixed_length import perturbed_indices, take


class GeneratorMethod:
    """FuSTAL's generator, as a `hrpro.localize.methods.base.Method`."""

    num_stages = 1

    def build(
        self, dim: int, num_classes: int, config: GeneratorConfig, num_stages: int
    ) -> GeneratorLocalizer:
        """Return the network, untrained."""
        return GeneratorLocalizer(dim, num_classes, config)

    def stage(
        self,
        number: int,
        localizer: nn.Module,
        dataset: Dataset,
        config: GeneratorConfig,
        device: torch.device,
    ) -> Stage:
        """Return the only stage."""
        assert isinstance(localizer, GeneratorLocalizer)
        return GeneratorStage(localizer, dataset, config, device)

    def earlier_weights(
        self, number: int, config: GeneratorConfig
    ) -> Literal["last", "best-on-test"]:
        """There is no stage that would build on another."""
        return "last"

    def differences(
        self, number: int, earlier: Earlier[GeneratorConfig], config: GeneratorConfig
    ) -> list[str]:
        """There is no stage that would build on another."""
        return []


class GeneratorStage(Stage):
    """Learns from the classes of the training videos.

    Raises:
        DataError: there is but one class, which leaves nothing to tell apart.
    """

    def __init__(
        self,
        localizer: GeneratorLocalizer,
        dataset: Dataset,
        config: GeneratorConfig,
        device: torch.device,
    ) -> None:
        if len(dataset.classes) < 2:
            raise DataError(
                f"{dataset.folder}: FuSTAL learns what tells classes apart, and there is one only; "
                "label moments of it and use --method hrpro"
            )
        self.localizer, self.model, self.config = localizer, localizer.model, config
        self.schedule = Schedule(
            updates=config.updates,
            batch_videos=config.batch_videos,
            eval_every=config.eval_every,
            lr=config.lr,
            weight_decay=config.weight_decay,
        )
        self.num_videos = len(dataset.train)
        self.train = DatasetSequences(dataset, dataset.train, device)
        self.test = DatasetSequences(dataset, dataset.measured, device)
        self.num_snippets = torch.tensor([video.num_snippets for video in dataset.train])
        labels = np.stack([dataset.video_label(video) for video in dataset.train])
        self.labels = torch.from_numpy(labels).to(device)

    def losses(self, videos: Sequence[int]) -> dict[str, Tensor]:
        """Losses of a batch of videos, each sampled anew."""
        random = torch.rand(len(videos), self.config.network.length)
        chosen = perturbed_indices(self.num_snippets[videos], random)
        features, _ = take((self.train[v].features for v in videos), chosen)
        output = self.model(features)
        # What follows from the scores is float32 even under autocast, which refuses their loss.
        with torch.autocast(features.device.type, enabled=False):
            return generator_losses(output, self.labels[videos], self.config.contrast)

    def detect(self) -> Proposals:
        """Detections in the test videos."""
        return self.localizer.localize(self.test)
