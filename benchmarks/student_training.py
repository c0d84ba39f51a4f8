"""A training step of the student: hrpro's batch against one video at a time.

    python benchmarks/student_training.py [--dim 1024] [--videos 8] [--threads 2]

Both take the same windows and weights. First, without dropout, they must give the same losses;
then a step (forward, assignment, losses, backward, AdamW) is timed, theirs and ours in turn, and
the best time of each counts. The plain loop pads every video to the whole window, as the release
does, and looks at one level of the pyramid and one segment after the other.
"""

from __future__ import annotations

import argparse
import copy
import functools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from localize_training import best_times
from torch import Tensor

from hrpro.localize.methods.student.batch import Segments, WindowBatch, padded_length
from hrpro.localize.methods.student.config import StudentConfig
from hrpro.localize.methods.student.losses import training_losses
from hrpro.localize.methods.student.model import StudentModel
from hrpro.localize.nn.precision import Precision, autocast, resolve_precision

Video = tuple[Tensor, Segments]  # features [T, D]


def make_videos(num_videos: int, dim: int, num_classes: int, longest: int) -> list[Video]:
    """Random videos up to `longest` steps, evenly spread, with an action every 40 steps."""
    generator = torch.Generator().manual_seed(0)
    videos = []
    for length in torch.linspace(longest / 6, longest, num_videos).long().tolist():
        features = torch.rand(length, dim, generator=generator)
        start = torch.arange(2.0, length - 32, 40)
        duration = 6 + 24 * torch.rand(len(start), generator=generator)
        labels = torch.randint(num_classes, (len(start),), generator=generator)
        videos.append((features, Segments.of(torch.stack([start, start + duration], 1), labels)))
    return videos


def video_label(segments: Segments, num_classes: int) -> Tensor:
    """``[C]`` ones and zeros."""
    return F.one_hot(segments.labels, num_classes).amax(0).float()


def plain_targets(
    position: Tensor, stride: int, reach: tuple[float, float], segments: Segments, num_classes: int
) -> tuple[Tensor, Tensor]:
    """Classes ``[P, C]`` and distances ``[P, 2]`` of the points of one level."""
    classes = position.new_zeros(len(position), num_classes)
    distances = position.new_zeros(len(position), 2)
    longest_first = (segments.bounds[:, 0] - segments.bounds[:, 1]).argsort().tolist()
    for row in longest_first:  # a shorter one takes its points from those before it
        start, end = segments.bounds[row].tolist()
        centre, radius = (start + end) / 2, 1.5 * stride
        far = torch.maximum(position - start, end - position)
        chosen = (position > max(centre - radius, start)) & (position < min(centre + radius, end))
        chosen &= (far >= reach[0]) & (far <= reach[1])
        classes[chosen] = F.one_hot(segments.labels[row], num_classes).to(classes)
        distances[chosen, 0] = (position[chosen] - start) / stride
        distances[chosen, 1] = (end - position[chosen]) / stride
    return classes, distances


def plain_distances(start: Tensor, end: Tensor, offsets: Tensor) -> Tensor:
    """Distances of the points of a level to both ends of an action of any class, ``[P, C, 2]``."""
    bins = offsets.shape[-1] - 1
    distance = torch.arange(bins + 1).to(offsets)
    before = F.pad(start, (0, 0, bins, 0)).unfold(0, bins + 1, 1)  # [P, C, bins + 1], far to near
    after = F.pad(end, (0, 0, 0, bins)).unfold(0, bins + 1, 1)
    left = (before + offsets[:, 0].unsqueeze(1)).softmax(-1) @ distance.flip(0)
    right = (after + offsets[:, 1].unsqueeze(1)).softmax(-1) @ distance
    return torch.stack([left, right], -1)


