"""``hrpro convert``: formats by suffix or by name, frame rates, videos, and early refusals."""

from __future__ import annotations

import json
import subprocess
import sys
from fractions import Fraction

import pytest
from click.testing import CliRunner
from videos import make_video

from hrpro.annotations import read_ground_truth
from hrpro.cli import main
from hrpro.errors import DataError, UsageError
from hrpro.pipeline.convert import convert
from hrpro.pipeline.results import formats
from hrpro.pipeline.results.events import EventRules, make_events
from hrpro.pipeline.results.formats import check_outputs, read_results, suffixes, write_results
from hrpro.pipeline.results.model import Detection, Results, VideoResult

pytestmark = pytest.mark.core

FOUND = (Detection("walk", 0.5, 1, 2), Detection("clap", 1, 3, 3))


@pytest.fixture
def result(tmp_path):
    videos = [VideoResult(name, detections=FOUND) for name in ("one", "two")]
    (path,) = write_results(Results(videos), tmp_path / "result.json")
    return path


def run(*args):
    return CliRunner().invoke(main, ["convert", *map(str, args)], catch_exceptions=False)


def test_command(tmp_path, result):
    outcome = run(result, tmp_path / "labels.eaf")
    assert outcome.exit_code == 0
    assert outcome.output.splitlines() == [
        f"read 4 marks of 2 videos from {result}",
        f"wrote {tmp_path / 'labels.one.eaf'}",
        f"wrote {tmp_path / 'labels.two.eaf'}",
    ]
    assert (tmp_path / "labels.two.eaf").exists()
    outcome = run(result, tmp_path / "labels.edl")
    assert outcome.exit_code == 2
    assert outcome.stderr.startswith(f"error: {tmp_path / 'labels.edl'}: one: this format counts")
    assert run(result, tmp_path / "labels.edl", "--fps", "29.97").exit_code == 0
    assert run(result, tmp_path / "labels.edl", "--fps", "fast").exit_code == 2


def test_help_names_every_suffix():
    text = run("-h").output.lower()
    assert [suffix for suffix in suffixes() if suffix[1:] not in text] == []


