"""The student as a localizer: from features to detections, alone or with its generator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from hrpro.localize.data.sequences import FeatureSequence, in_batches
from hrpro.localize.methods.base import Localizer
from hrpro.localize.methods.student.batch import pad_features, padded_length, refine_steps
from hrpro.localize.methods.student.fusion import fuse
from hrpro.localize.methods.student.inference import detect_in, suppress
from hrpro.localize.methods.student.model import StudentModel
from hrpro.localize.proposals.generate import Array, Proposals


class StudentLocalizer(Localizer):
    """A trained student, and the localizer that made its pseudo segments, if it takes part.

    Args:
        student: the network.
        generator: needed if the config's fusion counts on it.
    """

    def __init__(self, student: StudentModel, generator: Localizer | None = None) -> None:
        super().__init__()
        self.student = student
        self.generator = generator

    def localize(
        self, videos: Sequence[FeatureSequence], classes: Sequence[int] | None = None
    ) -> Proposals:
        """Detect actions, see `hrpro.localize.methods.base.Localizer`."""
        config = self.student.config
        found = detect_in(self.student, videos, classes)
        if self.generator is not None:
            fusion = config.fusion
            needed = fusion.generator_share or fusion.generator_segments
            found = fuse(
                found,
                fusion,
                self.generator.localize(videos, classes) if needed else None,
                self.generator.video_scores(videos) if fusion.gate else None,
            )
        return suppress(found, config.detection)

    def video_scores(self, videos: Sequence[FeatureSequence]) -> list[Array]:
        """The best probability of each class in each video, ``[C]``."""
        return [activation.max(axis=0) for activation in self.activations(videos)]

    @torch.no_grad()
    def activations(self, videos: Sequence[FeatureSequence]) -> list[Array]:
        """The best probability of each class at each snippet over all levels, ``[T, C]``."""
        found: list[Array] = []
        for _, batch in in_batches(videos):
            found += [self._activation(video) for video in batch]
        return found

    def _activation(self, video: FeatureSequence) -> Array:
        config, device = self.student.config, self.student.normaliser.device
        features, grid = refine_steps(video.features.to(device), video.grid, config.window.stride)
        minimum = config.window.length if config.pyramid.padding == "seen" else 0
        length = padded_length(len(features), config.pyramid.multiple, minimum)
        output = self.student.eval()(*pad_features([features], length))
        levels = output.class_logits[0].sigmoid().split(output.levels.lengths)
        finest = torch.stack([p.repeat_interleave(length // len(p), 0) for p in levels]).amax(0)
        steps = np.arange(len(video.features)) * (video.grid.stride // grid.stride)
        return finest.cpu().numpy()[steps]
