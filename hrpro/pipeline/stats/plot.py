"""A picture of a time budget: time and number of events per class, and over time."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import FuncFormatter, MaxNLocator

from hrpro.pipeline.render.fonts import font_for
from hrpro.pipeline.render.plot import MAX_ROWS, save_figure
from hrpro.pipeline.stats.budget import BudgetRow, TimeBudget
from hrpro.wording import clock


def plot_budget(budget: TimeBudget, out_path: Path, colors: Mapping[str, str]) -> None:
    """Draw bars of the time that each class takes; below them, if there are bins, time by time.

    Bins of several videos are added up.

    Args:
        budget: what to draw.
        out_path: the picture; the suffix decides.
        colors: ``#rrggbb`` by class.

    Raises:
        HrproError: the picture cannot be written.
    """
    rows = sorted(budget.of("all"), key=lambda row: -row.total_s)[:MAX_ROWS]
    bins = budget.of("bin")
    heights = [max(1.2, 0.36 * len(rows) + 0.8), *([2.6] if bins else [])]
    figure = Figure(figsize=(9, sum(heights)), layout="constrained")
    axes = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    font = FontProperties(fname=font_for(budget.classes), size=9)
    _draw_classes(axes[0], rows, colors, font)
    if bins:
        _draw_bins(axes[1], bins, [row.label for row in rows], colors)
    save_figure(figure, out_path)


def _draw_classes(
    axes: Axes, rows: Sequence[BudgetRow], colors: Mapping[str, str], font: FontProperties
) -> None:
    bars = axes.barh(
        range(len(rows)), [row.total_s for row in rows], color=[colors[row.label] for row in rows]
    )
    notes = [
        f"{row.count}x" + ("" if row.share is None else f", {100 * row.share:.1f} %")
        for row in rows
    ]
    axes.bar_label(bars, notes, padding=4, fontsize=8, color="0.35")
    names = ["\n".join(textwrap.wrap(r.label, 32, max_lines=2, placeholder=" …")) for r in rows]
    axes.set_yticks(range(len(rows)), names, fontproperties=font, parse_math=False)
    axes.invert_yaxis()
    axes.margins(x=0.18)
    axes.set_xlabel("seconds")
    _plain(axes)
    if not rows:
        axes.text(0.5, 0.5, "nothing happens", transform=axes.transAxes, ha="center", va="center")


def _draw_bins(
    axes: Axes, bins: Sequence[BudgetRow], labels: Sequence[str], colors: Mapping[str, str]
) -> None:
    ends = [row.bin_end_s for row in bins if row.bin_end_s is not None]
    starts = sorted({row.bin_start_s or 0.0 for row in bins})
    width_s = starts[1] - starts[0] if len(starts) > 1 else max(ends, default=1.0)
    bottoms = dict.fromkeys(starts, 0.0)
    for label in labels:
        totals = dict.fromkeys(starts, 0.0)
        for row in bins:
            if row.label == label:
                totals[row.bin_start_s or 0.0] += row.total_s
        axes.bar(
            starts,
            [totals[start] for start in starts],
            width=width_s,
            bottom=[bottoms[start] for start in starts],
            align="edge",
            color=colors[label],
            edgecolor="white",
            linewidth=0.5,
        )
        bottoms = {start: bottoms[start] + totals[start] for start in starts}
    axes.xaxis.set_major_locator(MaxNLocator(nbins=12, steps=[1, 2, 3, 6, 10], integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda time_s, _: clock(time_s)))
    axes.set_ylabel("seconds per bin")
    axes.margins(x=0.01)
    _plain(axes)


def _plain(axes: Axes) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(axis="both", color="0.92", linewidth=0.6)
    axes.set_axisbelow(True)
