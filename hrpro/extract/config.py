"""The recipe of a feature file: everything that changes the numbers in it."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from hrpro.features import Fingerprint, WeightsId

Stream = Literal["rgb", "flow"]


class ExtractConfig(BaseModel):
    """How to turn a video into snippets and features. The defaults are the canonical ones."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    streams: tuple[Stream, ...] = Field(("rgb",), min_length=1)
    fps: Fraction | None = Fraction(25)
    """Frames per second after resampling; None keeps the video's own frames."""
    snippet: int = Field(16, ge=8)
    """Frames per snippet; the network needs at least 8."""
    stride: int = Field(16, ge=1)
    """Frames from the start of one snippet to the start of the next."""
    short_side: int = Field(256, ge=32)
    """Pixels of the shorter side after the resize."""
    crop: int = Field(224, ge=32)
    """Pixels of the centre crop."""
    flow: str = "dis"
    """Optical flow algorithm, used if the streams name ``flow``."""
    flow_bits: Literal[8] | None = None
    """8 rounds the flow to 256 steps, as the published feature sets do; None keeps it exact."""
    flow_weights: Literal["kinetics400", "cross-modal"] = "kinetics400"

    @field_validator("streams")
    @classmethod
    def _rgb_first(cls, streams: tuple[Stream, ...]) -> tuple[Stream, ...]:
        if len(set(streams)) != len(streams):
            raise ValueError("names a stream twice")
        return tuple(sorted(streams, reverse=True))  # features are always [rgb | flow]

    @field_validator("fps")
    @classmethod
    def _positive(cls, fps: Fraction | None) -> Fraction | None:
        if fps is not None and not 0 < fps <= 1000:
            raise ValueError("must be above 0 and at most 1000")
        return fps

    @field_validator("crop")
    @classmethod
    def _fits(cls, crop: int, info) -> int:
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
            streams=self.streams,
            fps=str(self.fps) if self.fps else "native",
            snippet=self.snippet,
            stride=self.stride,
            short_side=self.short_side,
            crop=self.crop,
            flow=flow,
            weights=weights,
            precision=precision,
        )

    @classmethod
    def from_fingerprint(cls, fingerprint: Fingerprint) -> ExtractConfig:
        """The recipe that makes features which match `fingerprint`."""
        flow = fingerprint.flow or {}
        flow_source = fingerprint.weights.get("flow", WeightsId(sha256="")).source
        return cls(
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
