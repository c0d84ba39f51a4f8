"""``hrpro eval``: mAP and mistakes of a model, or of a result file, against a ground truth."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from hrpro.annotations import VideoAnnotation, read_ground_truth
from hrpro.devices import choose_device
from hrpro.errors import DataError, UsageError
from hrpro.localize.config import resolve_dataset
from hrpro.localize.data.config import DatasetConfig
from hrpro.localize.data.dataset import load_dataset
from hrpro.localize.data.protocol import THUMOS_TIOUS, ambiguous_segments, read_ambiguous
from hrpro.localize.data.scan import scan_dataset, some
from hrpro.localize.evaluation.average_precision import (
    AveragePrecision,
    drop_ambiguous,
    mean_average_precision,
)
from hrpro.localize.evaluation.events import EventQuality, measure_events
from hrpro.localize.evaluation.measure import to_json
from hrpro.localize.evaluation.mistakes import FalsePositives
from hrpro.localize.training.model_folder import load_model
from hrpro.pipeline.console.progress import Reporter
from hrpro.pipeline.console.tables import averages, class_lines, map_lines, mistake_lines
from hrpro.pipeline.console.words import advice, headline, quality_json, quality_lines, rule
from hrpro.pipeline.detectors.class_facts import class_facts, under_present_names
from hrpro.pipeline.detectors.of_dataset import detect_in_dataset
from hrpro.pipeline.detectors.trained import event_rules
from hrpro.pipeline.evaluate_options import (
    EVENT_TIOU,
    ModelOptions,
    TruthOptions,
    check_request,
)
from hrpro.pipeline.results.events import (
    DEFAULT_THRESHOLD,
    EventOptions,
    EventRules,
    recommended_rules,
)
from hrpro.pipeline.results.formats import check_outputs, read_results, write_results
from hrpro.pipeline.results.model import Results, VideoResult
from hrpro.problems import Problems
from hrpro.video_ids import KnownVideos, Match


@dataclass(frozen=True)
class Truth:
    """What to measure against: the ground truth of some videos, and the rules."""

    videos: dict[str, VideoAnnotation]
    """All that count, also those without any action."""
    tious: tuple[float, ...] = THUMOS_TIOUS
    ambiguous: pd.DataFrame | None = None
    """Segments in which detections do not count."""
    others: dict[str, VideoAnnotation] = field(default_factory=dict)
    """Videos that are known, but not measured: those of other subsets."""
    note: str = ""
    """What a person has to know of the choice of the videos."""
    event_tiou: float = EVENT_TIOU
    """Overlap from which on an event is right."""

    def matches(self, names: Iterable[str]) -> dict[str, Match]:
        """Find the videos that the names of detections mean, measured or not."""
        return KnownVideos([*self.videos, *self.others]).match_all(names)

    @property
    def labels(self) -> set[str]:
        """Every class that is known."""
        both = (*self.videos.values(), *self.others.values())
        return {label for video in both for label in video.labels}

    def table(self) -> pd.DataFrame:
        """The actions as `mean_average_precision` takes them."""
        rows = [
            (name, action.label, action.start_s, action.end_s)
            for name, video in self.videos.items()
            for action in video.actions
        ]
        return pd.DataFrame(rows, columns=["video", "label", "start_s", "end_s"])


@dataclass(frozen=True)
class Evaluation:
    """How good some detections are."""

    name: str
    precision: AveragePrecision
    events: EventQuality
    """How well the events count the actions and place them."""
    rules: EventRules
    """By which detections became events."""
    scores_from: str
    """Where the scores of the rules come from, in words."""
    num_videos: int
    num_detections: int
    warnings: tuple[str, ...] = ()
    """What the number leaves out: videos, classes and labels that do not meet."""

    @property
    def mean_ap(self) -> float:
        """mAP averaged over the tIoU thresholds, 0 to 1."""
        return self.precision.average

    @property
    def mean_ap_by_tiou(self) -> dict[float, float]:
        """mAP at each tIoU threshold, 0 to 1."""
        return self.precision.mean_by_tiou

    def to_dataframe(self) -> pd.DataFrame:
        """A row per class and tIoU threshold.

        Columns: ``label``, ``tiou``, ``average_precision`` (0 to 1). The mean over the labels at
        one tIoU is the mAP there.
        """
        rows = [
            (label, tiou, average_precision)
            for label, of_class in zip(
                self.precision.classes, self.precision.per_class.T.tolist(), strict=True
            )
            for tiou, average_precision in zip(self.precision.tious, of_class, strict=True)
        ]
        return pd.DataFrame(rows, columns=["label", "tiou", "average_precision"])

    @property
    def mistakes(self) -> FalsePositives:
        """What kinds of events there are: right ones, and mistakes."""
        return self.events.mistakes

    def lines(self, per_class: bool = False) -> list[str]:
        """What was found, in plain words; the tables for researchers; what helps most."""
        helps = advice(self.events)
        return [
            f"{headline(self.events)}, {self.scores_from}",
            f"({rule(self.events)})",
            *quality_lines(self.events),
            "",
            f"{self.num_detections} detections, {self.num_videos} videos, "
            f"{len(self.precision.classes)} classes with ground truth",
            *map_lines({self.name: self.precision}),
            *(["", *class_lines(self.precision)] if per_class else []),
            "",
            *mistake_lines(self.mistakes),
            *(["", "what helps most:", *(f"- {line}" for line in helps)] if helps else []),
        ]

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON can hold it; shares from 0 to 1, times in seconds."""
        return {
            "name": self.name,
            "videos": self.num_videos,
            "detections": self.num_detections,
            "warnings": list(self.warnings),
            **to_json(self.precision),
            "averages": averages(self.precision),
            "false_positives": {"tiou": self.mistakes.tiou, **self.mistakes.counts},
            "events": {
                **quality_json(self.events, self.rules.model_dump(mode="json")),
                "scores": self.scores_from,
            },
        }


