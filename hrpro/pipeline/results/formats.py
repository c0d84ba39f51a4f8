"""Which file format a name stands for: results, labels, and the files of other tools.

A format is a function that writes :class:`~hrpro.pipeline.results.model.Results` to a path,
and one that reads them. Add one for this process with :func:`register`, or for everyone who
installs your package by an entry point::

    [options.entry_points]
    hrpro.formats =
        sub = my_package.subtitles:write_sub

The name is the suffix without its dot; the object is the writer or a :class:`Format`. It is
imported when a file of that suffix is first written or read, not before. A suffix may have two
parts: ``points.csv`` is that of ``points.csv`` and ``my.points.csv``, and goes before ``csv``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hrpro.errors import DataError, HrproError, UsageError
from hrpro.file_names import DistinctNames, safe_name
from hrpro.files import atomic_path, check_writable
from hrpro.pipeline.results.interchange.notes import reading_lines
from hrpro.pipeline.results.interchange.rates import Rates
from hrpro.pipeline.results.model import Results

Writer = Callable[[Results, Path], None]
Reader = Callable[..., Results]
"""Takes the path and, if the format `counts_frames`, the :class:`Rates` that the user gave.

What it leaves out it puts into the notes of the results.
"""

ENTRY_POINT_GROUP = "hrpro.formats"


@dataclass(frozen=True)
class Format:
    """How one suffix is written, and read where that is possible."""

    write: Writer
    read: Reader | None = None
    one_video: bool = False
    """A file holds one video: results of several become files ``NAME.VIDEO.suffix``."""
    counts_frames: bool = False
    """The reader takes what the user said of the videos (:class:`Rates`) as its second argument,
    say because times are frame numbers."""
    holds_all: bool = False
    """A file holds the events beside all detections. Others are for people: where there are
    events, their writer gets those as the detections."""
    for_detections: bool = True
    """False for labels that only people make; no command but ``hrpro convert`` writes them."""
    module: str | None = None
    """A package of ``hrpro[formats]`` that must be installed."""


# ------------------------------------------------------------------------------- the registry

_MODULES = "hrpro.pipeline.results.interchange"
_BUILT_IN = {
    f".{name}": EntryPoint(name, f"{_MODULES}.{value}", ENTRY_POINT_GROUP)
    for name, value in {
        "json": "activitynet:RESULTS",
        "annotations.json": "activitynet:ANNOTATIONS",
        "labelstudio.json": "labelstudio:LABELSTUDIO",
        "csv": "tables:CSV",
        "points.csv": "tables:POINTS",
        "vtt": "subtitles:VTT",
        "srt": "subtitles:SRT",
        "boris": "boris:BORIS",
        "eaf": "eaf:EAF",
        "textgrid": "textgrid:TEXTGRID",
        "otio": "otio:OTIO",
        "edl": "edl:EDL",
    }.items()
}
_registered: dict[str, Format] = {}


def register(suffix: str, write: Writer, read: Reader | None = None, **about: Any) -> None:
    """Make `write` the writer of files that end in `suffix` (with its dot, say ``".sub"``).

    `about` has the other fields of :class:`Format`.
    """
    if not re.fullmatch(r"\.[^/\\]*[^./\\]", suffix):
        raise UsageError(f"{suffix!r} is not a file suffix such as '.vtt'")
    _registered[suffix.lower()] = Format(write, read, **about)


def suffixes() -> list[str]:
    """Return every suffix that can be written, sorted; imports nothing."""
    return sorted({*_registered, *_entry_points()})


def format_of(path: str | Path, name: str | None = None) -> Format:
    """Return the format of a file by its suffix; upper and lower case are the same.

    Args:
        path: the file; the longest suffix that fits counts.
        name: a suffix without its dot, to be used instead of that of `path`.

    Raises:
        UsageError: no format has this suffix (lists those there are), or a package is missing.
        HrproError: the package that brings the format cannot be imported.
    """
    path = Path(path)
    ending = f".{name or path.name}".lower() if name or path.suffix else ""
    entries = _entry_points()
    fitting = [suffix for suffix in {*_registered, *entries} if ending.endswith(suffix)]
    if not fitting:
        raise UsageError(f"{path}: unknown result format; use one of {', '.join(suffixes())}")
    suffix = max(fitting, key=len)
    if suffix not in _registered:
        entry = entries[suffix]
        try:
            loaded = entry.load()
        except Exception as error:
            raise HrproError(
                f"{path}: cannot load the format from {entry.value}: {error}"
            ) from error
        _registered[suffix] = loaded if isinstance(loaded, Format) else Format(loaded)
    found = _registered[suffix]
    if found.module is not None and find_spec(found.module) is None:
        raise UsageError(
            f'{path}: {suffix} needs more packages: python -m pip install "hrpro[formats]"'
        )
    return found


def _entry_points() -> dict[str, EntryPoint]:
    found = entry_points(group=ENTRY_POINT_GROUP)
    return _BUILT_IN | {"." + entry.name.lower().lstrip("."): entry for entry in found}


# ------------------------------------------------------------------------- reading and writing


def write_results(
    results: Results,
    path: str | Path,
    name: str | None = None,
    video_ids: Sequence[str] | None = None,
) -> list[Path]:
    """Write `results` in the format of the suffix of `path`; return the files that were written.

    Where there are events, most formats hold them and not the detections behind them.

    With `name`, in the format of that name, see :func:`format_of`.

    The list is ``[path]``, except when several videos meet a format that holds one video
    (subtitles): each then gets a file of its own, ``NAME.VIDEO.suffix``. Every file is complete
    or not there at all. Where more videos are to come later, `video_ids` has those of all, so that
    each file has its name from the beginning.

    Raises:
        UsageError: no format has this suffix.
        HrproError: the file cannot be written.
    """
    path = Path(path)
    chosen = format_of(path, name)
    if not chosen.holds_all:
        results = results.for_people()
    if not chosen.one_video:
        parts = {path: results}
    else:
        targets = paths_by_video(path, video_ids or [video.video_id for video in results.videos])
        parts = {
            targets[video.video_id]: replace(results, videos=(video,)) for video in results.videos
        }
        if not targets:
            parts = {path: results}
    for target, part in parts.items():
        with atomic_path(target) as temporary:
            try:
                chosen.write(part, temporary)
            except UnicodeEncodeError as error:
                raise DataError(f"{target}: a name is not valid text: {error.object!r}") from error
    return list(parts)


def read_results(
    path: str | Path,
    rates: Rates | None = None,
    name: str | None = None,
    tell: Callable[[str], None] | None = None,
) -> Results:
    """Read a result file back, or a file of another tool.

    Args:
        path: the file.
        rates: frame rates, for formats that count in frames and do not say how many a second.
        name: the format, see :func:`format_of`.
        tell: takes a line for each thing to know if marks were left out or lie outside of their
            video; the notes of the results say it, too.

    Raises:
        UsageError: the format is unknown or can only be written, or a frame rate is missing.
        DataError: the file is missing or malformed; one line that names the file.
    """
    path = Path(path)
    chosen = format_of(path, name)
    if chosen.read is None:
        raise UsageError(f"{path}: {path.suffix} can only be written, not read back")
    results = chosen.read(path, rates or Rates()) if chosen.counts_frames else chosen.read(path)
    if tell is not None:
        for line in reading_lines(path, results, only_problems=True):
            tell(line)
    return results


def check_outputs(
    results: Iterable[str | Path],
    others: Iterable[str | Path] = (),
    inputs: Iterable[str | Path] = (),
) -> None:
    """Refuse outputs that could not be written, before hours of work are spent on them.

    `results` are result files (their suffix must be a known format), `others` any further outputs
    (preview, plot, report), `inputs` the files that are read and must survive.

    Raises:
        UsageError: an unknown suffix, a folder where a file should be, a folder that cannot be
            written, two outputs with one path, or an output that would replace an input.
    """
    results, others = [Path(path) for path in results], [Path(path) for path in others]
    for path in results:
        if not format_of(path).for_detections:
            raise UsageError(
                f"{path}: this name is for labels by people; write the detections to .json or "
                ".csv, and use hrpro convert"
            )
    read = {Path(path).resolve() for path in inputs}
    taken: set[Path] = set()
    for path in map(Path, [*results, *others]):
        resolved = path.resolve()
        if resolved in read:
            raise UsageError(f"{path}: this output would replace an input; choose another name")
        if resolved in taken:
            raise UsageError(f"{path}: two outputs have this name; choose another for one of them")
        taken.add(resolved)
        if path.is_dir():
            raise UsageError(f"{path}: is a folder; name a file in it")
        check_writable(path)


def per_video_paths(path: str | Path, video_ids: Sequence[str]) -> list[Path]:
    """Give each video a file of its own: ``NAME.VIDEO.suffix``, or just `path` for one video."""
    path = Path(path)
    if len(video_ids) == 1:
        return [path]
    names = DistinctNames()
    return [
        path.with_name(
            f"{path.stem}.{names.unlike_others(safe_name(name) or 'video')}{path.suffix}"
        )
        for name in video_ids
    ]


def paths_by_video(path: str | Path, video_ids: Sequence[str]) -> dict[str, Path]:
    """The files of `per_video_paths` by their videos."""
    return dict(zip(video_ids, per_video_paths(path, video_ids), strict=True))
