"""``hrpro detect``: videos in, labelled and timed actions out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hrpro.devices import choose_device
from hrpro.errors import UsageError
from hrpro.extract.extractor import Extractor, VideoFeatures
from hrpro.extract.sources import VideoSource, find_videos
from hrpro.pipeline.batch import run_batch, video_ids
from hrpro.pipeline.console.progress import Reporter, Summary
from hrpro.pipeline.detectors.base import Detector
from hrpro.pipeline.detectors.kinetics import KineticsDetector, class_index
from hrpro.pipeline.detectors.trained import TrainedDetector
from hrpro.pipeline.outputs import OutputPlan
from hrpro.pipeline.recipe import choose_streams, make_recipe
from hrpro.pipeline.results.model import Results, VideoResult
from hrpro.videos_folder import LeftOut

MIN_SCORE = 0.05
"""Soft-NMS drops nothing, so a localizer leaves hundreds of detections that score next to 0."""


def load_detector(model: str | Path | None, device: str | None = None) -> Detector:
    """A trained model from its folder; the built-in one for None or ``kinetics400``.

    Raises:
        UsageError: there is no such model.
        DataError: the folder is not that of a model, or something in it is damaged.
    """
    if model is None or str(model) == "kinetics400":
        return KineticsDetector()
    if not Path(model).is_dir():
        raise UsageError(
            f"--model {model}: no such model folder; leave it out for the built-in kinetics400"
        )
    return TrainedDetector(model, choose_device(device))


def detect_videos(
    inputs: Sequence[str],
    plan: OutputPlan,
    *,
    model: str | Path | None = None,
    recipe: dict[str, Any] | None = None,
    classes: Collection[str] | None = None,
    min_score: float = MIN_SCORE,
    top_k: int | None = None,
    device: str | None = None,
    precision: str | None = None,
    batch_size: int | None = None,
    compile: bool = False,
    strict: bool = False,
    allow_mixed: bool = False,
    reporter: Reporter | None = None,
) -> tuple[Results, Summary]:
    """Detect actions in everything `inputs` name and write the outputs of `plan`.

    One bad video costs that video. On Ctrl-C the results so far are written before it goes on up.

    Args:
        inputs: video files, folders, globs or dataset folders.
        plan: what to write where.
        model: a model folder; None for the built-in kinetics400.
        recipe: options that change the features (see `make_recipe`).
        classes: names to look for; all by default.
        min_score: report nothing that scores lower; 0 reports everything, as mAP wants it.
        top_k: report at most this many per video.
        device: see `Extractor`; so are `precision`, `batch_size` and `compile`.
        strict: a truncated video fails.
        allow_mixed: use a model with other features than it was trained on.
        reporter: where progress goes; silent by default.

    Raises:
        UsageError: wrong options, no videos, outputs that cannot be written.
        DataError: the model is damaged, or the features are not those it was trained on.
    """
    reporter = reporter or Reporter(quiet=True)
    left_out = LeftOut()
    sources = find_videos(inputs, left_out)
    if left_out:
        reporter.line(left_out.line())
    plan.check([source.path for source in sources])
    detector = load_detector(model, device)
    if classes is not None:
        classes = [detector.classes[class_index(detector.classes, name)] for name in classes]
    recipe = recipe or {}
    if detector.any_streams:
        recipe = choose_streams(recipe, reporter.line)
    config = make_recipe(recipe, detector.extract_config)
    extractor = Extractor(
        config,
        device=device,
        precision=precision,
        batch_size=batch_size,
        compile=compile,
        progress=not reporter.quiet,
    )
    if warning := detector.check(extractor.fingerprint, extractor.dim, allow_mixed):
        reporter.problem(f"warning: {warning}")
    names = video_ids(sources)
    found: list[VideoResult] = []

    def work(source: VideoSource, progress: Callable[[float, float], None]) -> float:
        video = extractor.extract(source.path, root=source.root, strict=strict, progress=progress)
        for warning in video.report.warnings:
            reporter.line(f"warning: {source.path}: {warning}")
        result = to_result(names[source.key], source.path, video, detector, classes)
        result = result.filter(min_score, top_k)
        if plan.report is not None:
            labels = dict.fromkeys(each.label for each in result.detections)
            result = replace(result, curves=detector.curves(video, labels))
        found.append(result)
        return video.sidecar.video.duration_s

    def results() -> Results:
        limits = {"min_score": min_score, "top_k": top_k}  # an evaluation has to know
        return Results(tuple(found), {**detector.describe(), "features": features_note, **limits})

    features_note = extractor.fingerprint.model_dump(mode="json")
    summary = Summary()
    try:
        run_batch("detect", sources, work, reporter, summary)
    except KeyboardInterrupt:
        if found:
            plan.write_results(results(), reporter)
        raise
    if found:
        plan.write_results(results(), reporter)
        plan.write_pictures(results(), reporter)
    return results(), summary


def to_result(
    video_id: str,
    path: Path,
    video: VideoFeatures,
    detector: Detector,
    classes: Collection[str] | None = None,
) -> VideoResult:
    """Run a detector over the features of one video."""
    facts = video.sidecar.video
    return VideoResult(
        video_id=video_id,
        path=str(path),
        duration_s=facts.duration_s,
        fps=None if video.info.average_fps is None else float(video.info.average_fps),
        detections=tuple(detector.detect(video, classes)),
    )


def result_lines(results: Results, most: int = 10) -> list[str]:
    """The best detections of every video, for people."""
    lines = []
    for video in results.videos:
        lines.append(f"{video.video_id} ({video.duration_s or 0:.1f} s)")
        if not video.detections:
            lines.append("  nothing found above the score limit (--min-score lowers it)")
        for each in video.detections[:most]:
            lines.append(
                f"  {each.score:6.3f}  {each.start_s:8.2f} - {each.end_s:8.2f} s  {each.label}"
            )
        if len(video.detections) > most:
            lines.append(f"  ... and {len(video.detections) - most} more")
    return lines