def evaluate(
    result: Path | Results | None,
    against: TruthOptions,
    *,
    model: Path | None = None,
    options: ModelOptions | None = None,
    events: EventOptions | None = None,
    reporter: Reporter | None = None,
) -> Evaluation:
    """Measure a model on a dataset, or a result file against a dataset or a ground truth file.

    Args:
        result: a result file, or what would be in one; None with `model`.
        against: what to measure against.
        model: folder of a model, which is run on the features of a dataset.
        options: how the model is run.
        events: how events are made of the detections; by default as the model recommends it.
        reporter: where warnings go; silent by default.

    Raises:
        UsageError: options that do not go together.
        HrproError: something cannot be used, or there is nothing to measure.
    """
    reporter = reporter or Reporter(quiet=True)
    options, events = options or ModelOptions(), events or EventOptions()
    check_request(result, against, model, options)
    if result is None:
        assert model is not None
        evaluation = evaluate_model(model, against, options, events, reporter)
    else:
        name = "detections"
        if not isinstance(result, Results):
            name, result = result.name, read_results(result, tell=reporter.problem)
        truth = read_truth(against, [video.video_id for video in result.videos])
        evaluation = evaluate_results(name, result, truth, events)
    for warning in evaluation.warnings:
        reporter.problem(f"warning: {warning}")
    return evaluation


def read_truth(against: TruthOptions, detected: Collection[str]) -> Truth:
    """Read the ground truth that was asked for, for videos that have detections.

    Raises:
        HrproError: it cannot be used.
    """
    if against.ground_truth is not None:
        truth = truth_of_file(
            against.ground_truth, against.subset, against.exclude, against.ambiguous, detected
        )
    else:
        truth = truth_of_dataset(*_resolved(against))
    return replace(truth, tious=against.tious or truth.tious, event_tiou=against.event_tiou)


def _resolved(against: TruthOptions) -> tuple[Path, DatasetConfig]:
    assert against.dataset is not None  # see `TruthOptions.check`
    folder, config = resolve_dataset(
        against.dataset, data_root=against.data_root, preset=against.preset
    )
    return folder, config.dataset


def truth_of_file(
    path: str | Path,
    subset: str | None = None,
    excluded: Collection[str] = (),
    ambiguous: str | Path | None = None,
    detected: Collection[str] = (),
) -> Truth:
    """The ground truth of an ActivityNet JSON.

    Args:
        path: the file.
        subset: take videos of this subset, whatever the case; None takes the subsets with
            detections, ``test`` alone if it is one of them.
        excluded: videos to leave out.
        ambiguous: list of segments in which detections do not count, as THUMOS14's.
        detected: names of the videos that detections are of.

    Raises:
        DataError: a file cannot be used.
        UsageError: there is no such subset.
    """
    videos = read_ground_truth(path)
    known = KnownVideos(videos)
    left_out = {match.video_id for match in known.match_all(excluded).values()}
    wanted, note = _choose_subsets(path, videos, subset, known.match_all(detected).values())
    chosen = {
        name: video
        for name, video in videos.items()
        if name not in left_out and _subset(video) in wanted
    }
    listed = None if ambiguous is None else read_ambiguous(ambiguous)
    if listed is not None:
        matches = known.match_all(listed["video"])
        listed["video"] = [matches[name].video_id or name for name in listed["video"]]
    return Truth(
        chosen,
        ambiguous=ambiguous_segments(chosen.values(), listed),
        others={name: video for name, video in videos.items() if name not in chosen},
        note=note,
    )


