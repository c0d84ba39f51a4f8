"""From options as they are typed to the recipe of the features."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from pydantic import ValidationError

from hrpro.errors import UsageError
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


def choose_streams(recipe: dict[str, Any], note: Callable[[str], None]) -> dict[str, Any]:
    """Settle the streams where the person did not: both if both weights are at hand, else RGB.

    Args:
        recipe: options of `make_recipe`.
        note: takes a line that says that the flow stream is left out, and how to get it.
    """
    from hrpro.extract.weights import available

    if "streams" in recipe:
        return recipe
    if recipe.get("flow") or recipe.get("flow_weights"):
        return {**recipe, "streams": "rgb,flow"}
    if available("flow"):
        return {**recipe, "streams": "rgb,flow"}
    note(
        "RGB stream alone: the flow weights are not in the cache. Get them with `hrpro weights "
        "fetch flow`, or ask for --streams rgb,flow --flow-weights cross-modal."
    )
    return {**recipe, "streams": "rgb"}
