"""How the student is trained on segments, whoever made them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from hrpro.localize.data.grid import SnippetGrid
from hrpro.localize.methods.student.batch import (
    Segments,
    WindowBatch,
    cut_window,
    padded_length,
    refine_steps,
)
from hrpro.localize.methods.student.config import StudentConfig
from hrpro.localize.methods.student.inference import (
    candidates,
    in_seconds,
    suppress,
)
from hrpro.localize.methods.student.labels import LabelSwitch, renewed_segments, teacher_segments
from hrpro.localize.methods.student.losses import training_losses
from hrpro.localize.methods.student.model import StudentModel
from hrpro.localize.methods.student.optimiser import learning_rate, make_optimizer
from hrpro.localize.methods.student.pseudo import Points, PointSegments, snap_to_changes
from hrpro.localize.nn.ema import WeightAverage
from hrpro.localize.nn.precision import Precision, autocast
from hrpro.localize.proposals.generate import Array
from hrpro.localize.sampling.epochs import EpochBatches, derive_seed


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


class StudentLearner:
    """Makes the batches of the student, their labels and losses.

    All random numbers are PyTorch's global ones, so that whoever seeds them knows the update.

    Args:
        model: the student.
        videos: to learn from.
        average: of the model's weights, the teacher.
    """

    def __init__(
        self, model: StudentModel, videos: Sequence[TrainingVideo], average: WeightAverage
    ) -> None:
        self.model, self.videos, self.average = model, videos, average
        self.switch = LabelSwitch(model.config.teacher)

    def losses(self, videos: Sequence[int], epoch: int) -> dict[str, Tensor] | None:
        """Losses of some videos; None if there is nothing to learn from them.

        Args:
            videos: indices of training videos.
            epoch: counted from 0; decides who labels.
        """
        batch = self.batch(videos, epoch)
        return None if batch is None else training_losses(self.model, batch)

    def batch(self, videos: Sequence[int], epoch: int) -> WindowBatch | None:
        """Random windows of some videos with the labels of the epoch, and noise."""
        config, device = self.model.config, self.model.normaliser.device
        windows = [
            cut_window(self.videos[v].features, self.videos[v].segments, config.window)
            for v in videos
        ]
        features = [window.to(device) for window, _ in windows]
        given = [segments for _, segments in windows]
        label = torch.stack([self.videos[v].label for v in videos]).to(device)
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
        noise = torch.randn(batch.features.shape).to(batch.features) * config.window.noise
        return replace(batch, features=batch.features + noise)

    def _collate(
        self, features: Sequence[Tensor], segments: Sequence[Segments], label: Tensor
    ) -> WindowBatch:
        pyramid, window = self.model.config.pyramid, self.model.config.window
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
        config = self.model.config
        self.model.eval()
        with self.average.applied():
            output = self.model(batch.features, batch.valid)
        self.model.train()
        by_points = config.teacher.rule == "points"
        wanted = batch.video_label.bool() if by_points else None
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


Watch = Callable[[int, dict[str, Tensor]], None]
"""Called after every update with its number, from 1, and its losses."""


def train_student(
    videos: Sequence[TrainingVideo],
    num_classes: int,
    config: StudentConfig,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    precision: Precision = "float32",
    watch: Watch | None = None,
) -> StudentModel:
    """Train a student on segments.

    The random numbers of an update follow from the seed and its number.

    Args:
        videos: to learn from.
        num_classes: C.
        config: of everything.
        seed: of weights, batches, windows, noise and dropout.
        device: where to train.
        precision: arithmetic of the network.
        watch: shows progress.

    Returns:
        The student with the averaged weights, in eval mode.

    Raises:
        ValueError: no videos.
    """
    if not videos:
        raise ValueError("no videos to learn from")
    torch.manual_seed(derive_seed(seed, 0))
    device = torch.device(device)
    model = StudentModel(videos[0].features.shape[1], num_classes, config).to(device)
    optimiser = config.optimiser
    optimizer = make_optimizer(model, optimiser)
    average = WeightAverage(model, optimiser.ema, warmup=optimiser.ema_warmup)
    learner = StudentLearner(model, videos, average)
    batches = EpochBatches(len(videos), optimiser.batch_videos, seed)
    num_updates = config.teacher.epochs * batches.per_epoch
    model.train()
    for update in range(num_updates):
        torch.manual_seed(derive_seed(seed, update + 1))
        with autocast(device, precision):
            losses = learner.losses(batches[update], update // batches.per_epoch)
        if losses is None:
            continue
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(update, num_updates, optimiser)
        optimizer.zero_grad()
        losses["total"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), optimiser.max_gradient)
        optimizer.step()
        average.update(update + 1)
        if watch is not None:
            watch(update + 1, {name: loss.detach() for name, loss in losses.items()})
    average.swap()
    return model.eval()
