"""Settings of the student: its network, what it learns from, and how it detects."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationInfo,
    field_validator,
    model_validator,
)

from hrpro.configs.loader import Layer, merge
from hrpro.localize.data.supervision import Supervision
from hrpro.localize.methods.base import SHARED, MethodConfig
from hrpro.localize.methods.student.bases import BASES
from hrpro.localize.nn.pyramid import PyramidConfig
from hrpro.localize.proposals.density import DensityConfig


class HeadConfig(BaseModel):
    """Heads on the pyramid. Defaults are FuSTAL's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    num_convs: PositiveInt = Field(2, description="hidden convolutions of a head")
    kernel: PositiveInt = Field(3, description="of a head's convolutions; odd")
    bins: PositiveInt = Field(16, description="distances 0..bins of the Trident head, in strides")
    prior: float = Field(0.01, gt=0, lt=1, description="probability of each class at the start")


class AssignmentConfig(BaseModel):
    """Which points learn which segment. Defaults are FuSTAL's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    center_radius: float = Field(
        1.5, gt=0, description="a positive point lies so near the segment's centre, in strides"
    )
    reach: tuple[tuple[float, float], ...] = Field(
        ((0, 4), (4, 8), (8, 16), (16, 32), (32, 64), (64, 10000)),
        description="per level, the distance in steps to the farther end of its segments; levels "
        "beyond the list take what the last one does",
    )
    same_length: float = Field(
        1e-3, ge=0, description="segments that are so equally short all give their class to a point"
    )

    def reaches(self, num_levels: int) -> tuple[tuple[float, float], ...]:
        """Of so many levels; the last of them has no upper end."""
        some = [*self.reach, *[self.reach[-1]] * num_levels][:num_levels]
        return (*some[:-1], (some[-1][0], max(some[-1][1], self.reach[-1][1])))


class LossConfig(BaseModel):
    """The losses of the student. Defaults are FuSTAL's, in the recommended reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    focal_alpha: float = Field(0.25, ge=0, le=1, description="weight of positives")
    focal_gamma: float = Field(2.0, ge=0, description="exponent of the focal loss")
    iou_power: float = Field(
        0.2, ge=0, description="positives are weighted by the IoU of what they predict, to this"
    )
    normaliser_start: float = Field(100.0, gt=0, description="positive points of a batch, at first")
    normaliser_momentum: float = Field(0.9, ge=0, lt=1, description="of their running count")
    regression_weight: float = Field(1.0, ge=0, description="weight of the DIoU loss")
    video_weight: float = Field(1.0, ge=0, description="weight of the loss on the video label")
    video_topk: Literal["per-video", "batch"] = Field(
        "per-video",
        description="steps whose logits make a video's score: a share of its own, or, as "
        "released, of the batch's, padding included",
    )
    video_topk_ratio: PositiveInt = Field(5, description="one of this many steps counts")
    video_dropout: float = Field(
        0.0, ge=0, lt=1, description="of those logits; 0.7 in the release, where dropped ones win"
    )
    point_weight: float = Field(
        0.0, ge=0, description="weight of the loss on segments that leave their point label out"
    )
    neighbour_weight: float = Field(
        0.0, ge=0, description="weight of the loss on segments that hold a point of another class"
    )
    border: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of a segment's length on both sides of each end where points that are "
        "not positive say nothing to the class loss",
    )


class DetectionConfig(BaseModel):
    """From the network's output to detections. Defaults are FuSTAL's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_probability: float = Field(0.001, ge=0, description="points and classes above it count")
    max_per_level: PositiveInt = Field(2000, description="best points and classes of a level")
    min_steps: float = Field(0.05, ge=0, description="detections are longer than this, in steps")
    sigma: float = Field(0.5, gt=0, description="soft-NMS: scores times exp(-iou^2 / sigma)")
    guard: float = Field(1e-6, ge=0, description="added to lengths in soft-NMS, in steps")
    min_score: float = Field(0.001, ge=0, description="soft-NMS drops what falls below it")
    max_detections: PositiveInt = Field(2000, description="of a video")


class WindowConfig(BaseModel):
    """What the network sees of a video. Defaults are FuSTAL's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stride: PositiveInt = Field(
        4, description="frames from step to step; coarser features are interpolated to it"
    )
    length: PositiveInt = Field(2304, description="steps of a training window at most")
    min_share: float = Field(
        0.9, gt=0, le=1, description="a shorter video's window is at least this share of it"
    )
    tries: PositiveInt = Field(200, description="windows drawn until one holds a segment")
    min_inside: float = Field(
        0.5, ge=0, le=1, description="share of a segment inside a window for it to count there"
    )
    noise: float = Field(0.0005, ge=0, description="standard deviation added to features")


