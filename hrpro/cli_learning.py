"""Commands that learn from one's own videos: from a folder to a model that has been measured.

As in `hrpro.cli`, nothing heavy is imported here before a command runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hrpro.cli_shared import (
    EXIT_FAILED,
    Command,
    data_root_option,
    event_options,
    json_option,
    make_reporter,
    need_folder,
    recipe_options,
    show,
    split_list,
    stop_in_order,
    stream_option,
    take,
    take_compute,
    take_events,
    take_recipe,
)
from hrpro.errors import UsageError


@click.command(
    cls=Command,
    epilog="Example: hrpro init tennis --videos footage/ --classes serve,forehand,backhand",
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


@click.command(cls=Command, epilog="Example: hrpro label my_dataset")
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
@stream_option
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


@click.command(
    cls=Command, epilog="Example: hrpro train --dataset thumos --data-root data --run-dir runs/a"
)
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
    help="Choose the method by what is known: fustal, hrpro or student.",
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
@click.option(
    "--compile",
    is_flag=True,
    default=None,
    help="Compile the networks at the start (torch.compile): for long trainings on a GPU.",
)
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
    compile: bool | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Learn to localize from point labels, or from less or more: see --method.

    All stages, then the mAP of the test videos, where these have start and end marks.

    Missing features are extracted first; the options from --streams on say how.
    The run folder is the model: hrpro detect and hrpro eval take it with --model.
    """
    from hrpro.localize.data.catalogue import dataset_folder
    from hrpro.localize.method_names import METHOD_NAMES, unknown_method

    chosen = {"--method": method, "--supervision": supervision, "--compare": compare}
    if len(given := [name for name, value in chosen.items() if value is not None]) > 1:
        raise UsageError(f"{' and '.join(given)} both say what to learn with; give one of them")
    methods = split_list(compare) or []
    for name in methods if method in (None, "auto") else [method]:
        if name not in METHOD_NAMES:
            raise unknown_method(name)
    dataset_folder(dataset, options["data_root"])
    need_folder(options["stage1"], "--stage1-model takes one that 'hrpro train' wrote")
    from hrpro.pipeline.compare import Comparison
    from hrpro.pipeline.compare import compare as compare_methods
    from hrpro.pipeline.train import RunOptions, TrainOutcome
    from hrpro.pipeline.train import train as train_model
    from hrpro.pipeline.workers.launch import WorkerOptions
    from hrpro.pipeline.workers.work import WorkerSettings

    if supervision is not None:
        from hrpro.localize.methods import METHOD_FOR

        method = METHOD_FOR[supervision]
    named = {"seed": seed, "precision": precision, "compile": compile}
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
            outcome = compare_methods(dataset, methods, run_options, **options)
    show(as_json, outcome.to_json, outcome.lines)
    if isinstance(outcome, Comparison) and outcome.failed:
        ctx.exit(EXIT_FAILED)


@click.command(
    "eval", cls=Command, epilog="Example: hrpro eval --model runs/a --dataset thumos --per-class"
)
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
