"""Which files a detection run writes: results by suffix, previews, plots and the report.

What draws is imported when something is to be drawn, so that workers start at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hrpro.annotations import VideoAnnotation
from hrpro.errors import DataError, VideoError
from hrpro.pipeline.console.progress import Reporter
from hrpro.pipeline.render.palette import result_colors
from hrpro.pipeline.results.formats import (
    check_outputs,
    paths_by_video,
    read_results,
)
from hrpro.pipeline.results.model import Results, VideoResult
from hrpro.video_ids import KnownVideos, video_id_of
from hrpro.wording import some


@dataclass(frozen=True)
class OutputPlan:
    """Everything that was asked for with ``--out``, ``--render``, ``--plot`` and ``--report``."""

    results: tuple[Path, ...] = ()
    render: Path | None = None
    plot: Path | None = None
    ground_truth: Mapping[str, VideoAnnotation] | None = None
    """Drawn beside the detections, by video id."""
    max_height: int | None = None
    """Scale previews down to this many lines."""
    report: Path | None = None
    """Web page; it shows the class activation curves, too."""
    stream: int | None = None
    """Which of several video streams previews show."""
    clips: Path | None = None
    """Folder for a video file of every event."""

    def check(self, inputs: Sequence[Path]) -> None:
        """Refuse outputs that could not be written, before the work begins.

        Raises:
            UsageError: unknown suffix, unwritable folder, an output that is also an input.
        """
        if self.render is not None:
            from hrpro.pipeline.render.preview import check_preview_path

            check_preview_path(self.render)
        if self.plot is not None:
            from hrpro.pipeline.render.plot import check_plot_path

            check_plot_path(self.plot)
        if self.report is not None:
            from hrpro.pipeline.report.paths import check_report_path

            check_report_path(self.report)
        if self.clips is not None:
            from hrpro.pipeline.clips.run import ClipOutputs

            ClipOutputs(self.clips)
        check_outputs(self.results, list(self.paths())[len(self.results) :], inputs)

    def paths(self) -> Iterator[Path]:
        """All that is asked for, result files first."""
        yield from self.results
        yield from (path for path in (self.report, self.render, self.plot) if path is not None)

    def write_pictures(
        self, results: Results, reporter: Reporter, video_ids: Sequence[str] | None = None
    ) -> None:
        """Write the report; render plots and previews, files of its own for each video.

        Plots and previews show the events, where there are any; the report knows both.

        Args:
            results: what was found.
            reporter: where progress goes.
            video_ids: of all videos of the run, if `results` may lack some.
        """
        shown = results.for_people()
        names = [video.video_id for video in results.videos]
        known = self.ground_truth or {}
        truth = {
            name: known[match.video_id]
            for name, match in KnownVideos(known).match_all(names).items()
            if match.video_id is not None
        }
        true = {action.label for annotation in truth.values() for action in annotation.actions}
        colors = result_colors(results, true)

        def of(target: Path) -> Iterator[tuple[VideoResult, Path]]:
            paths = paths_by_video(target, video_ids or names)
            return ((video, paths[video.video_id]) for video in shown.videos)

        if self.report is not None:
            from hrpro.pipeline.evaluate import Truth
            from hrpro.pipeline.report.write import write_run

            measured = Truth({name: truth[name] for name in names if name in truth})
            write_run(self.report.stem, results, self.report, measured)
            reporter.line(f"wrote {self.report}")
        if self.plot is not None:
            from hrpro.pipeline.render.plot import plot_timeline

            for video, path in of(self.plot):
                annotation = truth.get(video.video_id)
                plot_timeline(video, path, annotation.actions if annotation else None, colors)
                reporter.line(f"wrote {path}")
        if self.render is not None:
            from hrpro.pipeline.render.preview import render_preview

            with reporter.batch("render", len(names), len(names)):
                for index, (video, path) in enumerate(of(self.render)):
                    annotation = truth.get(video.video_id)
                    render_preview(
                        video.path or video.video_id,
                        video.detections,
                        path,
                        ground_truth=annotation.actions if annotation else None,
                        colors=colors,
                        max_height=self.max_height,
                        progress=_bar(reporter, index),
                        stream=self.stream,
                    )
                    reporter.line(f"wrote {path}")
        if self.clips is not None:
            from hrpro.pipeline.clips.run import ClipOutputs, clips_of

            reporter.line(clips_of(results, ClipOutputs(self.clips), reporter=reporter).line())


def _bar(reporter: Reporter, index: int) -> Callable[[float, float], None]:
    """Return what moves the bar of a batch of previews while that number `index` is drawn."""

    def progress(done_s: float, duration_s: float) -> None:
        reporter.advance(index, index + (done_s / duration_s if duration_s else 0.0))

    return progress


def result_of_video(
    result: Path, video: Path, tell: Callable[[str], None] | None = None
) -> Results:
    """The part of a result file that belongs to a video, found by its name.

    A file with one video is taken to be about this one, whatever its name.

    Raises:
        VideoError: there is no such video.
        DataError: the file has several videos and none of this name.
        HrproError: the file cannot be read.
    """
    if not video.is_file():
        raise VideoError(f"{video}: no such file")
    results = read_results(result, tell=tell)
    by_id = {each.video_id: each for each in results.videos}
    match = KnownVideos(by_id).match(os.path.abspath(video))  # noqa: PTH100 (keeps links)
    of_path = [each for each in results.videos if each.path == str(video)]
    if len(of_path) == 1:
        (found,) = of_path
    elif match.video_id is not None:
        found = by_id[match.video_id]
    elif len(by_id) == 1:
        (found,) = results.videos
        if tell is not None:
            tell(f"warning: {result} is about {found.video_id}; taken to be {video.name}")
    elif match.problem and match.near is None:
        raise DataError(f"{result}: {match.problem}")
    else:
        known = some(by_id, 5)
        name = video_id_of(video.name)
        raise DataError(f"{result}: has no single result for {name}; it has {known}")
    return Results((replace(found, path=str(video)),), results.model)
