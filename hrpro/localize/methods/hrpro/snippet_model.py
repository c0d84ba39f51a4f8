"""Stage 1 of HR-Pro: which class, or background, each snippet shows (HR-Pro, section 3.2)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hrpro.localize.methods.hrpro.config import SnippetConfig
from hrpro.localize.nn.attention import attend
from hrpro.localize.nn.compiling import compilable
from hrpro.localize.nn.dropout import Dropout
from hrpro.localize.nn.pooling import topk_pool
from hrpro.localize.sampling.packing import Packing, VideoBatch

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SnippetOutput:
    """What stage 1 says about the S packed snippets of some videos.

    Attributes:
        embedded: ``[S, D]`` embedded features X_e.
        class_scores: ``[S, C]`` class scores S.
        background: ``[S]`` background scores b.
        packing: where each video lies.
        topk_ratio: see `SnippetConfig`.
    """

    embedded: Tensor
    class_scores: Tensor
    background: Tensor
    packing: Packing
    topk_ratio: int

    @property
    def attention(self) -> Tensor:
        """``[S]`` class-agnostic attention A = 1 - b."""
        return 1 - self.background

    @property
    def fused(self) -> Tensor:
        """``[S, C]`` fused scores P = S * A."""
        return self.class_scores * self.attention.unsqueeze(1)

    def video_scores(self, labels: Tensor | None = None) -> Tensor:
        """``[B, C]`` video scores v: the mean of the best snippets of each class.

        Args:
            labels: ``[B, C]`` bool, in training: the score of an absent class is then the mean
                over all snippets.
        """
        best = topk_pool(self.class_scores, self.packing, self.topk_ratio)
        if labels is None:
            return best
        return torch.where(labels, best, self.packing.mean(self.class_scores))


@dataclass(frozen=True)
class SnippetPrediction:
    """What stage 1 says about one video of T snippets; see `SnippetOutput`.

    Attributes:
        class_scores: S, ``[T, C]``.
        fused: P, ``[T, C]``.
        attention: A, ``[T]``.
        video_score: v, ``[C]``.
    """

    class_scores: Tensor
    fused: Tensor
    attention: Tensor
    video_score: Tensor


class PrototypeMemory(nn.Module):
    """Reliable prototype memory: one feature per class, learned without gradient."""

    prototypes: Tensor

    def __init__(self, num_classes: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("prototypes", torch.zeros(num_classes, dim))

    @torch.no_grad()
    def update(
        self, embedded: Tensor, action: Tensor, labels: Tensor, packing: Packing, momentum: float
    ) -> None:
        """Move the prototypes of each video's classes towards the mean of its action snippets.

        The videos of the batch take effect one after the other, in their order.

        Args:
            embedded: ``[S, D]`` embedded features.
            action: ``[S, C]`` bool, pseudo-action snippets.
            labels: ``[B, C]`` bool, classes of each video.
            packing: where each video lies.
            momentum: share of the old prototype that stays at each step.
        """
        embedded = embedded.to(self.prototypes.dtype)
        count = packing.sum(action.long())
        moved = labels & (count > 0)  # [B, C]
        # With n the videos still to come that move the class, a video's mean ends up with weight
        # (1 - momentum) * momentum^n, and the old prototype with momentum^(all that move it).
        to_come = moved.flip(0).cumsum(0).flip(0) - moved.long()
        share = moved * (1 - momentum) * momentum ** to_come.to(embedded.dtype) / count.clamp(min=1)
        weight = share[packing.video] * action  # [S, C]
        self.prototypes.mul_((momentum ** moved.sum(0).to(embedded.dtype)).unsqueeze(1))
        self.prototypes.addmm_(weight.to(embedded.dtype).T, embedded)


class ReliabilityAwareBlock(nn.Module):
    """Attention of all snippets of a video to each other and to the memory (HR-Pro, fig. 3)."""

    def __init__(self, dim: int, config: SnippetConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.attention_dropout = config.attention_dropout
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        # The multi-head attention projects its inputs, which include the two above, once more.
        self.query_projection = nn.Linear(dim, dim)
        self.key_projection = nn.Linear(dim, dim)
        self.value_projection = nn.Linear(dim, dim)
        self.output_projection = nn.Linear(dim, dim)
        for projection in (self.query_projection, self.key_projection, self.value_projection):
            # Xavier's bound for the three as one [3D, D] matrix, as nn.MultiheadAttention has it.
            nn.init.uniform_(projection.weight, -((6 / (4 * dim)) ** 0.5), (6 / (4 * dim)) ** 0.5)
            nn.init.zeros_(projection.bias)
        nn.init.zeros_(self.output_projection.bias)
        self.attention_norm = nn.LayerNorm(dim)
        self.feedforward = nn.Sequential(
            nn.Linear(dim, config.feedforward_dim),
            nn.ReLU() if config.activation == "relu" else nn.GELU(),
            Dropout(config.block_dropout),
            nn.Linear(config.feedforward_dim, dim),
        )
        self.feedforward_norm = nn.LayerNorm(dim)
        self.dropout = Dropout(config.block_dropout)

    def forward(self, tokens: Tensor, packing: Packing) -> Tensor:
        """Packed ``[N, D]`` tokens to the same shape."""
        dropout = self.attention_dropout if self.training else 0.0
        attended = attend(*self.project(tokens), packing, self.num_heads, dropout)
        return self.take_in(tokens, attended)

    @compilable(dynamic=True)
    def project(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value of ``[N, D]`` tokens."""
        return (
            self.query_projection(self.query(tokens)),
            self.key_projection(self.key(tokens)),
            self.value_projection(tokens),
        )

    @compilable(dynamic=True)
    def take_in(self, tokens: Tensor, attended: Tensor) -> Tensor:
        """What becomes of ``[N, D]`` tokens that have attended to these values."""
        tokens = self.attention_norm(tokens + self.dropout(self.output_projection(attended)))
        return self.feedforward_norm(tokens + self.dropout(self.feedforward(tokens)))


