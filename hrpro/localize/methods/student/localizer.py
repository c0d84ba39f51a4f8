"""The student as a localizer: from features to detections, alone or with its generator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from hrpro.localize.data.sequences import FeatureSequence, ThinnedSequences, in_batches
from hrpro.localize.methods.base import Localizer
from hrpro.localize.methods.student.batch import pad_features, padded_length, refine_steps
from hrpro.localize.methods.student.config import FusionConfig
from hrpro.localize.methods.student.fusion import Opinion
from hrpro.localize.methods.student.inference import detect_in, suppress
from hrpro.localize.methods.student.model import StudentModel
from hrpro.localize.methods.student.pseudo import Signal, moved_on
from hrpro.localize.methods.thinned import ThinnedLocalizer
from hrpro.localize.proposals.generate import Array, Proposals


class StudentLocalizer(Localizer):
    """A student, and the localizer that made its pseudo segments, if there is one.

    Args:
        student: the network; None while only the generator is trained, which then answers alone.
        generator: needed if the config's fusion counts on it.
        generator_stride: frames from snippet to snippet that it sees; of all by default.
    """

    def __init__(
        self,
        student: StudentModel | None,
        generator: Localizer | None = None,
        generator_stride: int | None = None,
    ) -> None:
        super().__init__()
        self.student = student
        self.generator = generator
        self.generator_stride = generator_stride

    def localize(
        self, videos: Sequence[FeatureSequence], classes: Sequence[int] | None = None
    ) -> Proposals:
        """Detect actions, see `hrpro.localize.methods.base.Localizer`."""
        if self.student is None:
            return self._thinned_generator.localize(videos, classes)
        return suppress(self.candidates(videos, classes), self.student.config.detection)

    def candidates(
        self, videos: Sequence[FeatureSequence], classes: Sequence[int] | None = None
    ) -> Proposals:
        """What the student sees, with the generator's help; before soft-NMS."""
        if self.student is None:
            return self._thinned_generator.candidates(videos, classes)
        found = detect_in(self.student, videos, classes)
        return self.opinion(videos, classes).applied(found)

    def opinion(
        self, videos: Sequence[FeatureSequence], classes: Sequence[int] | None = None
    ) -> Opinion:
        """What the generator has to say about what the student sees, as far as it is asked."""
        assert self.student is not None
        fusion = self.student.config.fusion
        if self.generator is None:
            return Opinion(FusionConfig())
        videos = ThinnedSequences(videos, self.generator_stride)
        segments: Proposals | None = None
        if fusion.needs_segments:
            found = self.generator.localize(videos, classes)
            strides_s = [video.grid.stride_s for video in videos]
            segments = moved_on(found, strides_s, self.student.config.pseudo.shift)
        return Opinion(
            fusion,
            segments,
            self.generator.video_scores(videos) if fusion.gate else None,
            signals_of(self.generator, videos) if fusion.contrast else None,
        )

    @property
    def _thinned_generator(self) -> ThinnedLocalizer:
        assert self.generator is not None
        return ThinnedLocalizer(self.generator, self.generator_stride)

    def video_scores(self, videos: Sequence[FeatureSequence]) -> list[Array]:
        """The best probability of each class in each video, ``[C]``."""
        if self.student is None:
            return self._thinned_generator.video_scores(videos)
        return [activation.max(axis=0) for activation in self.activations(videos)]

    @torch.no_grad()
    def activations(self, videos: Sequence[FeatureSequence]) -> list[Array]:
        """The best probability of each class at each snippet over all levels, ``[T, C]``."""
        if self.student is None:
            return self._thinned_generator.activations(videos)
        found: list[Array] = []
        for _, batch in in_batches(videos):
            found += [_activation(self.student, video) for video in batch]
        return found


def signals_of(generator: Localizer, videos: Sequence[FeatureSequence]) -> list[Signal]:
    """A localizer's class activations in each video, with the times of its snippets."""
    return [
        Signal(values, video.grid.centre_s(np.arange(len(values), dtype=float)))
        for video, values in zip(videos, generator.activations(videos), strict=True)
    ]


def _activation(student: StudentModel, video: FeatureSequence) -> Array:
    config, device = student.config, student.normaliser.device
    features, grid = refine_steps(video.features.to(device), video.grid, config.window.stride)
    minimum = config.window.length if config.pyramid.padding == "seen" else 0
    length = padded_length(len(features), config.pyramid.multiple, minimum)
    output = student.eval()(*pad_features([features], length))
    levels = output.class_logits[0].sigmoid().split(output.levels.lengths)
    finest = torch.stack([p.repeat_interleave(length // len(p), 0) for p in levels]).amax(0)
    steps = np.arange(len(video.features)) * (video.grid.stride // grid.stride)
    return finest.cpu().numpy()[steps]
