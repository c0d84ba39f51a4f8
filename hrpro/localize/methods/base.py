"""What a localization method is to the trainer, the model folder, evaluation and detection.

A method trains one network after the other; each is a `Stage`. What it has learned is a
`Localizer`: a module that turns features into detections. To add a method, write a package beside
this file with a `MethodConfig`, a `Method`, its stages and its localizer, and name it in
`hrpro.localize.methods`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeVar

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveInt
from torch import Tensor, nn

from hrpro.localize.data.dataset import Dataset
from hrpro.localize.data.sequences import FeatureSequence
from hrpro.localize.data.supervision import Supervision
from hrpro.localize.nn.ema import WeightAverage
from hrpro.localize.nn.precision import Precision
from hrpro.localize.proposals.generate import Array, Proposals


class MethodConfig(BaseModel):
    """What every method has settings for; section ``localize`` of a run config."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str
    """Its name; a subclass narrows it to a literal."""
    seed: int = Field(0, ge=0, description="of weights, shuffling, dropout and sampling")
    precision: Precision = Field("auto", description="arithmetic of the networks")
    ema: float | None = Field(
        None, gt=0, lt=1, description="average the weights with this decay, in every stage"
    )
    compile: bool = Field(
        False, description="train with torch.compile as far as that works, which is for GPUs"
    )
    stride: PositiveInt | None = Field(
        None,
        description="frames from snippet to snippet that the method sees: every n-th of finer "
        "features; null: all",
    )

    @property
    def needs(self) -> Supervision:
        """What training videos must carry to be learned from; points, if nothing else is said."""
        return "points"


SHARED = frozenset(MethodConfig.model_fields) - {"method", "stride"}
"""Settings that all stages of a method share, those of a generator within it, too."""

Config = TypeVar("Config", bound=MethodConfig)


@dataclass(frozen=True)
class Schedule:
    """How a stage is optimised."""

    updates: int
    """Gradient steps."""
    batch_videos: int
    """Videos per update; see `hrpro.localize.sampling.epochs.EpochBatches`."""
    eval_every: int
    """Updates between evaluations."""
    lr: float
    weight_decay: float = 0.0
    optimizer: Literal["adam", "adamw"] = "adam"
    """AdamW decays weights apart from the gradient."""
    betas: tuple[float, float] = (0.9, 0.999)
    decay: Literal["all", "weights"] = "all"
    """What `weight_decay` acts on: all parameters, or the weights of linear layers and
    convolutions alone, not biases, norms and scales."""
    warmup_updates: int = 0
    """The rate rises linearly from 0, at the first update, to `lr`, at the last one of these."""
    shape: Literal["constant", "cosine"] = "constant"
    """Of the rate after the warm-up; cosine: falls to 0 at the last update."""
    clip_norm: float | None = None
    """Largest norm of the gradient of all parameters."""


class ScheduledConfig(MethodConfig):
    """Settings of a method whose only stage, or the first one, is a number of steps of Adam."""

    lr: float = Field(1e-4, gt=0, description="learning rate of Adam")
    weight_decay: float = Field(5e-4, ge=0, description="of Adam")
    updates: int = Field(1000, ge=1, description="gradient steps")
    batch_videos: int = Field(16, ge=1, description="videos per update")
    eval_every: int = Field(50, ge=1, description="updates between evaluations")

    def schedule(self) -> Schedule:
        """Of that stage."""
        return Schedule(
            updates=self.updates,
            batch_videos=self.batch_videos,
            eval_every=self.eval_every,
            lr=self.lr,
            weight_decay=self.weight_decay,
        )


@dataclass
class StageState:
    """What a stage keeps beside its model, to go on with after an interruption."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    """As JSON can hold it."""


class Stage(ABC):
    """One network of a method in training.

    Attributes:
        model: what is optimised; a part of the localizer.
        schedule: how.
        num_videos: training videos.
        average: of the model's weights, if the stage itself needs one while it trains. It takes
            the place of the one that the config's ``ema`` asks for: the trainer moves it along,
            evaluates with it, saves it, and leaves its weights in the model.
    """

    model: nn.Module
    schedule: Schedule
    num_videos: int
    average: WeightAverage | None = None

    def prepare(self) -> None:  # noqa: B027 - not every stage has something to prepare
        """Get ready for the first update; not called when training is resumed."""

    @abstractmethod
    def losses(self, videos: Sequence[int]) -> dict[str, Tensor] | None:
        """Losses of a batch of training videos, as scalars; ``total`` is what is minimised.

        None if there is nothing to learn from the batch; the weights stay as they are.
        """

    def after_update(self, num_done: int) -> None:  # noqa: B027 - likewise
        """Follow the model after each optimiser step (the teacher of a student, say).

        Args:
            num_done: updates so far, this one included.
        """

    def state(self) -> StageState:
        """What has to be in a checkpoint beside model and optimizer."""
        return StageState()

    def load_state(self, state: StageState) -> None:  # noqa: B027 - likewise
        """Put back what `state` returned."""

    @abstractmethod
    def detect(self) -> Proposals:
        """Detections in the test videos with the model as it is now."""


class Localizer(nn.Module, ABC):
    """All networks of a method; its ``state_dict`` is the model."""

    @abstractmethod
    def localize(
        self, videos: Sequence[FeatureSequence], classes: Sequence[int] | None = None
    ) -> Proposals:
        """Detect actions.

        Args:
            videos: the features.
            classes: look for these, and in every video; by default for those that it predicts.
        """

    @abstractmethod
    def candidates(
        self, videos: Sequence[FeatureSequence], classes: Sequence[int] | None = None
    ) -> Proposals:
        """What `localize` chooses from: every proposal, before suppression, in any order.

        Args:
            videos: the features.
            classes: as in `localize`.
        """

    @abstractmethod
    def video_scores(self, videos: Sequence[FeatureSequence]) -> list[np.ndarray]:
        """How probable each class is in each video, ``[C]`` from 0 to 1."""

    @abstractmethod
    def activations(self, videos: Sequence[FeatureSequence]) -> list[Array]:
        """The class activation sequence of each video, ``[T, C]``, for people to look at."""


@dataclass(frozen=True)
class Earlier(Generic[Config]):
    """A trained model that a later stage is to build on."""

    num_stages: int
    config: Config


class Method(Protocol[Config]):
    """A way to learn to localize."""

    num_stages: int

    def build(self, dim: int, num_classes: int, config: Config, num_stages: int) -> Localizer:
        """Return a localizer with the networks of the first `num_stages` stages, untrained.

        Args:
            dim: feature width D.
            num_classes: C.
            config: of the method.
            num_stages: 1 or more.

        Raises:
            ValueError: the widths do not go together.
        """

    def stage(
        self,
        number: int,
        localizer: nn.Module,
        dataset: Dataset,
        config: Config,
        device: torch.device,
    ) -> Stage:
        """Return a stage, counted from 1, that trains its part of `localizer`.

        The parts of the stages before it are trained already, and stay as they are.
        """

    def earlier_weights(self, number: int, config: Config) -> Literal["last", "best-on-test"]:
        """Which weights of the stage before stage `number` builds on."""

    def differences(self, number: int, earlier: Earlier[Config], config: Config) -> list[str]:
        """Settings by which a model of earlier stages does not fit stage `number`, if any.

        Classes, feature width and what snippets are seen are compared by whoever calls.
        """
