"""Commands that answer questions about what was found: how often, for how long, show me.

As in `hrpro.cli`, nothing heavy is imported here before a command runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hrpro.cli_shared import (
    EXIT_FAILED,
    Command,
    classes_option,
    event_options,
    extractor_options,
    json_option,
    make_reporter,
    min_score_option,
    print_json,
    recipe_options,
    show,
    split_list,
    stop_in_order,
    take,
    take_compute,
    take_events,
    take_recipe,
    take_workers,
    worker_options,
)

results_argument = click.argument(
    "results",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path),
    metavar="RESULT...",
)
videos_option = click.option(
    "--videos",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder to look for the videos in.",
)


@click.command(cls=Command, epilog="Example: hrpro clips result.json -o clips/ --lead 1 --lag 1")
@results_argument
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Folder of the clips.")
@click.option(
    "--reel",
    type=click.Choice(["class", "video", "all"]),
    help="One file per class, per video, or for all, instead of one per event.",
)
@click.option("--lead", "lead_s", type=click.FloatRange(0), default=0.0, metavar="S",
    help="Begin so many seconds before the event.")  # fmt: skip
@click.option("--lag", "lag_s", type=click.FloatRange(0), default=0.0, metavar="S",
    help="End so many seconds after it.")  # fmt: skip
@click.option(
    "--name",
    metavar="TEMPLATE",
    help="Of the files: {video} {class} {number} {start} {end} {duration} {score} {subject} "
    "{modifiers}; a slash makes folders ({video}_{number}_{class}).",
)
@click.option(
    "--copy",
    is_flag=True,
    help="Copy instead of encoding again, where a key frame lies near enough before the begin.",
)
@click.option(
    "--tolerance",
    "tolerance_s",
    type=click.FloatRange(0),
    default=0.5,
    show_default=True,
    metavar="S",
    help="With --copy: a clip may begin so much too early.",
)
@click.option("--playlist", type=click.Path(path_type=Path),
    help="Playlist of the events (.m3u8, .xspf); needs no clips.")  # fmt: skip
@click.option("--sheet", type=click.Path(path_type=Path),
    help="Contact sheet: a picture of every event (.jpg, .png).")  # fmt: skip
@click.option("--thumbnails", is_flag=True, help="A picture beside every clip.")
@videos_option
@classes_option
@event_options
@click.option("--overwrite", is_flag=True, help="Make again what is there.")
@json_option
@click.pass_context
def clips(
    ctx: click.Context,
    results: tuple[Path, ...],
    classes: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Cut events out of their videos: a file per event, reels, a playlist, a contact sheet.

    Clips are encoded again, exact to a picture; --copy avoids that where it can, and says where it
    cannot. The title of each file tells what it is, its comment the original times.
    """
    from hrpro.pipeline.clips.plan import ClipOptions
    from hrpro.pipeline.clips.run import ClipOutputs, clips_of, of_classes
    from hrpro.pipeline.gather import gather

    reporter, events = make_reporter(ctx), take_events(options)
    outputs, wanted = take(ClipOutputs, options), take(ClipOptions, options)
    found = of_classes(gather(results, reporter.problem, events), split_list(classes))
    with stop_in_order():
        made = clips_of(found, outputs, wanted, options["videos"], reporter)
    if as_json:
        print_json(made.to_json())
    elif outputs.out is not None:
        reporter.line(made.line())
    if made.failed:
        ctx.exit(EXIT_FAILED)


_STATS = ("bin_s", "group", "width_s", "tiou")


