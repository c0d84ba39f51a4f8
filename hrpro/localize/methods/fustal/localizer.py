"""FuSTAL's generator as a localizer: the way from features to detections."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from hrpro.localize.data.sequences import FeatureSequence, in_batches
from hrpro.localize.methods.fustal.config import GeneratorConfig
from hrpro.localize.methods.fustal.generator import GeneratorModel
from hrpro.localize.methods.fustal.inference import (
    GeneratorPrediction,
    normalised,
    predict,
    propose,
    suppress,
)
from hrpro.localize.methods.video_labels import VideoLabelLocalizer
from hrpro.localize.nn.precision import autocast
from hrpro.localize.proposals.generate import Array, Proposals


class GeneratorLocalizer(VideoLabelLocalizer[GeneratorPrediction]):
    """The generator's network, proposals out of its activations, hard NMS.

    Args:
        dim: feature width.
        num_classes: C.
        config: of the network, of proposals and of NMS.
    """

    config: GeneratorConfig
    propose = staticmethod(propose)

    def __init__(self, dim: int, num_classes: int, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.model = GeneratorModel(dim, num_classes, config.network)

    def activations(self, videos: Sequence[FeatureSequence]) -> list[Array]:
        """The class activations of each video, from 0 to 1 within it, ``[L, C]``."""
        found = []
        for video, prediction in zip(videos, self.predict(videos), strict=True):
            values = normalised(prediction.cas)
            snippets = np.arange(len(video.features))
            # The sampled positions stand for the snippets from one to the next.
            found.append(values[snippets * len(values) // max(len(snippets), 1)])
        return found

    def video_scores(self, videos: Sequence[FeatureSequence]) -> list[Array]:
        """Scores ``[C]`` of the classes of each video."""
        return [prediction.video_score for prediction in self.predict(videos)]

    def predict(self, videos: Sequence[FeatureSequence]) -> Iterator[GeneratorPrediction]:
        """Look at as many videos at a time as fit into memory."""
        for _, batch in in_batches(videos):
            with autocast(self.model.classifier.weight.device, self.config.precision):
                found = predict(self.model, [video.features for video in batch])
            yield from found

    def suppress(self, candidates: Proposals) -> Proposals:
        """What NMS leaves."""
        return suppress(candidates, self.config.nms_threshold)
