"""hrpro from Python: `detect`, `extract`, `train` and `evaluate`, the commands as functions.

They are also ``hrpro.detect`` and so on. The work is done in this process (``workers=0``), so that
notebooks and scripts need no ``if __name__ == "__main__":``. Nothing is printed without
``progress=True``: what a command would say of single videos is in `failed` and `warnings` of the
result. All errors are those of `hrpro.errors`; their remedies name options as the command line
spells them, which are the arguments of these functions: ``--min-score`` is ``min_score``.

What is heavy (PyTorch, pandas) is imported by the first function that needs it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from hrpro.compute import ComputeOptions
from hrpro.errors import UsageError
from hrpro.pipeline.console.progress import Failure, Reporter, Summary
from hrpro.pipeline.results.model import Results, VideoResult

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from hrpro.features import Sidecar
    from hrpro.pipeline.evaluate import Evaluation
    from hrpro.pipeline.results.events import EventOptions
    from hrpro.pipeline.train import TrainOutcome
    from hrpro.pipeline.workers.work import WorkerSettings

OnePath = str | os.PathLike[str]
Paths = OnePath | Sequence[OnePath]
"""One path, or several."""
Precision = Literal["auto", "float32", "bfloat16", "float16"]
"""Arithmetic of the networks; ``auto`` is the fastest that keeps the features."""


class Recipe(TypedDict, total=False):
    """How features are made; see `hrpro.extract.config.ExtractConfig` for what is left out."""

    streams: str | Sequence[str]
    """``rgb``, ``flow`` or both; by default those whose weights are at hand."""
    backbone: str
    fps: float | str
    """Frames per second: a number, ``30000/1001`` or ``native``."""
    snippet: int
    """Frames per snippet."""
    stride: int
    """Frames from the start of one snippet to the start of the next."""
    short_side: int
    crop: int
    flow: str
    """Algorithm: ``dis``, ``tvl1``, ``farneback``, ``raft``, ..."""
    flow_bits: int
    flow_weights: str
    stream: int
    """Index of the video stream to take, where a file has several."""


class Events(TypedDict, total=False):
    """What makes an event of detections; what is left out is as the model recommends it."""

    threshold: float | Mapping[str, float]
    """Score from which on it is one: of all classes, or by class."""
    min_duration_s: float
    merge_gap_s: float
    """Events of a class that are less than this apart become one."""
    exclusive: bool
    """One class at a time: where two overlap, the higher score wins."""


@dataclass(frozen=True)
class Detections:
    """What was found in some videos.

    Attributes:
        results: videos with their detections, highest score first, and the model that made them.
        failed: videos that could not be used, and why; they are not in `results`.
        warnings: what is worth knowing, a line each.
    """

    results: Results
    failed: tuple[Failure, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def videos(self) -> tuple[VideoResult, ...]:
        """All videos that were looked at, also those in which nothing was found."""
        return self.results.videos

    def to_dataframe(self, *, events: bool = False) -> pd.DataFrame:
        """A row per detection, video by video, highest score first.

        Columns: ``video_id``, ``label``, ``score``, ``start_s``, ``end_s`` (seconds of the file's
        own clock, the one that players show).

        Args:
            events: a row per event instead, in time order: each action once.
        """
        import pandas as pd

        rows = [
            (video.video_id, each.label, each.score, each.start_s, each.end_s)
            for video in self.videos
            for each in (video.spans if events else video.detections)
        ]
        names = ["video_id", "label", "score", "start_s", "end_s"]
        return pd.DataFrame(rows, columns=names).astype(dict.fromkeys(names[2:], float))


@dataclass(frozen=True, eq=False)
class SnippetFeatures:
    """The features of one video.

    Attributes:
        video_id: name of the video.
        array: ``[num_snippets, num_channels]``, the streams side by side; read-only and mapped
            from the file if there is one.
        sidecar: how they were made, and what the video was.
        path: the feature file, if files were asked for.
    """

    video_id: str
    array: npt.NDArray[np.floating[Any]]
    sidecar: Sidecar
    path: Path | None = None

    @property
    def start_s(self) -> npt.NDArray[np.float64]:
        """When each snippet begins, in seconds of the file's own clock, ``[num_snippets]``."""
        return self._file_times(0.0)

    @property
    def end_s(self) -> npt.NDArray[np.float64]:
        """When each snippet ends; the last one may reach beyond the end of a short video."""
        return self._file_times(self.sidecar.snippet_length_s)

    def _file_times(self, offset_s: float) -> npt.NDArray[np.float64]:
        import numpy as np

        indices = np.arange(len(self.array), dtype=np.float64)
        snippet_s: npt.NDArray[np.float64] = indices * self.sidecar.snippet_stride_s + offset_s
        return self.sidecar.clock.to_file(snippet_s)