def test_help_and_conversion_do_not_import_networks(tmp_path, result):
    code = (
        "import sys; from hrpro.pipeline.results import formats; "
        f"formats.read_results({str(result)!r}); "
        "assert not {'torch', 'cv2', 'pympi', 'opentimelineio'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_points_only_on_request(tmp_path, result):
    with pytest.raises(UsageError, match=r"points\.csv: 2 of 4 actions have a length .* --points"):
        convert(result, tmp_path / "points.csv")
    assert not (tmp_path / "points.csv").exists()
    convert(result, tmp_path / "points.csv", points=True)
    assert (tmp_path / "points.csv").read_text().split("\n")[:3] == [
        "video_id,class,time",
        "one,walk,1.5",
        "one,clap,3.0",
    ]


def test_points_in_frames_need_a_rate(tmp_path):
    path = tmp_path / "frames.csv"
    path.write_text("video_id,class,point\nv,a,50\n")
    with pytest.raises(UsageError, match="v: this format counts in frames"):
        convert(path, tmp_path / "r.json")
    convert(path, tmp_path / "r.json", fps=Fraction(20))
    (video,) = read_results(tmp_path / "r.json").videos
    assert (video.fps, video.detections) == (20.0, (Detection("a", 1, 2.5, 2.5),))


def test_formats_by_name(tmp_path, result):
    convert(result, tmp_path / "x.txt", target_format="vtt")
    assert (tmp_path / "x.one.txt").read_text().startswith("WEBVTT")
    convert(tmp_path / "x.one.txt", tmp_path / "y.json", source_format="vtt")
    assert read_results(tmp_path / "y.json").videos[0].detections == FOUND[::-1]
    with pytest.raises(UsageError, match=r"x\.txt: unknown result format"):
        convert(result, tmp_path / "x.txt")
    with pytest.raises(UsageError, match=r"unknown result format"):
        convert(result, tmp_path / "x.json", target_format="xyz")


def test_ground_truth_both_ways(tmp_path, result):
    convert(result, tmp_path / "annotations.json")
    truth = read_ground_truth(tmp_path / "annotations.json")
    assert [(each.label, each.start_s) for each in truth["two"].actions] == [
        ("walk", 1.0),
        ("clap", 3.0),
    ]
    convert(tmp_path / "annotations.json", tmp_path / "gt.csv")
    assert "two,walk,1.0,2.0,1.0" in (tmp_path / "gt.csv").read_text().split("\n")
    (tmp_path / "gt_full.json").write_text((tmp_path / "annotations.json").read_text())
    assert read_results(tmp_path / "gt_full.json") == read_results(tmp_path / "annotations.json")


def test_videos_tell_rate_length_and_name(tmp_path, result):
    one = make_video(tmp_path / "one.mp4", 30, 10)
    two = make_video(tmp_path / "two.mp4", 20, 20)
    convert(result, tmp_path / "r.otio", videos=[one, two])
    videos = [read_results(tmp_path / f"r.{name}.otio").videos[0] for name in ("one", "two")]
    assert [(video.fps, video.path) for video in videos] == [(10.0, str(one)), (20.0, str(two))]
    # A file about one video needs no name in common with it.
    convert(tmp_path / "r.one.otio", tmp_path / "r.edl", videos=[two])
    convert(tmp_path / "r.edl", tmp_path / "back.json", videos=[two])
    (video,) = read_results(tmp_path / "back.json").videos
    assert (video.video_id, video.fps, video.duration_s) == ("two", 20.0, 1.0)
    with pytest.raises(DataError, match=r"result\.json: has nothing about 'three' \(it is about"):
        convert(result, tmp_path / "r.json", videos=[one, two.rename(tmp_path / "three.mp4")])


def test_inputs_survive(tmp_path, result):
    with pytest.raises(UsageError, match="would replace an input"):
        convert(result, result)


def test_missing_packages_are_named_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r'r\.eaf: \.eaf needs .* install "hrpro\[formats\]"'):
        check_outputs([tmp_path / "r.eaf"])


def test_detections_are_not_written_as_labels_of_people(tmp_path):
    for name in ("points.csv", "annotations.json"):
        with pytest.raises(UsageError, match="this name is for labels by people"):
            check_outputs([tmp_path / name])


def test_names_that_are_no_text(tmp_path):
    (tmp_path / "r.json").write_text(
        json.dumps({"results": {"\ud800": [{"label": "a", "score": 1, "segment": [0, 1]}]}})
    )
    with pytest.raises(DataError, match=r"r\.csv: a name is not valid text"):
        convert(tmp_path / "r.json", tmp_path / "r.csv")


def test_events_are_written_unless_all_is_asked_for(tmp_path):
    detections = [
        Detection("a", 0.9, 1, 2),
        Detection("a", 0.6, 1.1, 2.2),
        Detection("b", 0.3, 4, 5),
    ]
    made = make_events(
        Results([VideoResult("v", detections=detections)]), EventRules(threshold=0.5)
    )
    source, target = tmp_path / "r.json", tmp_path / "r.csv"
    write_results(made, source)

    def rows(*options):
        run = CliRunner().invoke(main, ["convert", str(source), str(target), *options])
        assert run.exit_code == 0, run.output
        return [line.split(",")[1:4] for line in target.read_text().splitlines()[1:]]

    assert rows() == [["a", "1.0", "2.0"]]
    assert rows("--all") == [["a", "1.0", "2.0"], ["a", "1.1", "2.2"], ["b", "4.0", "5.0"]]
    assert rows("--threshold", "b=0.2") == [["a", "1.0", "2.0"], ["b", "4.0", "5.0"]]
    assert rows("--threshold", "0.2", "--min-duration", "2") == []
    assert rows("--points") == [["a", "1.5", "1.5"]]
    run = CliRunner().invoke(main, ["convert", str(source), str(target), "--threshold", "c=1"])
    assert run.exit_code == 2
    assert "no class 'c'" in run.stderr
