"""Which video a name means: suffix, folder, case, Unicode form, and what is ambiguous."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrpro.video_ids import KnownVideos, Match, distinct_ids, match, video_id_of

NFC = unicodedata.normalize("NFC", "Übung")
NFD = unicodedata.normalize("NFD", "Übung")
NAMES = st.text(st.sampled_from("aAbü\u0301/\\._1v4mp"), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("path", "video_id"),
    [
        ("a.mp4", "a"),
        ("MOV001.MOD", "MOV001"),
        ("ch01.264", "ch01"),
        ("cctv/ch1.H64", "cctv/ch1"),
        ("phone.3gpp", "phone"),
        ("tape1.m2t", "tape1"),
        ("GX010001.LRV", "GX010001"),
        ("v1.2", "v1.2"),
        ("v1.2.mkv", "v1.2"),
        ("notes.txt", "notes.txt"),
        ("mon/GX010001.MP4", "mon/GX010001"),
        ("./mon/a.mts", "mon/a"),
        ("mon\\a.mts", "mon/a"),
        ("caf\\xe9.mp4", "caf\\xe9"),
        ("/home/me/a.mp4", "a"),
        ("C:\\Users\\me\\a.mp4", "a"),
        ("../footage/a.mp4", "a"),
        (f"{NFD}.mov", NFC),
        (".mp4", ".mp4"),
    ],
)
def test_ids_are_paths_without_the_suffix_of_a_video(path, video_id):
    assert video_id_of(path) == video_id


@pytest.mark.parametrize(
    ("name", "known", "meant"),
    [
        ("a.mp4", ["a", "b"], "a"),
        ("a", ["a.mp4", "b.mp4"], "a.mp4"),
        ("A.MP4", ["a"], "a"),
        (NFD, [NFC], NFC),
        (NFC, [NFD], NFD),
        ("v1.2", ["v1.2", "v1", "v1.3"], "v1.2"),
        ("v1.2.avi", ["v1.2", "v1"], "v1.2"),
        ("GX01", ["mon/GX01", "mon/GX02"], "mon/GX01"),
        ("/data/videos/mon/GX01.MP4", ["mon/GX01", "tue/GX01"], "mon/GX01"),
        ("D:\\footage\\mon\\GX01.MP4", ["mon/GX01", "tue/GX01"], "mon/GX01"),
        ("videos/a.mp4", ["a", "b"], "a"),
        ("v_xyz", ["xyz"], "xyz"),
        ("xyz", ["v_xyz"], "v_xyz"),
        ("v_a", ["a", "v_a"], "v_a"),
        ("v_xyz", ["v_v_xyz", "abc"], "v_v_xyz"),
        ("a.MP4", ["a", "a.mp4"], "a.mp4"),
        (" a ", ["a"], "a"),
        ("tue/GX01", ["mon/GX01"], None),
        ("c", ["a", "b"], None),
    ],
)
def test_a_name_finds_its_video(name, known, meant):
    found = match(name, known)
    assert (found.video_id, found.problem) == (meant, "")


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("GX01", ["mon/GX01", "tue/GX01"]),
        ("a", ["a.avi", "a.mp4"]),
        ("A", ["a.avi", "a.mp4"]),
        ("mon/a", ["a", "tue/a"]),
        ("AB", ["ab", "Ab"]),
    ],
)
def test_an_ambiguous_name_names_both(name, known):
    found = match(name, known)
    assert found.video_id is None
    assert all(repr(each) in found.problem for each in known)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("coking", "cooking"),
        ("vidoe_7", "video_7"),
        ("video_07", "video_7"),
        ("video 7", "video_7"),
        ("a.mov", "a.mp4"),
        ("cafe", "café"),
    ],
)
def test_a_near_miss_names_the_video(name, near):
    found = match(name, ["x", near])
    assert found.video_id is None
    assert found.near == near
    assert repr(near) in found.problem


@pytest.mark.parametrize(
    ("name", "other"),
    [("video_8", "video_7"), ("cam_a", "cam_b"), ("tue/a", "mon/a"), ("v1.2", "v12"), ("a1", "a")],
)
def test_another_video_is_no_near_miss(name, other):
    assert match(name, [other]).problem == ""


@pytest.mark.parametrize(
    "names", [("mon/a", "tue/a"), ("a.avi", "a.mp4"), ("v_a", "a.mp4"), ("x/mon/a", "mon/a")]
)
def test_two_videos_never_become_one(names):
    found = KnownVideos(["a", "b"]).match_all([*names, "b"])
    assert found["b"].video_id == "b"
    for name in names:
        assert found[name].video_id is None
        assert all(repr(each) in found[name].problem for each in names)


@pytest.mark.parametrize("other", ["mon/a", "v_a"])
def test_where_a_video_is_named_itself_another_name_is_another_video(other):
    found = KnownVideos(["a", "b"]).match_all(["a", other, "A.mp4"])
    assert (found["a"].video_id, found["A.mp4"].video_id) == ("a", "a")
    assert found[other] == Match()


def test_two_spellings_of_one_video_are_one():
    names = ["a", "a.mp4", "A.MP4", "./a"]
    assert {m.video_id for m in KnownVideos(["a"]).match_all(names).values()} == {"a"}
    found = KnownVideos(["mon/a"]).match_all(["a", "mon/a.mp4"])
    assert {each.video_id for each in found.values()} == {"mon/a"}


def test_ids_of_several_videos_differ():
    assert distinct_ids(["mon/a.MP4", "tue/a.MP4"]) == {"mon/a.MP4": "mon/a", "tue/a.MP4": "tue/a"}
    assert distinct_ids(["a.avi", "a.mp4", "b.mp4"]) == {
        "a.avi": "a.avi",
        "a.mp4": "a.mp4",
        "b.mp4": "b",
    }
    absolute = ["/x/mon/a.mp4", "/x/tue/a.mp4", "/x/tue/b.mp4"]
    assert list(distinct_ids(absolute).values()) == ["mon/a", "tue/a", "b"]
    assert len(set(distinct_ids([f"{NFC}.mp4", f"{NFD}.mp4"]).values())) == 2
    assert len(set(distinct_ids(["a.mp4", "a.avi", "a.mp4.mp4"]).values())) == 3


@given(st.lists(NAMES, max_size=6))
def test_ids_are_distinct_whatever_the_names(names):
    assert len(set(distinct_ids(names).values())) == len(set(names))


@given(NAMES, st.lists(NAMES, max_size=6))
def test_a_match_is_known_and_a_known_name_is_itself(name, known):
    found = match(name, known)
    assert found.video_id is None or found.video_id in known
    assert name not in known or found.video_id == name
