"""However many threads decode: the frames and the account of the losses are those of one."""

from __future__ import annotations

import logging
import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from gpu_frames import GpuFrame
from painted_frames import blobs
from videos import make_video, noise

from hrpro.errors import VideoError
from hrpro.extract import frame_source
from hrpro.extract.compute_threads import CoreShares
from hrpro.extract.convert import TensorConverter
from hrpro.extract.decode import FrameReader
from hrpro.extract.frame_source import FrameSource
from hrpro.extract.frames import Decoding, UnsteadyError
from hrpro.extract.losses import DecodeReport
from hrpro.extract.probe import open_video
from hrpro.extract.pyav import Hardware, on_gpu

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


class FakeGpu:
    """NVIDIA's decoder, played by FFmpeg's, with frames in NV12; it fails where it is told to.

    Args:
        fails: steps, each with whether frames are to be kept on the GPU: ``open``, ``codec``,
            ``decode``, ``planes``.

    Attributes:
        tried: the ways of decoding in their order; None is FFmpeg's own.
    """

    def __init__(self, *fails: tuple[str, bool]) -> None:
        self.fails = fails
        self.tried: list[Hardware | None] = []

    def does_fail(self, step: str) -> bool:
        return self.now is not None and (step, self.now.keeps_frames) in self.fails

    @property
    def now(self) -> Hardware | None:
        return self.tried[-1]

    @contextmanager
    def open_video(self, path, stream=None, *, hardware=None, for_threads=False):
        self.tried.append(hardware)
        if self.does_fail("open"):
            raise RuntimeError("no driver")
        with open_video(path, stream, for_threads=for_threads) as opened:
            yield opened

    def decodes_exactly(self, stream) -> bool:
        return not self.does_fail("codec")

    def decoding(self, *arguments, **options) -> Decoding:
        gpu = self

        class OnGpu(Decoding):
            def __next__(self):
                timed = super().__next__()
                if gpu.now is None:
                    return timed
                if gpu.does_fail("decode"):
                    raise UnsteadyError("no picture")
                frame = timed.frame.reformat(format="nv12")
                if gpu.now.keeps_frames:
                    frame = GpuFrame(frame, torn=gpu.does_fail("planes"))
                return timed._replace(frame=frame)

        return OnGpu(*arguments, **options)


@pytest.fixture
def fake_gpu(monkeypatch):
    def install(*fails: tuple[str, bool]) -> FakeGpu:
        gpu = FakeGpu(*fails)
        monkeypatch.setattr(frame_source, "open_video", gpu.open_video)
        monkeypatch.setattr(frame_source, "decodes_exactly", gpu.decodes_exactly)
        monkeypatch.setattr(frame_source, "Decoding", gpu.decoding)
        return gpu

    return install


KEPT, COPIED, OWN = Hardware(keeps_frames=True), Hardware(), None


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize(
    ("fails", "tried"),
    [
        ([], [KEPT]),
        ([("open", True)], [KEPT, COPIED]),
        ([("codec", True)], [KEPT, COPIED]),
        ([("decode", True)], [KEPT, COPIED]),
        ([("planes", True)], [KEPT, COPIED]),
        ([("open", True), ("open", False)], [KEPT, COPIED, OWN]),
        ([("codec", True), ("codec", False)], [KEPT, COPIED, OWN]),
        ([("planes", True), ("decode", False)], [KEPT, COPIED, OWN]),
    ],
)
def test_whatever_a_gpu_lacks_costs_nothing_but_speed(
    tmp_path, fake_gpu, caplog, fails, tried, threads
):
    path = make(tmp_path, "h264.mp4")
    gpu = fake_gpu(*fails)
    with caplog.at_level(logging.DEBUG, "hrpro"):
        text, pictures, report = read(path, hardware=KEPT, threads=threads)
    assert gpu.tried == tried
    expected_text, expected, expected_report = read(path)
    assert (text, report) == (expected_text, expected_report)
    for picture, right in zip(pictures, expected, strict=True):
        assert np.array_equal(picture, right)
    lines = [record.message for record in caplog.records]
    assert len(lines) == (len(tried) > 1), "one line for each file"
    for line in lines:
        way = "FFmpeg's decoder" if tried[-1] is OWN else str(tried[-1])
        assert line.startswith(f"{path}: {way} (NVDEC, frames kept: ")


def test_what_has_no_times_of_its_own_is_left_to_one_thread(tmp_path, fake_gpu, caplog):
    path = make(tmp_path, "mpeg4.avi")
    gpu = fake_gpu()
    with caplog.at_level(logging.DEBUG, "hrpro"):
        assert read(path, hardware=KEPT)[0] == read(path)[0]
    assert gpu.tried[:2] == [KEPT, OWN] and not caplog.records


def test_frames_that_stay_on_a_gpu_become_the_same_pictures(tmp_path, fake_gpu, pool):
    path = make_video(tmp_path / "a.mp4", 40, painter=blobs(80, 64), fps=10)
    converter = partial(TensorConverter, device=torch.device("cpu"))
    with FrameReader(path, converter=converter, pool=pool) as reader:
        expected, info, report = list(reader), reader.info, reader.report
    gpu = fake_gpu()
    with FrameReader(path, hardware=KEPT, converter=converter, pool=pool) as reader:
        found = list(reader)
    assert gpu.tried == [KEPT] and reader.report == report
    assert (reader.info.pixel_format, info.pixel_format) == ("nv12", "yuv420p")
    for picture, right in zip(found, expected, strict=True):
        assert (np.abs(picture.astype(int) - right) <= 1).mean() >= 0.99


def test_one_thread_takes_over_from_a_gpu_at_the_damage(tmp_path, fake_gpu):
    path = make(tmp_path, "h264.mp4")
    data = path.read_bytes()
    for seed in range(6):
        path.write_bytes(hurt(data, random.Random(seed)))
        expected = read(path)
        gpu = fake_gpu()
        text, pictures, report = read(path, hardware=KEPT)
        assert gpu.tried[0] == KEPT and (text, report) == (expected[0], expected[2]), seed
        for picture, right in zip(pictures, expected[1], strict=True):
            assert np.array_equal(picture, right), seed


def test_a_decoder_that_is_not_there_costs_nothing_but_speed(tmp_path):
    for hardware in (KEPT, COPIED):
        assert_same(make(tmp_path, "h264.mp4"), hardware=hardware)
        assert_same(make(tmp_path, "vp9.webm"), hardware=hardware, threads=2)


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("kind", ["h264.mp4", "hevc.mp4"])
def test_nvdec_gives_the_pictures_of_ffmpeg(tmp_path, cuda, kind, kept, caplog):
    path = make_video(tmp_path / kind, 50, painter=blobs(320, 240), **KINDS[kind])
    hardware = Hardware(keeps_frames=kept)
    converter = partial(TensorConverter, device=torch.device(cuda))
    with caplog.at_level(logging.DEBUG, "hrpro"):
        source = FrameSource(path, DecodeReport(), hardware=hardware)
        assert on_gpu(next(source).frame) == kept, caplog.text
        source.close()
        with FrameReader(path, hardware=hardware, converter=converter) as reader:
            found = list(reader.timed())
    assert not caplog.records, "nothing was in vain"
    with FrameReader(path) as reader:
        expected = list(reader.timed())
    assert [time_s for time_s, _ in found] == [time_s for time_s, _ in expected]
    for (_, picture), (_, right) in zip(found, expected, strict=True):
        assert (np.abs(picture.astype(int) - right) <= 1).mean() >= 0.99


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