class OptimiserConfig(BaseModel):
    """Settings of AdamW. Defaults are FuSTAL's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch_videos: PositiveInt = Field(8, description="videos per update")
    min_epoch_updates: PositiveInt = Field(
        1, description="an epoch is at least so many updates, however few the videos are"
    )
    eval_every: PositiveInt = Field(10, description="epochs between evaluations")
    lr: float = Field(1e-4, gt=0, description="learning rate of AdamW")
    weight_decay: float = Field(0.05, ge=0, description="of the weights of convolutions alone")
    warmup_updates: PositiveInt = Field(25, description="updates until the full rate, from 0 on")
    rate: Literal["constant", "cosine"] = Field(
        "constant", description="of learning after the warm-up; cosine: falls to 0"
    )
    max_gradient: float = Field(1.0, gt=0, description="the norm of the gradient is clipped to it")
    ema: float = Field(0.999, gt=0, lt=1, description="decay of the average of the weights")
    ema_warmup: bool = Field(
        False, description="a lower decay at first, (1 + n) / (10 + n): for short trainings"
    )


class TeacherConfig(BaseModel):
    """When the EMA model gives the labels, and which. Defaults are FuSTAL's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    first_epochs: int = Field(61, ge=0, description="epochs on the given segments: phase A")
    epochs: int = Field(101, ge=1, description="epochs in all; those after phase A are phase B")
    rule: Literal["detections", "points", "never"] | None = Field(
        None,
        description="the detections above min_score, or one for each point label, which must lie "
        "in it: segments move, but none is lost or invented; or the given segments to the end; "
        "null: what goes with video labels, point labels, and start and end marks",
    )
    min_score: float = Field(
        0.4,
        description="detections of the EMA model above it are labels, else its best one is; with "
        "points, what is not above it moves no segment",
    )
    known_classes: bool = Field(
        False,
        description="look only for the classes that a video is known to show; the release: all",
    )
    blend: float = Field(
        1.0, gt=0, le=1, description="with points: how far a segment moves to what the teacher says"
    )
    no_detection: Literal["leave-out-video", "released"] = Field(
        "leave-out-video",
        description="a video without any detection: leave it out; the release drops the batch and "
        "goes back to the given segments for the rest of the epoch",
    )


class PseudoConfig(BaseModel):
    """How the proposals of a generator become segments: one for each point label, if there are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    choice: Literal["best", "fused", "bump"] = Field(
        "best",
        description="the best proposal around a point; the mean of all that agree with it, by "
        "score; or a Gaussian over a uniform floor fitted to the activations (ADM-Loc)",
    )
    shift: float = Field(
        0.0,
        description="by how many of the generator's snippets its proposals are moved on first; "
        "those that are cut with `proposals.upsample` u come 0.5 - 0.5 / u of a snippet early, as "
        "the releases have it",
    )
    fuse_iou: float = Field(0.5, ge=0, le=1, description="proposals that overlap the best so much")
    fuse_power: float = Field(2.0, ge=0, description="scores count to this power in the mean")
    bump_widths: float = Field(1.75, gt=0, description="standard deviations to each side of a bump")
    weight_floor: float = Field(
        1.0,
        ge=0,
        le=1,
        description="weight of the segment of lowest score; the best has 1, ranks lie between",
    )
    missing: Literal["class-length", "drop"] = Field(
        "class-length",
        description="a point without proposal: a segment of its class's usual length, or none",
    )
    missing_weight: float = Field(0.5, ge=0, le=1, description="weight of such a segment")
    snap: float = Field(
        0.0,
        ge=0,
        le=1,
        description="ends move to the strongest change of the features within this share of the "
        "segment's length",
    )
    density: DensityConfig = Field(
        DensityConfig(),
        description="with video labels: which of the generator's detections are segments",
    )
    snap_steps: PositiveInt = Field(4, description="steps on each side that a change compares")


class FusionConfig(BaseModel):
    """What the generator has to say about the student's detections."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    gate: float = Field(
        0.0, ge=0, description="scores are multiplied by the generator's video score to this power"
    )
    contrast: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share in a score, a geometric mean, of how much higher the generator's "
        "activation is inside a segment than around it",
    )
    generator_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="of the generator's best overlapping segment in a score, a geometric mean",
    )
    generator_ends: float = Field(
        0.0,
        ge=0,
        le=1,
        description="how far ends move to the mean of the generator's segments that overlap enough",
    )
    generator_segments: float = Field(
        0.0, ge=0, description="the generator's own segments join in, their scores times this"
    )

    @property
    def needs_segments(self) -> bool:
        """Whether the generator has to detect, too."""
        return bool(self.generator_share or self.generator_ends or self.generator_segments)


