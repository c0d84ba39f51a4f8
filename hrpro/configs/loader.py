"""Turn a preset or YAML file plus ``a.b=c`` overrides into a validated config.

The loader knows no setting by name: it merges layers (base preset, preset, further layers,
overrides) and hands them to a pydantic model. What the model refuses comes back as one line that
names the file and line, the full dotted key, and the key that was probably meant.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from hrpro.errors import DataError, UsageError
from hrpro.files import write_text
from hrpro.texts import read_text
from hrpro.wording import and_more

Config = TypeVar("Config", bound=BaseModel)

EXPECTED = {
    "float": "a number",
    "int": "a whole number",
    "bool": "true or false",
    "string": "text",
    "tuple": "a list",
    "list": "a list",
    "dict": "a section of 'key: value' lines",
    "model": "a section of 'key: value' lines",
}
"""First word of a pydantic error type -> what a person should write."""


@dataclass(frozen=True)
class Layer:
    """Some settings and where they come from; later layers win."""

    source: str
    """File name, or the ``--set`` text."""
    values: dict[str, Any]
    text: str | None = None
    """The YAML text, if there is one, to find line numbers in."""
    depth: int = 0
    """How many sections were put around what the text says."""

    def under(self, section: str) -> Layer:
        """Return these settings as those of a section: ``fps: 25`` -> ``dataset: {fps: 25}``."""
        return replace(self, values={section: self.values}, depth=self.depth + 1)


def preset_names() -> tuple[str, ...]:
    """Names of the packaged presets, alphabetical."""
    files = resources.files("hrpro.configs").iterdir()
    return tuple(sorted(f.name.removesuffix(".yaml") for f in files if f.name.endswith(".yaml")))


def read_layers(preset_or_path: str | Path) -> list[Layer]:
    """Read a preset (by name) or a YAML file, preceded by what its ``base:`` names.

    Raises:
        UsageError: no such preset or file, not YAML, or bases that go round in a circle.
    """
    layers: list[Layer] = []
    wanted: str | Path | None = preset_or_path
    while wanted is not None:
        layer = read_layer(wanted)
        if any(layer.source == seen.source for seen in layers):
            raise UsageError(f"{layer.source}: 'base' leads back to the file itself; remove it")
        layers.append(layer)
        wanted = layer.values.pop("base", None)
        if wanted is not None and _is_file_name(wanted) and not Path(wanted).is_absolute():
            wanted = Path(layer.source).parent / wanted
    return layers[::-1]


def read_layer(preset_or_path: str | Path) -> Layer:
    """Read one preset or YAML file, without its base.

    Raises:
        UsageError: it does not exist or is not a YAML mapping; names file and line.
    """
    if _is_file_name(preset_or_path):
        source, text = str(preset_or_path), _read_text(Path(preset_or_path))
    elif preset_or_path in preset_names():
        resource = resources.files("hrpro.configs") / f"{preset_or_path}.yaml"
        source, text = f"preset {preset_or_path}", resource.read_text(encoding="utf-8")
    else:
        raise UsageError(
            f"no preset {str(preset_or_path)!r}{_did_you_mean(str(preset_or_path), preset_names())}"
            f"; there are {', '.join(preset_names())}, or give a .yaml file"
        )
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{_yaml_place(source, error)}; mind colons and indentation") from error
    if values is None:
        values = {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise UsageError(f"{source}: expected 'key: value' lines")
    return Layer(source, values, text)


def parse_override(text: str) -> Layer:
    """Parse ``a.b=c``; the value is YAML: ``2e-4``, ``true``, ``[1, 2]``, ``null``, text.

    Raises:
        UsageError: there is no ``=``, an empty key, or a value that is not YAML.
    """
    key, equals, value_text = text.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise UsageError(f"--set {text}: write KEY=VALUE, for example localize.lr=2e-4")
    try:
        value = yaml.safe_load(value_text)
    except yaml.YAMLError as error:
        raise UsageError(f"--set {text}: the value is not valid YAML; quote it") from error
    for part in reversed(parts):
        value = {part: value}
    return Layer(f"--set {text}", value)


def build_config(model: type[Config], layers: Sequence[Layer]) -> Config:
    """Merge layers and validate the result.

    Raises:
        UsageError: an unknown key, a wrong type or a value out of range.
    """
    try:
        return model.model_validate(merge(layers))
    except ValidationError as error:
        details = error.errors()
        more = and_more(len(details) - 1)
        raise UsageError(_explain(details[0], model, layers) + more) from error


def merge(layers: Sequence[Layer]) -> dict[str, Any]:
    """Put layers on top of each other, section by section; later ones win."""
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = _merged(merged, layer.values)
    return merged


def save_config(config: BaseModel, path: str | Path) -> None:
    """Write a config as YAML that `build_config` reads back to an equal one."""
    write_text(path, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))


def changes(before: Any, now: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Differences of two configs as plain values: dotted key, value before, value now."""
    if not (isinstance(before, dict) and isinstance(now, dict)):
        if before != now:
            yield prefix, before, now
        return
    for key in {**before, **now}:
        yield from changes(before.get(key), now.get(key), f"{prefix}.{key}".lstrip("."))


