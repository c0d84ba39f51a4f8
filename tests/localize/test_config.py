"""Configs: presets, files, overrides, and what is said about a wrong key or value."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, Field

from hrpro.configs.loader import (
    build_config,
    known_keys,
    parse_override,
    preset_names,
    read_layers,
    save_config,
)
from hrpro.errors import UsageError
from hrpro.localize.config import RunConfig, load_config, resolve_dataset
from hrpro.localize.methods.hrpro.config import HrproConfig
from hrpro.localize.methods.sal.config import SalConfig, SalNetwork

pytestmark = pytest.mark.core

PRESETS = ("activitynet", "beoid", "custom", "demo", "gtea", "thumos", "thumos-plus")


def refusal(*overrides: str, source: str | Path = "thumos") -> str:
    with pytest.raises(UsageError) as caught:
        load_config(source, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Presets


def test_every_preset_loads() -> None:
    assert set(PRESETS) <= set(preset_names())
    for name in preset_names():
        assert isinstance(load_config(name), RunConfig)


def test_preset_thumos_is_the_release() -> None:
    config = load_config("thumos")
    assert config.dataset.excluded_videos == tuple(
        f"video_test_000{number}" for number in ("0270", "1292", "1496")
    )
    assert config.dataset.ambiguous == "Ambiguous_test.txt"
    assert config.dataset.classes is None
    assert config.dataset.tiou == (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
    grid = config.dataset.features
    assert (grid.fps, grid.snippet, grid.stride) == (25, 16, 16)
    localize = config.localize
    assert (localize.lr, localize.weight_decay, localize.updates) == (1e-4, 5e-4, 1000)
    assert (localize.batch_videos, localize.eval_every, localize.ema) == (16, 50, None)
    assert localize.precision == "auto"
    snippet = localize.snippet
    assert (snippet.num_blocks, snippet.num_heads, snippet.feedforward_dim) == (2, 8, 128)
    assert (snippet.activation, snippet.action_targets) == ("relu", "points")
    assert (snippet.video_weight, snippet.action_weight) == (0, 0.5)
    assert (snippet.background_weight, snippet.contrast_weight) == (1, 1)
    assert (localize.nms.sigma, localize.nms.iou) == (0.3, "legacy")
    stage2 = localize.stage2
    assert (stage2.lr, stage2.weight_decay, stage2.epochs) == (5e-5, 5e-4, 20)
    assert (stage2.batch_videos, localize.instance.max_proposals) == (10, 1000)


def test_the_paper_is_a_few_overrides_away() -> None:
    config = load_config(
        "thumos",
        [
            "localize.weight_decay=1e-3",
            "localize.snippet.activation=gelu",
            "localize.snippet.action_targets=pseudo",
            "localize.snippet.memory_tokens=prototypes",
            "localize.instance.offset_sign=minus",
        ],
    )
    assert config.localize.weight_decay == 1e-3
    assert config.localize.snippet.memory_tokens == "prototypes"
    assert config.localize.instance.offset_sign == "minus"


def test_other_presets_keep_the_method_and_change_the_protocol() -> None:
    thumos = load_config("thumos")
    for name in ("gtea", "beoid", "activitynet"):
        config = load_config(name)
        assert config.localize == thumos.localize
        assert not config.dataset.excluded_videos
        assert config.dataset.ambiguous is None
    assert load_config("gtea").dataset.fps == 15
    assert load_config("beoid").dataset.fps == 30
    assert load_config("activitynet").dataset.tiou == pytest.approx(
        [0.5 + 0.05 * step for step in range(10)]
    )


def test_unknown_preset_names_the_closest() -> None:
    assert refusal(source="thumo").startswith("no preset 'thumo'; did you mean 'thumos'?; there")


# Overrides


def test_overrides_win_and_are_read_as_yaml() -> None:
    config = load_config(
        "thumos",
        [
            "localize.lr=2e-4",
            "localize.snippet.activation=gelu",
            "localize.ema=0.99",
            "dataset.tiou=[0.3, 0.5]",
            "dataset.ambiguous=null",
            "dataset.name=a=b",
            "localize.lr=3e-4",
        ],
    )
    assert config.localize.lr == 3e-4
    assert config.localize.snippet.activation == "gelu"
    assert config.localize.ema == 0.99
    assert config.dataset.tiou == (0.3, 0.5)
    assert config.dataset.ambiguous is None
    assert config.dataset.name == "a=b"
    assert config.localize.updates == 1000


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("localize.lerning_rate=1", None),
        ("localize.updatse=1", "'localize.updates'"),
        ("lr=1", "'localize.lr' or 'localize.stage2.lr'"),
        ("localize.snippet.epochs=1", "'localize.stage2.epochs'"),
        ("dataset.features.zoom=1", None),
        ("localise.lr=1", "'localize'"),
        ("localize.nms.sigm=1", "'localize.nms.sigma'"),
    ],
)
def test_unknown_key_suggests_the_right_one(override: str, meant: str | None) -> None:
    key = override.partition("=")[0].split(".")
    text = refusal(override)
    assert text.startswith(f"--set {override}: unknown key '")
    if meant:
        assert text.endswith(f"; did you mean {meant}?")
    else:
        assert "; known: " in text
        assert ".".join(key[:-1]) in text


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("localize.lr=fast", "localize.lr: expected a number, got 'fast'"),
        ("localize.updates=1.5", "localize.updates: expected a whole number, got 1.5"),
        ("localize.updates=0", "localize.updates: input should be greater than or equal to 1"),
        ("dataset.tiou=0.5", "dataset.tiou: expected a list, got 0.5"),
        ("dataset.tiou=[0.5, x]", "dataset.tiou.1: expected a number, got 'x'"),
        ("localize.nms.iou=giou", "localize.nms.iou: input should be 'legacy' or 'exact'"),
        ("localize=3", "localize: expected a section of 'key: value' lines, got 3"),
        ("localize.lr.x=3", "localize.lr: expected a number, got {'x': 3}"),
        ("dataset.name=[a]", "dataset.name: expected text, got ['a']"),
    ],
)
def test_wrong_value_names_key_and_what_is_expected(override: str, message: str) -> None:
    assert refusal(override).startswith(f"--set {override}: {message}")


@pytest.mark.parametrize("override", ["localize.lr", "=3", "localize..lr=3", ".lr=1", "a.b=[1"])
def test_malformed_override_shows_the_form(override: str) -> None:
    text = refusal(override)
    assert text.startswith(f"--set {override}: ")
    assert "KEY=VALUE" in text or "not valid YAML" in text


# Files


def test_file_stands_on_its_base(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("base: gtea\nlocalize:\n  updates: 7\n")
    (tmp_path / "deeper.yaml").write_text("base: mine.yaml\nlocalize:\n  lr: 1e-3\n")
    config = load_config(tmp_path / "deeper.yaml", ["dataset.name=x"])
    assert (config.localize.updates, config.localize.lr) == (7, 1e-3)
    assert (config.dataset.fps, config.dataset.name) == (15, "x")


def test_bases_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("base: b.yaml\n")
    (tmp_path / "b.yaml").write_text("base: a.yaml\n")
    assert "'base' leads back to the file itself" in refusal(source=tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("localize:\n  lr: 1e-4\n  updtes: 3\n", ":3: unknown key 'localize.updtes'; did you mean"),
        ("# note\n\nlocalize:\n  lr: [1\n", ":5: not valid YAML: "),
        ("localize:\n\tlr: 1\n", ":2: not valid YAML: "),
        (
            "localize:\n  stage2:\n    epochs: many\n",
            ":3: localize.stage2.epochs: expected a whole",
        ),
        ("- a\n- b\n", ": expected 'key: value' lines"),
        ("localize:\n  updtes: 3\n  lr: x\n", " (and 1 more)"),
        ("a: !!python/object/apply:os.getcwd []\n", ": not valid YAML: could not determine a cons"),
    ],
)
def test_wrong_file_names_the_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text, encoding="utf-8")
    line = refusal(source=path)
    assert line.startswith(f"{path}:")
    assert message in line


def test_missing_file_is_named(tmp_path: Path) -> None:
    assert refusal(source=tmp_path / "no.yaml").endswith("no.yaml: cannot read: No such file or "
                                                         "directory")  # fmt: skip


@pytest.mark.parametrize("name", PRESETS)
def test_saved_config_is_read_back(tmp_path: Path, name: str) -> None:
    config = load_config(name, ["localize.seed=3"])
    path = tmp_path / "config.yaml"
    save_config(config, path)
    assert load_config(path) == config


def test_configs_cannot_be_changed_by_accident() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_config("thumos").localize.lr = 1  # type: ignore[misc]


# The loader with models of its own


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    depth: int = Field(1, ge=1)


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    inner: Inner = Inner()
    other: Inner | None = None


def test_known_keys_go_into_optional_sections() -> None:
    assert list(known_keys(Outer)) == ["name", "inner", "inner.depth", "other", "other.depth"]


def test_required_key_is_named() -> None:
    with pytest.raises(UsageError, match="'name' is required"):
        build_config(Outer, [parse_override("inner.depth=2")])


def test_layers_merge_section_by_section() -> None:
    layers = [parse_override(text) for text in ("name=a", "inner.depth=2", "other={depth: 3}")]
    assert build_config(Outer, layers) == Outer(
        name="a", inner=Inner(depth=2), other=Inner(depth=3)
    )


# What --dataset means


def test_folder_with_its_own_preset(tmp_path: Path) -> None:
    (tmp_path / "dataset.yaml").write_text("preset: gtea\nname: kitchen\n")
    folder, config = resolve_dataset(tmp_path, ["localize.lr=1"])
    assert folder == tmp_path
    assert (config.dataset.name, config.dataset.fps, config.localize.lr) == ("kitchen", 15, 1)
    assert resolve_dataset(tmp_path, preset="beoid")[1].dataset.fps == 30


def test_plain_folder_takes_custom(tmp_path: Path) -> None:
    assert resolve_dataset(tmp_path)[1] == load_config("custom")


def test_public_name_is_looked_for_in_the_data_root(tmp_path: Path) -> None:
    (tmp_path / "THUMOS14").mkdir()
    for name in ("thumos", "thumos14", "THUMOS14"):
        folder, config = resolve_dataset(name, data_root=tmp_path)
        assert folder.name == "THUMOS14"
        assert config == load_config("thumos")


def test_absent_dataset_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="get it with 'hrpro dataset fetch gtea', or say where"):
        resolve_dataset("gtea", data_root=tmp_path)
    with pytest.raises(UsageError, match="neither a dataset folder nor a data set by that name"):
        resolve_dataset(str(tmp_path / "nowhere"))


def test_line_of_dataset_yaml_is_named_in_a_run_config(tmp_path: Path) -> None:
    (tmp_path / "dataset.yaml").write_text("name: x\nfps: fast\n")
    with pytest.raises(UsageError) as caught:
        resolve_dataset(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/dataset.yaml:2: dataset.fps: expected a number, got 'fast'"
    )


def test_reading_a_preset_twice_gives_fresh_values() -> None:
    read_layers("thumos")[0].values.clear()
    assert read_layers("thumos")[0].values


# Methods


def test_naming_another_method_starts_its_section_anew():
    config = load_config("thumos", ["localize.network.width=8", "localize.method=sal"])
    assert isinstance(config.localize, SalConfig)
    assert config.localize.network.width == 8
    assert config.localize.proposals.gamma == 0.2
    assert config.dataset.ambiguous == "Ambiguous_test.txt"
    assert load_config("sal-thumos", ["localize.method=hrpro"]).localize == HrproConfig()


def test_keys_of_the_method_below_are_unknown_to_the_one_above():
    assert "unknown key 'localize.snippet'" in refusal(
        "localize.method=sal", "localize.snippet.num_heads=2"
    )


@pytest.mark.parametrize(
    ("preset", "expected"),
    [("thumos", "sal-thumos"), ("activitynet", "sal-activitynet"), ("small", "sal-small")],
)
def test_a_method_takes_its_own_preset_for_the_data(tmp_path, preset, expected):
    _, config = resolve_dataset(tmp_path, ["localize.method=sal"], preset=preset)
    assert config.localize == load_config(expected).localize


def test_a_method_without_a_preset_for_the_data_is_set_up_for_own_footage(tmp_path):
    _, config = resolve_dataset(tmp_path, ["localize.method=sal"], preset="gtea")
    assert config.localize == load_config("sal-small").localize
    assert config.dataset == load_config("gtea").dataset
    _, config = resolve_dataset(tmp_path, ["localize.method=hrpro"], preset="gtea")
    assert config.localize == load_config("gtea").localize


def test_presets_of_sal_are_the_releases():
    thumos, activitynet = (load_config(f"sal-{name}") for name in ("thumos", "activitynet"))
    assert thumos.localize == SalConfig(network=SalNetwork(rgb_channels=1024))
    assert activitynet.dataset.tiou[0] == 0.5
    network, losses = activitynet.localize.network, activitynet.localize.losses
    assert (network.length, network.kernel, network.rgb_share) == (50, 7, 0.3)
    assert (network.class_share, network.topk_ratio) == (0.6, 4)
    assert network.background_topk_ratio == 8
    assert (losses.pseudo_snippets, losses.evidence_ratio) == (40, None)
    assert (losses.momentum, losses.mask_width) == (0.99, 6)
    assert (losses.background_weight, losses.consistency_weight) == (1, 20)
    assert (losses.semantic_weight, losses.class_weight) == (3, 1)
    proposals, nms = activitynet.localize.proposals, activitynet.localize.nms
    assert (proposals.class_threshold, proposals.outer_margin) == (0.1, 0.2)
    assert (proposals.upsample, len(proposals.score_thresholds)) == (24, 9)
    assert (nms.threshold, nms.sigma) == (0.7, 0.35)
