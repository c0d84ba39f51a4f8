"""Tables of mean average precision, as lines of text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hrpro.localize.data.protocol import THUMOS_TIOUS
from hrpro.localize.evaluation.average_precision import AveragePrecision
from hrpro.localize.evaluation.mistakes import FalsePositives
from hrpro.wording import count as counted

_LOW_HIGH = ((0.1, 0.5), (0.3, 0.7))
"""Part averages that the literature gives beside that over 0.1 to 0.7."""


def averages(precision: AveragePrecision) -> dict[str, float]:
    """Averages of mAP over ranges of tIoU, by the name of the range; the whole range last."""
    tious = precision.tious
    ranges = list(_LOW_HIGH) if tious == THUMOS_TIOUS else []
    ranges.append((tious[0], tious[-1]))
    return {f"{low:g}:{high:g}": precision.average_between(low, high) for low, high in ranges}


def map_lines(rows: Mapping[str, AveragePrecision]) -> list[str]:
    """Return a table of mAP in percent: a line per name, a column per tIoU and average."""
    first = next(iter(rows.values()))
    heads = [f"{tiou:g}" for tiou in first.tious] + [f"avg {name}" for name in averages(first)]
    table = {
        name: [*precision.mean, *averages(precision).values()] for name, precision in rows.items()
    }
    return _lines("mAP at tIoU", heads, table)


def class_lines(precision: AveragePrecision) -> list[str]:
    """Return a table of average precision in percent: a line per class."""
    heads = [f"{tiou:g}" for tiou in precision.tious] + ["avg"]
    columns = dict(zip(precision.classes, precision.per_class.T, strict=True))
    table = {name: [*column, column.mean()] for name, column in columns.items()}
    return _lines("AP at tIoU", heads, table)


def mistake_lines(found: FalsePositives) -> list[str]:
    """Return what kinds of events there are, one a line."""
    total = sum(found.counts.values())
    width = max(map(len, found.counts))
    lines = [f"the {counted(total, 'event')}, at tIoU {found.tiou:g}:"]
    for kind, count in found.counts.items():
        lines.append(f"  {kind:{width}}  {count:7d}  {100 * found.shares[kind]:5.1f} %")
    return lines


def _lines(title: str, heads: list[str], table: Mapping[str, list[Any]]) -> list[str]:
    width = max(map(len, (title, *table)))
    widths = [max(len(head), 5) for head in heads]
    lines = [
        f"{title:{width}}  "
        + "  ".join(f"{head:>{w}}" for head, w in zip(heads, widths, strict=True))
    ]
    for name, values in table.items():
        cells = (f"{100 * value:{w}.2f}" for value, w in zip(values, widths, strict=True))
        lines.append(f"{name:{width}}  " + "  ".join(cells))
    return lines