def known_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every dotted key of a model, sections before what they hold."""
    for name, field in model.model_fields.items():
        yield prefix + name
        for section in _section_types(field.annotation):
            yield from known_keys(section, f"{prefix}{name}.")


def _section_types(annotation: Any) -> list[type[BaseModel]]:
    options = [annotation, *get_args(annotation)]
    # Python 3.10 takes list[int], too, for a type; but it has an origin.
    classes = [o for o in options if isinstance(o, type) and get_origin(o) is None]
    return [o for o in classes if issubclass(o, BaseModel)]


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            value = _merged(old, value)
        result[key] = value
    return result


def _explain(detail: ErrorDetails, model: type[BaseModel], layers: Sequence[Layer]) -> str:
    keys = [str(part) for part in detail["loc"]]
    dotted = ".".join(keys)
    where = _where(keys, layers)
    if detail["type"] == "extra_forbidden":
        known = list(known_keys(model))
        section = ".".join(keys[:-1])
        siblings = [k for k in known if k.rpartition(".")[0] == section]
        guess = _did_you_mean(dotted, [k for k in known if not dotted.startswith(f"{k}.")])
        return f"{where}unknown key {dotted!r}{guess or '; known: ' + ', '.join(siblings)}"
    if detail["type"] == "missing":
        return f"{where}{dotted!r} is required"
    kind = detail["type"].partition("_")[0]
    if detail["type"].endswith(("_type", "_parsing", "_from_float")) and kind in EXPECTED:
        return f"{where}{dotted}: expected {EXPECTED[kind]}, got {detail['input']!r}"
    reason = detail["msg"].removeprefix("Value error, ")
    return f"{where}{dotted}: {reason[0].lower() + reason[1:]}, got {detail['input']!r}"


def _did_you_mean(wrong: str, known: Sequence[str]) -> str:
    """Find the key that was meant: right name in the wrong section, then spelling, nearest first.

    Only last names are compared: long common sections would make any two keys look alike.
    """
    section, _, name = wrong.rpartition(".")
    meant = [k for k in known if k.rpartition(".")[2] == name]
    siblings = [k for k in known if k.rpartition(".")[0] == section]
    for candidates in (siblings, known):
        by_name = {k.rpartition(".")[2]: k for k in reversed(candidates)}
        close = difflib.get_close_matches(name, by_name, n=1, cutoff=0.7)
        meant = meant or [by_name[match] for match in close]
    return f"; did you mean {' or '.join(map(repr, meant))}?" if meant else ""


def _where(keys: list[str], layers: Sequence[Layer]) -> str:
    """``file:line: `` of the last layer that sets the key."""
    for layer in reversed(layers):
        value: Any = layer.values
        for key in keys:
            if isinstance(value, dict) and key in value:
                value = value[key]
            elif not isinstance(value, list):
                break
        else:
            line = _line_of(keys[layer.depth :], layer.text)
            return f"{layer.source}:{line}: " if line else f"{layer.source}: "
    return ""


def _line_of(keys: list[str], text: str | None) -> int | None:
    node = yaml.compose(text, Loader=yaml.SafeLoader) if text else None
    line = None
    for key in keys:
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        match = next(((k, v) for k, v in pairs if k.value == key), None)
        if match is None:
            break
        line, node = match[0].start_mark.line + 1, match[1]
    return line


def _is_file_name(name: str | Path) -> bool:
    return isinstance(name, Path) or str(name).endswith((".yaml", ".yml"))


def _read_text(path: Path) -> str:
    try:
        return read_text(path)
    except DataError as error:
        raise UsageError(str(error)) from error


def _yaml_place(source: str, error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or "not valid YAML"
    place = f"{source}:{mark.line + 1}" if mark else source
    return f"{place}: not valid YAML: {problem}"
