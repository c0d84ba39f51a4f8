"""The training loop, the same for every stage of every method."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hrpro.devices import full_float32
from hrpro.errors import HrproError
from hrpro.localize.methods.base import Stage, StageState
from hrpro.localize.nn.ema import WeightAverage
from hrpro.localize.nn.precision import Precision, autocast, resolve_precision
from hrpro.localize.sampling.epochs import EpochBatches, derive_seed
from hrpro.localize.training.checkpoint import (
    Checkpoint,
    load_checkpoint,
    load_optimizer,
    optimizer_tensors,
    save_checkpoint,
)
from hrpro.localize.training.compilation import CompiledOrPlain
from hrpro.localize.training.interruption import Interruption, held_back
from hrpro.localize.training.optimization import (
    build_optimizer,
    learning_rate,
    set_learning_rate,
)

Losses = dict[str, float]

Evaluate = Callable[[int, Losses], None]
"""Called every so many updates and after the last one: their number, and the mean losses since
the previous call. The stage's model then has the weights that count."""

Watch = Callable[[list[tuple[int, Losses]]], None]
"""Called about twice a second: the updates since the previous call, by their number from 1."""

_WATCH_S = 0.5


@dataclass(frozen=True)
class TrainerConfig:
    """How to train, as far as it does not depend on the stage."""

    seed: int = 0
    """Of shuffling, dropout and sampling."""
    precision: Precision = "float32"
    """Arithmetic of the networks."""
    ema: float | None = None
    """Decay of the average of the weights; None for no average."""
    save_every_s: float = 60.0
    """Seconds between checkpoints."""
    rate_keys: tuple[str, ...] = ("localize.lr",)
    """Settings that learning rates are taken from, to name them where one is too high."""
    compile: bool = False
    """Let ``torch.compile`` have what it can of an update."""


