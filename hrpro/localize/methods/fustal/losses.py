"""The losses of FuSTAL's generator: video labels, and contrast within and across videos."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hrpro.localize.methods.fustal.config import ContrastConfig
from hrpro.localize.methods.fustal.generator import GeneratorOutput
from hrpro.localize.methods.fustal.mining import MinedSnippets, draw_multiplier, mine
from hrpro.localize.methods.video_labels import label_shares


@dataclass(frozen=True)
class SnippetMeans:
    """Mean embeddings ``[B, D]`` of mined snippets, and the easy ones themselves.

    Attributes:
        easy_action: mean.
        easy_background: mean.
        hard_action: mean.
        hard_background: mean.
        easy_actions: ``[B, k, D]``.
        easy_backgrounds: ``[B, k, D]``.
    """

    easy_action: Tensor
    easy_background: Tensor
    hard_action: Tensor
    hard_background: Tensor
    easy_actions: Tensor
    easy_backgrounds: Tensor

    @classmethod
    def of(cls, embedding: Tensor, mined: MinedSnippets) -> SnippetMeans:
        """Gather ``[B, T, D]`` embeddings."""

        def gather(rows: Tensor) -> Tensor:
            return embedding.gather(1, rows.unsqueeze(2).expand(-1, -1, embedding.shape[2]))

        actions, backgrounds = gather(mined.easy_action), gather(mined.easy_background)
        return cls(
            easy_action=actions.mean(1),
            easy_background=backgrounds.mean(1),
            hard_action=gather(mined.hard_action).mean(1),
            hard_background=gather(mined.hard_background).mean(1),
            easy_actions=actions,
            easy_backgrounds=backgrounds,
        )


def generator_losses(
    output: GeneratorOutput,
    video_label: Tensor,
    config: ContrastConfig,
    multiplier: Tensor | None = None,
) -> dict[str, Tensor]:
    """Losses of a batch of videos.

    Args:
        output: of the network.
        video_label: ``[B, C]`` ones and zeros. Where there is no one, nothing is contrasted.
        config: constants.
        multiplier: of the easy mining, ``[B, T]``; by default drawn.

    Returns:
        Scalars ``class``, ``in_video``, ``cross_video`` and their weighted sum ``total``.
    """
    if multiplier is None:
        multiplier = draw_multiplier(output.actionness, config.easy_dropout)
    means = SnippetMeans.of(output.embedding, mine(output.actionness, multiplier, config))
    contrast = contrast_matrix(means, config.temperature)
    shows = video_label.any(1)
    losses = {
        "class": F.binary_cross_entropy(output.video_score, label_shares(video_label)),
        "in_video": (contrast.diagonal() * shows).sum() / shows.sum().clamp(min=1),
        "cross_video": cross_video_loss(contrast, video_label),
    }
    both = losses["in_video"] + config.cross_video_weight * losses["cross_video"]
    losses["total"] = losses["class"] + config.weight * both
    return losses


def contrast_matrix(means: SnippetMeans, temperature: float) -> Tensor:
    """How badly the hard snippets of a video go with the easy ones of another, ``[B, B]``.

    Entry (i, j): InfoNCE of the hard action of video j with the easy action of video i against
    its easy background, plus the same with action and background exchanged.
    """
    return info_nce(
        means.hard_action, means.easy_action, means.easy_backgrounds, temperature
    ) + info_nce(means.hard_background, means.easy_background, means.easy_actions, temperature)


def info_nce(query: Tensor, key: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """InfoNCE (van den Oord et al., 2018) of every key and its negatives with every query.

    Args:
        query: ``[B, D]``.
        key: ``[A, D]``.
        negatives: ``[A, K, D]``.
        temperature: divides the cosines.

    Returns:
        ``[A, B]``.
    """
    query, key, negatives = (F.normalize(v, dim=-1) for v in (query, key, negatives))
    wanted = key @ query.T / temperature
    others = negatives @ query.T / temperature  # [A, K, B]
    return torch.cat([wanted.unsqueeze(1), others], 1).logsumexp(1) - wanted


def same_label_pairs(video_label: Tensor) -> Tensor:
    """Pairs i < j of videos with identical labels, ``[P, 2]``; some label each."""
    same = (video_label.unsqueeze(0) == video_label.unsqueeze(1)).all(2)
    return (same & video_label.any(1)).triu(1).nonzero()


def cross_video_loss(contrast: Tensor, video_label: Tensor) -> Tensor:
    """Mean of the contrast both ways over the pairs of identical labels; 0 without a pair."""
    first, second = same_label_pairs(video_label).unbind(1)
    both = contrast[first, second] + contrast[second, first]
    return both.sum() / (2 * max(len(first), 1))
