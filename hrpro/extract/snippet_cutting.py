"""Cut a stream of frames into snippets, with constant memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from typing import Literal, NamedTuple

import numpy as np
import torch

from hrpro.extract.flow.algorithms import FlowAlgorithm, scale_flow, to_grey
from hrpro.extract.read_ahead import map_ahead

Samples = np.ndarray | torch.Tensor
"""Of one stream: an array, or a tensor where they came to be on the device of the networks."""

Sample = tuple[Samples, ...]
"""What one moment of the video gives to each stream: ``(frame,)`` or ``(frame, flow field)``."""


class SnippetBlock(NamedTuple):
    """Neighbouring snippets, still as one run of samples, so that overlaps are stored once."""

    first: int
    """Index of the first snippet in the video."""
    num_snippets: int
    arrays: tuple[Samples, ...]
    """Per stream ``[(num_snippets - 1) * stride + length, H, W, channels]``."""
    num_frames: int
    """Frames of the video seen so far."""
    padded: bool
    """The video is shorter than one snippet; its last sample was repeated."""


def cut_snippets(
    samples: Iterable[Sample], length: int, stride: int, per_block: int
) -> Iterator[SnippetBlock]:
    """Cut samples into snippets of `length` frames, `stride` frames apart.

    A tail shorter than a snippet is dropped, as in the published feature sets; a video shorter
    than one snippet is padded with its last sample. The last block says how many frames there
    were, even if it holds no snippet.

    Args:
        samples: the video in time order.
        length: frames per snippet.
        stride: frames from start to start; may be smaller or larger than `length`.
        per_block: most snippets in one block.
    """
    block_frames = (per_block - 1) * stride + length
    pending: list[Sample] = []
    pending_start = first = num_frames = 0
    for num_frames, sample in enumerate(samples, start=1):
        if num_frames > pending_start:  # with stride > length some samples belong to no snippet
            pending.append(sample)
        if len(pending) == block_frames:
            yield SnippetBlock(first, per_block, _stack(pending), num_frames, False)
            first += per_block
            del pending[: per_block * stride]
            pending_start = first * stride
    if not num_frames:
        return
    padded = num_frames < length
    if padded:
        pending += [pending[-1]] * (length - num_frames)
    rest = max(0, (len(pending) - length) // stride + 1)
    kept = pending[: (rest - 1) * stride + length] if rest else []
    yield SnippetBlock(first, rest, _stack(kept), num_frames, padded)


def _stack(samples: list[Sample]) -> tuple[Samples, ...]:
    return tuple(
        torch.stack(stream) if isinstance(stream[0], torch.Tensor) else np.stack(stream)
        for stream in zip(*samples, strict=True)
    )


def with_flow(
    frames: Iterable[np.ndarray],
    algorithm: FlowAlgorithm,
    *,
    keep_rgb: bool,
    bits: Literal[8] | None = None,
    pool: Executor | None = None,
    ahead: int = 1,
) -> Iterator[Sample]:
    """Add to each frame its flow to the next one; the last frame repeats the field before it.

    Args:
        frames: ``[H, W, 3]`` uint8 RGB, already resized: flow is computed after the resize, as
            in kinetics-i3d.
        algorithm: which flow.
        keep_rgb: yield ``(frame, field)`` rather than ``(field,)``.
        bits: see `scale_flow`.
        pool: computes the flow while the next frames are decoded.
        ahead: chunks of frames that are under way in the pool.

    Yields:
        Samples whose field is ``[H, W, 2]`` float32, clamped and scaled to [-1, 1].
    """

    def flow_of(chunk: list[np.ndarray]) -> Samples:
        stacked = np.stack(chunk)
        return scale_flow(algorithm(stacked if algorithm.wants_rgb else to_grey(stacked)), bits)

    frame = field = None
    for chunk, fields in map_ahead(flow_of, _sharing_ends(frames, algorithm.chunk), pool, ahead):
        for frame, field in zip(chunk, fields, strict=False):
            yield (frame, field) if keep_rgb else (field,)
        frame = chunk[-1]
    if frame is None:
        return
    if field is None:  # a single frame does not move
        field = np.zeros((*frame.shape[:2], 2), np.float32)
    yield (frame, field) if keep_rgb else (field,)


def _sharing_ends(frames: Iterable[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
    """Chunks of at most `size` + 1 frames; each begins with the last frame of the one before."""
    chunk: list[np.ndarray] = []
    first = True
    for frame in frames:
        chunk.append(frame)
        if len(chunk) > size:
            yield chunk
            chunk, first = [frame], False
    if len(chunk) > 1 or (chunk and first):
        yield chunk
