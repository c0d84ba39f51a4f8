"""Time budgets and agreement as tables: on the terminal, as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from itertools import groupby

from hrpro.cells import to_cell, to_id_cell
from hrpro.pipeline.stats.agreement import Agreement, Comparison, Shift
from hrpro.pipeline.stats.budget import BudgetRow, TimeBudget
from hrpro.wording import clock, count, some

MOST_VIDEOS = 10
MOST_BINS = 60
MOST_COLUMNS = 8
_HEADS = ("n", "per hour", "total s", "share", "mean s", "median", "min", "max", "first s")


def budget_lines(budget: TimeBudget) -> Iterator[str]:
    """The time budget for people: all videos, groups, and what there is room for of the rest."""
    if not budget.classes:
        yield f"{count(budget.num_videos, 'video')}: no events"
        return
    rows = budget.of("all")
    yield from _budget_table(f"{count(budget.num_videos, 'video')}{_observed(rows[0])}", rows)
    for subject in budget.subjects:
        yield ""
        yield from _budget_table(f"subject {subject}", budget.of("all", subject))
    for group, of_group in groupby(budget.of("group"), key=lambda row: row.group):
        yield ""
        rows = list(of_group)
        yield from _budget_table(f"group {group or '(none)'}{_observed(rows[0])}", rows)
    if 1 < budget.num_videos <= MOST_VIDEOS:
        for video, of_video in groupby(budget.of("video"), key=lambda row: row.video):
            yield ""
            all_rows = list(of_video)
            title = f"{video}{_observed(all_rows[0])}"
            if rows := [row for row in all_rows if row.count]:
                yield from _budget_table(title, rows)
            else:
                yield f"{title}: no events"
    elif budget.num_videos > MOST_VIDEOS:
        yield f"the {budget.num_videos} videos one by one: --out budget.csv"
    if bins := budget.of("bin"):
        yield ""
        yield from _bin_lines(bins, budget.classes)
    if budget.unknown:
        yield (
            f"shares and rates are missing where the length of a video is not known "
            f"({some(budget.unknown)}); --videos names their folder"
        )


def budget_csv(budget: TimeBudget) -> str:
    """The time budget as CSV: a row per class of each video, group and bin."""
    names = [each.name for each in fields(BudgetRow)]
    return _csv(names, ([getattr(row, name) for name in names] for row in budget.rows))


def comparison_lines(found: Comparison) -> Iterator[str]:
    """The agreement for people."""
    for which, only in (("first", found.only_a), ("second", found.only_b)):
        if only:
            yield f"only in the {which}, left out: {some(only, 5)}"
    yield (
        f"{count(len(found.videos), 'video')}, {found.num_bins} bins of {found.width_s:g} s; "
        f"events match from tIoU {found.tiou:g} on"
    )
    rows = found.rows
    counts = ("first", "second", "matched", "of first", "of second", "F1")
    heads: Sequence[str] = ("kappa", "same", *counts)
    yield from _table(
        "class",
        heads,
        [
            (
                _label(row),
                (
                    _number(row.kappa, 3) or "undefined",
                    _percent(row.same_bins),
                    str(row.count_a),
                    str(row.count_b),
                    str(row.matched),
                    _percent(row.found_a),
                    _percent(row.found_b),
                    _percent(row.f1),
                ),
            )
            for row in rows
        ],
    )
    yield ""
    yield "how much later the second marks, in seconds"
    edges: list[tuple[str, Callable[[Agreement], Shift | None]]] = [
        ("start", lambda row: row.start),
        ("end", lambda row: row.end),
    ]
    heads = [f"{edge} {what}" for edge, _ in edges for what in ("median", "mean", "SD")]
    table = []
    for row in rows:
        shifts = (edge(row) for _, edge in edges)
        cells = [cell for shift in shifts for cell in _shift_cells(shift)]
        table.append((_label(row), cells))
    yield from _table("class", heads, table)
    if any(row.kappa is None for row in rows):
        yield "kappa is undefined where both see one and the same thing in all bins"
    if found.points:
        yield f"{count(found.points, 'point')} without a length: no bin sees them, none is matched"


def comparison_csv(found: Comparison) -> str:
    """The agreement as CSV: a row for all classes together, and one for each."""
    names = ["kappa", "same_bins", "count_a", "count_b", "matched", "found_a", "found_b", "f1"]
    kinds = ("median_s", "mean_s", "sd_s")

    def cells(row: Agreement) -> Iterator[object]:
        yield "all" if row.label is None else row.label
        yield from (getattr(row, name) for name in names)
        for shift in (row.start, row.end):
            yield from (shift and getattr(shift, kind) for kind in kinds)

    heads = ["label", *names, *(f"{edge}_{kind}" for edge in ("start", "end") for kind in kinds)]
    return _csv(heads, (list(cells(row)) for row in found.rows))


def _budget_table(title: str, rows: Sequence[BudgetRow]) -> Iterator[str]:
    return _table(
        title,
        _HEADS,
        [
            (
                row.label,
                (
                    str(row.count),
                    _number(row.rate_per_h, 1),
                    _number(row.total_s, 1),
                    _percent(row.share),
                    *(
                        _number(value, 2)
                        for value in (row.mean_s, row.median_s, row.min_s, row.max_s)
                    ),
                    _number(row.first_s, 1),
                ),
            )
            for row in rows
        ],
    )


def _bin_lines(rows: Sequence[BudgetRow], classes: Sequence[str]) -> Iterator[str]:
    """Seconds of each class in each bin; a table as wide and long as a terminal is."""
    shown = classes[:MOST_COLUMNS]
    bins = [list(group) for _, group in groupby(rows, key=lambda row: (row.video, row.bin_start_s))]
    yield from _table(
        "seconds in each bin",
        shown,
        [
            (
                f"{group[0].video} {clock(group[0].bin_start_s or 0.0)}",
                [_number(row.total_s, 1) for row in group if row.label in shown],
            )
            for group in bins[:MOST_BINS]
        ],
    )
    if len(bins) > MOST_BINS or len(classes) > len(shown):
        yield f"all {len(bins)} bins of {count(len(classes), 'class', 'classes')}: --out budget.csv"


def _table(
    title: str, heads: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]
) -> Iterator[str]:
    first = max([len(title), *(len(name) for name, _ in rows)])
    widths = [
        max([len(head), *(len(cells[column]) for _, cells in rows)])
        for column, head in enumerate(heads)
    ]
    for name, cells in [(title, heads), *rows]:
        yield f"{name:{first}}  " + "  ".join(
            f"{cell or '-':>{width}}" for cell, width in zip(cells, widths, strict=True)
        )


def _csv(names: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerow(names)
    for row in rows:
        cells = zip(names, row, strict=True)
        table.writerow([_cell(name, value) for name, value in cells])
    return file.getvalue()


def _cell(name: str, value: object) -> object:
    if not isinstance(value, str):
        return value
    return to_id_cell(value) if name == "video" else to_cell(value)


def _observed(row: BudgetRow) -> str:
    return "" if row.observed_s is None else f", {clock(row.observed_s)} observed"


def _label(row: Agreement) -> str:
    return "all classes" if row.label is None else row.label


def _shift_cells(shift: Shift | None) -> list[str]:
    values = (None, None, None) if shift is None else (shift.median_s, shift.mean_s, shift.sd_s)
    return [_number(value, 3, sign="+" if index < 2 else "") for index, value in enumerate(values)]


def _number(value: float | None, digits: int, sign: str = "") -> str:
    return "" if value is None else f"{value:{sign}.{digits}f}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"
