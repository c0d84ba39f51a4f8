"""What a detector is to the rest of the pipeline, and what it may be asked for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from hrpro.arguments import check_number, check_whole
from hrpro.clock import VideoClock
from hrpro.extract.config import ExtractConfig
from hrpro.features import Fingerprint
from hrpro.pipeline.results.model import Curves, Detection

if TYPE_CHECKING:
    from hrpro.extract.video_progress import VideoFeatures

BUILT_IN = (None, "kinetics400")
"""Names of the built-in model, which looks at more than features."""
MIN_SCORE = 0.05
"""Soft-NMS drops nothing, so a localizer leaves hundreds of detections that score next to 0."""


@dataclass(frozen=True)
class DetectOptions:
    """What to look for with which model, and what of it to report.

    Raises:
        UsageError: a number that does not fit.
    """

    model: str | None = None
    """A model folder; None for the built-in kinetics400."""
    classes: tuple[str, ...] | None = None
    """Names to look for; all by default."""
    min_score: float = MIN_SCORE
    """Report nothing that scores lower; 0 reports everything, as mAP wants it."""
    top_k: int | None = None
    """Report at most this many per video."""
    curves: bool = False
    """Report the class activation sequences, too."""
    allow_mixed: bool = False
    """Use a model with other features than it was trained on."""

    def __post_init__(self) -> None:
        check_number("--min-score", self.min_score, "a score, 0 or more")
        if self.top_k is not None:
            check_whole("--top-k", self.top_k, "a whole number from 1 on", 1)


class Detector(Protocol):
    """Turns the features of a video into labelled, timed actions."""

    classes: tuple[str, ...]
    """Everything it can find."""
    extract_config: ExtractConfig
    """The features it needs."""
    any_streams: bool
    """Whether it works with other streams, too."""
    needs_logits: bool
    """Whether it reads the logits of the network that made the features."""

    def describe(self) -> dict[str, Any]:
        """What made the detections, for the result file."""

    def version(self) -> str:
        """Differs between two models that look the same by `describe`."""

    def notes(self) -> Sequence[str]:
        """What a person should know of its classes, a line each."""

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
        """All detections of one video, of `classes` only if given, in no particular order.

        Their times, and those of the curves, are in the clock of the video file.
        """

    def curves(self, video: VideoFeatures, labels: Collection[str]) -> Curves:
        """The class activation sequences of some classes, as the detections were read off them."""


def curves_in_file_clock(
    values: np.ndarray, labels: Sequence[str], start_s: float, step_s: float, clock: VideoClock
) -> Curves:
    """Values at equal distances on the time line of the snippets, as curves of the video file.

    Args:
        values: ``[T, C]``, one column for each label.
        labels: names of the classes.
        start_s: time of the first value, counted from the first picture.
        step_s: from one value to the next.
        clock: of the video; where it runs unevenly, values are interpolated.
    """
    if clock.snippet_s and len(values) > 1:
        times_s = clock.to_file(start_s + step_s * np.arange(len(values), dtype=np.float64))
        even_s = np.linspace(times_s[0], times_s[-1], len(values))
        columns = [np.interp(even_s, times_s, column) for column in values.T]
        start_s, step_s = float(even_s[0]), float(even_s[1] - even_s[0])
    else:
        columns, start_s = list(values.T), clock.to_file(start_s)
    return Curves(
        start_s,
        step_s,
        {label: column.round(4).tolist() for label, column in zip(labels, columns, strict=True)},
    )