class Trainer:
    """Trains the model of a stage, saves checkpoints and goes on from them.

    All random numbers of an update are seeded anew by its number. So it is a function of the
    weights before it and of the seed: training that was resumed repeats one that was not
    interrupted, and evaluating more or less often changes nothing.

    Args:
        stage: what to train.
        config: how.
        checkpoint: file for checkpoints.
        notes: what `evaluate` of `run` writes down, as JSON can hold it. Saved with every
            checkpoint, and put back in place by `load`.
    """

    def __init__(
        self, stage: Stage, config: TrainerConfig, checkpoint: Path, notes: dict[str, Any]
    ) -> None:
        schedule = stage.schedule
        self.stage, self.config, self.checkpoint, self.notes = stage, config, checkpoint, notes
        self.device = next(stage.model.parameters()).device
        self.batches = EpochBatches(stage.num_videos, schedule.batch_videos, config.seed)
        self.optimizer = build_optimizer(stage.model, schedule)
        self.average = stage.average
        if self.average is None and config.ema:
            self.average = WeightAverage(stage.model, config.ema)
        self.num_done = 0
        # Only the forward pass is under autocast; the backward pass follows its number formats.
        self._exact = resolve_precision(self.device, config.precision) is torch.float32
        self._compiled = CompiledOrPlain(stage, self.device) if config.compile else None
        self._unread: list[tuple[int, list[str], Tensor]] = []
        self._loss_sums: Losses = {}
        self._num_summed = 0

    def run(self, evaluate: Evaluate, watch: Watch) -> None:
        """Train to the end; then the model has the weights that count.

        On Ctrl-C and SIGTERM, the update that is being made is finished, and all of them are saved.

        Args:
            evaluate: measures the model; see `Evaluate`.
            watch: shows progress; see `Watch`.

        Raises:
            HrproError: a loss is not a number, or the checkpoint cannot be written.
            KeyboardInterrupt: it was stopped, if that is what Ctrl-C or SIGTERM raise.
        """
        with held_back() as asked_to_stop:
            self._run(evaluate, watch, asked_to_stop)
            if asked_to_stop:
                return  # the signal takes effect at the end of this block
        if self.average:
            self.average.swap()

    def _run(self, evaluate: Evaluate, watch: Watch, asked_to_stop: Interruption) -> None:
        if self.num_done == 0:
            self._seed(0)
            self.stage.prepare()
        total, every = self.stage.schedule.updates, self.stage.schedule.eval_every
        if self._compiled and self.num_done < total:
            self._compiled.prove(lambda: self._gradients(0))
        saved = watched = time.monotonic()
        while self.num_done < total and not asked_to_stop:
            self._update()
            if self.num_done % every == 0 or self.num_done == total:
                self._read_losses(watch)
                with self.average.applied() if self.average else nullcontext():
                    evaluate(self.num_done, self._mean_losses())
            if time.monotonic() - watched >= _WATCH_S:
                self._read_losses(watch)
                watched = time.monotonic()
            if time.monotonic() - saved >= self.config.save_every_s and self.num_done < total:
                self._read_losses(watch)
                self._save()
                saved = time.monotonic()
        if asked_to_stop and self.num_done:
            self._read_losses(watch)
            self._save()

    def _seed(self, number: int) -> None:
        torch.manual_seed(derive_seed(self.config.seed, number))

    def _update(self) -> None:
        make = partial(self._gradients, self.num_done)
        try:
            losses = self._compiled(make) if self._compiled else make()
        except RuntimeError as error:
            # PyTorch's cross entropy refuses NaN before any loss can show it.
            if "between 0 and 1" in str(error) or "device-side assert" in str(error):
                raise self._diverged(self.num_done + 1) from error
            raise
        if losses is not None:
            self._step()
        self.num_done += 1
        self.stage.after_update(self.num_done)
        if losses is not None:
            if self.average:
                self.average.update(self.num_done)
            values = torch.stack([loss.detach() for loss in losses.values()])
            self._unread.append((self.num_done, list(losses), values))

    def _gradients(self, update: int) -> dict[str, Tensor] | None:
        """The losses of an update, counted from 0, whose gradients the parameters then have."""
        self._seed(update + 1)
        self.stage.model.train()
        self.optimizer.zero_grad()
        with autocast(self.device, self.config.precision):
            losses = self.stage.losses(self.batches[update])
        if losses is not None:
            with full_float32(self.device) if self._exact else nullcontext():
                losses["total"].backward()
        return losses

    def _step(self) -> None:
        schedule = self.stage.schedule
        set_learning_rate(self.optimizer, learning_rate(schedule, self.num_done))
        if schedule.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.stage.model.parameters(), schedule.clip_norm)
        self.optimizer.step()

    def _read_losses(self, watch: Watch) -> None:
        """Bring the losses of several updates from the device at once, and pass them on."""
        if not self._unread:
            return
        rows = torch.stack([values for _, _, values in self._unread]).cpu().double().tolist()
        read = [
            (update, dict(zip(names, row, strict=True)))
            for (update, names, _), row in zip(self._unread, rows, strict=True)
        ]
        self._unread = []
        for update, losses in read:
            if not math.isfinite(losses["total"]):
                raise self._diverged(update)
            for name, loss in losses.items():
                self._loss_sums[name] = self._loss_sums.get(name, 0.0) + loss
            self._num_summed += 1
        watch(read)

    def _diverged(self, update: int) -> HrproError:
        settings = " or ".join(f"{key}=..." for key in self.config.rate_keys)
        return HrproError(
            f"the loss is not a finite number any more at update {update}; lower the learning "
            f"rate{f' (--set {settings})' if settings else ''}, or use --precision float32"
        )

    def _mean_losses(self) -> Losses:
        means = {name: total / max(self._num_summed, 1) for name, total in self._loss_sums.items()}
        self._loss_sums, self._num_summed = {}, 0
        return means

    def _save(self) -> None:
        tensors = {
            "model": self.stage.model.state_dict(),
            "optimizer": optimizer_tensors(self.optimizer),
        }
        if self.average:
            tensors["average"] = self.average.tensors
        own = self.stage.state()
        tensors["stage"] = own.tensors
        state = {
            "num_done": self.num_done,
            "stage": own.values,
            "loss_sums": self._loss_sums,
            "num_summed": self._num_summed,
            "notes": self.notes,
        }
        save_checkpoint(self.checkpoint, Checkpoint(tensors, state))

    def load(self) -> None:
        """Go on from the checkpoint.

        Raises:
            DataError: it cannot be read.
        """
        checkpoint = load_checkpoint(self.checkpoint)
        self.stage.model.load_state_dict(checkpoint.tensors["model"])
        load_optimizer(self.optimizer, checkpoint.tensors["optimizer"])
        if self.average:
            self.average.load(checkpoint.tensors["average"])
        own = StageState(dict(checkpoint.tensors.get("stage", {})), checkpoint.state["stage"])
        self.stage.load_state(own)
        self.num_done = checkpoint.state["num_done"]
        self._loss_sums = checkpoint.state["loss_sums"]
        self._num_summed = checkpoint.state["num_summed"]
        self.notes.clear()
        self.notes.update(checkpoint.state["notes"])
