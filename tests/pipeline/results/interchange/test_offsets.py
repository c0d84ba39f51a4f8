"""Where other tools count from: media offsets, record time, timelines, trimmed clips."""

from __future__ import annotations

import json
from fractions import Fraction

import opentimelineio as otio
import pytest
from videos import make_video, with_timecode

from hrpro.errors import DataError, UsageError
from hrpro.extract.probe import probe
from hrpro.pipeline.convert import convert
from hrpro.pipeline.results.formats import read_results
from hrpro.pipeline.results.interchange.rates import Rates, exact_rate
from hrpro.pipeline.results.interchange.timecode import from_timecode, to_timecode
from hrpro.pipeline.results.model import Detection

PAL = Rates(Fraction(25))
NTSC_RATE = exact_rate(29.97)


def found(path, rates=PAL):
    """Every mark of a file, in order of video and time."""
    return sorted(
        (video.video_id, each.label, each.start_s, each.end_s)
        for video in read_results(path, rates).videos
        for each in video.detections
    )


def notes(path, rates=PAL):
    return [(note.where, note.what, note.marks) for note in read_results(path, rates).notes]


# ---------------------------------------------------------------------------------------- ELAN


def eaf(path, *media, header="", slots=("1000", "3000"), units="milliseconds"):
    descriptors = "".join(f"<MEDIA_DESCRIPTOR {each}/>" for each in media)
    times = "".join(
        f'<TIME_SLOT TIME_SLOT_ID="ts{i}"' + (f' TIME_VALUE="{time}"/>' if time else "/>")
        for i, time in enumerate(slots, start=1)
    )
    annotations = "".join(
        f'<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a{i}" TIME_SLOT_REF1="ts{i}" '
        f'TIME_SLOT_REF2="ts{i + 1}"><ANNOTATION_VALUE>wave</ANNOTATION_VALUE>'
        "</ALIGNABLE_ANNOTATION></ANNOTATION>"
        for i in range(1, len(slots), 2)
    )
    path.write_text(
        f'<ANNOTATION_DOCUMENT><HEADER {header} TIME_UNITS="{units}">{descriptors}</HEADER>'
        f'<TIME_ORDER>{times}</TIME_ORDER><TIER TIER_ID="acts" LINGUISTIC_TYPE_REF="d">'
        f"{annotations}</TIER></ANNOTATION_DOCUMENT>"
    )
    return path


SOUND = 'MEDIA_URL="file:///rec/mic.wav" MIME_TYPE="audio/x-wav" TIME_ORIGIN="250"'
FRONT = 'MEDIA_URL="file:///rec/front.mp4" MIME_TYPE="video/mp4" TIME_ORIGIN="5000"'
SIDE = 'RELATIVE_MEDIA_URL="./side.mpg" MIME_TYPE="video/mpeg" TIME_ORIGIN="-500"'


def test_elan_counts_from_the_media_offset_of_the_video(tmp_path):
    path = tmp_path / "r.eaf"
    assert found(eaf(path, FRONT)) == [("front", "wave", 6.0, 8.0)]
    assert found(eaf(path, SOUND, FRONT)) == [("front", "wave", 6.0, 8.0)]
    assert found(eaf(path, SOUND)) == [("mic.wav", "wave", 1.25, 3.25)]
    assert found(eaf(path)) == [("r", "wave", 1.0, 3.0)]
    unknown = 'MEDIA_URL="file:///rec/cam.mkv" MIME_TYPE="unknown"'
    assert found(eaf(path, SOUND, unknown)) == [("cam", "wave", 1.0, 3.0)]


def test_elan_with_several_videos_says_which_and_takes_the_one_that_is_named(tmp_path):
    path = eaf(tmp_path / "r.eaf", SOUND, FRONT, SIDE)
    assert found(path) == [("front", "wave", 6.0, 8.0)]
    assert notes(path) == [("", "links 2 videos (front, side); read for front", 0)]
    named = Rates(of_videos={"films/side.mpg": Fraction(25)})
    assert found(path, named) == [("side", "wave", 0.5, 2.5)]


def test_elan_of_old_names_its_media_in_the_header_and_may_count_frames(tmp_path):
    path = eaf(tmp_path / "r.eaf", header='MEDIA_FILE="film.mpg"', units="PAL-frames")
    assert found(path) == [("film", "wave", 40.0, 120.0)]
    path = eaf(path, slots=("30", "60"), units="NTSC-frames")
    assert found(path) == [("r", "wave", 1.001, 2.002)]
    with pytest.raises(DataError, match=r"r\.eaf: its time unit 'hours' is unknown"):
        found(eaf(path, units="hours"))
    with pytest.raises(DataError, match=r"r\.eaf: the time is 'soon', not a whole number"):
        found(eaf(path, 'MEDIA_URL="a.mp4" TIME_ORIGIN="soon"'))


