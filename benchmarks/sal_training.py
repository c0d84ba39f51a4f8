"""A training step of SAL: hrpro's batch against one video at a time.

    python benchmarks/sal_training.py [--dim 256] [--width 128] [--videos 16] [--threads 2]

Both take the same videos and weights. First, without dropout, they must give the same losses;
then a step (sampling, forward, losses, backward, Adam) is timed with dropout, theirs and ours in
turn, and the best time of each counts.
"""

from __future__ import annotations

import argparse
import copy
import functools
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from localize_training import best_times
from torch import Tensor, nn

from hrpro.localize.methods.sal.config import SalLosses, SalNetwork
from hrpro.localize.methods.sal.losses import training_losses
from hrpro.localize.methods.sal.model import SalModel
from hrpro.localize.methods.sal.pseudo_labels import AdaptiveMask
from hrpro.localize.nn.precision import Precision, autocast, resolve_precision
from hrpro.localize.sampling.fixed_length import perturbed_indices, take

Video = tuple[Tensor, Tensor]  # features [L, D], label [C]


def make_videos(num_videos: int, dim: int, num_classes: int, seed: int = 0) -> list[Video]:
    """Random videos of 50 to 2600 snippets, evenly spread, of one or two classes."""
    generator = torch.Generator().manual_seed(seed)
    videos = []
    for length in torch.linspace(50, 2600, num_videos).long().tolist():
        label = torch.zeros(num_classes)
        label[torch.randint(num_classes, (2,), generator=generator)] = 1
        videos.append((torch.rand(length, dim, generator=generator), label))
    return videos


def plain_sample(features: Tensor, random: Tensor) -> Tensor:
    """T snippets of a video, drawn one by one."""
    num_snippets, length = len(features), len(random)
    if num_snippets == length:
        return features
    chosen = []
    for i in range(length):
        low = math.floor(i * num_snippets / length)
        high = math.floor((i + 1) * num_snippets / length)
        high = min(high, num_snippets - 1)
        chosen.append(low + int(float(random[i]) * (high - low + 1)))
    return features[chosen]


