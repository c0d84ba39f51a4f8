"""``hrpro detect``: videos in, labelled and timed actions out."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from hrpro.errors import HrproError, UsageError
from hrpro.extract.sources import find_videos
from hrpro.pipeline.console.progress import Reporter, Summary
from hrpro.pipeline.detectors.base import DetectOptions
from hrpro.pipeline.detectors.earlier import result_to_resume, take_over
from hrpro.pipeline.detectors.parts import ResultParts
from hrpro.pipeline.detectors.stored import check_features, detect_in_stored, feature_folders
from hrpro.pipeline.detectors.worker import build_detection
from hrpro.pipeline.outputs import OutputPlan
from hrpro.pipeline.results.events import DEFAULT_THRESHOLD, EventOptions, recommended_rules
from hrpro.pipeline.results.growing import GrowingResults
from hrpro.pipeline.results.model import Results, VideoResult
from hrpro.pipeline.workers.agenda import Assignment
from hrpro.pipeline.workers.launch import WorkerOptions, running_engine
from hrpro.pipeline.workers.leases import Visit
from hrpro.pipeline.workers.ledger import Ledger
from hrpro.pipeline.workers.supervisor import Supervisor
from hrpro.pipeline.workers.work import WorkerSettings
from hrpro.videos_folder import LeftOut
from hrpro.wording import clock, count

_VISITS = ".runs"
"""Where runs that share a folder of parts show that they are there."""


def detect_videos(
    inputs: Sequence[str],
    plan: OutputPlan,
    options: DetectOptions | None = None,
    *,
    events: EventOptions | None = None,
    settings: WorkerSettings | None = None,
    workers: WorkerOptions | None = None,
    work_dir: Path | None = None,
    features: Path | None = None,
    resume: bool = False,
    retry_poisoned: bool = False,
    reporter: Reporter | None = None,
) -> tuple[Results, Summary]:
    """Detect actions in everything `inputs` name and write the outputs of `plan`.

    One bad video costs that video. The result files hold what is done at any time, and the same
    call goes on where an interrupted one stopped: what is done lies in a folder, a part for each
    video, until all videos are done.

    Args:
        inputs: video files, folders, globs or dataset folders.
        plan: what to write where.
        options: the model, and what to report.
        events: how events are made of what is found; by default as the model recommends it.
        settings: the recipe, what to compute on, what to do about truncated videos.
        workers: where and how many; by default this process does the work itself.
        work_dir: keep the parts here, for later runs and for other processes and machines. By
            default they lie beside the first output, and are removed when everything is done.
        features: folder of features that are there already; those of a dataset are found without.
            They are used where they fit the model and the video.
        resume: take over what the result file (.json) of an earlier run holds, if the same model
            has found it and the video has not changed since.
        retry_poisoned: try videos again that crashed their worker twice.
        reporter: where progress goes; silent by default.

    Raises:
        UsageError: wrong options, no videos, outputs that cannot be written.
        DataError: the model is damaged, or the features are not those it was trained on.
        HrproError: outputs cannot be written, workers cannot be kept alive, or the program or the
            device has failed.
    """
    reporter = reporter or Reporter(quiet=True)
    options = replace(options or DetectOptions(), curves=plan.report is not None)
    settings = replace(settings or WorkerSettings(), show_download=not reporter.quiet)
    events = _events_wanted(events or EventOptions(), options)
    left_out = LeftOut()
    sources = find_videos(inputs, left_out)
    if left_out:
        reporter.line(left_out.line())
    workers = (workers or WorkerOptions()).at_most(len(sources))
    plan.check([source.path for source in sources])
    earlier = result_to_resume(plan.results) if resume else None
    folders = [features] if features is not None else feature_folders(inputs, sources)
    if features is not None:
        check_features(features, options)
    with _folder_of_parts(work_dir, plan) as folder, closing(Visit(folder / _VISITS)) as visit:
        parts = ResultParts(sources, folder)
        ledger = Ledger(folder, reporter.problem)
        growing = GrowingResults(plan.results, [parts.video_ids[source.key] for source in sources])
        if ledger.folder.exists() and visit.is_alone():  # of a run that did not come to its end
            growing.remove_leftovers()
        collected: set[str] = set()

        def collect(summary: Summary) -> None:
            for key in {*summary.skipped, *summary.done} - collected:
                say = reporter.line if not collected else reporter.detail
                growing.add(*_with_events(*parts.read(key), events, say))
                collected.add(key)
            growing.write_soon()

        if earlier is not None and (number := take_over(earlier, sources, parts)):
            told = count(len(sources), "video")
            reporter.line(f"{earlier} has {number} of {told}; what was made otherwise is made anew")
        stored = detect_in_stored(sources, parts, folders, options, settings)
        if stored:
            told = count(len(sources), "video")
            reporter.line(f"features of {len(stored)} of {told} are there already")
        summary = Summary(done=stored)
        try:
            if len(stored) < len(sources):
                with running_engine(workers, settings, partial(build_detection, options)) as engine:
                    summary = Supervisor(
                        engine,
                        Assignment("detect", sources, parts, ledger, retry_poisoned=retry_poisoned),
                        reporter=reporter,
                        stall_timeout_s=workers.stall_timeout_s,
                        watch=collect,
                    ).run()
                summary.skipped = [key for key in summary.skipped if key not in stored]
                summary.done = sorted((*summary.done, *stored))
        except BaseException:
            with suppress(HrproError):  # the first error is the one to be told
                growing.write()
            _announce(growing.written, reporter)
            raise
        collect(summary)
        growing.write()
        _announce(growing.written, reporter)
        results = growing.results
        if results.videos:
            plan.write_pictures(results, reporter, growing.video_ids)
        all_done = not (summary.failed or summary.poisoned or summary.taken)
        visit.close()  # first: of several that leave at once, one has to be the last
        if work_dir is None and all_done and visit.is_alone():
            shutil.rmtree(folder, ignore_errors=True)
    return results, summary


def _events_wanted(events: EventOptions, options: DetectOptions) -> EventOptions:
    """Events unless all detections are asked for.

    Raises:
        UsageError: thresholds below the scores that are reported at all.
    """
    lowest = min(events.asked_thresholds, default=options.min_score)
    if lowest < options.min_score:
        raise UsageError(
            f"--threshold {lowest:g} asks for more than is reported: add --min-score {lowest:g}"
        )
    return replace(events, events=events.events is not False)


def _with_events(
    video: VideoResult, model: dict[str, Any], events: EventOptions, say: Callable[[str], None]
) -> tuple[VideoResult, dict[str, Any]]:
    if events.events and not events.threshold and recommended_rules(model) is None:
        say(
            f"note: the model recommends no score for events; {DEFAULT_THRESHOLD:g} is taken "
            "(--threshold asks for another)"
        )
    made = events.apply(Results((video,), model), model.get("classes") or ())
    return made.videos[0], made.model


@contextmanager
def _folder_of_parts(work_dir: Path | None, plan: OutputPlan) -> Iterator[Path]:
    """The folder for what is done: the given one, one beside the outputs, or for this run alone."""
    if work_dir is not None:
        yield work_dir
    elif beside := next(plan.paths(), None):
        yield beside.with_name(f".{beside.name[:60]}.parts")
    else:
        with tempfile.TemporaryDirectory(prefix="hrpro-detect-") as folder:
            yield Path(folder)


def _announce(paths: Sequence[Path], reporter: Reporter) -> None:
    for path in paths:
        reporter.line(f"wrote {path}")


def result_lines(results: Results, most: int = 20) -> list[str]:
    """What happens when, for people: the events of every video in time order, and how many."""
    lines = []
    for video in results.videos:
        found = video.spans
        labels = Counter(each.label for each in found)
        counts = ", ".join(f"{number} {label}" for label, number in labels.most_common(10))
        kind = "detection" if video.events is None else "event"
        told = f"{count(len(found), kind)}: {counts}" if found else f"no {kind}s"
        lines.append(f"{video.video_id} ({video.duration_s or 0:.1f} s): {told}")
        if not found and video.detections:
            best = video.detections[0]
            lines.append(
                f"  nothing scores high enough; the best is {best.label} at "
                f"{clock(best.start_s)} with {best.score:.2f} (--threshold, or --all)"
            )
        lines += [
            f"  {each.start_s:8.2f} - {each.end_s:8.2f} s  {each.score:5.2f}  {each.label}"
            for each in found[:most]
        ]
        if len(found) > most:
            lines.append(f"  ... and {len(found) - most} more")
    return lines
