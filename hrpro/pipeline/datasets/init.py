"""``hrpro init``: a dataset folder for videos of one's own, and what changes in it later."""

from __future__ import annotations

import csv
import os
import shlex
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from hrpro.annotations import read_ground_truth
from hrpro.errors import DataError, UsageError
from hrpro.extract.sources import find_videos, video_ids
from hrpro.files import check_writable, write_text
from hrpro.localize.data.config import read_dataset_config
from hrpro.localize.data.layout import LABELS, POINT_FILES, Layout, find_layout, read_split
from hrpro.localize.data.points import points_csv, read_points
from hrpro.localize.data.video_labels import read_video_labels
from hrpro.pipeline.datasets.check import check_dataset
from hrpro.pipeline.datasets.settings import add_classes, new_classes, set_videos
from hrpro.pipeline.datasets.splits import Split, deal
from hrpro.problems import Problems
from hrpro.texts import read_text
from hrpro.video_ids import KnownVideos
from hrpro.videos_folder import DATASET_YAML, LeftOut, videos_folder
from hrpro.wording import count, some

TEST_SHARE = 0.25
"""Share of the videos that is kept for testing, if the person does not say."""


@dataclass
class InitOutcome:
    """What a dataset folder holds now, and what was changed in it."""

    folder: Path
    videos: Path
    """Where the videos are."""
    num_videos: int
    split: Split = field(default_factory=Split)
    classes: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    next_command: str = ""

    def lines(self) -> Iterator[str]:
        """Describe it, line by line."""
        yield (
            f"{self.folder}: {count(self.num_videos, 'video')} in {self.videos}, "
            f"{len(self.split.train)} for training, {len(self.split.test)} for testing; "
            f"{count(len(self.classes), 'class', 'classes')}"
        )
        yield from self.notes
        yield f"next: {self.next_command}"

    def to_json(self) -> dict[str, Any]:
        """The same as JSON can hold it."""
        return {
            "folder": str(self.folder),
            "videos": str(self.videos),
            "train": list(self.split.train),
            "test": list(self.split.test),
            "classes": list(self.classes),
            "notes": self.notes,
            "next": self.next_command,
        }


def init(
    folder: str | Path,
    *,
    videos: str | Path | None = None,
    classes: Sequence[str] = (),
    test_share: float | None = None,
    seed: int = 0,
    resplit: bool = False,
) -> InitOutcome:
    """Make a dataset folder, or bring one up to date; nothing of the person is overwritten.

    Run again, it adds new videos to the splits and new classes to ``dataset.yaml``. A new video
    that has points or labels already is for training.

    Args:
        folder: of the dataset.
        videos: folder of the videos, which stay where they are: ``videos/`` becomes a link to it
            or, where links cannot be made, ``dataset.yaml`` names it. Needed the first time.
        classes: names to add.
        test_share: share of the videos for testing; by default that of the split, or 0.25.
        seed: of the split.
        resplit: deal all videos anew, stratified by the classes of their points.

    Raises:
        UsageError: no videos, a wrong class name, a folder that does not fit, or one whose
            ``dataset.yaml`` is wrong.
        HrproError: something cannot be written.
    """
    folder = Path(folder)
    footage = _find_footage(folder, videos)
    new_classes(folder, classes)  # refuses wrong names before anything is written
    left_out = LeftOut()
    names = list(video_ids(find_videos([footage], left_out)).values())
    check_writable(folder / DATASET_YAML)
    config = read_dataset_config(folder)
    outcome = InitOutcome(folder, footage, len(names))
    if left_out:
        outcome.notes.append(left_out.line())
    unusable = [name for name in names if name != name.strip() or len(name.splitlines()) > 1]
    if unusable:
        outcome.notes.append(
            f"left out: {some(map(repr, unusable))}: names must not begin or end with a blank or "
            "hold a line break; rename them and run this again"
        )
    _make_folder(folder)
    _write_settings(folder, classes, outcome)
    _attach(folder, footage)
    layout = find_layout(folder, config)
    if layout.points is None:
        write_text(folder / "points.csv", points_csv([]))
        if layout.labels is None:
            outcome.notes.append(
                "to label: a click per action in hrpro label; or, if you know only which actions a "
                f"video shows, a line for each in {folder / LABELS} (video_id,class)"
            )
        layout = find_layout(folder, config)
    known = KnownVideos(names)
    excluded = {match.video_id for match in known.match_all(config.excluded_videos).values()}
    usable = set(names) - set(unusable) - excluded
    before = _read_splits(layout, known)
    outcome.split = _update_splits(layout, usable, known, test_share, seed, resplit, outcome.notes)
    outcome.classes = read_dataset_config(folder).classes or ()
    outcome.next_command = check_dataset(folder, check_values=False).next_command
    known_before = {*before.train, *before.test}
    new = set(outcome.split.train) - known_before if known_before else set()
    if new - _labels(layout, known).keys():
        outcome.next_command = f"hrpro label {shlex.quote(str(folder))}"
    return outcome


