"""Settings of FuSTAL's generator; the defaults are the release's for THUMOS14."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from hrpro.localize.methods.video_labels import OddKernel, VideoLabelConfig
from hrpro.localize.proposals.generate import ProposalConfig

FUSTAL_PROPOSALS = ProposalConfig(
    class_threshold=0.2,
    upsample=24,
    score_thresholds=tuple(round(0.025 * i, 3) for i in range(10)),
    attention_thresholds=tuple(round(0.1 + 0.025 * i, 3) for i in range(33)),
    outer_margin=0.25,
    gamma=0.2,
    min_positions=2,
)
"""How FuSTAL cuts proposals out of the normalised activations and actionness."""


class GeneratorNetwork(BaseModel):
    """The input and the layers of the generator."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    length: PositiveInt = Field(750, description="snippets T that a training video is sampled to")
    width: PositiveInt | None = Field(
        None, description="channels of an embedding; None: as many as the features have"
    )
    kernel: OddKernel = Field(3, description="snippets that the embedding of one looks at; odd")
    dropout: float = Field(0.7, ge=0, lt=1, description="before the classifier")
    topk_ratio: PositiveInt = Field(
        5, description="the best T / topk_ratio snippets speak for a class"
    )


class ContrastConfig(BaseModel):
    """Which snippets are contrasted (CoLA, section 3.3), and how much that counts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    easy_ratio: PositiveInt = Field(5, description="T / easy_ratio easy snippets of each kind")
    hard_ratio: PositiveInt = Field(20, description="T / hard_ratio hard snippets of each kind")
    easy_dropout: float = Field(
        0.6, ge=0, lt=1, description="snippets that cannot be chosen as easy, at random"
    )
    inner_window: PositiveInt = Field(3, description="m of the erosions and dilations")
    outer_window: PositiveInt = Field(6, description="M of the erosions and dilations")
    temperature: float = Field(0.07, gt=0, description="of the contrast")
    weight: float = Field(0.01, ge=0, description="of both contrasts beside the video loss")
    cross_video_weight: float = Field(
        0.2, ge=0, description="of the contrast between videos of the same labels; 0 is CoLA"
    )


class GeneratorConfig(VideoLabelConfig):
    """How the generator of pseudo labels learns and proposes."""

    method: Literal["fustal-generator"] = "fustal-generator"
    updates: int = Field(6000, ge=1, description="gradient steps")
    eval_every: int = Field(100, ge=1, description="updates between evaluations")
    network: GeneratorNetwork = GeneratorNetwork()
    contrast: ContrastConfig = ContrastConfig()
    proposals: ProposalConfig = FUSTAL_PROPOSALS
    nms_threshold: float = Field(
        0.5,
        ge=0,
        le=1,
        description="the worse of two goes from this tIoU on; CoLA: 0.6",
    )
