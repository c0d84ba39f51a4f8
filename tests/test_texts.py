"""Text files: every encoding that people have, and every reader that takes them."""

from __future__ import annotations

import codecs
import json

import pandas as pd
import pytest
from click.testing import CliRunner

from hrpro.annotations import read_ground_truth
from hrpro.cli import main
from hrpro.errors import DataError
from hrpro.files import read_json
from hrpro.localize.config import load_config
from hrpro.localize.data.layout import read_split
from hrpro.localize.data.points import read_points
from hrpro.localize.data.protocol import read_ambiguous
from hrpro.pipeline.results.formats import read_results, suffixes, write_results
from hrpro.pipeline.results.interchange.rates import Rates, exact_rate
from hrpro.pipeline.results.model import Detection, Results, VideoResult
from hrpro.problems import Problems
from hrpro.texts import read_text, read_xml
from hrpro.videos_folder import videos_folder

TEXT = 'größe: "跳"\nzweite Zeile\n'
ENCODINGS = {
    "utf-8": str.encode,
    "utf-8 with mark": lambda text: text.encode("utf-8-sig"),
    "utf-16 little": lambda text: codecs.BOM_UTF16_LE + text.encode("utf-16-le"),
    "utf-16 big": lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
    "utf-16 little without mark": lambda text: text.encode("utf-16-le"),
    "utf-16 big without mark": lambda text: text.encode("utf-16-be"),
    "utf-32": lambda text: text.encode("utf-32"),
    "windows line ends": lambda text: text.replace("\n", "\r\n").encode("utf-8-sig"),
}


@pytest.fixture(params=ENCODINGS)
def saved(request, tmp_path):
    """Save a text in one of the encodings; returns its path."""

    def save(name, text):
        path = tmp_path / name
        path.write_bytes(ENCODINGS[request.param](text))
        return path

    return save


def test_every_encoding_is_told_by_its_bytes(saved):
    assert read_text(saved("a.txt", TEXT)) == TEXT


def test_other_encodings_are_guessed_only_where_somebody_is_told(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("größe".encode("windows-1252"))
    with pytest.raises(DataError, match=r"a\.txt: not a UTF-8 or UTF-16 text file; save it"):
        read_text(path)
    told = []
    assert read_text(path, told.append) == "größe"
    assert len(told) == 1 and "Windows-1252" in told[0]


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n\xff\x01", b"\x81\x8d\xff", b"\0\xd8\0"])
def test_what_is_no_text_is_refused(tmp_path, data):
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.png: not a "):
        read_text(tmp_path / "a.png", lambda what: None)


@pytest.mark.parametrize("declared", ["utf-8", "UTF-16", "windows-1252", "shift_jis"])
def test_xml_in_what_its_bytes_show_whatever_it_declares(saved, declared):
    text = f'<?xml version="1.0" encoding="{declared}"?>\n<a>x</a>\n'
    assert read_xml(saved("a.xml", text)).lstrip("\ufeff") == text


def test_xml_as_it_declares(tmp_path):
    path = tmp_path / "a.xml"
    text = '<?xml version="1.0" encoding="shift_jis"?><a>跳ぶ</a>'
    path.write_bytes(text.encode("shift_jis"))
    assert read_xml(path) == text
    path.write_text(text.replace("shift_jis", "klingon"))
    with pytest.raises(DataError, match=r"a\.xml: cannot be read as klingon"):
        read_xml(path)


# --------------------------------------------------------------------------- every kind of file

FOUND = (Detection("größe 跳", 1.0, 1.0, 3.0),)
RATES = Rates(exact_rate(25))


@pytest.mark.parametrize(
    "suffix",
    [suffix for suffix in suffixes() if suffix != ".points.csv"],
)
def test_every_format_in_every_encoding(saved, tmp_path, suffix):
    content = Results([VideoResult("v", "v.mp4", 9.0, 25.0, FOUND)])
    (written,) = write_results(content, tmp_path / f"utf8{suffix}")
    path = saved(f"r{suffix}", written.read_text(encoding="utf-8"))
    (video,) = read_results(path, RATES).videos
    assert video.detections == FOUND


@pytest.mark.parametrize(
    "suffix",
    [suffix for suffix in suffixes() if suffix != ".points.csv"],
)
def test_windows_1252_is_read_with_a_note(tmp_path, suffix):
    found = (Detection("größe", 1.0, 1.0, 3.0),)
    content = Results([VideoResult("v", "v.mp4", 9.0, 25.0, found)])
    (path,) = write_results(content, tmp_path / f"r{suffix}")
    text = path.read_text(encoding="utf-8").replace("\\u00f6", "ö").replace("\\u00df", "ß")
    path.write_bytes(text.encode("windows-1252"))
    results = read_results(path, RATES)
    assert results.videos[0].detections == found
    assert ["Windows-1252" in note.what for note in results.notes] == [True]


def test_files_of_data_sets(saved, tmp_path):
    problems = Problems()
    assert read_split(saved("split.txt", "größe\n跳\n"), problems) == {"größe": 1, "跳": 2}
    (point,) = read_points(saved("p.csv", "video_id,class,time\n跳,größe,1.5\n"))
    assert (point.video_id, point.label, point.time_s) == ("跳", "größe", 1.5)
    (table,) = read_points(saved("p.txt", "video_id\tclass\ttime\n跳\tgröße, 2\t1.5\n"))
    assert (table.video_id, table.label, table.time_s) == ("跳", "größe, 2", 1.5)
    truth = json.dumps({"database": {"größe": {"duration": 3}}}, ensure_ascii=False)
    assert list(read_ground_truth(saved("gt.json", truth))) == ["größe"]
    assert read_json(saved("a.json", '{"größe": 1}')) == {"größe": 1}
    saved("dataset.yaml", "videos: größe\n")
    assert videos_folder(tmp_path) == tmp_path / "größe"
    table = read_ambiguous(saved("ambiguous.txt", "größe 1.0 2.0\n"))
    assert isinstance(table, pd.DataFrame) and list(table["video"]) == ["größe"]
    assert load_config(saved("preset.yaml", "localize: {seed: 7}  # größe\n")).localize.seed == 7
    assert len(problems) == 0


def test_the_command_tells_of_a_guess(tmp_path):
    path = tmp_path / "r.srt"
    path.write_bytes("1\n00:00:01,000 --> 00:00:02,000\ngröße\n".encode("windows-1252"))
    outcome = CliRunner().invoke(main, ["convert", str(path), str(tmp_path / "r.csv")])
    assert outcome.exit_code == 0
    assert f"note: {path}: neither UTF-8 nor UTF-16: read as Windows-1252" in outcome.stderr
