"""Read everything a dataset folder holds and note every problem, without stopping at the first."""

from __future__ import annotations

import difflib
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import pandas as pd

from hrpro.annotations import VideoAnnotation, read_ground_truth
from hrpro.errors import DataError
from hrpro.localize.data.config import DatasetConfig
from hrpro.localize.data.features import (
    FeatureFile,
    FeatureFolder,
    check_alike,
    inspect_features,
)
from hrpro.localize.data.layout import Layout, check_disjoint, find_layout, read_split
from hrpro.localize.data.points import PointLabel, read_points
from hrpro.localize.data.protocol import ambiguous_segments, read_ambiguous
from hrpro.localize.data.supervision import GIVE, MISSING, Carried, Supervision
from hrpro.localize.data.video_labels import VideoLabel, read_video_labels
from hrpro.problems import Problems
from hrpro.video_ids import KnownVideos, Match
from hrpro.videos_folder import ids_in_folder
from hrpro.wording import count, some

Row = TypeVar("Row", PointLabel, VideoLabel)

TRAIN_SUBSETS = ("train", "training")
"""How ground truths call the videos that are for training."""


@dataclass(frozen=True)
class PlacedPoint:
    """A point label with its place in time and among the snippets of its video."""

    label: str
    time_s: float
    snippet: int


@dataclass
class DatasetScan:
    """What was found. Complete only if no blocking problem was noted."""

    layout: Layout
    videos: KnownVideos
    """Every video by one id, whatever the files of the folder call it."""
    ground_truth: dict[str, VideoAnnotation] = field(default_factory=dict)
    rows: list[PointLabel] = field(default_factory=list)
    """Point labels of the training videos as the file has them."""
    listed: list[VideoLabel] = field(default_factory=list)
    """Video labels of the training videos as the file has them; empty if points are needed."""
    num_test_points: int = 0
    """Point labels of test videos, which nothing uses."""
    train: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    files: dict[str, FeatureFile] = field(default_factory=dict)
    """Feature file of each video that has one."""
    points: dict[str, list[PlacedPoint]] = field(default_factory=dict)
    """Point labels of each training video that has features."""
    labels: dict[str, frozenset[str]] = field(default_factory=dict)
    """Classes that each training video is known to show; maybe none."""

    def ambiguous_segments(self) -> pd.DataFrame | None:
        """Segments in which detections do not count: columns video, start_s, end_s.

        Raises:
            DataError: the list of them cannot be read.
        """
        listed = None
        if self.layout.ambiguous is not None:
            listed = read_ambiguous(self.layout.ambiguous)
            matches = self.videos.match_all(listed["video"])
            listed["video"] = [matches[name].video_id or name for name in listed["video"]]
        return ambiguous_segments(self.ground_truth.values(), listed)


def scan_dataset(
    folder: str | Path,
    config: DatasetConfig,
    problems: Problems,
    *,
    subsets: Sequence[str] = ("train", "test"),
    allow_mixed: bool = False,
    needs: Supervision = "points",
) -> DatasetScan:
    """Read a dataset folder step by step: ground truth, points, splits, classes, features.

    Training videos that do not carry the supervision that the method `needs` are left out.

    Raises:
        DataError: the folder does not exist. Everything else goes into `problems`.
    """
    layout = find_layout(folder, config)
    scan = DatasetScan(layout, _known_videos(layout, problems))
    _read_ground_truth(scan, config, problems)
    _read_points(scan, problems, needed="train" in subsets and needs == "points")
    if needs == "labels":
        _read_video_labels(scan, problems)
    _read_splits(scan, config, problems, needs)
    _find_classes(scan, config, problems, needs)
    _find_features(scan, problems, subsets, allow_mixed, needs)
    _place_points(scan, config, problems)
    if config.ambiguous and not scan.layout.ambiguous and "test" in subsets:
        problems.warning(
            scan.layout.folder / config.ambiguous,
            "not there, so detections in ambiguous segments count as wrong",
            "copy it there to get the published protocol",
        )
    return scan


def find_supervision(folder: str | Path, config: DatasetConfig) -> Carried:
    """What people have said about the training videos of a dataset, wrong or not.

    Raises:
        DataError: the folder does not exist.
    """
    problems = Problems()
    layout = find_layout(folder, config)
    scan = DatasetScan(layout, _known_videos(layout, problems))
    _read_ground_truth(scan, config, problems)
    _read_points(scan, problems, needed=False)
    _read_video_labels(scan, problems)
    _read_splits(scan, config, problems, "labels")
    truth = scan.ground_truth
    return Carried(
        pointed=frozenset(row.video_id for row in scan.rows),
        listed=frozenset(row.video_id for row in scan.listed),
        marked=frozenset(v for v in scan.train if v in truth and truth[v].actions),
    )