def split_classes(text: str) -> list[str]:
    """Cut a list of class names at its commas; double quotes protect a comma in a name.

    Raises:
        UsageError: a quote is not closed.
    """
    try:
        rows = list(csv.reader([text], skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise UsageError(f'{text!r}: write names with commas between, as a,b,"c, d"') from error
    return [name for name in rows[0] if name.strip()] if rows else []


def _find_footage(folder: Path, videos: str | Path | None) -> Path:
    """The folder of the videos, of a dataset that may not be there yet."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file; choose another name for the dataset folder")
    present = videos_folder(folder)
    if present.is_symlink() and not present.exists():
        raise UsageError(
            f"{present}: leads to {present.readlink()}, which is not there; delete this link "
            f"and run: hrpro init {shlex.quote(str(folder))} --videos DIR"
        )
    if videos is None:
        if present.is_dir():
            return present
        raise UsageError(f"{folder}: say where the videos are: --videos DIR")
    footage = Path(videos)
    if not footage.is_dir():
        raise UsageError(f"--videos {footage}: no such folder")
    if present.exists():
        if present.resolve() != footage.resolve():
            raise UsageError(
                f"{folder}: has its videos in {present.resolve()}; put the others there, too, or "
                "make another dataset of them"
            )
        return present
    if footage.resolve() in (folder.resolve(), *folder.resolve().parents):
        raise UsageError(
            f"{folder}: lies inside the folder of the videos ({footage}); choose a place beside it"
        )
    return footage


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: cannot make this folder: {error.strerror}") from error


def _write_settings(folder: Path, classes: Sequence[str], outcome: InitOutcome) -> None:
    path = folder / DATASET_YAML
    is_new = not path.exists()
    if is_new:
        layout = find_layout(folder, read_dataset_config(folder))
        settings: dict[str, Any] = {"name": folder.resolve().name}
        if layout.points != folder / POINT_FILES[0]:  # a published data set has a preset of its own
            settings["preset"] = "custom"
        if not (layout.points or layout.labels or classes):
            settings["classes"] = []
        text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
        write_text(path, f"# Settings of this data set; change them as you like.\n{text}")
    new = add_classes(folder, classes)
    if new and not is_new:
        outcome.notes.append(f"new classes: {', '.join(new)}")


def _attach(folder: Path, footage: Path) -> None:
    """Make ``videos/`` a link to the videos, or name their folder in ``dataset.yaml``."""
    if videos_folder(folder).exists():
        return
    try:
        target = os.path.relpath(footage.resolve(), folder.resolve())
    except ValueError:  # another drive
        target = str(footage.resolve())
    try:
        (folder / "videos").symlink_to(target, target_is_directory=True)
    except (OSError, NotImplementedError):
        set_videos(folder, Path(target).as_posix())


def _update_splits(
    layout: Layout,
    names: Collection[str],
    videos: KnownVideos,
    test_share: float | None,
    seed: int,
    resplit: bool,
    notes: list[str],
) -> Split:
    """Add new videos to the split files, or deal all of them anew."""
    before = _read_splits(layout, videos)
    labels = _labels(layout, videos)
    if test_share is None and before.train and before.test and not resplit:
        test_share = before.test_share
    if test_share is None:
        test_share = TEST_SHARE
    if absent := sorted({*before.train, *before.test} - set(names)):
        notes.append(f"in the splits, but not among the videos: {some(map(repr, absent))}")
    if resplit or not (before.train or before.test):
        dealt = deal({*names, *before.train, *before.test}, test_share, seed, labels)
        split = Split(tuple(sorted(dealt.train)), tuple(sorted(dealt.test)))
        moved = (set(before.train) & set(split.test)) | (set(before.test) & set(split.train))
        if moved:
            notes.append(
                f"{count(len(moved), 'video')} changed sides: models trained before have seen "
                "videos that are for testing now; train again before you measure"
            )
        if idle := labels.keys() & set(split.test):
            notes.append(
                f"{count(len(idle), 'video')} with points or marks for testing: the points in "
                "them are not trained on"
            )
        _write_split(layout.folder / "split_train.txt", split.train)
        _write_split(layout.folder / "split_test.txt", split.test)
        return split
    new = [name for name in names if name not in before]
    labelled = sorted(name for name in new if name in labels)
    given = Split((*before.train, *labelled), before.test)
    split = deal(set(new) - set(labelled), test_share, seed, given=given)
    train = sorted(split.train[len(before.train) :])
    test = sorted(split.test[len(before.test) :])
    if new:
        notes.append(f"new videos: {len(train)} for training, {len(test)} for testing")
    _append_split(layout.folder / "split_train.txt", train)
    _append_split(layout.folder / "split_test.txt", test)
    return split


def _read_splits(layout: Layout, videos: KnownVideos) -> Split:
    """The splits by video id, whatever the files call a video."""
    problems = Problems()
    names = {
        subset: list(read_split(path, problems)) if path else []
        for subset, path in layout.splits.items()
    }
    problems.raise_first()
    matches = videos.adopt([*names["train"], *names["test"]])
    for match in matches.values():
        if match.video_id is None:
            raise DataError(f"{layout.folder}: in the splits: {match.problem}")
    return Split(
        *(tuple(dict.fromkeys(matches[name].video_id or name for name in names[subset]))
          for subset in ("train", "test"))
    )  # fmt: skip


def _labels(layout: Layout, videos: KnownVideos) -> dict[str, set[str]]:
    """Classes of each labelled video, by its points, its labels and its start and end marks."""
    rows: list[tuple[str, str]] = []
    if layout.points is not None:
        rows += [(row.video_id, row.label) for row in read_points(layout.points)]
    if layout.labels is not None:
        rows += [(row.video_id, row.label) for row in read_video_labels(layout.labels)]
    if layout.ground_truth is not None:
        truth = read_ground_truth(layout.ground_truth)
        rows += [(name, label) for name in truth for label in truth[name].labels]
    matches = videos.match_all(name for name, _ in rows)
    labels: defaultdict[str, set[str]] = defaultdict(set)
    for name, label in rows:
        labels[matches[name].video_id or name].update([label] if label else [])
    return labels


def _write_split(path: Path, names: Sequence[str]) -> None:
    write_text(path, "".join(f"{name}\n" for name in names))


def _append_split(path: Path, names: Sequence[str]) -> None:
    if path.exists() and not names:
        return
    text = read_text(path) if path.exists() else ""
    if text and not text.endswith("\n"):
        text += "\n"
    write_text(path, text + "".join(f"{name}\n" for name in names))
