"""Result files by suffix: JSON, CSV, WebVTT, SRT, and those that other packages add.

A format is a function that writes :class:`~hrpro.pipeline.results.Results` to a path. Add one for
this process with :func:`register`, or for everyone who installs your package by an entry point::

    [options.entry_points]
    hrpro.formats =
        eaf = my_package.elan:write_eaf

The name is the suffix without its dot; the object is the writer or a :class:`Format`. It is
imported when a file of that suffix is first written or read, not before.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from hrpro.errors import DataError, HrproError, UsageError
from hrpro.files import atomic_path, check_writable
from hrpro.pipeline.results import (
    Detection,
    Results,
    VideoResult,
    read_results_json,
    write_results_json,
)

Writer = Callable[[Results, Path], None]
Reader = Callable[[Path], Results]

ENTRY_POINT_GROUP = "hrpro.formats"
CSV_COLUMNS = ("video", "label", "start", "end", "score")


@dataclass(frozen=True)
class Format:
    """How one suffix is written, and read where that is possible.

    With `one_video`, a file can hold only one video: results of several become several files,
    ``NAME.VIDEO.suffix`` each.
    """

    write: Writer
    read: Reader | None = None
    one_video: bool = False


# ------------------------------------------------------------------------------- the registry

_registered: dict[str, Format] = {}


def register(
    suffix: str, write: Writer, read: Reader | None = None, one_video: bool = False
) -> None:
    """Make `write` the writer of files that end in `suffix` (with its dot, say ``".eaf"``)."""
    if not re.fullmatch(r"\.[^./\\]+", suffix):
        raise UsageError(f"{suffix!r} is not a file suffix such as '.vtt'")
    _registered[suffix.lower()] = Format(write, read, one_video)


def writers() -> dict[str, Writer]:
    """Return the writer of every known suffix; those of other packages are imported on use."""
    return {suffix: _lazy_writer(suffix) for suffix in suffixes()}


def suffixes() -> list[str]:
    """Return every suffix that can be written, sorted; imports nothing."""
    return sorted({*_registered, *_entry_points()})


def format_of(path: str | Path) -> Format:
    """Return the format of a file by its suffix; upper and lower case are the same.

    Raises:
        UsageError: no format has this suffix; lists those there are.
        HrproError: the package that brings the format cannot be imported.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in _registered:
        return _registered[suffix]
    entry = _entry_points().get(suffix)
    if entry is None:
        raise UsageError(f"{path}: unknown result format; use one of {', '.join(suffixes())}")
    try:
        loaded = entry.load()
    except Exception as error:
        raise HrproError(f"{path}: cannot load the format from {entry.value}: {error}") from error
    _registered[suffix] = loaded if isinstance(loaded, Format) else Format(loaded)
    return _registered[suffix]


def _entry_points() -> dict[str, EntryPoint]:
    found = entry_points(group=ENTRY_POINT_GROUP)
    return {"." + entry.name.lower().lstrip("."): entry for entry in found}


def _lazy_writer(suffix: str) -> Writer:
    if suffix in _registered:
        return _registered[suffix].write
    return lambda results, path: format_of(f"x{suffix}").write(results, path)


# ------------------------------------------------------------------------- reading and writing


def write_results(results: Results, path: str | Path) -> list[Path]:
    """Write `results` in the format of the suffix of `path`; return the files that were written.

    The list is ``[path]``, except when several videos meet a format that holds one video
    (subtitles): each then gets a file of its own, ``NAME.VIDEO.suffix``. Every file is complete
    or not there at all.

    Raises:
        UsageError: no format has this suffix.
        HrproError: the file cannot be written.
    """
    path = Path(path)
    chosen = format_of(path)
    if not chosen.one_video:
        parts = {path: results}
    else:
        names = [video.video_id for video in results.videos]
        targets = per_video_paths(path, names) or [path]
        videos = [(video,) for video in results.videos] or [()]
        parts = {
            target: replace(results, videos=video)
            for target, video in zip(targets, videos, strict=True)
        }
    for target, part in parts.items():
        with atomic_path(target) as temporary:
            chosen.write(part, temporary)
    return list(parts)


def read_results(path: str | Path) -> Results:
    """Read a result file back (JSON, CSV, and what other packages can read).

    Raises:
        UsageError: the format is unknown or can only be written.
        DataError: the file is missing or malformed; one line that names the file.
    """
    path = Path(path)
    reader = format_of(path).read
    if reader is None:
        readable = ", ".join(suffix for suffix, known in sorted(_registered.items()) if known.read)
        raise UsageError(f"{path}: {path.suffix} cannot be read back; give one of {readable}")
    return reader(path)


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
        format_of(path)
    read = {Path(path).resolve() for path in inputs}
    taken: set[Path] = set()
    for path in [*results, *others]:
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
    return [path.with_name(f"{path.stem}.{name}{path.suffix}") for name in _file_names(video_ids)]