def test_elan_annotations_without_times_cost_themselves(tmp_path):
    path = eaf(tmp_path / "r.eaf", slots=("1000", "2000", "3000", "", "x", "9"))
    assert found(path) == [("r", "wave", 1.0, 2.0)]
    assert notes(path) == [
        ("tier 'acts'", "has no time of its own", 1),
        ("tier 'acts'", "the time is 'x', not a whole number", 1),
    ]


# ----------------------------------------------------------------------------------------- EDL

EVENT = "001 CAM1 V C 00:00:10:00 00:00:20:00 01:00:00:00 01:00:10:00\n* FROM CLIP NAME: cam1.mov\n"


def edl(tmp_path, text, head="TITLE: CUT\nFCM: NON-DROP FRAME\n\n"):
    path = tmp_path / "cut.edl"
    path.write_text(head + text)
    return path


def test_one_locator_marks_its_event_only_from_the_first_frame(tmp_path):
    path = edl(tmp_path, EVENT + "* LOC: 01:00:00:00 RED jump\n")
    assert found(path) == [("cam1", "jump", 10.0, 20.0)]
    path = edl(tmp_path, EVENT + "* LOC: 01:00:03:00 RED jump\n")
    assert found(path) == [("cam1", "jump", 13.0, 13.0)]
    path = edl(tmp_path, EVENT + "* LOC: 00:00:10:00 RED jump\n")  # in source time, as hrpro did
    assert found(path) == [("cam1", "jump", 10.0, 20.0)]


def test_locators_follow_the_speed_and_cost_themselves(tmp_path):
    fast = EVENT.replace("00:00:20:00", "00:00:30:00")
    marks = "* LOC: 01:00:03:00 RED jump\n* LOC: 02:00:03:00 RED no\n* LOC: 00:00:12:00 RED fall\n"
    path = edl(tmp_path, fast + marks)
    assert found(path) == [("cam1", "fall", 12.0, 12.0), ("cam1", "jump", 16.0, 16.0)]
    assert notes(path) == [("7", "the locator lies outside of its event", 1)]


def test_a_dissolve_is_about_the_clip_that_it_leads_to(tmp_path):
    text = (
        "002 CAM1 V C 00:00:20:00 00:00:20:00 01:00:10:00 01:00:10:00\n"
        "002 CAM2 V D 025 00:00:05:00 00:00:15:00 01:00:10:00 01:00:20:00\n"
        "* FROM CLIP NAME: cam1.mov\n* TO CLIP NAME: cam2.mov\n* LOC: 01:00:12:00 RED jump\n"
    )
    assert found(edl(tmp_path, text)) == [("cam2", "jump", 7.0, 7.0)]


def test_reels_and_files_tell_clips_apart(tmp_path):
    event = EVENT.splitlines()[0]
    text = (
        f"{event}\n* LOC: 01:00:00:00 RED a\n{event.replace('CAM1', 'CAM2')}\n"
        "* LOC: 01:00:00:00 RED b\n"
    )
    assert [each[:2] for each in found(edl(tmp_path, text))] == [("CAM1", "a"), ("CAM2", "b")]
    text = "".join(
        f"{event}\n* FROM CLIP NAME: GX01.MP4\n* SOURCE FILE: /rec/{day}/GX01.MP4\n"
        f"* LOC: 01:00:00:00 RED {day}\n"
        for day in ("mon", "tue")
    )
    assert [each[:2] for each in found(edl(tmp_path, text))] == [
        ("mon/GX01", "mon"),
        ("tue/GX01", "tue"),
    ]


def test_drop_frame_locators(tmp_path):
    text = (
        "001 AX V C 00:00:00;00 00:10:00;00 01:00:00;00 01:10:00;00\n* FROM CLIP NAME: a.mov\n"
        "* LOC: 01:01:00;02 RED x\n* LOC: 01:02:00;02 RED y\n"
    )
    path = edl(tmp_path, text, "TITLE: x\nFCM: DROP FRAME\n")
    frames = [each[2] * NTSC_RATE for each in found(path, Rates(NTSC_RATE))]
    assert [round(frame, 6) for frame in frames] == [1800, 3598]


