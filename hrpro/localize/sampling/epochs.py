"""Which videos an update looks at."""

from __future__ import annotations

import numpy as np
import torch


def derive_seed(*parts: int) -> int:
    """A seed of 64 bits for one purpose, from the seed of the run and what tells them apart."""
    # With the number of parts in front: the sequence takes (1,) and (1, 0) for the same.
    return int(np.random.SeedSequence([len(parts), *parts]).generate_state(1, np.uint64)[0])


class EpochBatches:
    """Batches of videos out of epochs that are shuffled anew; a last partial batch is dropped.

    Fewer videos than a batch make one batch an epoch. Each update's videos follow from the seed
    and its number alone, so that there is no state to save.
    """

    def __init__(self, num_videos: int, batch_videos: int, seed: int) -> None:
        self.num_videos = num_videos
        self.batch_videos = min(batch_videos, num_videos)
        self.per_epoch = num_videos // self.batch_videos
        self._seed = seed
        self._epoch, self._order = -1, torch.empty(0)

    def __getitem__(self, update: int) -> list[int]:
        """Videos of an update, counted from 0."""
        epoch, place = divmod(update, self.per_epoch)
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(derive_seed(self._seed, 0, epoch))
            self._order = torch.randperm(self.num_videos, generator=generator)
            self._epoch = epoch
        first = place * self.batch_videos
        return self._order[first : first + self.batch_videos].tolist()
