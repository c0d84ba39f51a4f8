"""A trained model folder as a detector."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hrpro.errors import UsageError
from hrpro.extract.config import ExtractConfig
from hrpro.extract.video_progress import VideoFeatures
from hrpro.features import Fingerprint
from hrpro.localize.data.grid import SnippetGrid
from hrpro.localize.data.sequences import FeatureSequence
from hrpro.localize.proposals.generate import Proposals
from hrpro.localize.training.model_files import WEIGHTS_FILE
from hrpro.localize.training.model_folder import (
    FeaturesNeeded,
    TrainedModel,
    load_model,
)
from hrpro.pipeline.detectors.base import curves_in_file_clock
from hrpro.pipeline.detectors.class_facts import class_facts
from hrpro.pipeline.detectors.kinetics import class_index
from hrpro.pipeline.results.events import EventRules, with_rules
from hrpro.pipeline.results.model import Curves, Detection

STREAMS = {1024: ("rgb",), 2048: ("rgb", "flow")}
"""Streams of features of unknown origin, by their width."""


class TrainedDetector:
    """Finds the actions a model was trained for; see `hrpro.pipeline.detectors.base.Detector`.

    Args:
        folder: model folder, see `hrpro.localize.training.model_folder`.
        device: where its networks run.

    Raises:
        DataError: it is not a model folder, or damaged.
        UsageError: nothing here makes features as the model needs them.
    """

    any_streams = False
    needs_logits = False

    def __init__(self, folder: str | Path, device: str | torch.device = "cpu"):
        self.model: TrainedModel = load_model(folder, device)
        self.classes = self.model.classes
        self._class_facts = class_facts(self.classes, self.model.metrics)
        self.extract_config = extract_config(self.model.features, folder)

    def describe(self) -> dict[str, Any]:
        """What made the detections, for the result file."""
        kinds = ("stage", "weights", "update")
        return {
            "name": self.model.config.localize.method,
            "folder": str(self.model.folder),
            "classes": list(self.classes),
            **{kind: self.model.metrics.get(kind) for kind in kinds},
            **event_rules(self.model),
            **self._class_facts.to_json(),
        }

    def version(self) -> str:
        """See `Detector`."""
        return hashlib.sha256((self.model.folder / WEIGHTS_FILE).read_bytes()).hexdigest()

    def notes(self) -> list[str]:
        """See `Detector`."""
        return list(self._class_facts.notes(str(self.model.folder)))

    def check(self, fingerprint: Fingerprint, dim: int, allow_mixed: bool) -> str:
        """Refuse features it was not trained for; see `FeaturesNeeded.check`."""
        return self.model.features.check(dim, fingerprint, allow_mixed)

    def detect(
        self, video: VideoFeatures, classes: Collection[str] | None = None
    ) -> list[Detection]:
        """All detections of one video, of `classes` only if given."""
        sequence = to_sequence(video)
        wanted = None
        if classes is not None:
            wanted = [class_index(self.classes, name) for name in classes]
        found = self.model.localizer.localize([sequence], wanted)
        found = found.in_file_clocks([sequence.grid.clock])
        facts = video.sidecar.video
        return to_detections(found, self.classes, facts.start_s + facts.duration_s, facts.start_s)

    def curves(self, video: VideoFeatures, labels: Collection[str]) -> Curves:
        """The class activation sequences of some classes, at the middles of the snippets."""
        sequence = to_sequence(video)
        activations = self.model.localizer.activations([sequence])[0]
        return to_curves(activations, sequence.grid, self.classes, labels)


def event_rules(model: TrainedModel) -> dict[str, Any]:
    """What a model recommends for events, as result files note it; empty if it does not."""
    scores = model.event_scores
    if scores is None:
        return {}
    return with_rules(
        {"event_scores": f"chosen on the {scores.chosen_on}"},
        EventRules(threshold=scores.threshold, thresholds=scores.thresholds),
    )


def to_curves(
    activations: np.ndarray, grid: SnippetGrid, classes: Sequence[str], labels: Collection[str]
) -> Curves:
    """Columns of a class activation sequence as curves.

    Args:
        activations: ``[T, C]``.
        grid: where the snippets lie in time.
        classes: names, by column.
        labels: the classes that are wanted.
    """
    values = activations[:, [class_index(classes, label) for label in labels]]
    return curves_in_file_clock(
        values, list(labels), grid.offset_s + grid.stride_s / 2, grid.stride_s, grid.clock
    )


def to_sequence(video: VideoFeatures) -> FeatureSequence:
    """The features of a video as the localizer takes them."""
    fingerprint, facts = video.sidecar.fingerprint, video.sidecar.video
    grid = SnippetGrid(
        float(Fraction(facts.fps)), fingerprint.snippet, fingerprint.stride, video.sidecar.clock
    )
    return FeatureSequence(torch.from_numpy(video.features), grid)


def to_detections(
    found: Proposals, classes: Sequence[str], duration_s: float, begin_s: float = 0.0
) -> list[Detection]:
    """Turn the proposals of one video into detections; see `Proposals.reported`.

    All times, those of the proposals too, are in the clock of the video file: its picture lasts
    from `begin_s` to `duration_s`.
    """
    found = found.replace(video=np.zeros_like(found.video))
    reported = found.reported([duration_s], [begin_s])
    return [
        Detection(classes[label], score, start_s, end_s)
        for label, score, start_s, end_s in zip(
            reported.label.tolist(),
            reported.score.tolist(),
            reported.start_s.tolist(),
            reported.end_s.tolist(),
            strict=True,
        )
    ]


def extract_config(features: FeaturesNeeded, folder: str | Path) -> ExtractConfig:
    """The recipe for features as a model needs them.

    Raises:
        UsageError: the model was trained on features of unknown origin and unusual width.
    """
    if features.fingerprint is not None:
        return ExtractConfig.from_fingerprint(features.fingerprint)
    if features.dim not in STREAMS:
        raise UsageError(
            f"{folder}: was trained on features of {features.dim} channels from elsewhere, which "
            "hrpro extract cannot make; measure it on such features with hrpro eval --model"
        )
    grid = features.grid
    return ExtractConfig(
        streams=STREAMS[features.dim],
        fps=Fraction(grid.fps).limit_denominator(1001),
        snippet=grid.snippet,
        stride=grid.stride,
    )