class PlainSal(nn.Module):
    """SAL with the weights of `model`, written for a single video."""

    def __init__(self, model: SalModel) -> None:
        super().__init__()
        self.net = copy.deepcopy(model)
        self.mean, self.var = 1 / model.classifier.out_channels, 1.0

    def embeddings(self, features: Tensor) -> list[Tensor]:
        """``[T, D]`` features to the ``[1, width, T]`` embeddings of all, RGB and flow."""
        net, x = self.net, features.T.unsqueeze(0)
        return [
            layer.dropout(F.relu(layer.convolution(part)))
            for layer, part in (
                (net.embed, x),
                (net.embed_rgb, x[:, net.rgb]),
                (net.embed_flow, x[:, net.flow]),
            )
        ]

    def actionness(self, rgb: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
        """Two ``[T]``."""
        net = self.net
        return (
            net.actionness_rgb(rgb)[0, 0].sigmoid(),
            net.actionness_flow(flow)[0, 0].sigmoid(),
        )

    def pool(self, embedding: Tensor) -> Tensor:
        """``[1, width, T]`` to ``[1, width * width]``."""
        gram = (embedding[0] @ embedding[0].T / embedding.shape[2] ** 2).view(1, -1)
        return F.normalize(torch.sign(gram) * torch.sqrt(gram.abs() + 1e-5), dim=1)

    def top_mean(self, values: Tensor, ranking: Tensor, count: int) -> Tensor:
        """Mean of the best rows ``[T, C]``, class by class: ``[C]``."""
        means = []
        for c in range(values.shape[1]):
            best = ranking[:, c].sort(descending=True).indices[:count]
            means.append(values[best, c].mean())
        return torch.stack(means)

    def update_moments(self, highest: Tensor) -> None:
        """Take the highest class probabilities of a batch in."""
        self.mean = 0.7 * self.mean + 0.3 * highest.mean().item()
        self.var = 0.7 * self.var + 0.3 * highest.var().item()


def plain_losses(model: PlainSal, videos: list[Video], config: SalLosses) -> Tensor:
    """The total loss of `videos` ``[T, D]``, one after the other."""
    net, outputs = model.net, []
    for number, (features, _) in enumerate(videos):
        embedding, rgb, flow = model.embeddings(features)
        a_rgb, a_flow = model.actionness(rgb, flow)
        a = 0.9 * a_flow + 0.1 * a_rgb
        pooled = [model.pool(e) for e in (embedding, rgb, flow)]
        cas = net.classifier(embedding + net.semantics(pooled[0]).T * a)[0].T
        logits = [net.video_classifier(p)[0] for p in pooled]
        _, rgb_mix, flow_mix = model.embeddings(features + videos[number - 1][0])
        outputs.append((cas, a_rgb, a_flow, a, logits, *model.actionness(rgb_mix, flow_mix)))
    model.update_moments(torch.cat([o[0].detach().softmax(dim=1).amax(dim=1) for o in outputs]))

    pseudo, weights = [], []
    for cas, _, _, a, *_ in outputs:
        count = len(cas) // 8
        actions = set(a.detach().sort(descending=True).indices[: count + 17].tolist())
        evidence = cas.detach().relu().sum(dim=1).sort(descending=True).indices
        actions &= set(evidence[: len(cas) // 2].tolist())
        pseudo.append(torch.tensor([float(t in actions) for t in range(len(cas))]))
        highest = cas.detach().softmax(dim=1).amax(dim=1)
        below = (highest - model.mean).clamp(max=0)
        weights.append(torch.exp(-(below**2) / (2 * model.var / 4)))

    def entropy(logits: Tensor, label: Tensor) -> Tensor:
        return -((label / label.sum() + 1e-10) * logits.log_softmax(dim=0)).sum()

    def noisy(a: Tensor, p: Tensor, w: Tensor) -> Tensor:
        def half(a: Tensor, w: Tensor) -> Tensor:
            return ((1 - (a + 1e-7) ** 0.5) / 0.5 * w).sum() / (w.sum() + 1e-7)

        return half(a, p * w) + half(1 - a, (1 - p) * w)

    total = torch.zeros(())
    for number, (output, (_, label)) in enumerate(zip(outputs, videos, strict=True)):
        cas, a_rgb, a_flow, a, logits, mix_rgb, mix_flow = output
        count = len(cas) // 8
        ranking = (cas.softmax(dim=1) + a_rgb.unsqueeze(1) + a_flow.unsqueeze(1)) / 3
        background = cas * (1 - a).unsqueeze(1)
        top_background = model.top_mean(background, background.softmax(dim=1), count)
        p, w = pseudo[number], weights[number]
        both = torch.maximum(p, pseudo[number - 1]), (w + weights[number - 1]) / 2
        log_probability = top_background.log_softmax(dim=0)
        total = total + (
            entropy(model.top_mean(cas, ranking, count), label)
            + 10 * (-math.log(len(label)) - log_probability.mean())
            + noisy(a_flow, p, w)
            + noisy(a_rgb, p, w)
            + noisy(mix_flow, *both)
            + noisy(mix_rgb, *both)
            + 5 * ((a_rgb - a_flow) ** 2).mean()
            + 3 * sum(entropy(q, label) for q in logits)
        )
    return total / len(videos)


def plain_step(
    model: PlainSal, videos: list[Video], length: int, optimizer: torch.optim.Optimizer
) -> None:
    """One update, one video after the other."""
    sampled = [(plain_sample(f, torch.rand(length)), label) for f, label in videos]
    optimizer.zero_grad()
    plain_losses(model, sampled, SalLosses()).backward()
    optimizer.step()


def batched_step(
    model: SalModel,
    mask: AdaptiveMask,
    videos: list[Video],
    length: int,
    optimizer: torch.optim.Optimizer,
    precision: Precision,
) -> None:
    """One update, all videos at once."""
    lengths = torch.tensor([len(features) for features, _ in videos])
    indices = perturbed_indices(lengths, torch.rand(len(videos), length))
    features, _ = take((features for features, _ in videos), indices)
    labels = torch.stack([label for _, label in videos])
    optimizer.zero_grad()
    with autocast("cpu", precision):
        losses = training_losses(model, mask, features, labels, SalLosses())
    losses["total"].backward()
    optimizer.step()


def check_equal_losses(model: SalModel, videos: list[Video], length: int) -> float:
    """Relative difference of the total loss, without dropout, in float64."""
    model = copy.deepcopy(model).double().eval()
    random = torch.rand(len(videos), length)
    sampled = [
        (plain_sample(f, r).double(), label.double())
        for (f, label), r in zip(videos, random, strict=True)
    ]
    mask = AdaptiveMask(len(videos[0][1])).double()
    with torch.no_grad():
        theirs = plain_losses(PlainSal(model), sampled, SalLosses())
        lengths = torch.tensor([len(f) for f, _ in videos])
        indices = perturbed_indices(lengths, random)
        features, _ = take((features for features, _ in videos), indices)
        labels = torch.stack([label for _, label in videos])
        ours = training_losses(model, mask, features.double(), labels, SalLosses())["total"]
    return abs(ours - theirs).item() / abs(theirs).item()


def main() -> None:
    """Check and time, then print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--length", type=int, default=750)
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--videos", type=int, default=16)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)

    videos = make_videos(args.videos, args.dim, args.classes)
    config = SalNetwork(width=args.width, length=args.length, rgb_channels=args.dim // 2)
    model = SalModel(args.dim, args.classes, config)
    difference = check_equal_losses(model, videos, args.length)
    print(f"loss without dropout: relative difference {difference:.1e}")
    if difference > 1e-6:
        raise SystemExit("the two implementations disagree")

    steps: dict[str, Callable[[], object]] = {}
    plain = PlainSal(model).train()
    adam = torch.optim.Adam(plain.parameters(), lr=1e-4, weight_decay=5e-4)
    steps["one video at a time, float32"] = lambda: plain_step(plain, videos, args.length, adam)
    for precision in ("float32", "auto"):
        ours, mask = copy.deepcopy(model), AdaptiveMask(args.classes)
        optimizer = torch.optim.Adam(ours.parameters(), lr=1e-4, weight_decay=5e-4)
        dtype = str(resolve_precision("cpu", precision)).removeprefix("torch.")
        default = " (default)" if precision == "auto" else ""
        steps[f"hrpro, {dtype}{default}"] = functools.partial(
            batched_step, ours, mask, videos, args.length, optimizer, precision
        )
    times = best_times(steps, args.repeats)
    reference = next(iter(times.values()))
    print(
        f"training step, {args.videos} videos of 50-2600 snippets sampled to {args.length}, "
        f"{args.dim} channels, width {args.width}:"
    )
    for name, seconds in times.items():
        print(f"  {name:32s} {seconds:7.3f} s   {reference / seconds:5.1f} x")


if __name__ == "__main__":
    main()
