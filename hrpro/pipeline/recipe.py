"""From options as they are typed to the recipe of the features."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from pydantic import ValidationError

from hrpro.errors import UsageError
from hrpro.extract.backbones import BACKBONES
from hrpro.extract.config import ExtractConfig


def make_recipe(options: Mapping[str, Any], base: ExtractConfig | None = None) -> ExtractConfig:
    """Build a recipe from command-line options, which are texts.

    Args:
        options: the options that were given, by the names of `ExtractConfig`; streams separated
            by commas, fps as ``25``, ``30000/1001`` or ``native``.
        base: where everything else comes from.

    Raises:
        UsageError: a value does not fit; names the option.
    """
    base = base or ExtractConfig()
    values = base.model_dump()
    if options.get("backbone", base.backbone) != base.backbone:
        del values["short_side"], values["crop"]  # another backbone has its own
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
        key = str(first["loc"][0])
        option = "--" + key.replace("_", "-")
        given = options.get(key, values.get(key, ""))
        reason = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"{option} {given}: {reason}") from error


def choose_streams(recipe: dict[str, Any], note: Callable[[str], None]) -> dict[str, Any]:
    """Settle the streams where the person did not: all of the backbone whose weights are at hand.

    Args:
        recipe: options of `make_recipe`.
        note: takes a line that says that the flow stream is left out, and how to get it.
    """
    from hrpro.extract.weights.library import available

    if "streams" in recipe:
        return recipe
    if recipe.get("flow") or recipe.get("flow_weights"):
        return {**recipe, "streams": "rgb,flow"}
    backbone = BACKBONES.get(recipe.get("backbone", "i3d"))
    if backbone and "flow" not in backbone.streams:
        return {**recipe, "streams": "rgb"}
    if available("flow"):
        return {**recipe, "streams": "rgb,flow"}
    note(
        "RGB stream alone: the flow weights are not in the cache. Get them with `hrpro weights "
        "fetch flow`, or ask for --streams rgb,flow --flow-weights cross-modal."
    )
    return {**recipe, "streams": "rgb"}