@click.command(cls=Command, epilog="Example: hrpro stats result.json --bin 60 -o budget.csv")
@results_argument
@click.option(
    "--bin",
    "bin_s",
    type=float,
    metavar="S",
    help="Measure each video in bins of so many seconds, too.",
)
@click.option(
    "--group",
    metavar="folder|FILE",
    help="Also measure groups of videos: by their folders, or a CSV with video_id,group.",
)
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Write the table (.csv, .json).")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw it (.png).")
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    help="A second observer's results: measure how far both agree.",
)
@click.option(
    "--width",
    "width_s",
    type=float,
    default=1.0,
    show_default=True,
    metavar="S",
    help="With --against: bins of so many seconds for Cohen's kappa.",
)
@click.option(
    "--tiou",
    type=float,
    default=0.5,
    show_default=True,
    help="With --against: overlap from which on two events are the same.",
)
@videos_option
@event_options
@json_option
@click.pass_context
def stats(ctx: click.Context, results: tuple[Path, ...], as_json: bool, **options: Any) -> None:
    """Measure how often and for how long each action happens; compare two observers.

    RESULT is a result file, a file of another tool, a folder of result files or a dataset folder.

    \b
    hrpro stats RESULT...                      time budget per class, video, group, bin
    hrpro stats ANNA.json --against BEN.json   kappa, matched events, timing
    """
    from hrpro.pipeline.gather import gather
    from hrpro.pipeline.stats.run import StatsOptions, stats_of

    reporter, events = make_reporter(ctx), take_events(options)
    against = options.pop("against")
    other = gather([against], reporter.problem, events) if against is not None else None
    measured = stats_of(
        gather(results, reporter.problem, events),
        StatsOptions(against=other, **{name: options.pop(name) for name in _STATS}),
        reporter=reporter,
        **options,
    )
    show(as_json, measured.to_json, measured.lines)


@click.command(
    cls=Command, epilog="Example: hrpro watch incoming/ --model runs/tennis --out found/"
)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path), help="Folder of the results."
)
@click.option("--model", help="A model folder; the built-in kinetics400 without it.")
@click.option(
    "--format",
    "formats",
    multiple=True,
    default=("json",),
    show_default=True,
    metavar="SUFFIX",
    help="What to write of each video; repeat it: json, csv, eaf, ... (see convert).",
)
@click.option("--clips", is_flag=True, help="Cut the events out of each video, too.")
@click.option(
    "--settle",
    "settle_s",
    type=click.FloatRange(0),
    metavar="S",
    default=10.0,
    show_default=True,
    help="A file is complete when it has not changed for so many seconds.",
)
@click.option(
    "--poll",
    "poll_s",
    type=click.FloatRange(0, min_open=True),
    default=2.0,
    show_default=True,
    metavar="S",
    help="Look through the folder this often.",
)
@classes_option
@min_score_option
@event_options
@recipe_options
@extractor_options
@click.option("--strict", is_flag=True, help="Fail on truncated videos instead of using a part.")
@click.option("--allow-mixed", is_flag=True, help="Accept features the model was not trained on.")
@worker_options
@click.pass_context
def watch(ctx: click.Context, folder: Path, out: Path, classes: str | None, **options: Any) -> None:
    """Detect in the videos of a folder as they arrive, until Ctrl-C or SIGTERM.

    Each video gets a result file of its own as soon as it is complete. One that still grows is left
    alone; one that fails is told of once, and tried again when it changes. Start it again, and it
    goes on where it was.
    """
    from hrpro.pipeline.detectors.base import DetectOptions
    from hrpro.pipeline.watch import WatchOptions
    from hrpro.pipeline.watch import watch as run
    from hrpro.pipeline.workers.work import WorkerSettings

    options.pop("retry_poisoned")
    names = split_list(classes)
    options["classes"] = tuple(names) if names else None
    watching, events = take(WatchOptions, options), take_events(options)
    recipe, compute = take_recipe(options), take_compute(options)
    settings = WorkerSettings(recipe, compute, strict=options.pop("strict"))
    reporter = make_reporter(ctx)
    try:
        with stop_in_order():
            run(
                folder,
                out,
                take(DetectOptions, options),
                watching,
                events=events,
                settings=settings,
                workers=take_workers(options),
                reporter=reporter,
            )
    except KeyboardInterrupt:  # the way to end it
        reporter.line("ended")
