"""CSV: results with one detection a row, and point labels (``points.csv``).

Cells that a spreadsheet would run as a formula get an apostrophe in front, which comes off again
on reading.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from hrpro.cells import from_cell, to_cell
from hrpro.errors import DataError, UsageError
from hrpro.localize.data.points import points_csv, read_points
from hrpro.pipeline.results.formats import Format
from hrpro.pipeline.results.interchange.rates import Rates, to_seconds
from hrpro.pipeline.results.interchange.texts import plain, read_text
from hrpro.pipeline.results.model import Detection, Results, VideoResult

CSV_COLUMNS = ("video", "label", "start", "end", "score")


def write_csv(results: Results, path: Path) -> None:
    """Write the columns of `CSV_COLUMNS`, times in seconds."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(CSV_COLUMNS)
        table.writerows(
            (to_cell(video.video_id), to_cell(found.label), found.start_s, found.end_s, found.score)
            for video in results.videos
            for found in video.detections
        )


def read_csv(path: Path, rates: Rates) -> Results:
    """Read a CSV of detections or of point labels; the column names tell which it is.

    Raises:
        DataError: a column is missing or a row is wrong; names file and line.
    """
    text = read_text(path)
    names = text.split("\n", 1)[0].split(",")
    if {"video_id", "class"} <= {name.strip(' "') for name in names}:
        return read_points_csv(path, rates)
    detections: dict[str, list[Detection]] = {}
    table = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        missing = [name for name in CSV_COLUMNS if name not in (table.fieldnames or ())]
        if missing:
            raise DataError(f"{path}:1: no column {', '.join(missing)}")
        for row in table:
            try:
                video_id, label, *numbers = (row[name] or "" for name in CSV_COLUMNS)
                start_s, end_s, score = map(float, numbers)
                found = Detection(from_cell(label), score, start_s, end_s)
            except (DataError, ValueError) as error:
                raise DataError(f"{path}:{table.line_num}: {error}") from error
            detections.setdefault(from_cell(video_id), []).append(found)
    except csv.Error as error:
        raise DataError(f"{path}: not valid CSV: {error}") from error
    return _results(detections)


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
    rows = ((plain(name), plain(each.label), each.start_s) for name, each in found)
    path.write_text(points_csv(rows), encoding="utf-8", newline="")


def read_points_csv(path: Path, rates: Rates) -> Results:
    """Read point labels; those in frames need the frame rate of the video.

    Raises:
        DataError: a column is missing or a row is wrong; names file and line.
        UsageError: it counts in frames and the rate is unknown.
    """
    detections: dict[str, list[Detection]] = {}
    for point in read_points(path):
        time_s = point.time_s
        if time_s is None:
            time_s = to_seconds(point.frame, rates.of(point.video_id))
        found = Detection(point.label, 1.0, time_s, time_s)
        detections.setdefault(point.video_id, []).append(found)
    return _results(detections)


def _results(detections: dict[str, list[Detection]]) -> Results:
    return Results(
        tuple(
            VideoResult(video_id, detections=tuple(rows)) for video_id, rows in detections.items()
        )
    )


CSV = Format(write_csv, read_csv, counts_frames=True)
POINTS = Format(write_points_csv, read_points_csv, counts_frames=True, for_detections=False)