class RecognitionConfig(BaseModel):
    """What the features of a whole segment say about its class; see `SegmentClassifier`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    share: float = Field(
        0.0,
        ge=0,
        description="scores are multiplied by the probability of their class to this power, which "
        "a logistic regression sees in the mean features of the segment; it is fitted to the "
        "segments that the student learns from; 0: there is none",
    )
    border: float = Field(
        0.15, ge=0, lt=0.5, description="share of a segment that is left out at each end"
    )
    penalty: float = Field(
        0.01,
        gt=0,
        description="of squared weights, beside a sum of losses over segments: more for less trust",
    )


class StudentConfig(BaseModel):
    """The student: a regression detector that learns from segments (FuSTAL; TriDet's network)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base: Literal["published", "released", "small"] = Field(
        "published",
        description="what the other settings are if they are not set: FuSTAL's; with the slips of "
        "its release; for few videos and CPUs",
    )
    pyramid: PyramidConfig = PyramidConfig()
    heads: HeadConfig = HeadConfig()
    assignment: AssignmentConfig = AssignmentConfig()
    loss: LossConfig = LossConfig()
    detection: DetectionConfig = DetectionConfig()
    window: WindowConfig = WindowConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    teacher: TeacherConfig = TeacherConfig()
    pseudo: PseudoConfig = PseudoConfig()
    recognition: RecognitionConfig = RecognitionConfig()
    fusion: FusionConfig = FusionConfig()

    @model_validator(mode="before")
    @classmethod
    def _on_top_of_base(cls, values: Any) -> Any:
        base = values.get("base") if isinstance(values, dict) else None
        if not (isinstance(base, str) and base in BASES):
            return values
        return merge([Layer(base, BASES[base]), Layer("", values)])

    @model_validator(mode="after")
    def _window_fits_pyramid(self) -> StudentConfig:
        if self.window.length % self.pyramid.multiple:
            raise ValueError(
                f"window.length {self.window.length} is not a multiple of "
                f"{self.pyramid.multiple}, as {self.pyramid.num_levels} levels need it"
            )
        return self


class StudentMethodConfig(MethodConfig):
    """How the student learns from what people have marked, or from a generator's segments."""

    student: StudentConfig = StudentConfig()

    def resolved_student(self) -> StudentConfig:
        """The student's settings, with the teacher's rule that goes with the supervision."""
        rules = {"labels": "detections", "points": "points", "full": "never"}
        teacher = self.student.teacher
        rule = teacher.rule or rules[self.needs]
        return self.student.model_copy(
            update={"teacher": teacher.model_copy(update={"rule": rule})}
        )


class MarksStudentConfig(StudentMethodConfig):
    """How the student learns from start and end marks."""

    method: Literal["student"] = "student"

    @property
    def needs(self) -> Supervision:
        """Start and end of every action."""
        return "full"


class GeneratedConfig(StudentMethodConfig):
    """How a generator learns, and then a student from its segments."""

    generator: MethodConfig
    """A subclass narrows it to the settings of one method."""

    @property
    def needs(self) -> Supervision:
        """What the generator needs."""
        return self.generator.needs

    @field_validator("generator")
    @classmethod
    def _shares_settings(cls, generator: MethodConfig, info: ValidationInfo) -> MethodConfig:
        """Seed, precision and average are those of the whole."""
        shared = {name: info.data[name] for name in SHARED if name in info.data}
        for name in generator.model_fields_set & shared.keys():
            if getattr(generator, name) != shared[name]:
                raise ValueError(f"localize.{name} is that of all stages; set it there")
        return generator.model_copy(update=shared)
