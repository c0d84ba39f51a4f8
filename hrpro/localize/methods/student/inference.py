"""From the student's output to detections, for a whole batch at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from hrpro.localize.data.grid import SnippetGrid
from hrpro.localize.data.sequences import FeatureSequence
from hrpro.localize.methods.student.batch import pad_features, padded_length, refine_steps
from hrpro.localize.methods.student.config import DetectionConfig
from hrpro.localize.methods.student.model import StudentModel, StudentOutput
from hrpro.localize.methods.student.recognition import LEAST_PROBABILITY, SegmentClassifier
from hrpro.localize.proposals.generate import Array, Proposals
from hrpro.localize.proposals.nms import soft_nms

BATCH_STEPS = 1 << 14
"""Steps of the videos that go through the network at once, padding included."""


@torch.no_grad()
def candidates(
    output: StudentOutput, config: DetectionConfig, classes: Tensor | None = None
) -> Proposals:
    """The best (point, class) pairs of every level with the segments they see.

    Args:
        output: of the network.
        config: constants.
        classes: bool ``[B, C]``, which to look for; all by default.

    Returns:
        The candidates before suppression, in no particular order. Their ``start_s`` and ``end_s``
        are in steps of the features.
    """
    levels, num_classes = output.levels, output.class_logits.shape[2]
    probability = output.class_logits.sigmoid() * output.valid.unsqueeze(2)
    if classes is not None:
        probability = probability * classes.unsqueeze(1)
    found, first = [], 0
    for length in levels.lengths:
        flat = probability[:, first : first + length].flatten(1)
        best = flat.topk(min(config.max_per_level, flat.shape[1]), dim=1)
        video, place = (best.values > config.min_probability).nonzero(as_tuple=True)
        cell = best.indices[video, place]
        found.append(torch.stack([video, first + cell // num_classes, cell % num_classes], dim=1))
        first += length
    video, point, label = torch.cat(found).unbind(1)
    score = probability[video, point, label]
    reach = output.distances(video, point, label) * levels.stride[point, None]
    position = levels.position[point]
    table = Proposals(
        video=to_numpy(video),
        start_s=to_numpy(position - reach[:, 0]),
        end_s=to_numpy(position + reach[:, 1]),
        label=to_numpy(label),
        score=to_numpy(score),
    )
    return table[table.end_s - table.start_s > config.min_steps]


@torch.no_grad()
def detect(
    model: StudentModel, features: Sequence[Tensor], classes: Tensor | None = None
) -> Proposals:
    """Candidates in whole videos, in eval mode; several videos at a time.

    Args:
        model: the student.
        features: ``[T, D]`` of each video, at the steps that it learned from.
        classes: bool ``[B, C]``, which to look for; all by default.

    Returns:
        The candidates before suppression, in steps; see `candidates`.
    """
    training = model.training
    model.eval()
    pyramid, window = model.config.pyramid, model.config.window
    # Where norms see the padding, it has to be that of training.
    minimum = window.length if pyramid.padding == "seen" else 0
    lengths = [padded_length(len(f), pyramid.multiple, minimum) for f in features]
    tables = []
    for rows in batches_of_alike(lengths, BATCH_STEPS, mixed=pyramid.padding == "masked"):
        padded, valid = pad_features([features[row] for row in rows], lengths[rows[-1]])
        output = model(padded, valid)
        wanted = None if classes is None else classes[rows]
        table = candidates(output, model.config.detection, wanted)
        tables.append(table.replace(video=np.asarray(rows)[table.video]))
    model.train(training)
    return Proposals.concatenate(tables)


def detect_in(
    model: StudentModel, videos: Sequence[FeatureSequence], classes: Sequence[int] | None = None
) -> Proposals:
    """Candidates before suppression, in seconds, in videos with features of any steps.

    Args:
        model: the student.
        videos: the features.
        classes: look for these; all by default.
    """
    device, stride = model.normaliser.device, model.config.window.stride
    refined = [refine_steps(v.features.to(device), v.grid, stride) for v in videos]
    wanted = None
    if classes is not None:
        wanted = torch.zeros(len(videos), model.num_classes, dtype=torch.bool, device=device)
        wanted[:, list(classes)] = True
    features = [values for values, _ in refined]
    found = detect(model, features, wanted)
    if model.recognition is not None:
        found = recognised(found, model.recognition, features, wanted)
    # Features cover the video but for less than a snippet at its end.
    covered_s = [v.grid.covered_s(len(v.features)) + v.grid.stride_s for v in videos]
    return in_seconds(found, [grid for _, grid in refined], covered_s)


def recognised(
    table: Proposals,
    classifier: SegmentClassifier,
    features: Sequence[Tensor],
    classes: Tensor | None = None,
) -> Proposals:
    """Candidates with scores that follow what class their segments are as a whole.

    Args:
        table: in steps.
        classifier: its config says how much it counts.
        features: ``[T, D]`` of each video.
        classes: bool ``[B, C]``, which are looked for; all by default.
    """
    probability = np.ones(len(table))
    for video in np.unique(table.video):
        rows = np.flatnonzero(table.video == video)
        bounds = np.stack([table.start_s[rows], table.end_s[rows]], axis=1)
        wanted = None if classes is None else classes[video]
        found = classifier.probabilities(features[video], torch.from_numpy(bounds), wanted)
        probability[rows] = to_numpy(found)[np.arange(len(rows)), table.label[rows]]
    probability = np.maximum(probability, LEAST_PROBABILITY)
    return table.replace(score=table.score * probability**classifier.config.share)


def batches_of_alike(lengths: Sequence[int], limit: int, mixed: bool) -> Iterator[list[int]]:
    """Rows from short to long, as many at a time as fit into `limit` when padded to the longest.

    Only `mixed` batches hold rows of different lengths.
    """
    batch: list[int] = []
    for row in np.argsort(lengths, kind="stable").tolist():
        full = (len(batch) + 1) * lengths[row] > limit
        if batch and (full or not (mixed or lengths[row] == lengths[batch[-1]])):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def suppress(table: Proposals, config: DetectionConfig) -> Proposals:
    """Gaussian soft-NMS, then the best of each video; best first.

    The best candidate of a class stays even if it lies below ``min_score``, as in the release.
    """
    kept = soft_nms(table, config.sigma, "exact", config.min_score, config.guard)
    kept = Proposals.concatenate([kept, _best_below(table, config.min_score)]).by_score()
    order = np.argsort(kept.video, kind="stable")
    video = kept.video[order]
    rank = np.arange(len(video)) - np.searchsorted(video, video)
    return kept[np.sort(order[rank < config.max_detections])]


def _best_below(table: Proposals, min_score: float) -> Proposals:
    """The best of each class of each video, where it lies below `min_score`."""
    best = table[table.leaders()]
    return best[best.score < min_score]


def in_seconds(
    table: Proposals, grids: Sequence[SnippetGrid], durations_s: Sequence[float]
) -> Proposals:
    """Steps to seconds, clipped to the videos.

    Args:
        table: in steps.
        grids: of each video's features.
        durations_s: of each video.
    """
    constants = np.array([(g.centre_s(0), g.stride_s) for g in grids]).reshape(-1, 2)
    offset, stride = constants[table.video].T
    duration = np.asarray(durations_s, float)[table.video]
    return table.replace(
        start_s=np.clip(table.start_s * stride + offset, 0, duration),
        end_s=np.clip(table.end_s * stride + offset, 0, duration),
    )


def to_numpy(values: Tensor) -> Array:
    """A tensor's values, from wherever they are; float64 if they are not integers."""
    # Not every device has float64.
    values = values.cpu()
    return (values.double() if values.is_floating_point() else values).numpy()
