"""``hrpro extract``: find the videos, choose the recipe, run the batch."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError

from hrpro.errors import UsageError
from hrpro.extract.config import ExtractConfig
from hrpro.extract.extractor import Extractor
from hrpro.extract.sources import VideoSource, find_videos
from hrpro.extract.weights import available
from hrpro.files import check_writable
from hrpro.pipeline.batch import extract_batch, video_ids
from hrpro.pipeline.progress import Reporter, Summary
from hrpro.videos_folder import videos_folder


def make_recipe(options: Mapping[str, Any], base: ExtractConfig | None = None) -> ExtractConfig:
    """Build a recipe from command-line options, which are texts.

    Args:
        options: the options that were given, by the names of `ExtractConfig`; streams separated
            by commas, fps as ``25``, ``30000/1001`` or ``native``.
        base: where everything else comes from.

    Raises:
        UsageError: a value does not fit; names the option.
    """
    values = (base or ExtractConfig()).model_dump()
    values.update(options)
    if isinstance(values["streams"], str):
        values["streams"] = tuple(name.strip() for name in values["streams"].split(","))
    if isinstance(values["fps"], str):
        try:
            values["fps"] = None if values["fps"] == "native" else Fraction(values["fps"])
        except (ValueError, ZeroDivisionError) as error:
            raise UsageError(
                f"--fps {options['fps']}: give a number, a fraction like 30000/1001, or native"
            ) from error
    try:
        return ExtractConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + str(first["loc"][0]).replace("_", "-")
        given = options.get(str(first["loc"][0]), "")
        reason = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"{option} {given}: {reason}") from error


def choose_streams(recipe: dict[str, Any], reporter: Reporter) -> dict[str, Any]:
    """Settle the streams where the person did not: both if both weights are at hand, else RGB.

    Says in one line when the flow stream is left out, and how to get it.
    """
    if "streams" in recipe:
        return recipe
    if recipe.get("flow") or recipe.get("flow_weights"):
        return {**recipe, "streams": "rgb,flow"}
    if available("flow"):
        return {**recipe, "streams": "rgb,flow"}
    reporter.line(
        "RGB stream alone: the flow weights are not in the cache. Get them with `hrpro weights "
        "fetch flow`, or ask for --streams rgb,flow --flow-weights cross-modal."
    )
    return {**recipe, "streams": "rgb"}


def extract_features(
    inputs: Sequence[str],
    *,
    out: Path | None = None,
    only: Collection[str] | None = None,
    recipe: dict[str, Any] | None = None,
    device: str | None = None,
    precision: str | None = None,
    batch_size: int | None = None,
    compile: bool = False,
    reporter: Reporter | None = None,
    **batch_options: Any,
) -> Summary:
    """Extract the features of everything `inputs` name; see `extract_batch` for the options.

    Args:
        inputs: video files, folders, globs or dataset folders.
        out: target folder; ``features/``, or that of the dataset folder, by default.
        only: work on the videos of these names alone (see `video_ids`); on all by default.
        recipe: options of `make_recipe` that differ from the canonical ones.
        device: see `Extractor`; so are `precision`, `batch_size` and `compile`.
        reporter: where progress goes; silent by default.

    Raises:
        UsageError: no videos, or options that do not fit.
    """
    reporter = reporter or Reporter(quiet=True)
    sources = find_videos(inputs)
    if only is not None:
        sources = _of_names(sources, only)
    target = out or default_target(inputs)
    check_writable(target / "features")
    config = make_recipe(choose_streams(recipe or {}, reporter))
    extractor = Extractor(
        config,
        device=device,
        precision=precision,
        batch_size=batch_size,
        compile=compile,
        progress=not reporter.quiet,
    )
    return extract_batch(sources, target, extractor, reporter=reporter, **batch_options)


def _of_names(sources: Sequence[VideoSource], names: Collection[str]) -> list[VideoSource]:
    """Choose videos by name, together with any that differ only in their suffix.

    Those must stay: a video keeps its suffix in its name because of them.
    """
    stems = {source.key: PurePosixPath(source.key).with_suffix("") for source in sources}
    wanted = {stems[key] for key, name in video_ids(sources).items() if name in names}
    return [source for source in sources if stems[source.key] in wanted]


def default_target(inputs: Sequence[str]) -> Path:
    """``DATASET/features`` if the only input is a dataset folder, else ``features``."""
    if len(inputs) == 1:
        folder = Path(inputs[0])
        if folder.name != "videos" and videos_folder(folder).is_dir():
            return folder / "features"
    return Path("features")
