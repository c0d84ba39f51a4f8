"""Settings of HR-Pro. Where nothing else is said, the defaults are those of its release."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from hrpro.localize.methods.base import ScheduledConfig
from hrpro.localize.proposals.generate import ProposalConfig
from hrpro.localize.proposals.nms import NmsConfig


class SnippetConfig(BaseModel):
    """Architecture and loss of stage 1. Defaults are those of the HR-Pro release."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    num_blocks: int = Field(2, ge=0, description="reliability-aware attention blocks")
    num_heads: PositiveInt = Field(8, description="attention heads; must divide the feature width")
    feedforward_dim: PositiveInt = Field(128, description="hidden width of a block's feed-forward")
    activation: Literal["relu", "gelu"] = Field(
        "relu", description="of the feed-forward: relu in the release, gelu in the paper"
    )
    attention_dropout: float = Field(0.1, ge=0, lt=1, description="of the attention weights")
    block_dropout: float = Field(0.3, ge=0, lt=1, description="of what a block adds to a token")
    head_dropout: float = Field(0.7, ge=0, lt=1, description="before the classifier")
    memory_tokens: Literal["reshaped", "prototypes"] = Field(
        "reshaped",
        description="prototypes: each memory token is the prototype of one class, as in the "
        "paper; reshaped: the release reshapes [C, D] to [D, C] where it means to transpose, so "
        "that a token holds some channels of every class",
    )
    memory_momentum: float = Field(0.999, ge=0, le=1, description="share of the old prototype")
    topk_ratio: PositiveInt = Field(
        8, description="a video's score is the mean over its best T / topk_ratio snippets"
    )
    action_threshold: float = Field(0.1, description="background score b of an action snippet <=")
    background_threshold: float = Field(0.95, description="b of a background snippet >=")
    action_targets: Literal["points", "pseudo"] = Field(
        "points",
        description="snippets of the action loss: the points (release) or all pseudo-action "
        "snippets (paper)",
    )
    focal_exponent: float = Field(2.0, ge=0, description="of the snippet losses")
    temperature: float = Field(0.1, gt=0, description="of the contrast loss")
    contrast_snippets: Literal["runs", "all"] = Field(
        "runs",
        description="pseudo snippets of the contrast loss: all, or those in runs as the release "
        "finds them, which leaves out each video's last snippet and labels that never change",
    )
    video_weight: float = Field(0.0, ge=0, description="weight of the video loss")
    action_weight: float = Field(0.5, ge=0, description="weight of the action loss")
    background_weight: float = Field(1.0, ge=0, description="weight of the background loss")
    contrast_weight: float = Field(1.0, ge=0, description="weight of the contrast loss")


class InstanceConfig(BaseModel):
    """Architecture and loss of stage 2. Defaults are those of the HR-Pro release."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    extension: float = Field(
        0.25, ge=0, description="share of its length by which a proposal is extended on each side"
    )
    num_bins: PositiveInt = Field(12, description="bins along time of an extended proposal")
    edge_bins: PositiveInt = Field(2, description="bins of the start and of the end region")
    dropout: float = Field(0.7, ge=0, lt=1, description="in the score head")
    offset_sign: Literal["plus", "minus"] = Field(
        "plus", description="refined boundary = boundary plus (release) or minus (paper) offset"
    )
    max_proposals: PositiveInt = Field(
        1000, description="proposals of a video in training; more are drawn from at random"
    )
    positive_iou: float = Field(
        0.3, description="a proposal is positive if it overlaps a reliable one at least so much"
    )
    class_aware_matching: bool = Field(
        False, description="match reliable proposals of the same class only; the release: any"
    )
    completeness_weight: float = Field(
        1.0, ge=0, description="weight of the completeness beside the outer-inner contrast"
    )
    regression_weight: float = Field(1.0, ge=0, description="weight of the regression loss")
    score_weight: float = Field(1.0, ge=0, description="weight of the score loss")


class InstanceTraining(BaseModel):
    """Training of stage 2, instance-level completeness. Defaults are the release's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lr: float = Field(5e-5, gt=0, description="learning rate of Adam")
    weight_decay: float = Field(5e-4, ge=0, description="of Adam")
    epochs: int = Field(20, ge=1, description="passes over the training videos")
    batch_videos: int = Field(10, ge=1, description="videos per update; a last partial is dropped")
    negative_ratio: float = Field(
        0.5, ge=0, description="random negative proposals per candidate of a training video"
    )
    eval_every: int = Field(1, ge=1, description="epochs between evaluations")
    stage1_weights: Literal["last", "best-on-test"] = Field(
        "last",
        description="which weights of stage 1 to build on; best-on-test, as the release does, "
        "chooses them by the test set",
    )


class HrproConfig(ScheduledConfig):
    """How HR-Pro learns. The keys beside the sections train stage 1, snippet by snippet."""

    method: Literal["hrpro"] = "hrpro"
    weight_decay: float = Field(5e-4, ge=0, description="of Adam; the paper says 1e-3")
    snippet: SnippetConfig = SnippetConfig()
    proposals: ProposalConfig = ProposalConfig()
    nms: NmsConfig = NmsConfig()
    instance: InstanceConfig = InstanceConfig()
    stage2: InstanceTraining = InstanceTraining()
