"""A worker that detects: it makes features and puts what it finds in them into parts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hrpro.errors import UsageError
from hrpro.extract.jobs import Job
from hrpro.features import Fingerprint
from hrpro.pipeline.detectors.base import BUILT_IN, DetectOptions, Detector
from hrpro.pipeline.detectors.parts import RUN_KEY, Part
from hrpro.pipeline.results.model import Results, VideoResult, to_json
from hrpro.pipeline.workers.work import WorkerSettings, Workshop, make_extractor

if TYPE_CHECKING:
    from hrpro.extract.video_progress import VideoFeatures


def build_detection(
    options: DetectOptions, settings: WorkerSettings, note: Callable[[str], None]
) -> Workshop:
    """Make the workshop of a worker that detects; bound to its options, see `Build`.

    Raises:
        UsageError: settings that do not fit, no such model, no such class.
        DataError: the model is damaged, or the features are not those it was trained on.
        WeightsError: weights are missing and cannot be fetched.
    """
    from hrpro.pipeline.recipe import choose_streams, make_recipe

    detector = load_detector(options.model, settings.compute.device)
    recipe = settings.recipe
    if detector.any_streams:
        recipe = choose_streams(recipe, note)
    extractor = make_extractor(make_recipe(recipe, detector.extract_config), settings)
    if warning := detector.check(extractor.fingerprint, extractor.dim, options.allow_mixed):
        note(f"warning: {warning}")
    for line in detector.notes():
        note(line)
    return Workshop(extractor, DetectionParts(detector, options, extractor.fingerprint))


def load_detector(model: str | None, device: str | None = None) -> Detector:
    """A trained model from its folder; the built-in one for None or ``kinetics400``.

    Raises:
        UsageError: there is no such model.
        DataError: the folder is not that of a model, or something in it is damaged.
    """
    from hrpro.devices import choose_device
    from hrpro.pipeline.detectors.kinetics import KineticsDetector
    from hrpro.pipeline.detectors.trained import TrainedDetector

    if model is None or model in BUILT_IN:
        return KineticsDetector()
    check_model(model)
    return TrainedDetector(model, choose_device(device))


def check_model(model: str | None) -> None:
    """Refuse a model that is not there, before anything is loaded or waited for.

    Raises:
        UsageError: there is no such folder.
        DataError: it is not that of a model.
    """
    from hrpro.localize.training.model_files import check_model_folder

    if model is None or model in BUILT_IN:
        return
    if not Path(model).is_dir():
        raise UsageError(
            f"--model {model}: no such model folder; leave it out for the built-in kinetics400"
        )
    check_model_folder(Path(model))


class DetectionParts:
    """What a detector finds, each video's in a part; see `Output`.

    Args:
        detector: finds the actions.
        options: what to look for, and what to report of it.
        fingerprint: of the features.

    Raises:
        UsageError: the detector has no such class.
    """

    def __init__(self, detector: Detector, options: DetectOptions, fingerprint: Fingerprint):
        from hrpro.pipeline.detectors.kinetics import class_index

        self._detector = detector
        self._options = options
        self._fingerprint = fingerprint
        self._classes: list[str] | None = None
        if options.classes is not None:
            known = detector.classes
            self._classes = [known[class_index(known, name)] for name in options.classes]
        self.needs_logits = detector.needs_logits
        self.about: Mapping[str, Any] = {
            "model": _digest(detector.describe()),
            "version": detector.version(),
            "classes": self._classes,
            "min_score": options.min_score,
            "top_k": options.top_k,
            "curves": options.curves,
        }

    def write(self, job: Job, video: VideoFeatures) -> None:
        """See `Output`."""
        assert job.target is not None
        result = self._result(job, video).filter(self._options.min_score, self._options.top_k)
        if self._options.curves:
            labels = dict.fromkeys(each.label for each in result.detections)
            result = replace(result, curves=self._detector.curves(video, labels))
        features = self._fingerprint.model_dump(mode="json")
        limits = {key: self.about[key] for key in ("min_score", "top_k")}  # for an evaluation
        run = {RUN_KEY: dict(self.about)}
        model = {**self._detector.describe(), "features": features, **limits, **run}
        facts = video.sidecar.video
        Part(
            size_bytes=facts.size_bytes,
            mtime_ns=facts.mtime_ns,
            fingerprint=self._fingerprint,
            about=self.about,
            results=to_json(Results((result,), model)),
        ).write(job.target)

    def _result(self, job: Job, video: VideoFeatures) -> VideoResult:
        rate, facts = video.info.average_fps, video.sidecar.video
        return VideoResult(
            video_id=job.key,
            path=str(job.path),
            duration_s=round(facts.start_s + facts.duration_s, 6),
            start_s=facts.start_s,
            fps=None if rate is None else float(rate),
            detections=tuple(self._detector.detect(video, self._classes)),
        )


def _digest(description: Mapping[str, Any]) -> str:
    text = json.dumps(description, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
