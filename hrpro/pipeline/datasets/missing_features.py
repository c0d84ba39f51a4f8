"""Features of a dataset that are not there yet: extract them, like those that are."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from hrpro.errors import DataError, UsageError
from hrpro.extract.config import ExtractConfig
from hrpro.extract.sources import find_videos, video_ids
from hrpro.features import Fingerprint, read_sidecar
from hrpro.localize.data.features import FeatureFolder
from hrpro.pipeline.console.progress import Reporter
from hrpro.pipeline.extract import extract_features
from hrpro.pipeline.recipe import make_recipe
from hrpro.pipeline.workers.launch import WorkerOptions
from hrpro.pipeline.workers.work import WorkerSettings
from hrpro.video_ids import KnownVideos


def extract_missing(
    folder: Path,
    names: Collection[str] | None = None,
    *,
    config: ExtractConfig | None = None,
    settings: WorkerSettings | None = None,
    workers: WorkerOptions | None = None,
    reporter: Reporter,
) -> dict[str, str]:
    """Extract the features of those videos of a dataset that have none.

    Args:
        folder: dataset folder with videos.
        names: look at these videos only; at all by default.
        config: how; by default like the features that are there.
        settings: what to compute on, ...; options of its recipe go before `config`.
        workers: where and how many; see `extract_features`.
        reporter: where progress goes.

    Returns:
        The videos that still have no features, damaged ones for example, and why.

    Raises:
        HrproError: no videos, options that do not fit the features that are there, or the
            features cannot be written.
    """
    settings = settings or WorkerSettings()
    recipe = settings.recipe
    target = folder / "features"
    features = FeatureFolder(target)
    ids = video_ids(find_videos([folder]))
    found: Collection[str] = ids.values()
    if names is not None:
        matches = KnownVideos(found).match_all(names).values()
        found = sorted({match.video_id for match in matches if match.video_id is not None})
    missing = features.without(found)
    fingerprint = _fingerprint(features) if config is None and (missing or recipe) else None
    if fingerprint is not None:
        config = ExtractConfig.from_fingerprint(fingerprint)
        if other := _differences(config, make_recipe(recipe, config)):
            raise UsageError(
                f"{target}: holds features that were made with other settings ({other}); leave "
                "these options out, or replace the features: hrpro extract --overwrite"
            )
    if not missing or (config is None and not recipe and len(features)):
        return {}  # nobody knows how to make features like those that came from elsewhere
    reporter.line(
        f"features of {len(missing)} of {len(found)} videos are missing: extracting them into "
        f"{target}, as hrpro extract does"
    )
    summary = extract_features(
        [str(folder)],
        out=target,
        only=missing,
        settings=replace(settings, recipe={**(config.model_dump() if config else {}), **recipe}),
        workers=workers,
        reporter=reporter,
    )
    for line in summary.lines():
        reporter.line(line)
    unusable = (*summary.failed, *summary.poisoned, *summary.taken)
    reasons = {ids[each.path]: each.reason for each in unusable}
    still_missing = FeatureFolder(target).without(missing)
    return {name: reasons.get(name, "no features") for name in still_missing}


def _differences(before: ExtractConfig, now: ExtractConfig) -> str:
    pairs = zip(before, now, strict=True)
    return ", ".join(f"{key}: {old} != {new}" for (key, old), (_, new) in pairs if old != new)


def _fingerprint(features: FeatureFolder) -> Fingerprint | None:
    """How the features were made that are there; None if they do not say."""
    for path in features:
        try:
            if sidecar := read_sidecar(path):
                return sidecar.fingerprint
        except DataError:
            continue  # whoever reads the features says so
    return None
