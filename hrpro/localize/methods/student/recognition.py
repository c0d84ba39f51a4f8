"""Which class a whole segment is: logistic regression on the mean of its features.

The pyramid tells well where actions are, but with few clips of each class it mistakes classes. What
a whole segment looks like on average tells them apart better. No paper of the three has this.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hrpro.localize.methods.student.batch import Segments
from hrpro.localize.methods.student.config import RecognitionConfig

SEGMENTS_AT_ONCE = 1 << 13
"""Segments whose mean features are in memory together."""
LEAST_PROBABILITY = 1e-6
"""Of a class, so that no candidate is lost and small ones still come in the student's order."""
ITERATIONS = 200
"""Of L-BFGS, at most."""


class SegmentClassifier(nn.Module):
    """Softmax over the classes of a linear function of a segment's normalised mean features.

    All it knows are buffers: it is fitted at once, before the network is trained, and not moved by
    the training. It works on the CPU, wherever they and the features are: there is little to
    compute, and not every device has float64.

    Args:
        dim: feature width D.
        num_classes: C.
        config: see `RecognitionConfig`.
    """

    mean: Tensor
    """``[D]``, of the features of a step of the training videos."""
    scale: Tensor
    """``[D]``, one over their standard deviation."""
    weight: Tensor
    """``[C, D]``"""
    bias: Tensor
    """``[C]``"""

    def __init__(self, dim: int, num_classes: int, config: RecognitionConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))
        self.register_buffer("weight", torch.zeros(num_classes, dim))
        self.register_buffer("bias", torch.zeros(num_classes))

    def fit(self, features: Sequence[Tensor], segments: Sequence[Segments]) -> None:
        """Learn from the segments of training videos; without any, all classes stay alike.

        The loss is a sum over segments, each with its weight, plus half of ``penalty`` times the
        sum of the squared weights; computed in float64 on the CPU.

        Args:
            features: ``[T, D]`` of each video.
            segments: of each video, in steps.
        """
        labels = torch.cat([some.labels for some in segments]).cpu()
        if not len(labels):
            return
        weights = torch.cat([some.weights for some in segments]).cpu().double()
        total = sum(len(values) for values in features)
        mean = torch.stack([values.cpu().double().sum(0) for values in features]).sum(0) / total
        squares = [(values.cpu().double() - mean).square().sum(0) for values in features]
        # A channel that never changes says nothing.
        deviation = (torch.stack(squares).sum(0) / total).sqrt()
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(deviation > 0, 1 / deviation, 0))
        inputs = [
            self.inputs(values, some.bounds)
            for values, some in zip(features, segments, strict=True)
        ]
        weight, bias = logistic_regression(
            torch.cat(inputs).double(), labels, weights, len(self.bias), self.config.penalty
        )
        self.weight.copy_(weight)
        self.bias.copy_(bias)

    @torch.no_grad()
    def probabilities(
        self, features: Tensor, bounds: Tensor, classes: Tensor | None = None
    ) -> Tensor:
        """How probable the classes are in segments of a video.

        Args:
            features: ``[T, D]``, at the steps of the training.
            bounds: ``[M, 2]`` in steps.
            classes: bool ``[C]``, those that are possible; all by default.

        Returns:
            ``[M, C]`` on the CPU, rows add up to 1.
        """
        weight, bias = self.weight.cpu(), self.bias.cpu()
        found = [bias.new_zeros(0, len(bias))]
        for some in bounds.split(SEGMENTS_AT_ONCE):
            logits = F.linear(self.inputs(features, some), weight, bias)
            if classes is not None:
                logits = logits.masked_fill(~classes.cpu(), float("-inf"))
            found.append(logits.softmax(1))
        return torch.cat(found)

    def inputs(self, features: Tensor, bounds: Tensor) -> Tensor:
        """The mean of a video's standardised features in segments, of length 1, float32 ``[M, D]``.

        Args:
            features: ``[T, D]``.
            bounds: ``[M, 2]`` in steps, each of which holds for half a step to both sides.
        """
        start, end = bounds.cpu().double().unbind(1)
        border = self.config.border * (end - start)
        standard = (features.cpu() - self.mean.cpu()) * self.scale.cpu()
        # float64, for in a long video the sums are large beside a step.
        sums = F.pad(standard.double().cumsum(0), (0, 0, 1, 0))
        area = [_interpolated(sums, at + 0.5) for at in (start + border, end - border)]
        # The length does not count, only the direction.
        return F.normalize(area[1] - area[0], dim=1).float()


def logistic_regression(
    inputs: Tensor, labels: Tensor, weights: Tensor, num_classes: int, penalty: float
) -> tuple[Tensor, Tensor]:
    """Fit a softmax regression by L-BFGS, from zero: the same input gives the same result.

    Args:
        inputs: ``[N, D]``.
        labels: int64 ``[N]``.
        weights: ``[N]``, how much each row counts.
        num_classes: C.
        penalty: half of it times the sum of the squared weights is added to the sum of losses.

    Returns:
        Weights ``[C, D]`` and biases ``[C]``.
    """
    weight = inputs.new_zeros(num_classes, inputs.shape[1]).requires_grad_()
    bias = inputs.new_zeros(num_classes).requires_grad_()
    optimiser = torch.optim.LBFGS(
        [weight, bias], max_iter=ITERATIONS, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        losses = F.cross_entropy(F.linear(inputs, weight, bias), labels, reduction="none")
        value = (losses @ weights + penalty / 2 * weight.square().sum()) / len(labels)
        value.backward()
        return value

    with torch.enable_grad():
        optimiser.step(loss)
    return weight.detach(), bias.detach()


def _interpolated(sums: Tensor, position: Tensor) -> Tensor:
    """Values ``[T + 1, D]`` at positions from 0 to T, linear in between, ``[M, D]``."""
    position = position.clamp(0, len(sums) - 1)
    low = position.long().clamp(max=len(sums) - 2)
    return sums[low].lerp(sums[low + 1], (position - low).unsqueeze(1))