def _file_names(video_ids: Iterable[str]) -> Iterator[str]:
    """Yield a distinct file name part for each video; ids may hold slashes and worse."""
    taken: set[str] = set()
    for video_id in video_ids:
        name = unique = re.sub(r"[^\w.+=@ -]", "_", video_id).strip(". ")[:100] or "video"
        number = 1
        while unique.lower() in taken:  # lower: some file systems do not tell A from a
            number += 1
            unique = f"{name}-{number}"
        taken.add(unique.lower())
        yield unique


# ---------------------------------------------------------------------------------------- CSV


def _write_csv(results: Results, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(CSV_COLUMNS)
        table.writerows(
            (_cell(video.video_id), _cell(found.label), found.start_s, found.end_s, found.score)
            for video in results.videos
            for found in video.detections
        )


def _read_csv(path: Path) -> Results:
    detections: dict[str, list[Detection]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file, strict=True)
            missing = [name for name in CSV_COLUMNS if name not in (table.fieldnames or ())]
            if missing:
                raise DataError(f"{path}:1: no column {', '.join(missing)}")
            for row in table:
                try:
                    video_id, label, *numbers = (row[name] or "" for name in CSV_COLUMNS)
                    start_s, end_s, score = map(float, numbers)
                    found = Detection(_uncell(label), score, start_s, end_s)
                except (DataError, ValueError) as error:
                    raise DataError(f"{path}:{table.line_num}: {error}") from error
                detections.setdefault(_uncell(video_id), []).append(found)
    except OSError as error:
        raise DataError(f"{path}: cannot read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a UTF-8 text file") from error
    except csv.Error as error:
        raise DataError(f"{path}: not valid CSV: {error}") from error
    return Results(
        tuple(
            VideoResult(video_id, detections=tuple(rows)) for video_id, rows in detections.items()
        )
    )


_FORMULA = re.compile(r"'*[=+\-@\t]")


def _cell(text: str) -> str:
    """Put an apostrophe before what a spreadsheet would run as a formula; `_uncell` takes it off.

    Line ends and NUL become spaces: not every CSV reader takes them, quoted or not.
    """
    text = re.sub(r"[\r\n\0]", " ", text)
    return "'" + text if _FORMULA.match(text) else text


def _uncell(text: str) -> str:
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


# ---------------------------------------------------------------------------------- subtitles

_VTT_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
# SRT has tags but no escapes: players show "&lt;" as it stands, so look-alikes take the place.
_SRT_ESCAPES = str.maketrans({"<": "\u2039", ">": "\u203a"})


def _write_vtt(results: Results, path: Path) -> None:
    cues = (f"{cue}\n" for cue in _cues(results, ".", _VTT_ESCAPES))
    path.write_text("\n".join(["WEBVTT\n", *cues]), encoding="utf-8")


def _write_srt(results: Results, path: Path) -> None:
    cues = (f"{number}\n{cue}\n" for number, cue in enumerate(_cues(results, ",", _SRT_ESCAPES), 1))
    path.write_text("\n".join(cues), encoding="utf-8")


def _cues(results: Results, decimal_mark: str, escapes: dict[int, str]) -> Iterator[str]:
    """Yield "start --> end / label score" in order of time, as both subtitle formats want it."""
    found = [detection for video in results.videos for detection in video.detections]
    for detection in sorted(found, key=lambda detection: (detection.start_s, detection.end_s)):
        start_ms = max(0, round(detection.start_s * 1000))
        end_ms = max(start_ms + 1, round(detection.end_s * 1000))  # an empty cue is an invalid one
        label = " ".join(detection.label.translate(escapes).split())
        yield (
            f"{_clock(start_ms, decimal_mark)} --> {_clock(end_ms, decimal_mark)}\n"
            f"{label} {detection.score:.2f}"
        )


def _clock(time_ms: int, decimal_mark: str) -> str:
    seconds, milliseconds = divmod(time_ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{decimal_mark}{milliseconds:03d}"


register(".json", write_results_json, read_results_json)
register(".csv", _write_csv, _read_csv)
register(".vtt", _write_vtt, one_video=True)
register(".srt", _write_srt, one_video=True)
