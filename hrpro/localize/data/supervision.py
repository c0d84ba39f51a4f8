"""Kinds of supervision: what a person has said about the training videos."""

from __future__ import annotations

from collections.abc import Set
from typing import Literal

Supervision = Literal["labels", "points", "full"]
"""``labels``: which actions a video shows, not when; ``points``: one moment per action; ``full``:
start and end of every action. The more, the later in this list."""

MISSING: dict[Supervision, str] = {
    "labels": "label",
    "points": "point",
    "full": "start and end marks",
}
"""What a training video lacks that carries no supervision of a kind."""


def offered(has_points: bool, has_labels: bool, has_marks: bool) -> Set[Supervision]:
    """The kinds that some training videos carry; whoever has points or marks has labels, too."""
    kinds: set[Supervision] = set()
    if has_labels or has_points or has_marks:
        kinds.add("labels")
    if has_points:
        kinds.add("points")
    if has_marks:
        kinds.add("full")
    return kinds