@dataclass(frozen=True)
class Features:
    """The features of some videos.

    Attributes:
        videos: each that could be used, sorted by name.
        failed: videos that could not, and why.
        warnings: what is worth knowing, a line each.
    """

    videos: tuple[SnippetFeatures, ...]
    failed: tuple[Failure, ...] = ()
    warnings: tuple[str, ...] = ()

    def to_dataframe(self) -> pd.DataFrame:
        """A row per snippet, video by video.

        Columns: ``video_id``, ``snippet`` (from 0), ``start_s``, ``end_s``, then the channels
        ``f0``, ``f1``, ...
        """
        import pandas as pd

        tables = []
        for video in self.videos:
            channels = [f"f{index}" for index in range(video.array.shape[1])]
            table = pd.DataFrame(video.array, columns=channels)
            table.insert(0, "video_id", video.video_id)
            table.insert(1, "snippet", range(len(table)))
            table.insert(2, "start_s", video.start_s)
            table.insert(3, "end_s", video.end_s)
            tables.append(table)
        if not tables:
            return pd.DataFrame(columns=["video_id", "snippet", "start_s", "end_s"])
        return pd.concat(tables, ignore_index=True)


def detect(
    videos: Paths,
    *,
    model: OnePath | None = None,
    classes: str | Sequence[str] | None = None,
    min_score: float = 0.05,
    top_k: int | None = None,
    events: Events | bool | None = None,
    out: Paths = (),
    recipe: Recipe | None = None,
    allow_mixed: bool = False,
    device: str | None = None,
    precision: Precision = "auto",
    workers: int | None = 0,
    progress: bool = False,
) -> Detections:
    """Find actions in videos, with their times.

    One bad video costs that video: it is in `failed` of what is returned.

    Args:
        videos: files, folders, glob patterns or dataset folders.
        model: a model folder, as `train` leaves it; without, the built-in one looks for the 400
            actions of Kinetics.
        classes: actions to look for; all by default.
        min_score: leave out what scores lower; 0 keeps everything, as mAP wants it.
        top_k: at most this many per video.
        events: what makes an event of detections, ``{"threshold": 0.4, "merge_gap_s": 1}``, as the
            model recommends it by default; False: none are made.
        out: result files to write as well: .json, .csv, .vtt, .eaf, ... They hold what is done at
            any time, and the same call goes on where an interrupted one stopped.
        recipe: how the features are made; by default as the model wants them.
        allow_mixed: accept features that the model was not trained on.
        device: ``cpu``, ``cuda``, ``cuda:1``, ...; by default a GPU if there is one.
        precision: arithmetic of the networks.
        workers: worker processes; 0 works in this one. Others survive videos that crash a decoder,
            but scripts need ``if __name__ == "__main__":`` then. None is one per GPU, else one.
        progress: show progress on standard error.

    Raises:
        UsageError: wrong arguments, no videos, no such model or class.
        DataError: the model is damaged, or does not fit the features.
        HrproError: results cannot be written, weights cannot be fetched, the device has failed.
    """
    from hrpro.pipeline.detect import detect_videos
    from hrpro.pipeline.detectors.base import DetectOptions
    from hrpro.pipeline.outputs import OutputPlan
    from hrpro.pipeline.workers.launch import WorkerOptions

    reporter = Listener(progress)
    results, summary = detect_videos(
        texts_of(videos),
        OutputPlan(paths_of(out)),
        DetectOptions(
            model=None if model is None else os.fspath(model),
            classes=None if classes is None else tuple(texts_of(classes)),
            min_score=min_score,
            top_k=top_k,
            allow_mixed=allow_mixed,
        ),
        events=event_options(events),
        settings=_settings(recipe, device, precision),
        workers=WorkerOptions(workers),
        reporter=reporter,
    )
    return Detections(results, _failed(summary), reporter.warnings(summary))


