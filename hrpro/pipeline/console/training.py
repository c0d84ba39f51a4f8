"""What a training run shows while it runs: a live line, or plain lines in a log file."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from rich.live import Live
from rich.text import Text

from hrpro.localize.evaluation.average_precision import AveragePrecision
from hrpro.localize.training.run import Observer
from hrpro.localize.training.trainer import Losses
from hrpro.pipeline.console.progress import Reporter

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

PLAIN_S = 10.0
"""Seconds between lines of progress where there is no terminal."""


class TrainingDisplay(Observer):
    """Prints losses, rate, remaining time and mAP."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._live: Live | None = None
        self._total = self._first = 0
        self._begin = 0.0
        self._printed = 0.0
        self._score = ""

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Keep the live line on the screen for the length of the block."""
        console = self._reporter.console
        if self._reporter.quiet or not console.is_terminal:
            yield
            return
        with Live(Text(""), console=console, transient=True, refresh_per_second=4) as self._live:
            try:
                yield
            finally:
                self._live = None

    def stage_begins(self, stage: int, num_updates: int, num_done: int) -> None:
        """Start to count."""
        self._total, self._first, self._begin = num_updates, num_done, time.monotonic()
        self._score, self._printed = "", self._begin
        resumed = f", going on after update {num_done}" if num_done else ""
        self._reporter.line(f"stage {stage}: {num_updates} updates{resumed}")

    def updates(self, stage: int, updates: list[tuple[int, Losses]]) -> None:
        """Show the last update."""
        number, losses = updates[-1]
        line = self._line(stage, number, losses)
        if self._live is not None:
            self._live.update(Text(line, no_wrap=False, overflow="fold"))
        elif time.monotonic() - self._printed >= PLAIN_S or number == self._total:
            self._reporter.line(line)
            self._printed = time.monotonic()

    def evaluated(self, stage: int, update: int, precision: AveragePrecision) -> None:
        """Say it, and keep it in the live line."""
        self._score = f"  mAP {100 * precision.average:.2f}"
        self._reporter.line(f"stage {stage}  {update}/{self._total}{self._score}")

    def stage_ends(self, stage: int) -> None:
        """Say how long it took."""
        seconds = time.monotonic() - self._begin
        self._reporter.line(f"stage {stage}: done in {timedelta(seconds=round(seconds))}")

    def _line(self, stage: int, number: int, losses: Losses) -> str:
        rate = (number - self._first) / max(time.monotonic() - self._begin, 1e-9)
        left = timedelta(seconds=round((self._total - number) / rate))
        parts = " ".join(f"{name} {loss:.4f}" for name, loss in losses.items() if name != "total")
        # What matters comes first: a narrow terminal breaks the line.
        pace = f"{number}/{self._total}  {rate:.2f} updates/s  ETA {left}{self._score}"
        return f"stage {stage}  {pace}  loss {losses['total']:.4f} ({parts})"


class TensorBoard(Observer):
    """Writes losses and mAP for TensorBoard."""

    _writer: SummaryWriter
    """That of the stage that is being trained."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def stage_begins(self, stage: int, num_updates: int, num_done: int) -> None:
        """Open the log of the stage; what lies after `num_done` is repeated and replaced."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(self._folder / f"stage{stage}"), purge_step=num_done + 1)

    def updates(self, stage: int, updates: list[tuple[int, Losses]]) -> None:
        """Write the losses of every update."""
        for number, losses in updates:
            for name, loss in losses.items():
                self._writer.add_scalar(f"loss/{name}", loss, number)

    def evaluated(self, stage: int, update: int, precision: AveragePrecision) -> None:
        """Write the mAP at every threshold and their average, in percent."""
        for tiou, value in zip(precision.tious, precision.mean, strict=True):
            self._writer.add_scalar(f"mAP/{tiou:g}", 100 * value, update)
        self._writer.add_scalar("mAP/average", 100 * precision.average, update)

    def stage_ends(self, stage: int) -> None:
        """Close the log."""
        self._writer.close()
