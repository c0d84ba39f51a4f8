"""Features of videos as the networks take them: tensors on their device, with their time grid."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import torch
from torch import Tensor

from hrpro.devices import upload
from hrpro.localize.data.dataset import Dataset, Video
from hrpro.localize.data.grid import SnippetGrid

PACKED_VALUES = 1 << 25
"""Feature values of the videos that go through a network at once in evaluation: 128 MiB."""


@dataclass(frozen=True)
class FeatureSequence:
    """The features of one video and where its snippets lie in time."""

    features: Tensor
    """``[T, D]`` float32."""
    grid: SnippetGrid

    def thinned(self, stride: int | None) -> FeatureSequence:
        """Every n-th snippet; see `SnippetGrid.thinned`."""
        factor = self.grid.thinning_factor(stride)
        return FeatureSequence(self.features[::factor], self.grid.thinned(stride))


class _ReadWhenAsked(Sequence[FeatureSequence]):
    """Videos by number or slice, from a way to read one."""

    @abstractmethod
    def _read(self, index: int) -> FeatureSequence: ...

    @overload
    def __getitem__(self, index: int) -> FeatureSequence: ...
    @overload
    def __getitem__(self, index: slice) -> list[FeatureSequence]: ...
    def __getitem__(self, index: int | slice) -> FeatureSequence | list[FeatureSequence]:
        """One video, or several."""
        if isinstance(index, slice):
            return [self._read(i) for i in range(len(self))[index]]
        return self._read(index)


class DatasetSequences(_ReadWhenAsked):
    """The features of some videos of a dataset, read when asked for.

    On a GPU they stay in its memory if all of them fit there well, so that an update copies
    nothing. On a CPU the dataset keeps them.
    """

    def __init__(self, dataset: Dataset, videos: Sequence[Video], device: torch.device) -> None:
        self._dataset, self._videos, self._device = dataset, videos, device
        num_bytes = sum(video.num_snippets for video in videos) * dataset.dim * 4
        self._keep = False
        if device.type == "cuda":
            self._keep = num_bytes < torch.cuda.mem_get_info(device)[0] / 4
        self._kept: dict[int, FeatureSequence] = {}

    def __len__(self) -> int:
        return len(self._videos)

    def _read(self, index: int) -> FeatureSequence:
        if index in self._kept:
            return self._kept[index]
        video = self._videos[index]
        with warnings.catch_warnings():
            # The dataset's arrays are read-only, which PyTorch cannot express; nobody writes here.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            features = torch.from_numpy(self._dataset.features(video))
        sequence = FeatureSequence(upload(features, self._device), video.grid)
        if self._keep:
            self._kept[index] = sequence
        return sequence


class ThinnedSequences(_ReadWhenAsked):
    """Every n-th snippet of some videos, read when asked for; see `SnippetGrid.thinned`."""

    def __init__(self, videos: Sequence[FeatureSequence], stride: int | None) -> None:
        self._videos, self._stride = videos, stride

    def __len__(self) -> int:
        return len(self._videos)

    def _read(self, index: int) -> FeatureSequence:
        return self._videos[index].thinned(self._stride)


def in_batches(sequences: Sequence[FeatureSequence]) -> Iterator[tuple[int, list[FeatureSequence]]]:
    """Consecutive videos, as many at a time as fit into memory, with the index of the first.

    A single video may be larger; its length is bounded by its file.
    """
    batch: list[FeatureSequence] = []
    size = first = 0
    for index, sequence in enumerate(sequences):
        if batch and size + sequence.features.numel() > PACKED_VALUES:
            yield first, batch
            batch, size, first = [], 0, index
        batch.append(sequence)
        size += sequence.features.numel()
    if batch:
        yield first, batch
