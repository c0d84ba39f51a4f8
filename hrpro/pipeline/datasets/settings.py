"""Change a folder's ``dataset.yaml`` and leave everything else in it as the person wrote it."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from hrpro.errors import UsageError
from hrpro.files import write_text
from hrpro.localize.data.config import LabelConfig, read_dataset_config
from hrpro.localize.data.layout import find_layout
from hrpro.localize.data.points import read_points
from hrpro.localize.data.video_labels import read_video_labels
from hrpro.problems import Problems
from hrpro.texts import read_text
from hrpro.videos_folder import DATASET_YAML


def add_class(folder: str | Path, name: str) -> bool:
    """Add a class to a dataset; False if it is there already.

    Raises:
        UsageError: not a class name, or one that differs from another only in upper and lower
            case; or ``dataset.yaml`` is wrong.
        HrproError: the file cannot be written.
    """
    return bool(add_classes(folder, [name]))


def add_classes(folder: str | Path, names: Iterable[str]) -> list[str]:
    """Add classes to a dataset, at the end of its list; return those that are new.

    Raises:
        UsageError: as `add_class`; then none is added.
        HrproError: the file cannot be written.
    """
    with changed_settings(folder) as settings:
        new = new_classes(folder, names)
        if new and settings.get("classes") is None:
            settings["classes"] = [quoted(label) for label in (*_classes(folder), *new)]
        elif new:
            settings["classes"].extend(map(quoted, new))
        for name in new:  # a class of today, whatever was called so before
            (settings.get("renamed") or {}).pop(name, None)
    return new


def new_classes(folder: str | Path, names: Iterable[str]) -> list[str]:
    """Return those of the names that are not yet classes of a dataset, each once.

    Raises:
        UsageError: as `add_class`.
    """
    known = list(_classes(folder))
    new: list[str] = []
    for name in map(class_name, names):
        spelled = next((each for each in known if each.casefold() == name.casefold()), None)
        if spelled is None:
            known.append(name)
            new.append(name)
        elif spelled != name:
            raise UsageError(f"class {name!r}: there is {spelled!r} already; use that name")
    return new


def set_reaction(folder: str | Path, reaction_s: float) -> None:
    """Set the seconds from an action to the key press, ``label: {reaction_s: ...}``.

    Raises:
        UsageError: the value is out of range, or ``dataset.yaml`` is wrong.
        HrproError: the file cannot be written.
    """
    try:
        LabelConfig(reaction_s=reaction_s)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise UsageError(f"reaction time {reaction_s!r}: {reason}") from error
    with changed_settings(folder) as settings:
        if settings.get("label") is None:
            settings["label"] = CommentedMap()
        settings["label"]["reaction_s"] = reaction_s


def set_videos(folder: str | Path, videos: str) -> None:
    """Name the folder of the videos, as seen from the dataset folder.

    Raises:
        UsageError: ``dataset.yaml`` is wrong.
        HrproError: the file cannot be written.
    """
    with changed_settings(folder) as settings:
        settings["videos"] = videos


def class_name(text: str) -> str:
    """Return a class name without blanks around it.

    Raises:
        UsageError: it is empty, longer than 100 characters, or holds control characters.
    """
    name = text.strip()
    if not name or len(name) > 100 or not name.isprintable():
        raise UsageError(f"{text!r}: not a class name; write 1 to 100 letters, digits and signs")
    return name


def _classes(folder: str | Path) -> tuple[str, ...]:
    """The classes of a dataset: as configured, else those of its points and labels."""
    config = read_dataset_config(folder)
    if config.classes is not None or not Path(folder).is_dir():
        return config.classes or ()
    layout = find_layout(folder, config)
    names: set[str] = set()
    if layout.points is not None:
        names |= {row.label for row in read_points(layout.points, Problems())}
    if layout.labels is not None:
        names |= {row.label for row in read_video_labels(layout.labels, Problems())}
    return tuple(sorted(names - {""}))


@contextmanager
def changed_settings(folder: str | Path) -> Iterator[CommentedMap]:
    """Yield the settings of a folder; write them if they were changed.

    Raises:
        UsageError: ``dataset.yaml`` is wrong.
        HrproError: the file cannot be written.
    """
    path = Path(folder) / DATASET_YAML
    read_dataset_config(folder)  # refuses what is wrong, with its line
    text = read_text(path) if path.is_file() else ""
    yaml = YAML()  # keeps comments, and makes plain values only
    yaml.preserve_quotes = True
    yaml.width = 4096
    try:
        settings = yaml.load(text)
    except MarkedYAMLError as error:
        raise UsageError(f"{path}: {error.problem}; put it right") from error
    head = ""
    if settings is None:  # nothing, or nothing but comments
        settings, head = CommentedMap(), text
    unchanged = _dumped(yaml, settings)
    yield settings
    if (changed := _dumped(yaml, settings)) != unchanged:
        write_text(path, head + changed)


def _dumped(yaml: YAML, settings: CommentedMap) -> str:
    text = io.StringIO()
    yaml.dump(settings, text)
    return text.getvalue()


def quoted(name: str) -> DoubleQuotedScalarString:
    """Return a text as YAML is to have it."""
    # Without quotes, a class "yes" or "1:30" would be read as something else than text.
    return DoubleQuotedScalarString(name)
