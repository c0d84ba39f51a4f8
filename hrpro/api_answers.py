"""Answers from Python: `clips` and `stats`, the commands as functions; see `hrpro.api`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from hrpro.api import (
    Detections,
    Events,
    Listener,
    OnePath,
    Paths,
    event_options,
    path_of,
    paths_of,
    texts_of,
)

if TYPE_CHECKING:
    from hrpro.pipeline.clips.make import Clips
    from hrpro.pipeline.results.model import Results
    from hrpro.pipeline.stats.run import Stats


def clips(
    result: Paths | Detections,
    out: OnePath | None = None,
    *,
    reel: Literal["class", "video", "all"] | None = None,
    lead_s: float = 0.0,
    lag_s: float = 0.0,
    name: str | None = None,
    copy: bool = False,
    tolerance_s: float = 0.5,
    playlist: OnePath | None = None,
    sheet: OnePath | None = None,
    thumbnails: bool = False,
    videos: OnePath | None = None,
    classes: str | Sequence[str] | None = None,
    events: Events | bool | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> Clips:
    """Cut events out of their videos.

    One bad video costs its own clips: it is in `failed` of what is returned.

    Args:
        result: result files, a folder of them, a dataset folder, or what `detect` returned.
        out: folder of the clips; without, only `playlist` and `sheet` are written.
        reel: one file per class, per video, or for all, instead of one per event.
        lead_s: begin so many seconds before the event.
        lag_s: end so many seconds after it.
        name: template of the names: ``"{video}_{number}_{class}"``.
        copy: copy instead of encoding again where a key frame lies near enough before the begin.
        tolerance_s: with `copy`, a clip may begin so much too early.
        playlist: .m3u8 or .xspf of the events.
        sheet: contact sheet, .jpg or .png.
        thumbnails: a picture beside every clip.
        videos: folder to look for the videos in.
        classes: these only.
        events: what is made of detections; True makes events as the model recommends it, False
            takes every detection. By default the events that there are, else True.
        overwrite: make again what is there.
        progress: tell of each clip on standard error.

    Raises:
        UsageError: wrong arguments, or points and neither lead nor lag.
        HrproError: a file cannot be read or written.
    """
    from hrpro.pipeline.clips.plan import ClipOptions
    from hrpro.pipeline.clips.run import ClipOutputs, clips_of, of_classes

    outputs = ClipOutputs(path_of(out), path_of(playlist), path_of(sheet), thumbnails)
    options = ClipOptions(lead_s, lag_s, name, reel, copy, tolerance_s, overwrite)
    reporter = Listener(progress)
    results = of_classes(
        _results(result, events, reporter), None if classes is None else texts_of(classes)
    )
    return clips_of(results, outputs, options, path_of(videos), reporter)


def stats(
    result: Paths | Detections,
    *,
    bin_s: float | None = None,
    group: OnePath | None = None,
    against: OnePath | Detections | None = None,
    width_s: float = 1.0,
    tiou: float = 0.5,
    out: OnePath | None = None,
    plot: OnePath | None = None,
    videos: OnePath | None = None,
    events: Events | bool | None = None,
    progress: bool = False,
) -> Stats:
    """Measure how often and for how long each action happens, or how far two observers agree.

    Args:
        result: result files, a folder of them, a dataset folder, or what `detect` returned.
        bin_s: also measure each video in bins of so many seconds.
        group: ``"folder"``, or a CSV file with the columns ``video_id`` and ``group``.
        against: the same of a second observer: measure the agreement.
        width_s: with `against`, bins of so many seconds for Cohen's kappa.
        tiou: with `against`, overlap from which on two events are the same.
        out: table to write as well, .csv or .json.
        plot: picture to draw as well, .png.
        videos: folder of the videos, where results do not tell their lengths.
        events: see `clips`.
        progress: tell what is written on standard error.

    Raises:
        UsageError: wrong arguments.
        HrproError: a file cannot be read or written, or no video is in both.
    """
    from hrpro.pipeline.stats.run import StatsOptions, stats_of

    reporter = Listener(progress)
    other = None if against is None else _results(against, events, reporter)
    options = StatsOptions(bin_s, None if group is None else str(group), other, width_s, tiou)
    return stats_of(
        _results(result, events, reporter),
        options,
        out=path_of(out),
        plot=path_of(plot),
        videos=path_of(videos),
        reporter=reporter,
    )


def _results(
    result: Paths | Detections, events: Events | bool | None, reporter: Listener
) -> Results:
    from hrpro.pipeline.gather import gather, with_events

    options = event_options(events)
    if isinstance(result, Detections):
        return with_events(result.results, options)
    return gather(paths_of(result), reporter.problem, options)
