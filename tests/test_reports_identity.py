"""Situations that people reported: which video is meant, and what an evaluation measures."""

from __future__ import annotations

import json
import shutil

import pytest
from click.testing import CliRunner

from hrpro.cli import main

pytestmark = pytest.mark.shared


@pytest.fixture
def report(shared):
    """Find the folder of a case by its number."""
    return lambda number: next((shared / "data" / "reports").glob(f"{number}-*"))


def hrpro(*arguments):
    run = CliRunner().invoke(main, [str(each) for each in arguments])
    assert run.exit_code == 0, run.output
    return run


def average(run) -> float:
    return json.loads(run.stdout)["average"]


def test_points_with_a_suffix_are_those_of_the_video(report, tmp_path):
    dataset = shutil.copytree(report(15) / "ds", tmp_path / "ds")
    checked = json.loads(hrpro("dataset", "check", dataset, "--json").stdout)
    assert checked["ok"]
    assert checked["counts"]["points"] == 2
    assert checked["counts"]["points of test videos (not used)"] == 1
    assert checked["counts"]["training videos"] == 2
    assert checked["next"] == f"hrpro train --dataset {dataset}"


def test_evaluation_takes_the_subset_with_detections(report):
    arguments = [report(17) / "det_val.json", "--ground-truth", report(17) / "gt_anet.json"]
    run = hrpro("eval", *arguments, "--tiou", "0.5", "--json")
    assert average(run) == 1.0
    assert json.loads(run.stdout)["videos"] == 1
    assert "measured on 'validation' alone" in run.stderr


def test_ambiguous_is_no_class(report):
    arguments = [report(18) / "det_amb.json", "--ground-truth", report(18) / "gt_amb.json"]
    run = hrpro("eval", *arguments, "--tiou", "0.5", "--json")
    assert average(run) == 1.0
    assert list(json.loads(run.stdout)["per_class"]) == ["CricketBowling"]


def test_videos_of_cameras_are_found(report, tmp_path):
    footage = report(21) / "footage"
    made = json.loads(
        hrpro("init", tmp_path / "ds", "--videos", footage, "--classes", "a", "--json").stdout
    )
    assert sorted(made["train"] + made["test"]) == ["GOPR0001", "MOV001", "ch01", "tape1"]
    status = hrpro("extract", footage, "-o", tmp_path / "out", "--status", "--json")
    assert json.loads(status.stdout)["counts"]["pending"] == 4


def test_labels_unknown_to_the_ground_truth_are_named(report):
    arguments = [report(23) / "r_case.json", "--ground-truth", report(23) / "g_tiny.json"]
    run = hrpro("eval", *arguments, "--tiou", "0.5", "--json")
    assert average(run) == 0.0
    assert "no label of the detections is in the ground truth" in run.stderr
    assert "did you mean 'wash'?" in run.stderr


def test_events_of_equal_names_in_two_folders_go_to_two_videos(report, tmp_path):
    """Named with their folders, as hrpro init names them, they are trained on apart."""
    for name in ("mon", "tue"):
        (tmp_path / "footage" / name).mkdir(parents=True)
        (tmp_path / "footage" / name / "GX010001.MP4").touch()
    made = hrpro(
        "init", tmp_path / "ds", "--videos", tmp_path / "footage", "--classes", "groom", "--json"
    )
    names = json.loads(made.stdout)
    assert sorted(names["train"] + names["test"]) == ["mon/GX010001", "tue/GX010001"]
    project = json.loads((report(13) / "samename.boris").read_text())
    files = [each["file"]["1"][0] for each in project["observations"].values()]
    assert files == ["mon/GX010001.MP4", "tue/GX010001.MP4"]
    rows = "".join(f"{file},groom,{time}\n" for file, time in zip(files, (5, 20), strict=True))
    (tmp_path / "ds" / "points.csv").write_text(f"video_id,class,time\n{rows}")
    checked = json.loads(
        CliRunner().invoke(main, ["dataset", "check", str(tmp_path / "ds"), "--json"]).stdout
    )
    assert not [each for each in checked["problems"] if each["severity"] == "error"]
    used = checked["counts"]["points"]
    assert used + checked["counts"].get("points of test videos (not used)", 0) == 2

    (tmp_path / "ds" / "points.csv").write_text("video_id,class,time\nGX010001.MP4,groom,5\n")
    vague = CliRunner().invoke(main, ["dataset", "check", str(tmp_path / "ds")]).output
    assert "can be 'mon/GX010001' or 'tue/GX010001'" in vague
