"""The classes of a dataset, as ``dataset.yaml`` has them: names, order, keys, colours, words.

A class that is renamed, merged or deleted leaves a trace there, ``renamed: {old: new}``. By it
files that still have the old name are brought in line, whenever that is; and what a model that was
trained before finds goes by the new one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ruamel.yaml.comments import CommentedMap

from hrpro.errors import UsageError
from hrpro.localize.data.config import CLASS_KEYS, DatasetConfig
from hrpro.pipeline.datasets.settings import changed_settings, class_name, quoted

Renamed = Mapping[str, str | None]
"""What a class was called -> what it is called now; None where it was deleted."""


@dataclass(frozen=True)
class ClassList:
    """The classes of a dataset. Every change returns a new list; nothing is written.

    All changes raise `UsageError` for classes that are not there, names that are no names or are
    taken, and keys and colours that are none.
    """

    names: tuple[str, ...]
    keys: Mapping[str, str] = field(default_factory=dict)
    colors: Mapping[str, str] = field(default_factory=dict)
    descriptions: Mapping[str, str] = field(default_factory=dict)
    renamed: Renamed = field(default_factory=dict)

    @classmethod
    def of(cls, config: DatasetConfig, names: Sequence[str]) -> ClassList:
        """Those of a dataset with these classes."""
        label = config.label
        return cls(tuple(names), label.keys, label.colors, label.descriptions, config.renamed)

    def rename(self, old: str, new: str) -> ClassList:
        """Give a class another name."""
        if old not in self.names and self.renamed.get(old) == class_name(new):
            return self  # done before, perhaps not to the end
        self._check(old)
        new = self._new_name(new, but=old)
        if new == old:
            return self
        names = tuple(new if name == old else name for name in self.names)
        return ClassList(
            names,
            keys=_moved(self.keys, old, new),
            colors=_moved(self.colors, old, new),
            descriptions=_moved(self.descriptions, old, new),
            renamed=_follow(self.renamed, {old: new}),
        )

    def merge(self, names: Sequence[str], into: str) -> ClassList:
        """Make one class of several, at the place of the first; it may be one of them or new."""
        for name in names:
            if name in self.names or self.renamed.get(name) != class_name(into):
                self._check(name)
        gone = [name for name in dict.fromkeys(names) if name in self.names and name != into]
        if not gone:
            return self
        if into not in self.names:  # the first gives key, colour and description
            return self.rename(gone[0], into).merge(gone[1:], class_name(into))
        places = [self.names.index(name) for name in (*gone, into) if name in self.names]
        rest = [name for name in self.names if name not in {*gone, into}]
        rest.insert(sum(name in rest for name in self.names[: min(places)]), into)
        return replace(
            self._without(gone),
            names=tuple(rest),
            renamed=_follow(self.renamed, dict.fromkeys(gone, into)),
        )

    def delete(self, name: str) -> ClassList:
        """Take a class away, and with it everything that is labelled so."""
        if name not in self.names and name in self.renamed:
            return self
        self._check(name)
        rest = tuple(each for each in self.names if each != name)
        return replace(
            self._without([name]), names=rest, renamed=_follow(self.renamed, {name: None})
        )

    def order(self, names: Sequence[str]) -> ClassList:
        """Put some classes first, in this order; the others follow as they are."""
        for name in names:
            self._check(name)
        first = tuple(dict.fromkeys(names))
        rest = tuple(each for each in self.names if each not in first)
        return replace(self, names=(*first, *rest))

    def set(
        self,
        name: str,
        *,
        key: str | None = None,
        color: str | None = None,
        description: str | None = None,
    ) -> ClassList:
        """Set key, colour (``#rrggbb``) or description of a class; an empty text takes it away."""
        self._check(name)
        keys, colors = dict(self.keys), dict(self.colors)
        descriptions = dict(self.descriptions)
        if key is not None:
            if key and key not in CLASS_KEYS:
                raise UsageError(f"key {key!r}: use one of {''.join(CLASS_KEYS)}")
            for other in [each for each, taken in keys.items() if key and taken == key]:
                del keys[other]  # whoever asks for a key gets it
            _put(keys, name, key)
        if color is not None:
            if color and not re.fullmatch(r"#[0-9a-fA-F]{6}", color):
                raise UsageError(f"colour {color!r}: write #rrggbb, such as #e69f00")
            _put(colors, name, color.lower())
        if description is not None:
            _put(descriptions, name, " ".join(description.split())[:1000])
        return replace(self, keys=keys, colors=colors, descriptions=descriptions)

    def _check(self, name: str) -> None:
        if name not in self.names:
            there = ", ".join(self.names) or "none"
            raise UsageError(f"there is no class {name!r} (there are: {there})")

    def _new_name(self, text: str, but: str | None = None) -> str:
        name = class_name(text)
        for other in self.names:
            if other != but and other.casefold() == name.casefold():
                raise UsageError(f"there is a class {other!r} already; merge them to make them one")
        return name

    def _without(self, gone: Sequence[str]) -> ClassList:
        keys, colors, descriptions = (
            {name: value for name, value in each.items() if name not in gone}
            for each in (self.keys, self.colors, self.descriptions)
        )
        return replace(self, keys=keys, colors=colors, descriptions=descriptions)


def write_classes(folder: str | Path, classes: ClassList) -> None:
    """Write the classes into ``dataset.yaml``, in one step; everything else in it stays.

    Raises:
        UsageError: ``dataset.yaml`` is wrong.
        HrproError: the file cannot be written.
    """
    with changed_settings(folder) as settings:
        names = settings.get("classes")
        if names is None or len(names) != len(classes.names):
            settings["classes"] = list(map(quoted, classes.names))
        else:  # item by item, so that comments stay
            for index, name in enumerate(classes.names):
                if names[index] != name:
                    names[index] = quoted(name)
        label = settings.get("label")
        if label is None:
            label = CommentedMap()
        for key in ("keys", "colors", "descriptions"):
            _write_map(label, key, getattr(classes, key))
        if label or "label" in settings:
            settings["label"] = label
        _write_map(settings, "renamed", classes.renamed)


def current_name(name: str, renamed: Renamed) -> str | None:
    """What a class of earlier times is called now; None where it was deleted."""
    return renamed.get(name, name)


def _write_map(settings: CommentedMap, key: str, values: Mapping[str, Any]) -> None:
    there = settings.get(key)
    if there == dict(values) or (there is None and not values):
        return
    if not values:
        del settings[key]
        return
    texts = {
        quoted(name): None if value is None else quoted(value) for name, value in values.items()
    }
    settings[key] = CommentedMap(texts)


def _follow(renamed: Renamed, new: Renamed) -> dict[str, str | None]:
    """Add names to a trace, so that every name in it leads to a class that is there."""
    followed = {old: new.get(now, now) if now is not None else None for old, now in renamed.items()}
    followed.update(new)
    taken = {now for now in new.values() if now is not None}
    return {old: now for old, now in followed.items() if old not in taken and old != now}


def _moved(values: Mapping[str, str], old: str, new: str) -> dict[str, str]:
    return {new if name == old else name: value for name, value in values.items()}


def _put(values: dict[str, str], name: str, value: str) -> None:
    if value:
        values[name] = value
    else:
        values.pop(name, None)
