"""The recipe of a feature file: everything that changes the numbers in it."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from hrpro.errors import UsageError
from hrpro.extract.backbones import BACKBONES, Backbone, Stream
from hrpro.features import Fingerprint, WeightsId


class ExtractConfig(BaseModel):
    """How to turn a video into snippets and features. The defaults are the canonical ones."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    streams: tuple[Stream, ...] = Field(("rgb",), min_length=1)
    backbone: str = "i3d"
    """A key of `BACKBONES`."""
    fps: Fraction | None = Fraction(25)
    """Frames per second after resampling; None keeps the video's own frames."""
    snippet: int = Field(16, ge=8)
    """Frames per snippet; the network needs at least 8."""
    stride: int = Field(16, ge=1)
    """Frames from the start of one snippet to the start of the next."""
    short_side: int = Field(default_factory=lambda data: _backbone(data).short_side, ge=32)
    """Pixels of the shorter side after the resize; what the backbone was trained with."""
    crop: int = Field(default_factory=lambda data: _backbone(data).crop, ge=32)
    """Pixels of the centre crop, likewise."""
    flow: str = "dis"
    """Optical flow algorithm, used if the streams name ``flow``."""
    flow_bits: Literal[8] | None = None
    """8 rounds the flow to 256 steps, as the published feature sets do; None keeps it exact."""
    flow_weights: Literal["kinetics400", "cross-modal"] = "kinetics400"
    stream: int | None = Field(None, ge=0)
    """Index of the video stream to take; see `hrpro.extract.streams.choose_stream`."""

    @field_validator("streams")
    @classmethod
    def _rgb_first(cls, streams: tuple[Stream, ...]) -> tuple[Stream, ...]:
        if len(set(streams)) != len(streams):
            raise ValueError("names a stream twice")
        return tuple(sorted(streams, reverse=True))  # features are always [rgb | flow]

    @field_validator("backbone")
    @classmethod
    def _sees_streams(cls, backbone: str, info: ValidationInfo) -> str:
        if backbone not in BACKBONES:
            raise ValueError(f"choose one of {', '.join(BACKBONES)}")
        for stream in info.data.get("streams", ()):
            if stream not in BACKBONES[backbone].streams:
                raise ValueError(f"has no {stream} stream; use --streams rgb, or --backbone i3d")
        return backbone

    @field_validator("fps")
    @classmethod
    def _positive(cls, fps: Fraction | None) -> Fraction | None:
        if fps is not None and not 0 < fps <= 1000:
            raise ValueError("must be above 0 and at most 1000")
        return fps

    @field_validator("crop")
    @classmethod
    def _fits(cls, crop: int, info: ValidationInfo) -> int:
        if crop > info.data.get("short_side", crop):
            raise ValueError("must not be larger than the short side")
        return crop

    def fingerprint(
        self, weights: dict[str, WeightsId], flow: dict | None, precision: str
    ) -> Fingerprint:
        """The fingerprint of features made with this recipe and these weights.

        Args:
            weights: of each stream.
            flow: algorithm and parameters of the flow, if a stream uses it.
            precision: arithmetic of the networks.
        """
        if flow and self.flow_bits:
            flow = {**flow, "bits": self.flow_bits}
        return Fingerprint(
            backbone=self.backbone,
            streams=self.streams,
            fps=str(self.fps) if self.fps else "native",
            snippet=self.snippet,
            stride=self.stride,
            short_side=self.short_side,
            crop=self.crop,
            flow=flow,
            weights=weights,
            precision=precision,
            stream=self.stream,
        )

    @classmethod
    def from_fingerprint(cls, fingerprint: Fingerprint) -> ExtractConfig:
        """The recipe that makes features which match `fingerprint`.

        Which stream was asked for belongs to those videos, and is left out.

        Raises:
            UsageError: they are of a backbone that is not here.
        """
        if fingerprint.backbone not in BACKBONES:
            raise UsageError(
                f"features of {fingerprint.backbone} cannot be made here; "
                f"there are {', '.join(BACKBONES)}"
            )
        flow = fingerprint.flow or {}
        flow_source = fingerprint.weights.get("flow", WeightsId(sha256="")).source
        return cls(
            backbone=fingerprint.backbone,
            streams=fingerprint.streams,
            fps=None if fingerprint.fps == "native" else Fraction(fingerprint.fps),
            snippet=fingerprint.snippet,
            stride=fingerprint.stride,
            short_side=fingerprint.short_side,
            crop=fingerprint.crop,
            flow=flow.get("algorithm", "dis"),
            flow_bits=flow.get("bits"),
            flow_weights="cross-modal" if "cross-modal" in flow_source else "kinetics400",
        )


def _backbone(validated: dict[str, Any]) -> Backbone:
    return BACKBONES[validated.get("backbone", "i3d")]
