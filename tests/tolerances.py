"""How near features have to come to each other, by the precision they were computed in."""

from __future__ import annotations

import numpy as np

# Batches of other sizes, and other devices, add up in another order.
FLOAT32 = {"rtol": 1e-3, "atol": 1e-4}
LEAST_COSINE = {"float32": 0.99999, "bfloat16": 0.999, "float16": 0.999}


def assert_alike(found: np.ndarray, expected: np.ndarray, precision: str = "float32") -> None:
    """Compare ``[T, dim]`` features of the same snippets.

    Args:
        found: computed now.
        expected: right, in float32.
        precision: of what was found.
    """
    assert found.shape == expected.shape
    norms = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    cosines = (found * expected).sum(axis=1) / norms
    assert cosines.min() >= LEAST_COSINE[precision]
    if precision == "float32":
        np.testing.assert_allclose(found, expected, **FLOAT32)
