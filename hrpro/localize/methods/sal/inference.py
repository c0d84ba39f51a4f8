"""From the network of SAL to detections (spec section 8)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hrpro.localize.methods.sal.config import SalConfig
from hrpro.localize.methods.sal.model import SalModel
from hrpro.localize.proposals.generate import Array, Proposals, generate_proposals
from hrpro.localize.proposals.two_list_nms import TwoListNmsConfig, two_list_nms
from hrpro.localize.sampling.fixed_length import pad_videos, uniform_indices


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

    def of_snippets(self) -> Array:
        """The selection map at the snippets of the video, ``[L, C]``, interpolated."""
        position = np.arange(self.num_snippets) / self.snippets_per_position
        last = len(self.selection_map) - 1
        low = np.minimum(position.astype(np.int64), last)
        high = np.minimum(low + 1, last)
        share = (position - low)[:, None]
        return (1 - share) * self.selection_map[low] + share * self.selection_map[high]


def class_scores(top_class_logits: Tensor, video_logits: Tensor, pooled_share: float) -> Tensor:
    """How probable each class is in each video, S, ``[B, C]``, from two ``[B, C]`` logits."""
    return torch.lerp(video_logits, top_class_logits, pooled_share).softmax(dim=1)


@torch.no_grad()
def predict(model: SalModel, features: Iterable[Tensor], config: SalConfig) -> list[SalPrediction]:
    """Look at whole videos of features ``[L, dim]`` at once, in eval mode."""
    network = config.network
    num_snippets, sampled = [], []
    for video in features:
        index = uniform_indices(
            len(video), network.length, keep_short=network.short_videos == "natural"
        )
        num_snippets.append(len(video))
        sampled.append(video[index.to(video.device)])
    batch, lengths = pad_videos(sampled)
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    output = model(batch.to(device), None if lengths is None else lengths.to(device))
    model.train(training)
    score = class_scores(output.top_class_logits, output.video_logits, config.pooled_share)
    columns = (output.selection_map, score, output.top_class_logits)
    rows = zip(*(column.cpu().numpy() for column in columns), sampled, num_snippets, strict=True)
    return [
        SalPrediction(selected[: len(video)], score, top, length)
        for selected, score, top, video, length in rows
    ]


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
        snippet_s=[s * p.snippets_per_position for s, p in zip(stride_s, predictions, strict=True)],
        offset_s=offset_s,
    )


def suppress(candidates: Proposals, config: TwoListNmsConfig) -> Proposals:
    """Two-list NMS; best detections first."""
    kept, decayed = two_list_nms(candidates, config)
    if not config.keep_decayed:
        return kept
    return Proposals.concatenate([kept, decayed]).by_score()