def _choose_subsets(
    path: str | Path,
    videos: Mapping[str, VideoAnnotation],
    subset: str | None,
    detected: Collection[Match],
) -> tuple[set[str], str]:
    """The subsets to measure on, in lower case, and what to say of the choice."""
    there = {_subset(video) for video in videos.values()}
    named = sorted({video.subset for video in videos.values() if video.subset})
    if subset is not None:
        if subset.lower() not in there - {""}:
            raise UsageError(f"{path}: no subset {subset!r}; it has {', '.join(named) or 'none'}")
        return {subset.lower()}, ""
    hit = {_subset(videos[match.video_id]) for match in detected if match.video_id is not None}
    if "test" in there and hit <= {"test"}:
        return {"test"}, ""
    if len(there) < 2 or not hit:
        return there, ""
    has = f"{path}: has the subsets {', '.join(named)}; measured on"
    if "test" in hit:
        others = _in_words(hit - {"test"})
        return {"test"}, f"{has} 'test' alone, not on {others} (--subset chooses)"
    only = "alone" if len(hit) == 1 else "together"
    return hit, f"{has} {_in_words(hit)} {only}, where the detections are (--subset chooses)"


def _in_words(subsets: Collection[str]) -> str:
    return " and ".join(repr(name) if name else "no subset" for name in sorted(subsets))


def _subset(video: VideoAnnotation) -> str:
    return (video.subset or "").lower()


def truth_of_dataset(folder: Path, config: DatasetConfig) -> Truth:
    """The ground truth of the test videos of a dataset folder, by the rules of its config.

    Raises:
        DataError: a file cannot be used.
    """
    problems = Problems()
    scan = scan_dataset(folder, config, problems, subsets=())
    problems.raise_first(f": hrpro dataset check {folder}")
    videos = {name: scan.ground_truth[name] for name in scan.test if name in scan.ground_truth}
    others = {name: video for name, video in scan.ground_truth.items() if name not in videos}
    return Truth(videos, config.tiou, scan.ambiguous_segments(), others)


def who_was_measured(
    found: pd.DataFrame, table: pd.DataFrame, truth: Truth, matches: Mapping[str, Match]
) -> Iterator[str]:
    """Say what lowers a number without being a mistake of the detections.

    Args:
        found: detections in the measured videos.
        table: actions in them.
        truth: both are of.
        matches: what the names of the videos of the detections mean.
    """
    if truth.note:
        yield truth.note
    if unknown := [name for name, match in matches.items() if match.video_id is None]:
        near = next((match for match in matches.values() if match.near), None)
        yield (
            f"{len(unknown)} of {len(matches)} videos with detections are not in the ground truth "
            f"({near.problem if near else some(unknown)})"
        )
    videos = set(table["video"])
    if bare := videos - set(found["video"]):
        yield f"{len(bare)} of {len(videos)} videos with actions have no detection ({some(bare)})"
    labels = set(table["label"])
    if strange := sorted(set(found["label"]) - truth.labels):
        known = {label.casefold(): label for label in sorted(truth.labels)}
        close = {
            label: difflib.get_close_matches(label.casefold(), known, n=1) for label in strange
        }
        meant = [f"{label!r}: did you mean {known[to[0]]!r}?" for label, to in close.items() if to]
        which = "; ".join(meant[:3]) if meant else some(map(repr, strange))
        if len(strange) == found["label"].nunique():
            yield f"no label of the detections is in the ground truth ({which})"
        else:
            yield f"{len(strange)} labels of the detections are not in the ground truth ({which})"
    if silent := labels - set(found["label"]):
        yield f"{len(silent)} of {len(labels)} classes are never predicted ({some(silent)})"


