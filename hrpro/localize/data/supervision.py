"""Kinds of supervision: what a person has said about the training videos."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Literal

Supervision = Literal["labels", "points", "full"]
"""``labels``: which actions a video shows, not when; ``points``: one moment per action; ``full``:
start and end of every action. The more, the later in this list."""

KINDS: tuple[Supervision, ...] = ("labels", "points", "full")

MISSING: dict[Supervision, str] = {
    "labels": "label",
    "points": "point",
    "full": "start and end marks",
}
"""What a training video lacks that carries no supervision of a kind."""

GIVE: dict[Supervision, str] = {
    "labels": "say in labels.csv what each shows (video_id,class)",
    "points": "give points",
    "full": "mark start and end of their actions",
}
"""How to give it."""


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


@dataclass(frozen=True)
class Carried:
    """Training videos by what a person has said about them."""

    pointed: frozenset[str] = frozenset()
    """A moment of every action."""
    listed: frozenset[str] = frozenset()
    """Which actions they show, maybe none: in the file of video labels."""
    marked: frozenset[str] = frozenset()
    """Start and end of every action."""

    def by_kind(self, marks: bool = True) -> Mapping[Supervision, frozenset[str]]:
        """Videos that carry each kind of supervision.

        Args:
            marks: look at marks even where there is something else to learn from.
        """
        marked = self.marked if marks or not (self.pointed or self.listed) else frozenset()
        labelled = self.pointed | self.listed | marked
        return {"labels": labelled, "points": self.pointed, "full": marked}

    def best(self, marks: bool = True) -> Supervision | None:
        """The kind that says most and that at least half of all labelled videos carry.

        None if nothing is said about any video.

        Args:
            marks: as in `by_kind`.
        """
        videos = self.by_kind(marks)
        enough = len(videos["labels"]) / 2
        return next(
            (kind for kind in reversed(KINDS) if videos[kind] and len(videos[kind]) >= enough),
            None,
        )
