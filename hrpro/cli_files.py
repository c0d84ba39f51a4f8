"""Groups of commands that look after files: features, data sets, weights.

As in `hrpro.cli`, nothing heavy is imported here before a command runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hrpro.cli_shared import (
    EXIT_FAILED,
    Group,
    data_root_option,
    json_option,
    make_reporter,
    print_json,
    show,
)
from hrpro.errors import UsageError
from hrpro.wording import megabytes


@click.group(cls=Group)
def features() -> None:
    """Look into feature files."""


@features.command("info", epilog="Example: hrpro features info features/my_video.npy")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@json_option
def features_info(paths: tuple[Path, ...], as_json: bool) -> None:
    """Show shape, value range and fingerprint of feature files."""
    for path in paths:
        if not path.exists():
            raise UsageError(f"{path}: no such feature file")
    from hrpro.pipeline.feature_files import describe_features, features_info_lines

    infos = [describe_features(path) for path in paths]
    if as_json:
        print_json(infos)
        return
    for info in infos:
        click.echo("\n".join(features_info_lines(info)))


@features.command("compare", epilog="Example: hrpro features compare mine.npy published.npy")
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@json_option
def features_compare(first: Path, second: Path, as_json: bool) -> None:
    """Compare two feature files of one video, per stream."""
    from hrpro.pipeline.feature_files import compare_features, features_compare_lines

    comparison = compare_features(first, second)
    show(as_json, lambda: comparison, lambda: features_compare_lines(comparison))


@click.group(cls=Group)
def dataset() -> None:
    """Data sets: list, check, fetch."""


@dataset.command("list", epilog="Example: hrpro dataset list --data-root data")
@data_root_option
@json_option
def dataset_list(data_root: Path, as_json: bool) -> None:
    """Show the public data sets and whether they are here."""
    from hrpro.pipeline.datasets.public import known_datasets

    rows = known_datasets(data_root)
    show(
        as_json,
        lambda: [row.to_json() for row in rows],
        lambda: [line for row in rows for line in row.lines()],
    )


@dataset.command("check", epilog="Example: hrpro dataset check my_dataset")
@click.argument("name", metavar="FOLDER|NAME")
@data_root_option
@click.option("--preset", help="Settings by name or .yaml file, not the dataset's own.")
@click.option("--allow-mixed", is_flag=True, help="Accept features made with other settings.")
@json_option
@click.pass_context
def dataset_check(ctx: click.Context, name: str, as_json: bool, **options: Any) -> None:
    """Say what training still needs, and the next command."""
    from hrpro.localize.data.catalogue import dataset_folder, find_known

    if find_known(name) is None:
        dataset_folder(name, options["data_root"])
    from hrpro.pipeline.datasets.public import check  # PyTorch, to read features

    report = check(name, **options)
    show(as_json, lambda: report.to_json(), lambda: report.lines())
    if not report.ok:
        ctx.exit(EXIT_FAILED)


@dataset.command("fetch", epilog="Example: hrpro dataset fetch thumos --data-root data")
@click.argument("name", metavar="NAME")
@data_root_option
@json_option
@click.pass_context
def dataset_fetch(ctx: click.Context, name: str, data_root: Path, as_json: bool) -> None:
    """Download a public data set, and say what is left to do."""
    from hrpro.pipeline.datasets.public import fetch

    outcome = fetch(name, data_root, make_reporter(ctx).line)
    show(as_json, lambda: outcome.to_json(), lambda: outcome.lines())
    if not outcome.complete:
        ctx.exit(EXIT_FAILED)


@dataset.group("classes", cls=Group)
def classes() -> None:
    """Classes of a dataset: list, rename, merge, delete, order, set.

    Points, start and end marks, suggestions and settings follow.
    """


def _edit_classes(folder: Path, as_json: bool, **edit: Any) -> None:
    from pydantic import TypeAdapter

    from hrpro.pipeline.label.class_requests import ClassEdit
    from hrpro.pipeline.label.classes_command import class_lines, edit_classes

    wanted: ClassEdit = TypeAdapter(ClassEdit).validate_python(edit)
    rows = edit_classes(folder, wanted)
    show(as_json, lambda: rows, lambda: class_lines(rows))


folder_argument = click.argument("folder", type=click.Path(path_type=Path))


@classes.command("list", epilog="Example: hrpro dataset classes list my_dataset")
@folder_argument
@json_option
def classes_list(folder: Path, as_json: bool) -> None:
    """Show name, key, colour, number of labels and description of every class."""
    from hrpro.pipeline.label.classes_command import class_lines, list_classes

    rows = list_classes(folder)
    show(as_json, lambda: rows, lambda: class_lines(rows))


@classes.command("rename", epilog="Example: hrpro dataset classes rename my_dataset Kick Kicking")
@folder_argument
@click.argument("name")
@click.argument("to", metavar="NEW")
@json_option
def classes_rename(folder: Path, name: str, to: str, as_json: bool) -> None:
    """Give a class another name, wherever it stands."""
    _edit_classes(folder, as_json, type="rename", name=name, to=to)


@classes.command(
    "merge", epilog="Example: hrpro dataset classes merge my_dataset Jog Run --into Run"
)
@folder_argument
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--into", required=True, help="Name of the one class: one of them, or another.")
@json_option
def classes_merge(folder: Path, names: tuple[str, ...], into: str, as_json: bool) -> None:
    """Make one class of several."""
    _edit_classes(folder, as_json, type="merge", names=names, into=into)


@classes.command("delete", epilog="Example: hrpro dataset classes delete my_dataset Jog")
@folder_argument
@click.argument("name")
@click.option("--with-labels", is_flag=True, help="Delete its points and intervals, too.")
@json_option
def classes_delete(folder: Path, name: str, with_labels: bool, as_json: bool) -> None:
    """Take a class away; one with labels only if you say so."""
    _edit_classes(folder, as_json, type="delete", name=name, with_labels=with_labels)


@classes.command("order", epilog="Example: hrpro dataset classes order my_dataset Run Jump")
@folder_argument
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@json_option
def classes_order(folder: Path, names: tuple[str, ...], as_json: bool) -> None:
    """Put some classes first, in this order."""
    _edit_classes(folder, as_json, type="order", names=names)


@classes.command(
    "set", epilog="Example: hrpro dataset classes set my_dataset Run --key r --color #e69f00"
)
@folder_argument
@click.argument("name")
@click.option("--key", help="Its key on the label page.")
@click.option("--color", metavar="#RRGGBB", help="On the page, in reports and in pictures.")
@click.option("--description", help="What counts as it.")
@json_option
def classes_set(folder: Path, name: str, as_json: bool, **about: str | None) -> None:
    """Set key, colour or description of a class; an empty text takes one away."""
    _edit_classes(folder, as_json, type="set", name=name, **about)


@click.group(cls=Group)
def weights() -> None:
    """Network weights in the cache: list, fetch, add, verify."""


@weights.command("list", epilog="Example: hrpro weights list")
@json_option
def weights_list(as_json: bool) -> None:
    """Show every known weight file and whether it is in the cache.

    A file marked with * has no published checksum: it is taken as it comes from its publisher, and
    no other file is accepted after the first fetch. hrpro weights add takes one that you checked.
    """
    from dataclasses import asdict

    from hrpro.extract.weights.library import cache_dir, list_weights

    rows = list_weights()
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    width = max(len(row.name) for row in rows)
    for row in rows:
        state = "in use" if row.in_use else "cached" if row.cached else "not here"
        size = megabytes(row.size_bytes) if row.size_bytes else ""
        mark = "*" if row.checksum == "first fetch" else ""
        name = f"{row.name}{mark}"
        click.echo(f"{state:10}{name:{width + 2}}{row.stream or '':6}{size:>8}  {row.source}")
    click.echo("* no checksum is published: the first file that is fetched decides")
    click.echo(f"cache: {cache_dir()} (set HRPRO_CACHE to move it)")


@weights.command("fetch", epilog="Example: hrpro weights fetch rgb")
@click.argument("names", nargs=-1, required=True, metavar="rgb|flow|NETWORK|NAME...")
@click.pass_context
def weights_fetch(ctx: click.Context, names: tuple[str, ...]) -> None:
    """Download weights into the cache and check them.

    HRPRO_CACHE moves the cache, HRPRO_WEIGHTS_MIRROR names a server of yours with the files.
    """
    from hrpro.extract.weights.library import fetch_weights

    for name in names:
        cached = fetch_weights(name, progress=not ctx.obj["quiet"])
        click.echo(f"{cached.name}: {cached.path} ({megabytes(cached.size_bytes)})")


@weights.command("add", epilog="Example: hrpro weights add flow_imagenet.pt")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--stream", type=click.Choice(["rgb", "flow"]), help="Refuse another stream.")
@click.option("--network", help="What the file is for, where it cannot tell: x3d_s.")
def weights_add(file: Path, stream: Any, network: str | None) -> None:
    """Take a file that you downloaded yourself into the cache."""
    from hrpro.extract.weights.library import add_weights

    cached = add_weights(file, stream, network)
    kind = f"{cached.stream} stream" if cached.stream else "optical flow"
    click.echo(f"{cached.name}: {cached.path} ({kind})")


@weights.command("verify", epilog="Example: hrpro weights verify")
@json_option
@click.pass_context
def weights_verify(ctx: click.Context, as_json: bool) -> None:
    """Compare the files in the cache with their checksums."""
    from dataclasses import asdict

    from hrpro.extract.weights.library import verify_weights

    rows = verify_weights()
    if as_json:
        print_json([asdict(row) for row in rows])
    else:
        for row in rows:
            click.echo(f"{'ok' if row.ok else 'DAMAGED':9}{row.name}  {row.detail}")
        if not rows:
            click.echo("no weights in the cache; get them with: hrpro weights fetch rgb")
    if not all(row.ok for row in rows):
        ctx.exit(EXIT_FAILED)
