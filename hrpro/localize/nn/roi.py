"""Features of temporal regions by RoI alignment (HR-Pro, section 3.4)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK_VALUES = 1 << 25  # aligned feature values in memory at once: 128 MiB


def region_features(
    features: Tensor,
    proposals: Tensor,
    first_row: Tensor,
    num_snippets: Tensor,
    extension: float = 0.25,
    num_bins: int = 12,
    edge_bins: int = 2,
) -> Tensor:
    """Features of the start, the centre and the end of each proposal.

    A proposal, extended on both sides, is aligned to bins along time; each region is the maximum
    over its bins. Memory is bounded: proposals are worked off in chunks.

    Args:
        features: ``[S, D]`` packed snippet features of all videos.
        proposals: ``[M, 2]`` start and end, in snippets.
        first_row: ``[M]`` row of `features` where the proposal's video begins.
        num_snippets: ``[M]`` length of the proposal's video.
        extension: share of a proposal's length added on each side.
        num_bins: bins of the extended proposal.
        edge_bins: the first and the last so many bins are the start and the end region.

    Returns:
        ``[M, 3, D]``.
    """
    dim = features.shape[1]
    regions = features.new_empty((len(proposals), 3, dim))
    margin = _margin(proposals, extension)
    chunk = max(1, CHUNK_VALUES // (num_bins * max(dim, 1)))
    for at in range(0, len(proposals), chunk):
        part = slice(at, at + chunk)
        bins = align(
            features,
            proposals[part],
            first_row[part],
            num_snippets[part],
            extension,
            num_bins,
            margin,
        )
        torch.amax(bins[:, :edge_bins], dim=1, out=regions[part, 0])
        torch.amax(bins[:, edge_bins:-edge_bins], dim=1, out=regions[part, 1])
        torch.amax(bins[:, -edge_bins:], dim=1, out=regions[part, 2])
    return regions


def align(
    features: Tensor,
    proposals: Tensor,
    first_row: Tensor,
    num_snippets: Tensor,
    extension: float = 0.25,
    num_bins: int = 12,
    margin: Tensor | None = None,
) -> Tensor:
    """Average the snippets of each bin of the extended proposals; see `region_features`.

    Equal to `torchvision.ops.roi_align(aligned=False)` on a video with zeros around it and boxes
    moved by half a snippet: a bin of extent x snippets is the mean of ceil(x) points between
    which features are linear, and a box counts as at least one snippet long. Every bin is a
    weighted bag of snippets, of any video, so that one call serves all.

    Args are those of `region_features`, and `margin`: the zeros before each video that positions
    count from, by default as many as `proposals` need.

    Returns:
        ``[M, num_bins, D]``.
    """
    # Positions count from the begin of the zeros that the HR-Pro release puts before a video, so
    # that float32 rounds them alike; for 200 snippets that is a difference of 1e-5 snippets.
    margin = _margin(proposals, extension) if margin is None else margin
    length = proposals[:, 1] - proposals[:, 0]
    start = proposals[:, 0] - extension * length + margin - 0.5
    extent = proposals[:, 1] + extension * length + margin - 0.5 - start
    bin_extent = extent.clamp(min=1.0) / num_bins
    points_per_bin = bin_extent.ceil().long()  # [M]

    # One row per sampling point, in the order proposal, bin, point.
    bag_size = points_per_bin.repeat_interleave(num_bins)
    bag = torch.arange(len(bag_size), device=bag_size.device).repeat_interleave(bag_size)
    first_of_bag = bag_size.cumsum(0) - bag_size
    point = torch.arange(len(bag), device=bag.device) - first_of_bag[bag]
    proposal = bag // num_bins
    offset = (point + 0.5) * bin_extent[proposal] / points_per_bin[proposal]
    position = start[proposal] + (bag % num_bins) * bin_extent[proposal] + offset

    # Each point lies between two snippets; those outside of the video are zero.
    before = position.floor()
    share = position - before
    snippet = torch.stack([before, before + 1], dim=1).long() - margin.long()
    weight = torch.stack([1 - share, share], dim=1) / bag_size[bag].unsqueeze(1)
    limit = num_snippets[proposal].unsqueeze(1)
    inside = (snippet >= 0) & (snippet < limit)
    row = first_row[proposal].unsqueeze(1) + torch.where(inside, snippet, 0)
    bins = F.embedding_bag(
        row.flatten(),
        features,
        2 * first_of_bag,
        mode="sum",
        per_sample_weights=(weight * inside).to(features.dtype).flatten(),
    )
    return bins.unflatten(0, (-1, num_bins))


def _margin(proposals: Tensor, extension: float) -> Tensor:
    """Zeros before a video that the longest of its extended proposals needs."""
    length = proposals[:, 1] - proposals[:, 0]
    return (extension * F.pad(length, (0, 1)).max()).ceil() + 1
