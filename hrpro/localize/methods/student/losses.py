"""The losses of the student: focal, distance IoU, and one on the video label."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hrpro.localize.methods.student.assignment import PointTargets, assign
from hrpro.localize.methods.student.batch import WindowBatch
from hrpro.localize.methods.student.config import LossConfig
from hrpro.localize.methods.student.model import StudentModel, StudentOutput


def training_losses(model: StudentModel, batch: WindowBatch) -> dict[str, Tensor]:
    """One forward pass over a batch and its losses; moves the model's normaliser along.

    Args:
        model: in training mode.
        batch: windows of videos with the segments in them.

    Returns:
        Scalars: ``class``, ``offset``, ``video``, and ``points`` if point labels have a weight;
        ``total`` is their weighted sum.
    """
    config = model.config
    output = model(batch.features, batch.valid)
    with torch.autocast(batch.features.device.type, enabled=False):
        targets = assign(
            output.levels,
            batch.segments,
            batch.labels,
            batch.present,
            output.class_logits.shape[2],
            config.assignment,
        )
        classes = targets.classes * output.valid.unsqueeze(2)
        num_positive = classes.any(2).sum().clamp(min=1)
        momentum = config.loss.normaliser_momentum
        model.normaliser.mul_(momentum).add_(num_positive, alpha=1 - momentum)
        losses = point_losses(output, targets, batch, config.loss, model.normaliser)
        losses["video"] = video_loss(output, batch.video_label, config.loss)
        weights = {"class": 1.0, "video": config.loss.video_weight}
        weights |= {"offset": config.loss.regression_weight, "points": 1.0}
        losses["total"] = sum(
            (weights[name] * loss for name, loss in losses.items()),
            output.class_logits.new_zeros(()),
        )
    return losses


def point_losses(
    output: StudentOutput,
    targets: PointTargets,
    batch: WindowBatch,
    config: LossConfig,
    normaliser: Tensor,
) -> dict[str, Tensor]:
    """Losses of points: ``class`` (focal), ``offset`` (DIoU) and, if weighted, ``points``.

    Each positive (point, class) weighs as much as its segment does; its focal loss, also as the
    IoU of what it predicts (to a power).

    Args:
        output: of the network.
        targets: of the points.
        batch: the segments' weights and point labels.
        config: constants.
        normaliser: what sums are divided by.
    """
    classes = targets.classes * output.valid.unsqueeze(2)
    video, point, label = classes.nonzero(as_tuple=True)
    predicted = output.distances(video, point, label)
    wanted = targets.distances[video, point]
    iou = segment_iou(predicted, wanted)
    segment = targets.segment[video, point]
    weight = batch.weights[video, segment]

    counted = output.valid & ~border_points(output, targets, batch, config.border)
    focal = focal_loss(output.class_logits, classes, config.focal_alpha, config.focal_gamma)
    total = (focal * counted.unsqueeze(2)).sum()
    total = total + (focal[video, point, label] * (iou_weight(iou, config) * weight - 1)).sum()
    losses = {
        "class": total / normaliser,
        "offset": (distance_iou_loss(predicted, wanted, iou) * weight).sum() / normaliser,
    }
    if config.point_weight or config.neighbour_weight:
        levels = output.levels
        missed = point_label_losses(
            predicted * levels.stride[point, None],
            levels.position[point],
            batch.points[video, segment],
            batch.room[video, segment],
            config,
        )
        losses["points"] = (missed * weight).sum() / normaliser
    return losses


def iou_weight(iou: Tensor, config: LossConfig) -> Tensor:
    """``iou ** iou_power``, with a gradient that is finite at 0."""
    apart = iou <= 0
    return torch.where(apart, 1.0, iou).pow(config.iou_power).masked_fill(apart, 0.0)


def focal_loss(logits: Tensor, targets: Tensor, alpha: float, gamma: float) -> Tensor:
    """Focal loss of each logit (Lin et al., "Focal loss", 2017), of the logits' shape."""
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    probability = logits.sigmoid()
    wrong = probability + targets - 2 * probability * targets
    return (alpha * targets + (1 - alpha) * (1 - targets)) * wrong.pow(gamma) * entropy


