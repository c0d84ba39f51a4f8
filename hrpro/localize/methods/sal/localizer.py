"""SAL as a localizer: the way from features to detections."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hrpro.localize.data.sequences import PACKED_VALUES, FeatureSequence
from hrpro.localize.methods.sal.config import SalConfig
from hrpro.localize.methods.sal.inference import SalPrediction, predict, propose, suppress
from hrpro.localize.methods.sal.model import SalModel
from hrpro.localize.methods.video_labels import VideoLabelLocalizer
from hrpro.localize.nn.precision import autocast
from hrpro.localize.proposals.generate import Array, Proposals


class SalLocalizer(VideoLabelLocalizer[SalPrediction]):
    """SAL's network, proposals out of its selection map, two-list NMS.

    Args:
        dim: feature width.
        num_classes: C.
        config: of the network, of proposals and of NMS.

    Raises:
        ValueError: there are fewer feature channels than the config says are RGB.
    """

    config: SalConfig
    propose = staticmethod(propose)

    def __init__(self, dim: int, num_classes: int, config: SalConfig) -> None:
        super().__init__()
        self.config = config
        self.model = SalModel(dim, num_classes, config.network)

    def activations(self, videos: Sequence[FeatureSequence]) -> list[Array]:
        """The selection map at the snippets of each video, ``[L, C]``."""
        return [prediction.of_snippets() for prediction in self.predict(videos)]

    def video_scores(self, videos: Sequence[FeatureSequence]) -> list[Array]:
        """Scores ``[C]`` of the classes of each video."""
        return [prediction.class_score for prediction in self.predict(videos)]

    def predict(self, videos: Sequence[FeatureSequence]) -> Iterator[SalPrediction]:
        """Look at as many videos at a time as fit into memory once they are sampled."""
        at_once = max(1, PACKED_VALUES // (self.config.network.length * self.model.dim))
        for first in range(0, len(videos), at_once):
            # One after the other: only what is sampled of a video has to stay in memory.
            some = range(first, min(first + at_once, len(videos)))
            with autocast(self.model.classifier.weight.device, self.config.precision):
                found = predict(self.model, (videos[v].features for v in some), self.config)
            yield from found

    def suppress(self, candidates: Proposals) -> Proposals:
        """What NMS leaves."""
        return suppress(candidates, self.config.nms)
