"""The network of FuSTAL's generator: a snippet classifier (CoLA, section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from hrpro.localize.methods.fustal.config import GeneratorNetwork
from hrpro.localize.nn.compiling import compilable
from hrpro.localize.nn.dropout import Dropout
from hrpro.localize.nn.pooling import topk_mean


@dataclass(frozen=True)
class GeneratorOutput:
    """What the generator says about B videos of T snippets.

    Behind the end of shorter videos the values mean nothing.

    Attributes:
        embedding: e, ``[B, T, D]``.
        cas: class activation sequence s >= 0, ``[B, T, C]``.
        video_score: P, how probable each class is in the video, ``[B, C]``.
    """

    embedding: Tensor
    cas: Tensor
    video_score: Tensor

    @property
    def actionness(self) -> Tensor:
        """n: the sum of a snippet's activations, >= 0, ``[B, T]``."""
        return self.cas.sum(2)


class GeneratorModel(nn.Module):
    """An embedding of each snippet and its neighbours, and a classifier.

    Args:
        dim: feature width.
        num_classes: C.
        config: see `GeneratorNetwork`.
    """

    def __init__(self, dim: int, num_classes: int, config: GeneratorNetwork | None = None) -> None:
        super().__init__()
        self.config = config or GeneratorNetwork()
        width = self.config.width or dim
        self.embed = nn.Conv1d(dim, width, self.config.kernel, padding=self.config.kernel // 2)
        self.dropout = Dropout(self.config.dropout)
        self.classifier = nn.Linear(width, num_classes, bias=False)

    @compilable(dynamic=False)
    def forward(self, features: Tensor, lengths: Tensor | None = None) -> GeneratorOutput:
        """Score snippets.

        Args:
            features: ``[B, T, dim]``, zero behind the end of a video.
            lengths: ``[B]`` snippets of each video; None if all have T.
        """
        embedding = F.relu(self.embed(features.transpose(1, 2))).transpose(1, 2)
        # What follows from the scores is float32 even under autocast.
        cas = F.relu(self.classifier(self.dropout(embedding))).to(features.dtype)
        score = topk_mean(cas, self.config.topk_ratio, lengths=lengths).softmax(1)
        return GeneratorOutput(embedding.to(features.dtype), cas, score)