def segment_iou(predicted: Tensor, wanted: Tensor) -> Tensor:
    """IoU of segments that share a point, ``[K]``, from ``[K, 2]`` distances to start and end."""
    overlap = torch.minimum(predicted, wanted).sum(-1)
    union = predicted.sum(-1) + wanted.sum(-1) - overlap
    return overlap / union.clamp(min=torch.finfo(union.dtype).tiny)


def distance_iou_loss(predicted: Tensor, wanted: Tensor, iou: Tensor) -> Tensor:
    """Distance-IoU loss (Zheng et al., 2020) in one dimension, ``[K]``; see `segment_iou`."""
    apart = 0.5 * ((predicted[:, 1] - predicted[:, 0]) - (wanted[:, 1] - wanted[:, 0]))
    around = torch.maximum(predicted, wanted).sum(-1)
    return 1 - iou + (apart / around.clamp(min=torch.finfo(around.dtype).tiny)).square()


def border_points(
    output: StudentOutput, targets: PointTargets, batch: WindowBatch, share: float
) -> Tensor:
    """Points that are not positive and lie near the end of a segment, bool ``[B, P]``."""
    if not share or not batch.segments.shape[1]:
        return torch.zeros_like(output.valid)
    position = output.levels.position.view(1, -1, 1, 1)
    distance = (position - batch.segments.unsqueeze(1)).abs().amin(-1)  # [B, P, N]
    length = (batch.segments[..., 1] - batch.segments[..., 0]).unsqueeze(1)
    near = (distance < share * length) & batch.present.unsqueeze(1)
    return near.any(-1) & ~targets.positive


def point_label_losses(
    distances: Tensor, position: Tensor, points: Tensor, room: Tensor, config: LossConfig
) -> Tensor:
    """How far segments miss the point label they belong to, and reach into others, ``[K]``.

    Both are shares of the segment's length, so that a segment of any length weighs alike.

    Args:
        distances: ``[K, 2]`` to start and end, in steps.
        position: ``[K]`` of the points that predict, in steps.
        points: ``[K]`` the label's position; NaN where there is none.
        room: ``[K, 2]`` the neighbouring labels of other classes, in steps; infinite for none.
        config: weights.
    """
    start, end = position - distances[:, 0], position + distances[:, 1]
    length = (end - start).detach().clamp(min=1.0)
    missed = (F.relu(start - points) + F.relu(points - end)).nan_to_num(0.0)
    reached = F.relu(room[:, 0] - start) + F.relu(end - room[:, 1])
    return (config.point_weight * missed + config.neighbour_weight * reached) / length


def video_loss(output: StudentOutput, video_label: Tensor, config: LossConfig) -> Tensor:
    """Cross entropy of the video scores, made of the finest level, with the video label."""
    share = video_label / video_label.sum(1, keepdim=True).clamp(min=1)
    # A window without steps has no score, and a label without classes no share.
    return F.binary_cross_entropy(video_scores(output, config), share)


def video_scores(output: StudentOutput, config: LossConfig) -> Tensor:
    """Softmax over classes of the mean of each class's best logits, ``[B, C]``."""
    length = output.levels.lengths[0]
    logits = F.dropout(output.class_logits[:, :length], config.video_dropout)
    valid = output.valid[:, :length]
    if config.video_topk == "batch":
        count = min(int(valid.sum()) // config.video_topk_ratio, length)
        return logits.topk(count, dim=1).values.mean(1).softmax(1)
    counts = (valid.sum(1) // config.video_topk_ratio).clamp(min=1)
    best = logits.masked_fill(~valid.unsqueeze(2), float("-inf")).topk(int(counts.max()), dim=1)
    chosen = torch.arange(best.values.shape[1], device=counts.device) < counts.unsqueeze(1)
    total = best.values.masked_fill(~chosen.unsqueeze(2), 0.0).sum(1)
    return (total / counts.unsqueeze(1)).softmax(1)
