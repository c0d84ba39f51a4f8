"""A key for each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hrpro.localize.data.config import CLASS_KEYS


def class_keys(classes: Sequence[str], chosen: Mapping[str, str]) -> list[str | None]:
    """Return the key of each class: the chosen one, else the next free; None when all are taken."""
    taken = {chosen[label] for label in classes if label in chosen}
    free = iter([key for key in CLASS_KEYS if key not in taken])
    return [chosen[label] if label in chosen else next(free, None) for label in classes]
