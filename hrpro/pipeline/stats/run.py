"""``hrpro stats``: time budgets of results, or the agreement of two observers."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hrpro.errors import UsageError, VideoError
from hrpro.extract.probe import probe
from hrpro.files import check_kind, check_writable, write_json, write_text
from hrpro.pipeline.console.progress import Reporter
from hrpro.pipeline.render.palette import result_colors
from hrpro.pipeline.results.model import Results, VideoResult
from hrpro.pipeline.stats.agreement import Comparison, compare_observers
from hrpro.pipeline.stats.budget import TimeBudget, time_budget
from hrpro.pipeline.stats.groups import groups_of
from hrpro.pipeline.stats.tables import budget_csv, budget_lines, comparison_csv, comparison_lines
from hrpro.pipeline.video_files import VideoFiles

if TYPE_CHECKING:
    import pandas as pd

TABLE_SUFFIXES = (".csv", ".json")


@dataclass(frozen=True)
class StatsOptions:
    """What to measure.

    Raises:
        UsageError: options that do not go together.
    """

    bin_s: float | None = None
    """Also measure each video in bins of so many seconds."""
    group: str | None = None
    """``folder``, or a table of groups; see `groups_of`."""
    against: Results | None = None
    """Of a second observer: measure the agreement."""
    width_s: float = 1.0
    """Of the bins of the agreement, in seconds."""
    tiou: float = 0.5
    """Overlap from which on two events are a pair."""

    def __post_init__(self) -> None:
        if self.against is not None and (self.bin_s is not None or self.group is not None):
            raise UsageError("--against measures agreement; --bin and --group do not go with it")


@dataclass(frozen=True)
class Stats:
    """What was measured: one of the two."""

    budget: TimeBudget | None = None
    comparison: Comparison | None = None

    def to_json(self) -> dict[str, Any]:
        """For ``--json`` and JSON files."""
        measured = self.budget or self.comparison
        return measured.to_json() if measured is not None else {}

    def lines(self) -> Iterator[str]:
        """For people."""
        if self.budget is not None:
            yield from budget_lines(self.budget)
        if self.comparison is not None:
            yield from comparison_lines(self.comparison)

    def to_dataframe(self) -> pd.DataFrame:
        """A row per time budget, or per class of the agreement; see `csv` for the columns."""
        import pandas as pd

        if self.budget is not None:
            return self.budget.to_dataframe()
        return pd.read_csv(io.StringIO(self.csv()))

    def csv(self) -> str:
        """As a table."""
        if self.budget is not None:
            return budget_csv(self.budget)
        return comparison_csv(self.comparison) if self.comparison is not None else ""


def stats_of(
    results: Results,
    options: StatsOptions | None = None,
    *,
    out: Path | None = None,
    plot: Path | None = None,
    videos: Path | None = None,
    reporter: Reporter | None = None,
) -> Stats:
    """Measure what happens in results.

    Args:
        results: their `spans` are the events.
        options: what to measure.
        out: write the table here, too: .csv or .json.
        plot: draw it here: .png.
        videos: folder of the videos, where the results do not tell their lengths.
        reporter: where names of files go.

    Raises:
        UsageError: options that do not go together, names that do not fit.
        HrproError: a file cannot be written, or no video is in both.
    """
    options, reporter = options or StatsOptions(), reporter or Reporter(quiet=True)
    check_outputs(options, out, plot)
    results = _with_lengths(results, videos)
    if options.against is not None:
        other = _with_lengths(options.against, videos)
        comparison = compare_observers(results, other, width_s=options.width_s, tiou=options.tiou)
        stats = Stats(comparison=comparison)
    else:
        groups = groups_of(results, options.group) if options.group is not None else None
        stats = Stats(budget=time_budget(results, groups, options.bin_s))
    if out is not None:
        if out.suffix.lower() == ".json":
            write_json(out, stats.to_json())
        else:
            write_text(out, stats.csv())
        reporter.line(f"wrote {out}")
    if plot is not None and stats.budget is not None:
        from hrpro.pipeline.stats.plot import plot_budget

        plot_budget(stats.budget, plot, result_colors(results, stats.budget.classes))
        reporter.line(f"wrote {plot}")
    return stats


def check_outputs(options: StatsOptions, out: Path | None, plot: Path | None) -> None:
    """Refuse tables and plots that could not be written.

    Raises:
        UsageError: a name or folder that does not fit, or a plot of an agreement.
    """
    if out is not None:
        check_kind(out, TABLE_SUFFIXES, "a table")
        check_writable(out)
    if plot is not None:
        from hrpro.pipeline.render.plot import check_plot_path

        if options.against is not None:
            raise UsageError("--plot draws time budgets; it does not go with --against")
        check_plot_path(plot)
        check_writable(plot)


def _with_lengths(results: Results, folder: Path | None) -> Results:
    """Ask the files of the videos how long they are, where the results do not tell."""
    files = VideoFiles(folder)
    return replace(results, videos=tuple(_with_length(video, files) for video in results.videos))


def _with_length(video: VideoResult, files: VideoFiles) -> VideoResult:
    path = None if video.duration_s is not None else files.find(video)
    if path is None:
        return video
    try:
        info = probe(path)
    except VideoError:
        return video  # the table says whose length is missing
    return replace(video, duration_s=info.end_s, start_s=info.start_s)
