"""What the commands share: options, error handling, exit codes, printing."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hrpro.compute import ComputeOptions
from hrpro.errors import HrproError, UsageError
from hrpro.wording import one_line

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from hrpro.pipeline.console.progress import Reporter, Summary
    from hrpro.pipeline.results.events import EventOptions
    from hrpro.pipeline.workers.launch import WorkerOptions

Bundle = TypeVar("Bundle", bound="DataclassInstance")

EXIT_FAILED = 1
"""Some inputs failed, the others are done."""
EXIT_USAGE = 2
"""Nothing could be done: wrong options or unusable input."""
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143

HOW_TO_GO_ON = {
    "clips": "; run the same command again to go on",
    "detect": "; run the same command again to go on",
    "extract": "; run the same command again to go on",
    "train": "; run the same command again with --resume to go on",
}
"""What Ctrl-C tells the user, for the commands that can go on where they stopped."""


class Terminated(KeyboardInterrupt):
    """SIGTERM: a cluster wants the machine back, or somebody ended the process."""


@contextmanager
def stop_in_order() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the block by an exception, so that it can clean up.

    Also where Ctrl-C would be ignored, as in a job that a shell script put in the background.
    Further signals do not disturb the cleaning.
    """
    stops: dict[int, type[KeyboardInterrupt]] = {
        signal.SIGINT: KeyboardInterrupt,
        signal.SIGTERM: Terminated,
    }

    def stop(number: int, frame: object) -> None:
        for each in stops:
            signal.signal(each, signal.SIG_IGN)
        raise stops[number]

    before = {number: signal.signal(number, stop) for number in stops}
    stopped = False
    try:
        yield
    except KeyboardInterrupt:
        stopped = True
        raise
    finally:
        if not stopped:  # else the process is about to end, undisturbed
            for number, handler in before.items():
                signal.signal(number, handler)


class Command(click.Command):
    """A command with the options that every command has, and errors of one line."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.params += [
            click.Option(["-v", "--verbose"], is_flag=True, help="Say more."),
            click.Option(["-q", "--quiet"], is_flag=True, help="Only errors and results."),
            click.Option(["--debug"], is_flag=True, help="Show the stack trace of an error."),
        ]
        self.context_settings.setdefault("help_option_names", ["-h", "--help"])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; turn what a user can put right into one line and an exit code."""
        debug = ctx.params.pop("debug")
        ctx.obj = {name: ctx.params.pop(name) for name in ("verbose", "quiet")}
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            what, code = "interrupted", EXIT_INTERRUPTED
            if isinstance(stop, Terminated):
                what, code = "terminated", EXIT_TERMINATED
            click.echo(f"{what}{HOW_TO_GO_ON.get(ctx.command.name or '', '')}", err=True)
            ctx.exit(code)
        except BrokenPipeError:
            ctx.exit(0)  # the reader of our output, head for example, has seen enough
        except HrproError as error:
            if debug:
                raise
            click.echo(f"error: {one_line(error)}", err=True)
            ctx.exit(EXIT_USAGE)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            if debug:
                raise
            text = f"internal error: {type(error).__name__}: {one_line(error)}"
            click.echo(f"{text} (--debug shows where)", err=True)
            ctx.exit(EXIT_FAILED)


class Group(click.Group):
    """A group whose commands are `Command`s."""

    command_class = Command
    group_class = type

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.context_settings.setdefault("help_option_names", ["-h", "--help"])


def make_reporter(ctx: click.Context) -> Reporter:
    """Return a reporter as talkative as ``-v`` and ``-q`` want it."""
    from hrpro.pipeline.console.progress import Reporter

    return Reporter(quiet=ctx.obj["quiet"], verbose=ctx.obj["verbose"])


def print_json(value: Any) -> None:
    """Print JSON on standard output."""
    click.echo(json.dumps(value, indent=1, ensure_ascii=False))


def show(as_json: bool, to_json: Callable[[], Any], to_lines: Callable[[], Iterable[str]]) -> None:
    """Print a result, for a machine or for people."""
    if as_json:
        print_json(to_json())
    else:
        click.echo("\n".join(to_lines()))


