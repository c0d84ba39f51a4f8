"""A picture of what was found in one video: a timeline with a row for each class."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from hrpro.files import atomic_path, check_kind
from hrpro.pipeline.render.fonts import font_for
from hrpro.pipeline.render.overlay import Span, ranked_classes
from hrpro.pipeline.render.palette import class_colors
from hrpro.pipeline.results.model import VideoResult
from hrpro.wording import clock

PLOT_SUFFIXES = (".png", ".pdf", ".svg")
MAX_ROWS = 40
TRUTH_COLOUR = "#d55e00"
GREY = "#8c8c8c"
"""Of a detection in the legend and the scale, which stand for all classes."""


def plot_timeline(
    result: VideoResult,
    out_path: str | Path,
    ground_truth: Iterable[Span] | None = None,
    colors: Mapping[str, str] | None = None,
) -> None:
    """Draw the detections of one video over time, in the colour of their class, by score.

    There is a row for each class, those of the ground truth first, then by best score; at most 40.
    The higher a score, the darker its bar.

    Args:
        result: what was found in the video.
        out_path: the picture; .png, .pdf or .svg.
        ground_truth: the true actions, drawn beneath the detections of their class.
        colors: ``#rrggbb`` by class; by default as `class_colors` chooses for these.

    Raises:
        UsageError: `out_path` has another suffix.
        HrproError: the picture cannot be written.
    """
    out_path = Path(out_path)
    check_plot_path(out_path)
    truth = None if ground_truth is None else list(ground_truth)
    classes = ranked_classes(result.detections, truth or ())
    hidden = max(0, len(classes) - MAX_ROWS)
    classes = classes[:MAX_ROWS]
    rows = max(1, len(classes))
    figure = Figure(
        figsize=(12, 1.7 + (0.5 if truth is None else 0.62) * rows), layout="constrained"
    )
    axes = figure.add_subplot()
    top_score = max([1.0, *(found.score for found in result.detections)])
    scale = Normalize(0, top_score)
    _draw_spans(axes, classes, result, truth, scale, colors or class_colors(classes))
    _label_axes(axes, classes, hidden, result, truth)
    if classes:
        figure.colorbar(
            ScalarMappable(scale, _shades(GREY)), ax=axes, label="score", pad=0.01, fraction=0.02
        )
    save_figure(figure, out_path)


def save_figure(figure: Figure, out_path: Path) -> None:
    """Write a figure; the suffix decides how.

    Raises:
        HrproError: it cannot be written.
    """
    with atomic_path(out_path) as temporary, warnings.catch_warnings():
        # A character that no font of this machine has becomes a box; the plot is of use still.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(temporary, dpi=120)


def check_plot_path(path: str | Path) -> None:
    """Refuse a plot name of an unknown kind, before hours of work are spent.

    Raises:
        UsageError: the suffix is none that can be drawn.
    """
    check_kind(path, PLOT_SUFFIXES, "a plot")


def _draw_spans(
    axes: Axes,
    classes: Sequence[str],
    result: VideoResult,
    truth: Sequence[Span] | None,
    scale: Normalize,
    colors: Mapping[str, str],
) -> None:
    """Fill row k, which reaches from k - 0.5 to k + 0.5: detections, the truth beneath them."""
    below = 0.4 if truth is None else 0.12
    for row, label in enumerate(classes):
        found = sorted(
            (found for found in result.detections if found.label == label),
            key=lambda found: found.score,  # the best last, so that it is on top
        )
        shades = _shades(colors[label])(scale([detection.score for detection in found]))
        # The outline keeps a second visible in an hour.
        _bars(axes, found, row - 0.4, row + below, facecolors=shades, edgecolors=shades)
        actions = [action for action in truth or () if action.label == label]
        _bars(axes, actions, row + 0.18, row + 0.4, color=TRUTH_COLOUR)


def _bars(axes: Axes, spans: Sequence[Span], top: float, bottom: float, **style: Any) -> None:
    ranges = [(span.start_s, span.end_s - span.start_s) for span in spans]
    axes.broken_barh(ranges, (top, bottom - top), linewidth=0.8, **style)


def _shades(color: str) -> Colormap:
    """From pale, but not lost on white paper, to the colour and a little darker than it."""
    full = np.array(to_rgb(color))
    return LinearSegmentedColormap.from_list("score", [0.7 + 0.3 * full, full, 0.8 * full])


def _label_axes(
    axes: Axes,
    classes: Sequence[str],
    hidden: int,
    result: VideoResult,
    truth: Sequence[Span] | None,
) -> None:
    # parse_math=False: a dollar sign in a label is a dollar sign.
    font = FontProperties(fname=font_for([*classes, result.video_id]), size=9)
    spans: list[Span] = [*result.detections, *(truth or ())]
    ends_s = [span.end_s for span in spans]
    axes.set_xlim(0, result.duration_s or max(ends_s, default=1.0) or 1.0)
    axes.set_ylim(max(1, len(classes)) - 0.5, -0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=12, steps=[1, 2, 3, 6, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda time_s, _: _tick(time_s)))
    names = ["\n".join(textwrap.wrap(c, 32, max_lines=2, placeholder=" …")) for c in classes]
    axes.set_yticks(range(len(classes)), names, fontproperties=font, parse_math=False)
    axes.set_yticks(np.arange(len(classes) + 1) - 0.5, minor=True)
    axes.grid(axis="y", which="minor", color="0.85", linewidth=0.6)
    axes.grid(axis="x", color="0.9", linewidth=0.6)
    axes.tick_params(axis="y", which="both", length=0)
    axes.set_axisbelow(True)
    title = textwrap.shorten(result.video_id, 90, placeholder=" …")
    if hidden:
        title += f"   (the best {len(classes)} of {len(classes) + hidden} classes)"
    axes.set_title(title, fontproperties=font, fontsize=10, loc="left", parse_math=False)
    if not classes:
        axes.text(0.5, 0.5, "nothing found", transform=axes.transAxes, ha="center", va="center")
    if truth is not None:
        kinds = [Patch(color=GREY, label="found"), Patch(color=TRUTH_COLOUR, label="truth")]
        axes.legend(
            handles=kinds,
            loc="lower right",
            bbox_to_anchor=(1, 1),
            ncols=2,
            frameon=False,
            fontsize=9,
        )


def _tick(time_s: float) -> str:
    fraction = f"{time_s % 1:.2f}"[1:].rstrip("0").rstrip(".")
    return clock(time_s) + fraction
