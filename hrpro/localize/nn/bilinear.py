"""Bilinear pooling: the second-order statistics of a sequence as one vector."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hrpro.localize.nn.precision import at_least_float32


def bilinear_pool(embedding: Tensor, lengths: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Pool snippet embeddings over time: signed square roots of their Gram matrix, normalised.

    The Gram matrix is divided by the square of the number of snippets, which leaves most entries
    below `eps`: both constants shape the vector (SAL; spec section 3).

    Args:
        embedding: ``[B, D, T]``, zero behind the end of each video.
        lengths: ``[B]`` snippets of each video; None if all have T.
        eps: added to the absolute values.

    Returns:
        ``[B, D * D]``, each row of length 1.
    """
    # The gradient of one factor, and its transpose, is that of both at half the cost.
    gram = at_least_float32(embedding @ embedding.detach().transpose(1, 2))
    gram = gram + gram.transpose(1, 2) - gram.detach()
    if lengths is None:
        gram = gram / embedding.shape[2] ** 2
    else:
        gram = gram / lengths.clamp(min=1).to(gram.dtype).square().view(-1, 1, 1)
    gram = gram.flatten(start_dim=1)
    return F.normalize(torch.sign(gram) * torch.sqrt(gram.abs() + eps), dim=1)
