"""The config of a training run: one validated tree, from presets, files and ``--set``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from hrpro.configs.loader import Layer, build_config, parse_override, read_layers
from hrpro.errors import UsageError
from hrpro.localize.data.catalogue import find_known
from hrpro.localize.data.config import DatasetConfig, dataset_layers
from hrpro.localize.methods.hrpro.instance_model import InstanceConfig
from hrpro.localize.methods.hrpro.snippet_model import SnippetConfig
from hrpro.localize.nn.precision import Precision
from hrpro.localize.proposals.generate import ProposalConfig


class NmsConfig(BaseModel):
    """Soft-NMS with a Gaussian, class by class."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sigma: float = Field(0.3, gt=0, description="scores are multiplied by exp(-iou^2 / sigma)")
    iou: Literal["legacy", "exact"] = Field(
        "legacy", description="legacy: +1 s on every length, as the release computes it"
    )


class InstanceTraining(BaseModel):
    """Training of stage 2, instance-level completeness. Defaults are the release's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lr: float = Field(5e-5, gt=0, description="learning rate of Adam")
    weight_decay: float = Field(5e-4, ge=0, description="of Adam")
    epochs: int = Field(20, ge=1, description="passes over the training videos")
    batch_videos: int = Field(10, ge=1, description="videos per update; a last partial is dropped")
    negative_ratio: float = Field(
        0.5, ge=0, description="random negative proposals per candidate of a training video"
    )
    eval_every: int = Field(1, ge=1, description="epochs between evaluations")
    stage1_weights: Literal["last", "best-on-test"] = Field(
        "last",
        description="which weights of stage 1 to build on; best-on-test, as the release does, "
        "chooses them by the test set",
    )


class LocalizeConfig(BaseModel):
    """How to learn to localize. The keys beside the sections train stage 1, snippet by snippet."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Literal["hrpro"] = "hrpro"
    seed: int = Field(0, ge=0, description="of weights, shuffling, dropout and sampling")
    lr: float = Field(1e-4, gt=0, description="learning rate of Adam")
    weight_decay: float = Field(5e-4, ge=0, description="of Adam; the paper says 1e-3")
    updates: int = Field(1000, ge=1, description="gradient steps")
    batch_videos: int = Field(16, ge=1, description="videos per update")
    eval_every: int = Field(50, ge=1, description="updates between evaluations")
    ema: float | None = Field(
        None, gt=0, lt=1, description="average the weights with this decay, in both stages"
    )
    precision: Precision = Field("auto", description="arithmetic of the networks")
    snippet: SnippetConfig = SnippetConfig()
    proposals: ProposalConfig = ProposalConfig()
    nms: NmsConfig = NmsConfig()
    instance: InstanceConfig = InstanceConfig()
    stage2: InstanceTraining = InstanceTraining()


class RunConfig(BaseModel):
    """Everything that decides the result of a run, apart from the data."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: DatasetConfig = DatasetConfig()
    localize: LocalizeConfig = LocalizeConfig()


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
    return build_config(RunConfig, chosen)


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
