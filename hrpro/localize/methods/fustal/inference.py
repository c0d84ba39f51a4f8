"""From the generator's activations to proposals, its own detections or pseudo labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hrpro.localize.methods.fustal.config import GeneratorConfig
from hrpro.localize.methods.fustal.generator import GeneratorModel
from hrpro.localize.proposals.generate import Array, Proposals, generate_proposals
from hrpro.localize.proposals.nms import hard_nms
from hrpro.localize.sampling.fixed_length import take, uniform_indices

SAMPLED_VALUES = 1 << 25
"""Feature values of the videos that go through the network at once: 128 MiB."""


@dataclass(frozen=True)
class GeneratorPrediction:
    """What the generator says about one video of L snippets, sampled to T <= L.

    Attributes:
        cas: s >= 0, ``[T, C]``.
        actionness: n >= 0, ``[T]``.
        video_score: P, ``[C]``.
        num_snippets: L.
    """

    cas: Array
    actionness: Array
    video_score: Array
    num_snippets: int

    @property
    def snippets_per_position(self) -> float:
        """Snippets of the video from one sampled position to the next."""
        return self.num_snippets / max(len(self.cas), 1)


def sampled_snippets(num_snippets: int, length: int) -> Tensor:
    """The snippets that stand for a video; all of them if there are at most `length`."""
    return uniform_indices(num_snippets, min(num_snippets, length))


@torch.no_grad()
def predict(model: GeneratorModel, features: Sequence[Tensor]) -> list[GeneratorPrediction]:
    """Look at whole videos of features ``[L, dim]``, in eval mode, a few at a time."""
    training = model.training
    model.eval()
    device = next(model.parameters()).device
    length, dim = model.config.length, model.embed.in_channels
    indices = [sampled_snippets(len(f), length) for f in features]
    predictions: list[GeneratorPrediction] = []
    at_once = max(1, SAMPLED_VALUES // (length * dim))
    for first in range(0, len(features), at_once):
        some = slice(first, first + at_once)
        batch, lengths = take(features[some], indices[some])
        output = model(batch.to(device), None if lengths is None else lengths.to(device))
        columns = (output.cas, output.actionness, output.video_score)
        predictions += [
            GeneratorPrediction(cas[: len(index)], actionness[: len(index)], score, len(video))
            for cas, actionness, score, index, video in zip(
                *(column.cpu().numpy() for column in columns),
                indices[some],
                features[some],
                strict=True,
            )
        ]
    model.train(training)
    return predictions


def propose(
    predictions: Sequence[GeneratorPrediction],
    config: GeneratorConfig,
    *,
    classes: Sequence[Array] | None = None,
    stride_s: Sequence[float],
    offset_s: Sequence[float],
) -> Proposals:
    """Candidates of all videos, before NMS.

    Args:
        predictions: of each video.
        config: thresholds and constants.
        classes: class indices to look for in each video, such as those of its label; by default
            those that it predicts.
        stride_s: seconds from one snippet to the next, of each video.
        offset_s: where its first snippet starts.
    """
    return generate_proposals(
        [normalised(p.cas) for p in predictions],
        [p.video_score for p in predictions],
        [normalised(p.actionness) for p in predictions],
        classes=classes,
        config=config.proposals,
        snippet_s=[s * p.snippets_per_position for s, p in zip(stride_s, predictions, strict=True)],
        offset_s=offset_s,
    )


def normalised(values: Array) -> Array:
    """Min-max normalisation over time, ``[T, ...]`` to 0..1; float64."""
    values = np.asarray(values, np.float64)
    if not len(values):
        return values
    low, high = (np.maximum(edge(values, axis=0), 0) for edge in (np.min, np.max))
    extent = np.where(high > low, high - low, 1.0)
    return np.clip((values - low) / extent, 0, 1)


def suppress(candidates: Proposals, threshold: float) -> Proposals:
    """Hard NMS: the worse of two proposals of a class goes at this tIoU or more."""
    return hard_nms(candidates, np.nextafter(threshold, 0))
