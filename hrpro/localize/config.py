"""The config of a training run: one validated tree, from presets, files and ``--set``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, SerializeAsAny, create_model

from hrpro.configs.loader import Layer, build_config, merge, parse_override, read_layers
from hrpro.errors import UsageError
from hrpro.localize.data.catalogue import find_known
from hrpro.localize.data.config import DatasetConfig, dataset_layers
from hrpro.localize.methods import find_method
from hrpro.localize.methods.base import MethodConfig

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
    return create_model("RunConfig", __base__=RunConfig, localize=(localize, localize()))


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
    chosen = [*read_layers(preset_or_path), *layers, *map(parse_override, overrides)]
    section = merge(chosen).get("localize")
    name = section.get("method", DEFAULT_METHOD) if isinstance(section, dict) else DEFAULT_METHOD
    return build_config(run_config_of(find_method(name).config), chosen)


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

    Args:
        dataset: folder, preset name or name of a public data set.
        overrides: ``a.b=c`` texts.
        data_root: where the folders of public data sets lie.
        preset: use this one, whatever the folder says.

    Raises:
        UsageError: neither a folder nor a known name, or a wrong config.
    """
    folder = Path(dataset)
    named: str | None = None
    if not folder.is_dir():
        folder, named = _known_folder(str(dataset), Path(data_root))
    own, layers = dataset_layers(folder)
    config = load_config(preset or own or named or "custom", overrides, layers)
    return folder, config.model_copy(update={"dataset": config.dataset.for_training()})


def _known_folder(name: str, data_root: Path) -> tuple[Path, str]:
    known = find_known(name)
    if known is None:
        raise UsageError(
            f"{name}: neither a dataset folder nor a data set by that name; "
            "see 'hrpro dataset list' for those, or name a folder with videos/ and points.csv"
        )
    candidates = [data_root / folder for folder in (*known.folders, known.preset)]
    folder = next((path for path in candidates if path.is_dir()), None)
    if folder is None:
        raise UsageError(
            f"{candidates[0]}: not there; get it with 'hrpro dataset fetch {known.name}', or say "
            "where it is with --data-root"
        )
    return folder, known.preset