MARKERS = (
    "001 001 V C 10:00:05:00 10:00:05:01 10:00:05:00 10:00:05:01\n"
    " 2 cuts |C:ResolveColorBlue |M: |D:50\n\n"
    "002 002 V C 10:00:20:00 10:00:20:01 10:00:20:00 10:00:20:01\n"
    " |C:ResolveColorRed |M:fall | twice |D:1\n"
)


def test_markers_of_resolve(tmp_path):
    path = edl(tmp_path, MARKERS)
    assert found(path) == [("cut", "2 cuts", 5.0, 7.0), ("cut", "fall | twice", 20.0, 20.0)]
    assert "taken to be 10:00:00:00" in notes(path)[0][1]
    convert(path, tmp_path / "r.csv", fps=Fraction(25), timecode="09:59:55:00")
    assert found(tmp_path / "r.csv")[0] == ("cut", "2 cuts", 10.0, 12.0)
    with pytest.raises(UsageError, match="--timecode soon: 'soon' is not a timecode"):
        convert(path, tmp_path / "r.csv", fps=Fraction(25), timecode="soon")


def test_markers_of_resolve_in_drop_frame(tmp_path):
    rates = Rates(NTSC_RATE)
    for head in ("TITLE: T\nFCM: DROP FRAME\n\n", "TITLE: T\nFCM: NON-DROP FRAME\n\n"):
        time = "01:10:00;00"  # ten minutes of frames behind 01:00:00;00, whatever the head says
        path = edl(
            tmp_path,
            f"001  001      V     C        {time} 01:10:00;01 {time} 01:10:00;01  \n"
            " |C:ResolveColorCream |M:jump |D:1\n",
            head,
        )
        ((_, label, start_s, _),) = found(path, rates)
        assert (label, round(start_s, 2)) == ("jump", 600.0)


def test_notes_of_markers_may_begin_with_a_number_and_have_several_lines(tmp_path):
    path = edl(
        tmp_path,
        "001  001      V     C        01:00:05:00 01:00:05:01 01:00:05:00 01:00:05:01  \n"
        "2 people,\n1 dog |C:ResolveColorSky |M:run |D:25\n",
    )
    assert found(path) == [("cut", "run", 5.0, 6.0)]


def test_locators_in_lower_case_without_color_and_with_semicolons(tmp_path):
    path = edl(
        tmp_path,
        "001  AX V C 00;00;10;00 00;00;20;00 01;00;00;00 01;00;10;00\n"
        "* From Clip Name: cam1.mp4\n"
        "* LOC: 01;00;03;00 JUMP HIGH\n"
        "* Loc: 01;00;04;00 Yellow Fall\n"
        "* LOC: 01;00;05;00 Redo\n"
        "* LOC: 01;00;06;00 DENIM\n",
    )
    assert found(path) == [
        ("cam1", "DENIM", 16.0, 16.0),
        ("cam1", "Fall", 14.0, 14.0),
        ("cam1", "JUMP HIGH", 13.0, 13.0),
        ("cam1", "Redo", 15.0, 15.0),
    ]


def test_an_edl_without_any_mark_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"cut\.edl:4: no locator .* and no marker names it"):
        found(edl(tmp_path, EVENT))


@pytest.mark.parametrize("rate", [Fraction(25), NTSC_RATE, exact_rate(23.976)])
def test_timecode_both_ways(rate):
    for frame in (0, 1, 24, 1799, 107_892, 1_000_000):
        assert from_timecode(to_timecode(frame, rate), rate) == frame


# -------------------------------------------------------------------------------- time of day


@pytest.mark.parametrize("suffix", [".mov", ".mp4"])
def test_time_of_day_is_taken_off_where_the_video_has_it(tmp_path, suffix):
    video = make_video(tmp_path / f"plain{suffix}", 50, 25)
    timed = with_timecode(video, tmp_path / f"cam1{suffix}", "10:30:10:00")
    assert (probe(video).timecode, probe(timed).timecode) == (None, "10:30:10:00")
    text = EVENT.replace("00:00:10:00 00:00:20:00", "10:30:10:12 10:30:11:00")
    path = edl(tmp_path, text + "* LOC: 01:00:00:00 RED jump\n")
    said = []
    convert(path, tmp_path / "r.csv", videos=[timed], tell=said.append)
    ((video_id, label, start_s, end_s),) = found(tmp_path / "r.csv")
    assert (video_id, label) == ("cam1", "jump")
    assert (start_s, end_s) == pytest.approx((0.48, 1.0))
    assert said[1:] == ["note: cam1: times count from its timecode, 10:30:10:00"]
    convert(path, tmp_path / "r.csv", videos=[video], tell=said.append)
    assert said[-1].startswith("warning: plain: 1 of 1 mark outside of the video, which is 2.0 s")


