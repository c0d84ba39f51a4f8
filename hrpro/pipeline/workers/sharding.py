"""Divide videos among the tasks of a cluster job."""

from __future__ import annotations

import heapq
import re
from collections.abc import Sequence
from dataclasses import dataclass

from hrpro.errors import UsageError
from hrpro.extract.sources import VideoSource
from hrpro.pipeline.workers.ledger import file_identity


@dataclass(frozen=True)
class Shard:
    """One of `count` parts of a list of videos, which together are the whole."""

    index: int
    """From 1 to `count`."""
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``2/8``: the second of eight.

        Raises:
            UsageError: not two numbers, or the first is not within the second.
        """
        match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text.strip(), re.ASCII)
        shard = cls(int(match[1]), int(match[2])) if match else None
        if shard is None or not 1 <= shard.index <= shard.count:
            raise UsageError(f"--shard {text}: give two numbers like 1/8, 2/8, ... 8/8")
        return shard

    def take(self, sources: Sequence[VideoSource]) -> list[VideoSource]:
        """The videos of this shard, in their order.

        The largest files are dealt first, each to the shard that has the fewest bytes so far, so
        that all shards take about as long. The same files give the same shards, in any order and
        on any machine; a file that is added or grows may change all of them.
        """
        sized = [(file_identity(source.path)[0] or 0, source) for source in sources]
        sized.sort(key=lambda pair: (-pair[0], pair[1].key))
        loads = [(0, 0, index) for index in range(1, self.count + 1)]  # bytes, videos, shard
        mine = set()
        for size, source in sized:
            load, videos, index = heapq.heappop(loads)
            heapq.heappush(loads, (load + size, videos + 1, index))
            if index == self.index:
                mine.add(source.key)
        return [source for source in sources if source.key in mine]

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"
