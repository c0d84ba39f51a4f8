"""Which video a link of another tool means: ids as ``hrpro init`` gives them, and no mix-ups."""

from __future__ import annotations

import pytest

from hrpro.errors import DataError
from hrpro.pipeline.results.formats import read_results, write_results
from hrpro.pipeline.results.interchange.media import Linked, id_of, ids_of, joined
from hrpro.pipeline.results.model import Detection, Results, VideoResult


@pytest.mark.parametrize(
    ("link", "video_id"),
    [
        ("ch01.264", "ch01"),
        ("tape.m2t", "tape"),
        ("MOV001.MOD", "MOV001"),
        ("v1.2", "v1.2"),
        ("films/day 1.mp4", "day 1"),
        ("file:///C:/films/day%201.mp4", "day 1"),
        ("C:\\films\\day 1.mp4", "day 1"),
        ("/data/upload/3/0a1b2c3d-day%201.mp4", "day 1"),
        ("/data/local-files/?d=films/day 1.mp4", "day 1"),
        ("https://host/films/day%201.mp4?x=1", "day 1"),
        ("s3://bucket/day 1.mp4", "day 1"),
        ("../day 1.mp4", "day 1"),
    ],
)
def test_the_only_video_of_a_file_has_its_name(link, video_id):
    assert id_of(link) == video_id


@pytest.mark.parametrize(
    "root",
    [".", "rec", "../rec", "/rec", "C:\\rec", "file:///C:/rec", "s3://b", "/data/local-files/?d=r"],
)
def test_videos_in_folders_are_named_below_the_folder_that_holds_all(root):
    slash = "\\" if "\\" in root else "/"
    names = ["mon/GX01.MP4", "tue/GX01.MP4", "tue/b.mp4"]
    ids = ids_of(f"{root}/{name}".replace("/", slash) for name in names)
    assert list(ids.values()) == ["mon/GX01", "tue/GX01", "tue/b"]


def test_one_name_in_other_ways():
    assert list(ids_of(["a.avi", "a.mp4"]).values()) == ["a.avi", "a.mp4"]
    uploads = ["/data/upload/1/0a1b2c3d-a.mp4", "/data/upload/1/1a1b2c3d-a.mp4"]
    assert list(ids_of([*uploads, "/data/upload/1/2a1b2c3d-b.mp4"]).values()) == [
        "0a1b2c3d-a",
        "1a1b2c3d-a",
        "b",
    ]
    assert set(ids_of(["mon/a.mp4", "./mon/a.mp4"]).values()) == {"a"}
    with pytest.raises(DataError, match=r"c:/rec/a\.mp4 and /rec/a\.mp4 are two videos of the na"):
        ids_of(["C:\\rec\\a.mp4", "/rec/a.mp4"])


def test_what_was_found_in_one_video_is_put_together():
    def video(video_id, *times):
        return VideoResult(video_id, detections=tuple(Detection("x", 1, t, t) for t in times))

    found = [
        Linked(video("?", 1), "mon/a.mp4"),
        Linked(video("?", 2), "tue/a.mp4"),
        Linked(video("?", 3), "mon/a.mp4"),
        Linked(video("own", 4)),
    ]
    assert [(each.video_id, len(each.detections)) for each in joined(found)] == [
        ("mon/a", 2),
        ("tue/a", 1),
        ("own", 1),
    ]


@pytest.mark.parametrize("suffix", [".boris", ".labelstudio.json"])
def test_ids_come_back_whatever_the_files_are_called(tmp_path, suffix):
    found = (Detection("x", 1, 1, 2),)
    ids = {"mon/a": "mon/a.mp4", "mon/b": "elsewhere/c.mp4", "v1.2": None}
    videos = [VideoResult(video_id, path, 9.0, 25.0, found) for video_id, path in ids.items()]
    (path,) = write_results(Results(videos), tmp_path / f"r{suffix}")
    assert [video.video_id for video in read_results(path).videos] == list(ids)
