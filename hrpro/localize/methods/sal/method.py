"""How SAL is trained: one stage, on the classes of each video."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch import Tensor

from hrpro.devices import upload
from hrpro.localize.data.dataset import Dataset
from hrpro.localize.methods.base import StageState
from hrpro.localize.methods.sal.config import SalConfig
from hrpro.localize.methods.sal.localizer import SalLocalizer
from hrpro.localize.methods.sal.losses import training_losses
from hrpro.localize.methods.sal.model import SalModel
from hrpro.localize.methods.sal.pseudo_labels import AdaptiveMask
from hrpro.localize.methods.video_labels import VideoLabelMethod, VideoLabelStage
from hrpro.localize.sampling.fixed_length import perturbed_indices, resampled_indices, take

log = logging.getLogger(__name__)


class SalStage(VideoLabelStage):
    """Learns from the classes of the training videos, see `VideoLabelStage`."""

    model: SalModel
    title = "SAL"

    def __init__(
        self, localizer: SalLocalizer, dataset: Dataset, config: SalConfig, device: torch.device
    ) -> None:
        super().__init__(localizer, dataset, config, device)
        if config.network.rgb_channels is None and has_two_streams(dataset):
            log.warning(
                "the features hold RGB and optical flow; --set localize.network.rgb_channels=%d "
                "(with a student: localize.generator.network.rgb_channels) lets each have its own "
                "actionness",
                dataset.dim // 2,
            )
        self.model, self.config = localizer.model, config
        self.mask = AdaptiveMask(
            len(dataset.classes), config.losses.momentum, config.losses.mask_width
        ).to(device)

    def losses(self, videos: Sequence[int]) -> dict[str, Tensor]:
        """Losses of a batch of videos, each sampled anew; moves the adaptive mask along."""
        network = self.config.network
        draw = perturbed_indices if network.short_videos == "repeat" else resampled_indices
        chosen = draw(self.num_snippets[videos], torch.rand(len(videos), network.length))
        features, _ = take((self.train[v].features for v in videos), upload(chosen, self.device))
        labels = self.labels_of(videos)
        return training_losses(self.model, self.mask, features, labels, self.config.losses)

    def state(self) -> StageState:
        """The moments of the adaptive mask."""
        return StageState(tensors=self.mask.state_dict())

    def load_state(self, state: StageState) -> None:
        """Put them back."""
        self.mask.load_state_dict(state.tensors)


class SalMethod(VideoLabelMethod[SalConfig]):
    """SAL, as a `hrpro.localize.methods.base.Method`."""

    localizer_type, stage_type = SalLocalizer, SalStage


def has_two_streams(dataset: Dataset) -> bool:
    """Whether the features are known to hold RGB and optical flow, half and half."""
    return dataset.fingerprint is not None and set(dataset.fingerprint.streams) == {"rgb", "flow"}