def plain_losses(model: StudentModel, videos: list[Video]) -> Tensor:
    """The total loss of videos, one after the other."""
    config, num_classes = model.config, model.num_classes
    length = config.window.length
    focal, regression, video_loss, num_positive = 0.0, 0.0, 0.0, 0
    for features, segments in videos:
        padded = F.pad(features, (0, 0, 0, length - len(features))).unsqueeze(0)
        valid = (torch.arange(length) < len(features)).unsqueeze(0)
        points, levels = model.pyramid(padded, valid)
        reaches = config.assignment.reaches(len(levels.lengths))
        rows = points.split(levels.lengths, dim=1)
        for number, (level, reach) in enumerate(zip(rows, reaches, strict=True)):
            mask = valid[:, :: 2**number]
            keep = mask.unsqueeze(2).to(level.dtype)
            logits = model.class_head(level, keep, keep)[0]
            start, end = (
                head(level.detach(), keep, keep)[0] for head in (model.start_head, model.end_head)
            )
            offsets = F.relu(model.offset_head(level, keep, keep)[0] * model.offset_scale[number])
            offsets = offsets.unflatten(1, (2, -1))
            if number == 0:
                best = logits[mask[0]].sort(dim=0, descending=True).values
                score = best[: max(1, len(features) // config.loss.video_topk_ratio)].mean(0)
                label = video_label(segments, num_classes).to(score)
                video_loss += F.binary_cross_entropy(score.softmax(0), label / label.sum())
            position = torch.arange(len(logits)).to(logits) * 2**number
            classes, wanted = plain_targets(position, 2**number, reach, segments, num_classes)
            classes = classes * mask[0].unsqueeze(1)
            num_positive += int(classes.any(1).sum())
            weight = torch.ones_like(logits)
            t, c = classes.nonzero(as_tuple=True)
            found, real = plain_distances(start, end, offsets)[t, c], wanted[t]
            overlap = torch.minimum(found, real).sum(1)
            iou = overlap / (found.sum(1) + real.sum(1) - overlap)
            apart = 0.5 * ((found[:, 1] - found[:, 0]) - (real[:, 1] - real[:, 0]))
            around = torch.maximum(found, real).sum(1)
            regression += (1 - iou + (apart / around) ** 2).sum()
            weight[t, c] = iou**config.loss.iou_power
            p = logits.sigmoid()
            alpha, gamma = config.loss.focal_alpha, config.loss.focal_gamma
            entropy = F.binary_cross_entropy_with_logits(logits, classes, reduction="none")
            wrong = torch.where(classes > 0, 1 - p, p) ** gamma
            share = torch.where(classes > 0, alpha, 1 - alpha)
            focal += (share * wrong * entropy * weight)[mask[0]].sum()
    momentum = config.loss.normaliser_momentum
    model.normaliser.mul_(momentum).add_(max(num_positive, 1), alpha=1 - momentum)
    total = (focal + config.loss.regression_weight * regression) / model.normaliser
    return total + config.loss.video_weight * video_loss / len(videos)


def batched_losses(model: StudentModel, videos: list[Video]) -> Tensor:
    """The same, all videos at once."""
    longest = max(len(features) for features, _ in videos)
    batch = WindowBatch.collate(
        [features for features, _ in videos],
        [segments for _, segments in videos],
        torch.stack([video_label(segments, model.num_classes) for _, segments in videos]),
        padded_length(longest, model.config.pyramid.multiple),
    )
    return training_losses(model, batch)["total"]


def step(
    losses: Callable[[StudentModel, list[Video]], Tensor],
    model: StudentModel,
    videos: list[Video],
    optimizer: torch.optim.Optimizer,
    precision: Precision,
) -> None:
    """One update."""
    optimizer.zero_grad()
    with autocast("cpu", precision):
        total = losses(model, videos)
    total.backward()
    optimizer.step()


def check_equal_losses(model: StudentModel, videos: list[Video]) -> float:
    """Relative difference of the total loss, without dropout, in float64."""
    exact = [(features.double(), segments) for features, segments in videos]
    with torch.no_grad():
        theirs = plain_losses(copy.deepcopy(model).double().eval(), exact)
        ours = batched_losses(copy.deepcopy(model).double().eval(), exact)
    return abs(ours - theirs).item() / abs(theirs).item()


def main() -> None:
    """Check and time, then print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--classes", type=int, default=14)
    parser.add_argument("--videos", type=int, default=8)
    parser.add_argument("--longest", type=int, default=256, help="steps of the longest video")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)

    videos = make_videos(args.videos, args.dim, args.classes, args.longest)
    config = StudentConfig.model_validate({"base": "small"})
    model = StudentModel(args.dim, args.classes, config)
    difference = check_equal_losses(model, videos)
    print(f"loss without dropout: relative difference {difference:.1e}")
    if difference > 1e-6:
        raise SystemExit("the two implementations disagree")

    steps: dict[str, Callable[[], object]] = {}
    for name, losses, precision in (
        ("one video at a time, float32", plain_losses, "float32"),
        ("hrpro, float32", batched_losses, "float32"),
        (f"hrpro, {resolve_precision('cpu', 'auto')} (default)", batched_losses, "auto"),
    ):
        own = copy.deepcopy(model).train()
        optimizer = torch.optim.AdamW(own.parameters(), lr=1e-4)
        name = name.replace("torch.", "")
        steps[name] = functools.partial(step, losses, own, videos, optimizer, precision)
    times = best_times(steps, args.repeats)
    reference = next(iter(times.values()))
    print(
        f"training step, {args.videos} videos of {args.longest // 6}-{args.longest} steps, "
        f"{args.dim} channels, width {config.pyramid.width}:"
    )
    for name, seconds in times.items():
        print(f"  {name:32s} {seconds:7.3f} s   {reference / seconds:5.1f} x")


if __name__ == "__main__":
    main()
