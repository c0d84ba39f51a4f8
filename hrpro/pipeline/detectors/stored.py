"""Detection in features that are there already, so that no video is decoded again for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hrpro.errors import DataError, HrproError, UsageError
from hrpro.extract.config import ExtractConfig
from hrpro.extract.jobs import Job
from hrpro.extract.losses import DecodeReport
from hrpro.extract.probe import probe
from hrpro.extract.sources import VideoSource
from hrpro.features import Sidecar, read_features, read_sidecar
from hrpro.localize.data.features import FeatureFolder
from hrpro.pipeline.detectors.base import BUILT_IN, DetectOptions, Detector
from hrpro.pipeline.detectors.parts import ResultParts
from hrpro.pipeline.workers.ledger import file_identity
from hrpro.pipeline.workers.work import WorkerSettings

if TYPE_CHECKING:
    from hrpro.extract.video_progress import VideoFeatures

FEATURES = "features"


def feature_folders(inputs: Sequence[str], sources: Sequence[VideoSource]) -> list[Path]:
    """The features of the datasets that videos belong to.

    Args:
        inputs: what was typed; a dataset folder has its features in itself.
        sources: videos; those below ``DATASET/videos`` belong to that dataset.
    """
    beside = (
        parent.parent / FEATURES
        for source in sources
        for parent in source.path.absolute().parents
        if parent.name == "videos"
    )
    folders = dict.fromkeys([*(Path(given) / FEATURES for given in inputs), *beside])
    return [folder for folder in folders if folder.is_dir()]


def detect_in_stored(
    sources: Sequence[VideoSource],
    parts: ResultParts,
    folders: Sequence[Path],
    options: DetectOptions,
    settings: WorkerSettings,
) -> list[str]:
    """Write the parts of those videos whose features are there, and fit model and video.

    Args:
        sources: the videos.
        parts: where what is found goes.
        folders: in which the features may be, as `hrpro extract` names them.
        options: the model, and what to report.
        settings: the recipe; features of another one do not fit.

    Returns:
        The keys of these videos.

    Raises:
        UsageError: no such model or class.
        DataError: the model is damaged.
        HrproError: a part cannot be written.
    """
    stored = dict(_stored(sources, parts, folders))
    if not stored or options.model in BUILT_IN:
        return []
    from hrpro.pipeline.detectors.worker import DetectionParts, load_detector
    from hrpro.pipeline.recipe import make_recipe

    detector = load_detector(options.model, settings.compute.device)
    wanted = make_recipe(settings.recipe, detector.extract_config)
    done = []
    for source in sources:
        if source.key not in stored:
            continue
        path, sidecar = stored[source.key]
        if not _fit(sidecar, wanted, detector):
            continue
        try:
            video = _video(source.path, path, sidecar)
        except HrproError:
            continue  # damaged: make them anew
        target = parts.path(source.key)
        job = Job(source.path, source.root, key=source.key, target=target)
        DetectionParts(detector, options, sidecar.fingerprint).write(job, video)
        done.append(source.key)
    return done


def check_features(folder: Path, options: DetectOptions) -> None:
    """Refuse features that cannot be used.

    Raises:
        UsageError: there are none in the folder, or the model needs more than features.
    """
    if not len(FeatureFolder(folder)):
        raise UsageError(f"--features {folder}: no features (.npy) in this folder")
    if options.model in BUILT_IN:
        raise UsageError("--features goes with --model: the built-in model needs the videos")


def _stored(
    sources: Sequence[VideoSource], parts: ResultParts, folders: Sequence[Path]
) -> Iterator[tuple[str, tuple[Path, Sidecar]]]:
    """Features that were made of the very files, by the keys of these."""
    looked_through = [FeatureFolder(folder) for folder in folders]
    for source in sources:
        for features in looked_through:
            try:
                path = features.any_subset(parts.video_ids[source.key])
                sidecar = None if path is None else read_sidecar(path)
            except DataError:
                continue  # damaged, or several could be meant
            if path is None or sidecar is None:
                continue
            facts = sidecar.video
            if (facts.size_bytes, facts.mtime_ns) == file_identity(source.path):
                yield source.key, (path, sidecar)
                break


def _fit(sidecar: Sidecar, wanted: ExtractConfig, detector: Detector) -> bool:
    """Whether features are those that the model was trained on, and of the recipe wanted."""
    own = sidecar.fingerprint
    if own.changes(wanted.fingerprint(own.weights, own.flow, own.precision)):
        return False
    try:
        return not detector.check(own, sidecar.dim or 0, allow_mixed=False)
    except DataError:
        return False


def _video(path: Path, features: Path, sidecar: Sidecar) -> VideoFeatures:
    from hrpro.extract.video_progress import VideoFeatures

    array = np.array(read_features(features), np.float32)
    no_logits = np.empty((0, 0), np.float32)
    return VideoFeatures(array, no_logits, sidecar, probe(path), DecodeReport())
