"""What methods have in common that learn from video labels, in one stage.

Such a label says which classes a video shows. A video that is known to show none has no label, and
is worth as much: everything in it is background.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, ClassVar, Generic, Literal, TypeVar

import numpy as np
import torch
from pydantic import AfterValidator, PositiveInt
from torch import Tensor, nn

from hrpro.devices import upload
from hrpro.errors import DataError
from hrpro.localize.data.dataset import Dataset
from hrpro.localize.data.sequences import DatasetSequences, FeatureSequence
from hrpro.localize.data.supervision import Supervision
from hrpro.localize.methods.base import Earlier, Localizer, ScheduledConfig, Stage
from hrpro.localize.proposals.generate import Proposals


def _odd(kernel: int) -> int:
    if kernel % 2 == 0:
        raise ValueError(f"must be odd, not {kernel}")
    return kernel


OddKernel = Annotated[PositiveInt, AfterValidator(_odd)]
"""Snippets that a convolution looks at, with as many on each side."""


class VideoLabelConfig(ScheduledConfig):
    """Settings of a method that learns from video labels."""

    @property
    def needs(self) -> Supervision:
        """The names of the actions in each video."""
        return "labels"


Config = TypeVar("Config", bound=VideoLabelConfig)
Prediction = TypeVar("Prediction")
"""What a network says about one video."""


class VideoLabelMethod(Generic[Config]):
    """A `hrpro.localize.methods.base.Method` of one stage.

    Attributes:
        localizer_type: its localizer, made of feature width, number of classes and config.
        stage_type: its stage, made as `VideoLabelStage` is.
    """

    localizer_type: ClassVar[Callable[..., Localizer]]
    stage_type: ClassVar[Callable[..., Stage]]
    num_stages = 1

    def build(self, dim: int, num_classes: int, config: Config, num_stages: int) -> Localizer:
        """Return the network, untrained."""
        return type(self).localizer_type(dim, num_classes, config)

    def stage(
        self,
        number: int,
        localizer: nn.Module,
        dataset: Dataset,
        config: Config,
        device: torch.device,
    ) -> Stage:
        """Return the only stage."""
        return type(self).stage_type(localizer, dataset, config, device)

    def earlier_weights(self, number: int, config: Config) -> Literal["last", "best-on-test"]:
        """There is no stage that would build on another."""
        return "last"

    def differences(self, number: int, earlier: Earlier[Config], config: Config) -> list[str]:
        """There is no stage that would build on another."""
        return []


class VideoLabelStage(Stage):
    """Learns from the classes of the training videos.

    Attributes:
        title: of the method, for people.
        device: of the network.
        train: features of the training videos.
        test: features of the test videos that are measured on.
        num_snippets: of the training videos, int64 ``[N]``.
        labels: 1 for the classes of each training video, ``[N, C]`` float32, on the device.

    Args:
        localizer: its network is trained.
        dataset: to learn from.
        config: how.
        device: of the network.

    Raises:
        DataError: there is but one class, which leaves nothing to tell apart.
    """

    title: ClassVar[str]

    def __init__(
        self, localizer: Localizer, dataset: Dataset, config: VideoLabelConfig, device: torch.device
    ) -> None:
        if len(dataset.classes) < 2:
            raise DataError(
                f"{dataset.folder}: {self.title} learns what tells classes apart, and there is one "
                "only; label moments of it and use --method hrpro"
            )
        self.localizer, self.device = localizer, device
        self.schedule = config.schedule()
        self.num_videos = len(dataset.train)
        self.train = DatasetSequences(dataset, dataset.train, device)
        self.test = DatasetSequences(dataset, dataset.measured, device)
        self.num_snippets = torch.tensor([video.num_snippets for video in dataset.train])
        labels = np.stack([dataset.video_label(video) for video in dataset.train])
        self.labels = torch.from_numpy(labels).to(device)

    def labels_of(self, videos: Sequence[int]) -> Tensor:
        """Rows of `labels`, ``[B, C]``."""
        return self.labels[upload(torch.tensor(videos), self.device)]

    def detect(self) -> Proposals:
        """Detections in the test videos."""
        return self.localizer.localize(self.test)


class VideoLabelLocalizer(Localizer, Generic[Prediction]):
    """Proposals out of what a network says about each video, thinned out.

    Attributes:
        config: of the method.
        propose: cuts candidates out of the predictions of all videos, before NMS: ``propose`` of
            the method's module ``inference``.
    """

    config: VideoLabelConfig
    propose: ClassVar[Callable[..., Proposals]]

    def localize(
        self, videos: Sequence[FeatureSequence], classes: Sequence[int] | None = None
    ) -> Proposals:
        """Detect actions, see `hrpro.localize.methods.base.Localizer`."""
        return self.suppress(self.candidates(videos, classes))

    def candidates(
        self, videos: Sequence[FeatureSequence], classes: Sequence[int] | None = None
    ) -> Proposals:
        """Every proposal of every video, before NMS."""
        return type(self).propose(
            list(self.predict(videos)),
            self.config,
            classes=None if classes is None else [np.array(classes, np.int64)] * len(videos),
            stride_s=[video.grid.stride_s for video in videos],
            offset_s=[video.grid.offset_s for video in videos],
        )

    @abstractmethod
    def predict(self, videos: Sequence[FeatureSequence]) -> Iterable[Prediction]:
        """What the network says about each video."""

    @abstractmethod
    def suppress(self, candidates: Proposals) -> Proposals:
        """What is left of candidates."""


def label_shares(labels: Tensor) -> Tensor:
    """Which probability each class of a video should have, ``[B, C]``.

    The classes that it shows share alike. Where it shows none, nothing speaks for one more than for
    another: all classes share alike.

    Args:
        labels: ``[B, C]``, 1 for the classes of each video.
    """
    count = labels.sum(1, keepdim=True)
    return torch.where(count > 0, labels / count.clamp(min=1), 1 / labels.shape[1])
