"""The losses of stage 1 (HR-Pro, section 3.2, equations 3 to 7)."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from hrpro.localize.methods.hrpro.pseudo_snippets import PseudoSnippets, select_pseudo_snippets
from hrpro.localize.methods.hrpro.snippet_model import SnippetConfig, SnippetModel, SnippetOutput
from hrpro.localize.nn.compiling import compilable
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
    contrasted = pseudo
    if config.contrast_snippets != "all":
        contrasted = within_runs(pseudo, batch.packing)
    action, background, contrast = _snippet_losses(
        scores,
        targets,
        Selected.of(targets.any(dim=1), batch.packing),
        Selected.of(pseudo.background, batch.packing),
        output.embedded,
        prototypes,
        Contrasted.of(contrasted, batch.labels, batch.packing),
        batch.labels,
        config.focal_exponent,
        config.temperature,
    )
    losses = {
        "video": video_loss(output.video_scores(batch.labels), batch.labels),
        "action": action,
        "background": background,
        "contrast": contrast,
    }
    losses["total"] = (
        config.video_weight * losses["video"]
        + config.action_weight * losses["action"]
        + config.background_weight * losses["background"]
        + config.contrast_weight * losses["contrast"]
    )
    return losses


class Selected(NamedTuple):
    """Some of the snippets, by their rows.

    Attributes:
        rows: ``[N]`` int64.
        weight: ``[N]`` how many there are of the same video, and a little more.
    """

    rows: Tensor
    weight: Tensor

    @classmethod
    def of(cls, selected: Tensor, packing: Packing) -> Selected:
        """Those that are selected, bool ``[S]``."""
        rows = selected.nonzero().squeeze(1)
        per_video = packing.sum(selected.to(torch.float32)) + 1e-6
        return cls(rows, per_video[packing.video[rows]])


class Contrasted(NamedTuple):
    """What is contrasted in `contrast_loss`.

    Attributes:
        used: ``[U]`` rows of the action and the background snippets.
        video: ``[U]`` video of each.
        background: ``[U]`` bool.
        snippet: ``[A]`` which of the U is an action snippet; several times if it shows several.
        label: ``[A]`` class of each.
        pair_video: ``[K]`` videos with the classes that are pulled.
        pair_class: ``[K]``.
        num_actions: ``[K]`` action snippets of the class in the video.
        num_background: ``[K]`` background snippets of the video.
        num_classes: ``[K]`` classes of the video.
    """

    used: Tensor
    video: Tensor
    background: Tensor
    snippet: Tensor
    label: Tensor
    pair_video: Tensor
    pair_class: Tensor
    num_actions: Tensor
    num_background: Tensor
    num_classes: Tensor

    @classmethod
    def of(cls, pseudo: PseudoSnippets, labels: Tensor, packing: Packing) -> Contrasted:
        """Look up what the pseudo labels say about videos of these classes, bool ``[B, C]``."""
        count = packing.sum(pseudo.action.long())  # [B, C]
        num_background = packing.sum(pseudo.background.long())  # [B]
        counts = labels & (count > 0) & (num_background > 0).unsqueeze(1)
        used = (pseudo.action.any(dim=1) | pseudo.background).nonzero().squeeze(1)
        # One row per action snippet and class of it: a snippet may show several.
        snippet, label = pseudo.action[used].nonzero(as_tuple=True)
        video, of_class = counts.nonzero(as_tuple=True)
        return cls(
            used=used,
            video=packing.video[used],
            background=pseudo.background[used],
            snippet=snippet,
            label=label,
            pair_video=video,
            pair_class=of_class,
            num_actions=count[video, of_class],
            num_background=num_background[video],
            num_classes=labels.sum(dim=1)[video],
        )


@compilable(dynamic=True)
def _snippet_losses(
    scores: Tensor,
    targets: Tensor,
    action: Selected,
    background: Selected,
    embedded: Tensor,
    prototypes: Tensor,
    contrasted: Contrasted,
    labels: Tensor,
    exponent: float,
    temperature: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Losses of action, of background and of contrast, from snippets that are looked up."""
    none = torch.zeros_like(targets)
    return (
        _focal(scores, F.pad(targets, (0, 1)), action, len(labels), exponent),
        _focal(scores, F.pad(none, (0, 1), value=True), background, len(labels), exponent),
        _contrast(embedded, prototypes, contrasted, labels, temperature),
    )


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
    chosen = Selected.of(selected, packing)
    return _focal(scores, targets, chosen, packing.num_videos, exponent)


def _focal(
    scores: Tensor, targets: Tensor, chosen: Selected, num_videos: int, exponent: float
) -> Tensor:
    scores, hits = scores[chosen.rows], targets[chosen.rows].to(scores.dtype)
    focus = (hits - scores).abs() ** exponent
    loss = (focus * F.binary_cross_entropy(scores, hits, reduction="none")).sum(dim=1)
    return (loss / chosen.weight).sum() / num_videos


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
    contrasted = Contrasted.of(pseudo, labels, packing)
    return _contrast(embedded, prototypes, contrasted, labels, temperature)


def _contrast(
    embedded: Tensor, prototypes: Tensor, rows: Contrasted, labels: Tensor, temperature: float
) -> Tensor:
    num_videos, num_classes = labels.shape
    directions = F.normalize(prototypes, dim=1).to(embedded.dtype)
    similarity = (F.normalize(embedded[rows.used], dim=1) @ directions.T / temperature).exp()
    a = similarity.new_zeros(num_videos * num_classes, num_classes)
    a = a.index_add(
        0, rows.video[rows.snippet] * num_classes + rows.label, similarity[rows.snippet]
    )
    b = similarity.new_zeros(num_videos, num_classes)
    b = b.index_add(0, rows.video, similarity * rows.background.unsqueeze(1))

    a = a[rows.pair_video * num_classes + rows.pair_class] / rows.num_actions.unsqueeze(1)
    b = b[rows.pair_video, rows.pair_class] / rows.num_background
    own = a.gather(1, rows.pair_class.unsqueeze(1)).squeeze(1)
    term = 0.5 * (a.sum(dim=1) / own).log() + 0.5 * ((own + b) / own).log()
    return (term / rows.num_classes).sum() / num_videos
