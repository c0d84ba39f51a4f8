"""The built-in model: the 400 actions of Kinetics, found without any training.

I3D's own classifier, slid over the video, is the class activation sequence. Runs of it above
several thresholds are the proposals, scored by outer-inner contrast and thinned by soft-NMS: the
same steps that a trained localizer goes through.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from hrpro.errors import UsageError
from hrpro.extract.config import ExtractConfig
from hrpro.extract.video_progress import VideoFeatures
from hrpro.features import Fingerprint
from hrpro.localize.proposals.generate import ProposalConfig, Proposals, generate_proposals, smooth
from hrpro.localize.proposals.nms import soft_nms
from hrpro.pipeline.detectors.base import curves_in_file_clock
from hrpro.pipeline.results.events import EventRules, with_rules
from hrpro.pipeline.results.model import Curves, Detection

RULES = EventRules(threshold=0.5)
"""Which of its detections are events: the score at which the real clips are counted best, see
docs/benchmarks.md."""


class KineticsConfig(BaseModel):
    """How class probabilities become detections."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stride: int = Field(8, ge=1)
    """Frames from one snippet to the next: 0.32 s, half a snippet, for finer timing."""
    smooth_s: float = Field(1.6, gt=0)
    """Seconds over which logits are averaged; single snippets are often sure of nonsense."""
    close_gaps_s: float = Field(4.0, ge=0)
    """A class may be unsure for this long without its action being over."""
    class_threshold: float = 0.1
    """Smoothed probability that a class must reach somewhere to be looked for."""
    max_classes: int = 20
    """Most classes looked for in one video."""
    video_score_share: int = Field(4, ge=1)
    """The video score of a class is its mean over the best 1/4 of the snippets."""
    proposals: ProposalConfig = ProposalConfig(
        upsample=2,
        score_thresholds=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
        attention_thresholds=(),
        outer_margin=0.25,
        gamma=0.5,
        min_positions=4,
        drop_lone_first=False,
        contrast_above_threshold=False,
    )
    nms_sigma: float = 0.3
    min_score: float = 0.01
    """Detections below are not worth the time of soft-NMS."""


@cache
def kinetics_classes() -> tuple[str, ...]:
    """The 400 class names in the order of the classifier."""
    from torchvision.models.video import R3D_18_Weights

    return tuple(R3D_18_Weights.KINETICS400_V1.meta["categories"])


