"""Names of files that every file system takes."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrpro.file_names import MOST_BYTES, DistinctNames, safe_name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("match 1", "match 1"),
        ("mon/GX01", "mon_GX01"),
        ("../../etc", "_.._etc"),
        ('a<b>c:d"e|f?g*h\\i', "a_b_c_d_e_f_g_h_i"),
        ("line\nbreak\0nul\x7f", "line_break_nul_"),
        ("dots...", "dots"),
        (" . ", ""),
        (".hidden", "hidden"),
        ("con", "con_"),
        ("Aux.mp4", "Aux_.mp4"),
        ("com1 .txt", "com1_ .txt"),
        ("LPT¹", "LPT¹_"),
        ("console", "console"),
        ("größe 跳 हिंदी", "größe 跳 हिंदी"),
        ("u\u0308ber", "über"),
        ("right\u202eleft", "right_left"),
        ("\udcff", "_"),
    ],
)
def test_safe_names(text, name):
    assert safe_name(text) == name


def test_a_long_name_is_cut_between_characters():
    assert safe_name("ü" * 80) == "ü" * 50
    assert safe_name("abc. def", 5) == "abc"


@given(st.text(), st.integers(20, 200))
def test_any_text_becomes_a_name(text, most_bytes):
    name = safe_name(text, most_bytes)
    assert len(name.encode()) <= most_bytes
    assert not re.search(r'[<>:"/\\|?*\x00-\x1f]', name)
    assert name == name.strip(". ")
    assert safe_name(name, most_bytes) == name


@given(st.lists(st.text(alphabet="aAbäÄ\u0308/", max_size=4), max_size=20))
def test_no_two_names_are_one_file(texts):
    names = DistinctNames()
    given_out = [names.unlike_others(safe_name(text) or "x", ".mp4") for text in texts]
    assert len({unicodedata.normalize("NFC", n).casefold() for n in given_out}) == len(texts)


def test_numbers_are_added_where_names_are_taken_and_full():
    names = DistinctNames()
    first, second = (names.unlike_others("x" * (MOST_BYTES - 4), ".mp4") for _ in range(2))
    assert first != second
    assert second.endswith("-2.mp4")
    assert len(second.encode()) == MOST_BYTES
    assert names.unlike_others("a", folder="one") == names.unlike_others("a", folder="two") == "a"
    assert names.unlike_others("A", folder="one") == "A-2"