def _known_videos(layout: Layout, problems: Problems) -> KnownVideos:
    """The videos that are there; others become known by the splits and the ground truth."""
    try:
        return KnownVideos(ids_in_folder(layout.videos))
    except DataError as error:
        problems.add_exception(error)
        return KnownVideos([])


def _read_ground_truth(scan: DatasetScan, config: DatasetConfig, problems: Problems) -> None:
    if scan.layout.ground_truth is None:
        return
    prefix = config.ground_truth_prefix
    try:
        videos = read_ground_truth(scan.layout.ground_truth, problems)
    except DataError as error:
        problems.add_exception(error)
        return
    for name, annotation in videos.items():
        scan.ground_truth[name if name.startswith(prefix) else prefix + name] = annotation


def _read_points(scan: DatasetScan, problems: Problems, needed: bool) -> None:
    if scan.layout.points is not None:
        try:
            scan.rows = read_points(scan.layout.points, problems)
        except DataError as error:
            problems.add_exception(error)
    if needed and not scan.rows and not problems.blocking:
        folder = scan.layout.folder
        problems.missing(
            scan.layout.points or folder / "points.csv",
            "no point labels yet",
            f"click once per action in: hrpro label {shlex.quote(str(folder))}"
            if scan.layout.videos.is_dir()
            else "write one line per action: video_id,class,time",
        )


def _read_video_labels(scan: DatasetScan, problems: Problems) -> None:
    if scan.layout.labels is not None:
        try:
            scan.listed = read_video_labels(scan.layout.labels, problems)
        except DataError as error:
            problems.add_exception(error)


def _read_splits(
    scan: DatasetScan, config: DatasetConfig, problems: Problems, needs: Supervision
) -> None:
    layout = scan.layout
    found = {subset: _read_split(path, problems) for subset, path in layout.splits.items()}
    matches = scan.videos.adopt([*found["train"], *found["test"], *config.excluded_videos])
    lines = {}
    for subset, names in found.items():
        lines[subset] = _by_id(layout.splits[subset], names, matches, problems)
    check_disjoint(lines["train"], lines["test"], layout, problems)
    excluded = {matches[name].video_id for name in config.excluded_videos}
    _name_ground_truth(scan, problems)
    scan.rows = _named(scan, layout.points, scan.rows, "point", problems)
    scan.listed = _named(scan, layout.labels, scan.listed, "label", problems)

    train, test = list(lines["train"]), list(lines["test"])
    if layout.split_train is None:  # without splits: what is labelled is for training
        labelled = {row.video_id for row in scan.rows} | {row.video_id for row in scan.listed}
        train = sorted((labelled | _marked(scan, needs)) - set(test))
    if layout.split_test is None:  # and what else has ground truth is for testing
        test = sorted(scan.ground_truth.keys() - set(train))
    scan.train = tuple(v for v in train if v not in excluded)
    scan.test = tuple(v for v in test if v not in excluded)
    _leave_out(scan, layout.points, scan.rows, "point", excluded, problems)
    _leave_out(scan, layout.labels, scan.listed, "label", excluded, problems)
    used = set(scan.train)
    scan.num_test_points = sum(row.video_id in scan.test for row in scan.rows)
    has_any = bool(scan.rows) or needs != "points"
    scan.rows = [row for row in scan.rows if row.video_id in used]
    scan.listed = [row for row in scan.listed if row.video_id in used]
    _warn_of_unlisted_points(scan, problems)
    scan.labels = _video_labels(scan, needs)
    supervised = scan.ground_truth if needs == "full" else scan.labels
    if has_any and (idle := used - supervised.keys()):
        problems.warning(
            _labels_file(layout, needs),
            f"{len(idle)} of {len(used)} training videos have no {MISSING[needs]} ({some(idle)})",
            "they are left out of the training",
        )
        scan.train = tuple(v for v in scan.train if v not in idle)
    if scan.test and scan.ground_truth and (bare := set(scan.test) - scan.ground_truth.keys()):
        problems.warning(
            layout.ground_truth or "",
            f"no ground truth for {len(bare)} of {len(scan.test)} test videos ({some(bare)})",
            "they are left out of the evaluation",
        )


