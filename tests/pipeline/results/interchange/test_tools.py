"""Both ways with the library of the other side: it reads what we write, we read what it writes."""

from __future__ import annotations

import json
from datetime import timedelta
from fractions import Fraction

import opentimelineio as otio
import pytest
import srt
import textgrid
import webvtt
from pympi import Elan

from hrpro.errors import DataError, UsageError
from hrpro.pipeline.results.formats import read_results, write_results
from hrpro.pipeline.results.interchange.rates import Rates
from hrpro.pipeline.results.interchange.textgrid import read_textgrid
from hrpro.pipeline.results.model import Detection, Results, VideoResult

LABEL = 'R&B <"x"> größe'
FOUND = (
    Detection("walk", 1, 0.0, 2.0),
    Detection(LABEL, 0.25, 1.0, 3.2),
    Detection(LABEL, 0.5, 2.0, 2.4),  # overlaps the one before
    Detection("clap", 1, 4.0, 4.0),  # a point
)
NTSC = Rates(Fraction(30000, 1001))


@pytest.fixture
def content(tmp_path):
    video = VideoResult("my clip", str(tmp_path / "videos" / "my clip.mp4"), 10.0, 25.0, FOUND)
    return Results([video])


def by_time(detections):
    return sorted(detections, key=lambda each: (each.start_s, each.end_s))


def written(content, path):
    assert write_results(content, path) == [path]
    return path


# ---------------------------------------------------------------------------------------- ELAN


def test_elan_reads_ours(tmp_path, content):
    document = Elan.Eaf(str(written(content, tmp_path / "r.eaf")))
    tiers = {
        name: document.get_annotation_data_for_tier(name) for name in document.get_tier_names()
    }
    assert tiers == {
        LABEL: [(1000, 3200, f"{LABEL} 0.25")],
        f"{LABEL} 2": [(2000, 2400, f"{LABEL} 0.50")],
        "clap": [(4000, 4001, "clap")],
        "walk": [(0, 2000, "walk")],
    }
    (media,) = document.get_linked_files()
    assert media["RELATIVE_MEDIA_URL"] == "./videos/my clip.mp4"
    assert media["MEDIA_URL"] == (tmp_path / "videos" / "my clip.mp4").as_uri()
    assert media["MIME_TYPE"] == "video/mp4"
    assert not list(tmp_path.glob("*.bak"))


def test_we_read_elans(tmp_path):
    document = Elan.Eaf()
    document.add_tier("behaviour")
    document.add_annotation("behaviour", 100, 2500, "jump")
    document.add_annotation("behaviour", 3000, 3500, "")
    document.add_linguistic_type("about", "Symbolic_Association")
    document.add_tier("note", ling="about", parent="behaviour")
    document.add_ref_annotation("note", "behaviour", 150, "high")
    document.add_linked_file("file:///C:/films/day%201.mp4", "../day 1.mp4", "video/mp4")
    document.to_file(str(tmp_path / "r.eaf"))
    (video,) = read_results(tmp_path / "r.eaf").videos
    assert video.video_id == "day 1"
    assert by_time(video.detections) == [
        Detection("jump", 1, 0.1, 2.5),
        Detection("behaviour", 1, 3.0, 3.5),
    ]


# --------------------------------------------------------------------------------------- Praat


def test_textgrid_library_reads_ours(tmp_path, content):
    grid = textgrid.TextGrid.fromFile(str(written(content, tmp_path / "r.TextGrid")))
    assert (grid.minTime, grid.maxTime) == (0, 10)
    names = [name.replace('""', '"') for name in grid.getNames()]  # it does not, in names
    assert names == [LABEL, f"{LABEL} 2", "walk", "clap"]
    marks = {
        name: [(each.minTime, each.maxTime, each.mark) for each in tier if each.mark]
        for name, tier in zip(names[:3], grid.tiers[:3], strict=True)
    }
    assert marks == {
        LABEL: [(1.0, 3.2, f"{LABEL} 0.25")],
        f"{LABEL} 2": [(2.0, 2.4, f"{LABEL} 0.50")],
        "walk": [(0.0, 2.0, "walk")],
    }
    assert [(point.time, point.mark) for point in grid.tiers[3]] == [(4.0, "clap")]
    assert sum(each.maxTime - each.minTime for each in grid.tiers[0]) == pytest.approx(10)


def test_we_read_textgrids_of_the_library(tmp_path):
    tier, points = textgrid.IntervalTier("t", 0, 9), textgrid.PointTier("clicks", 0, 9)
    tier.add(1.5, 2.25, 'say "hi"')
    points.add(3, "click")
    grid = textgrid.TextGrid(maxTime=9)
    grid.extend([tier, points])
    grid.write(str(tmp_path / "r.TextGrid"))
    assert by_time(read_results(tmp_path / "r.TextGrid").videos[0].detections) == [
        Detection('say "hi"', 1, 1.5, 2.25),
        Detection("click", 1, 3, 3),
    ]


