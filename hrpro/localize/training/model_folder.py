"""A trained model on disk: everything that detection and evaluation need, nothing pickled.

``model.safetensors`` (weights), ``config.yaml`` (the run config), ``classes.txt`` (one a line),
``fingerprint.json`` (the features it was trained on) and ``metrics.json`` (how good it was, and
which scores make an event).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from hrpro import __version__
from hrpro.configs.loader import save_config
from hrpro.errors import DataError
from hrpro.features import Fingerprint
from hrpro.files import atomic_path, read_json, write_json, write_text
from hrpro.localize.config import RunConfig, load_config
from hrpro.localize.data.config import GridConfig
from hrpro.localize.data.dataset import Dataset
from hrpro.localize.methods import get_method
from hrpro.localize.methods.base import Localizer
from hrpro.localize.methods.thinned import ThinnedLocalizer
from hrpro.localize.training.model_files import (
    CLASSES_FILE,
    CONFIG_FILE,
    FEATURES_FILE,
    FILES,
    METRICS_FILE,
    WEIGHTS_FILE,
    check_model_folder,
)
from hrpro.texts import read_text

Weights = Literal["last", "best-on-test"]
"""``last``: of the last update, the default. ``best-on-test``: chosen by the test set, only to
compare with publications that do so."""

BEST: Final = "best-on-test"
"""Folder beside the files of a model, with the weights that did best on the test set."""

EVENTS = "events"
"""What the metrics call the event scores; they lie there since format 2 and may be missing."""
HEADER = "hrpro"
UNVERSIONED, FORMAT = 1, 2
"""Format of a model folder: 1 if it does not say, else as the header of its weights says. What a
later hrpro writes in the same format, an earlier one can read."""


class FeaturesNeeded(BaseModel):
    """The features a model was trained on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dim: int = Field(gt=0)
    """Channels D."""
    grid: GridConfig = GridConfig()
    """Used where the fingerprint is not known."""
    fingerprint: Fingerprint | None = None
    """None: the features came from elsewhere and do not say how they were made."""

    def differences(self, dim: int, fingerprint: Fingerprint | None) -> list[str]:
        """What separates other features from these, one text per setting; empty if they match."""
        if dim != self.dim:
            return [f"channels: {self.dim} != {dim}"]
        if self.fingerprint is None and fingerprint is None:
            return []
        if self.fingerprint is None:
            return ["the features it was trained on do not say how they were made"]
        if fingerprint is None:
            return ["these features do not say how they were made (no sidecar .json)"]
        return self.fingerprint.difference(fingerprint)

    def check(self, dim: int, fingerprint: Fingerprint | None, allow_mixed: bool) -> str:
        """Refuse features that the model was not trained for.

        Returns:
            A warning if they differ and `allow_mixed` accepts that, else an empty text.

        Raises:
            DataError: they differ; says in what.
        """
        found = self.differences(dim, fingerprint)
        text = f"the model was trained on other features: {'; '.join(found)}"
        if not found:
            return ""
        if dim != self.dim:
            raise DataError(text)
        if not allow_mixed:
            raise DataError(f"{text}; --allow-mixed tries all the same")
        return text

    def stride_left(self, strides: Sequence[int | None]) -> int:
        """Frames from snippet to snippet where these features are thinned by each of `strides`."""
        grid = self.grid.grid()
        if self.fingerprint is not None:
            grid = replace(grid, stride=self.fingerprint.stride)
        for stride in strides:
            grid = grid.thinned(stride)
        return grid.stride

    @classmethod
    def of(cls, dataset: Dataset) -> FeaturesNeeded:
        """Those of a dataset."""
        return cls(dim=dataset.dim, grid=dataset.config.features, fingerprint=dataset.fingerprint)