def extract(
    videos: Paths,
    *,
    out: OnePath | None = None,
    recipe: Recipe | None = None,
    dtype: Literal["float32", "float16"] = "float32",
    overwrite: bool = False,
    device: str | None = None,
    precision: Precision = "auto",
    workers: int | None = 0,
    progress: bool = False,
) -> Features:
    """Compute the features of videos.

    One bad video costs that video: it is in `failed` of what is returned.

    Args:
        videos: files, folders, glob patterns or dataset folders.
        out: folder for a .npy and a sidecar .json per video; what is there already is not made
            again. Without, no file is written, and the arrays of all videos are held in memory.
        recipe: how the features are made: ``{"streams": "rgb,flow", "stride": 8}``.
        dtype: numbers in the arrays and files.
        overwrite: extract again what is there.
        device: see `detect`, as for `precision`, `workers` and `progress`.
        precision: arithmetic of the networks.
        workers: worker processes; 0 works in this one.
        progress: show progress on standard error.

    Raises:
        UsageError: wrong arguments, no videos, or `out` holds features of another recipe.
        HrproError: features cannot be written, weights cannot be fetched, the device has failed.
    """
    from hrpro.pipeline.extract import extract_features
    from hrpro.pipeline.workers.launch import WorkerOptions

    reporter = Listener(progress)
    inputs = texts_of(videos)
    with _folder(out) as folder:
        summary = extract_features(
            inputs,
            out=folder,
            settings=replace(_settings(recipe, device, precision), dtype=dtype),
            workers=WorkerOptions(workers),
            overwrite=overwrite,
            reporter=reporter,
        )
        found = tuple(_read_features(inputs, folder, summary, in_memory=out is None))
    return Features(found, _failed(summary), reporter.warnings(summary))


def train(
    dataset: OnePath,
    *,
    run_dir: OnePath | None = None,
    method: str | None = None,
    preset: str | None = None,
    settings: Mapping[str, object] | None = None,
    seed: int | None = None,
    stage: int | None = None,
    stage1_model: OnePath | None = None,
    resume: bool = False,
    data_root: OnePath = ".",
    recipe: Recipe | None = None,
    allow_mixed: bool = False,
    device: str | None = None,
    precision: Literal["auto", "float32", "bfloat16"] | None = None,
    deterministic: bool = False,
    compile: bool | None = None,
    workers: int | None = 0,
    progress: bool = False,
) -> TrainOutcome:
    """Learn to localize actions, by default from one point per action; measure on the test videos.

    Missing features are extracted first. The run folder is the model, for `detect` and `evaluate`.

    Args:
        dataset: a dataset folder, or the name of a public data set: ``thumos``, ``gtea``, ...
        run_dir: model folder; ``runs/NAME`` of the dataset by default.
        method: ``hrpro``, ``sal``, ``fustal``, ...: see docs/methods.md. ``auto`` takes the best
            that the labels allow; so does None, but for marks beside points.
        preset: settings by name or .yaml file, instead of the dataset's own.
        settings: changes to them: ``{"localize.lr": 1e-4}``.
        seed: same seed, same result.
        stage: train this stage alone.
        stage1_model: model folder of a first stage to build the second one on.
        resume: go on with an interrupted run, skip what is done.
        data_root: where the folders of public data sets are.
        recipe: how features are made that are missing.
        allow_mixed: accept features that were made with different settings.
        device: ``cpu``, ``cuda``, ``cuda:1``, ...; by default a GPU if there is one.
        precision: arithmetic of the training; what the settings say by default.
        deterministic: the same result in every run on a GPU, too, more slowly.
        compile: train with ``torch.compile`` as far as that works; for GPUs.
        workers: processes that extract missing features; 0 works in this one.
        progress: show progress on standard error.

    Raises:
        UsageError: wrong arguments or settings.
        DataError: the dataset is not complete, or something in it is wrong.
        HrproError: the run folder cannot be written, or training failed.
    """
    from hrpro.pipeline.train import RunOptions
    from hrpro.pipeline.train import train as train_model
    from hrpro.pipeline.workers.launch import WorkerOptions

    named = {"seed": seed, "precision": precision, "compile": compile}
    overrides = {f"localize.{key}": value for key, value in named.items() if value is not None}
    reporter = Listener(progress)
    outcome = train_model(
        os.fspath(dataset),
        RunOptions(
            run_dir=path_of(run_dir),
            stage=stage,
            stage1=path_of(stage1_model),
            resume=resume,
            deterministic=deterministic,
        ),
        data_root=Path(data_root),
        preset=preset,
        method=method,
        overrides=[
            f"{key}={json.dumps(value)}" for key, value in {**(settings or {}), **overrides}.items()
        ],
        allow_mixed=allow_mixed,
        settings=_settings(recipe, device, "auto"),
        workers=WorkerOptions(workers),
        reporter=reporter,
    )
    return replace(outcome, warnings=(*outcome.warnings, *reporter.warnings()))


