"""A mark that cannot be read costs that mark; what was left out is counted and named."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from videos import make_video

from hrpro.cli import main
from hrpro.errors import DataError
from hrpro.pipeline.results.formats import read_results
from hrpro.pipeline.results.interchange.notes import Notes, outside_lines, reading_lines
from hrpro.pipeline.results.interchange.rates import Rates, exact_rate
from hrpro.pipeline.results.model import Detection, Results, VideoResult

PAL = Rates(exact_rate(25))


def convert(*arguments):
    outcome = CliRunner().invoke(main, ["convert", *map(str, arguments)], catch_exceptions=False)
    return outcome.exit_code, outcome.stderr.splitlines()


def write_json(path, value):
    path.write_text(json.dumps(value))
    return path


# ------------------------------------------------------------------------------------ the line


def test_the_line_counts_and_groups_by_reason(tmp_path):
    notes = Notes()
    for line in range(3, 9):
        notes.left_out(line, "no time")
    notes.left_out("observation 'a b'", "of pictures", 7)
    notes.say("a guess")
    notes.say("a guess")
    found = (Detection("x", 1, 0, 1), Detection("x", 1, 2, 3))
    results = notes.results(tmp_path / "f.boris", [VideoResult("v", detections=found)])
    assert list(reading_lines("f.boris", results)) == [
        "read 2 marks of 1 video from f.boris, left out 13: "
        "no time (line 3, line 4, line 5, ... 6 places); of pictures (observation 'a b')",
        "note: f.boris: a guess",
    ]


def test_a_file_of_which_nothing_can_be_read_is_an_error(tmp_path):
    notes = Notes()
    assert notes.results(tmp_path / "a.edl", []) == Results()
    notes.left_out(3, "no time")
    notes.left_out(4, "no time")
    with pytest.raises(DataError, match=r"a\.edl:3: no time \(and 1 more\)"):
        notes.results(tmp_path / "a.edl", [VideoResult("v")])


@pytest.mark.parametrize(
    ("start_s", "end_s", "is_outside"),
    [
        (0, 10, False),
        (9, 10.1, False),
        (-0.05, 1, False),
        (9, 10.2, True),
        (11, 11, True),
        (-1, 1, True),
    ],
)
def test_marks_outside_of_a_video(start_s, end_s, is_outside):
    video = VideoResult("v", duration_s=10.0, detections=(Detection("x", 1, start_s, end_s),))
    assert bool(list(outside_lines(video))) is is_outside
    unknown = VideoResult("v", detections=video.detections)
    assert list(outside_lines(unknown)) == []


def test_other_commands_tell_what_they_leave_out(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text("video,label,start,end,score\nv,a,1,2,1\nv,b,2,1,1\n")
    arguments = ["report", str(path), "-o", str(tmp_path / "r.html")]
    outcome = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert outcome.stderr.splitlines()[0] == (
        f"read 1 mark of 1 video from {path}, left out 1: "
        "the end 1 lies before the start 2 (line 3)"
    )
    path.write_text("video,label,start,end,score\nv,a,1,2,1\n")
    outcome = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert outcome.stderr.splitlines() == [f"wrote {tmp_path / 'r.html'}"]


def test_empty_results_are_not_silent(tmp_path):
    path = tmp_path / "r.vtt"
    path.write_text("WEBVTT\n")
    code, said = convert(path, tmp_path / "r.csv")
    assert (code, said[0]) == (0, f"read 0 marks of 1 video from {path}")


# ------------------------------------------------------------------------------ every format


def test_wrong_rows_and_detections_cost_themselves(tmp_path):
    rows = "v,a,1,2,1\nv,b,2,1,1\nv,c,3,4,1\n,d,1,2,1\n"
    path = tmp_path / "r.csv"
    path.write_text("video,label,start,end,score\n" + rows)
    results = read_results(path)
    assert {each.label for each in results.videos[0].detections} == {"a", "c"}
    assert [(note.where, note.what) for note in results.notes] == [
        ("3", "the end 1 lies before the start 2"),
        ("5", "no video is named"),
    ]
    right = {"label": "a", "score": 1, "segment": [1, 2]}
    value = {"results": {"v": [right, right | {"segment": [1, "x"]}]}}
    results = read_results(write_json(tmp_path / "r.json", value))
    assert len(results.videos[0].detections) == 1
    assert [note.where for note in results.notes] == ["video 'v': detection 2"]
    right = {"label": "a", "segment": [1, 2]}
    value = {"database": {"v": {"annotations": [right, {"segment": [1, 2]}]}}}
    results = read_results(write_json(tmp_path / "annotations.json", value))
    assert len(results.videos[0].detections) == 1
    assert [note.where for note in results.notes] == ["video 'v', annotation 2"]
    (tmp_path / "points.csv").write_text("video_id,class,time\nv,a,1\nv,b,-1\n")
    results = read_results(tmp_path / "points.csv")
    assert (len(results.videos[0].detections), results.notes[0].where) == (1, "3")


def test_spreadsheets_with_semicolons_and_decimal_commas(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text("video;label;start;end;score\nv;a, b;1,5;2;0,25\n")
    assert read_results(path).videos[0].detections == (Detection("a, b", 0.25, 1.5, 2.0),)


def test_wrong_cues_and_intervals_cost_themselves(tmp_path):
    path = tmp_path / "r.srt"
    path.write_text("1\n00:00:01,000 --> 00:00:02,000\n{\\an8}a\n\n2\n00:00:03 --> x\nb\n")
    results = read_results(path)
    assert results.videos[0].detections == (Detection("a", 1, 1, 2),)
    assert [note.where for note in results.notes] == ["6"]
    path = tmp_path / "r.TextGrid"
    path.write_text(
        'File type = "ooTextFile"\n"TextGrid"\n0 9 <exists> 1\n"IntervalTier" "t"\n'
        '0 9 2\n3 2 "a"\n4 5 "b"\n'
    )
    results = read_results(path)
    assert results.videos[0].detections == (Detection("b", 1, 4, 5),)
    assert [(note.where, note.what) for note in results.notes] == [
        ("6", "the end 2 lies before the start 3")
    ]


def test_a_broken_observation_costs_that_one(tmp_path):
    def observation(*events, **about):
        return {"type": "MEDIA", "file": {"1": ["a.mp4"]}, "events": list(events), **about}

    project = {
        "behaviors_conf": {
            "0": {"type": "Point event", "code": "eat"},
            "1": {"type": "State event", "code": "sleep"},
        },
        "observations": {
            "good": observation([1.0, "", "eat", "", ""], [float("nan"), "", "eat", "", ""]),
            "open": observation([2.0, "", "sleep", "", ""], [3.0, "", "eat", "", ""]),
            "no time": observation([None, "", "sleep", "", ""], [3.0, "", "sleep", "", ""]),
            "pictures": observation([float("nan"), "", "eat", "", ""], type="IMAGES", file={}),
            "no pictures": observation(type="IMAGES", file={}),
            "list": [],
            "live": observation([7.0, "", "eat", "", ""], type="LIVE", file=[]),
        },
    }
    results = read_results(write_json(tmp_path / "p.boris", project))
    assert {(video.video_id, each.start_s) for video in results.videos
            for each in video.detections} == {("a", 1.0), ("live", 7.0)}  # fmt: skip
    assert [(note.where, note.marks) for note in results.notes] == [
        ("observation 'good'", 1),
        ("observation 'open'", 2),
        ("observation 'no time'", 2),
        ("observation 'pictures'", 1),
        ("observation 'no pictures'", 0),
        ("observation 'list'", 1),
        ("observation 'live'", 0),
    ]
    assert "has no end" in results.notes[1].what


# -------------------------------------------------------------------------------- Label Studio


def task(*regions, video="/data/upload/1/0a1b2c3d-a.mp4", **data):
    return {
        "id": 1,
        "data": {"video": video, **data},
        "annotations": [{"result": [{"id": "x", **region} for region in regions]}],
    }


def region(kind, **value):
    return {"type": kind, "from_name": "f", "to_name": "t", "value": value}


def test_all_labels_of_all_regions_with_times(tmp_path):
    tasks = [
        task(
            region("labels", start=4.25, end=1.5, channel=0, labels=["jump", "turn"]),
            region("timelinelabels", ranges=[{"start": 26, "end": 50}, {"start": 51, "end": 51}],
                   timelinelabels=["run", "fast"]),
            fps="25",
        )
    ]  # fmt: skip
    (video,) = read_results(write_json(tmp_path / "r.json", tasks)).videos
    assert (video.video_id, video.fps) == ("a", 25.0)
    assert {(each.label, each.start_s, each.end_s) for each in video.detections} == {
        ("jump", 1.5, 4.25),
        ("turn", 1.5, 4.25),
        ("run", 1.0, 2.0),
        ("fast", 1.0, 2.0),
        ("run", 2.0, 2.0),
        ("fast", 2.0, 2.0),
    }


def test_a_video_that_is_played_by_html_is_found_in_it(tmp_path):
    sound = region("labels", start=1, end=2, labels=["jump"])
    page = "<video controls src='/data/upload/1/0a1b2c3d-a.mp4' width='100%'></video>"
    tasks = [
        task(sound, video=page),
        task(sound, video="<embed/>", videoSource="/data/upload/1/0a1b2c3d-a.mp4"),
    ]
    for each in tasks:
        path = write_json(tmp_path / "export.json", [each])
        (video,) = read_results(path).videos
        assert (video.video_id, len(video.detections)) == ("a", 1)


def test_json_min_in_seconds(tmp_path):
    tasks = [{"video": "b.mp4", "tricks": [{"start": 1, "end": 2, "labels": ["jump"]}], "n": [3]}]
    (video,) = read_results(write_json(tmp_path / "r.json", tasks)).videos
    assert (video.video_id, video.detections) == ("b", (Detection("jump", 1, 1, 2),))


def test_other_regions_are_counted_by_their_type(tmp_path):
    tasks = [
        task(
            region("labels", start=1.0, end=2.0, labels=["jump"]),
            region("choices", choices=["indoors"]),
            region("choices", start=1.0, end=2.0, choices=["well"]),
            region("videorectangle", sequence=[{"frame": 1}], labels=["dog"]),
            region("labels", start=0, end=4, text="jump", labels=["word"]),
            region("timeserieslabels", start=0, end=4, timeserieslabels=["rest"]),
            region("labels", start=1.0, end=2.0, labels=[]),
            region("labels", start="/p[1]", end="/p[2]", labels=["quote"]),
        ),
        3,
    ]
    path = write_json(tmp_path / "r.json", tasks)
    code, (read, *_) = convert(path, tmp_path / "r.csv")
    assert code == 0
    assert read == (
        f"read 1 mark of 1 video from {path}, left out 8: regions of the type 'choices' are no "
        "labels with times (task 1, task 1); regions of the type 'videorectangle' are no labels "
        "with times (task 1); regions of the type 'labels' are no labels with times (task 1); ..."
    )
    with pytest.raises(DataError, match=r"r\.json: task 1: regions of the type 'choices'"):
        read_results(write_json(path, [task(region("choices", choices=["indoors"]))]))


def test_several_annotations_of_a_task_are_named(tmp_path):
    one = task(region("labels", start=1.0, end=2.0, labels=["jump"]))
    one["annotations"] *= 2
    (note,) = read_results(write_json(tmp_path / "r.json", [one])).notes
    assert (note.where, note.what) == ("task 1", "has 2 annotations; one of them counts")


# ------------------------------------------------------------------------------ known lengths


def test_every_reader_that_knows_the_length_checks_it(tmp_path):
    late = {"label": "a", "score": 1, "segment": [50, 61]}
    stored = {"results": {"v": [late]}, "videos": {"v": {"duration": 60}}}
    sound = region("labels", start=50, end=61, labels=["a"]) | {"original_length": 60.0}
    truth = {
        "database": {"v": {"duration": 60, "annotations": [{"label": "a", "segment": [50, 61]}]}}
    }
    project = {
        "behaviors_conf": {},
        "observations": {
            "o": {
                "type": "MEDIA",
                "file": {"1": ["v.mp4"]},
                "media_info": {"length": {"v.mp4": 60.0}},
                "events": [[61, "", "a", "", ""]],
            }
        },
    }
    for name, value in [
        ("stored.json", stored),
        ("sound.json", [task(sound, video="v.mp4")]),
        ("annotations.json", truth),
        ("p.boris", project),
    ]:
        _, said = convert(write_json(tmp_path / name, value), tmp_path / "r.csv")
        assert [line for line in said if line.startswith("warning: v: 1 of 1 mark outside")], name


def test_the_length_of_the_given_video_counts(tmp_path):
    (tmp_path / "cam.vtt").write_text("WEBVTT\n\n00:01.000 --> 00:09.000\na\n")
    video = make_video(tmp_path / "cam.mp4", 50, 25)
    _, said = convert(tmp_path / "cam.vtt", tmp_path / "r.csv", "--video", video)
    assert said[1] == (
        "warning: cam: 1 of 1 mark outside of the video, which is 2.0 s long (a at 1.0-9.0 s); "
        "are video, frame rate and timecode right?"
    )
