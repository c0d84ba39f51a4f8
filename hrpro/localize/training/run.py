"""A training run: the stages of a method one after the other, each into a folder of the run.

RUN/                   model folder of the last trained stage, weights ``last``
RUN/best-on-test/      the same, with the weights that did best on the test set
RUN/stage1/            model folder of stage 1 alone, with its own best-on-test/
RUN/stage2/            model folder of both stages
RUN/stage*/checkpoint.safetensors    while the stage is in training
RUN/stage*/history.json              when it is done: losses and mAP along the way
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from hrpro.configs.loader import changes, known_keys, save_config
from hrpro.errors import DataError, UsageError
from hrpro.files import read_json, write_json
from hrpro.localize.config import RunConfig, load_config
from hrpro.localize.data.config import about_dataset
from hrpro.localize.data.dataset import Dataset
from hrpro.localize.data.supervision import Supervision
from hrpro.localize.evaluation.average_precision import AveragePrecision
from hrpro.localize.evaluation.measure import from_json, measure, to_json
from hrpro.localize.methods import GENERATOR, find_method, get_method
from hrpro.localize.methods.base import Earlier, MethodConfig, Stage
from hrpro.localize.methods.student.config import GeneratedConfig
from hrpro.localize.sampling.epochs import derive_seed
from hrpro.localize.training.model_files import CONFIG_FILE, WEIGHTS_FILE
from hrpro.localize.training.model_folder import (
    BEST,
    FeaturesNeeded,
    Weights,
    load_model,
    publish,
    save_model,
)
from hrpro.localize.training.trainer import Losses, Trainer, TrainerConfig

CHECKPOINT, HISTORY = "checkpoint.safetensors", "history.json"


class Observer:
    """Who watches a training run; by default without doing anything."""

    def stage_begins(self, stage: int, num_updates: int, num_done: int) -> None:
        """A stage is ready to train; `num_done` updates were done before it was resumed."""

    def updates(self, stage: int, updates: list[tuple[int, Losses]]) -> None:
        """Some updates were done: their numbers from 1, and their losses."""

    def evaluated(self, stage: int, update: int, precision: AveragePrecision) -> None:
        """The model was measured on the test videos."""

    def stage_ends(self, stage: int) -> None:
        """A stage is trained."""


@dataclass
class StageResult:
    """What became of a stage."""

    stage: int
    last: AveragePrecision | None
    """None: there is no ground truth to measure against."""
    best: AveragePrecision | None
    """Chosen by the test set."""
    best_update: int | None
    num_updates: int
    seconds: float
    """Of training, evaluations included; of all sessions together."""


@dataclass
class TrainingRun:
    """Trains a method on a dataset.

    Attributes:
        folder: of the run.
        dataset: to train and to measure on.
        config: everything that decides the result.
        device: where the networks are.
        resume: skip stages that are done, go on with one that was interrupted.
        save_every_s: seconds between checkpoints.
        stage1: a model folder of the first stages, to build on in the place of the run's own; that
            of a generator will do, too.
        observers: who watches.
    """

    folder: Path
    dataset: Dataset
    config: RunConfig
    device: torch.device
    resume: bool = False
    save_every_s: float = 60.0
    stage1: Path | None = None
    observers: Sequence[Observer] = ()

    def __post_init__(self) -> None:
        self.method = get_method(self.config.localize)
        self._first = 1
        self.features = FeaturesNeeded.of(self.dataset)
        self.test_ids = [v.video_id for v in self.dataset.measured]

    def run(self, stages: Sequence[int] | None = None) -> list[StageResult]:
        """Train some stages, by default all that `stage1` lacks; the run's folder is then the
        model of the last.

        Raises:
            UsageError: there is no such stage, or the folder holds one already or made otherwise.
            DataError: the stage before is missing, or does not fit.
            HrproError: the folder cannot be written, or a loss is not a number.
        """
        stages = list(stages or range(self._first_stage(), self.method.num_stages + 1))
        self._first = stages[0]
        if stages[-1] > self.method.num_stages:
            raise UsageError(
                f"--stage {stages[-1]}: {self.config.localize.method} has "
                f"{self.method.num_stages} stages"
            )
        for stage in stages:
            self._check_folder(stage)
        if stages[0] > 1:
            self._load_previous(stages[0])
        return [self._train(stage) for stage in stages]

    def _first_stage(self) -> int:
        """The first stage that is not in `stage1`."""
        if self.stage1 is None:
            return 1
        num_stages = load_model(self.stage1).num_stages
        if num_stages >= self.method.num_stages:
            raise UsageError(
                f"{self.stage1}: is a model of {num_stages} stages, on which "
                f"{self.config.localize.method} builds no other; give one of an earlier stage, for "
                f"example {self.stage1 / 'stage1'}"
            )
        return num_stages + 1

    def _stage_folder(self, stage: int) -> Path:
        return self.folder / f"stage{stage}"

    def _check_folder(self, stage: int) -> None:
        folder = self._stage_folder(stage)
        if not (folder / CONFIG_FILE).exists():
            return
        if not self.resume:
            raise UsageError(
                f"{folder}: there is a training already; --resume goes on with it, or choose "
                "another --run-dir"
            )
        before = load_config(folder / CONFIG_FILE).model_dump(mode="json")
        differences = changes(before, self.config.model_dump(mode="json"))
        if texts := [f"{key}: {old} then, {new} now" for key, old, new in differences]:
            raise UsageError(
                f"{folder}: was begun with another config ({'; '.join(texts)}); resume with the "
                "same one, or choose another --run-dir"
            )

    def _train(self, number: int) -> StageResult:
        folder = self._stage_folder(number)
        identity = dataset_identity(self.dataset, self.config.localize.needs)
        if (folder / HISTORY).exists():
            history = read_json(folder / HISTORY)
            _check_identity(folder / HISTORY, history["dataset"], identity)
            publish(folder, self.folder)
            return _result(history)
        localizer = self._build(number)
        localize = self.config.localize
        seen = self.dataset.thinned(localize.stride)
        stage = self.method.stage(number, localizer, seen, localize, self.device)
        save_config(self.config, folder / CONFIG_FILE)
        notes: dict[str, Any] = {
            "stage": number, "dataset": identity, "updates": stage.schedule.updates,
            "seconds": 0.0, "evaluations": [], "best": None,
        }  # fmt: skip
        trainer = Trainer(
            stage,
            TrainerConfig(
                # Each stage has random numbers of its own.
                derive_seed(localize.seed, number),
                localize.precision,
                localize.ema,
                self.save_every_s,
                _rate_keys(localize, is_last=number == self.method.num_stages),
                localize.compile,
            ),
            folder / CHECKPOINT,
            notes,
        )
        if self.resume and trainer.checkpoint.exists():
            trainer.load()
            _check_identity(trainer.checkpoint, notes["dataset"], identity)
        for observer in self.observers:
            observer.stage_begins(number, stage.schedule.updates, trainer.num_done)
        clock = _Clock(notes)

        def evaluate(update: int, losses: Losses) -> None:
            self._evaluate(number, stage, localizer, update, losses, notes)
            clock.note()

        def watch(updates: list[tuple[int, Losses]]) -> None:
            clock.note()
            for observer in self.observers:
                observer.updates(number, updates)

        trainer.run(evaluate, watch)
        self._save(folder, localizer, number, "last", notes["updates"], notes["last"])
        write_json(folder / HISTORY, notes)
        trainer.checkpoint.unlink(missing_ok=True)
        publish(folder, self.folder)
        for observer in self.observers:
            observer.stage_ends(number)
        return _result(notes)

    def _build(self, number: int) -> nn.Module:
        torch.manual_seed(derive_seed(self.config.localize.seed, number, 0))
        try:
            localizer = self.method.build(
                self.dataset.dim, len(self.dataset.classes), self.config.localize, number
            )
        except ValueError as error:
            raise UsageError(f"localize: {error}") from error
        if number > 1:
            self._fill(localizer, self._load_previous(number), number)
        return localizer.to(self.device)

    def _fill(self, localizer: nn.Module, earlier: Mapping[str, torch.Tensor], number: int) -> None:
        """Put the weights of the stages before into a localizer that has one network more."""
        try:
            keys = localizer.load_state_dict(earlier, strict=False)
        except RuntimeError as error:  # of another shape
            raise self._does_not_fit(number, str(error).splitlines()[-1].strip()) from error
        gaps = self._weights_of(number - 1) & set(keys.missing_keys)
        if wrong := [*keys.unexpected_keys, *sorted(gaps)]:
            raise self._does_not_fit(number, f"{len(wrong)} weights differ, {wrong[0]!r} first")

    def _weights_of(self, num_stages: int) -> Set[str]:
        """Names of the weights of so many stages."""
        localize, num_classes = self.config.localize, len(self.dataset.classes)
        localizer = self.method.build(self.dataset.dim, num_classes, localize, num_stages)
        return set(localizer.state_dict())

    def _does_not_fit(self, number: int, reason: str) -> DataError:
        folder = self._earlier_folder(number)
        return DataError(
            f"{folder}: does not fit under stage {number}: {reason}; train stage {number - 1} "
            "again, in another --run-dir"
        )

    def _earlier_folder(self, number: int) -> Path:
        if self.stage1 is not None and number == self._first:
            return self.stage1
        folder = self._stage_folder(number - 1)
        best = self.method.earlier_weights(number, self.config.localize) == BEST
        return folder / BEST if best else folder

    def _load_previous(self, number: int) -> dict[str, torch.Tensor]:
        """Weights of the stages before, checked to fit."""
        folder = self._earlier_folder(number)
        if not folder.is_dir():
            raise DataError(
                f"{folder}: stage {number} builds on stage {number - 1}, which is not there; "
                f"train it first (without --stage {number})"
            )
        model = load_model(folder)
        if model.num_stages != number - 1:
            raise DataError(
                f"{folder}: is a model of {model.num_stages} stages; give one of stage "
                f"{number - 1} alone, for example {folder / f'stage{number - 1}'}"
            )
        localize = self.config.localize
        before, weights = self._as_own(model.config.localize, load_file(folder / WEIGHTS_FILE))
        same = {
            "classes": model.classes == self.dataset.classes,
            "feature width": model.features.dim == self.dataset.dim,
            "localize.method": before.method == localize.method,
        }
        wrong = [name for name, equal in same.items() if not equal]
        theirs = model.features.stride_left(_strides(model.config.localize))
        ours = self.features.stride_left(_strides(localize))
        if theirs != ours:
            wrong.append(f"snippets (one every {theirs} frames; here {ours})")
        if same["localize.method"]:
            earlier = Earlier(model.num_stages, before)
            wrong += self.method.differences(number, earlier, localize)
        if wrong:
            raise DataError(
                f"{folder}: was trained with other {', '.join(wrong)}; train stage "
                f"{number - 1} again, in another --run-dir"
            )
        return weights

    def _as_own(
        self, before: MethodConfig, weights: dict[str, torch.Tensor]
    ) -> tuple[MethodConfig, dict[str, torch.Tensor]]:
        """Settings and weights of a model; those of our generator, as if we had trained it."""
        localize = self.config.localize
        if before.method != find_method(localize.method).generator:
            return before, weights
        as_own = localize.model_copy(update={GENERATOR: before})
        return as_own, {f"{GENERATOR}.{name}": weight for name, weight in weights.items()}

    def _evaluate(
        self,
        number: int,
        stage: Stage,
        localizer: nn.Module,
        update: int,
        losses: Losses,
        notes: dict[str, Any],
    ) -> None:
        """Measure, note it, and keep the weights if they are the best so far."""
        notes["last"] = None
        if self.dataset.can_evaluate:
            precision = measure(self.dataset, self.test_ids, self.dataset.classes, stage.detect())
            notes["last"] = to_json(precision)
            for observer in self.observers:
                observer.evaluated(number, update, precision)
            best = notes["best"]
            if best is None or precision.average > best["test"]["average"]:
                notes["best"] = {"update": update, "test": notes["last"]}
                folder = self._stage_folder(number) / BEST
                self._save(folder, localizer, number, BEST, update, notes["last"])
        summary = notes["last"] and {k: notes["last"][k] for k in ("mAP", "average")}
        notes["evaluations"].append({"update": update, "losses": losses, "test": summary})

    def _save(
        self,
        folder: Path,
        localizer: nn.Module,
        number: int,
        weights: Weights,
        update: int,
        test: dict[str, Any] | None,
    ) -> None:
        metrics = {"stage": number, "weights": weights, "update": update, "test": test}
        metrics |= about_dataset(self.dataset.folder)
        save_model(
            folder, localizer, number, self.config, self.dataset.classes, self.features, metrics
        )


def _strides(localize: MethodConfig) -> list[int | None]:
    """By what the features are thinned, in turn, before the first stage sees them."""
    own = [localize.stride]
    return [*own, localize.generator.stride] if isinstance(localize, GeneratedConfig) else own


def _rate_keys(localize: MethodConfig, is_last: bool) -> tuple[str, ...]:
    """Settings that the learning rate of a stage may come from.

    Args:
        localize: of a method; maybe one that has a generator.
        is_last: whether it is the last stage, which is no generator's.
    """
    keys = [key for key in known_keys(type(localize)) if key.rpartition(".")[2] == "lr"]
    if GENERATOR in type(localize).model_fields:
        keys = [key for key in keys if key.startswith(f"{GENERATOR}.") != is_last]
    return tuple(f"localize.{key}" for key in keys)


class _Clock:
    """Counts the seconds of training in the notes, over interruptions."""

    def __init__(self, notes: dict[str, Any]) -> None:
        self._notes = notes
        self._before_s, self._begin = notes["seconds"], time.monotonic()

    def note(self) -> None:
        self._notes["seconds"] = round(self._before_s + time.monotonic() - self._begin, 3)


def dataset_identity(dataset: Dataset, needs: Supervision = "points") -> str:
    """A checksum of what is trained on: classes, videos, lengths, labels. Not of the features."""
    videos = [
        [v.video_id, v.subset, v.num_snippets, [(p.class_index, p.time_s) for p in v.points]]
        for v in (*dataset.train, *dataset.test)
    ]
    known: list[Any] = [dataset.classes, dataset.dim, videos]
    if needs != "points":
        known.append([v.labels for v in dataset.train])
    if needs == "full":
        known.append(
            [[(a.label, a.start_s, a.end_s) for a in v.actions or ()] for v in dataset.train]
        )
    text = json.dumps(known)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _check_identity(path: Path, before: str, now: str) -> None:
    if before != now:
        raise UsageError(
            f"{path}: the videos, points or classes of the dataset have changed since; choose "
            "another --run-dir"
        )


def _result(history: dict[str, Any]) -> StageResult:
    best = history["best"]
    return StageResult(
        stage=history["stage"],
        last=history["last"] and from_json(history["last"]),
        best=best and from_json(best["test"]),
        best_update=best and best["update"],
        num_updates=history["updates"],
        seconds=history["seconds"],
    )