class EventScores(BaseModel):
    """From which score on what the model finds is an event for people, chosen after training."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    threshold: float
    """For classes without one of their own."""
    thresholds: dict[str, float] = {}
    """By class."""
    chosen_on: str
    """What people had marked where, in words."""

    def line(self) -> str:
        """The scores in words."""
        values = [self.threshold, *self.thresholds.values()]
        text = f"score {self.threshold:.2f} and more"
        if len(set(values)) > 1:
            text += f" ({min(values):.2f} to {max(values):.2f} by class)"
        return f"{text}, chosen on the {self.chosen_on}"


@dataclass(frozen=True)
class TrainedModel:
    """A model folder in memory.

    Attributes:
        folder: where it was loaded from.
        localizer: in eval mode, on its device; thins what it is shown as it was trained.
        num_stages: how many stages were trained.
        config: what it was trained with.
        classes: names, by class index.
        features: what it has to be fed with.
        metrics: as measured when it was trained.
        event_scores: None in folders of earlier versions, and where nothing could be chosen.
    """

    folder: Path
    localizer: Localizer
    num_stages: int
    config: RunConfig
    classes: tuple[str, ...]
    features: FeaturesNeeded
    metrics: dict[str, Any]
    event_scores: EventScores | None = None


def save_model(
    folder: Path,
    localizer: nn.Module,
    num_stages: int,
    config: RunConfig,
    classes: tuple[str, ...],
    features: FeaturesNeeded,
    metrics: dict[str, Any],
) -> None:
    """Write a model folder, the weights last; see `TrainedModel`.

    Raises:
        HrproError: the folder cannot be written.
    """
    save_config(config, folder / CONFIG_FILE)
    write_text(folder / CLASSES_FILE, "".join(f"{name}\n" for name in classes))
    write_json(folder / FEATURES_FILE, features.model_dump(mode="json"))
    write_json(folder / METRICS_FILE, metrics)
    tensors = {name: t.detach().cpu().contiguous() for name, t in localizer.state_dict().items()}
    with atomic_path(folder / WEIGHTS_FILE) as temporary:
        header = {"num_stages": num_stages, "format": FORMAT, "hrpro": __version__}
        # One entry: safetensors writes several in an order that changes from run to run.
        save_file(tensors, temporary, metadata={HEADER: json.dumps(header)})


def load_model(folder: str | Path, device: str | torch.device = "cpu") -> TrainedModel:
    """Load a model folder.

    Raises:
        DataError: a file is missing or damaged, or they do not belong together.
        UsageError: the config is wrong.
    """
    folder = Path(folder)
    check_model_folder(folder)
    path = folder / WEIGHTS_FILE
    num_stages = _read_header(path)
    config = load_config(folder / CONFIG_FILE)
    classes = tuple(read_text(folder / CLASSES_FILE).splitlines())
    try:
        features = FeaturesNeeded.model_validate(read_json(folder / FEATURES_FILE))
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise DataError(f"{folder / FEATURES_FILE}: damaged: {reason}; train again") from error
    try:
        method = get_method(config.localize)
        localizer = method.build(features.dim, len(classes), config.localize, num_stages)
        localizer.load_state_dict(load_file(path))
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise _damaged(path) from error
    metrics = read_json(folder / METRICS_FILE)
    if config.localize.stride is not None:
        localizer = ThinnedLocalizer(localizer, config.localize.stride)
    localizer = localizer.to(device).eval()
    return TrainedModel(
        folder,
        localizer,
        num_stages,
        config,
        classes,
        features,
        metrics,
        _event_scores(folder, metrics),
    )


def save_event_scores(folder: Path, scores: EventScores) -> None:
    """Put the event scores of a model into its folder.

    Raises:
        HrproError: the folder cannot be written.
    """
    metrics = read_json(folder / METRICS_FILE)
    write_json(folder / METRICS_FILE, {**metrics, EVENTS: scores.model_dump(mode="json")})


def _event_scores(folder: Path, metrics: dict[str, Any]) -> EventScores | None:
    if metrics.get(EVENTS) is None:
        return None
    try:
        return EventScores.model_validate(metrics[EVENTS])
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise DataError(f"{folder / METRICS_FILE}: damaged: {reason}; train again") from error


def _read_header(path: Path) -> int:
    """The number of trained stages.

    Raises:
        DataError: the file is damaged, or of a later format.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        header = json.loads(metadata[HEADER]) if HEADER in metadata else metadata
        number, num_stages = int(header.get("format", UNVERSIONED)), int(header["num_stages"])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise _damaged(path) from error
    if number > FORMAT:
        raise DataError(
            f"{path.parent}: a model folder of format {number}, written by hrpro "
            f"{header.get('hrpro', '(unknown)')}; hrpro {__version__} reads formats up to "
            f"{FORMAT}: update hrpro, or train again with this one"
        )
    return num_stages


def _damaged(path: Path) -> DataError:
    return DataError(f"{path}: damaged, or not of the same model as the other files; train again")


def publish(source: Path, target: Path) -> None:
    """Put the files of a model folder, and of its best-on-test, into another one.

    Links are used where the disk can, for weights are large; files are only ever replaced whole.
    """
    for kind in (".", BEST):
        if not (source / kind / WEIGHTS_FILE).is_file():
            shutil.rmtree(target / kind, ignore_errors=True) if kind == BEST else None
            continue
        (target / kind).mkdir(parents=True, exist_ok=True)
        for name in FILES:
            with atomic_path(target / kind / name) as temporary:
                temporary.unlink()
                try:
                    os.link(source / kind / name, temporary)
                except OSError:
                    shutil.copyfile(source / kind / name, temporary)
