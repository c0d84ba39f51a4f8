"""Self-attention within each video of a packed batch, without a ``[T, T]`` matrix in memory.

PyTorch's fused attention does this on a GPU and at inference. It has no dropout on a CPU, where
it would fall back to whole matrices and draw a random number for each of their 8 x 2600 x 2600
entries; `_TiledAttention` takes its place there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hrpro.localize.nn.dropout import draw_kept
from hrpro.localize.sampling.packing import Packing

TILE_SIZE = 1 << 20  # attention weights worked on at once: about what a CPU cache holds


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    packing: Packing,
    num_heads: int,
    dropout: float = 0.0,
) -> Tensor:
    """Multi-head scaled-dot-product attention; tokens see those of their own video only.

    Args:
        query: ``[N, D]`` packed tokens, projected; `key` and `value` likewise.
        key: ``[N, D]``.
        value: ``[N, D]``.
        packing: where each video lies among the N.
        num_heads: heads; divides D.
        dropout: share of the attention weights set to zero.

    Returns:
        ``[N, D]``, heads side by side.
    """
    if dropout > 0 and query.device.type == "cpu":
        return _TiledAttention.apply(query, key, value, packing.lengths, num_heads, dropout)
    if query.device.type != "cpu":
        return attend_in_buckets(query, key, value, packing, num_heads, dropout)
    outputs = []
    for q, k, v in zip(*(packing.split(x) for x in (query, key, value)), strict=True):
        q, k, v = (_to_heads(x, num_heads).unsqueeze(0) for x in (q, k, v))
        attended = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
        outputs.append(_from_heads(attended.squeeze(0)))
    return torch.cat(outputs)


def attend_in_buckets(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    packing: Packing,
    num_heads: int,
    dropout: float = 0.0,
) -> Tensor:
    """Attention of videos of about the same length in one call; see `attend`.

    A GPU is kept waiting by the calls of single videos, and by cutting them out one by one.
    """
    buckets = packing.buckets
    padded = [x.index_select(0, buckets.rows).split(buckets.sizes) for x in (query, key, value)]
    outputs = []
    for mask, *qkv in zip(buckets.masks, *padded, strict=True):
        q, k, v = (
            x.view(*mask.shape, num_heads, -1).transpose(1, 2)  # [videos, heads, T, D / heads]
            for x in qkv
        )
        seen = mask[:, None, None] if len(mask) > 1 else None  # a single video is all there
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, dropout_p=dropout)
        outputs.append(attended.transpose(1, 2).flatten(2).flatten(0, 1))
    return torch.cat(outputs).index_select(0, buckets.places)


def _to_heads(tokens: Tensor, num_heads: int) -> Tensor:
    """``[T, D]`` to ``[heads, T, D / heads]``."""
    return tokens.unflatten(1, (num_heads, -1)).transpose(0, 1)


def _from_heads(heads: Tensor) -> Tensor:
    """``[heads, T, D / heads]`` to ``[T, D]``."""
    return heads.transpose(0, 1).flatten(1)


class _TiledAttention(torch.autograd.Function):
    """Attention with dropout on a CPU, tile by tile, recomputed in the backward pass.

    A tile is some heads and rows of one video's weights, small enough to stay in the cache; its
    gradient follows Dao et al., FlashAttention (2022), section 3. Random numbers would cost more
    than the arithmetic, so that one draw serves the call: each tile reads it from another random
    offset. Every weight is still dropped with the given probability, independently within a tile.
    """

    @staticmethod
    @torch.autocast("cpu", enabled=False)
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        lengths: tuple[int, ...],
        num_heads: int,
        dropout: float,
    ) -> Tensor:
        """Attend; see `attend` for the arguments."""
        ctx.num_heads, ctx.lengths, ctx.scale = num_heads, lengths, 1 / (1 - dropout)
        kept, ctx.offsets = _draw(query, lengths, num_heads, dropout)
        output = torch.empty_like(value)
        offsets = iter(ctx.offsets)
        for q, k, v, out in _videos(lengths, num_heads, query, key, value, output):
            q, k, v = (q * q.shape[-1] ** -0.5).contiguous(), k.contiguous(), v.contiguous()
            for tile, rows in _tiles(*q.shape[:2]):
                weights = torch.bmm(q[tile, rows], k[tile].transpose(1, 2)).softmax(-1)
                weights *= _window(kept, next(offsets), weights)
                out[tile, rows] = torch.bmm(weights, v[tile]).mul_(ctx.scale)
        ctx.save_for_backward(query, key, value, output, kept)
        return output

    @staticmethod
    @torch.autocast("cpu", enabled=False)
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of query, key and value."""
        query, key, value, output, kept = ctx.saved_tensors
        grads = tuple(torch.empty_like(x) for x in (query, key, value))
        packed = (query, key, value, output, grad_output, *grads)
        offsets = iter(ctx.offsets)
        for q, k, v, out, grad_out, grad_q, grad_k, grad_v in _videos(
            ctx.lengths, ctx.num_heads, *packed
        ):
            root = q.shape[-1] ** -0.5
            q, k, v = (q * root).contiguous(), k.contiguous(), v.contiguous()
            # Sum over the keys of weight times its gradient, known without either matrix.
            inner = (grad_out.float() * out).sum(-1, keepdim=True).to(q.dtype)
            grad_out = (grad_out * ctx.scale).contiguous()
            # Tiles add up in float32 at least.
            exact = torch.promote_types(q.dtype, torch.float32)
            sum_k, sum_v = (torch.zeros(k.shape, dtype=exact) for _ in "kv")
            for tile, rows in _tiles(*q.shape[:2]):
                weights = torch.bmm(q[tile, rows], k[tile].transpose(1, 2)).softmax(-1)
                dropped = weights * _window(kept, next(offsets), weights)
                sum_v[tile] += torch.bmm(dropped.transpose(1, 2), grad_out[tile, rows])
                grad_s = torch.bmm(grad_out[tile, rows], v[tile].transpose(1, 2)).mul_(dropped)
                grad_s.addcmul_(weights, inner[tile, rows], value=-1)
                sum_k[tile] += torch.bmm(grad_s.transpose(1, 2), q[tile, rows])
                grad_q[tile, rows] = torch.bmm(grad_s, k[tile]).mul_(root)
            grad_k.copy_(sum_k)
            grad_v.copy_(sum_v)
        return *grads, None, None, None


