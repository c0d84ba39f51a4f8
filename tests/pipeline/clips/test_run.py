"""`hrpro clips` as it is typed: playlists, contact sheets, thumbnails, errors."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import fake_worker
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from videos import make_video

from hrpro.cli import main
from hrpro.pipeline.clips import sheet
from hrpro.pipeline.render.palette import class_colors
from hrpro.pipeline.results.formats import write_results
from hrpro.pipeline.results.model import Detection, Results, VideoResult

XSPF = "{http://xspf.org/ns/0/}"
VLC = "{http://www.videolan.org/vlc/playlist/ns/0/}"


def hrpro(*arguments) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, list(map(str, arguments)))
    return result.exit_code, result.stdout, result.stderr


def grey(number: int) -> np.ndarray:
    return np.full((90, 160, 3), 2 * number, np.uint8)


@pytest.fixture
def result(tmp_path) -> Path:
    """Three events in a video of 100 pictures, each a little lighter than the one before."""
    video = make_video(tmp_path / "my videos" / "a#1.mp4", 100, painter=grey)
    found = [("serve", 0, 0.8), ("run", 1.6, 2.4), ("serve", 3.0, 3.4)]
    events = tuple(Detection(label, 0.9, start, end) for label, start, end in found)
    results = Results((VideoResult("a#1", str(video), 4.0, 25.0, events, events=events),))
    write_results(results, tmp_path / "r.json")
    return tmp_path / "r.json"


def test_clips_with_thumbnails(result, tmp_path):
    out = tmp_path / "clips"
    code, _, errors = hrpro("clips", result, "-o", out, "--thumbnails", "--classes", "serve")
    assert code == 0
    names = ["a#1_001_serve", "a#1_002_serve"]
    assert sorted(path.name for path in out.iterdir()) == [
        f"{name}.{suffix}" for name in names for suffix in ("jpg", "mp4")
    ]
    assert "a#1_001_serve.mp4 (0.80 s, encoded again)" in errors
    assert errors.strip().endswith("2 clips: 2 encoded again")
    with Image.open(out / "a#1_002_serve.jpg") as picture:
        assert np.asarray(picture).mean() == pytest.approx(160, abs=4)  # of picture 80, at 3.2 s


def test_json_says_what_was_made(result, tmp_path):
    code, printed, _ = hrpro("clips", result, "-o", tmp_path / "c", "--reel", "class", "--json")
    assert code == 0
    made = json.loads(printed)
    assert [(Path(clip["path"]).name, clip["labels"]) for clip in made["clips"]] == [
        ("serve.mp4", ["serve"]),
        ("run.mp4", ["run"]),
    ]
    assert made["clips"][0]["duration_s"] == pytest.approx(1.2)
    assert made["failed"] == []


def test_a_contact_sheet_shows_every_event(result, tmp_path):
    target = tmp_path / "sheet.png"
    assert hrpro("clips", result, "--sheet", target)[0] == 0
    with Image.open(target) as picture:
        pixels = np.asarray(picture)
    colors = class_colors(["serve", "run"])
    for column, (number, label) in enumerate([(10, "serve"), (50, "run"), (80, "serve")]):
        left = 10 + 250 * column
        assert pixels[70, left + 120] == pytest.approx([2 * number] * 3, abs=3)
        assert "#{:02x}{:02x}{:02x}".format(*pixels[10 + 135 + 2, left + 5]) == colors[label]


def test_many_events_go_on_several_sheets(tmp_path, monkeypatch):
    monkeypatch.setattr(sheet, "MOST_ON_A_SHEET", 2)
    event = Detection("跳" * 50, 1, 0, 1)
    shown = [sheet.EventPicture("v", event, np.zeros((9, 16, 3), np.uint8))] * 3
    paths = sheet.write_sheets(shown, tmp_path / "s.jpg", {event.label: "#ff0000"})
    assert [path.name for path in paths] == ["s.jpg", "s-2.jpg"]
    assert all(path.is_file() for path in paths)


def test_a_sheet_of_nothing_is_told_of(result, tmp_path):
    options = ("--sheet", tmp_path / "s.jpg", "--threshold", "0.99")
    code, _, errors = hrpro("clips", result, *options)
    assert (code, errors) == (0, f"{tmp_path / 's.jpg'}: not written, there is no event to show\n")
    assert not (tmp_path / "s.jpg").exists()


def test_m3u(result, tmp_path):
    playlist = tmp_path / "p.m3u8"
    assert hrpro("clips", result, "--playlist", playlist, "--lead", "0.5")[0] == 0
    lines = playlist.read_text(encoding="utf-8").splitlines()
    assert lines[:5] == [
        "#EXTM3U",
        "#EXTINF:1,serve (a#1, 0:00 - 0:00)",
        "#EXTVLCOPT:start-time=0.000",
        "#EXTVLCOPT:stop-time=0.800",
        "my videos/a#1.mp4",
    ]
    assert lines.count("my videos/a#1.mp4") == 3
    assert "#EXTVLCOPT:start-time=1.100" in lines
    assert not list(tmp_path.glob("*.mp4"))


def test_xspf(result, tmp_path):
    playlist = tmp_path / "lists" / "p.xspf"
    assert hrpro("clips", result, "--playlist", playlist)[0] == 0
    tracks = ElementTree.parse(playlist).getroot().findall(f".//{XSPF}track")
    assert len(tracks) == 3
    location = tracks[1].findtext(f"{XSPF}location")
    assert (playlist.parent / unquote(location)).samefile(tmp_path / "my videos" / "a#1.mp4")
    options = [each.text for each in tracks[1].iter(f"{VLC}option")]
    assert options == ["start-time=1.600", "stop-time=2.400"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "say what to make: -o FOLDER, --playlist FILE or --sheet FILE"),
        (["--sheet", "s.gif"], "a contact sheet must be one of .jpg, .jpeg, .png"),
        (["--playlist", "p.txt"], "a playlist must be one of .m3u8, .m3u, .xspf"),
        (["--thumbnails", "--sheet", "s.jpg"], "give their folder with -o"),
        (["-o", "{result}"], "is a file; name a folder for the clips"),
        (["-o", "c", "--name", "{{clas}}"], "did you mean {class}?"),
        (["-o", "c", "--classes", "serv"], "there is no serv; there are run, serve"),
    ],
)
def test_wrong_options_are_one_line(result, options, message):
    code, _, errors = hrpro("clips", result, *(each.format(result=result) for each in options))
    assert code == 2
    assert message in errors
    assert errors.count("\n") == 1


def test_what_cannot_be_cut_is_an_exit_code(result, tmp_path):
    (tmp_path / "my videos" / "a#1.mp4").unlink()
    code, _, errors = hrpro("clips", result, "-o", tmp_path / "c")
    assert code == 1
    assert "a#1.mp4: no such video; name the folder it is in with --videos" in errors


def test_a_name_that_two_videos_have_names_both(tmp_path):
    for day in ("mon", "tue"):
        make_video(tmp_path / "rec" / day / "a.mp4", 25)
    results = Results([VideoResult("a", detections=(Detection("run", 1, 0, 0.4),))])
    (path,) = write_results(results, tmp_path / "r.json")
    code, _, errors = hrpro("clips", path, "--videos", tmp_path / "rec", "-o", tmp_path / "c")
    assert code == 1
    assert "'a' can be 'mon/a.mp4' or 'tue/a.mp4'" in errors


def test_detect_cuts_clips_too(result, tmp_path, monkeypatch):
    monkeypatch.setattr("hrpro.pipeline.detect.build_detection", fake_worker.build_detection)
    out = tmp_path / "clips"
    video = tmp_path / "my videos" / "a#1.mp4"
    code, _, errors = hrpro("detect", video, "--clips", out, "--workers", 0)
    assert code == 0
    assert [path.name for path in out.iterdir()] == ["a#1_001_jump.mp4"]
    assert "1 clip: 1 encoded again" in errors
