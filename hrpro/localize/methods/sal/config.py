"""Settings of SAL; the defaults are the release's for THUMOS14."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from hrpro.localize.methods.video_labels import OddKernel, VideoLabelConfig
from hrpro.localize.proposals.generate import ProposalConfig
from hrpro.localize.proposals.two_list_nms import TwoListNmsConfig


class SalProposals(ProposalConfig):
    """How proposals are cut out of the selection map."""

    class_threshold: float = 0.25
    upsample: int = Field(24, ge=1)
    score_thresholds: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    attention_thresholds: tuple[float, ...] = ()
    # The release means to leave the usual 0.25, but passes gamma in the place of the margin.
    outer_margin: float = Field(0.2, ge=0)
    gamma: float = 0.2
    contrast_above_threshold: bool = False


class SalNetwork(BaseModel):
    """The input and the layers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    length: PositiveInt = Field(750, description="snippets T that each video is sampled to")
    short_videos: Literal["repeat", "natural"] = Field(
        "repeat",
        description="of fewer snippets: repeat them evenly; natural: draw them with replacement in "
        "training, and detect at the natural length (ActivityNet)",
    )
    rgb_channels: PositiveInt | None = Field(
        None,
        description="leading feature channels that are RGB, the others are optical flow (1024 of "
        "the 2048 of two-stream I3D); null: one stream, which both actionness heads look at",
    )
    width: PositiveInt = Field(512, description="channels D of an embedding; D^3 weights follow")
    kernel: OddKernel = Field(3, description="snippets that the embedding of one looks at; odd")
    dropout: float = Field(0.5, ge=0, lt=1, description="of the embeddings")
    rgb_share: float = Field(0.1, ge=0, le=1, description="of the RGB head in the actionness")
    class_share: float = Field(
        1 / 3,
        ge=0,
        le=1,
        description="of the class probabilities in the selection map; both actionness heads have "
        "the same share of the rest",
    )
    select_by: Literal["map", "logits"] = Field(
        "map", description="what decides which snippets speak for a class"
    )
    topk_ratio: PositiveInt = Field(
        8, description="the best T / topk_ratio snippets speak for a class"
    )
    background_topk_ratio: PositiveInt = Field(8, description="the same, for the background")


class SalLosses(BaseModel):
    """Pseudo labels, adaptive mask and losses."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pseudo_snippets: PositiveInt | None = Field(
        None,
        description="pseudo actions are the best by actionness, as many as this; None: "
        "pseudo_extra more than speak for a class",
    )
    pseudo_extra: int = Field(17, ge=0, description="see pseudo_snippets")
    evidence_ratio: PositiveInt | None = Field(
        2,
        description="and among the best T / evidence_ratio by their class logits; None: any",
    )
    momentum: float = Field(
        0.7, ge=0, lt=1, description="share of the old mean and variance of the class probability"
    )
    mask_width: float = Field(
        0.5, gt=0, description="the mask is exp(-distance^2 / (mask_width * variance))"
    )
    exponent: float = Field(0.5, gt=0, le=1, description="q of the generalised cross entropy")
    class_weight: float = Field(1.0, ge=0, description="of the loss of the pooled snippets")
    background_weight: float = Field(10.0, ge=0, description="of the background loss")
    action_weight: float = Field(1.0, ge=0, description="of the actionness loss")
    mix_weight: float = Field(1.0, ge=0, description="of the same for mixed-up videos")
    consistency_weight: float = Field(5.0, ge=0, description="of the heads' disagreement")
    semantic_weight: float = Field(3.0, ge=0, description="of the loss of the video semantics")


class SalConfig(VideoLabelConfig):
    """How SAL learns and detects."""

    method: Literal["sal"] = "sal"
    updates: int = Field(10_000, ge=1, description="gradient steps")
    batch_videos: int = Field(
        2, ge=1, description="videos per update; each is mixed up with the one before it"
    )
    eval_every: int = Field(
        500, ge=1, description="updates between evaluations; the release: 10, on the test videos"
    )
    network: SalNetwork = SalNetwork()
    losses: SalLosses = SalLosses()
    pooled_share: float = Field(
        0.35,
        ge=0,
        le=1,
        description="of the pooled snippets in a video's score; the rest is its semantics'",
    )
    proposals: SalProposals = SalProposals()
    nms: TwoListNmsConfig = TwoListNmsConfig()
