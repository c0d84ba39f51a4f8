"""What kind of mistakes a detector makes, in the manner of DETAD (Alwassel et al., ECCV 2018)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from hrpro.localize.evaluation.average_precision import Matching, check_segments
from hrpro.localize.proposals.generate import temporal_iou

KINDS = (
    "true positive",
    "duplicate",
    "wrong label",
    "localization",
    "confusion",
    "background",
)
"""Kinds of predictions, see `false_positive_breakdown`."""


@dataclass(frozen=True)
class FalsePositives:
    """Counts of the kinds of predictions.

    Attributes:
        tiou: threshold at which a prediction counts as right.
        counts: number of predictions of every kind of `KINDS`.
        kinds: kind of every prediction looked at, indexed like the data frame of predictions.
    """

    tiou: float
    counts: dict[str, int]
    kinds: pd.Series

    @property
    def shares(self) -> dict[str, float]:
        """Share of each kind among the predictions looked at, 0 to 1."""
        total = max(1, sum(self.counts.values()))
        return {kind: count / total for kind, count in self.counts.items()}


def false_positive_breakdown(
    predictions: pd.DataFrame,
    ground_truth: pd.DataFrame,
    tiou: float = 0.5,
    background_tiou: float = 0.1,
    top: int | None = None,
) -> FalsePositives:
    """Sort the best-scored predictions into true positives and kinds of mistakes.

    With respect to the segments of the same video, a prediction that is not right is a

    - duplicate: overlaps a segment of its class by `tiou`, which another prediction took;
    - wrong label: overlaps a segment of another class by `tiou`;
    - localization error: overlaps one of its class by `background_tiou`, but not by `tiou`;
    - confusion: the same with a segment of another class, so label and place are wrong;
    - background error: overlaps nothing by `background_tiou`.

    The first that applies counts.

    Args:
        predictions: columns video, label, start_s, end_s, score.
        ground_truth: columns video, label, start_s, end_s.
        tiou: threshold at which a prediction counts as right.
        background_tiou: overlap below which a segment has nothing to do with a prediction.
        top: how many predictions to look at; default: ten times as many as there are segments.

    Raises:
        DataError: a column is missing, a number is not finite, or there is no ground truth.
    """
    check_segments(predictions, "predictions", score=True)
    top = 10 * len(ground_truth) if top is None else top
    best = np.argsort(-predictions["score"].to_numpy(float), kind="stable")[:top]
    predictions = predictions.iloc[best]
    matching = Matching(predictions, ground_truth)
    right = np.zeros(len(predictions), dtype=bool)
    right[matching.row[matching.match(tiou) >= 0]] = True

    same, other = _highest_tiou(predictions, ground_truth)
    choices = [
        right,
        same >= tiou,
        other >= tiou,
        same >= background_tiou,
        other >= background_tiou,
    ]
    kind = np.select(choices, np.arange(len(choices)), default=len(choices))
    counts = np.bincount(kind, minlength=len(KINDS))
    kinds = pd.Series(np.array(KINDS, dtype=object)[kind], index=predictions.index, name="kind")
    return FalsePositives(tiou, dict(zip(KINDS, counts.tolist(), strict=True)), kinds)


def _highest_tiou(
    predictions: pd.DataFrame, ground_truth: pd.DataFrame
) -> tuple[np.ndarray, np.ndarray]:
    """Return the highest tIoU of each prediction with segments of its class, and of others."""
    numbered = predictions.reset_index(drop=True).rename_axis("row").reset_index()
    pairs = numbered.merge(ground_truth, on="video", suffixes=("", "_truth"))
    tiou = temporal_iou(
        *(
            pairs[name].to_numpy(float)
            for name in ("start_s", "end_s", "start_s_truth", "end_s_truth")
        )
    )
    alike = (pairs["label"] == pairs["label_truth"]).to_numpy(bool)
    highest = np.zeros((2, len(predictions)))
    row = pairs["row"].to_numpy()
    np.maximum.at(highest[0], row[alike], tiou[alike])
    np.maximum.at(highest[1], row[~alike], tiou[~alike])
    return highest[0], highest[1]
