"""Accuracy in plain words: what was found, how late it begins and ends, what helps most."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from hrpro.localize.evaluation.events import EventQuality, Found
from hrpro.wording import count

_EXACT_S = 0.05
"""Less than this is on time."""
_FEW = 0.8
"""A class of which less than this share is found needs points."""
_SHOWN = 3  # classes, videos

ADVICE = {
    "duplicate": "the same action found twice: --merge-gap joins events that are close together",
    "wrong label": "the right place, the wrong class: mark more of the classes that look alike",
    "localization": "the right class, other boundaries: --method hrpro+student, features of "
    "--stride 4, or marked starts and ends help",
    "confusion": "a wrong class somewhere near an action: mark more of the classes that look alike",
    "background": "nothing there: mark every action of the training videos, add some videos "
    "without any, or raise --threshold",
}
"""What helps against each kind of mistake."""


def headline(quality: EventQuality) -> str:
    """What was found, in one line: ``found 7 of 7 actions, 2 false alarms``."""
    total = quality.total
    return (
        f"found {total.num_found} of {count(total.num_actions, 'action')}, "
        f"{count(total.num_false, 'false alarm')}"
    )


def boundaries(found: Found) -> str:
    """How late it begins and ends: ``starts 0.2 s late, ends on time``; empty if none was found."""
    if found.start_late_s is None or found.end_late_s is None:
        return ""
    return f"starts {_late(found.start_late_s)}, ends {_late(found.end_late_s)}"


def _late(seconds: float) -> str:
    if abs(seconds) < _EXACT_S:
        return "on time"
    return f"{abs(seconds):.1f} s {'late' if seconds > 0 else 'early'}"


def rule(quality: EventQuality) -> str:
    """When an event counts as found."""
    return (
        f"an event is right if it overlaps an action of its class by tIoU {quality.tiou:g}: "
        "what both share, of what both cover"
    )


def quality_lines(quality: EventQuality) -> Iterator[str]:
    """The classes in a table, and the boundaries of all."""
    width = max(len("class"), *(len(found.name) for found in quality.classes))
    yield f"{'class':{width}}  actions  found  false alarms  boundaries (median)"
    for found in quality.classes:
        yield (
            f"{found.name:{width}}  {found.num_actions:7d}  {found.num_found:5d}  "
            f"{found.num_false:12d}  {boundaries(found)}"
        ).rstrip()
    if all_of_them := boundaries(quality.total):
        yield f"boundaries: what was found {all_of_them} (median)"


def advice(quality: EventQuality) -> list[str]:
    """What helps most, from the numbers; empty if nothing is wrong."""
    if not quality.total.num_wrong:
        return []
    told = []
    weak = sorted(
        (each for each in quality.classes if each.num_found < _FEW * each.num_actions),
        key=lambda each: (each.num_found / each.num_actions, each.name),
    )
    if weak:
        few = [f"{each.name} ({each.num_found} of {each.num_actions})" for each in weak[:_SHOWN]]
        told.append(f"mark more of what is found least: {', '.join(few)}{_more(len(weak))}")
    bad = sorted(
        (each for each in quality.videos if each.num_wrong),
        key=lambda each: (-each.num_wrong, each.name),
    )
    if len(quality.videos) > 1:
        worst = [
            f"{each.name} ({each.num_actions - each.num_found} missed, "
            f"{count(each.num_false, 'false alarm')})"
            for each in bad[:_SHOWN]
        ]
        told.append(f"label next more videos like {', '.join(worst)}{_more(len(bad))}")
    wrong = {kind: number for kind, number in quality.mistakes.counts.items() if kind in ADVICE}
    kind, number = max(wrong.items(), key=lambda pair: pair[1])
    if number:
        told.append(f"most false alarms ({number} of {sum(wrong.values())}): {ADVICE[kind]}")
    if quality.confusions:
        (true, found), number = next(iter(quality.confusions.items()))
        told.append(f"most often mixed up: {true} taken for {found} ({number}x)")
    return told


def _more(number: int) -> str:
    return f" and {number - _SHOWN} more" if number > _SHOWN else ""


def quality_json(quality: EventQuality, scores: Mapping[str, Any]) -> dict[str, Any]:
    """All of it as JSON can hold it; `scores` are the rules by which the events were made."""
    return {
        "tiou": quality.tiou,
        "rules": dict(scores),
        "summary": headline(quality),
        "total": asdict(quality.total),
        "classes": [asdict(each) for each in quality.classes],
        "videos": [asdict(each) for each in quality.videos],
        "mistakes": quality.mistakes.counts,
        "confusions": [
            {"marked": true, "found": found, "times": number}
            for (true, found), number in quality.confusions.items()
        ],
        "advice": advice(quality),
    }
