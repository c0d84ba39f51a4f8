"""What a localization method is to the trainer, the model folder, evaluation and detection.

A method trains one network after the other; each is a stage. What it has learned is a localizer:
a module that turns features into detections. To add a method, write these three and name it in
`get_method` and in `LocalizeConfig.method`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from hrpro.localize.config import LocalizeConfig
from hrpro.localize.data.dataset import Dataset
from hrpro.localize.data.sequences import FeatureSequence
from hrpro.localize.proposals.generate import Array, Proposals


@dataclass(frozen=True)
class Schedule:
    """How a stage is optimised, with Adam."""

    updates: int
    """Gradient steps."""
    batch_videos: int
    """Videos per update; see `batches.EpochBatches`."""
    eval_every: int
    """Updates between evaluations."""
    lr: float
    weight_decay: float


class Stage(Protocol):
    """One network of a method in training."""

    model: nn.Module
    """What is optimised; a part of the localizer."""
    schedule: Schedule
    num_videos: int
    """Training videos."""

    def prepare(self) -> None:
        """Get ready for the first update; not called when training is resumed."""

    def losses(self, videos: Sequence[int]) -> dict[str, Tensor]:
        """Losses of a batch of training videos, as scalars; ``total`` is what is minimised."""

    def detect(self) -> Proposals:
        """Detections in the test videos with the model as it is now."""


class Localizer(Protocol):
    """All networks of a method; in fact an `nn.Module`, whose ``state_dict`` is the model."""

    def localize(
        self, videos: Sequence[FeatureSequence], classes: Sequence[int] | None = None
    ) -> Proposals:
        """Detect actions.

        Args:
            videos: the features.
            classes: look for these, and in every video; by default for those that it predicts.
        """

    def video_scores(self, videos: Sequence[FeatureSequence]) -> list[np.ndarray]:
        """How probable each class is in each video, ``[C]`` from 0 to 1."""

    def activations(self, videos: Sequence[FeatureSequence]) -> list[Array]:
        """The class activation sequence of each video, ``[T, C]``, for people to look at."""


class Method(Protocol):
    """A way to learn to localize."""

    num_stages: int

    def build(
        self, dim: int, num_classes: int, config: LocalizeConfig, num_stages: int
    ) -> nn.Module:
        """Return a `Localizer` with the networks of the first `num_stages` stages, untrained."""

    def stage(
        self,
        number: int,
        localizer: nn.Module,
        dataset: Dataset,
        config: LocalizeConfig,
        device: torch.device,
    ) -> Stage:
        """Return a stage, counted from 1, that trains its part of `localizer`.

        The parts of the stages before it are trained already, and stay as they are.
        """


def get_method(name: str) -> Method:
    """Find a method by its name in the config.

    Raises:
        KeyError: there is none; the config refuses such names.
    """
    from hrpro.localize.methods.hrpro.method import HrproMethod

    return {"hrpro": HrproMethod()}[name]