def evaluate(
    result: OnePath | Detections | None = None,
    *,
    model: OnePath | None = None,
    dataset: OnePath | None = None,
    data_root: OnePath = ".",
    preset: str | None = None,
    ground_truth: OnePath | None = None,
    subset: str | None = None,
    exclude: str | Sequence[str] = (),
    ambiguous: OnePath | None = None,
    tious: float | Sequence[float] | None = None,
    out: Paths = (),
    allow_mixed: bool = False,
    device: str | None = None,
    progress: bool = False,
) -> Evaluation:
    """Measure detections, or a model on the features of a dataset: mAP, and kinds of mistakes.

    Give either `result` or `model`, and what to measure against: `dataset` or `ground_truth`.

    Args:
        result: a result file, or what `detect` returned (with ``min_score=0``, as what was left
            out counts as not found).
        model: model folder; goes with `dataset`.
        dataset: a dataset folder, or the name of a public data set: its test videos and its rules.
        data_root: where the folders of public data sets are.
        preset: settings by name or .yaml file, instead of the dataset's own.
        ground_truth: ActivityNet JSON.
        subset: of `ground_truth`; ``test`` by default, if it has that.
        exclude: videos of `ground_truth` to leave out.
        ambiguous: THUMOS14's list of ambiguous segments, with `ground_truth`.
        tious: thresholds on the temporal IoU; as the dataset has them by default.
        out: result files to write, with `model`.
        allow_mixed: accept features that the model was not trained on.
        device: ``cpu``, ``cuda``, ``cuda:1``, ...; by default a GPU if there is one.
        progress: show what is being done on standard error.

    Raises:
        UsageError: arguments that do not go together.
        HrproError: something cannot be used, or there is nothing to measure.
    """
    from hrpro.pipeline.evaluate import evaluate as run
    from hrpro.pipeline.evaluate_options import ModelOptions, TruthOptions

    if isinstance(tious, int | float):
        tious = [tious]
    reporter = Listener(progress)
    evaluation = run(
        result.results if isinstance(result, Detections) else path_of(result),
        TruthOptions(
            dataset=None if dataset is None else os.fspath(dataset),
            data_root=Path(data_root),
            preset=preset,
            ground_truth=path_of(ground_truth),
            subset=subset,
            exclude=texts_of(exclude),
            ambiguous=path_of(ambiguous),
            tiou=None if tious is None else ",".join(map(str, tious)),
        ),
        model=path_of(model),
        options=ModelOptions(device, allow_mixed, paths_of(out)),
        reporter=reporter,
    )
    return replace(evaluation, warnings=reporter.warnings())


class Listener(Reporter):
    """Keeps warnings for the result instead of printing them, unless progress is to be shown."""

    def __init__(self, progress: bool) -> None:
        super().__init__(quiet=not progress)
        self._problems: list[str] = []

    def problem(self, text: str) -> None:
        """Keep a line that must be seen."""
        self._problems.append(text)
        self.line(text)

    def warnings(self, summary: Summary | None = None) -> tuple[str, ...]:
        """The warnings so far, and those of a batch; what failed is told elsewhere."""
        told = [
            text.removeprefix("warning: ")
            for text in self._problems
            if not text.startswith(("failed: ", "poisoned: "))
        ]
        return (*told, *(summary.warnings if summary else ()))


