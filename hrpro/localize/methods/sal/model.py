"""The network of SAL: snippet embeddings, video semantics, class activations and actionness.

"Multi-Level Semantic Learning": the video as a whole is described by second-order statistics of
its snippets, and what they say is added to the snippets in which something happens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hrpro.localize.methods.sal.config import SalNetwork
from hrpro.localize.methods.sal.pseudo_labels import batch_mix
from hrpro.localize.nn.bilinear import bilinear_pool
from hrpro.localize.nn.dropout import Dropout
from hrpro.localize.nn.pooling import topk_mean
from hrpro.localize.nn.precision import at_least_float32


@dataclass(frozen=True)
class SalOutput:
    """What SAL says about B videos of T snippets, C classes and embeddings of D channels.

    Behind the end of shorter videos the values mean nothing.

    Attributes:
        embedding: E, ``[B, D, T]``.
        bilinear: second-order statistics v, ``[B, D * D]``.
        semantics: what they add to a snippet, s, ``[B, D]``.
        embedding_with_semantics: E', ``[B, D, T]``.
        cas: class activation sequence z, raw logits, ``[B, T, C]``.
        actionness_rgb: a_r, 0 to 1, ``[B, T]``.
        actionness_flow: a_f, likewise.
        actionness: a, both fused.
        video_logits: q, ``[B, C]``.
        selection_map: M, 0 to 1, ``[B, T, C]``.
        top_class_logits: the logits pooled over the snippets that speak for a class, ``[B, C]``.
    """

    embedding: Tensor
    bilinear: Tensor
    semantics: Tensor
    embedding_with_semantics: Tensor
    cas: Tensor
    actionness_rgb: Tensor
    actionness_flow: Tensor
    actionness: Tensor
    video_logits: Tensor
    selection_map: Tensor
    top_class_logits: Tensor

    @property
    def cas_background(self) -> Tensor:
        """Class logits where nothing happens, ``[B, T, C]``."""
        return self.cas * (1 - self.actionness).unsqueeze(-1)


@dataclass(frozen=True)
class SalTrainingOutput:
    """What SAL says in training, besides `videos`.

    Attributes:
        videos: the videos themselves.
        video_logits_rgb: logits of the RGB stream's second-order statistics, ``[B, C]``.
        video_logits_flow: of the flow stream's.
        actionness_rgb_mix: RGB actionness of each video mixed with another one, ``[B, T]``.
        actionness_flow_mix: flow actionness of the same.
    """

    videos: SalOutput
    video_logits_rgb: Tensor
    video_logits_flow: Tensor
    actionness_rgb_mix: Tensor
    actionness_flow_mix: Tensor


class SnippetEmbedding(nn.Module):
    """A temporal convolution, and the activation that makes embeddings of what it gives."""

    def __init__(self, dim: int, config: SalNetwork) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(dim, config.width, config.kernel, padding=config.kernel // 2)
        self.dropout = Dropout(config.dropout)

    def project(self, features: Tensor) -> Tensor:
        """Features ``[B, dim, T]`` before the activation, ``[B, D, T]``."""
        return self.convolution(features)

    def activate(self, projected: Tensor) -> Tensor:
        """The embedding of what `project` gave."""
        return self.dropout(F.relu(projected))

    def project_mix(self, projected: Tensor) -> Tensor:
        """What `project` would give for the features of each video plus those of another.

        The convolution is linear: nothing has to be convolved again. The bias counts once.
        """
        bias = self.convolution.bias
        assert bias is not None
        return batch_mix(projected) - bias.to(projected.dtype).unsqueeze(-1)


class SalModel(nn.Module):
    """SAL's network (spec section 3).

    There are two actionness heads, one on RGB and one on optical flow. Features of one stream
    alone go to both: then the heads differ in their random start and their dropout, and the
    loss that makes them agree is what is left of the two views.

    Args:
        dim: feature channels, RGB before flow.
        num_classes: C.
        config: widths and constants.

    Raises:
        ValueError: there are fewer feature channels than ``config.rgb_channels``.
    """

    def __init__(self, dim: int, num_classes: int, config: SalNetwork | None = None) -> None:
        super().__init__()
        self.config = config = config or SalNetwork()
        self.dim = dim
        self.rgb, self.flow = stream_channels(dim, config.rgb_channels)
        width = config.width
        self.embed = SnippetEmbedding(dim, config)
        self.embed_rgb = SnippetEmbedding(self.rgb.stop - self.rgb.start, config)
        self.embed_flow = SnippetEmbedding(self.flow.stop - self.flow.start, config)
        self.classifier = nn.Conv1d(width, num_classes, kernel_size=1)
        self.actionness_rgb = nn.Conv1d(width, 1, kernel_size=1)
        self.actionness_flow = nn.Conv1d(width, 1, kernel_size=1)
        self.video_classifier = nn.Linear(width * width, num_classes)
        self.semantics = nn.Linear(width * width, width)
        nn.init.kaiming_normal_(self.semantics.weight)
        nn.init.zeros_(self.semantics.bias)

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> SalOutput:
        """Look at videos of features ``[B, T, dim]``.

        Args:
            features: zero behind the end of each video.
            lengths: snippets of each video, ``[B]``; None if all have T.
        """
        embedding, rgb, flow = (
            layer.activate(projected)
            for layer, projected in zip(self._embeddings, self._project(features), strict=True)
        )
        if lengths is not None:
            position = torch.arange(features.shape[1], device=features.device)
            embedding = embedding * (position < lengths.unsqueeze(1)).unsqueeze(1)
        bilinear = bilinear_pool(embedding, lengths)
        logits = _in_full_precision(self.video_classifier, bilinear)
        return self._read(embedding, rgb, flow, bilinear, logits, lengths)

    def training_output(self, features: Tensor) -> SalTrainingOutput:
        """Look at videos ``[B, T, dim]``, at their streams, and at them mixed up in pairs."""
        projected = self._project(features)
        embedding, rgb, flow = embeddings = [
            layer.activate(values)
            for layer, values in zip(self._embeddings, projected, strict=True)
        ]
        pooled = bilinear_pool(torch.cat(embeddings))
        logits = _in_full_precision(self.video_classifier, pooled)
        logits, logits_rgb, logits_flow = logits.chunk(3)
        bilinear = pooled[: len(features)]
        mix = [
            layer.activate(layer.project_mix(values))
            for layer, values in zip(self._embeddings[1:], projected[1:], strict=True)
        ]
        return SalTrainingOutput(
            videos=self._read(embedding, rgb, flow, bilinear, logits, None),
            video_logits_rgb=logits_rgb,
            video_logits_flow=logits_flow,
            actionness_rgb_mix=_actionness(self.actionness_rgb, mix[0]),
            actionness_flow_mix=_actionness(self.actionness_flow, mix[1]),
        )

    @property
    def _embeddings(self) -> tuple[SnippetEmbedding, SnippetEmbedding, SnippetEmbedding]:
        return self.embed, self.embed_rgb, self.embed_flow

    def _project(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        channels_first = features.transpose(1, 2)
        return (
            self.embed.project(channels_first),
            self.embed_rgb.project(channels_first[:, self.rgb]),
            self.embed_flow.project(channels_first[:, self.flow]),
        )

    def _read(
        self,
        embedding: Tensor,
        rgb: Tensor,
        flow: Tensor,
        bilinear: Tensor,
        video_logits: Tensor,
        lengths: Tensor | None,
    ) -> SalOutput:
        config = self.config
        actionness_rgb = _actionness(self.actionness_rgb, rgb)
        actionness_flow = _actionness(self.actionness_flow, flow)
        actionness = torch.lerp(actionness_flow, actionness_rgb, config.rgb_share)
        semantics = _in_full_precision(self.semantics, bilinear)
        embedding_with_semantics = torch.addcmul(
            embedding, semantics.unsqueeze(2), actionness.unsqueeze(1)
        )
        cas = at_least_float32(self.classifier(embedding_with_semantics)).transpose(1, 2)
        # The map only ranks snippets: nothing is learned through it.
        selected = selection_map(
            cas.detach(), actionness_rgb.detach(), actionness_flow.detach(), config.class_share
        )
        ranking = selected if config.select_by == "map" else None
        return SalOutput(
            embedding=embedding,
            bilinear=bilinear,
            semantics=semantics,
            embedding_with_semantics=embedding_with_semantics,
            cas=cas,
            actionness_rgb=actionness_rgb,
            actionness_flow=actionness_flow,
            actionness=actionness,
            video_logits=video_logits,
            selection_map=selected,
            top_class_logits=topk_mean(cas, config.topk_ratio, ranking, lengths),
        )


def stream_channels(dim: int, rgb_channels: int | None) -> tuple[slice, slice]:
    """Which of `dim` feature channels are RGB and which are flow; all, twice, if there is no flow.

    Raises:
        ValueError: there are fewer than `rgb_channels`.
    """
    if rgb_channels is None or rgb_channels == dim:
        return slice(0, dim), slice(0, dim)
    if rgb_channels > dim:
        raise ValueError(f"rgb_channels is {rgb_channels}, but features have {dim} channels")
    return slice(0, rgb_channels), slice(rgb_channels, dim)


def selection_map(
    cas: Tensor, actionness_rgb: Tensor, actionness_flow: Tensor, class_share: float
) -> Tensor:
    """How much each snippet speaks for each class, M, ``[B, T, C]`` from 0 to 1 (spec section 4).

    Args:
        cas: class logits ``[B, T, C]``.
        actionness_rgb: ``[B, T]``.
        actionness_flow: ``[B, T]``.
        class_share: share of the class probabilities in the sum.
    """
    actionness = (actionness_rgb + actionness_flow).unsqueeze(-1)
    return class_share * cas.softmax(dim=-1) + (1 - class_share) / 2 * actionness


def _actionness(head: nn.Conv1d, embedding: Tensor) -> Tensor:
    return at_least_float32(head(embedding)).squeeze(1).sigmoid()


def _in_full_precision(layer: nn.Linear, pooled: Tensor) -> Tensor:
    """Apply a layer with far more weights than there are videos: casting them costs the most."""
    with torch.autocast(pooled.device.type, enabled=False):
        return layer(pooled)
