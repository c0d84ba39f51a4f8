"""Settings of a dataset: what a preset or a folder's ``dataset.yaml`` may say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from hrpro.configs.loader import Layer, build_config, read_layer, read_layers
from hrpro.localize.data.grid import SnippetGrid
from hrpro.localize.data.protocol import THUMOS_TIOUS
from hrpro.videos_folder import DATASET_YAML

CLASS_KEYS = tuple("123456789abcdefghqrstuvwyABCDEFGHIJKLMNOPQRSTUVWXY")
"""Keys that can stand for a class on the label page, in the order in which classes get them; a
capital letter is Shift and the letter. The others move about in the video."""


Color = Annotated[str, Field(pattern="^#[0-9a-fA-F]{6}$")]


class GridConfig(BaseModel):
    """How features that carry no fingerprint were cut: the published sets are 25 / 16 / 16."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fps: float = Field(25.0, gt=0)
    """Frames per second after resampling."""
    snippet: int = Field(16, ge=1)
    """Frames per snippet."""
    stride: int = Field(16, ge=1)
    """Frames from one snippet to the next."""

    def grid(self) -> SnippetGrid:
        """Return the grid these settings describe."""
        return SnippetGrid(self.fps, self.snippet, self.stride)


class LabelConfig(BaseModel):
    """Settings of the label page; they change nothing in a training, and mostly stay out of what a
    training keeps."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reaction_s: float = Field(0.2, ge=0, le=5)
    """Seconds from the action to the key press, subtracted while the video plays."""
    keys: dict[str, str] = {}
    """Class -> its key, one of `CLASS_KEYS`; other classes get the next free one."""
    colors: dict[str, Color] = Field({}, exclude=True)
    """Class -> its colour, ``#rrggbb``, on the page, in reports and in pictures."""
    descriptions: dict[str, str] = Field({}, exclude=True)
    """Class -> what counts as it, for those who label."""

    @field_validator("keys", mode="before")
    @classmethod
    def _digits_are_keys(cls, keys: object) -> object:
        if not isinstance(keys, dict):
            return keys
        return {name: str(key) if type(key) is int else key for name, key in keys.items()}

    @field_validator("keys")
    @classmethod
    def _usable_keys(cls, keys: dict[str, str]) -> dict[str, str]:
        taken: dict[str, str] = {}
        for name, key in keys.items():
            if key not in CLASS_KEYS:
                raise ValueError(f"{key!r} cannot be a key; use one of {''.join(CLASS_KEYS)}")
            if key in taken:
                raise ValueError(f"{key!r} is the key of {taken[key]!r} and of {name!r}")
            taken[key] = name
        return keys


class DatasetConfig(BaseModel):
    """Settings of one dataset; section ``dataset`` of a run config."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = ""
    """Empty: the name of the folder."""
    classes: tuple[str, ...] | None = None
    """None: every class of the ground truth and of the points. Kept in alphabetical order."""
    fps: float | None = Field(None, gt=0)
    """Frames per second of the videos, for points in frames where the ground truth has no fps."""
    features: GridConfig = GridConfig()
    excluded_videos: tuple[str, ...] = ()
    """Videos left out of training and evaluation."""
    ground_truth: tuple[str, ...] = ("gt_full.json", "annotations.json")
    """File names; the first that exists is read."""
    ground_truth_prefix: str = ""
    """Put before the video names of the ground truth (ActivityNet: ``v_``)."""
    ambiguous: str | None = None
    """File of test segments whose detections do not count (THUMOS14: Ambiguous_test.txt)."""
    tiou: tuple[float, ...] = Field(THUMOS_TIOUS, min_length=1)
    """Overlaps at which mAP is measured."""
    cache_gb: float = Field(4.0, ge=0)
    """Features are kept in memory if all of them fit into this; else they stay mapped files."""
    renamed: dict[str, str | None] = Field({}, exclude=True)
    """What a class was called -> what it is called now, or null: see `hrpro dataset classes`."""
    subjects: tuple[str, ...] = Field((), exclude=True)
    """Who is seen in the videos: the label page asks who did it. Nothing is learned of them."""
    videos: str | None = Field(None, min_length=1)
    """Folder of the videos, if it is not ``videos/``: see `hrpro.videos_folder`."""
    label: LabelConfig = LabelConfig()

    @model_validator(mode="after")
    def _keys_of_known_classes(self) -> DatasetConfig:
        if self.classes is not None:
            for what in ("keys", "colors", "descriptions"):
                for name in getattr(self.label, what):
                    if name not in self.classes:
                        raise ValueError(f"label.{what}: {name!r} is not one of the classes")
        return self

    def for_training(self) -> DatasetConfig:
        """Return the settings without those that change nothing in a training."""
        return self.model_copy(
            update={"videos": None, "subjects": (), "renamed": {}, "label": LabelConfig()}
        )


def dataset_layers(folder: str | Path) -> tuple[str | None, list[Layer]]:
    """Read a folder's ``dataset.yaml``, if it is there.

    Returns:
        The preset it names (or None), and its settings as layers of section ``dataset``.

    Raises:
        UsageError: the file is not YAML.
    """
    path = Path(folder) / DATASET_YAML
    if not path.is_file():
        return None, []
    layer = read_layer(path)
    preset = layer.values.pop("preset", None)
    return preset, [layer.under("dataset")]


def read_dataset_config(folder: str | Path) -> DatasetConfig:
    """Settings of a dataset folder: those of the preset it names, then its ``dataset.yaml``.

    Raises:
        UsageError: an unknown preset or key, or a wrong value; names file and line.
    """
    preset, layers = dataset_layers(folder)
    presets = read_layers(preset) if preset else []
    for layer in presets:  # a preset is a whole run config; only its dataset section counts here
        layer.values.pop("localize", None)
    return build_config(_DatasetSection, [*presets, *layers]).dataset


def about_dataset(folder: Path) -> dict[str, Any]:
    """What a model keeps of the dataset of a person: where it is, and the colours of its classes.

    Nothing of a folder without ``dataset.yaml``.
    """
    if not (folder / DATASET_YAML).is_file():
        return {}
    colors = read_dataset_config(folder).label.colors
    return {"dataset": {"folder": str(folder.resolve()), **({"colors": colors} if colors else {})}}


class _DatasetSection(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: DatasetConfig = DatasetConfig()
