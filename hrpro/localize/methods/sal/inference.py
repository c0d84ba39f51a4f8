"""From the network of SAL to detections (spec section 8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hrpro.localize.methods.sal.config import SalConfig
from hrpro.localize.methods.sal.model import SalModel
from hrpro.localize.proposals.generate import Array, Proposals, generate_proposals
from hrpro.localize.proposals.two_list_nms import TwoListNmsConfig, two_list_nms
from hrpro.localize.sampling.fixed_length import take, uniform_indices

SAMPLED_VALUES = 1 << 25
"""Feature values of the videos that go through the network at once: 128 MiB."""


@dataclass(frozen=True)
class SalPrediction:
    """What SAL says about one video of L snippets, sampled to T.

    Attributes:
        selection_map: M, ``[T, C]`` from 0 to 1.
        class_score: S, how probable each class is, ``[C]``.
        top_class_logits: ``[C]``, a part of the score.
        num_snippets: L.
    """

    selection_map: Array
    class_score: Array
    top_class_logits: Array
    num_snippets: int

    @property
    def snippets_per_position(self) -> float:
        """Snippets of the video from one sampled position to the next."""
        return self.num_snippets / max(len(self.selection_map), 1)


def class_scores(top_class_logits: Tensor, video_logits: Tensor, pooled_share: float) -> Tensor:
    """How probable each class is in each video, S, ``[B, C]``, from two ``[B, C]`` logits."""
    return torch.lerp(video_logits, top_class_logits, pooled_share).softmax(dim=1)


@torch.no_grad()
def predict(model: SalModel, features: Sequence[Tensor], config: SalConfig) -> list[SalPrediction]:
    """Look at whole videos of features ``[L, dim]``, in eval mode, a few at a time."""
    training = model.training
    model.eval()
    device = next(model.parameters()).device
    network = config.network
    indices = [
        uniform_indices(len(f), network.length, keep_short=network.short_videos == "natural")
        for f in features
    ]
    predictions: list[SalPrediction] = []
    at_once = max(1, SAMPLED_VALUES // max(network.length * model.dim, 1))
    for first in range(0, len(features), at_once):
        some = slice(first, first + at_once)
        batch, lengths = take(features[some], indices[some])
        output = model(batch.to(device), None if lengths is None else lengths.to(device))
        score = class_scores(output.top_class_logits, output.video_logits, config.pooled_share)
        columns = (output.selection_map, score, output.top_class_logits)
        predictions += [
            SalPrediction(m[: len(index)], s, top, len(video))
            for m, s, top, index, video in zip(
                *(column.cpu().numpy() for column in columns),
                indices[some],
                features[some],
                strict=True,
            )
        ]
    model.train(training)
    return predictions


def propose(
    predictions: Sequence[SalPrediction],
    config: SalConfig,
    *,
    classes: Sequence[Array] | None = None,
    stride_s: Sequence[float],
    offset_s: Sequence[float],
) -> Proposals:
    """Candidates of all videos, before NMS.

    Args:
        predictions: of each video.
        config: thresholds and constants.
        classes: class indices to look for in each video; by default those that it predicts.
        stride_s: seconds from one snippet to the next, of each video.
        offset_s: where its first snippet starts.
    """
    return generate_proposals(
        [p.selection_map for p in predictions],
        [p.class_score for p in predictions],
        classes=classes,
        config=config.proposals,
        snippet_s=np.array(
            [s * p.snippets_per_position for s, p in zip(stride_s, predictions, strict=True)]
        ),
        offset_s=np.asarray(offset_s, dtype=np.float64),
    )


def suppress(candidates: Proposals, config: TwoListNmsConfig) -> Proposals:
    """Two-list NMS; best detections first."""
    kept, decayed = two_list_nms(candidates, config)
    if not config.keep_decayed:
        return kept
    return Proposals.concatenate([kept, decayed]).by_score()