# ------------------------------------------------------------------------------ OpenTimelineIO


def time(seconds, rate=25):
    return otio.opentime.RationalTime(seconds * rate, rate)


def span(start, length, rate=25):
    return otio.opentime.TimeRange(time(start, rate), time(length, rate))


def clip(name, start, length, *markers, media_start=0):
    return otio.schema.Clip(
        name,
        otio.schema.ExternalReference(f"{name}.mov", span(media_start, 1000)),
        span(start, length),
        markers=[otio.schema.Marker(*each) for each in markers],
    )


def gap(length, *markers):
    return otio.schema.Gap(
        source_range=span(0, length), markers=[otio.schema.Marker(*each) for each in markers]
    )


def saved(tmp_path, *layers, marks=(), start=None):
    timeline = otio.schema.Timeline("cut", global_start_time=start)
    timeline.tracks.extend(layers)
    timeline.tracks.markers.extend(otio.schema.Marker(*each) for each in marks)
    path = tmp_path / "cut.otio"
    otio.adapters.write_to_file(timeline, str(path))
    return path


def video_track(*children, kind="Video"):
    return otio.schema.Track("", list(children), kind=kind)


def test_a_marker_on_a_sequence_marks_what_is_to_be_seen(tmp_path):
    below = video_track(clip("a", 100, 10), gap(5), clip("b", 0, 10, media_start=0))
    above = video_track(gap(2), clip("c", 50, 3))
    sound = video_track(clip("mic", 7, 25), kind="Audio")
    marks = [
        ("one clip", span(6, 1)),
        ("a cut", span(0, 4)),
        ("a point", span(16, 0)),
        ("a gap", span(11, 2)),
    ]
    path = saved(tmp_path, below, above, sound, marks=marks)
    assert found(path) == [
        ("a", "a cut", 100.0, 102.0),
        ("a", "one clip", 106.0, 107.0),
        ("b", "a point", 1.0, 1.0),
        ("c", "a cut", 50.0, 52.0),
    ]
    assert notes(path) == [("marker 'a gap'", "no clip is to be seen there", 1)]


def test_markers_on_gaps_tracks_and_nested_stacks(tmp_path):
    nested = otio.schema.Stack("inner", [video_track(clip("n", 30, 10))], source_range=span(4, 3))
    nested.markers.append(otio.schema.Marker("inside", span(5, 1)))
    below = video_track(clip("a", 100, 10), nested)
    above = video_track(gap(10, ("on a gap", span(3, 1))))
    above.markers.append(otio.schema.Marker("on a track", span(4, 1)))
    path = saved(tmp_path, below, above, marks=[("outside", span(11, 1))])
    assert found(path) == [
        ("a", "on a gap", 103.0, 104.0),
        ("a", "on a track", 104.0, 105.0),
        ("n", "inside", 35.0, 36.0),
        ("n", "outside", 35.0, 36.0),
    ]


def test_trimmed_clips_timecode_speed_and_transitions(tmp_path):
    slow = clip("slow", 10, 10)
    slow.effects.append(otio.schema.LinearTimeWarp(time_scalar=0.5))
    timed = clip("timed", 3610, 10, ("own", span(3612, 1)), media_start=3600)
    fade = otio.schema.Transition("fade", "SMPTE_Dissolve", time(1), time(1))
    path = saved(tmp_path, video_track(slow, fade, timed), marks=[
        ("half", span(4, 2)), ("late", span(11, 2))]
    )  # fmt: skip
    assert found(path) == [
        ("slow", "half", 12.0, 13.0),
        ("timed", "late", 11.0, 13.0),
        ("timed", "own", 12.0, 13.0),
    ]


def test_markers_in_the_timecode_of_the_timeline(tmp_path):
    track = video_track(clip("a", 0, 10))
    path = saved(tmp_path, track, marks=[("x", span(3602, 1))], start=time(3600))
    assert found(path) == [("a", "x", 2.0, 3.0)]