SHORT = """File type = "ooTextFile"
"TextGrid"

0 ! from
9
<exists>
2
"IntervalTier" "speaker"
0 9 3
0 1 "" 1 2.5 "größe" 2.5 9 ""
"TextTier" "clicks" 0 9 1
3 ""
"""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_short_textgrids_and_both_encodings(tmp_path, encoding):
    path = tmp_path / "r.TextGrid"
    path.write_text(SHORT, encoding=encoding)
    assert by_time(read_results(path).videos[0].detections) == [
        Detection("größe", 1, 1, 2.5),
        Detection("clicks", 1, 3, 3),
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("TextGrid", "Pitch", r"r\.TextGrid:2: not a TextGrid"),
        ('1 2.5 "größe"', '1 "größe"', r"r\.TextGrid:10: .* a number was expected"),
        ("<exists>", "", r":7: .*<exists> or <absent> was expected"),
        ("0 9 3", "0 9 2.5", r":9: a count was expected, not 2\.5"),
        ("IntervalTier", "SpellTier", r":8: tier 'speaker' is of the unknown class 'SpellTier'"),
    ],
)
def test_bad_textgrids_name_the_line(tmp_path, old, new, message):
    path = tmp_path / "r.TextGrid"
    path.write_text(SHORT.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_textgrid(path)


# ----------------------------------------------------------------------------------- subtitles


def test_webvtt_both_ways(tmp_path, content):
    path = written(content, tmp_path / "r.vtt")
    cues = [(cue.start, cue.end) for cue in webvtt.read(path)]
    assert cues == [
        ("00:00:00.000", "00:00:02.000"),
        ("00:00:01.000", "00:00:03.200"),
        ("00:00:02.000", "00:00:02.400"),
        ("00:00:04.000", "00:00:04.001"),
    ]
    webvtt.read(path).save(str(tmp_path / "theirs.vtt"))
    (video,) = read_results(tmp_path / "theirs.vtt").videos
    assert by_time(video.detections) == list(FOUND)


def test_srt_both_ways(tmp_path, content):
    path = written(content, tmp_path / "r.srt")
    cues = list(srt.parse(path.read_text(encoding="utf-8")))
    assert [cue.content for cue in cues][1:3] == [
        'R&B \u2039"x"\u203a größe 0.25',
        'R&B \u2039"x"\u203a größe 0.50',
    ]
    assert cues[1].end == timedelta(seconds=3.2)
    path.write_text(srt.compose(cues))
    assert [(each.start_s, each.end_s, each.score) for each in
            by_time(read_results(path).videos[0].detections)] == [
        (each.start_s, each.end_s, each.score) for each in FOUND
    ]  # fmt: skip


def test_foreign_subtitles(tmp_path):
    path = tmp_path / "r.vtt"
    path.write_text(
        "\ufeffWEBVTT - title\r\n\r\nNOTE a\r\nb\r\n\r\nSTYLE\r\n::cue {}\r\n\r\nid\r\n"
        "01:02.500 --> 01:03.000 align:start\r\n<v Bob>two <i>lines</i>\r\n&amp; more\r\n\r\n"
        "00:00.000 --> 00:01.000\r\n",
        encoding="utf-8",
    )
    assert read_results(path).videos[0].detections == (
        Detection("two lines & more", 1, 62.5, 63.0),
    )
    path.write_text("WEBVTT\n\n00:01.0 --> 00:02.000\nx\n")
    with pytest.raises(DataError, match=r"r\.vtt:3: not a timing such as"):
        read_results(path)
    path.write_text("WEBVTT\n\n00:03.000 --> 00:02.000\nx\n")
    with pytest.raises(DataError, match=r"r\.vtt:3: the end lies before the start"):
        read_results(path)


# ---------------------------------------------------------------------------------- video editors


def test_opentimelineio_reads_ours(tmp_path, content):
    timeline = otio.adapters.read_from_file(str(written(content, tmp_path / "r.otio")))
    (clip,) = timeline.find_clips()
    assert clip.media_reference.target_url == "videos/my clip.mp4"
    assert clip.source_range.duration == otio.opentime.RationalTime(250, 25)
    assert [
        (m.name, m.marked_range.start_time.value, m.marked_range.duration.value, m.color)
        for m in clip.markers
    ] == [
        ("walk", 0, 50, "BLUE"),
        (LABEL, 25, 55, "RED"),
        (LABEL, 50, 10, "RED"),
        ("clap", 100, 0, "GREEN"),
    ]
    (video,) = read_results(tmp_path / "r.otio").videos
    assert (video.video_id, video.fps, by_time(video.detections)) == ("my clip", 25.0, list(FOUND))


def test_we_read_timelines_of_editors(tmp_path):
    """The media starts at 01:00:00:00, as cameras have it; markers count in its timecode."""
    rate = 30000 / 1001
    time, span = otio.opentime.RationalTime, otio.opentime.TimeRange
    hour = 108_000
    clip = otio.schema.Clip(
        name="shot",
        media_reference=otio.schema.ExternalReference(
            "file:///films/day%201.mov", span(time(hour, rate), time(900, rate))
        ),
        source_range=span(time(hour, rate), time(300, rate)),
    )
    clip.markers.append(
        otio.schema.Marker("jump", span(time(hour + 30, rate), time(15, rate)), "GREEN")
    )
    track = otio.schema.Track(children=[clip])
    timeline = otio.schema.Timeline(tracks=[track])
    timeline.tracks.markers.append(otio.schema.Marker("", span(time(60, rate), time(0, rate))))
    otio.adapters.write_to_file(timeline, str(tmp_path / "r.otio"))
    (video,) = read_results(tmp_path / "r.otio").videos
    assert (video.video_id, video.path) == ("day 1", "/films/day 1.mov")
    assert [(each.label, round(each.start_s * rate, 6), round(each.end_s * rate, 6)) for each in
            by_time(video.detections)] == [("jump", 30, 45), ("RED", 60, 60)]  # fmt: skip


def test_only_timelines_are_read(tmp_path):
    path = tmp_path / "r.otio"
    otio.adapters.write_to_file(otio.schema.SerializableCollection(), str(path))
    with pytest.raises(DataError, match=r"r\.otio: a Timeline was expected"):
        read_results(path)


def test_edl_as_documented(tmp_path, content):
    path = written(content, tmp_path / "r.edl")
    assert path.read_text(encoding="utf-8").split("\n")[:9] == [
        "TITLE: my clip",
        "FCM: NON-DROP FRAME",
        "",
        "001  AX       V     C        00:00:00:00 00:00:02:00 01:00:00:00 01:00:02:00",
        "* FROM CLIP NAME:  my clip.mp4",
        "* LOC: 01:00:00:00 BLUE    walk",
        "002  AX       V     C        00:00:01:00 00:00:03:05 01:00:02:00 01:00:04:05",
        "* FROM CLIP NAME:  my clip.mp4",
        f"* LOC: 01:00:02:00 RED     {LABEL} 0.25",
    ]
    (video,) = read_results(path, Rates(Fraction(25))).videos
    assert (video.video_id, by_time(video.detections)) == ("my clip", list(FOUND))


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(25), Fraction(60000, 1001)])
def test_cmx3600_adapter_reads_ours(tmp_path, rate):
    frames = [(0, 50), (30, 31), (107_892, 215_000)]
    found = [Detection("x", 1, float(start / rate), float(end / rate)) for start, end in frames]
    content = Results([VideoResult("clip", "clip.mp4", 9999.0, float(rate), found)])
    timeline = otio.adapters.read_from_file(
        str(written(content, tmp_path / "r.edl")), rate=float(rate)
    )
    clips = list(timeline.find_clips())
    assert [
        (clip.source_range.start_time.value, clip.source_range.end_time_exclusive().value)
        for clip in clips
    ] == frames
    assert [clip.markers[0].name for clip in clips] == ["x"] * 3
    assert [clip.name for clip in clips] == ["clip.mp4"] * 3


