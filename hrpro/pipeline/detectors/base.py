"""What a detector is to the rest of the pipeline."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol

from hrpro.extract.config import ExtractConfig
from hrpro.extract.extractor import VideoFeatures
from hrpro.features import Fingerprint
from hrpro.pipeline.results.model import Curves, Detection


class Detector(Protocol):
    """Turns the features of a video into labelled, timed actions."""

    classes: tuple[str, ...]
    """Everything it can find."""
    extract_config: ExtractConfig
    """The features it needs."""
    any_streams: bool
    """Whether it works with other streams, too."""

    def describe(self) -> dict[str, Any]:
        """What made the detections, for the result file."""

    def check(self, fingerprint: Fingerprint, dim: int, allow_mixed: bool) -> str:
        """Look at the features it is going to get, ``[T, dim]``.

        Returns:
            A warning, or an empty text.

        Raises:
            DataError: they are not what it was trained on, and `allow_mixed` does not accept that.
        """

    def detect(
        self, video: VideoFeatures, classes: Collection[str] | None = None
    ) -> list[Detection]:
        """All detections of one video, of `classes` only if given, in no particular order."""

    def curves(self, video: VideoFeatures, labels: Collection[str]) -> Curves:
        """The class activation sequences of some classes, as the detections were read off them."""