def evaluate_results(
    name: str, results: Results, truth: Truth, options: EventOptions | None = None
) -> Evaluation:
    """Measure detections, and the events in them; both in videos of the ground truth only.

    Args:
        name: of what is measured, for the table.
        results: with all detections.
        truth: what to measure against; it may spell the videos otherwise.
        options: how events are made of the detections; by default those that there are, else as
            the model recommends it.

    Raises:
        DataError: there is nothing to measure, a number is not finite, or several videos could be
            meant by a name.
        UsageError: a threshold of an unknown class is asked for.
    """
    options = options or EventOptions()
    actions = truth.table()
    if not len(actions):
        raise DataError("the ground truth has no action in the test videos: nothing to measure")
    matches = truth.matches(video.video_id for video in results.videos)
    for match in matches.values():
        if match.problem and match.near is None:
            raise DataError(f"{name}: {match.problem}")

    def measured(table: pd.DataFrame) -> pd.DataFrame:
        table = table.assign(video=[matches[each].video_id for each in table["video"]])
        table = table[table["video"].isin(truth.videos.keys())]
        return table if truth.ambiguous is None else drop_ambiguous(table, truth.ambiguous)

    detections = results_table(results.videos)
    found = measured(detections)
    if len(detections) and not len(found):
        raise DataError(
            f"no video of the detections ({detections['video'].iloc[0]}, ...) is in the ground "
            f"truth ({next(iter(truth.videos))}, ...)"
        )
    made = replace(options, events=True).apply(results)
    events = measured(results_table(made.for_people().videos))
    return Evaluation(
        name,
        mean_average_precision(found, actions, truth.tious),
        measure_events(events, actions, truth.event_tiou),
        recommended_rules(made.model) or EventRules(),
        _scores_from(results, options),
        len(truth.videos),
        len(found),
        (*who_was_measured(found, actions, truth, matches), *_limits(results)),
    )


def _scores_from(results: Results, options: EventOptions) -> str:
    if options.given:
        return "at the scores that were asked for"
    if recommended_rules(results.model) is None:
        return f"at a score of {DEFAULT_THRESHOLD:g} for want of a recommended one"
    chosen = results.model.get("event_scores")
    return f"at the recommended scores{f' ({chosen})' if chosen else ''}"


def _limits(results: Results) -> Iterator[str]:
    """What was left out of a result file when it was written."""
    limits = [
        f"--{key.replace('_', '-')} {value:g}"
        for key in ("min_score", "top_k")
        if isinstance(value := results.model.get(key), int | float) and value
    ]
    if limits:
        yield f"written with {' '.join(limits)}: what it left out counts as not found"


def results_table(videos: Iterable[VideoResult]) -> pd.DataFrame:
    """The detections as `evaluate_table` takes them."""
    rows = [
        (video.video_id, each.label, each.start_s, each.end_s, each.score)
        for video in videos
        for each in video.detections
    ]
    return pd.DataFrame(rows, columns=["video", "label", "start_s", "end_s", "score"])


def evaluate_model(
    folder: str | Path,
    against: TruthOptions,
    options: ModelOptions,
    events: EventOptions,
    reporter: Reporter,
) -> Evaluation:
    """Run a model on the features of the test videos of a dataset, and measure.

    Args:
        folder: model folder.
        against: which dataset.
        options: how to run it.
        events: how events are made of the detections.
        reporter: where warnings go.

    Raises:
        HrproError: the model or the dataset cannot be used, or there is nothing to measure.
    """
    check_outputs(options.outs, [], [])
    torch_device = choose_device(options.device)
    model = load_model(folder, torch_device)
    folder_of_data, config = _resolved(against)
    data = load_dataset(folder_of_data, config, subsets=("test",), allow_mixed=options.allow_mixed)
    if warning := model.features.check(data.dim, data.fingerprint, options.allow_mixed):
        reporter.problem(f"warning: {warning}")
    videos = detect_in_dataset(
        model, data, data.measured, torch_device, curves=bool(options.outs) and options.curves
    )
    facts = class_facts(model.classes, model.metrics)
    for note in facts.notes(str(folder)):
        reporter.problem(f"{note}; measured under the present names")
    about = {
        "name": model.config.localize.method,
        "folder": str(folder),
        **event_rules(model),
        **facts.to_json(),
    }
    results = under_present_names(Results(videos, about), facts.renamed)
    if options.outs:
        made = replace(events, events=events.events is not False).apply(results)
        for written in (path for out in options.outs for path in write_results(made, out)):
            reporter.line(f"wrote {written}")
    truth = Truth(
        data.ground_truth("test"),
        against.tious or data.config.tiou,
        data.ambiguous,
        data.ground_truth("train"),
        event_tiou=against.event_tiou,
    )
    return evaluate_results(str(folder), results, truth, events)
