"""The config of a training run: one validated tree, from presets, files and ``--set``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, SerializeAsAny, create_model

from hrpro.configs.loader import (
    Layer,
    build_config,
    merge,
    parse_override,
    preset_names,
    read_layers,
)
from hrpro.localize.data.catalogue import dataset_folder
from hrpro.localize.data.config import DatasetConfig, dataset_layers
from hrpro.localize.methods import find_method
from hrpro.localize.methods.base import SHARED, MethodConfig

DEFAULT_METHOD = "hrpro"


class RunConfig(BaseModel):
    """Everything that decides the result of a run, apart from the data.

    The keys of section ``localize`` depend on its ``method``: `load_config` returns a subclass
    whose section is that of the method.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: DatasetConfig = DatasetConfig()
    localize: SerializeAsAny[MethodConfig]


@cache
def run_config_of(localize: type[MethodConfig]) -> type[RunConfig]:
    """The run config whose section ``localize`` is that of a method."""
    return create_model(
        "RunConfig", __base__=RunConfig, localize=(localize, localize.model_validate({}))
    )


def load_config(
    preset_or_path: str | Path = "custom",
    overrides: Sequence[str] = (),
    layers: Sequence[Layer] = (),
) -> RunConfig:
    """Load a run config.

    Args:
        preset_or_path: name of a packaged preset, or a YAML file (which may name a ``base:``).
        overrides: ``a.b=c`` texts; they go last and win.
        layers: settings in between, such as a folder's ``dataset.yaml``.

    Raises:
        UsageError: no such preset, not YAML, unknown key or wrong value; one line that names the
            file and line, the full key, and the key that was probably meant.
    """
    return _load([*read_layers(preset_or_path), *layers], overrides)


def _load(layers: Sequence[Layer], overrides: Sequence[str]) -> RunConfig:
    on_top = [parse_override(text) for text in overrides]
    name: object = DEFAULT_METHOD
    chosen: list[Layer] = []
    # What names another method than the layers below it starts section ``localize`` anew, but for
    # what these say about its generator; the overrides do so together, in whatever order they were
    # given.
    for group in (*([layer] for layer in layers), on_top):
        named = _method(group)
        if named is not None and named != name:
            chosen = [_for_method(layer, named, name) for layer in chosen]
            name = named
        chosen += group
    return build_config(run_config_of(find_method(name).config), chosen)


def _method(layers: Sequence[Layer]) -> object:
    """The method that layers name together, None if they name none."""
    section = merge(layers).get("localize")
    return section.get("method") if isinstance(section, dict) else None


def _for_method(layer: Layer, method: object, before: object) -> Layer:
    """What settings for one method say to another: nothing, or it is its generator they are for."""
    values = dict(layer.values)
    section = values.pop("localize", None)
    if isinstance(section, dict) and find_method(method).generator == before:
        shared = {key: section[key] for key in section.keys() & SHARED}
        own = {key: section[key] for key in section if key not in shared}
        values["localize"] = {**shared, "generator": own}
    return replace(layer, values=values)


def resolve_dataset(
    dataset: str | Path,
    overrides: Sequence[str] = (),
    *,
    data_root: str | Path = ".",
    preset: str | None = None,
) -> tuple[Path, RunConfig]:
    """Find the folder and the config that ``--dataset`` means.

    A folder: its ``dataset.yaml`` counts, over the preset it names (else ``custom``). A preset
    name such as ``thumos``: the folder is looked for in `data_root` by its usual names.

    If `overrides` name a method other than that of the preset, ``METHOD-PRESET`` is taken in its
    place. Where there is none, the method is set up as in ``METHOD-small``, for own footage.

    Args:
        dataset: folder, preset name or name of a public data set.
        overrides: ``a.b=c`` texts.
        data_root: where the folders of public data sets lie.
        preset: use this one, whatever the folder says.

    Raises:
        UsageError: neither a folder nor a known name, or a wrong config.
    """
    folder, named = dataset_folder(dataset, data_root)
    own, layers = dataset_layers(folder)
    chosen = _preset_layers(preset or own or named or "custom", overrides)
    config = _load([*chosen, *layers], overrides)
    return folder, config.model_copy(update={"dataset": config.dataset.for_training()})


def _preset_layers(preset: str, overrides: Sequence[str]) -> list[Layer]:
    """The layers of a preset, or of what stands for it with the method of the overrides."""
    layers = read_layers(preset)
    method = _method([parse_override(text) for text in overrides])
    if method is None or method == (_method(layers) or DEFAULT_METHOD):
        return layers
    if f"{method}-{preset}" in preset_names():
        return read_layers(f"{method}-{preset}")
    if f"{method}-small" in preset_names():
        small = read_layers(f"{method}-small")
        return [*(_part(layer, localize=False) for layer in layers), *map(_part, small)]
    return layers


def _part(layer: Layer, localize: bool = True) -> Layer:
    """Section ``localize`` of a layer, or all but that."""
    values = {key: value for key, value in layer.values.items() if (key == "localize") == localize}
    return replace(layer, values=values)
