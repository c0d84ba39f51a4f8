"""A training step of stage 1: hrpro's packed batch against one video at a time.

    python benchmarks/localize_training.py [--dim 256] [--videos 16] [--threads 2]

Both take the same videos and weights. First, without dropout and in float32, they must give the
same losses; then a step (forward, losses, memory update, backward, Adam) is timed with dropout,
theirs and ours in turn, and the best time of each counts.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hrpro.localize.methods.hrpro.snippet_losses import training_losses
from hrpro.localize.methods.hrpro.snippet_model import (
    ReliabilityAwareBlock,
    SnippetConfig,
    SnippetModel,
)
from hrpro.localize.nn.precision import Precision, autocast, resolve_precision
from hrpro.localize.sampling.packing import VideoBatch

Video = tuple[Tensor, Tensor]  # features [T, D], points [T, C]


def make_videos(num_videos: int, dim: int, num_classes: int, seed: int = 0) -> list[Video]:
    """Random videos of 50 to 2600 snippets, evenly spread, with a point per 100 snippets."""
    generator = torch.Generator().manual_seed(seed)
    videos = []
    for length in torch.linspace(50, 2600, num_videos).long().tolist():
        features = torch.rand(length, dim, generator=generator)
        points = torch.zeros(length, num_classes, dtype=torch.bool)
        classes = torch.randint(num_classes, (2,), generator=generator)
        where = torch.randperm(length, generator=generator)[: 1 + length // 100]
        points[where, classes[torch.randint(2, where.shape, generator=generator)]] = True
        videos.append((features, points))
    return videos


class PlainBlock(nn.Module):
    """The attention block on `nn.MultiheadAttention`, one video at a time."""

    def __init__(self, block: ReliabilityAwareBlock, config: SnippetConfig) -> None:
        super().__init__()
        self.block = copy.deepcopy(block)
        projections = (block.query_projection, block.key_projection, block.value_projection)
        dim = block.query.in_features
        self.attention = nn.MultiheadAttention(
            dim, config.num_heads, dropout=config.attention_dropout
        )
        self.attention.in_proj_weight.data = torch.cat([p.weight.data for p in projections])
        self.attention.in_proj_bias.data = torch.cat([p.bias.data for p in projections])
        self.attention.out_proj.load_state_dict(block.output_projection.state_dict())

    def forward(self, tokens: Tensor) -> Tensor:
        """``[N, D]`` to ``[N, D]``."""
        block, batch = self.block, tokens.unsqueeze(1)
        attended, _ = self.attention(block.query(batch), block.key(batch), batch)
        tokens = block.attention_norm(tokens + block.dropout(attended.squeeze(1)))
        return block.feedforward_norm(tokens + block.dropout(block.feedforward(tokens)))


class PlainModel(nn.Module):
    """Stage 1 with the weights of `model`, written for a single video."""

    def __init__(self, model: SnippetModel) -> None:
        super().__init__()
        self.config = model.config
        self.blocks = nn.ModuleList(PlainBlock(b, model.config) for b in model.encoder.blocks)
        self.embedding = copy.deepcopy(model.encoder.embedding)
        self.dropout = copy.deepcopy(model.dropout)
        self.classifier = copy.deepcopy(model.classifier)
        self.memory = model.memory.prototypes.clone()

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """``[T, D]`` features to embedded features and ``[T, C + 1]`` scores."""
        tokens = torch.cat([features, self.memory.reshape(self.memory.shape[::-1]).T])
        for block in self.blocks:
            tokens = block(tokens)
        embedded = F.relu(self.embedding(tokens[: len(features)].T.unsqueeze(0)))[0].T
        return embedded, self.classifier(self.dropout(embedded)).sigmoid()


def plain_pseudo_snippets(b: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Pseudo labels of one video, segment by segment and snippet by snippet."""
    where = points.any(dim=1).nonzero().squeeze(1).tolist()
    action, background = points.clone(), torch.zeros(len(b), dtype=torch.bool)
    for left, right in zip([-1, *where], [*where, len(b)], strict=True):
        segment = b[left + 1 : right]
        if not where or not len(segment):
            continue
        hits = (segment >= 0.95).nonzero().squeeze(1)
        if not len(hits):
            hits = segment.argmax(dim=0, keepdim=True)
        first = 0 if left == -1 else hits[0]
        last = len(segment) - 1 if right == len(b) else hits[-1]
        background[left + 1 : right][first : last + 1] = True
        if left >= 0:
            for t in range(left + 1, right):
                if b[t] > 0.1 or background[t]:
                    break
                action[t] = points[left]
        if right < len(b):
            for t in range(right - 1, left, -1):
                if b[t] > 0.1 or background[t]:
                    break
                action[t] = points[right]
    return action, background