def _labels_file(layout: Layout, needs: Supervision) -> Path:
    """What a person would have to add something to; the folder if there is no such file."""
    files = {"labels": layout.labels, "points": layout.points, "full": layout.ground_truth}
    return files[needs] or layout.folder


def _marked(scan: DatasetScan, needs: Supervision) -> set[str]:
    """Videos that the ground truth has for training, if a method may look at those."""
    if not _looks_at_marks(scan, needs):
        return set()
    return {name for name, truth in scan.ground_truth.items() if truth.subset in TRAIN_SUBSETS}


def _looks_at_marks(scan: DatasetScan, needs: Supervision) -> bool:
    """Whether marks of training videos are looked at, be it for their classes alone.

    Not where points are enough, nor where somebody has listed the classes of videos.
    """
    return needs != "points" and not scan.listed


def _video_labels(scan: DatasetScan, needs: Supervision) -> dict[str, frozenset[str]]:
    """Classes of the training videos: as listed; of others those of points and of marks."""
    labels = _classes_by_video(scan.rows)
    if _looks_at_marks(scan, needs):
        for video_id in scan.train:
            if (truth := scan.ground_truth.get(video_id)) and truth.labels:
                labels[video_id] = labels.get(video_id, frozenset()) | set(truth.labels)
    return {**labels, **_classes_by_video(scan.listed)}


def _classes_by_video(
    rows: Iterable[PointLabel] | Iterable[VideoLabel],
) -> dict[str, frozenset[str]]:
    classes: dict[str, set[str]] = {}
    for row in rows:
        classes.setdefault(row.video_id, set()).update([row.label] if row.label else [])
    return {video_id: frozenset(names) for video_id, names in classes.items()}


def _warn_of_unlisted_points(scan: DatasetScan, problems: Problems) -> None:
    pointed = _classes_by_video(scan.rows)
    listed = _classes_by_video(scan.listed)
    odd = [name for name, classes in listed.items() if pointed.get(name, classes) - classes]
    if odd:
        problems.warning(
            scan.layout.labels or "",
            f"{count(len(odd), 'video')} with points of classes that are not listed there "
            f"({some(odd)})",
            "what is listed counts; add what is missing",
        )


def _read_split(path: Path | None, problems: Problems) -> dict[str, int]:
    try:
        return read_split(path, problems) if path is not None else {}
    except DataError as error:
        problems.add_exception(error)
        return {}


def _by_id(
    path: Path | None, lines: dict[str, int], matches: dict[str, Match], problems: Problems
) -> dict[str, int]:
    """Lines of a split file by video id; two spellings of one video are one too many."""
    by_id: dict[str, int] = {}
    for name, line in lines.items():
        video_id = matches[name].video_id
        if video_id is None:
            problems.error(f"{path}:{line}", matches[name].problem)
        elif video_id in by_id:
            problems.error(
                f"{path}:{line}",
                f"{name!r} is the video of line {by_id[video_id]} once more",
                "delete one of the two lines",
            )
        else:
            by_id[video_id] = line
    return by_id


def _name_ground_truth(scan: DatasetScan, problems: Problems) -> None:
    """Put the ids of the videos into the ground truth."""
    by_id: dict[str, VideoAnnotation] = {}
    for name, match in scan.videos.adopt(scan.ground_truth).items():
        video_id, where = match.video_id, scan.layout.ground_truth or ""
        if video_id is None:
            problems.error(where, match.problem)
        elif video_id in by_id:
            problems.error(where, f"{name!r} is the video {video_id!r} once more", "keep one")
        else:
            by_id[video_id] = replace(scan.ground_truth[name], video_id=video_id)
    scan.ground_truth = by_id


def _named(
    scan: DatasetScan, path: Path | None, rows: list[Row], what: str, problems: Problems
) -> list[Row]:
    """Put the ids of the videos into labels; drop those of which there is no telling.

    A near miss is an error only if there are no features of that name: then it is a video.

    Args:
        scan: what is known.
        path: of the labels.
        rows: the labels.
        what: a word for one of them.
        problems: where to put what is wrong.
    """
    names = dict.fromkeys(row.video_id for row in rows)
    matches = scan.videos.match_all(names)
    features = FeatureFolder(scan.layout.features)
    new = [
        name
        for name, match in matches.items()
        if match.video_id is None and (not match.problem or (match.near and features.has(name)))
    ]
    matches |= scan.videos.adopt(new)
    right: list[Row] = []
    wrong: dict[str, list[Row]] = {}
    for row in rows:
        video_id = matches[row.video_id].video_id
        if video_id is None:
            wrong.setdefault(row.video_id, []).append(row)
        else:
            right.append(replace(row, video_id=video_id))
    for name, of_video in wrong.items():
        times = f" ({len(of_video)} {what}s)" if len(of_video) > 1 else ""
        problems.error(
            f"{path}:{of_video[0].line}",
            f"{matches[name].problem}{times}",
            f"correct the name or delete its {what}s",
        )
    return right


