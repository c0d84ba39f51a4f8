"""Which methods the labels of a dataset allow, and which of them to take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hrpro.errors import UsageError
from hrpro.localize.config import DEFAULT_METHOD, resolve_dataset
from hrpro.localize.data.config import DatasetConfig
from hrpro.localize.data.scan import find_supervision
from hrpro.localize.data.supervision import KINDS, Carried, Supervision
from hrpro.localize.methods import BEST_FOR, METHOD_FOR, METHODS
from hrpro.wording import count

AUTO = "auto"
"""In the place of a method: the best that the labels allow."""

_KNOWN: dict[Supervision, str] = {
    "labels": "which actions are shown",
    "points": "a moment of each",
    "full": "start and end of each",
}
_WHY: dict[Supervision, str] = {
    "labels": "learns from the names of the actions in each video (a click per action says more: "
    "hrpro label)",
    "points": "learns from one click per action",
    "full": "learns from start and end of each action",
}


@dataclass(frozen=True)
class Advice:
    """What can be learned from the labels of a dataset, and with what."""

    carried: Carried

    @property
    def best(self) -> Supervision | None:
        """The kind of supervision that says most."""
        return self.carried.best()

    @property
    def usual(self) -> Supervision | None:
        """The same, but marks are left alone where there is something else to learn from.

        As in all research on points and video labels, and as people expect who have marked
        everything to measure on it.
        """
        return self.carried.best(marks=False)

    @property
    def allowed(self) -> tuple[str, ...]:
        """Names of the methods that have something to learn from."""
        videos = self.carried.by_kind()
        return tuple(
            name
            for name, method in METHODS.items()
            if videos[method.config.model_validate({}).needs]
        )

    @property
    def recommended(self) -> str | None:
        """The method that `usual` supervision is learned from with."""
        return METHOD_FOR[self.usual] if self.usual else None

    def lines(self) -> list[str]:
        """What is known of how many videos, the methods for that, and which one to take."""
        if self.usual is None:
            return []
        videos = self.carried.by_kind()
        known = [
            f"{_KNOWN[kind]} ({count(len(videos[kind]), 'training video')})"
            for kind in KINDS
            if videos[kind]
        ]
        lines = [
            f"known: {', '.join(known)}",
            f"methods for that: {', '.join(self.allowed)}",
            f"recommended: {why(METHOD_FOR, self.usual)}",
        ]
        if self.best is not None and BEST_FOR[self.best] != self.recommended:
            lines.append(f"or with --method {AUTO}: {why(BEST_FOR, self.best)}; it takes longer")
        return lines


def advise(folder: str | Path, config: DatasetConfig) -> Advice:
    """Look at the labels of a dataset folder.

    Raises:
        DataError: the folder does not exist.
    """
    return Advice(find_supervision(folder, config))


def why(methods: Mapping[str, str], kind: Supervision) -> str:
    """The one of the methods for a kind of supervision, and why that, in a sentence."""
    return f"{methods[kind]}, which {_WHY[kind]}"


def choose_method(
    dataset: str | Path,
    method: str | None,
    overrides: Sequence[str] = (),
    *,
    data_root: str | Path = ".",
    preset: str | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> tuple[str, ...]:
    """Put the method into the overrides of a training.

    Args:
        dataset: see `resolve_dataset`, likewise `data_root` and `preset`.
        method: its name; ``auto`` takes the best that the labels allow. None leaves it to the
            settings; where these name none, to the labels, but not to marks beside other labels.
        overrides: ``a.b=c`` texts.
        data_root: where the folders of public data sets lie.
        preset: settings by name or file.
        say: is told what was chosen, and why.

    Raises:
        UsageError: no such data set, wrong settings, or nothing is labelled that ``auto`` could
            go by.
    """
    if method not in (None, AUTO):
        return (*overrides, f"localize.method={method}")
    if method is None and (preset is not None or any(map(_is_about_method, overrides))):
        return tuple(overrides)
    folder, config = resolve_dataset(dataset, data_root=data_root, preset=preset)
    if method is None and config.localize.method != DEFAULT_METHOD:
        return tuple(overrides)
    advice = advise(folder, config.dataset)
    kind = advice.best if method == AUTO else advice.usual
    if kind is None:
        if method == AUTO:
            raise UsageError(
                f"{folder}: nothing is labelled that a method could learn from; click once per "
                "action (hrpro label), or list the actions of each video in labels.csv"
            )
        return tuple(overrides)
    methods = BEST_FOR if method == AUTO else METHOD_FOR
    if method == AUTO or methods[kind] != DEFAULT_METHOD:
        say(f"method: {why(methods, kind)}")
    return (*overrides, f"localize.method={methods[kind]}")


def _is_about_method(override: str) -> bool:
    return override.partition("=")[0].strip() == "localize.method"
