"""The command line: parse, call, print. All work is done in ``hrpro.pipeline``.

Nothing heavy is imported here before a command runs, so that ``hrpro -h`` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hrpro import __version__
from hrpro.cli_answers import clips, stats, watch
from hrpro.cli_files import dataset, features, weights
from hrpro.cli_learning import evaluate, init, label, train
from hrpro.cli_shared import (
    EXIT_FAILED,
    Group,
    data_root_option,
    event_options,
    extractor_options,
    finish,
    json_option,
    make_reporter,
    need_files,
    print_json,
    recipe_options,
    result_options,
    show,
    split_list,
    stop_in_order,
    stream_option,
    take,
    take_compute,
    take_events,
    take_recipe,
    take_workers,
    worker_options,
)


@click.group(cls=Group)
@click.version_option(__version__, "-V", "--version", prog_name="hrpro")
def main() -> None:
    """Find what happens when in untrimmed video; learn new actions from one click per action.

    \b
    hrpro detect my_video.mp4 --out result.json     400 everyday actions, no training
    hrpro demo                                      the whole loop on a small example
    hrpro doctor                                    what is missing, and how to get it
    """


@main.command(epilog="Example: hrpro extract videos/ -o features/ --streams rgb,flow")
@click.argument("inputs", nargs=-1, metavar="VIDEO|FOLDER|GLOB...")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="Target folder (features/, in a dataset its own).",
)
@recipe_options
@extractor_options
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float16"]),
    default="float32",
    show_default=True,
    help="Numbers in the files.",
)
@click.option("--overwrite", is_flag=True, help="Extract again what is there.")
@click.option("--strict", is_flag=True, help="Fail on truncated videos instead of keeping a part.")
@worker_options
@click.option(
    "--shard",
    metavar="I/N",
    help="Only part I of N: $SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT, from 1.",
)
@click.option("--status", is_flag=True, help="Show how far it is; start nothing.")
@json_option
@click.pass_context
def extract(
    ctx: click.Context,
    inputs: tuple[str, ...],
    out: Path | None,
    shard: str | None,
    status: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Compute features of videos.

    Each gets one .npy and one sidecar .json that says how it was made.

    What is done already is skipped, so an interrupted run is resumed by the same command. Several
    runs, also on several machines, can share a target folder.
    """
    if not inputs and not (status and out):
        raise click.MissingParameter(ctx=ctx, param=ctx.command.params[0])
    if status:
        from hrpro.pipeline.workers.status import extraction_status

        found = extraction_status(inputs, out, reporter=make_reporter(ctx))
        show(as_json, found.to_json, found.lines)
        return
    from hrpro.pipeline.extract import extract_features
    from hrpro.pipeline.workers.sharding import Shard
    from hrpro.pipeline.workers.work import WorkerSettings

    recipe, compute = take_recipe(options), take_compute(options)
    settings = WorkerSettings(
        recipe, compute, strict=options.pop("strict"), dtype=options.pop("dtype")
    )
    with stop_in_order():
        summary = extract_features(
            inputs,
            out=out,
            settings=settings,
            workers=take_workers(options),
            shard=Shard.parse(shard) if shard else None,
            reporter=make_reporter(ctx),
            **options,
        )
    finish(ctx, summary, as_json)


