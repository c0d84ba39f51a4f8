"""What public reports broke in other tools' files: the commands of these reports, done right."""

from __future__ import annotations

import csv
import math
import shutil

import pandas as pd
import pytest
from click.testing import CliRunner
from videos import with_timecode

from hrpro.cli import main


@pytest.fixture
def convert(shared, tmp_path):
    """Run ``hrpro convert`` on a file of a report; returns the rows and what was said."""

    def run(report, name, *options, out="out.csv"):
        (folder,) = (shared / "data" / "reports").glob(f"{report}-*")
        arguments = [str(folder / option) if "." in option else option for option in options]
        arguments = ["convert", str(folder / name), str(tmp_path / out), *arguments]
        outcome = CliRunner().invoke(main, arguments, catch_exceptions=False)
        assert outcome.exit_code == 0, outcome.output
        return tmp_path / out, outcome.stderr

    return run


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return [
            (row["video"], row["label"], float(row["start"]), float(row["end"]))
            for row in csv.DictReader(file)
        ]


def test_reports_07_elan_time_origin(convert):
    path, _ = convert("07", "origin.eaf")
    assert rows(path) == [("cam1", "wave", 6.0, 8.0)]


def test_reports_09_locators_in_record_time(convert):
    path, _ = convert("09", "loc_record.edl", "--fps", "25")
    assert rows(path) == [("cam1", "JUMP", 13.0, 13.0), ("cam1", "FALL", 17.0, 17.0)]
    path, _ = convert("09", "own.json", "--fps", "25", out="own.edl")
    locators = [line.split()[2] for line in path.read_text().splitlines() if "LOC:" in line]
    assert locators == ["01:00:00:00", "01:00:02:00"]


def test_reports_10_markers_of_resolve(convert):
    path, said = convert("10", "resolve_markers.edl", "--fps", "25")
    assert [row[1:] for row in rows(path)] == [("jump", 5.0, 7.0), ("fall", 20.0, 20.0)]
    assert "start of the timeline, taken to be 01:00:00:00" in said


def test_reports_11_markers_on_a_sequence(convert):
    path, _ = convert("11", "seqmarkers.otio")
    assert rows(path) == [("cam1", "jump", 103.0, 104.0), ("cam2", "fall", 2.0, 3.0)]


def test_reports_12_regions_in_seconds(convert):
    path, _ = convert("12", "ls_seconds.json", "--fps", "25")
    assert rows(path) == [("a", "jump", 1.5, 4.25)]


def test_reports_13_one_name_in_two_folders(convert):
    path, _ = convert("13", "samename.boris")
    assert rows(path) == [
        ("mon/GX010001", "groom", 5.0, 5.0),
        ("tue/GX010001", "groom", 20.0, 20.0),
    ]
    path, _ = convert("13", "ls_dups.json")
    assert rows(path) == [("mon/cam1", "jump", 1.0, 2.0), ("tue/cam1", "jump", 5.0, 6.0)]


def test_reports_14_byte_order_mark(convert):
    path, said = convert("14", "bom.json")
    assert rows(path) == [("v1", "jump", 1.0, 3.0)]
    assert said.startswith("read 1 mark of 1 video from ")


def test_reports_19_one_observation_of_pictures(convert):
    path, said = convert("19", "pictures.boris")
    assert rows(path) == [("GX010001", "eat", 5.0, 5.0)]
    assert "left out 2: of pictures, not of a video (observation 'trap 7')" in said


def test_reports_20_ids_that_begin_with_a_dash(convert):
    path, _ = convert("20", "dash.json")
    assert list(pd.read_csv(path)["video"]) == ["-_a8SjJXw4M"]


def test_reports_22_times_beyond_the_video(convert, shared, tmp_path):
    path, said = convert("22", "cam_tc.edl", "--video", "cam1.mp4")
    assert "warning: cam1: 1 of 1 mark outside of the video, which is 10." in said
    (row,) = rows(path)
    # The same video with the camera's timecode in it.
    video = next((shared / "data" / "reports").glob("22-*/cam1.mp4"))
    timed = with_timecode(video, tmp_path / "cam1.mov", "10:30:10:00")
    folder = tmp_path / "timed"
    folder.mkdir()
    shutil.copy(video.parent / "cam_tc.edl", folder)
    arguments = ["convert", str(folder / "cam_tc.edl"), str(path), "--video", str(timed)]
    outcome = CliRunner().invoke(main, arguments, catch_exceptions=False)
    (mapped,) = rows(path)
    assert mapped[:2] == row[:2]
    assert math.isclose(mapped[2], 0, abs_tol=1e-6) and math.isclose(mapped[3], 10, abs_tol=1e-6)
    assert "times count from its timecode, 10:30:10:00" in outcome.stderr
    assert "warning" not in outcome.stderr