def _leave_out(
    scan: DatasetScan,
    path: Path | None,
    rows: Sequence[PointLabel] | Sequence[VideoLabel],
    what: str,
    excluded: set[str | None],
    problems: Problems,
) -> None:
    """Say how many labels are of videos that no split lists: people train on subsets."""
    listed = {*scan.train, *scan.test, *excluded}
    outside = [row.video_id for row in rows if row.video_id not in listed]
    if outside:
        videos = set(outside)
        problems.warning(
            path or "",
            f"{len(outside)} {what}s are in {len(videos)} videos of neither split ({some(videos)})",
            "left out; list the videos in split_train.txt to train on them",
        )


def _find_classes(
    scan: DatasetScan, config: DatasetConfig, problems: Problems, needs: Supervision
) -> None:
    looked_at = (*scan.train, *scan.test) if _looks_at_marks(scan, needs) else scan.test
    marked = [v for v in looked_at if v in scan.ground_truth]
    in_truth = {label for v in marked for label in scan.ground_truth[v].labels}
    in_labels = {label for labels in scan.labels.values() for label in labels}
    if config.classes is None:
        scan.classes = tuple(sorted(in_truth | in_labels))
    else:
        scan.classes = tuple(sorted(set(config.classes)))
        remedy = "correct it, or add it to the classes: hrpro init FOLDER --add-classes NAME"
        _report_unfinished(scan, config, problems)
        known = {*scan.classes, *config.renamed}
        _report_unknown(scan.layout.points, scan.rows, "point", known, problems, remedy)
        _report_unknown(scan.layout.labels, scan.listed, "label", known, problems, remedy)
        for label in sorted(in_truth - known):
            problems.error(scan.layout.ground_truth or "", f"unknown class {label!r}", remedy)
    spellings = Counter(label.casefold() for label in scan.classes)
    for label in scan.classes:
        if spellings[label.casefold()] > 1:
            problems.warning(
                scan.layout.points or scan.layout.folder,
                f"class {label!r} differs from another one only in upper and lower case",
                "use one spelling if they are meant to be one class",
            )
    if in_labels and (unseen := set(scan.classes) - in_labels):
        what = "point" if needs == "points" else "training video"
        problems.warning(
            _labels_file(scan.layout, needs),
            f"{len(unseen)} of {len(scan.classes)} classes have no {what} ({some(unseen, 20)})",
            "they cannot be learned",
        )


def _find_features(
    scan: DatasetScan,
    problems: Problems,
    subsets: Sequence[str],
    allow_mixed: bool,
    needs: Supervision,
) -> None:
    folder = FeatureFolder(scan.layout.features)
    owners: dict[Path, str] = {}
    for subset, videos in (("train", scan.train), ("test", scan.test)):
        if subset not in subsets:
            continue
        if not videos and subset == "train" and not problems.blocking:
            problems.missing(
                scan.layout.folder / "split_train.txt",
                f"no training videos with {_plural(MISSING[needs])}",
                f"list them there, one name a line, and {GIVE[needs]}",
            )
        if not videos and subset == "test":
            problems.warning(
                scan.layout.folder / "split_test.txt",
                "no test videos",
                "nothing can be measured; list them there to change that",
            )
        missing = []
        for video_id in videos:
            try:
                path = folder.find(video_id, subset)
                if path is None:
                    missing.append(video_id)
                elif (other := owners.setdefault(path, video_id)) != video_id:
                    problems.error(
                        path,
                        f"could be the features of {other!r} and of {video_id!r}",
                        "name feature files as the videos are named, with their folders",
                    )
                else:
                    scan.files[video_id] = inspect_features(path)
            except DataError as error:
                problems.add_exception(error)
        if missing:
            remedy = f"put {subset}/NAME.npy there"
            if scan.layout.videos.is_dir():
                remedy = f"run: hrpro extract {shlex.quote(str(scan.layout.folder))}"
            problems.missing(
                folder.folder,
                f"features of {len(missing)} of {len(videos)} {subset} videos are missing "
                f"({some(missing)})",
                remedy,
            )
    check_alike(list(scan.files.values()), problems, allow_mixed)


