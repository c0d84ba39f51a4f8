"""The losses of stage 1 (HR-Pro, section 3.2, equations 3 to 7)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hrpro.localize.methods.hrpro.pseudo_snippets import PseudoSnippets, select_pseudo_snippets
from hrpro.localize.methods.hrpro.snippet_model import SnippetConfig, SnippetModel, SnippetOutput
from hrpro.localize.sampling.packing import Packing, VideoBatch


def training_losses(model: SnippetModel, batch: VideoBatch) -> dict[str, Tensor]:
    """One forward pass over a batch: its losses, then the memory update.

    Returns:
        ``video, action, background, contrast, total``: scalars, means over the videos. Call
        ``["total"].backward()``.
    """
    config = model.config
    output = model(batch.features, batch.packing)
    with torch.autocast(batch.features.device.type, enabled=False):
        pseudo = select_pseudo_snippets(
            output.background,
            batch.points,
            batch.packing,
            config.action_threshold,
            config.background_threshold,
        )
        losses = snippet_losses(output, batch, pseudo, model.memory.prototypes, config)
        model.memory.update(
            output.embedded, pseudo.action, batch.labels, batch.packing, config.memory_momentum
        )
    return losses


def snippet_losses(
    output: SnippetOutput,
    batch: VideoBatch,
    pseudo: PseudoSnippets,
    prototypes: Tensor,
    config: SnippetConfig,
) -> dict[str, Tensor]:
    """The four losses and their weighted sum, each the mean over the videos of the batch.

    Args:
        output: of the model on `batch`.
        batch: points and classes of the videos.
        pseudo: pseudo labels of the snippets.
        prototypes: ``[C, D]`` memory.
        config: weights and constants.
    """
    scores = torch.cat([output.fused, output.background.unsqueeze(1)], dim=1)
    targets = batch.points if config.action_targets == "points" else pseudo.action
    losses = {
        "video": video_loss(output.video_scores(batch.labels), batch.labels),
        "action": focal_loss(
            scores,
            F.pad(targets, (0, 1)),
            targets.any(dim=1),
            batch.packing,
            config.focal_exponent,
        ),
        "background": focal_loss(
            scores,
            F.pad(torch.zeros_like(targets), (0, 1), value=True),
            pseudo.background,
            batch.packing,
            config.focal_exponent,
        ),
        "contrast": contrast_loss(
            output.embedded,
            prototypes,
            pseudo if config.contrast_snippets == "all" else within_runs(pseudo, batch.packing),
            batch.labels,
            batch.packing,
            config.temperature,
        ),
    }
    losses["total"] = (
        config.video_weight * losses["video"]
        + config.action_weight * losses["action"]
        + config.background_weight * losses["background"]
        + config.contrast_weight * losses["contrast"]
    )
    return losses


def video_loss(video_scores: Tensor, labels: Tensor) -> Tensor:
    """Binary cross entropy of ``[B, C]`` video scores."""
    return F.binary_cross_entropy(video_scores, labels.to(video_scores.dtype))


def focal_loss(
    scores: Tensor, targets: Tensor, selected: Tensor, packing: Packing, exponent: float = 2.0
) -> Tensor:
    """Focal binary cross entropy of the selected snippets, averaged per video, then over videos.

    Args:
        scores: ``[S, C + 1]`` probabilities.
        targets: ``[S, C + 1]`` bool.
        selected: ``[S]`` bool, the snippets that count.
        packing: where each video lies.
        exponent: of ``1 - p`` where the target is 1, of ``p`` where it is 0.
    """
    per_video = packing.sum(selected.to(scores.dtype)) + 1e-6
    rows = selected.nonzero().squeeze(1)
    scores, hits = scores[rows], targets[rows].to(scores.dtype)
    focus = (hits - scores).abs() ** exponent
    loss = (focus * F.binary_cross_entropy(scores, hits, reduction="none")).sum(dim=1)
    return (loss / per_video[packing.video[rows]]).sum() / packing.num_videos


def within_runs(pseudo: PseudoSnippets, packing: Packing) -> PseudoSnippets:
    """The pseudo snippets that the HR-Pro release contrasts.

    It looks for runs between the changes of a label along time. So it sees no run of a label
    that is the same throughout the video, and it never reaches the video's last snippet.
    """

    def keep(labels: Tensor) -> Tensor:
        changes = packing.sum(labels.long()) < packing.length.unsqueeze(1)
        is_last = packing.position == packing.length[packing.video] - 1
        return labels & changes[packing.video] & ~is_last.unsqueeze(1)

    background = keep(pseudo.background.unsqueeze(1)).squeeze(1)
    return PseudoSnippets(keep(pseudo.action), background)


def contrast_loss(
    embedded: Tensor,
    prototypes: Tensor,
    pseudo: PseudoSnippets,
    labels: Tensor,
    packing: Packing,
    temperature: float = 0.1,
) -> Tensor:
    """Pull action snippets to their class's prototype, away from others and from background.

    For class c of a video, with a_k and b_k the means of ``exp(x . m_k / temperature)`` over the
    action snippets of c and over the background snippets of the video:
    ``-0.5 log(a_c / sum_k a_k) - 0.5 log(a_c / (a_c + b_c))``, divided by the number of classes
    of the video. The paper writes the mean outside of the logarithm; this is the release's form.

    Videos without background snippets are left out.

    Args:
        embedded: ``[S, D]`` features.
        prototypes: ``[C, D]`` memory.
        pseudo: pseudo labels.
        labels: ``[B, C]`` bool, classes of each video.
        packing: where each video lies.
        temperature: tau.
    """
    num_videos, num_classes = labels.shape
    count = packing.sum(pseudo.action.long())  # [B, C]
    num_background = packing.sum(pseudo.background.long())  # [B]
    counts = labels & (count > 0) & (num_background > 0).unsqueeze(1)

    used = (pseudo.action.any(dim=1) | pseudo.background).nonzero().squeeze(1)
    video, action = packing.video[used], pseudo.action[used]
    directions = F.normalize(prototypes, dim=1).to(embedded.dtype)
    similarity = (F.normalize(embedded[used], dim=1) @ directions.T / temperature).exp()

    # One row per action snippet and class of it: a snippet may show several.
    snippet, label = action.nonzero(as_tuple=True)
    a = similarity.new_zeros(num_videos * num_classes, num_classes)
    a = a.index_add(0, video[snippet] * num_classes + label, similarity[snippet])
    b = similarity.new_zeros(num_videos, num_classes)
    b = b.index_add(0, video, similarity * pseudo.background[used].unsqueeze(1))

    pair_video, pair_class = counts.nonzero(as_tuple=True)
    a = a[pair_video * num_classes + pair_class] / count[pair_video, pair_class].unsqueeze(1)
    b = b[pair_video, pair_class] / num_background[pair_video]
    own = a.gather(1, pair_class.unsqueeze(1)).squeeze(1)
    term = 0.5 * (a.sum(dim=1) / own).log() + 0.5 * ((own + b) / own).log()
    return (term / labels.sum(dim=1)[pair_video]).sum() / num_videos
