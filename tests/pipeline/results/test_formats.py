"""Result files by suffix: what is in them, that they read back, and what is refused early."""

from __future__ import annotations

import csv
import os
import re
import stat
import sys
from importlib.metadata import EntryPoint

import pytest
from hypothesis import given
from hypothesis import strategies as st
from result_strategies import results

from hrpro.errors import DataError, HrproError, UsageError
from hrpro.pipeline.results import formats
from hrpro.pipeline.results.formats import (
    check_outputs,
    per_video_paths,
    read_results,
    write_results,
)
from hrpro.pipeline.results.model import Detection, Results, VideoResult

pytestmark = pytest.mark.core

TWO = [Detection("walk", 0.25, 1.5, 3601.0004), Detection("R&B <i>--> x", 0.5, 0.0, 0.9996)]
ONE_VIDEO = Results([VideoResult("clip", detections=TWO)])


def written(tmp_path, name, content):
    (path,) = write_results(content, tmp_path / name)
    return path.read_text(encoding="utf-8")


# ------------------------------------------------------------------------------ JSON and CSV

# CSV readers disagree on line ends and NUL inside a cell; the writer makes them spaces.
csv_texts = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"), max_size=6
)
spreadsheet_texts = st.builds(str.__add__, st.sampled_from("'=+-@\ta,\""), csv_texts)


@given(results(spreadsheet_texts))
def test_csv_round_trip_is_exact(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("csv") / "r.csv"
    write_results(content, path)
    assert [(v.video_id, v.spans) for v in read_results(path).videos] == [
        (v.video_id, v.spans) for v in content.videos if v.detections
    ]
    formula = re.compile(r"[=@\t]|[+-](?!\d+([.,]\d+)?$)")
    with path.open(encoding="utf-8", newline="") as file:
        for row in list(csv.reader(file))[1:]:
            assert row[0][0] != "=" and not formula.match(row[1])


def test_csv_is_as_documented(tmp_path):
    found = [Detection("=1+1", 0.5, 0, 1.25), Detection("jump, high", 0.75, 2, 3)]
    text = written(tmp_path, "r.csv", Results([VideoResult("v", detections=found)]))
    assert (
        text == 'video,label,start,end,score\nv,\'=1+1,0.0,1.25,0.5\nv,"jump, high",2.0,3.0,0.75\n'
    )


def test_line_ends_in_a_label_do_not_break_the_csv(tmp_path):
    content = Results([VideoResult("v", detections=[Detection("a\r\nb\0c", 1, 0, 1)])])
    path = tmp_path / "r.csv"
    write_results(content, path)
    assert read_results(path).videos[0].detections[0].label == "a  b c"


def test_spreadsheet_csv_with_mark_and_other_column_order_loads(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text("score,video,label,end,start,note\n1,v,a,3,2,x\n", encoding="utf-8-sig")
    assert read_results(path) == Results([VideoResult("v", detections=[Detection("a", 1, 2, 3)])])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"r\.csv:1: no column video, label, start, end, score"),
        ("video,label,start,end\n", r"r\.csv:1: no column score"),
        ("video,label,start,end,score\nv,a,y,1,1\nv,a,x,1,1\n", r"r\.csv:2: .*'y' \(and 1 more\)"),
        ("video,label,start,end,score\nv,a\n", r"r\.csv:2: could not convert"),
        ("video,label,start,end,score\nv,,0,1,1\n", r"r\.csv:2: the label must be"),
        ("video,label,start,end,score\nv,a,0,1,nan\n", r"r\.csv:2: the score must be a finite"),
        ('video,label,start,end,score\n"v,a,0,1,1\n', r"r\.csv: not valid CSV"),
        ("\xff", r"r\.csv:1: no column"),
        ("\xff\x01", r"r\.csv: not a text file"),
        ("\x81", r"r\.csv: not a UTF-8 or UTF-16 text file"),
    ],
)
def test_malformed_csv_is_a_one_line_error(tmp_path, text, message):
    path = tmp_path / "r.csv"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match=message):
        read_results(path)


def test_missing_csv(tmp_path):
    with pytest.raises(DataError, match=r"no\.csv: cannot read"):
        read_results(tmp_path / "no.csv")


# --------------------------------------------------------------------------------- subtitles


def test_vtt(tmp_path):
    assert written(tmp_path, "r.vtt", ONE_VIDEO) == (
        "WEBVTT\n\n"
        "00:00:00.000 --> 00:00:01.000\nR&amp;B &lt;i&gt;--&gt; x 0.50\n\n"
        "00:00:01.500 --> 01:00:01.000\nwalk 0.25\n"
    )


def test_srt(tmp_path):
    assert written(tmp_path, "r.srt", ONE_VIDEO) == (
        "1\n00:00:00,000 --> 00:00:01,000\nR&B \u2039i\u203a--\u203a x 0.50\n\n"
        "2\n00:00:01,500 --> 01:00:01,000\nwalk 0.25\n"
    )


@given(results())
def test_subtitles_parse_back(tmp_path_factory, content):
    content = Results(content.videos[:1])
    folder = tmp_path_factory.mktemp("subtitles")
    found = sorted((round(d.start_s * 1000), round(d.end_s * 1000)) for v in content.videos
                   for d in v.detections)  # fmt: skip
    expected = [(max(0, start), max(0, start) + 1 if end <= max(0, start) else end)
                for start, end in found]  # fmt: skip
    for name, mark in (("r.vtt", "."), ("r.srt", ",")):
        blocks = written(folder, name, content).strip("\n").split("\n\n")
        cues = [block.split("\n")[-2:] for block in blocks if "-->" in block]
        clock = rf"(\d\d+):([0-5]\d):([0-5]\d){re.escape(mark)}(\d{{3}})"
        times = []
        for timing, text in cues:
            match = re.fullmatch(f"{clock} --> {clock}", timing)
            h, m, s, ms, h2, m2, s2, ms2 = map(int, match.groups())
            times.append(
                (((h * 60 + m) * 60 + s) * 1000 + ms, ((h2 * 60 + m2) * 60 + s2) * 1000 + ms2)
            )
            assert "<" not in text and "-->" not in text
        assert sorted(times) == sorted(expected)
        assert [start for start, _ in times] == sorted(start for start, _ in times)