class SnippetEncoder(nn.Module):
    """Attention blocks over the snippets and the memory, then a temporal convolution."""

    def __init__(self, dim: int, config: SnippetConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            ReliabilityAwareBlock(dim, config) for _ in range(config.num_blocks)
        )
        self.embedding = nn.Conv1d(dim, dim, kernel_size=3, padding=1)

    def forward(self, features: Tensor, memory: Tensor, packing: Packing) -> Tensor:
        """Embed packed ``[S, D]`` features, given ``[C, D]`` memory tokens: ``[S, D]``."""
        # Every video brings its own copy of the memory: [X_1; M; X_2; M; ...].
        extended = packing.extended(len(memory))
        beyond = extended.position - packing.length[extended.video]
        is_snippet = beyond < 0
        row = packing.start[extended.video] + extended.position
        row = torch.where(is_snippet, row, len(features) + beyond)
        tokens = torch.cat([features, memory.to(features.dtype)]).index_select(0, row)
        for block in self.blocks:
            tokens = block(tokens, extended)
        # Zeroed, the memory tokens are the convolution's padding between two videos.
        tokens = tokens * is_snippet.unsqueeze(1)
        embedded = self.embedding(tokens.T.unsqueeze(0)).squeeze(0).T
        snippets = torch.arange(len(features), device=row.device) + len(memory) * packing.video
        return F.relu(embedded.index_select(0, snippets))


class SnippetModel(nn.Module):
    """Stage 1 of HR-Pro: encoder, classifier with a background channel, and memory.

    Args:
        dim: feature width D.
        num_classes: C.
        config: see `SnippetConfig`.

    Raises:
        ValueError: the number of heads does not divide `dim`.
    """

    def __init__(self, dim: int, num_classes: int, config: SnippetConfig | None = None) -> None:
        super().__init__()
        self.config = config or SnippetConfig()
        if dim % self.config.num_heads:
            raise ValueError(
                f"num_heads {self.config.num_heads} does not divide the feature width {dim}"
            )
        self.memory = PrototypeMemory(num_classes, dim)
        self.encoder = SnippetEncoder(dim, self.config)
        self.dropout = Dropout(self.config.head_dropout)
        self.classifier = nn.Linear(dim, num_classes + 1, bias=False)

    def memory_tokens(self) -> Tensor:
        """The ``[C, D]`` tokens that the memory adds to a video's."""
        prototypes = self.memory.prototypes
        if self.config.memory_tokens == "prototypes":
            return prototypes
        return prototypes.reshape(prototypes.shape[::-1]).T

    def forward(self, features: Tensor, packing: Packing) -> SnippetOutput:
        """Score packed ``[S, D]`` snippets."""
        embedded = self.encoder(features, self.memory_tokens(), packing)
        # Scores and all that follows from them are float32 even under autocast.
        logits = self.classifier(self.dropout(embedded)).to(features.dtype)
        scores = logits.sigmoid()
        return SnippetOutput(
            embedded=embedded.to(features.dtype),
            class_scores=scores[:, :-1],
            background=scores[:, -1],
            packing=packing,
            topk_ratio=self.config.topk_ratio,
        )

    @torch.no_grad()
    def predict(self, features: Sequence[Tensor]) -> list[SnippetPrediction]:
        """Score whole videos of ``[T, D]`` features, in eval mode."""
        training = self.training
        self.eval()
        device = self.memory.prototypes.device
        packing = Packing.of(features).to(device)
        output = self(torch.cat(list(features)).float().to(device), packing)
        self.train(training)
        columns = (
            packing.split(output.class_scores),
            packing.split(output.fused),
            packing.split(output.attention),
            output.video_scores(),
        )
        return [SnippetPrediction(*video) for video in zip(*columns, strict=True)]

    @torch.no_grad()
    def initialise_memory(self, batches: Iterable[VideoBatch]) -> None:
        """Set each prototype to the mean embedded feature of its class's point snippets.

        Args:
            batches: the training videos, once each. They are embedded in eval mode with an empty
                memory. A class without a point keeps zeros.
        """
        training = self.training
        self.eval()
        prototypes = self.memory.prototypes.zero_()
        # On the CPU: Apple's GPUs have no float64.
        total = torch.zeros(prototypes.shape, dtype=torch.float64)
        count = torch.zeros(len(prototypes), dtype=torch.float64)
        for batch in batches:
            batch = batch.to(prototypes.device)
            points = batch.points & batch.labels[batch.packing.video]
            embedded = self(batch.features, batch.packing).embedded
            rows = points.any(dim=1)
            total += points[rows].cpu().double().T @ embedded[rows].cpu().double()
            count += points.sum(dim=0).cpu()
        prototypes.copy_(total / count.clamp(min=1).unsqueeze(1))
        self.train(training)
