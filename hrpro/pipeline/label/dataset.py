"""The dataset folder that is labelled: its videos, classes, splits and settings."""

from __future__ import annotations

import logging
from pathlib import Path

from hrpro.annotations import VideoAnnotation, read_ground_truth
from hrpro.errors import HrproError, UsageError
from hrpro.extract.sources import find_videos, video_ids
from hrpro.localize.data.config import DatasetConfig, read_dataset_config
from hrpro.localize.data.layout import POINT_FILES, Layout, find_layout, read_split
from hrpro.pipeline.datasets import settings as dataset_yaml
from hrpro.pipeline.datasets.classes import ClassList, write_classes
from hrpro.pipeline.label.playable import stamp
from hrpro.problems import Problems
from hrpro.video_ids import KnownVideos
from hrpro.videos_folder import DATASET_YAML, videos_below

_log = logging.getLogger(__name__)

PUBLISHED_POINTS, POINTS, OLD_POINTS = POINT_FILES
PUBLISHED_MARKS = "gt_full.json"


class LabelDataset:
    """What the label page needs to know of a dataset folder.

    Args:
        folder: the dataset.
        reaction_s: reaction time for this session, instead of the one in ``dataset.yaml``.
        needs_videos: False for what can be done without, as with the classes.

    Attributes:
        name: of the dataset.
        videos: the files by video id, in the order of the folder.
        known: finds the video that another spelling means.
        subsets: ``train`` or ``test`` by video id, as far as there are splits.
        annotations: the file of start and end marks, which may not be there yet.
        no_marks: why that file is left alone; None where marks may be set.

    Raises:
        UsageError: no videos, published point labels that would be overwritten, or
            ``dataset.yaml`` is wrong.
        DataError: the folder is not there, or a file in it is damaged.
    """

    def __init__(
        self, folder: str | Path, reaction_s: float | None = None, needs_videos: bool = True
    ) -> None:
        self.folder = Path(folder)
        self._needs_videos = needs_videos
        self._reaction_s = reaction_s
        self._read_signature: object = None
        self._read()

    def read_again(self) -> bool:
        """Take over what changed in the folder; return whether anything did.

        A folder in which something is wrong stays as it was read last.
        """
        try:
            if self._signature() == self._read_signature:
                return False
            self._read()
        except HrproError as error:
            _log.warning("%s; until that is mended, the page goes on as before", error)
            self._read_signature = self._signature()
            return False
        return True

    def _signature(self) -> object:
        """What differs when videos, splits or settings were added or changed."""
        layout = find_layout(self.folder, self.config)
        settings = (self.folder / DATASET_YAML, *filter(None, layout.splits.values()))
        videos = tuple(videos_below(layout.videos)) if layout.videos.is_dir() else ()
        return tuple(map(stamp, settings)), videos

    def _read(self) -> None:
        self.config = read_dataset_config(self.folder)
        layout = find_layout(self.folder, self.config)
        _refuse_published_points(layout)
        self.name = self.config.name or self.folder.resolve().name
        self.videos = {}
        if self._needs_videos or layout.videos.is_dir():
            self.videos = _find_videos(layout, self.config)
        self.known = KnownVideos(self.videos)
        self.subsets = _subsets(layout, self.known)
        self.annotations, self.no_marks = _marks_file(layout, self.config)
        self._truth: dict[str, VideoAnnotation] = {}
        if layout.ground_truth is not None:
            truth = read_ground_truth(layout.ground_truth)
            matches = self.known.match_all(truth)
            self._truth = {matches[name].video_id or name: truth[name] for name in truth}
        self._read_signature = self._signature()

    @property
    def reaction_s(self) -> float:
        """Seconds from an action to the key press."""
        return self.config.label.reaction_s if self._reaction_s is None else self._reaction_s

    def classes(self, used: set[str]) -> list[str]:
        """Return the classes as ``dataset.yaml`` has them, then those that only points have.

        Args:
            used: the classes of the points.
        """
        if self.config.classes is None:
            used = used | self.marked_classes
        listed = self.config.classes or ()
        return [*listed, *sorted(used - set(listed))]

    @property
    def marked_classes(self) -> set[str]:
        """The classes of the start and end marks, as they were read."""
        return {label for each in self._truth.values() for label in each.labels}

    def frame_rate(self, video_id: str) -> float | None:
        """Return the frames per second of a video, if the dataset tells them."""
        truth = self._truth.get(video_id)
        return (truth and truth.fps) or self.config.fps

    def add_class(self, name: str) -> None:
        """Add a class to ``dataset.yaml``.

        Raises:
            UsageError: not a name, or ``dataset.yaml`` is wrong.
        """
        dataset_yaml.add_class(self.folder, name)
        self.config = read_dataset_config(self.folder)

    def set_classes(self, classes: ClassList) -> None:
        """Write the classes into ``dataset.yaml``.

        Raises:
            UsageError: ``dataset.yaml`` is wrong.
        """
        write_classes(self.folder, classes)
        self.config = read_dataset_config(self.folder)

    def set_reaction(self, reaction_s: float) -> None:
        """Write the reaction time into ``dataset.yaml``.

        Raises:
            UsageError: out of range, or ``dataset.yaml`` is wrong.
        """
        dataset_yaml.set_reaction(self.folder, reaction_s)
        self.config = read_dataset_config(self.folder)
        self._reaction_s = None


def _refuse_published_points(layout: Layout) -> None:
    if layout.points == layout.folder / PUBLISHED_POINTS:
        raise UsageError(
            f"{layout.points}: training reads these published point labels, which are left as "
            "they are; to label these videos yourself, make a dataset of them: hrpro init NAME "
            f"--videos {layout.videos}"
        )


def _marks_file(layout: Layout, config: DatasetConfig) -> tuple[Path, str | None]:
    """Return where start and end marks go, and why they do not."""
    path = layout.ground_truth or layout.folder / config.ground_truth[-1]
    if path.name == PUBLISHED_MARKS or config.ground_truth_prefix:
        reason = f"{path.name} is the ground truth as it was published, and is left as it is"
        return path, reason
    return path, None


def _find_videos(layout: Layout, config: DatasetConfig) -> dict[str, Path]:
    if not layout.videos.is_dir():
        raise UsageError(f"{layout.videos}: no such folder; put the videos to label there")
    sources = find_videos([layout.videos])
    ids = video_ids(sources)
    found = {ids[source.key]: source.path for source in sources}
    matches = KnownVideos(found).match_all(config.excluded_videos).values()
    excluded = {match.video_id for match in matches}
    return {video_id: path for video_id, path in found.items() if video_id not in excluded}


def _subsets(layout: Layout, known: KnownVideos) -> dict[str, str]:
    subsets = {
        name: subset
        for subset, path in layout.splits.items()
        if path is not None
        for name in read_split(path, Problems())
    }
    matches = known.match_all(subsets)
    return {matches[name].video_id or name: subset for name, subset in subsets.items()}
