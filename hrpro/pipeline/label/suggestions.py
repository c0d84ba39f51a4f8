"""What a trained model found, to be accepted or rejected: ``label/suggestions.json``."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from hrpro.errors import DataError
from hrpro.files import read_json
from hrpro.pipeline.datasets.classes import Renamed, current_name


class SuggestedDetection(BaseModel):
    """One action that the model found, in seconds."""

    model_config = ConfigDict(frozen=True)

    label: str = Field(min_length=1)
    by_model: str | None = Field(None, exclude=True)
    """What the model calls it, if that is not its name any more."""
    score: FiniteFloat
    start_s: FiniteFloat = Field(ge=0)
    end_s: FiniteFloat

    @model_validator(mode="after")
    def _forwards(self) -> SuggestedDetection:
        if self.end_s < self.start_s:
            raise ValueError("the end lies before the start")
        return self

    @cached_property
    def id(self) -> str:
        """Name that stays the same when the same span is suggested again."""
        text = f"{self.by_model or self.label}\0{self.start_s!r}\0{self.end_s!r}"
        return "d" + hashlib.sha256(text.encode()).hexdigest()[:12]


class VideoSuggestions(BaseModel):
    """What the model makes of one video."""

    uncertainty: float | None = Field(None, ge=0, le=1)
    """How much is to be learned from labelling it."""
    detections: tuple[SuggestedDetection, ...] = ()

    @cached_property
    def by_id(self) -> dict[str, SuggestedDetection]:
        """The detections by their names, in order of time."""
        ordered = sorted(self.detections, key=lambda found: (found.start_s, found.end_s))
        return {found.id: found for found in ordered}


class Suggestions(BaseModel):
    """The whole file."""

    model: str | None = None
    videos: dict[str, VideoSuggestions] = {}

    def video(self, video_id: str) -> VideoSuggestions:
        """What there is for a video, which may be nothing."""
        return self.videos.get(video_id, VideoSuggestions())

    def renamed(self, names: Renamed) -> Suggestions:
        """Return them under the present names of their classes, without those deleted since."""
        videos = {
            video_id: each.model_copy(
                update={
                    "detections": tuple(
                        found if label == found.label else _under(found, label)
                        for found in each.detections
                        if (label := current_name(found.label, names)) is not None
                    )
                }
            )
            for video_id, each in self.videos.items()
        }
        return self.model_copy(update={"videos": videos})


def _under(found: SuggestedDetection, label: str) -> SuggestedDetection:
    return found.model_copy(update={"label": label, "by_model": found.label})


def read_suggestions(path: Path) -> Suggestions:
    """Read the file; without one there are no suggestions.

    Raises:
        DataError: it is damaged.
    """
    if not path.is_file():
        return Suggestions()
    try:
        return Suggestions.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise DataError(f"{path}: {place or 'content'}: {first['msg']}") from error
