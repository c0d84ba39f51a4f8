"""Pack the snippets of many videos into full batches, and hand the results back to each video.

A batch takes what comes next, across the borders of blocks and of videos, so that short videos
keep a GPU as busy as long ones do. Overlapping snippets stay one run of samples up to the device.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from hrpro.extract.snippet_cutting import Samples, SnippetBlock


@dataclass(frozen=True)
class Part:
    """Neighbouring snippets of one block; a part without snippets marks a moment in the order."""

    owner: Any
    """Whose they are."""
    block: SnippetBlock | None
    start: int = 0
    """First snippet, counted within the block."""
    stop: int = 0

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def first(self) -> int:
        """Index of the first snippet in its video."""
        return self.block.first + self.start if self.block else 0

    def runs(self, length: int, stride: int) -> tuple[Samples, ...]:
        """The samples of these snippets, ``[(n - 1) * stride + length, H, W, channels]`` each."""
        assert self.block is not None
        samples = slice(self.start * stride, (self.stop - 1) * stride + length)
        return tuple(array[samples] for array in self.block.arrays)


class Rows(NamedTuple):
    """What the networks say about a part."""

    part: Part
    features: np.ndarray
    """``[n, dim]`` float32."""
    logits: np.ndarray
    """``[n, classes]`` float32."""


class Running(Protocol):
    """A batch on the device."""

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Wait for features ``[B, dim]`` and logits ``[B, classes]``, float32."""

    def cancel(self) -> None:
        """Do not begin with it, if it has not begun."""


class Runner(Protocol):
    """What runs batches; see `hrpro.extract.networks.Networks`."""

    batch_size: int
    """Most snippets in one batch."""
    ahead: int
    """Batches that may be on the device while the next one is prepared."""

    def launch(self, parts: list[Part]) -> Running:
        """Start a batch.

        Raises:
            torch.OutOfMemoryError: the device has no room for it.
        """

    def shrink(self) -> None:
        """Halve the batch size.

        Raises:
            HrproError: it is 1 already.
        """


class Packer:
    """Parts in the order in which they came, taken out in batches."""

    def __init__(self) -> None:
        self._parts: deque[Part] = deque()
        self._waiting = 0

    def add(self, owner: Any, block: SnippetBlock | None) -> None:
        """Append the snippets of a block, or a mark (no block)."""
        part = Part(owner, block, 0, block.num_snippets if block else 0)
        self._parts.append(part)
        self._waiting += len(part)

    def ready(self, size: int, flush: bool) -> bool:
        """Whether there is a full batch, or anything if there is to be no waiting for more."""
        if self._waiting >= size:
            return True
        return bool(self._parts) and (flush or not self._waiting)

    def take(self, size: int) -> list[Part]:
        """Take out at most `size` snippets, and the marks right behind them."""
        taken: list[Part] = []
        room = size
        while self._parts and (room or not len(self._parts[0])):
            part = self._parts.popleft()
            if len(part) > room:
                cut = part.start + room
                self._parts.appendleft(replace(part, start=cut))
                part = replace(part, stop=cut)
            taken.append(part)
            room -= len(part)
        self._waiting -= size - room
        return taken

    def put_back(self, parts: list[Part]) -> None:
        """Undo `take`."""
        self._parts.extendleft(reversed(parts))
        self._waiting += sum(map(len, parts))


def run_batches(
    blocks: Iterable[tuple[Any, SnippetBlock | None] | None], runner: Runner
) -> Generator[Rows, None, None]:
    """Run the snippets of `blocks` in batches as full as possible.

    Args:
        blocks: snippets and whose they are. ``(owner, None)`` comes back in its place, without
            rows. None means that nothing follows soon: what is there is run then.
        runner: the networks. Where a batch does not fit on the device, it is told to shrink.

    Yields:
        The rows of each part, in the order of the blocks. A block may come back in several parts.
        Close the generator to stop early.

    Raises:
        HrproError: not even one snippet fits on the device.
    """
    packer = Packer()
    running: deque[tuple[list[Part], Running]] = deque()

    def collect() -> Iterator[Rows]:
        parts, batch = running.popleft()
        features, logits = batch.result()
        row = 0
        for part in parts:
            end = row + len(part)
            yield Rows(part, features[row:end], logits[row:end])
            row = end

    try:
        for tagged in chain(blocks, [None]):
            flush = tagged is None
            if tagged is not None:
                packer.add(*tagged)
            while packer.ready(runner.batch_size, flush):
                parts = packer.take(runner.batch_size)
                try:
                    running.append((parts, runner.launch(parts)))
                except torch.OutOfMemoryError:
                    packer.put_back(parts)
                else:
                    if len(running) > runner.ahead:
                        yield from collect()
                    continue
                # Only now, outside of the handler, nothing refers to the failed batch's tensors.
                runner.shrink()
            while flush and running:
                yield from collect()
    finally:
        for _, batch in running:
            batch.cancel()
