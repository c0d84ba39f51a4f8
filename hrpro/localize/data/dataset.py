"""A dataset folder, ready to train on or to evaluate with."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from hrpro.annotations import Action, VideoAnnotation
from hrpro.features import Fingerprint
from hrpro.localize.data.config import DatasetConfig, read_dataset_config
from hrpro.localize.data.features import FeatureStore
from hrpro.localize.data.grid import SnippetGrid
from hrpro.localize.data.scan import DatasetScan, PlacedPoint, scan_dataset
from hrpro.localize.data.supervision import Supervision, offered
from hrpro.problems import Problem, Problems

Subset = Literal["train", "test"]


@dataclass(frozen=True)
class Point:
    """A point label of a training video."""

    class_index: int
    time_s: float
    """In seconds from the first picture, as the snippets and what is detected in them."""
    snippet: int
    """Index of the snippet that holds it, in ``[0, T - 1]``."""


@dataclass(frozen=True)
class Video:
    """One video of a split."""

    video_id: str
    subset: Subset
    feature_path: Path
    num_snippets: int
    grid: SnippetGrid
    duration_s: float
    """Its end in the clock of the video file: as decoded, by the sidecar; else by the ground truth;
    else by what the snippets cover."""
    points: tuple[Point, ...] = ()
    """In order of time; empty for test videos."""
    actions: tuple[Action, ...] | None = None
    """Ground truth, in the clock of the video file; None if there is none for this video."""
    labels: tuple[int, ...] = ()
    """Indices of the classes that a training video is known to show, rising."""
    thinning_factor: int = 1
    """Of so many snippets in the file, the first is one of the video."""

    def thinned(self, stride: int | None) -> Video:
        """The video of every n-th snippet; see `SnippetGrid.thinned`."""
        factor = self.grid.thinning_factor(stride)
        if factor == 1:
            return self
        grid, num_snippets = self.grid.thinned(stride), -(-self.num_snippets // factor)
        points = tuple(
            replace(point, snippet=min(max(grid.index_at(point.time_s), 0), num_snippets - 1))
            for point in self.points
        )
        return replace(
            self,
            num_snippets=num_snippets,
            grid=grid,
            points=points,
            thinning_factor=self.thinning_factor * factor,
        )


@dataclass(frozen=True)
class Dataset:
    """Training and test videos with their features, point labels and ground truth."""

    name: str
    folder: Path
    config: DatasetConfig
    classes: tuple[str, ...]
    """Alphabetical; a class index is a position in it."""
    train: tuple[Video, ...]
    test: tuple[Video, ...]
    dim: int
    """Feature channels D."""
    fingerprint: Fingerprint | None
    """How the features were made; None for features made elsewhere."""
    ambiguous: pd.DataFrame | None
    """Test segments in which detections do not count: see `evaluation.drop_ambiguous`."""
    warnings: tuple[Problem, ...]
    _store: FeatureStore = field(repr=False)

    def features(self, video: Video) -> np.ndarray:
        """Return the features of a video, ``[T, D]`` float32, not to be written to.

        Raises:
            DataError: the file is damaged, or holds NaN or infinity.
        """
        features = self._store.read(video.feature_path)
        return features if video.thinning_factor == 1 else features[:: video.thinning_factor]

    def thinned(self, stride: int | None) -> Dataset:
        """The dataset with every n-th snippet of its videos; see `SnippetGrid.thinned`."""
        return replace(
            self,
            train=tuple(video.thinned(stride) for video in self.train),
            test=tuple(video.thinned(stride) for video in self.test),
        )

    def point_labels(self, video: Video) -> np.ndarray:
        """Return ``[T, C]`` float32: 1 where a point of class c lies in snippet t."""
        labels = np.zeros((video.num_snippets, len(self.classes)), dtype=np.float32)
        for point in video.points:
            labels[point.snippet, point.class_index] = 1
        return labels

    def video_label(self, video: Video) -> np.ndarray:
        """Return ``[C]`` float32: 1 for the classes that a training video is known to show."""
        label = np.zeros(len(self.classes), dtype=np.float32)
        label[list(video.labels)] = 1
        return label

    @property
    def supervision(self) -> Set[Supervision]:
        """The kinds of supervision that the training videos carry, some of them at least."""
        return offered(
            has_points=any(video.points for video in self.train),
            has_labels=any(video.labels for video in self.train),
            has_marks=any(video.actions for video in self.train),
        )

    def ground_truth(self, subset: Subset = "test") -> dict[str, VideoAnnotation]:
        """Return the ground truth of the videos of a split that have one."""
        videos = self.train if subset == "train" else self.test
        return {
            v.video_id: VideoAnnotation(v.video_id, subset, v.duration_s, actions=v.actions)
            for v in videos
            if v.actions is not None
        }

    def ground_truth_table(self, subset: Subset = "test") -> pd.DataFrame:
        """Return the ground truth of a split as `evaluation.mean_average_precision` takes it.

        Columns: video, label, start_s, end_s; one row per action.
        """
        videos = self.train if subset == "train" else self.test
        rows = [(v.video_id, a.label, a.start_s, a.end_s) for v in videos for a in v.actions or ()]
        return pd.DataFrame(rows, columns=["video", "label", "start_s", "end_s"])

    @property
    def measured(self) -> tuple[Video, ...]:
        """The test videos that have ground truth."""
        return tuple(video for video in self.test if video.actions is not None)

    @property
    def can_evaluate(self) -> bool:
        """Whether there is a test action to measure against."""
        return any(video.actions for video in self.test)


def load_dataset(
    folder: str | Path,
    config: DatasetConfig | None = None,
    *,
    subsets: Sequence[Subset] = ("train", "test"),
    needs: Supervision = "points",
    allow_mixed: bool = False,
    check_values: bool = True,
) -> Dataset:
    """Load a dataset folder.

    Args:
        folder: in the layout of `hrpro.localize.data.layout.Layout`; HR-Pro's published one too.
        config: settings; None takes the folder's own (``dataset.yaml`` and the preset it names).
        subsets: the splits whose features are needed. Without ``train``, no points are needed.
        needs: supervision without which a training video is left out; see
            `hrpro.localize.methods.base.MethodConfig.needs`.
        allow_mixed: accept features of different fingerprints.
        check_values: read every feature once, so that NaN shows now and not in the middle of
            training; this also fills the cache.

    Raises:
        DataError: the first problem, as one line that names file, line and remedy, and how many
            more there are.
        UsageError: ``dataset.yaml`` is wrong.
    """
    folder = Path(folder)
    config = config if config is not None else read_dataset_config(folder)
    problems = Problems()
    scan = scan_dataset(
        folder, config, problems, subsets=subsets, allow_mixed=allow_mixed, needs=needs
    )
    problems.raise_first(f": hrpro dataset check {folder}")
    dataset = _build(scan, config, problems)
    if check_values:
        for video in (*dataset.train, *dataset.test):
            dataset.features(video)
    return dataset


def _build(scan: DatasetScan, config: DatasetConfig, problems: Problems) -> Dataset:
    index = {label: position for position, label in enumerate(scan.classes)}
    default_grid = config.features.grid()

    def video(video_id: str, subset: Subset) -> Video:
        file = scan.files[video_id]
        truth = scan.ground_truth.get(video_id)
        return Video(
            video_id,
            subset,
            file.path,
            file.num_snippets,
            file.grid(default_grid),
            file.decoded_end_s or (truth and truth.duration_s) or file.end_s(default_grid),
            _points(scan.points.get(video_id, []), index) if subset == "train" else (),
            truth.actions if truth else None,
            tuple(sorted(index[name] for name in scan.labels.get(video_id, ()))),
        )

    files = list(scan.files.values())
    sidecar = next((file.sidecar for file in files if file.sidecar), None)
    return Dataset(
        name=config.name or scan.layout.folder.resolve().name,
        folder=scan.layout.folder,
        config=config,
        classes=scan.classes,
        train=tuple(video(v, "train") for v in scan.train if v in scan.files),
        test=tuple(video(v, "test") for v in scan.test if v in scan.files),
        dim=files[0].dim,
        fingerprint=sidecar.fingerprint if sidecar else None,
        ambiguous=scan.ambiguous_segments(),
        warnings=problems.warnings,
        _store=FeatureStore(files, config.cache_gb),
    )


def _points(placed: list[PlacedPoint], index: dict[str, int]) -> tuple[Point, ...]:
    points = [Point(index[p.label], p.time_s, p.snippet) for p in placed]
    return tuple(sorted(points, key=lambda point: (point.time_s, point.class_index)))
