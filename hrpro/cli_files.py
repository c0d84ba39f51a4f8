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
from hrpro.wording import megabytes


@click.group(cls=Group)
def features() -> None:
    """Look into feature files."""


@features.command("info", epilog="Example: hrpro features info features/my_video.npy")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@json_option
def features_info(paths: tuple[Path, ...], as_json: bool) -> None:
    """Show shape, value range and fingerprint of feature files."""
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
    from hrpro.pipeline.datasets.public import check

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
