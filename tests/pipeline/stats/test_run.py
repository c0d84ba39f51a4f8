"""`hrpro stats` as it is typed: inputs of all kinds, tables, plots."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from PIL import Image
from videos import make_video

from hrpro.cli import main
from hrpro.pipeline.results.formats import write_results
from hrpro.pipeline.results.model import Detection, Results, VideoResult


def hrpro(*arguments) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, list(map(str, arguments)))
    return result.exit_code, result.stdout, result.stderr


def results(name="a", count=2, duration_s=60.0, model=None, path=None):
    found = tuple(Detection("run", 0.9, 10.0 * k, 10.0 * k + 5) for k in range(count))
    video = VideoResult(name, path, duration_s, 25.0, found)
    return Results((video,), model or {})


@pytest.fixture
def one(tmp_path):
    write_results(results(), tmp_path / "one.json")
    return tmp_path / "one.json"


def test_table_csv_json_and_plot(one, tmp_path):
    outs = [tmp_path / name for name in ("b.csv", "b.json", "b.png")]
    assert hrpro("stats", one, "-o", outs[0], "--plot", outs[2], "--bin", 30)[0] == 0
    code, printed, _ = hrpro("stats", one, "-o", outs[1], "--json")
    assert code == 0
    assert json.loads(printed) == json.loads(outs[1].read_text())
    assert outs[0].read_text().splitlines()[1].startswith("all,,,,,,run,2,60.0,120.0,10.0,")
    with Image.open(outs[2]) as picture:
        assert picture.width > 500


def test_detections_of_a_model_are_made_events_of(tmp_path):
    overlapping = tuple(Detection("run", 0.5 + 0.1 * k, 0.1 * k, 5 + 0.1 * k) for k in range(4))
    video = VideoResult("a", duration_s=60.0, detections=overlapping)
    write_results(Results((video,), {"name": "hrpro"}), tmp_path / "r.json")
    for more, counts in (([], [1]), (["--all"], [4]), (["--threshold", "0.9"], [])):
        _, printed, _ = hrpro("stats", tmp_path / "r.json", "--json", *more)
        rows = json.loads(printed)["rows"]
        assert [row["count"] for row in rows if row["scope"] == "all"] == counts


def test_a_folder_of_results_by_folders(tmp_path):
    for name in ("mon/a", "mon/b", "tue/a"):
        path = tmp_path / "found" / f"{name}.json"
        write_results(results(name.split("/")[1], path=f"/videos/{name}.mp4"), path)
    (tmp_path / "found" / ".parts").mkdir()
    (tmp_path / "found" / ".parts" / "x.json").write_text("{}")
    code, printed, _ = hrpro("stats", tmp_path / "found", "--group", "folder", "--json")
    assert code == 0
    rows = json.loads(printed)["rows"]
    assert [r["video"] for r in rows if r["scope"] == "video"] == ["mon/a", "b", "tue/a"]
    groups = {r["group"]: r["count"] for r in rows if r["scope"] == "group"}
    assert groups == {"mon": 4, "tue": 2}


def test_one_video_in_two_files_is_refused(one, tmp_path):
    write_results(results(), tmp_path / "two.json")
    code, _, errors = hrpro("stats", one, tmp_path / "two.json")
    assert code == 2
    assert (
        "are both about a; give one of them, or compare them with hrpro stats --against" in errors
    )


def test_a_file_that_is_named_twice_counts_once(one, tmp_path):
    (tmp_path / "x").mkdir()
    code, printed, _ = hrpro("stats", one, tmp_path / "x" / ".." / one.name)
    assert code == 0
    assert printed == hrpro("stats", one)[1]


def test_groups_by_a_table(one, tmp_path):
    table = tmp_path / "groups.csv"
    table.write_text("video_id,group\na.mp4,treated\nb,control\n")
    code, printed, _ = hrpro("stats", one, "--group", table)
    assert code == 0
    assert "group treated, 1:00 observed" in printed
    table.write_text("video,group\na,x\n")
    assert "no column video_id" in hrpro("stats", one, "--group", table)[2]
    table.write_text("video_id,group\nz,x\n")
    assert "names no video of the results (it names z)" in hrpro("stats", one, "--group", table)[2]


def test_a_dataset_folder_stands_for_its_verified_events(tmp_path):
    folder = tmp_path / "tennis"
    make_video(folder / "videos" / "a.mp4", 50)
    (folder / "dataset.yaml").write_text("classes: [run]\n")
    assert "nothing is labelled yet" in hrpro("stats", folder)[2]
    write_results(
        Results((VideoResult("a", detections=(Detection("run", 1, 0.5, 1),)),)),
        folder / "annotations.json",
    )
    code, printed, _ = hrpro("stats", folder)
    assert code == 0
    assert "1 video, 0:02 observed" in printed  # by the video itself
    assert "25.0 %" in printed


def test_agreement_of_two_files(one, tmp_path):
    write_results(results(count=3), tmp_path / "two.csv")
    code, printed, _ = hrpro(
        "stats", one, "--against", tmp_path / "two.csv", "-o", tmp_path / "k.csv"
    )
    assert code == 0
    assert "1 video, 60 bins of 1 s; events match from tIoU 0.5 on" in printed
    assert (tmp_path / "k.csv").read_text().startswith("label,kappa,")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-o", "x.txt"], "x.txt: a table must be one of .csv, .json"),
        (["--plot", "x.doc"], "a plot must be one of"),
        (["--bin", "0"], "--bin 0: give a length"),
        (["--group", "folders"], "--group folders: no such file; give folder, or a table"),
        (["--min-duration", "nan"], "--min-duration nan: give seconds"),
        (["--against", "{one}", "--bin", "5"], "--bin and --group do not go with it"),
        (["--against", "{one}", "--plot", "x.png"], "does not go with --against"),
    ],
)
def test_wrong_options(one, options, message):
    code, _, errors = hrpro("stats", one, *(each.format(one=one) for each in options))
    assert code == 2
    assert message in errors
