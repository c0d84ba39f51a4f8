"""How FuSTAL's generator is trained: one stage, on the classes of each video."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hrpro.devices import upload
from hrpro.localize.data.dataset import Dataset
from hrpro.localize.methods.fustal.config import GeneratorConfig
from hrpro.localize.methods.fustal.generator import GeneratorModel
from hrpro.localize.methods.fustal.localizer import GeneratorLocalizer
from hrpro.localize.methods.fustal.losses import generator_losses
from hrpro.localize.methods.video_labels import VideoLabelMethod, VideoLabelStage
from hrpro.localize.sampling.fixed_length import perturbed_indices, take


class GeneratorStage(VideoLabelStage):
    """Learns from the classes of the training videos, see `VideoLabelStage`."""

    model: GeneratorModel
    title = "FuSTAL"

    def __init__(
        self,
        localizer: GeneratorLocalizer,
        dataset: Dataset,
        config: GeneratorConfig,
        device: torch.device,
    ) -> None:
        super().__init__(localizer, dataset, config, device)
        self.model, self.config = localizer.model, config

    def losses(self, videos: Sequence[int]) -> dict[str, Tensor]:
        """Losses of a batch of videos, each sampled anew."""
        random = torch.rand(len(videos), self.config.network.length)
        chosen = perturbed_indices(self.num_snippets[videos], random)
        features, _ = take((self.train[v].features for v in videos), upload(chosen, self.device))
        output = self.model(features)
        # What follows from the scores is float32 even under autocast, which refuses their loss.
        with torch.autocast(features.device.type, enabled=False):
            return generator_losses(output, self.labels_of(videos), self.config.contrast)


class GeneratorMethod(VideoLabelMethod[GeneratorConfig]):
    """FuSTAL's generator, as a `hrpro.localize.methods.base.Method`."""

    localizer_type, stage_type = GeneratorLocalizer, GeneratorStage
