"""HR-Pro as a localizer: both networks, and the way from features to detections."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

import numpy as np
import torch
from torch import Tensor

from hrpro.localize.data.sequences import FeatureSequence, in_batches
from hrpro.localize.methods.base import Localizer
from hrpro.localize.methods.hrpro.config import HrproConfig
from hrpro.localize.methods.hrpro.instance_model import InstanceModel
from hrpro.localize.methods.hrpro.ranking import to_snippets
from hrpro.localize.methods.hrpro.snippet_model import SnippetModel, SnippetPrediction
from hrpro.localize.nn.precision import autocast
from hrpro.localize.proposals.generate import Array, Proposals, generate_proposals
from hrpro.localize.proposals.nms import soft_nms


class HrproLocalizer(Localizer):
    """Stage 1 finds candidates, stage 2 scores and refines them, soft-NMS thins them out.

    Args:
        dim: feature width D.
        num_classes: C.
        config: of both networks, of proposals and of NMS.
        num_stages: 1 to do without stage 2.
    """

    def __init__(
        self, dim: int, num_classes: int, config: HrproConfig, num_stages: int = 2
    ) -> None:
        super().__init__()
        self.config = config
        self.snippets = SnippetModel(dim, num_classes, config.snippet)
        self.instances = InstanceModel(dim, config.instance) if num_stages > 1 else None

    def localize(
        self, videos: Sequence[FeatureSequence], classes: Sequence[int] | None = None
    ) -> Proposals:
        """Detect actions, see `hrpro.localize.methods.base.Localizer`."""
        return self.suppress(self.candidates(videos, classes))

    def candidates(
        self, videos: Sequence[FeatureSequence], classes: Sequence[int] | None = None
    ) -> Proposals:
        """Every proposal of every video, refined if there is a stage 2; before soft-NMS."""
        proposals, _ = self.snippet_proposals(videos, classes)
        return proposals if self.instances is None else self.refine(videos, proposals)

    def snippet_proposals(
        self, videos: Sequence[FeatureSequence], classes: Sequence[int] | None = None
    ) -> tuple[Proposals, list[Array]]:
        """Stage 1: every proposal of every video, and the attention ``[T]`` of the videos."""
        predictions = self._predict(videos)
        attentions = [prediction.attention.cpu().numpy() for prediction in predictions]
        proposals = generate_proposals(
            [prediction.fused.cpu().numpy() for prediction in predictions],
            [prediction.video_score.cpu().numpy() for prediction in predictions],
            attentions,
            classes=None if classes is None else [np.array(classes, np.int64)] * len(videos),
            config=self.config.proposals,
            snippet_s=[video.grid.stride_s for video in videos],
            offset_s=[video.grid.offset_s for video in videos],
        )
        in_order = np.argsort(proposals.video, kind="stable")
        return proposals[in_order], attentions

    def activations(self, videos: Sequence[FeatureSequence]) -> list[Array]:
        """Stage 1: class activations fused with the attention, ``[T, C]`` of each video."""
        return [prediction.fused.cpu().numpy() for prediction in self._predict(videos)]

    def video_scores(self, videos: Sequence[FeatureSequence]) -> list[Array]:
        """Stage 1: scores ``[C]`` of the classes of each video."""
        return [prediction.video_score.cpu().numpy() for prediction in self._predict(videos)]

    def _predict(self, videos: Sequence[FeatureSequence]) -> list[SnippetPrediction]:
        predictions: list[SnippetPrediction] = []
        for _, batch in in_batches(videos):
            features = [self._here(video.features) for video in batch]
            with self._autocast():
                predictions += self.snippets.predict(features)
        return predictions

    def refine(self, videos: Sequence[FeatureSequence], candidates: Proposals) -> Proposals:
        """Stage 2: two detections of every candidate, as it is and with refined boundaries.

        Their score is that of the candidate plus the weighted completeness (HR-Pro, section 3.4).

        Args:
            videos: the features.
            candidates: of stage 1.
        """
        assert self.instances is not None
        # Thresholds and classes often give the same box again: each is looked at once.
        rows = np.column_stack([candidates.video, snippet_boxes(videos, candidates)])
        rows, which = np.unique(rows, axis=0, return_inverse=True)
        bounds = np.searchsorted(rows[:, 0], np.arange(len(videos) + 1))
        boxes = torch.from_numpy(rows[:, 1:]).float()  # Apple's GPUs have no float64
        completeness, refined, refined_completeness = [], [], []
        for first, batch in in_batches(videos):
            features = [self._here(video.features) for video in batch]
            of_videos = [
                self._here(boxes[bounds[v] : bounds[v + 1]])
                for v in range(first, first + len(batch))
            ]
            with self._autocast():
                for prediction in self.instances.predict(features, of_videos):
                    completeness.append(prediction.completeness)
                    refined.append(prediction.refined)
                    refined_completeness.append(prediction.refined_completeness)
        if not completeness:
            return candidates
        which = which.ravel()
        starts, ends = _joined(refined)[which].T
        stride_s, offset_s = _grid_columns(videos, candidates)
        weight = self.config.instance.completeness_weight

        def score(completeness: list[Tensor]) -> Array:
            return candidates.score + weight * _joined(completeness)[which]

        return Proposals.concatenate(
            [
                candidates.replace(score=score(completeness)),
                candidates.replace(
                    start_s=starts * stride_s + offset_s,
                    end_s=ends * stride_s + offset_s,
                    score=score(refined_completeness),
                ),
            ]
        )

    def suppress(self, candidates: Proposals) -> Proposals:
        """Soft-NMS; best detections first."""
        return soft_nms(candidates, self.config.nms.sigma, self.config.nms.iou)

    def _here(self, values: Tensor) -> Tensor:
        return values.to(self.snippets.memory.prototypes.device)

    def _autocast(self) -> AbstractContextManager[None]:
        return autocast(self.snippets.memory.prototypes.device, self.config.precision)


def snippet_boxes(videos: Sequence[FeatureSequence], proposals: Proposals) -> Array:
    """Start and end of proposals in snippets of their video, ``[M, 2]``."""
    stride_s, offset_s = _grid_columns(videos, proposals)
    seconds = np.stack([proposals.start_s, proposals.end_s], axis=1)
    return to_snippets(seconds - offset_s[:, None], stride_s[:, None])


def _grid_columns(videos: Sequence[FeatureSequence], proposals: Proposals) -> tuple[Array, Array]:
    """Stride and offset in seconds of the video of each proposal, ``[M]`` each."""
    grids = np.array([(v.grid.stride_s, v.grid.offset_s) for v in videos]).reshape(-1, 2)
    return grids[proposals.video].T


def _joined(tensors: list[Tensor]) -> Array:
    return torch.cat(tensors).cpu().double().numpy()
