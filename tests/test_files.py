"""Atomic writes and paths that stay inside."""

from __future__ import annotations

import os

import pytest

from hrpro.errors import DataError, HrproError, UsageError
from hrpro.files import atomic_path, check_folder, inside, read_json, walk, write_json


def test_atomic_path_keeps_the_old_file_on_failure(tmp_path):
    target = tmp_path / "a.json"
    write_json(target, {"a": 1})
    with pytest.raises(KeyboardInterrupt), atomic_path(target) as temporary:
        temporary.write_text("half")
        assert temporary.suffix == ".json"
        raise KeyboardInterrupt
    assert read_json(target) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_written_files_follow_the_umask(tmp_path):
    old = os.umask(0o022)
    try:
        write_json(tmp_path / "a.json", {})
    finally:
        os.umask(old)
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o644


def test_writing_leaves_the_umask_alone(tmp_path, monkeypatch):
    """It is that of all threads: set to 0 for a moment, another one's files are for everybody."""
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("changed"))
    write_json(tmp_path / "a.json", {})


def test_unwritable_folder_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HrproError, match="cannot write"):
        write_json(tmp_path / "file" / "a.json", {})


def test_a_folder_that_cannot_be_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    check_folder(tmp_path / "new" / "folder")
    with pytest.raises(UsageError, match="file: is a file; name a folder"):
        check_folder(tmp_path / "file")
    with pytest.raises(UsageError, match="below: cannot write into it"):
        check_folder(tmp_path / "file" / "below")


def test_nan_is_refused(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", float("nan"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["{", "", "[1,]", "\x00", "[" * 100_000])
def test_bad_json_names_file_and_place(tmp_path, text):
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(DataError, match=r"bad\.json"):
        read_json(tmp_path / "bad.json")


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "", "a/../../b", "a\0b"])
def test_names_that_leave_the_folder_are_refused(tmp_path, name):
    with pytest.raises(DataError):
        inside(tmp_path, name)


def test_links_that_leave_the_folder_are_refused(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path)
    with pytest.raises(DataError, match="outside"):
        inside(tmp_path / "in", "link/x")
    assert inside(tmp_path, "a/b.npy") == tmp_path / "a" / "b.npy"


def walked(folder):
    return {path.relative_to(folder).as_posix(): names for path, names in walk(folder)}


def make(*files):
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def test_walk_leaves_hidden_ones_out_and_follows_links_to_elsewhere(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    make(here / "z", here / "a", here / ".h", here / ".hidden/x", there / "deep/b")
    (here / "link").symlink_to(there)
    assert walked(here) == {".": ["a", "z"], "link": [], "link/deep": ["b"]}


def test_walk_does_not_go_in_circles(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    make(here / "sub/a", there / "b")
    for name, target in (("up", tmp_path), ("self", here), ("again", here / "sub"), ("l", there)):
        (here / name).symlink_to(target)
    (here / "twice").symlink_to(there)
    (there / "back").symlink_to(here)
    (there / "round").symlink_to(there)
    (there / "above").symlink_to(tmp_path)
    assert walked(here) == {".": [], "l": ["b"], "sub": ["a"]}


def test_walk_tells_of_a_folder_that_is_not_there(tmp_path):
    errors = []
    assert list(walk(tmp_path / "gone")) == list(walk(tmp_path / "gone", errors.append)) == []
    assert errors[0].filename == str(tmp_path / "gone")


def test_short_write_says_that_the_disk_may_be_full(tmp_path):
    with pytest.raises(HrproError, match="is the disk full"), atomic_path(tmp_path / "a.npy"):
        raise OSError("6144 requested and 5088 written")
    assert list(tmp_path.iterdir()) == []