class KineticsDetector:
    """Finds Kinetics-400 actions by I3D's own classifier; see `Detector`."""

    any_streams = True
    needs_logits = True

    def __init__(self, config: KineticsConfig | None = None):
        self.config = config or KineticsConfig()
        self.classes = kinetics_classes()
        self.extract_config = ExtractConfig(stride=self.config.stride)

    def describe(self) -> dict[str, Any]:
        """What made the detections, for the result file."""
        return with_rules({"name": "kinetics400", **self.config.model_dump(mode="json")}, RULES)

    def version(self) -> str:
        """See `Detector`."""
        return ""  # all its settings are described

    def notes(self) -> list[str]:
        """See `Detector`."""
        return []

    def check(self, fingerprint: Fingerprint, dim: int, allow_mixed: bool) -> str:
        """Accept all features: it uses the logits that come with them."""
        return ""

    def detect(
        self, video: VideoFeatures, classes: Collection[str] | None = None
    ) -> list[Detection]:
        """All detections of one video, of `classes` only if given.

        Raises:
            UsageError: a class is not one of the 400.
        """
        sidecar, clock = video.sidecar, video.sidecar.clock
        found = self.localize(
            video.logits,
            stride_s=sidecar.snippet_stride_s,
            snippet_s=sidecar.snippet_length_s,
            duration_s=clock.to_snippets(sidecar.video.start_s + sidecar.video.duration_s),
            classes=classes,
        )
        return [
            replace(
                each,
                start_s=round(clock.to_file(each.start_s), 3),
                end_s=round(clock.to_file(each.end_s), 3),
            )
            for each in found
        ]

    def curves(self, video: VideoFeatures, labels: Collection[str]) -> Curves:
        """The smoothed probabilities of some classes, at the middles of the snippets."""
        sidecar = video.sidecar
        stride_s, snippet_s = sidecar.snippet_stride_s, sidecar.snippet_length_s
        probabilities = self._probabilities(video.logits, stride_s)
        values = probabilities[:, [class_index(self.classes, label) for label in labels]]
        return curves_in_file_clock(values, list(labels), snippet_s / 2, stride_s, sidecar.clock)

    def _probabilities(self, logits: np.ndarray, stride_s: float) -> np.ndarray:
        width = max(1, round(self.config.smooth_s / stride_s)) | 1  # odd, so that nothing shifts
        # Smoothing before the softmax: neighbours that disagree make each other less sure.
        return _softmax(smooth(logits.astype(np.float64), width))

    def localize(
        self,
        logits: np.ndarray,
        *,
        stride_s: float,
        snippet_s: float,
        duration_s: float,
        classes: Collection[str] | None = None,
    ) -> list[Detection]:
        """Detections from the logits of sliding snippets, in seconds from the first picture.

        Args:
            logits: ``[T, 400]``.
            stride_s: seconds from one snippet to the next.
            snippet_s: seconds one snippet covers.
            duration_s: length of the video.
            classes: names to look for; by default those that are probable somewhere.
        """
        config = self.config
        probabilities = self._probabilities(logits, stride_s)
        best = np.sort(probabilities, axis=0)[::-1]
        video_score = best[: max(1, len(best) // config.video_score_share)].mean(axis=0)
        gap = max(1, round(config.close_gaps_s / stride_s))
        table = generate_proposals(
            [close_gaps(probabilities, gap)],
            [video_score],
            classes=[self._wanted(probabilities, classes)],
            config=config.proposals,
            snippet_s=stride_s,
            offset_s=(snippet_s - stride_s) / 2,
        )
        table = table.replace(score=table.score / (1 + config.proposals.gamma))  # at most 1
        table = _reach_ends(table, stride_s, snippet_s, len(logits), duration_s)
        table = soft_nms(table, sigma=config.nms_sigma, iou="exact", min_score=config.min_score)
        table = table[table.score >= config.min_score]
        return [
            Detection(self.classes[label], round(score, 6), round(start_s, 3), round(end_s, 3))
            for label, score, start_s, end_s in zip(
                table.label.tolist(),
                table.score.tolist(),
                table.start_s.tolist(),
                table.end_s.tolist(),
                strict=True,
            )
        ]

    def _wanted(self, probabilities: np.ndarray, classes: Collection[str] | None) -> np.ndarray:
        if classes is not None:
            return np.array([class_index(self.classes, name) for name in classes], np.int64)
        peak = probabilities.max(axis=0)
        order = np.argsort(-peak, kind="stable")[: self.config.max_classes]
        return order[peak[order] >= self.config.class_threshold]


def class_index(classes: Collection[str], name: str) -> int:
    """Position of a class, forgiving case.

    Raises:
        UsageError: there is none; suggests the nearest names.
    """
    import difflib

    lower = [each.lower() for each in classes]
    if name.lower() in lower:
        return lower.index(name.lower())
    near = difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.5)
    near += [each for each in lower if name.lower() in each and each not in near][:3]
    hint = f"; did you mean {', '.join(repr(each) for each in near)}?" if near else ""
    raise UsageError(f"--classes: the model has no class {name!r}{hint}")


def close_gaps(scores: np.ndarray, width: int) -> np.ndarray:
    """Fill dips of a class activation sequence that are shorter than `width` positions.

    Grey-scale closing along time: the maximum over a window, then the minimum; the outer flanks
    of a peak stay where they are.

    Args:
        scores: ``[T, C]``, not negative.
        width: positions.
    """
    before, after = width // 2, width - 1 - width // 2

    def windows(values: np.ndarray, front: int, back: int, fill: float) -> np.ndarray:
        padded = np.pad(values, ((front, back), (0, 0)), constant_values=fill)
        return np.lib.stride_tricks.sliding_window_view(padded, width, axis=0)

    widest = windows(scores, before, after, 0.0).max(axis=-1)
    return windows(widest, after, before, np.inf).min(axis=-1)


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def _reach_ends(
    table: Proposals, stride_s: float, snippet_s: float, num_snippets: int, duration_s: float
) -> Proposals:
    """Let runs that touch the first or last snippet reach the ends of the video.

    Positions are centred on their snippets, so half a snippet at each end belongs to nobody.
    """
    offset_s = (snippet_s - stride_s) / 2
    first_s, last_s = offset_s, offset_s + num_snippets * stride_s
    half = stride_s / 2
    start_s = np.where(table.start_s <= first_s + half / 2, 0.0, table.start_s)
    end_s = np.where(table.end_s >= last_s - half - half / 2, duration_s, table.end_s)
    return table.replace(
        start_s=np.minimum(start_s, duration_s), end_s=np.minimum(end_s, duration_s)
    )
