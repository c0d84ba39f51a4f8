"""How the student is trained: on marks, or as the stage after those of a generator."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn

from hrpro.localize.data.dataset import Dataset
from hrpro.localize.data.sequences import DatasetSequences
from hrpro.localize.methods.base import SHARED, Earlier, Localizer, Method, Stage
from hrpro.localize.methods.student.config import (
    GeneratedConfig,
    StudentMethodConfig,
)
from hrpro.localize.methods.student.localizer import StudentLocalizer
from hrpro.localize.methods.student.model import StudentModel
from hrpro.localize.methods.student.stage import StudentStage
from hrpro.localize.methods.student.training_videos import (
    labelled_videos,
    marked_videos,
    pointed_videos,
)


class StudentMethod:
    """The student, as a `hrpro.localize.methods.base.Method`.

    Args:
        generator: whose stages come first; by default there is none, and the student learns from
            start and end marks.
    """

    def __init__(self, generator: Method[Any] | None = None) -> None:
        self.generator = generator
        self.num_stages = 1 + (generator.num_stages if generator else 0)

    def build(
        self, dim: int, num_classes: int, config: StudentMethodConfig, num_stages: int
    ) -> StudentLocalizer:
        """Return the generator's networks, and at the last stage the student's, untrained."""
        student: StudentModel | None = None
        generator: Localizer | None = None
        generator_stride: int | None = None
        if self.generator is not None:
            generated = _generated(config)
            generator_stride = generated.generator.stride
            of_generator = min(num_stages, self.generator.num_stages)
            generator = self.generator.build(dim, num_classes, generated.generator, of_generator)
        if num_stages == self.num_stages:
            student = StudentModel(dim, num_classes, config.resolved_student())
        return StudentLocalizer(student, generator, generator_stride)

    def stage(
        self,
        number: int,
        localizer: nn.Module,
        dataset: Dataset,
        config: StudentMethodConfig,
        device: torch.device,
    ) -> Stage:
        """Return a stage of the generator, or the student's."""
        assert isinstance(localizer, StudentLocalizer)
        if self.generator is not None and number < self.num_stages:
            assert localizer.generator is not None
            generated = _generated(config)
            seen = dataset.thinned(generated.generator.stride)
            return self.generator.stage(
                number, localizer.generator, seen, generated.generator, device
            )
        return _student_stage(localizer, dataset, config, device)

    def earlier_weights(
        self, number: int, config: StudentMethodConfig
    ) -> Literal["last", "best-on-test"]:
        """The generator's choice among its stages; the student builds on the last weights."""
        if self.generator is None or number == self.num_stages:
            return "last"
        return self.generator.earlier_weights(number, _generated(config).generator)

    def differences(
        self,
        number: int,
        earlier: Earlier[StudentMethodConfig],
        config: StudentMethodConfig,
    ) -> list[str]:
        """The student builds on all that the generator is."""
        if self.generator is None:
            return []
        earlier_config, own_config = _generated(earlier.config), _generated(config)
        before, now = earlier_config.generator, own_config.generator
        if number == self.num_stages:
            as_now = {name: getattr(now, name) for name in {*SHARED, "stride"}}
            return [] if before.model_copy(update=as_now) == now else ["localize.generator"]
        found = self.generator.differences(number, Earlier(earlier.num_stages, before), now)
        return [name.replace("localize.", "localize.generator.", 1) for name in found]


def _generated(config: StudentMethodConfig) -> GeneratedConfig:
    """The settings, where there is a generator."""
    assert isinstance(config, GeneratedConfig)
    return config


def _student_stage(
    localizer: StudentLocalizer,
    dataset: Dataset,
    config: StudentMethodConfig,
    device: torch.device,
) -> StudentStage:
    assert localizer.student is not None
    student = localizer.student.config
    if localizer.generator is None:
        videos = marked_videos(dataset, student)
    else:
        # The generator does not change any more: its segments are made once, and the same again
        # when training is resumed.
        localizer.generator.eval()
        segments = pointed_videos if config.needs == "points" else labelled_videos
        seen = dataset.thinned(_generated(config).generator.stride)
        videos = segments(dataset, seen, localizer.generator, student, device)
    tested = DatasetSequences(dataset, dataset.measured, device)
    return StudentStage(localizer.student, videos, tested, localizer.opinion(tested))