def _videos(lengths: Sequence[int], num_heads: int, *packed: Tensor) -> Iterator[list[Tensor]]:
    """Per video, the packed ``[N, D]`` tensors as views ``[heads, T, D / heads]``."""
    for video in zip(*(x.split(lengths) for x in packed), strict=True):
        yield [_to_heads(x, num_heads) for x in video]


def _tiles(num_heads: int, num_tokens: int) -> Iterator[tuple[slice, slice]]:
    """Heads and query rows of the tiles of one video: whole heads, or rows of a single one."""
    rows = min(num_tokens, max(16, TILE_SIZE // num_tokens))
    heads = max(1, TILE_SIZE // num_tokens**2)
    for head in range(0, num_heads, heads):
        for row in range(0, num_tokens, rows):
            yield (
                slice(head, min(head + heads, num_heads)),
                slice(row, min(row + rows, num_tokens)),
            )


def _draw(
    like: Tensor, lengths: Sequence[int], num_heads: int, dropout: float
) -> tuple[Tensor, list[int]]:
    """Ones and zeros for the kept and the dropped weights, and where each tile starts in them."""
    tiles = [
        (tile.stop - tile.start) * (rows.stop - rows.start) * length
        for length in lengths
        if length
        for tile, rows in _tiles(num_heads, length)
    ]
    largest = max(tiles, default=0)
    size = min(sum(tiles), 2 * largest)
    kept = draw_kept((size,), dropout, like.dtype)
    offsets = (torch.rand(len(tiles)) * (size - largest + 1)).long().tolist()
    return kept, offsets


def _window(kept: Tensor, offset: int, weights: Tensor) -> Tensor:
    return kept[offset : offset + weights.numel()].view(weights.shape)
