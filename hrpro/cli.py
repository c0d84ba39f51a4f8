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
    need_folder,
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
from hrpro.errors import UsageError


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


@main.command(
    epilog="Example: hrpro init tennis --videos footage/ --classes serve,forehand,backhand"
)
@click.argument("folder", metavar="NAME", type=click.Path(path_type=Path))
@click.option(
    "--videos",
    type=click.Path(path_type=Path),
    help="Folder of the videos; they stay where they are.",
)
@click.option(
    "--classes",
    "--add-classes",
    "classes",
    multiple=True,
    metavar="A,B,...",
    help="Actions to learn; more can be added at any time.",
)
@click.option(
    "--test-share",
    type=click.FloatRange(0, 1, max_open=True),
    help="Share of the videos to keep for testing (0.25).",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the split.")
@click.option(
    "--resplit", is_flag=True, help="Deal all videos anew, by the classes of their points."
)
@json_option
def init(folder: Path, classes: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Make a dataset folder for videos of your own.

    Settings, splits, and an empty file of points.

    Run it again to take in new videos or to add classes; nothing of yours is overwritten.
    """
    if options["videos"] is not None and not options["videos"].is_dir():
        raise UsageError(f"--videos {options['videos']}: no such folder")
    from hrpro.pipeline.datasets.init import init as init_dataset
    from hrpro.pipeline.datasets.init import split_classes

    names = [name for text in classes for name in split_classes(text)]
    outcome = init_dataset(folder, classes=names, **options)
    show(as_json, lambda: outcome.to_json(), lambda: outcome.lines())


@main.command(epilog="Example: hrpro train --dataset thumos --data-root data --run-dir runs/a")
@click.option("--dataset", required=True, help="A dataset folder, or thumos, gtea, beoid, ...")
@data_root_option
@click.option("--preset", help="Settings by name or .yaml file, not the dataset's own.")
@click.option("--run-dir", type=click.Path(path_type=Path), help="Model folder (runs/DATASET).")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a setting: localize.lr=1e-4.",
)
@click.option(
    "--method",
    help="hrpro, hrpro+student (points), sal, sal+student, fustal (only which actions a video "
    "shows), student (start and end marks), or auto: the best for what is known.",
)
@click.option(
    "--supervision",
    type=click.Choice(["labels", "points", "full"]),
    help="Choose the method by what is known: sal, hrpro or student.",
)
@click.option(
    "--compare",
    metavar="METHOD,...",
    help="Train several methods and compare them, each in a folder of its name.",
)
@click.option("--stage", type=click.IntRange(1), help="Train this stage alone.")
@click.option(
    "--stage1-model",
    "stage1",
    type=click.Path(path_type=Path),
    help="Model folder of earlier stages to build on: RUN/stage1, or that of a generator.",
)
@click.option("--seed", type=click.IntRange(0), help="Same seed, same result (0).")
@click.option("--resume", is_flag=True, help="Go on with an interrupted run; skip what is done.")
@click.option("--device", help="cpu, cuda, cuda:1, ...; by default a GPU if there is one.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "bfloat16"]),
    help="Arithmetic of the training; auto is bfloat16 where that is fast.",
)
@click.option("--deterministic", is_flag=True, help="The same result on a GPU, too; slower.")
@click.option("--allow-mixed", is_flag=True, help="Accept features made with other settings.")
@click.option("--tensorboard/--no-tensorboard", default=True, help="Write scalars for it.")
@click.option(
    "--save-every",
    "save_every_s",
    type=click.FloatRange(0),
    default=60.0,
    show_default=True,
    help="Seconds between checkpoints.",
)
@recipe_options
@json_option
@click.pass_context
def train(
    ctx: click.Context,
    dataset: str,
    overrides: tuple[str, ...],
    method: str | None,
    supervision: str | None,
    compare: str | None,
    seed: int | None,
    precision: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Learn to localize from point labels, or from less or more: see --method.

    All stages, then the mAP of the test videos, where these have start and end marks.

    Missing features are extracted first; the options from --streams on say how.
    The run folder is the model: hrpro detect and hrpro eval take it with --model.
    """
    from hrpro.localize.data.catalogue import dataset_folder

    dataset_folder(dataset, options["data_root"])
    need_folder(options["stage1"], "--stage1-model takes one that 'hrpro train' wrote")
    from hrpro.pipeline.compare import Comparison
    from hrpro.pipeline.compare import compare as compare_methods
    from hrpro.pipeline.train import RunOptions, TrainOutcome
    from hrpro.pipeline.train import train as train_model
    from hrpro.pipeline.workers.launch import WorkerOptions
    from hrpro.pipeline.workers.work import WorkerSettings

    chosen = {"--method": method, "--supervision": supervision, "--compare": compare}
    if len(given := [name for name, value in chosen.items() if value is not None]) > 1:
        raise UsageError(f"{' and '.join(given)} both say what to learn with; give one of them")
    if supervision is not None:
        from hrpro.localize.methods import METHOD_FOR

        method = METHOD_FOR[supervision]
    named = {"seed": seed, "precision": precision}
    overrides += tuple(f"localize.{k}={v}" for k, v in named.items() if v is not None)
    settings = WorkerSettings(take_recipe(options), take_compute(options))
    run_options = take(RunOptions, options)
    options |= {
        "overrides": overrides,
        "settings": settings,
        "workers": WorkerOptions(workers=None),
        "reporter": make_reporter(ctx),
    }
    outcome: TrainOutcome | Comparison
    with stop_in_order():
        if compare is None:
            outcome = train_model(dataset, run_options, method=method, **options)
        else:
            outcome = compare_methods(dataset, split_list(compare) or (), run_options, **options)
    show(as_json, outcome.to_json, outcome.lines)
    if isinstance(outcome, Comparison) and outcome.failed:
        ctx.exit(EXIT_FAILED)


@main.command("eval", epilog="Example: hrpro eval --model runs/a --dataset thumos --per-class")
@click.argument("result", required=False, type=click.Path(path_type=Path))
@click.option("--model", type=click.Path(path_type=Path), help="Model folder to measure.")
@click.option("--dataset", help="Dataset folder, or thumos, gtea, ...: features and ground truth.")
@data_root_option
@click.option("--preset", help="Settings by name or .yaml file, not the dataset's own.")
@click.option(
    "--ground-truth", type=click.Path(path_type=Path), help="ActivityNet JSON, for a result file."
)
@click.option("--subset", help="Subset of the ground truth (test, if it has that).")
@click.option("--exclude", help="Videos of the ground truth to leave out.", metavar="A,B,...")
@click.option(
    "--ambiguous", type=click.Path(path_type=Path), help="Ambiguous_test.txt of THUMOS14."
)
@click.option("--tiou", help="0.5, or 0.3,0.5,0.7, or 0.1:0.1:0.7 (as the dataset has it).")
@click.option(
    "--event-tiou",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.5,
    show_default=True,
    help="Overlap with an action from which on an event is right.",
)
@click.option("--per-class", is_flag=True, help="Average precision of every class, too.")
@event_options
@click.option(
    "-o",
    "--out",
    "outs",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Write the detections of --model: .json .csv .vtt .eaf ... (see convert).",
)
@click.option("--curves", is_flag=True, help="With --out x.json: class activations, for report.")
@click.option("--device", help="cpu, cuda, cuda:1, ...; by default a GPU if there is one.")
@click.option("--allow-mixed", is_flag=True, help="Accept features the model was not trained on.")
@json_option
@click.pass_context
def evaluate(
    ctx: click.Context,
    result: Path | None,
    exclude: str | None,
    per_class: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Measure a model or a result file.

    How many actions are found, with how many false alarms, and how late; the mAP for researchers;
    what helps most.

    \b
    hrpro eval --model RUN --dataset DATASET
    hrpro eval RESULT --dataset DATASET                  by the rules of the data set
    hrpro eval RESULT --ground-truth GT.json [--subset test]
    """
    from hrpro.pipeline.evaluate_options import ModelOptions, TruthOptions, check_request

    options["exclude"] = split_list(exclude) or ()
    against, model = take(TruthOptions, options), options.pop("model")
    how, events = take(ModelOptions, options), take_events(options)
    check_request(result, against, model, how)
    from hrpro.pipeline.evaluate import evaluate as run  # PyTorch: not for a wrong request

    evaluation = run(
        result,
        against,
        model=model,
        options=how,
        events=events,
        reporter=make_reporter(ctx),
    )
    show(as_json, lambda: evaluation.to_json(), lambda: evaluation.lines(per_class))


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


@main.command(epilog="Example: hrpro label my_dataset")
@click.argument("dataset", type=click.Path(path_type=Path), metavar="DATASET")
@click.option(
    "--model", type=click.Path(path_type=Path), help="Model folder: offer what it finds, too."
)
@click.option("--port", type=click.IntRange(1, 65535), help="Port of this machine (a free one).")
@click.option(
    "--reaction-time",
    "reaction_s",
    type=click.FloatRange(0, 5),
    metavar="S",
    help="Seconds from an action to your key press (as in dataset.yaml, else 0.2).",
)
@click.option("--no-browser", is_flag=True, help="Print the address only.")
@click.pass_context
def label(ctx: click.Context, dataset: Path, no_browser: bool, **options: Any) -> None:
    """Mark actions on a local web page.

    Play, press the key of the class, done.

    Every key press is on disk at once (points.csv), so Ctrl-C or closing the page loses nothing.
    Without --model, suggestions that an earlier one has made are offered again.
    """
    from hrpro.pipeline.label.serve import label as serve

    options["reporter"] = make_reporter(ctx)
    serve(dataset, browser=not no_browser, announce=click.echo, **options)


@main.command(epilog="Example: hrpro doctor")
@click.option("--device", help="Whose arithmetic to check: cpu, cuda, ...; a GPU if there is one.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
    default="auto",
    show_default=True,
    help="In which numbers to check it.",
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


for each in (clips, stats, watch, features, dataset, weights):
    main.add_command(each)