def _place_points(scan: DatasetScan, config: DatasetConfig, problems: Problems) -> None:
    """Convert frames and seconds to snippets; points outside their video are errors."""
    by_video: dict[str, list[PointLabel]] = {}
    for row in scan.rows:
        by_video.setdefault(row.video_id, []).append(row)
    unknown_fps: list[str] = []
    moved = 0
    for video_id, rows in by_video.items():
        truth = scan.ground_truth.get(video_id)
        fps = video_fps(truth, rows) or config.fps
        if fps is None and any(row.time_s is None for row in rows):
            unknown_fps.append(video_id)
            continue
        file = scan.files.get(video_id)
        if file is None:
            continue
        grid = file.grid(config.features.grid())
        duration_s = (truth and truth.duration_s) or file.end_s(config.features.grid())
        placed = scan.points.setdefault(video_id, [])
        for row in rows:
            # Frames count from the first picture, seconds are those of the file.
            if row.frame is not None:
                assert fps is not None  # or the rows of this video were passed over above
                time_s, snippet = row.frame / fps, grid.index_at_frame(row.frame, fps)
            else:
                assert row.time_s is not None  # a row has one or the other
                time_s = grid.clock.to_snippets(row.time_s)
                snippet = grid.index_at(time_s)
            file_s = grid.clock.to_file(time_s)
            if file_s > duration_s + grid.stride_s:
                problems.error(
                    f"{scan.layout.points}:{row.line}",
                    f"the point at {file_s:.2f} s lies after the end of {video_id!r} "
                    f"({duration_s:.2f} s)",
                    "correct or delete it" if row.frame is None
                    else f"correct it, or the frame rate of the video ({fps:g} fps)",
                )  # fmt: skip
            moved += snippet > file.num_snippets
            placed.append(PlacedPoint(row.label, time_s, _clamp(snippet, file.num_snippets)))
    if unknown_fps:
        problems.error(
            scan.layout.points or "",
            f"the points count frames, but the frame rate of {len(unknown_fps)} videos is not "
            f"known ({some(unknown_fps)})",
            "give 'fps' in the ground truth or in dataset.yaml, or a column 'time' in seconds",
        )
    if moved:
        problems.warning(
            scan.layout.points or "",
            f"{moved} points lie after the last snippet of their video's features",
            "moved onto it",
        )


def video_fps(truth: VideoAnnotation | None, rows: Sequence[PointLabel]) -> float | None:
    """Frame rate of a video: what the ground truth says, else what it implies, else None.

    ActivityNet's public ground truth has times but no frame rates, and the published points carry
    the last frame of each action: their ratio is the frame rate.
    """
    if truth is None or truth.fps is not None:
        return truth.fps if truth else None
    stops = [row.stop_frame for row in rows if row.stop_frame is not None]
    seconds = sum(action.end_s for action in truth.actions)
    if not len(stops) == len(rows) == len(truth.actions) or not sum(stops) or not seconds:
        return None
    return sum(stops) / seconds


def _clamp(snippet: int, num_snippets: int) -> int:
    return min(max(snippet, 0), num_snippets - 1)


def _report_unknown(
    path: Path | None,
    rows: Sequence[PointLabel] | Sequence[VideoLabel],
    what: str,
    known: set[str],
    problems: Problems,
    remedy: str,
) -> None:
    """Report each unknown class once, with its first line and the class it is close to."""
    first_line: dict[str, int] = {}
    times: Counter[str] = Counter()
    for row in rows:
        if row.label and row.label not in known:
            first_line.setdefault(row.label, row.line)
            times[row.label] += 1
    for name, line in first_line.items():
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
        meant = f", did you mean {close[0]!r}?" if close else ""
        often = f" ({times[name]} {what}s)" if times[name] > 1 else ""
        problems.error(f"{path}:{line}", f"unknown class {name!r}{meant}{often}", remedy)


def _report_unfinished(scan: DatasetScan, config: DatasetConfig, problems: Problems) -> None:
    """Report classes that were renamed, but not everywhere."""
    labels = {row.label for row in scan.rows} | {row.label for row in scan.listed}
    labels |= {label for video in scan.ground_truth.values() for label in video.labels}
    if old := sorted(labels & config.renamed.keys()):
        folder = shlex.quote(str(scan.layout.folder))
        problems.error(
            scan.layout.folder,
            f"the class {old[0]!r} was renamed, but not yet everywhere",
            f"hrpro dataset classes list {folder} finishes that",
        )


def _plural(what: str) -> str:
    return what if what.endswith("s") else f"{what}s"
