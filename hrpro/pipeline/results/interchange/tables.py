"""CSV: results with one event or detection a row, and point labels (``points.csv``).

Labels that a spreadsheet would run as a formula get an apostrophe in front, which comes off again
on reading, see `hrpro.cells`; video ids and numbers stay as they are.
"""

from __future__ import annotations

import csv
import io
from fractions import Fraction
from pathlib import Path

from hrpro.cells import (
    delimiter_of,
    from_cell,
    from_id_cell,
    from_list,
    to_cell,
    to_id_cell,
    to_list,
)
from hrpro.errors import DataError, UsageError
from hrpro.localize.data.points import PEOPLE_COLUMNS, PointRow, points_csv, read_points
from hrpro.pipeline.results.formats import Format
from hrpro.pipeline.results.interchange.notes import Notes
from hrpro.pipeline.results.interchange.rates import Rates, from_frames
from hrpro.pipeline.results.interchange.texts import plain
from hrpro.pipeline.results.interchange.timecode import from_timecode
from hrpro.pipeline.results.model import Detection, Results, VideoResult
from hrpro.problems import Problems
from hrpro.texts import read_text

CSV_COLUMNS = ("video", "label", "start", "end", "score")
_MARKER_COLUMNS = {"Marker Name", "In", "Out"}


def write_csv(results: Results, path: Path) -> None:
    """Write the columns of `CSV_COLUMNS`, in time order; `PEOPLE_COLUMNS` where one is used."""
    rows = [(video.video_id, found) for video in results.videos for found in video.spans]
    people = any(found.subject is not None or found.modifiers for _, found in rows)
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow((*CSV_COLUMNS, *PEOPLE_COLUMNS) if people else CSV_COLUMNS)
        for video_id, found in rows:
            cells = (to_id_cell(video_id), to_cell(found.label), *_numbers(found))
            who = (
                (to_cell(found.subject or ""), to_cell(to_list(found.modifiers))) if people else ()
            )
            table.writerow((*cells, *who))


def read_csv(path: Path, rates: Rates) -> Results:
    """Read a CSV of detections, point labels or markers; the column names tell which it is.

    Markers are those that Premiere Pro exports, with the timecode of a sequence.

    A row that is wrong costs that row.

    Raises:
        DataError: a column is missing, or no row is right; names file and line.
        UsageError: it counts in frames and the rate is unknown.
    """
    notes = Notes()
    text = read_text(path, notes.say)
    delimiter = delimiter_of(text)
    names = text.partition("\n")[0].split(delimiter)
    stripped = {name.strip(' "') for name in names}
    if {"video_id", "class"} <= stripped:
        return read_points_csv(path, rates)
    if stripped >= _MARKER_COLUMNS:
        return _read_markers(path, csv.DictReader(io.StringIO(text), delimiter=delimiter), rates)
    detections: dict[str, list[Detection]] = {}
    table = csv.DictReader(io.StringIO(text), delimiter=delimiter, strict=True)
    try:
        columns = [name.strip() for name in table.fieldnames or ()]
        table.fieldnames = columns
        if missing := [name for name in CSV_COLUMNS if name not in columns]:
            raise DataError(f"{path}:1: no column {', '.join(missing)}")
        for row in table:
            try:
                video_id, found = _row(row, decimal_comma=delimiter == ";")
            except (DataError, ValueError) as error:
                notes.left_out(table.line_num, error)
            else:
                detections.setdefault(video_id, []).append(found)
    except csv.Error as error:
        raise DataError(f"{path}: not valid CSV: {error}") from error
    return notes.results(path, _videos(detections))


def write_points_csv(results: Results, path: Path) -> None:
    """Write point labels, ready for training: ``video_id,class,time`` in order of time.

    Raises:
        UsageError: not everything is a point; says how to make it so.
    """
    found = [(video.video_id, each) for video in results.videos for each in video.detections]
    spans = sum(each.end_s > each.start_s for _, each in found)
    if spans:
        raise UsageError(
            f"{spans} of {len(found)} actions have a length and this format holds points; "
            "hrpro convert --points takes the middle of each"
        )
    found.sort(key=lambda pair: (pair[0], pair[1].start_s))
    rows = (
        PointRow(plain(name), plain(each.label), each.start_s, each.subject, each.modifiers)
        for name, each in found
    )
    path.write_text(points_csv(rows), encoding="utf-8", newline="")


def read_points_csv(path: Path, rates: Rates) -> Results:
    """Read point labels; those in frames need the frame rate of the video.

    Raises:
        DataError: a column is missing or a row is wrong; names file and line.
        UsageError: it counts in frames and the rate is unknown.
    """
    problems, notes = Problems(), Notes()
    detections: dict[str, list[Detection]] = {}
    for point in read_points(path, problems):
        time_s = point.time_s
        if time_s is None:
            time_s = float(Fraction(point.frame or 0) / rates.of(point.video_id))
        found = Detection(
            point.label, 1.0, time_s, time_s, subject=point.subject, modifiers=point.modifiers
        )
        detections.setdefault(point.video_id, []).append(found)
    if not detections:
        problems.raise_first()
    notes.take(problems, path)
    return notes.results(path, _videos(detections))


def _read_markers(path: Path, table: csv.DictReader[str], rates: Rates) -> Results:
    notes = Notes()
    rate = rates.of(path.stem)
    found = []
    for row in table:
        label = row.get("Marker Name") or row.get("Description") or row.get("Marker Type")
        try:
            start, end = (from_timecode(row.get(side) or "", rate) for side in ("In", "Out"))
            times = from_frames(start, end, rate)
            found.append(Detection(plain(label or ""), 1.0, *times))
        except DataError as error:
            notes.left_out(table.line_num, error)
    video = VideoResult(path.stem, fps=float(rate), detections=tuple(found))
    return notes.results(path, [video])


def _numbers(found: Detection) -> tuple[float, float, float]:
    return found.start_s, found.end_s, found.score


def _row(row: dict[str, str], decimal_comma: bool) -> tuple[str, Detection]:
    """Return the video id and the detection of a row of `CSV_COLUMNS`."""
    video_id, label, *numbers = (row.get(name) or "" for name in CSV_COLUMNS)
    if not video_id:
        raise DataError("no video is named")
    if decimal_comma:
        numbers = [number.replace(",", ".") for number in numbers]
    start_s, end_s, score = map(float, numbers)
    subject, modifiers = (row.get(name) or "" for name in PEOPLE_COLUMNS)
    return from_id_cell(video_id), Detection(
        from_cell(label),
        score,
        start_s,
        end_s,
        subject=from_cell(subject) or None,
        modifiers=from_list(from_cell(modifiers)),
    )


def _videos(detections: dict[str, list[Detection]]) -> list[VideoResult]:
    return [VideoResult(video_id, detections=tuple(rows)) for video_id, rows in detections.items()]


CSV = Format(write_csv, read_csv, counts_frames=True)
POINTS = Format(write_points_csv, read_points_csv, counts_frames=True, for_detections=False)