def test_we_read_edls_of_the_adapter(tmp_path):
    """The adapter writes drop-frame timecode at 29.97."""
    rate = 30000 / 1001
    time, span = otio.opentime.RationalTime, otio.opentime.TimeRange
    frames = [(1799, 1801), (17_981, 17_985), (107_892, 107_992)]
    track = otio.schema.Track(kind="Video")
    for start, end in frames:
        clip = otio.schema.Clip("day 1.mov", None, span(time(start, rate), time(end - start, rate)))
        clip.markers.append(otio.schema.Marker("JUMP", span(time(start, rate), time(0, rate))))
        track.append(clip)
    timeline = otio.schema.Timeline(tracks=[track])
    text = otio.adapters.write_to_string(timeline, "cmx_3600", rate=rate)
    assert "00:59:59;" in text or "01:00:00;00" in text
    (tmp_path / "r.edl").write_text(text)
    (video,) = read_results(tmp_path / "r.edl", NTSC).videos
    assert video.video_id == "day 1"
    assert [(round(each.start_s * rate), round(each.end_s * rate), each.label) for each in
            by_time(video.detections)] == [(*pair, "JUMP") for pair in frames]  # fmt: skip


def test_edl_with_several_markers_in_an_event(tmp_path):
    path = tmp_path / "r.edl"
    path.write_text(
        "TITLE: x\n001 AX A C 00:00:00:00 00:00:09:00 01:00:00:00 01:00:09:00\n* LOC: 00:00:01:00 "
        "RED no\n002 AX V C 00:00:00:00 00:00:09:00 01:00:00:00 01:00:09:00\n* LOC: 00:00:01:00 "
        "RED one\n* LOC: 00:00:02:12 GREEN\nM2 AX 050 00:00:00:00\n"
    )
    assert read_results(path, Rates(Fraction(25))).videos[0].detections == (
        Detection("one", 1, 1, 1),
        Detection("GREEN", 1, 2.48, 2.48),
    )
    with pytest.raises(UsageError, match=r"counts in frames; give the frame rate with --fps"):
        read_results(path)
    assert [(note.where, note.marks, note.what) for note in
            read_results(path, Rates(Fraction(12))).notes] == [
        ("2", 1, "is on a sound track"),
        ("6", 1, "00:00:02:12 has more than 12 frames in a second; is the frame rate right?"),
    ]  # fmt: skip
    path.write_text("TITLE: x\n\n001 AX V C 00:00:00:00\n")
    with pytest.raises(DataError, match=r"r\.edl:3: not an event"):
        read_results(path, Rates(Fraction(25)))


