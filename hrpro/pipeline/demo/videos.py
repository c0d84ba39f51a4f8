"""The labelled video set of ``hrpro demo``, made up from nothing but a seed.

Untrimmed videos of an animated figure that does one thing after another, with idle time between,
as a dataset folder: videos, ground truth, one point per training action, splits, settings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from hrpro.annotations import Action, VideoAnnotation, write_ground_truth
from hrpro.files import atomic_path, write_text
from hrpro.localize.data.points import points_csv
from hrpro.pipeline.demo.figures import HEIGHT, WIDTH, draw, make_scene
from hrpro.pipeline.demo.motions import MOTIONS, act, idle, join
from hrpro.pipeline.render.h264 import Encoder

CLASSES = tuple(sorted(MOTIONS))
FPS = 25
POINT_SIGMA = 0.01
"""Standard deviation of a point around the centre, as a share of the action's length: measured on
the Gaussian point labels that are published for ActivityNet 1.3, GTEA and BEOID."""

_BLEND_S = 0.5  # from one action into the idle time and out of it
_UNSEEN, _SHORT = 1_000_001, 1_000_002  # numbers of videos outside the set


@dataclass(frozen=True)
class DemoVideo:
    """A video and what happens in it."""

    path: Path
    annotation: VideoAnnotation


@dataclass(frozen=True)
class DemoDataset:
    """The dataset folder that was written."""

    folder: Path
    classes: tuple[str, ...]
    train: tuple[DemoVideo, ...]
    test: tuple[DemoVideo, ...]


@dataclass(frozen=True)
class _Part:
    """Some frames of a video: an action, or idle time (label None)."""

    label: str | None
    num_frames: int


def make_demo_dataset(
    folder: str | Path,
    num_train: int = 24,
    num_test: int = 8,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> DemoDataset:
    """Write a dataset folder of generated videos.

    ``videos/*.mp4``, ``gt_full.json``, ``points.csv`` (one point per action of a training video,
    normally distributed around its centre), ``split_train.txt``, ``split_test.txt`` and
    ``dataset.yaml``. A seed always gives the same annotations, and the same pictures on a machine.

    Args:
        folder: is made if it is not there; files of the same name are replaced.
        num_train: training videos.
        num_test: test videos.
        seed: decides everything.
        progress: called with the number of videos that are done and of all.

    Raises:
        HrproError: the folder cannot be written.
    """
    folder = Path(folder)
    names = [f"train_{n + 1:02d}" for n in range(num_train)]
    names += [f"test_{n + 1:02d}" for n in range(num_test)]
    scripts = _scripts(len(names), seed)

    def write(number: int) -> DemoVideo:
        name = names[number]
        return _write_video(
            folder / "videos" / f"{name}.mp4",
            scripts[number],
            np.random.default_rng([seed, number]),
            subset="train" if number < num_train else "test",
        )

    videos = []
    with ThreadPoolExecutor(max_workers=2) as pool:  # drawing and encoding leave Python's lock
        for video in pool.map(write, range(len(names))):
            videos.append(video)
            if progress is not None:
                progress(len(videos), len(names))
    dataset = DemoDataset(folder, CLASSES, tuple(videos[:num_train]), tuple(videos[num_train:]))
    _write_labels(dataset, seed)
    return dataset


def make_unseen_video(folder: str | Path, seed: int = 0) -> DemoVideo:
    """Write ``unseen.mp4`` and its ground truth ``unseen_gt.json``, like none of the set.

    Args:
        folder: is made if it is not there.
        seed: that of the set.

    Raises:
        HrproError: the folder cannot be written.
    """
    folder = Path(folder)
    rng = np.random.default_rng([seed, _UNSEEN])
    labels = rng.permutation(CLASSES)[:4].tolist()
    video = _write_video(folder / "unseen.mp4", _script(labels, rng), rng, subset="unseen")
    write_ground_truth(folder / "unseen_gt.json", [video.annotation])
    return video


def make_short_video(path: str | Path, seed: int = 0) -> DemoVideo:
    """Write a video of four seconds, half of it jumping jacks, for quick checks.

    Raises:
        HrproError: the file cannot be written.
    """
    parts = [_Part(None, FPS), _Part("jumping jacks", 2 * FPS), _Part(None, FPS)]
    rng = np.random.default_rng([seed, _SHORT])
    return _write_video(Path(path), parts, rng, subset=None)


def _scripts(num_videos: int, seed: int) -> list[list[_Part]]:
    """Make up what happens in each video, every class about equally often."""
    rng = np.random.default_rng([seed])
    deck = _deck(rng)
    scripts = []
    for _ in range(num_videos):
        num_actions = int(rng.integers(3, 7))
        present = [next(deck) for _ in range(int(rng.integers(2, 4)))]
        labels = [present[n % len(present)] for n in range(num_actions)]
        scripts.append(_script(rng.permutation(labels).tolist(), rng))
    return scripts


def _deck(rng: np.random.Generator) -> Iterator[str]:
    """Yield all classes in random order, again and again."""
    while True:
        yield from rng.permutation(CLASSES).tolist()


def _script(labels: list[str], rng: np.random.Generator) -> list[_Part]:
    """Give the actions 2 to 5 s each, and idle time around them: 20 to 40 s in all."""
    actions = rng.uniform(2, 5, len(labels))
    pauses = rng.uniform(1, 3, len(labels) + 1)
    wanted_s = np.clip(actions.sum() + pauses.sum(), 20.5, 39)
    shortest_s = 2 * _BLEND_S  # a transition on either side
    spare = pauses - shortest_s
    spare *= max(0.0, wanted_s - actions.sum() - shortest_s * len(pauses)) / spare.sum()
    pauses = shortest_s + spare
    parts = [_Part(None, round(FPS * pauses[0]))]
    for label, action_s, pause_s in zip(labels, actions, pauses[1:], strict=True):
        parts += [_Part(label, round(FPS * action_s)), _Part(None, round(FPS * pause_s))]
    return parts


def _write_video(
    path: Path, parts: list[_Part], rng: np.random.Generator, subset: str | None
) -> DemoVideo:
    """Draw and encode the parts one after the other."""
    scene = make_scene(rng)
    moves = [
        act(part.label, part.num_frames, FPS, speed=rng.uniform(0.8, 1.25))
        if part.label
        else idle(part.num_frames, FPS, rng)
        for part in parts
    ]
    poses = join(moves, [part.label is not None for part in parts], round(_BLEND_S * FPS))
    with atomic_path(path) as temporary, av.open(str(temporary), "w") as output:
        # One thread: however many processors are free, a seed gives the same bytes.
        encoder = Encoder(output, WIDTH, HEIGHT, Fraction(FPS), num_threads=1)
        for number, picture in enumerate(draw(scene, poses)):
            encoder.write(picture, number / FPS, (number + 1) / FPS)
        encoder.finish()
    return DemoVideo(path, _annotation(path.stem, parts, subset))


def _annotation(video_id: str, parts: list[_Part], subset: str | None) -> VideoAnnotation:
    ends = np.cumsum([part.num_frames for part in parts])
    actions = tuple(
        Action(part.label, int(end - part.num_frames) / FPS, int(end) / FPS)
        for part, end in zip(parts, ends, strict=True)
        if part.label is not None
    )
    return VideoAnnotation(video_id, subset, int(ends[-1]) / FPS, float(FPS), actions)


def _write_labels(dataset: DemoDataset, seed: int) -> None:
    """Write everything of the dataset folder but the videos."""
    folder = dataset.folder
    videos = [video.annotation for video in (*dataset.train, *dataset.test)]
    write_ground_truth(folder / "gt_full.json", videos, version="hrpro demo")
    rng = np.random.default_rng([seed, len(videos)])
    points = [
        (video.annotation.video_id, action.label, round(_point_s(action, rng), 2))
        for video in dataset.train
        for action in video.annotation.actions
    ]
    write_text(folder / "points.csv", points_csv(points))
    for subset, split in (("train", dataset.train), ("test", dataset.test)):
        names = "".join(f"{video.annotation.video_id}\n" for video in split)
        write_text(folder / f"split_{subset}.txt", names)
    classes = "".join(f"  - {label}\n" for label in dataset.classes)
    write_text(folder / "dataset.yaml", f"preset: demo\nclasses:\n{classes}")


def _point_s(action: Action, rng: np.random.Generator) -> float:
    """Click where annotators are taken to click: near the centre, never outside."""
    length_s = action.end_s - action.start_s
    share = rng.normal(0.5, POINT_SIGMA)
    return action.start_s + length_s * float(np.clip(share, 0, 1))