def event_options(events: Events | bool | None) -> EventOptions:
    """What was asked for of events, as the pipeline has it."""
    from hrpro.pipeline.results.events import EventOptions

    if events is None or isinstance(events, bool):
        return EventOptions(events)
    check_keys("events", events, Events.__annotations__)
    threshold = events.get("threshold", {})
    if isinstance(threshold, Mapping):
        texts = tuple(f"{label}={score}" for label, score in threshold.items())
    else:
        texts = (str(threshold),)
    return EventOptions(
        True,
        texts,
        events.get("min_duration_s"),
        events.get("merge_gap_s"),
        events.get("exclusive"),
    )


def texts_of(values: Paths) -> list[str]:
    """One or several paths (or names) as texts.

    Raises:
        UsageError: something else.
    """
    try:
        if isinstance(values, str | os.PathLike):
            return [os.fspath(values)]
        return [os.fspath(value) for value in values]
    except TypeError as error:
        kind = type(values).__name__
        raise UsageError(f"{kind}: give a path or name as text, or a list of them") from error


def paths_of(values: Paths) -> tuple[Path, ...]:
    """One or several paths, as paths."""
    return tuple(map(Path, texts_of(values)))


def path_of(value: OnePath | None) -> Path | None:
    """A path, if there is one.

    Raises:
        UsageError: something else, or several.
    """
    try:
        return None if value is None else Path(value)
    except TypeError as error:
        raise UsageError(f"{type(value).__name__}: give one path, as text") from error


def check_keys(argument: str, given: Mapping[str, object], known: Iterable[str]) -> None:
    """Refuse what is no dictionary, and keys that an argument does not have.

    Raises:
        UsageError: names the key, and which was meant.
    """
    known = list(known)
    if not isinstance(given, Mapping):
        raise UsageError(f"{argument}: {given!r} is no dictionary; its keys are {', '.join(known)}")
    for key in given:
        if key not in known:
            close = get_close_matches(key, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"
            raise UsageError(f"{argument}: unknown key {key!r}; {hint}")


def _settings(recipe: Recipe | None, device: str | None, precision: str) -> WorkerSettings:
    """How workers make features.

    Raises:
        UsageError: the recipe has an unknown key.
    """
    from hrpro.pipeline.workers.work import WorkerSettings

    check_keys("recipe", recipe or {}, Recipe.__annotations__)
    return WorkerSettings(dict(recipe or {}), ComputeOptions(device, precision))


def _failed(summary: Summary) -> tuple[Failure, ...]:
    """All videos that nothing is there of."""
    taken = (Failure(each.path, f"{each.reason} is working on it") for each in summary.taken)
    return (*summary.failed, *summary.poisoned, *taken)


@contextmanager
def _folder(out: OnePath | None) -> Iterator[Path]:
    """The given folder, or one for the length of the block."""
    if out is not None:
        yield Path(out)
    else:
        with TemporaryDirectory(prefix="hrpro-extract-") as folder:
            yield Path(folder)


def _read_features(
    inputs: Sequence[str], folder: Path, summary: Summary, *, in_memory: bool
) -> Iterator[SnippetFeatures]:
    """The features of all videos that are done, out of the files of a run."""
    import numpy as np

    from hrpro.extract.sources import find_videos, video_ids
    from hrpro.features import read_features, read_sidecar
    from hrpro.pipeline.workers.targets import FeatureTargets

    sources = find_videos(inputs)
    ids, targets = video_ids(sources), FeatureTargets(sources, folder)
    for key in sorted((*summary.done, *summary.skipped)):
        path = targets.path(key)
        array, sidecar = read_features(path), read_sidecar(path)
        assert sidecar is not None  # it was written with the features
        if in_memory:
            yield SnippetFeatures(ids[key], np.array(array), sidecar)
        else:
            yield SnippetFeatures(ids[key], array, sidecar, path)
