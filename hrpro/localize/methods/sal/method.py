"""How SAL is trained: one stage, on the classes of each video."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from hrpro.errors import DataError
from hrpro.localize.data.dataset import Dataset
from hrpro.localize.data.sequences import DatasetSequences
from hrpro.localize.methods.base import Earlier, Schedule, Stage, StageState
from hrpro.localize.methods.sal.config import SalConfig
from hrpro.localize.methods.sal.localizer import SalLocalizer
from hrpro.localize.methods.sal.losses import training_losses
from hrpro.localize.methods.sal.model import SalModel
from hrpro.localize.methods.sal.pseudo_labels import AdaptiveMask
from hrpro.localize.proposals.generate import Proposals
from hrpro.localize.sampling.fixed_length import perturbed_indices, resampled_indices, take

log = logging.getLogger(__name__)


class SalMethod:
    """SAL, as a `hrpro.localize.methods.base.Method`."""

    num_stages = 1

    def build(self, dim: int, num_classes: int, config: SalConfig, num_stages: int) -> SalLocalizer:
        """Return the network, untrained."""
        return SalLocalizer(dim, num_classes, config)

    def stage(
        self,
        number: int,
        localizer: nn.Module,
        dataset: Dataset,
        config: SalConfig,
        device: torch.device,
    ) -> Stage:
        """Return the only stage."""
        assert isinstance(localizer, SalLocalizer)
        return SalStage(localizer, dataset, config, device)

    def earlier_weights(self, number: int, config: SalConfig) -> Literal["last", "best-on-test"]:
        """There is no stage that would build on another."""
        return "last"

    def differences(self, number: int, earlier: Earlier[SalConfig], config: SalConfig) -> list[str]:
        """There is no stage that would build on another."""
        return []


class SalStage(Stage):
    """Learns from the classes of the training videos.

    Raises:
        DataError: there is but one class, which leaves nothing to tell apart.
    """

    model: SalModel

    def __init__(
        self, localizer: SalLocalizer, dataset: Dataset, config: SalConfig, device: torch.device
    ) -> None:
        if len(dataset.classes) < 2:
            raise DataError(
                f"{dataset.folder}: SAL learns what tells classes apart, and there is one only; "
                "label moments of it and use --method hrpro"
            )
        if config.network.rgb_channels is None and has_two_streams(dataset):
            log.warning(
                "the features hold RGB and optical flow; --set localize.network.rgb_channels=%d "
                "lets each have its own actionness",
                dataset.dim // 2,
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
        self.device = device
        self.train = DatasetSequences(dataset, dataset.train, device)
        self.test = DatasetSequences(dataset, dataset.measured, device)
        self.num_snippets = torch.tensor([video.num_snippets for video in dataset.train])
        labels = np.stack([dataset.video_label(video) for video in dataset.train])
        self.labels = torch.from_numpy(labels).to(device)
        self.mask = AdaptiveMask(
            len(dataset.classes), config.losses.momentum, config.losses.mask_width
        ).to(device)

    def losses(self, videos: Sequence[int]) -> dict[str, Tensor]:
        """Losses of a batch of videos, each sampled anew; moves the adaptive mask along."""
        network = self.config.network
        draw = perturbed_indices if network.short_videos == "repeat" else resampled_indices
        chosen = draw(self.num_snippets[videos], torch.rand(len(videos), network.length))
        features, _ = take((self.train[v].features for v in videos), chosen)
        return training_losses(
            self.model, self.mask, features, self.labels[videos], self.config.losses
        )

    def state(self) -> StageState:
        """The moments of the adaptive mask."""
        return StageState(tensors=self.mask.state_dict())

    def load_state(self, state: StageState) -> None:
        """Put them back."""
        self.mask.load_state_dict(state.tensors)

    def detect(self) -> Proposals:
        """Detections in the test videos."""
        return self.localizer.localize(self.test)


def has_two_streams(dataset: Dataset) -> bool:
    """Whether the features are known to hold RGB and optical flow, half and half."""
    return dataset.fingerprint is not None and set(dataset.fingerprint.streams) == {"rgb", "flow"}
