"""How the student is trained on segments, whoever made them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from hrpro.devices import upload
from hrpro.localize.data.grid import SnippetGrid
from hrpro.localize.data.sequences import FeatureSequence
from hrpro.localize.methods.base import Schedule, Stage, StageState
from hrpro.localize.methods.student.batch import (
    Segments,
    WindowBatch,
    cut_window,
    padded_length,
    refine_steps,
)
from hrpro.localize.methods.student.config import FusionConfig, StudentConfig
from hrpro.localize.methods.student.fusion import Opinion
from hrpro.localize.methods.student.inference import (
    candidates,
    detect_in,
    in_seconds,
    suppress,
)
from hrpro.localize.methods.student.labels import LabelSwitch, renewed_segments, teacher_segments
from hrpro.localize.methods.student.losses import training_losses
from hrpro.localize.methods.student.model import StudentModel
from hrpro.localize.methods.student.pseudo import Points, PointSegments, snap_to_changes
from hrpro.localize.nn.ema import WeightAverage
from hrpro.localize.nn.precision import casting_anew
from hrpro.localize.proposals.generate import Array, Proposals
from hrpro.localize.sampling.epochs import EpochBatches


@dataclass(frozen=True)
class TrainingVideo:
    """A video to learn from.

    Attributes:
        features: ``[T, D]``, at the student's steps.
        grid: of the steps.
        segments: in steps.
        label: ``[C]`` ones and zeros, the classes of the video.
    """

    features: Tensor
    grid: SnippetGrid
    segments: Segments
    label: Tensor


def training_video(
    features: Tensor,
    grid: SnippetGrid,
    bounds_s: Array,
    labels: Array,
    num_classes: int,
    config: StudentConfig,
    *,
    weights: Array | None = None,
    points_s: Array | None = None,
    room_s: Array | None = None,
    video_label: Array | None = None,
) -> TrainingVideo:
    """Bring a video to the student's steps.

    Args:
        features: ``[L, D]``.
        grid: of `features`.
        bounds_s: ``[N, 2]`` starts and ends in seconds.
        labels: ``[N]`` class indices.
        num_classes: C.
        config: of the steps, and of what ends snap to.
        weights: ``[N]``, how much each segment counts.
        points_s: ``[N]`` point labels in seconds, NaN for none.
        room_s: ``[N, 2]`` nearest points of other classes in seconds, infinite for none.
        video_label: ``[C]`` ones and zeros; by default the classes of the segments.
    """
    features, grid = refine_steps(features, grid, config.window.stride)
    points = np.full(len(labels), np.nan) if points_s is None else grid.position_at(points_s)
    bounds = grid.position_at(np.asarray(bounds_s, float).reshape(-1, 2))
    if config.pseudo.snap:
        bounds = snap_to_changes(bounds, points, features.cpu().numpy(), config.pseudo)
    room = np.tile([-np.inf, np.inf], (len(labels), 1))
    if room_s is not None:
        # A point that lies in the segment from the start belongs to an action at the same time.
        apart = grid.position_at(room_s)
        outside = np.stack([apart[:, 0] < bounds[:, 0], apart[:, 1] > bounds[:, 1]], axis=1)
        room = np.where(outside, apart, room)
    classes = torch.from_numpy(np.asarray(labels, np.int64))
    if video_label is None:
        label = torch.zeros(num_classes)
        label[classes] = 1.0
    else:
        label = torch.as_tensor(video_label, dtype=torch.float32)
    segments = Segments.of(
        torch.from_numpy(bounds).float(),
        classes,
        None if weights is None else torch.from_numpy(weights).float(),
        torch.from_numpy(points).float(),
        torch.from_numpy(room).float(),
    )
    return TrainingVideo(features, grid, segments, label)


def point_videos(
    features: Sequence[Tensor],
    grids: Sequence[SnippetGrid],
    points: Points,
    segments: PointSegments,
    num_classes: int,
    config: StudentConfig,
) -> list[TrainingVideo]:
    """Videos with a pseudo segment for each point; times in seconds."""
    room = points.room()
    videos = []
    for video, (values, grid) in enumerate(zip(features, grids, strict=True)):
        rows = np.flatnonzero((points.video == video) & ~np.isnan(segments.start))
        label = np.zeros(num_classes)
        label[points.label[points.video == video]] = 1
        videos.append(
            training_video(
                values,
                grid,
                np.stack([segments.start[rows], segments.end[rows]], axis=1),
                points.label[rows],
                num_classes,
                config,
                weights=segments.weight[rows],
                points_s=points.time[rows],
                room_s=room[rows],
                video_label=label,
            )
        )
    return videos


class StudentStage(Stage):
    """The student in training on segments.

    All random numbers are PyTorch's global ones, so that whoever seeds them knows the update.

    Args:
        model: the student.
        videos: to learn from.
        tested: the videos that `detect` looks at, at any steps.
        opinion: of the generator about these.
    """

    model: StudentModel
    average: WeightAverage

    def __init__(
        self,
        model: StudentModel,
        videos: Sequence[TrainingVideo],
        tested: Sequence[FeatureSequence] = (),
        opinion: Opinion | None = None,
    ) -> None:
        self.model, self.videos, self.tested = model, videos, tested
        self.opinion = opinion or Opinion(FusionConfig())
        self.num_videos = len(videos)
        self.config = model.config
        optimiser, teacher = self.config.optimiser, self.config.teacher
        batches = EpochBatches(len(videos), optimiser.batch_videos, 0)
        self.per_epoch = max(batches.per_epoch, optimiser.min_epoch_updates)
        self.schedule = Schedule(
            updates=teacher.epochs * self.per_epoch,
            batch_videos=optimiser.batch_videos,
            eval_every=optimiser.eval_every * self.per_epoch,
            lr=optimiser.lr,
            weight_decay=optimiser.weight_decay,
            optimizer="adamw",
            decay="weights",
            warmup_updates=optimiser.warmup_updates,
            shape=optimiser.rate,
            clip_norm=optimiser.max_gradient,
        )
        self.average = WeightAverage(model, optimiser.ema, warmup=optimiser.ema_warmup)
        self.switch = LabelSwitch(teacher)
        self.num_done = 0

    def prepare(self) -> None:
        """Learn what class whole segments are, from the segments as they are given."""
        if self.model.recognition is not None:
            features = [video.features for video in self.videos]
            self.model.recognition.fit(features, [video.segments for video in self.videos])

    def losses(self, videos: Sequence[int]) -> dict[str, Tensor] | None:
        """Losses of some videos; None if there is nothing to learn from them."""
        batch = self.batch(videos, self.num_done // self.per_epoch)
        return None if batch is None else training_losses(self.model, batch)

    def after_update(self, num_done: int) -> None:
        """Count the updates, which decide who labels."""
        self.num_done = num_done

    def state(self) -> StageState:
        """The updates done, and whether the teacher is out for this epoch."""
        switch = self.switch
        values = {"num_done": self.num_done, "epoch": switch.epoch, "back": switch.fallen_back}
        return StageState(values=values)

    def load_state(self, state: StageState) -> None:
        """Go on from there."""
        self.num_done = state.values["num_done"]
        self.switch.epoch = state.values["epoch"]
        self.switch.fallen_back = state.values["back"]

    def detect(self) -> Proposals:
        """Detections in the test videos with the model as it is now, in seconds."""
        found = detect_in(self.model, self.tested)
        return suppress(self.opinion.applied(found), self.config.detection)

    def batch(self, videos: Sequence[int], epoch: int) -> WindowBatch | None:
        """Random windows of some videos with the labels of the epoch, and noise."""
        config, device = self.config, self.model.normaliser.device
        windows = [
            cut_window(self.videos[v].features, self.videos[v].segments, config.window)
            for v in videos
        ]
        features = [upload(window, device) for window, _ in windows]
        given = [segments for _, segments in windows]
        label = upload(torch.stack([self.videos[v].label for v in videos]), device)
        chosen = self.switch.choose(
            epoch, given, lambda: self._taught(self._collate(features, given, label), videos, given)
        )
        kept = [row for row, segments in enumerate(chosen) if segments is not None]
        if not kept:
            return None
        batch = self._collate(
            [features[row] for row in kept],
            [segments for segments in chosen if segments is not None],
            label[kept],
        )
        if not config.window.noise:
            return batch
        noise = upload(torch.randn(batch.features.shape), device).to(batch.features.dtype)
        return replace(batch, features=batch.features + noise * config.window.noise)

    def _collate(
        self, features: Sequence[Tensor], segments: Sequence[Segments], label: Tensor
    ) -> WindowBatch:
        pyramid, window = self.config.pyramid, self.config.window
        # Norms that do not see the padding need no more of it than the batch does.
        minimum = window.length if pyramid.padding == "seen" else 0
        longest = max(len(values) for values in features)
        length = padded_length(longest, pyramid.multiple, minimum)
        return WindowBatch.collate(features, segments, label, length)

    @torch.no_grad()
    def _taught(
        self, batch: WindowBatch, videos: Sequence[int], given: Sequence[Segments]
    ) -> Sequence[Segments | None]:
        """What the average of the model says about windows."""
        config = self.config
        self.model.eval()
        with self.average.applied(), casting_anew(batch.features.device):
            output = self.model(batch.features, batch.valid)
        self.model.train()
        by_points = config.teacher.rule == "points"
        known = by_points or config.teacher.known_classes
        wanted = batch.video_label.bool() if known else None
        found = candidates(output, config.detection, wanted)
        if by_points:
            return renewed_segments(found, given, config.teacher, config.pseudo)
        grids = [self.videos[v].grid for v in videos]
        kept = suppress(found, config.detection)
        # Only the start of a window is clipped, as all detections are.
        kept = in_seconds(kept, grids, [float("inf")] * len(grids))
        return [
            teacher_segments(kept[kept.video == row], grid, config.teacher)
            for row, grid in enumerate(grids)
        ]
