"""Files and labels that mean harm, and files that are damaged: nothing but one-line errors."""

from __future__ import annotations

import json
import re
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hrpro.errors import DataError, HrproError
from hrpro.pipeline.results.formats import read_results, suffixes, write_results
from hrpro.pipeline.results.interchange.rates import Rates
from hrpro.pipeline.results.model import Detection, Results, VideoResult

RATES = Rates(Fraction(25))
FORMATS = [suffix for suffix in suffixes() if suffix != ".points.csv"]
HOSTILE = [
    "a --> b",
    "<b>&amp;</b> & <script>",
    '"quoted" ""twice""',
    "two\nlines\r\n* LOC: 00:00:00:00 RED x",
    "]]> <!-- x -->",
    "=1+1",
    "-->",
    "../../etc/passwd",
    "\x00\x1b[31m",
    "\ud800",
    "\u2028\x85\x0c|",
    "NOTE x",
    "{\\an8}",
    "name 0.50",
    "walk 2",
    "größe 動作 🏃",
    "!bang <exists> 12",
]


def spans(labels):
    return tuple(Detection(label, 1, i, i + 0.6) for i, label in enumerate(labels))


@pytest.mark.parametrize("suffix", FORMATS)
def test_hostile_labels_stay_one_action_each(tmp_path, suffix):
    if suffix in (".json", ".csv", ".annotations.json"):
        labels = [label for label in HOSTILE if label != "\ud800"]
    else:
        labels = HOSTILE
    content = Results([VideoResult("v", "v.mp4", 60.0, 25.0, spans(labels))])
    (path,) = write_results(content, tmp_path / f"r{suffix}")
    (video,) = read_results(path, RATES).videos
    found = sorted(video.detections, key=lambda each: each.start_s)
    assert [(each.start_s, each.end_s) for each in found] == [
        (each.start_s, each.end_s) for each in content.videos[0].detections
    ]
    for label, each in zip(labels, found, strict=True):
        if label.isprintable() and not (suffix == ".srt" and set("<>{}") & set(label)):
            assert (each.label, each.score) == (label, 1.0)


def test_names_of_videos_do_not_lead_out_of_the_folder(tmp_path):
    names = ["../../evil", "/etc/passwd", "a/b", "C:\\x", "\x00", "\ud800", "ok"]
    content = Results([VideoResult(name, name, 9.0, 25.0, spans("ab")) for name in names])
    for suffix in FORMATS:
        folder = tmp_path / suffix
        if suffix in (".json", ".csv", ".annotations.json"):
            continue
        paths = write_results(content, folder / f"r{suffix}")
        assert {path.parent for path in paths} == {folder}
        assert sorted(folder.iterdir()) == sorted(paths)
        for path in paths:
            assert all(len(video.detections) == 2 for video in read_results(path, RATES).videos)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        set(FORMATS) - {".json", ".csv", ".annotations.json"}
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_xml_with_declarations_is_refused(tmp_path, encoding):
    path = tmp_path / "bomb.eaf"
    path.write_text(
        f'<?xml version="1.0" encoding="{encoding}"?>\n<!DOCTYPE a [<!ENTITY b "bbbb">'
        '<!ENTITY c "&b;&b;"><!ENTITY f SYSTEM "file:///etc/passwd">]>\n<a>&c;&f;</a>',
        encoding=encoding,
    )
    with pytest.raises(DataError, match=r"bomb\.eaf:2: has a document type declaration"):
        read_results(path)


def test_deeply_nested_json_is_refused(tmp_path):
    for suffix in (".json", ".boris", ".otio", ".labelstudio.json"):
        path = tmp_path / f"deep{suffix}"
        path.write_text("[" * 100_000 + "]" * 100_000)
        with pytest.raises(DataError, match="nested too deeply"):
            read_results(path)


@pytest.mark.parametrize("suffix", suffixes())
def test_missing_and_foreign_files(tmp_path, suffix):
    path = tmp_path / f"r{suffix}"
    with pytest.raises(DataError, match=r"r\..*: cannot read"):
        read_results(path)
    path.write_bytes(bytes(range(256)))
    with pytest.raises(DataError, match=r"r\."):
        read_results(path)


# ------------------------------------------------------------------------------------- fuzzing


def sample(suffix):
    points = suffix == ".points.csv"
    found = [Detection("a", 1, 1, 1), Detection("b", 1, 2, 2 if points else 3)]
    return Results([VideoResult("v", "v.mp4", 9.0, 25.0, found)])


@st.composite
def damages(draw):
    """A change of a file: cut, repeat or replace a part of it."""
    start, length = draw(st.floats(0, 1)), draw(st.integers(0, 30))
    new = draw(
        st.one_of(
            st.binary(max_size=6),
            st.sampled_from(
                [b"-1", b"1e999", b"NaN", b"null", b"[]", b"{}", b'""', b"0", b"9" * 400, b"true"]
            ),
        )
    )
    return start, length, new


@pytest.mark.parametrize("suffix", suffixes())
def test_damaged_files_give_one_line_errors(tmp_path, suffix):
    (path,) = write_results(sample(suffix), tmp_path / f"r{suffix}")
    intact = path.read_bytes()

    @settings(max_examples=40, suppress_health_check=list(HealthCheck), deadline=None)
    @given(st.lists(damages(), min_size=1, max_size=3))
    @example([(0.0, 10**9, b"")])
    def check(changes):
        data = intact
        for place, length, new in changes:
            start = int(place * len(data))
            data = data[:start] + new + data[start + length :]
        path.write_bytes(data)
        try:
            read_results(path, RATES)
        except HrproError as error:
            assert path.name in str(error) or "frame" in str(error)

    check()


JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3)),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)


@pytest.mark.parametrize("suffix", [".boris", ".labelstudio.json", ".json", ".otio"])
def test_json_of_another_shape_gives_one_line_errors(tmp_path, suffix):
    (path,) = write_results(sample(suffix), tmp_path / f"r{suffix}")
    intact = path.read_text(encoding="utf-8")
    values = [
        match.span() for match in re.finditer(r"(?<=: )(?:[\d.]+|\"[^\"]*\"|\[\]|{})", intact)
    ]

    @settings(max_examples=40, suppress_health_check=list(HealthCheck), deadline=None)
    @given(st.sampled_from(values), JSON_VALUES)
    def check(span, value):
        path.write_text(intact[: span[0]] + json.dumps(value) + intact[span[1] :])
        try:
            read_results(path, RATES)
        except HrproError as error:
            assert path.name in str(error) or "frame" in str(error)

    check()
