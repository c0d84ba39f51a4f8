"""However many threads decode: the frames and the account of the losses are those of one."""

from __future__ import annotations

import logging
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from videos import make_video, noise

from hrpro.errors import VideoError
from hrpro.extract.compute_threads import CoreShares
from hrpro.extract.decode import FrameReader
from hrpro.extract.losses import DecodeReport

KINDS = {
    "h264.mp4": {"codec": "libx264", "b_frames": 2},
    "h264.mkv": {"codec": "libx264"},
    "h264.ts": {"codec": "libx264", "b_frames": 2},
    "hevc.mp4": {"codec": "libx265", "b_frames": 2},
    "vp9.webm": {"codec": "libvpx-vp9"},
    "mpeg4.mp4": {"codec": "mpeg4"},
    "mpeg2.ts": {"codec": "mpeg2video"},
    "mpeg4.avi": {"codec": "mpeg4", "b_frames": 2},
    "raw.264": {"codec": "libx264", "container": "h264"},
}
FAST = {"threads": 4}


def make(folder: Path, kind: str) -> Path:
    return make_video(folder / kind, 50, painter=noise(48, 32), gop=10, **KINDS[kind])


def read(path: Path, **options) -> tuple[str, list[np.ndarray], DecodeReport | None]:
    """What goes wrong, and what comes out."""
    try:
        with FrameReader(path, fps=None, short_side=None, crop=None, **options) as reader:
            timed = list(reader.timed())
    except VideoError as error:
        return str(error), [], None
    return str([time_s for time_s, _ in timed]), [each for _, each in timed], reader.report


def assert_same(path: Path, note: object = "", *, strict: bool = False, **options) -> None:
    text, pictures, report = read(path, strict=strict, **options)
    expected_text, expected, expected_report = read(path, strict=strict)
    assert (text, report) == (expected_text, expected_report), note
    for number, (picture, right) in enumerate(zip(pictures, expected, strict=True)):
        assert np.array_equal(picture, right), (note, number)


def hurt(data: bytes, chance: random.Random) -> bytes:
    """Tear a hole, cut a part out, or turn single bits over."""
    begin = chance.randrange(len(data) // 50, len(data))
    length = chance.randrange(1, len(data) // 8)
    match chance.choice(["hole", "cut", "bits"]):
        case "hole":
            return data[:begin] + bytes(len(data[begin : begin + length])) + data[begin + length :]
        case "cut":
            return data[:begin] + data[begin + length :]
    changed = bytearray(data)
    for _ in range(3):
        changed[chance.randrange(len(data) // 10, len(data))] ^= 1 << chance.randrange(8)
    return bytes(changed)


@pytest.fixture(scope="module")
def pool():
    with ThreadPoolExecutor(2) as executor:
        yield executor


@pytest.mark.parametrize("kind", KINDS)
def test_threads_change_nothing(tmp_path, kind, pool, caplog):
    path = make(tmp_path, kind)
    with caplog.at_level(logging.DEBUG, "hrpro"):
        assert_same(path, **FAST, pool=pool)
    assert not caplog.records, "the file is sound: there was no reason to begin anew"


@pytest.mark.parametrize("kind", KINDS)
def test_damage_does_not_depend_on_the_threads(tmp_path, kind, pool):
    path = make(tmp_path, kind)
    data = path.read_bytes()
    for seed in range(12):
        path.write_bytes(hurt(data, random.Random(seed)))
        assert_same(path, seed, **FAST, pool=pool)


def test_one_thread_takes_over_at_the_damage_and_not_before(tmp_path, caplog):
    path = make(tmp_path, "h264.mp4")
    data = bytearray(path.read_bytes())
    begin = len(data) * 3 // 5
    data[begin : begin + 2000] = bytes(2000)
    path.write_bytes(data)
    with caplog.at_level(logging.DEBUG, "hrpro"):
        _, pictures, report = read(path, **FAST)
    [record] = caplog.records
    assert "one decoder thread from frame" in record.message
    assert 10 < record.args[1] < len(pictures)
    assert report.corrupt_packets


def test_strict_fails_at_the_same_frame(tmp_path):
    path = make(tmp_path, "h264.ts")
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 4000] = bytes(4000)
    path.write_bytes(data)
    assert_same(path, **FAST, strict=True)


def test_a_decoder_that_is_not_there_costs_nothing_but_speed(tmp_path):
    assert_same(make(tmp_path, "h264.mp4"), hardware="cuda")
    assert_same(make(tmp_path, "vp9.webm"), hardware="cuda", threads=2)


def test_converting_ahead_is_bounded_by_bytes(tmp_path, monkeypatch):
    path = make(tmp_path, "h264.mp4")
    small = 4 * 48 * 32  # of a frame: 1.5 bytes a pixel, lines padded

    def ahead(num_bytes: int) -> int:
        monkeypatch.setattr("hrpro.extract.decode._BYTES_AHEAD", num_bytes)
        with FrameReader(path) as reader:
            return reader._ahead

    assert ahead(1) == 1
    assert ahead(4 * small) <= 16
    assert ahead(1 << 30) == 16


def test_the_only_video_gets_all_cores_and_one_of_many_a_single_one():
    shares = CoreShares(4)
    with shares.taken() as first:
        assert first == 4
        with shares.taken() as second, shares.taken() as third:
            assert (second, third) == (2, 1)
    with shares.taken() as again:
        assert again == 4