@main.command(epilog="Example: hrpro detect my_video.mp4 --out result.json --render preview.mp4")
@click.argument("inputs", nargs=-1, required=True, metavar="VIDEO|FOLDER|GLOB...")
@click.option(
    "-o",
    "--out",
    "outs",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Result file; repeat it for several formats: .json .csv .vtt .eaf ... (see convert).",
)
@click.option("--model", help="A model folder; the built-in kinetics400 without it.")
@click.option("--render", type=click.Path(path_type=Path), help="Annotated preview (.mp4).")
@click.option("--report", type=click.Path(path_type=Path), help="Web page of the results (.html).")
@click.option("--clips", type=click.Path(path_type=Path), help="Folder: a clip of every event.")
@result_options
@event_options
@recipe_options
@extractor_options
@click.option("--strict", is_flag=True, help="Fail on truncated videos instead of using a part.")
@click.option("--allow-mixed", is_flag=True, help="Accept features the model was not trained on.")
@worker_options
@click.option(
    "--work-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep here what is done of each video (beside the first output, until all is done).",
)
@click.option(
    "--features",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of features that are there already (those of a dataset are found without).",
)
@click.option(
    "--resume", is_flag=True, help="Take over what the result file (.json) of an earlier run holds."
)
@json_option
@click.pass_context
def detect(
    ctx: click.Context,
    inputs: tuple[str, ...],
    outs: tuple[Path, ...],
    render: Path | None,
    report: Path | None,
    clips: Path | None,
    plot: Path | None,
    ground_truth: Path | None,
    classes: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Find actions in videos and write them with their times.

    Without --model this looks for the 400 everyday actions of Kinetics; no training is needed.
    With it, the features are made like those the model was trained on.

    Result files hold what is done at any time; an interrupted run is resumed by the same command.
    """
    from hrpro.annotations import read_ground_truth
    from hrpro.pipeline.detect import detect_videos, result_lines
    from hrpro.pipeline.detectors.base import DetectOptions
    from hrpro.pipeline.outputs import OutputPlan
    from hrpro.pipeline.results.model import to_json
    from hrpro.pipeline.workers.work import WorkerSettings

    truth = read_ground_truth(ground_truth) if ground_truth else None
    names = split_list(classes)
    options["classes"] = tuple(names) if names else None
    events = take_events(options)
    recipe, compute = take_recipe(options), take_compute(options)
    plan = OutputPlan(
        outs, render, plot, truth, report=report, stream=recipe.get("stream"), clips=clips
    )
    with stop_in_order():
        results, summary = detect_videos(
            inputs,
            plan,
            take(DetectOptions, options),
            events=events,
            settings=WorkerSettings(recipe, compute, strict=options.pop("strict")),
            workers=take_workers(options),
            reporter=make_reporter(ctx),
            **options,
        )
    show(as_json, lambda: to_json(results), lambda: result_lines(results))
    if summary.failed or summary.poisoned or summary.taken:
        if not ctx.obj["quiet"]:
            click.echo("\n".join(summary.lines()), err=True)
        ctx.exit(EXIT_FAILED)


@main.command(epilog="Example: hrpro report result.json -o report.html")
@click.argument(
    "results", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RESULT..."
)
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path), help="Web page (.html)."
)
@click.option("--dataset", help="Dataset folder or name to measure on: adds mAP and mistakes.")
@data_root_option
@click.option(
    "--ground-truth", type=click.Path(path_type=Path), help="ActivityNet JSON to measure on."
)
@click.option("--subset", help="Subset of the ground truth (test, if it has that).")
@click.option("--videos", type=click.Path(path_type=Path), help="Folder to look for the videos in.")
@click.option(
    "--embed-mb",
    type=click.FloatRange(0),
    default=12.0,
    show_default=True,
    help="Put videos into the page up to this size together; the others are linked.",
)
@event_options
@click.pass_context
def report(ctx: click.Context, results: tuple[Path, ...], embed_mb: float, **options: Any) -> None:
    """Make a web page of result files.

    Videos, timelines, tables, and mAP if there is something to measure on.

    Several result files get a page each and an index that compares them.
    """
    from hrpro.pipeline.report.paths import check_report_path

    check_report_path(options["out"])
    need_files(*results, options["ground_truth"])
    from hrpro.pipeline.report.write import report as write_report  # PyTorch, for the mAP

    reporter = make_reporter(ctx)
    written = write_report(
        results,
        embed_bytes=int(embed_mb * 1e6),
        events=take_events(options),
        tell=reporter.problem,
        **options,
    )
    for path in written:
        reporter.line(f"wrote {path}")


@main.command(epilog="Example: hrpro render match.mp4 result.json -o preview.mp4")
@click.argument("video", type=click.Path(path_type=Path))
@click.argument("result", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Preview.")
@result_options
@event_options
@click.option("--max-height", type=click.IntRange(64), help="Scale down to this many lines.")
@stream_option
@click.pass_context
def render(
    ctx: click.Context,
    video: Path,
    result: Path,
    out: Path,
    plot: Path | None,
    ground_truth: Path | None,
    classes: str | None,
    max_height: int | None,
    stream: int | None,
    **limits: Any,
) -> None:
    """Draw the detections of a result file over their video."""
    from hrpro.annotations import read_ground_truth
    from hrpro.pipeline.outputs import OutputPlan, result_of_video

    truth = read_ground_truth(ground_truth) if ground_truth else None
    plan = OutputPlan(
        render=out, plot=plot, ground_truth=truth, max_height=max_height, stream=stream
    )
    plan.check([video, result])
    reporter = make_reporter(ctx)
    results = result_of_video(result, video, reporter.problem)
    wanted = split_list(classes)
    present = {detection.label for detection in results.videos[0].detections}
    if absent := sorted(set(wanted or ()) - present):
        reporter.problem(f"warning: --classes: {result} has no {', '.join(absent)} in this video")
    results = take_events(limits).apply(results)
    plan.write_pictures(results.filter(classes=wanted, **limits), reporter)


@main.command(epilog="Example: hrpro convert project.boris points.csv")
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--fps", help="Frames per second of the videos: 25, 29.97, 30000/1001, ...")
@click.option(
    "--video",
    "videos",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Video that IN is about; tells frame rate, length and place. Repeat it for several.",
)
@click.option("--timecode", help="Timecode of the first frame, if IN counts so: 10:30:00:00.")
@click.option("--points", is_flag=True, help="Make the middle of every action a point.")
@click.option("--from", "source_format", metavar="FORMAT", help="Format of IN: eaf, points.csv.")
@click.option("--to", "target_format", metavar="FORMAT", help="Format of OUT.")
@event_options
@click.pass_context
def convert(ctx: click.Context, fps: str | None, **options: Any) -> None:
    """Turn labels or detections into the file of another tool.

    The suffix decides; .json and .csv are read by what is in them. Several videos become several
    files where a file holds one. IN may be a dataset folder: all that people have labelled in it.
    Of a result file with events, those are written; --all writes every detection, and the options
    from --threshold on make events anew.

    \b
    .json  .csv                   detections: ActivityNet JSON, table
    annotations.json  points.csv  labels: ground truth, point labels
    .boris                        BORIS project
    .eaf  .TextGrid               ELAN, Praat
    .labelstudio.json             Label Studio
    .vtt  .srt                    subtitles
    .otio  .edl                   video editors: OpenTimelineIO, CMX 3600
    """
    from hrpro.pipeline.convert import convert as run
    from hrpro.pipeline.results.interchange.rates import parse_rate

    reporter = make_reporter(ctx)

    def tell(line: str) -> None:
        (reporter.problem if line.startswith("warning:") else reporter.line)(line)

    rate = parse_rate(fps) if fps else None
    for path in run(fps=rate, events=take_events(options), tell=tell, **options):
        reporter.line(f"wrote {path}")


@main.command(epilog="Example: hrpro demo")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    default="hrpro-demo",
    show_default=True,
    help="Folder for everything the demo makes.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of videos and training.")
@click.option("--videos", type=click.IntRange(8), help="Training videos to draw (24).")
@click.option("--set", "overrides", multiple=True, metavar="A.B=C", help="As in hrpro train.")
@click.option("--device", help="cpu, cuda, ...; by default a GPU if there is one.")
@json_option
@click.pass_context
def demo(
    ctx: click.Context, out: Path, seed: int, videos: int | None, as_json: bool, **options: Any
) -> None:
    """Go through the whole loop on a small example.

    Draw videos, extract, train, evaluate, detect.

    Takes one to two minutes on two CPU cores. The network weights are fetched the first time.
    """
    from hrpro.pipeline.demo.run import demo_lines, run_demo

    if videos:
        options.update(num_train=videos, num_test=max(3, videos // 3))
    compute = take_compute(options)
    outcome = run_demo(out, seed=seed, compute=compute, reporter=make_reporter(ctx), **options)
    show(as_json, lambda: outcome.as_dict(), lambda: demo_lines(outcome))


@main.command(epilog="Example: hrpro doctor")
@click.option("--device", help="Whose arithmetic to check: cpu, cuda, ...; a GPU if there is one.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
    default="auto",
    show_default=True,
    help="In which numbers to check it.",
)
@click.option(
    "--convolutions",
    type=click.Choice(["3d", "2d"]),
    help="Which form of I3D to check (3d).",
)
@json_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool, **options: Any) -> None:
    """Show what is installed, what is missing and how to fix it; check the arithmetic."""
    from dataclasses import asdict

    from hrpro.pipeline.doctor import diagnose

    checks = diagnose(**options)
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            click.echo(f"{check.status:8}{check.name:{width + 2}}{check.detail}")
            if check.remedy:
                click.echo(f"{'':{width + 10}}-> {check.remedy}")
    if any(check.status == "missing" for check in checks):
        ctx.exit(EXIT_FAILED)


for each in (init, label, train, evaluate, clips, stats, watch, features, dataset, weights):
    main.add_command(each)
