"""Videos of any length as exactly T snippets each, for methods that need equally long inputs.

Snippet i of T stands at the anchor ``i * L / T`` of the L snippets of a video: tests take the
snippet at the anchor, training a random one from there to the next anchor.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


def uniform_indices(num_snippets: int, length: int, keep_short: bool = False) -> Tensor:
    """Which snippet stands at each anchor, ``[length]`` int64.

    Args:
        num_snippets: L, of the video. An empty video has nothing to take: ``[0]``.
        length: T.
        keep_short: leave a video of at most T snippets as it is, except that a single snippet is
            taken twice. Otherwise its snippets are repeated.
    """
    if keep_short and num_snippets <= length:
        length = max(num_snippets, 2)
    if num_snippets == 0:
        length = 0
    return torch.arange(length) * num_snippets // max(length, 1)


def perturbed_bounds(num_snippets: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """First and last snippet, inclusive, of which each anchor takes one: ``[B, length]`` twice.

    From the snippet of the anchor to that of the next one; from the last anchor to the end of the
    video. A video of exactly `length` snippets is taken as it is.

    Args:
        num_snippets: ``[B]`` int64, at least 1 each.
        length: T.
    """
    of_video = num_snippets.unsqueeze(1)
    low = torch.arange(length) * of_video // length
    high = torch.cat([low[:, 1:], of_video - 1], dim=1)
    return low, torch.where(of_video == length, low, high)


def perturbed_indices(num_snippets: Tensor, random: Tensor) -> Tensor:
    """A random snippet around each anchor, ``[B, T]`` int64; the indices never decrease.

    Args:
        num_snippets: ``[B]`` int64, at least 1 each.
        random: ``[B, T]`` uniform numbers in [0, 1); see `perturbed_bounds` for what they choose.
    """
    return _draw(*perturbed_bounds(num_snippets, random.shape[1]), random)


def resampled_indices(num_snippets: Tensor, random: Tensor) -> Tensor:
    """As `perturbed_indices`, but shorter videos are drawn with replacement, in order of time.

    The last snippet of a longer video comes from anywhere behind the one before it. So does SAL
    on ActivityNet.
    """
    length = random.shape[1]
    of_video = num_snippets.unsqueeze(1)
    low, high = perturbed_bounds(num_snippets, length)
    drawn = _draw(low, high, random)
    if length > 1:
        longer = of_video[:, 0] > length
        low[longer, -1] = drawn[longer, -2]
        drawn = _draw(low, high, random)
    any_snippet = _draw(torch.zeros_like(low), (of_video - 1).expand_as(low), random)
    return torch.where(of_video < length, any_snippet.sort(dim=1).values, drawn)


def take(features: Iterable[Tensor], indices: Iterable[Tensor]) -> tuple[Tensor, Tensor | None]:
    """The chosen snippets of some videos as one tensor; see `pad_videos`.

    Args:
        features: ``[L, D]`` of each video.
        indices: ``[T]`` of each video.
    """
    return pad_videos([f[i.to(f.device)] for f, i in zip(features, indices, strict=True)])


def pad_videos(videos: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
    """Videos of ``[T, D]`` each as one tensor, filled up with zeros.

    Returns:
        ``[B, max T, D]``, and the T of each video ``[B]``, or None if they are all the same.
    """
    lengths = [len(video) for video in videos]
    if len(set(lengths)) == 1:
        return torch.stack(list(videos)), None
    batch = pad_sequence(list(videos), batch_first=True)
    return batch, torch.tensor(lengths, device=batch.device)


def _draw(low: Tensor, high: Tensor, random: Tensor) -> Tensor:
    """An integer from `low` to `high`, inclusive, by uniform numbers in [0, 1)."""
    drawn = low + (random.double() * (high - low + 1)).long()
    return torch.minimum(drawn, high)