def test_a_clip_of_unknown_length_costs_the_markers_that_need_it(tmp_path):
    path = saved(tmp_path, video_track(otio.schema.Clip("x"), clip("a", 0, 9, ("own", span(1, 1)))),
                 marks=[("y", span(1, 1))])  # fmt: skip
    assert found(path) == [("a", "own", 1.0, 2.0)]
    assert notes(path) == [("marker 'y'", "the length of a clip before or around it is unknown", 1)]


# ------------------------------------------------------------------------------------- streams


def test_captions_of_a_stream(tmp_path):
    path = tmp_path / "seg.vtt"
    head = "WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:10.000,MPEGTS:900000\n"
    path.write_text(f"{head}\n00:11.000 --> 00:12.000\njump\n")
    assert found(path) == [("seg", "jump", 1.0, 2.0)]
    ((_, said, _),) = notes(path)
    assert said.startswith("captions of a stream: 10.000 s in them") and "10.000 s" in said[25:]
    path.write_text(path.read_text().replace("00:00:10.000", "00:00:00.000").replace("900000", "0"))
    assert found(path) == [("seg", "jump", 11.0, 12.0)] and notes(path) == []


# -------------------------------------------------------------------------------- Premiere Pro


def test_markers_of_premiere(tmp_path):
    """Tabs and UTF-16, as it writes them."""
    path = tmp_path / "cut.csv"
    path.write_text(
        "Marker Name\tDescription\tIn\tOut\tDuration\tMarker Type\n"
        "jump\thigh\t00:00:01:00\t00:00:02:12\t00:00:01:12\tComment\n"
        "\tfall\t01:00:03:00\t01:00:03:00\t00:00:00:00\tChapter\n"
        "x\t\tsoon\t00:00:03:00\t\tComment\n",
        encoding="utf-16",
    )
    assert found(path) == [("cut", "fall", 3603.0, 3603.0), ("cut", "jump", 1.0, 2.48)]
    assert notes(path) == [("4", "'soon' is not a timecode such as 01:00:00:00", 1)]
    with pytest.raises(UsageError, match="cut: this format counts in frames"):
        read_results(path)


# --------------------------------------------------------------------------------------- BORIS


def boris(tmp_path, **observation):
    path = tmp_path / "p.boris"
    conf = {"0": {"type": "Point event", "code": "peck"}, "1": {"type": "State event", "code": "s"}}
    about = {"type": "MEDIA", "events": [[10.0, "", "peck", "", ""]], **observation}
    path.write_text(json.dumps({"behaviors_conf": conf, "observations": {"first": about}}))
    return path


@pytest.mark.parametrize(
    ("observation", "video_id", "time_s"),
    [
        ({"file": {"1": ["a.mp4"]}, "time offset": 4.0}, "a", 6.0),
        ({"file": {"1": ["a.mp4"]}, "media_info": {"offset": {"1": 2.5}}}, "a", 7.5),
        (
            {
                "file": {"1": ["a.wav"], "2": ["b.mp4"]},
                "media_info": {"offset": {"1": 0.0, "2": "-1.5"}},
            },
            "b",
            11.5,
        ),
        (
            {"file": {"1": ["a.mp4"]}, "time offset": 1, "media_info": {"offset": {"1": 2}}},
            "a",
            7.0,
        ),
    ],
)
def test_offsets_of_boris_are_taken_off(tmp_path, observation, video_id, time_s):
    path = boris(tmp_path, **observation)
    assert found(path) == [(video_id, "peck", time_s, time_s)]
    offsets = observation.get("media_info", {}).get("offset", {})
    assert len(notes(path)) == bool(offsets) and all(
        "media offset" in note[1] for note in notes(path)
    )


def test_several_players_of_boris_say_which_counts(tmp_path):
    path = boris(tmp_path, file={"1": ["a.mp4"], "2": ["b.mp4"]})
    assert found(path) == [("a", "peck", 10.0, 10.0)]
    assert notes(path) == [
        ("observation 'first'", "plays 2 videos side by side; read for player 1", 0)
    ]


def test_what_fits_without_timecode_is_not_moved(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text("video,label,start,end,score\ncam1,a,0.5,1.0,1\n")
    video = make_video(tmp_path / "plain.mp4", 50, 25)
    timed = with_timecode(video, tmp_path / "cam1.mp4", "00:00:00:05")
    said = []
    convert(path, tmp_path / "out.json", videos=[timed], tell=said.append)
    (result,) = read_results(tmp_path / "out.json").videos
    assert result.detections == (Detection("a", 1, 0.5, 1.0),)
    assert said == [f"read 1 mark of 1 video from {path}"]