def finish(ctx: click.Context, summary: Summary, as_json: bool) -> None:
    """Print what a batch did and leave with the exit code that says whether all went well."""
    if as_json:
        print_json(summary.as_dict())
    elif not ctx.obj["quiet"]:
        click.echo("\n".join(summary.lines()))
    if summary.failed or summary.poisoned:
        ctx.exit(EXIT_FAILED)


def need_files(*paths: Path | None) -> None:
    """Refuse files that are not there, before anything heavy is imported.

    Raises:
        UsageError: names the first.
    """
    for path in paths:
        if path is not None and not path.is_file():
            raise UsageError(f"{path}: no such file")


def need_folder(path: Path | None, remedy: str) -> None:
    """Refuse a folder that is not there, before anything heavy is imported.

    Raises:
        UsageError: there is none.
    """
    if path is not None and not path.is_dir():
        raise UsageError(f"{path}: no such folder; {remedy}")


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for a machine.")

data_root_option = click.option(
    "--data-root",
    type=click.Path(path_type=Path),
    default=".",
    show_default=True,
    help="Where the folders of public data sets are.",
)


def extractor_options(function: Callable) -> Callable:
    """Options of every command that runs the networks."""
    options = [
        click.option("--device", help="cpu, cuda, cuda:1, ...; by default a GPU if there is one."),
        click.option(
            "--precision",
            type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
            default="auto",
            show_default=True,
            help="Arithmetic of the networks; auto is the fastest that keeps the features.",
        ),
        click.option(
            "--batch-size",
            type=click.IntRange(1),
            help="Snippets per forward pass of a network (CPU 2, GPU 32).",
        ),
        click.option(
            "--compile",
            is_flag=True,
            help="Compile the networks at the start (torch.compile): for long runs on a GPU.",
        ),
        click.option(
            "--convolutions",
            type=click.Choice(["3d", "2d"]),
            help="How I3D is computed; 2d is meant for GPUs, as one CUDA graph (3d).",
        ),
        click.option(
            "--convert",
            type=click.Choice(["cpu", "device"]),
            help="Where pictures are converted and resized (a GPU does it itself).",
        ),
        click.option(
            "--decode",
            type=click.Choice(["auto", "cpu", "gpu"]),
            help="What decodes; gpu is NVIDIA's decoder, where it can (auto is cpu).",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def worker_options(function: Callable) -> Callable:
    """Options of every command that spreads videos over workers."""
    options = [
        click.option(
            "--workers",
            type=click.IntRange(0),
            metavar="N",
            help="Worker processes (one per GPU, else 1); 0: none, a crash ends the run.",
        ),
        click.option(
            "--engine",
            type=click.Choice(["local", "ray"]),
            default="local",
            show_default=True,
            help="Where workers run: on this machine, or on a Ray cluster.",
        ),
        click.option(
            "--address", help="Ray cluster: auto, or HOST:PORT; a small one is started without."
        ),
        click.option(
            "--stall-timeout",
            "stall_timeout_s",
            type=click.FloatRange(0),
            default=600.0,
            show_default=True,
            metavar="S",
            help="End a worker whose video gets no further for so long; 0 waits for ever.",
        ),
        click.option(
            "--retry-poisoned", is_flag=True, help="Try videos that crashed their worker twice."
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def recipe_options(function: Callable) -> Callable:
    """Options that change the features themselves."""
    options: list[Callable[[Callable], Callable]] = [
        click.option(
            "--streams", help="rgb, flow or rgb,flow (all whose weights are there).", metavar="LIST"
        ),
        click.option(
            "--backbone",
            help="Network: i3d, i3d_r50, slow_r50, x3d_xs, x3d_s, x3d_m or x3d_l (i3d).",
            metavar="NAME",
        ),
        click.option(
            "--flow",
            help="Optical flow: dis, farneback, tvl1, raft or raft-small (dis).",
            metavar="NAME",
        ),
        click.option(
            "--flow-bits",
            type=int,
            help="8 rounds the flow to 256 steps, as the published feature sets do.",
        ),
        click.option(
            "--flow-weights",
            type=click.Choice(["kinetics400", "cross-modal"]),
            help="cross-modal makes a flow stream out of the RGB weights where none can be had.",
        ),
        click.option("--fps", help="Frames per second: 25, 30000/1001, native, ... (25)."),
        click.option("--snippet", type=int, help="Frames per snippet (16)."),
        click.option(
            "--stride", type=int, help="Frames between the starts of snippets (16; detect: 8)."
        ),
        click.option(
            "--short-side", type=int, help="Pixels of the short side (256; x3d has its own)."
        ),
        click.option("--crop", type=int, help="Pixels of the centre crop (224; x3d has its own)."),
        stream_option,
    ]
    for option in reversed(options):
        function = option(function)
    return function


def stream_option(function: Callable) -> Callable:
    """Add ``--stream``."""
    return click.option(
        "--stream",
        type=click.IntRange(0),
        help="Number of the video stream in the file, sound included, from 0 (the one that is no "
        "thumbnail; then the longest, the default one, the largest).",
        metavar="N",
    )(function)


classes_option = click.option(
    "--classes", help="These only, separated by commas.", metavar="A,B,..."
)

min_score_option = click.option(
    "--min-score",
    type=float,
    default=0.05,
    show_default=True,
    help="Leave out what scores lower; 0 keeps everything.",
)


def result_options(function: Callable) -> Callable:
    """Options that choose which detections are written and shown."""
    options = [
        click.option("--plot", type=click.Path(path_type=Path), help="Timeline picture (.png)."),
        click.option(
            "--ground-truth",
            type=click.Path(path_type=Path),
            help="ActivityNet JSON, shown beside the detections.",
        ),
        classes_option,
        min_score_option,
        click.option("--top-k", type=click.IntRange(1), help="At most this many per video."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def event_options(function: Callable) -> Callable:
    """Options that say what is made of detections for people."""
    options = [
        click.option(
            "--events/--all",
            default=None,
            help="One event per action, or all detections; .json has both.",
        ),
        click.option(
            "--threshold",
            multiple=True,
            metavar="[CLASS=]SCORE",
            help="Score from which on it is an event (as the model recommends); repeatable.",
        ),
        click.option(
            "--min-duration",
            "min_duration_s",
            type=click.FloatRange(0),
            metavar="S",
            help="Leave out events shorter than this many seconds.",
        ),
        click.option(
            "--merge-gap",
            "merge_gap_s",
            type=click.FloatRange(0),
            metavar="S",
            help="Make one of events of a class that are less than this many seconds apart.",
        ),
        click.option(
            "--exclusive/--no-exclusive",
            default=None,
            help="One class at a time: where two overlap, the higher score wins.",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


RECIPE_KEYS = (
    "streams", "backbone", "flow", "flow_bits", "flow_weights",
    "fps", "snippet", "stride", "short_side", "crop", "stream",
)  # fmt: skip


def take_recipe(options: dict[str, Any]) -> dict[str, Any]:
    """Move the recipe options that were given out of a command's options."""
    taken = {key: options.pop(key) for key in RECIPE_KEYS}
    return {key: value for key, value in taken.items() if value is not None}


def take_compute(options: dict[str, Any]) -> ComputeOptions:
    """Move the options of `extractor_options` that a command has out of its options."""
    return take(ComputeOptions, options)


def take_workers(options: dict[str, Any]) -> WorkerOptions:
    """Move the options of `worker_options` out of a command's options."""
    from hrpro.pipeline.workers.launch import WorkerOptions

    return take(WorkerOptions, options)


def take_events(options: dict[str, Any]) -> EventOptions:
    """Move the options of `event_options` out of a command's options."""
    from hrpro.pipeline.results.events import EventOptions

    return take(EventOptions, options)


def take(kind: type[Bundle], options: dict[str, Any]) -> Bundle:
    """Move the options that are fields of a dataclass into one."""
    names = [each.name for each in fields(kind) if each.name in options]
    return kind(**{name: options.pop(name) for name in names})


def split_list(text: str | None) -> list[str] | None:
    """Cut a list that was typed with commas."""
    return [part.strip() for part in text.split(",") if part.strip()] if text else None
