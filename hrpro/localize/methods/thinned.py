"""A localizer that is shown fewer snippets than there are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hrpro.localize.data.sequences import FeatureSequence, ThinnedSequences
from hrpro.localize.methods.base import Localizer
from hrpro.localize.proposals.generate import Array, Proposals


class ThinnedLocalizer(Localizer):
    """Shows every n-th snippet to a localizer that was trained so.

    Args:
        localizer: of any method.
        stride: frames from snippet to snippet that it sees; None for all.
    """

    def __init__(self, localizer: Localizer, stride: int | None) -> None:
        super().__init__()
        self.localizer, self.stride = localizer, stride

    def localize(
        self, videos: Sequence[FeatureSequence], classes: Sequence[int] | None = None
    ) -> Proposals:
        """Detect actions, see `hrpro.localize.methods.base.Localizer`."""
        return self.localizer.localize(self._seen(videos), classes)

    def candidates(
        self, videos: Sequence[FeatureSequence], classes: Sequence[int] | None = None
    ) -> Proposals:
        """What `localize` chooses from."""
        return self.localizer.candidates(self._seen(videos), classes)

    def video_scores(self, videos: Sequence[FeatureSequence]) -> list[Array]:
        """How probable each class is in each video, ``[C]``."""
        return self.localizer.video_scores(self._seen(videos))

    def activations(self, videos: Sequence[FeatureSequence]) -> list[Array]:
        """The class activation sequence of each video, ``[T, C]``; T counts all its snippets."""
        seen = self._seen(videos)
        activations = self.localizer.activations(seen)
        return [_spread(*one) for one in zip(activations, seen, videos, strict=True)]

    def _seen(self, videos: Sequence[FeatureSequence]) -> ThinnedSequences:
        return ThinnedSequences(videos, self.stride)


def _spread(values: Array, seen: FeatureSequence, video: FeatureSequence) -> Array:
    """Values of thinned snippets, repeated for those of the video that are not among them."""
    every = seen.grid.stride // video.grid.stride
    return np.repeat(values, every, axis=0)[: len(video.features)]
