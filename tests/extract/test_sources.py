from __future__ import annotations

import os
from pathlib import Path

import pytest

from hrpro.errors import DataError, UsageError
from hrpro.extract.sources import find_videos


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def keys(*inputs: object) -> list[str]:
    return [source.key for source in find_videos(inputs)]


def test_folder_is_searched_deeply_and_sorted(tmp_path):
    touch(tmp_path, "b.mp4", "a/z.MOV", "a/b/c.gif", "notes.txt", ".hidden.mp4", ".cache/x.mp4")
    assert keys(tmp_path) == ["a/b/c.gif", "a/z.MOV", "b.mp4"]
    assert {source.root for source in find_videos([tmp_path])} == {tmp_path}


def test_equal_stems_in_two_folders_keep_apart(tmp_path):
    touch(tmp_path, "one/x.mp4", "two/x.mp4")
    assert keys(tmp_path) == ["one/x.mp4", "two/x.mp4"]
    assert keys(tmp_path / "one/x.mp4", tmp_path / "two/x.mp4") == ["one/x.mp4", "two/x.mp4"]
    assert keys(tmp_path / "one", tmp_path / "two") == ["one/x.mp4", "two/x.mp4"]


def test_key_is_below_the_root_for_every_source(tmp_path):
    touch(tmp_path, "one/x.mp4", "two/deep/x.mp4", "two/x.mp4")
    for source in find_videos([tmp_path / "one", tmp_path / "two"]):
        assert (source.root / source.key).samefile(source.path)


def test_a_file_given_twice_comes_once(tmp_path, monkeypatch):
    touch(tmp_path, "a.mp4")
    monkeypatch.chdir(tmp_path)
    assert keys("a.mp4", tmp_path, "./a.mp4", "*.mp4") == ["a.mp4"]


def test_dataset_folder_means_its_videos(tmp_path):
    touch(tmp_path, "gt_full.json", "videos/a.mp4", "runs/preview.mp4")
    assert keys(tmp_path) == ["a.mp4"]


def test_folder_with_a_videos_folder_is_no_dataset_without_marks(tmp_path):
    touch(tmp_path, "videos/a.mp4", "more/b.mp4")
    assert keys(tmp_path) == ["more/b.mp4", "videos/a.mp4"]


@pytest.mark.parametrize(
    "pattern, expected",
    [
        ("*.mp4", ["a.mp4", "b.mp4"]),
        ("**/*.mp4", ["a.mp4", "b.mp4", "sub/c.mp4"]),
        ("?.*", ["a.mp4", "b.mp4"]),
        ("s*", ["sub/c.mp4", "sub/d.avi"]),
    ],
)
def test_patterns(tmp_path, pattern, expected):
    touch(tmp_path, "a.mp4", "b.mp4", "c.txt", "sub/c.mp4", "sub/d.avi")
    assert keys(f"{tmp_path}/{pattern}") == expected


@pytest.mark.parametrize(
    "name",
    [
        "a b.mp4",
        'it\'s "x".mp4',
        "ünïcödé 滑雪.mp4",
        "-x.mp4",
        "[1] *.mp4",
        "http:a.mp4",
        "a;b&c.mp4",
    ],
)
def test_odd_names_are_taken_literally(tmp_path, monkeypatch, name):
    touch(tmp_path, name, "other.mp4")
    monkeypatch.chdir(tmp_path)
    assert keys(name) == [name]
    assert sorted([name, "other.mp4"]) == keys(".")


def test_name_that_is_not_utf8_gets_a_printable_key(tmp_path):
    name = os.fsdecode(b"caf\xe9.mp4")
    try:
        touch(tmp_path, name)
    except OSError:
        pytest.skip("the file system takes UTF-8 names only")
    (source,) = find_videos([tmp_path])
    assert source.key == "caf\\xe9.mp4"
    assert source.path.exists()


def test_any_named_file_is_listed_even_a_missing_one(tmp_path):
    touch(tmp_path, "clip.dat")
    assert keys(tmp_path / "clip.dat", tmp_path / "gone.mp4") == ["clip.dat", "gone.mp4"]


def test_links_to_files_are_followed_and_loops_of_folders_are_not(tmp_path):
    touch(tmp_path, "real/a.mp4")
    (tmp_path / "real/link.mp4").symlink_to("a.mp4")
    (tmp_path / "real/loop").symlink_to(tmp_path, target_is_directory=True)
    assert keys(tmp_path) == ["real/a.mp4", "real/link.mp4"]


def test_links_to_folders_elsewhere_are_followed(tmp_path):
    touch(tmp_path, "other disk/2019/b.mp4", "here/a.mp4")
    (tmp_path / "here/old").symlink_to(tmp_path / "other disk", target_is_directory=True)
    assert keys(tmp_path / "here") == ["a.mp4", "old/2019/b.mp4"]


@pytest.mark.parametrize(
    "given, message",
    [
        ("https://example.org/a.mp4", "download"),
        ("rtsp://camera/1", "download"),
        ("", "not a file name"),
        ("a\0b.mp4", "not a file name"),
        ("nothing*.mp4", "no video matches"),
    ],
)
def test_refused(tmp_path, monkeypatch, given, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message):
        find_videos([given])


def test_empty_folder_and_no_arguments(tmp_path):
    touch(tmp_path, "notes.txt")
    with pytest.raises(UsageError, match="no videos in this folder"):
        find_videos([tmp_path])
    with pytest.raises(UsageError, match="no videos given"):
        find_videos([])


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_unreadable_folder_is_named(tmp_path):
    touch(tmp_path, "shut/a.mp4")
    (tmp_path / "shut").chmod(0)
    try:
        with pytest.raises(DataError, match="shut"):
            find_videos([tmp_path])
    finally:
        (tmp_path / "shut").chmod(0o700)