# -------------------------------------------------------------------------------- Label Studio


def test_label_studio_import_is_as_documented(tmp_path, content):
    path = written(content, tmp_path / "r.labelstudio.json")
    (task,) = json.loads(path.read_text(encoding="utf-8"))
    assert task["data"] == {
        "video": str(tmp_path / "videos" / "my clip.mp4"),
        "video_id": "my clip",
        "fps": 25.0,
    }
    (annotation,) = task["annotations"]
    assert {region["type"] for region in annotation["result"]} == {"timelinelabels"}
    values = [region["value"] for region in annotation["result"]]
    assert {"ranges": [{"start": 1, "end": 50}], "timelinelabels": ["walk"]} in values
    assert {"ranges": [{"start": 101, "end": 101}], "timelinelabels": ["clap"]} in values
    assert by_time(read_results(path).videos[0].detections) == list(FOUND)


def test_detections_of_a_model_become_predictions(tmp_path, content):
    content = Results(content.videos, {"name": "kinetics400"})
    path = written(content, tmp_path / "r.labelstudio.json")
    (task,) = json.loads(path.read_text(encoding="utf-8"))
    assert task["predictions"][0]["model_version"] == "kinetics400"
    assert 0 <= task["predictions"][0]["score"] <= 1
    assert "annotations" not in task
    assert by_time(read_results(path).videos[0].detections) == list(FOUND)


def region(start, end, label="jump"):
    value = {"ranges": [{"start": start, "end": end}], "timelinelabels": [label]}
    return {"type": "timelinelabels", "from_name": "x", "to_name": "video", "value": value}


def test_exports_of_label_studio(tmp_path):
    old, right = {"result": [region(1, 9)]}, {"result": [region(26, 50), {"type": "choices"}]}
    tasks = [
        {
            "data": {"film": "/data/upload/3/0a1b2c3d-day%201.mp4"},
            "annotations": [right | {"ground_truth": True}, old, old | {"was_cancelled": True}],
            "predictions": [old],
        },
        {"data": {"video": "/data/local-files/?d=films/day 2.mp4", "fps": 50}, "annotations": []},
    ]
    path = tmp_path / "export.json"
    path.write_text(json.dumps(tasks))
    first, second = read_results(path, Rates(Fraction(25))).videos
    assert (first.video_id, first.detections) == ("day 1", (Detection("jump", 1, 1, 2),))
    assert (second.video_id, second.fps, second.detections) == ("day 2", 50.0, ())
    with pytest.raises(UsageError, match="day 1: this format counts in frames"):
        read_results(path)
    least = [{"id": 7, "video": "s3://x/day 1.mp4", "labels": [region(1, 1)["value"]]}]
    path.write_text(json.dumps(least))
    assert read_results(path, NTSC).videos[0].detections == (Detection("jump", 1, 0, 0),)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (3, "task 1: an object is expected"),
        ({"data": {}}, "task 1: 'data' names no video"),
        ({"data": {"video": "v"}, "annotations": 3}, "'annotations' must be a list"),
        ({"data": {"video": "v"}, "annotations": [{"result": [region(0, 3)]}]}, "from 1"),
        ({"data": {"video": "v"}, "annotations": [{"result": [region(1, 3, 5)]}]}, "label must be"),
    ],
)
def test_bad_tasks(tmp_path, task, message):
    path = tmp_path / "r.labelstudio.json"
    path.write_text(json.dumps([task]))
    with pytest.raises(DataError, match=rf"r\.labelstudio\.json: .*{message}"):
        read_results(path, NTSC)