def test_several_videos_get_a_subtitle_file_each(tmp_path):
    names = ["a/b", "a_b", "A_B", "../..", "größe 1"]
    content = Results([VideoResult(n, detections=[Detection(n, 1, 0, 1)]) for n in names])
    paths = write_results(content, tmp_path / "r.vtt")
    assert [path.name for path in paths] == [
        "r.a_b.vtt", "r.a_b-2.vtt", "r.A_B-3.vtt", "r._.vtt", "r.größe 1.vtt",
    ]  # fmt: skip
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    assert "größe 1\n" in paths[-1].read_text(encoding="utf-8")


def test_paths_per_video(tmp_path):
    assert per_video_paths(tmp_path / "p.mp4", ["a/b"]) == [tmp_path / "p.mp4"]
    assert per_video_paths(tmp_path / "p.mp4", []) == []
    paths = per_video_paths(tmp_path / "p.mp4", ["x" * 300, "x" * 300, ".", "a\0b"])
    assert [path.parent for path in paths] == [tmp_path] * 4
    assert [path.name[2:-4] for path in paths] == ["x" * 100, "x" * 100 + "-2", "video", "a_b"]


def test_nothing_found_is_a_valid_file(tmp_path):
    assert written(tmp_path, "r.vtt", Results()) == "WEBVTT\n"
    assert written(tmp_path, "r.srt", Results()) == ""
    assert written(tmp_path, "r.csv", Results()) == "video,label,start,end,score\n"


# ------------------------------------------------------------------------------- the registry


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr(formats, "_registered", dict(formats._registered))
    return formats


def test_registered_formats_are_used(registry, tmp_path):
    registry.register(".TXT", lambda content, path: path.write_text(str(len(content.videos))))
    assert written(tmp_path, "r.txt", ONE_VIDEO) == "1"
    assert {".json", ".csv", ".vtt", ".srt", ".txt"} < set(registry.suffixes())
    with pytest.raises(UsageError, match=r"r\.txt: \.txt can only be written"):
        read_results(tmp_path / "r.txt")
    with pytest.raises(UsageError, match="not a file suffix"):
        registry.register("txt", lambda content, path: None)


def test_other_packages_bring_formats_and_are_imported_on_use(registry, tmp_path, monkeypatch):
    (tmp_path / "other_package.py").write_text(
        "def write_labels(results, path):\n"
        "    path.write_text(','.join(d.label for v in results.videos for d in v.detections))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    entry = EntryPoint("Labels", "other_package:write_labels", formats.ENTRY_POINT_GROUP)
    broken = EntryPoint("broken", "no_such_package:write", formats.ENTRY_POINT_GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry, broken])
    assert ".labels" in registry.suffixes()
    assert "other_package" not in sys.modules
    assert written(tmp_path, "r.labels", ONE_VIDEO) == "R&B <i>--> x,walk"
    with pytest.raises(HrproError, match="cannot load the format from no_such_package:write"):
        check_outputs([tmp_path / "r.broken"])


def test_a_failing_writer_leaves_the_old_file(registry, tmp_path):
    def fail(content, path):
        path.write_text("half")
        raise KeyboardInterrupt

    registry.register(".txt", fail)
    (tmp_path / "r.txt").write_text("old")
    with pytest.raises(KeyboardInterrupt):
        write_results(ONE_VIDEO, tmp_path / "r.txt")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


# ------------------------------------------------------------------------------- early checks


def test_good_outputs_pass_and_nothing_is_created(tmp_path):
    check_outputs([tmp_path / "new" / "r.JSON", tmp_path / "r.csv"], [tmp_path / "p.mp4"])
    assert not list(tmp_path.iterdir())


def test_bad_outputs_are_refused(tmp_path):
    video = tmp_path / "in.mp4"
    video.touch()
    with pytest.raises(UsageError, match=r"r\.xyz: unknown .* \.csv, .*\.json, .*\.srt, .*\.vtt"):
        check_outputs([tmp_path / "r.xyz"])
    with pytest.raises(UsageError, match="unknown result format"):
        write_results(ONE_VIDEO, tmp_path / "r")
    with pytest.raises(UsageError, match="two outputs have this name"):
        check_outputs([tmp_path / "r.csv", tmp_path / "x" / ".." / "r.csv"])
    with pytest.raises(UsageError, match="would replace an input"):
        check_outputs([], [tmp_path / "in.mp4"], inputs=[video])
    with pytest.raises(UsageError, match="is a folder"):
        check_outputs([], [tmp_path])
    with pytest.raises(UsageError, match="cannot write into"):
        check_outputs([video / "r.csv"])


@pytest.mark.skipif(os.name != "posix", reason="folder modes are a POSIX thing")
def test_a_folder_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    monkeypatch.setattr(  # root may write anywhere, so ask for the mode of the folder
        os, "access", lambda path, mode: bool(path.stat().st_mode & stat.S_IWUSR)
    )
    with pytest.raises(UsageError, match="cannot write into"):
        check_outputs([tmp_path / "r.csv"])
    tmp_path.chmod(stat.S_IRWXU)
