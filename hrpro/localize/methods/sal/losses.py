"""The losses of SAL (spec section 6)."""

from __future__ import annotations

import torch
from torch import Tensor

from hrpro.localize.methods.sal.config import SalLosses
from hrpro.localize.methods.sal.model import SalModel, SalTrainingOutput
from hrpro.localize.methods.sal.pseudo_labels import AdaptiveMask, batch_mix, pseudo_actions
from hrpro.localize.methods.video_labels import label_shares
from hrpro.localize.nn.compiling import compilable
from hrpro.localize.nn.pooling import topk_mean


@compilable(dynamic=False)
def training_losses(
    model: SalModel, mask: AdaptiveMask, features: Tensor, labels: Tensor, config: SalLosses
) -> dict[str, Tensor]:
    """One forward pass over a batch: its losses. Moves the mean and variance of `mask` along.

    Args:
        model: in training mode.
        mask: weights the snippets.
        features: ``[B, T, dim]``, all videos T snippets long.
        labels: ``[B, C]``, 1 for the classes of each video.
        config: constants.

    Returns:
        The losses by name; ``total`` is their weighted sum.
    """
    output = model.training_output(features)
    with torch.autocast(features.device.type, enabled=False):
        pseudo, weight = label_snippets(model, mask, output, config)
        pseudo = pseudo & labels.any(1, keepdim=True)  # what shows no class, shows no action
        return sal_losses(model, output, labels, pseudo, weight, config)


@torch.no_grad()
def label_snippets(
    model: SalModel, mask: AdaptiveMask, output: SalTrainingOutput, config: SalLosses
) -> tuple[Tensor, Tensor]:
    """Pseudo actions, bool ``[B, T]``, and the weight of each snippet, ``[B, T]``."""
    videos = output.videos
    num_snippets = videos.actionness.shape[1]
    num_actions = config.pseudo_snippets
    if num_actions is None:
        num_actions = max(1, num_snippets // model.config.topk_ratio) + config.pseudo_extra
    num_evident = config.evidence_ratio and max(1, num_snippets // config.evidence_ratio)
    pseudo = pseudo_actions(videos.actionness, videos.cas, num_actions, num_evident)
    return pseudo, mask(videos.cas)


def sal_losses(
    model: SalModel,
    output: SalTrainingOutput,
    labels: Tensor,
    pseudo: Tensor,
    weight: Tensor,
    config: SalLosses,
) -> dict[str, Tensor]:
    """The six losses and their weighted sum.

    Args:
        model: for its constants.
        output: of the model.
        labels: ``[B, C]`` classes of each video.
        pseudo: ``[B, T]`` bool, pseudo actions.
        weight: ``[B, T]`` adaptive mask.
        config: weights and constants.
    """
    videos, q = output.videos, config.exponent
    background = videos.cas_background
    top_background = topk_mean(
        background, model.config.background_topk_ratio, background.detach().softmax(dim=-1)
    )
    mixed, mixed_weight = mix_labels(pseudo, weight)
    losses = {
        "class": video_cross_entropy(videos.top_class_logits, labels),
        "background": divergence_from_uniform(top_background),
        "action": generalized_cross_entropy(videos.actionness_flow, pseudo, weight, q)
        + generalized_cross_entropy(videos.actionness_rgb, pseudo, weight, q),
        "mix": generalized_cross_entropy(output.actionness_flow_mix, mixed, mixed_weight, q)
        + generalized_cross_entropy(output.actionness_rgb_mix, mixed, mixed_weight, q),
        "consistency": (videos.actionness_rgb - videos.actionness_flow).square().mean(),
        "semantic": video_cross_entropy(videos.video_logits, labels)
        + video_cross_entropy(output.video_logits_rgb, labels)
        + video_cross_entropy(output.video_logits_flow, labels),
    }
    losses["total"] = torch.stack(
        [getattr(config, f"{name}_weight") * loss for name, loss in losses.items()]
    ).sum()
    return losses


def mix_labels(pseudo: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Pseudo actions and weights ``[B, T]`` of each video mixed with the one before it."""
    return pseudo | pseudo.roll(1, dims=0), batch_mix(weight) / 2


def video_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of ``[B, C]`` logits; the classes of a video share the probability."""
    target = label_shares(labels.to(logits.dtype)) + 1e-10
    return -(target * logits.log_softmax(dim=1)).sum(dim=1).mean()


def divergence_from_uniform(logits: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the classes of ``[B, C]`` logits from equal probabilities."""
    log_probability = logits.log_softmax(dim=1)
    uniform = torch.full_like(log_probability, 1 / logits.shape[1])
    return torch.nn.functional.kl_div(log_probability, uniform, reduction="batchmean")


def generalized_cross_entropy(
    actionness: Tensor, pseudo: Tensor, weight: Tensor, exponent: float
) -> Tensor:
    """Loss of actionness ``[B, T]`` that forgives wrong labels (Zhang and Sabuncu, 2018).

    Actions and background count the same, whatever their numbers; so does each video.

    Args:
        actionness: 0 to 1.
        pseudo: bool, what should be 1; the others should be 0.
        weight: of each snippet.
        exponent: q; near 0 this is cross entropy, at 1 the absolute error.
    """

    def side(probability: Tensor, weight: Tensor) -> Tensor:
        loss = (1 - (probability + 1e-7) ** exponent) / exponent
        return ((loss * weight).sum(dim=1) / (weight.sum(dim=1) + 1e-7)).mean()

    return side(actionness, weight * pseudo) + side(1 - actionness, weight * ~pseudo)