def plain_losses(model: PlainModel, features: Tensor, points: Tensor) -> dict[str, Tensor]:
    """Losses of one video; updates the memory."""
    config, memory = model.config, model.memory
    embedded, cas = model(features)
    label = points.any(dim=0)
    class_scores, b = cas[:, :-1], cas[:, -1]
    scores = torch.cat([class_scores * (1 - b.unsqueeze(1)), b.unsqueeze(1)], dim=1)
    best = class_scores.sort(dim=0, descending=True).values[: max(1, len(features) // 8)].mean(0)
    video_score = torch.where(label, best, class_scores.mean(dim=0))
    action, background = plain_pseudo_snippets(b.detach(), points)

    def focal(targets: Tensor, selected: Tensor) -> Tensor:
        targets, selected = targets.float(), selected.float()
        focus = ((1 - scores) * targets + scores * (1 - targets)) ** 2
        loss = focus * F.binary_cross_entropy(scores, targets, reduction="none")
        return (loss.sum(dim=1) * selected).sum() / (selected.sum() + 1e-6)

    contrast = scores.new_zeros(())
    directions = F.normalize(memory, dim=1)
    bg_rows = background[:-1].nonzero().squeeze(1)
    if len(bg_rows):
        bg = (F.normalize(embedded[bg_rows], dim=1) @ directions.T / 0.1).exp().mean(dim=0)
        for c in label.nonzero().squeeze(1).tolist():
            rows = action[:-1, c].nonzero().squeeze(1)
            if len(rows) and not action[:, c].all():
                a = (F.normalize(embedded[rows], dim=1) @ directions.T / 0.1).exp().mean(dim=0)
                contrast = contrast - 0.5 * torch.log(a[c] / a.sum())
                contrast = contrast - 0.5 * torch.log(a[c] / (a[c] + bg[c]))
        contrast = contrast / label.sum()

    with torch.no_grad():
        for c in label.nonzero().squeeze(1).tolist():
            if action[:, c].any():
                mean = embedded[action[:, c]].mean(dim=0)
                memory[c] = config.memory_momentum * memory[c] + 0.001 * mean
    losses = {
        "video": F.binary_cross_entropy(video_score, label.float()),
        "action": focal(F.pad(points, (0, 1)), points.any(dim=1)),
        "background": focal(F.pad(torch.zeros_like(points), (0, 1), value=True), background),
        "contrast": contrast,
    }
    losses["total"] = 0.5 * losses["action"] + losses["background"] + losses["contrast"]
    return losses


def plain_step(
    model: PlainModel, videos: list[Video], optimizer: torch.optim.Optimizer
) -> dict[str, float]:
    """One update, one video after the other."""
    optimizer.zero_grad()
    sums: dict[str, float] = {}
    for features, points in videos:
        losses = plain_losses(model, features, points)
        (losses["total"] / len(videos)).backward()
        for name, loss in losses.items():
            sums[name] = sums.get(name, 0.0) + loss.item() / len(videos)
    optimizer.step()
    return sums


def packed_step(
    model: SnippetModel, videos: list[Video], optimizer: torch.optim.Optimizer, precision: Precision
) -> dict[str, float]:
    """One update, all videos at once."""
    optimizer.zero_grad()
    batch = VideoBatch.collate([f for f, _ in videos], [p for _, p in videos])
    with autocast("cpu", precision):
        losses = training_losses(model, batch)
    losses["total"].backward()
    optimizer.step()
    return {name: loss.item() for name, loss in losses.items()}


def check_equal_losses(model: SnippetModel, videos: list[Video]) -> float:
    """Largest relative difference of any loss, in float32 and without dropout."""
    model = copy.deepcopy(model).eval()
    # The plain way lets a video see the memory as the videos before it left it.
    config = model.config.model_copy(update={"memory_momentum": 1.0})
    model.config = config
    plain = PlainModel(model).eval()
    memory = plain.memory.clone()
    difference = 0.0
    sums: dict[str, float] = {}
    for features, points in videos:
        with torch.no_grad():
            losses = plain_losses(plain, features, points)
        plain.memory.copy_(memory)
        for name, loss in losses.items():
            sums[name] = sums.get(name, 0.0) + loss.item() / len(videos)
    with torch.no_grad():
        ours = training_losses(model, VideoBatch.collate(*map(list, zip(*videos, strict=True))))
    for name, value in sums.items():
        difference = max(difference, abs(ours[name].item() - value) / max(abs(value), 1e-6))
    return difference


def best_times(steps: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Best seconds of each step, taken in turn so that all see the same machine."""
    times = dict.fromkeys(steps, float("inf"))
    for _ in range(repeats):
        for name, step in steps.items():
            begin = time.perf_counter()
            step()
            times[name] = min(times[name], time.perf_counter() - begin)
    return times


def main() -> None:
    """Check and time, then print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--videos", type=int, default=16)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)

    videos = make_videos(args.videos, args.dim, args.classes)
    model = SnippetModel(args.dim, args.classes)
    model.memory.prototypes.copy_(torch.rand(args.classes, args.dim))
    difference = check_equal_losses(model, videos)
    print(f"losses in float32, without dropout: largest relative difference {difference:.1e}")
    if difference > 1e-4:
        raise SystemExit("the two implementations disagree")

    steps: dict[str, Callable[[], object]] = {}
    plain = PlainModel(model).train()
    adam = torch.optim.Adam(plain.parameters(), lr=1e-4)
    steps["one video at a time, float32"] = lambda: plain_step(plain, videos, adam)
    for precision in ("float32", "auto"):
        ours = copy.deepcopy(model).train()
        optimizer = torch.optim.Adam(ours.parameters(), lr=1e-4)
        dtype = str(resolve_precision("cpu", precision)).removeprefix("torch.")
        default = " (default)" if precision == "auto" else ""
        steps[f"hrpro, {dtype}{default}"] = (
            lambda ours=ours, optimizer=optimizer, precision=precision: packed_step(
                ours, videos, optimizer, precision
            )
        )
    times = best_times(steps, args.repeats)
    reference = next(iter(times.values()))
    print(f"training step, {args.videos} videos of 50-2600 snippets, D = {args.dim}:")
    for name, seconds in times.items():
        print(f"  {name:32s} {seconds:7.2f} s   {reference / seconds:5.1f} x")


if __name__ == "__main__":
    main()
