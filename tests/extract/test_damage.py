"""Damage costs itself and nothing else; what is shown keeps its time in the file's own clock."""

from __future__ import annotations

import random
import struct
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from videos import make_video, noise, number_of, numbered

from hrpro.errors import VideoError
from hrpro.extract.config import ExtractConfig
from hrpro.extract.decode import FrameReader, probe
from hrpro.extract.losses import SkippedBytes
from hrpro.extract.probe import open_video
from hrpro.extract.snippet_cutting import cut_snippets
from hrpro.extract.video_progress import Job, Video
from hrpro.features import Fingerprint, Sidecar, VideoFacts

NO_SCENE_CUTS = {"sc_threshold": "1000000000"}
# Codec and container of each kind of file, with what the encoder needs.
KINDS = {
    "h264.mp4": ("libx264", {"b_frames": 2}),
    "hevc.mp4": ("libx265", {"b_frames": 2}),
    "mpeg4.mp4": ("mpeg4", {}),
    "h264.mkv": ("libx264", {"b_frames": 2}),
    "h264.ts": ("libx264", {"b_frames": 2}),
    "hevc.ts": ("libx265", {}),
    "mpeg2.ts": ("mpeg2video", {"b_frames": 2, "options": NO_SCENE_CUTS}),
    "mpeg2.mpg": ("mpeg2video", {"b_frames": 2, "options": NO_SCENE_CUTS}),
    "mpeg4.avi": ("mpeg4", {}),
    "h264.flv": ("libx264", {}),
    "vp9.webm": ("libvpx-vp9", {}),
    "vp9.mkv": ("libvpx-vp9", {}),
    "raw.h264": ("libx264", {"container": "h264"}),
    "raw.264": ("libx264", {"container": "h264", "b_frames": 2}),
    "raw.m2v": ("mpeg2video", {"container": "mpeg2video", "b_frames": 2}),
}


def make(folder: Path, kind: str, frames: int = 100, gop: int = 10, **options) -> Path:
    codec, needed = KINDS[kind]
    options = {"painter": noise(48, 32), **needed, **options}
    return make_video(folder / kind, frames, codec=codec, gop=gop, **options)


def shown(path: Path, **options) -> tuple[list[float], FrameReader]:
    """The times of the frames in the file's own clock, and the reader with its report."""
    with FrameReader(path, fps=None, short_side=None, crop=None, **options) as reader:
        times = [reader.info.start_s + time_s for time_s, _ in reader.timed()]
    return times, reader


def video_packets(path: Path) -> list[av.Packet]:
    with open_video(path) as (container, stream, _):
        return [packet for packet in container.demux(stream) if packet.size]


def without_packets(path: Path, target: Path, dropped: range) -> Path:
    """Copy a file without some video packets, as cutting and lost reception do."""
    if path.name.startswith("raw"):
        kept = (p for n, p in enumerate(video_packets(path)) if n not in dropped)
        target.write_bytes(b"".join(map(bytes, kept)))
        return target
    with av.open(str(path)) as source, av.open(str(target), "w") as output:
        copies = {s.index: output.add_stream_from_template(s) for s in source.streams}
        number = 0
        for packet in source.demux():
            if packet.dts is None:
                continue
            is_video = packet.stream.type == "video"
            if not (is_video and number in dropped):
                packet.stream = copies[packet.stream.index]
                output.mux(packet)
            number += is_video
    return target


def facts_of(path: Path, **recipe) -> tuple[VideoFacts, Fingerprint]:
    """What the sidecar says of a video, without any network."""
    config = ExtractConfig(short_side=32, crop=32, **recipe)
    video = Video(Job(path), config, dim=1, num_classes=1, keep_logits=False)
    with video.open() as pictures:
        samples = ((picture,) for picture in pictures)
        for block in cut_snippets(samples, config.snippet, config.stride, 4):
            rows = np.zeros((block.num_snippets, 1), np.float32)
            video.add(block, rows, rows)
    fingerprint = config.fingerprint({}, None, "float32")
    result = video.result(fingerprint)
    assert not isinstance(result, Exception)
    return result.sidecar.video, fingerprint


# --- a hole in the middle -------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_hole_in_the_middle_costs_what_it_hides(tmp_path, kind):
    path = make(tmp_path, kind)
    packets = video_packets(path)
    data = bytearray(path.read_bytes())
    # A second's worth of the file, as a bad sector does.
    begin, end = len(data) * 2 // 5, len(data) * 3 // 5
    if kind.endswith(".mp4"):
        begin, end = packets[40].pos, packets[60].pos
    data[begin:end] = bytes(end - begin)
    path.write_bytes(data)
    times, reader = shown(path)
    report = reader.report
    assert times[0] == pytest.approx(0, abs=0.05)
    assert 65 <= len(times) <= 90
    if kind.startswith("raw") or kind.endswith("avi"):
        return  # they count frames and have no times: what is missing cannot be known
    assert times[-1] == pytest.approx(3.96, abs=0.05)
    assert report.duration_s == pytest.approx(4.0, abs=0.05)
    assert 0.4 <= report.lost_s <= 1.4
    assert all(1.4 <= start_s < end_s <= 3.0 for start_s, end_s in report.lost)
    assert sum("of the picture lost" in warning for warning in report.warnings) == 1


@pytest.mark.parametrize("later_s", [7200, -3])
def test_parts_with_clocks_of_their_own_promise_nothing(tmp_path, later_s):
    path = make(tmp_path, "h264.ts", frames=100)
    ticks = [(5 + later_s) * 25 + number for number in range(100)]
    second = make(tmp_path / "second", "h264.ts", frames=100, times=ticks)
    first = make(tmp_path / "first", "h264.ts", frames=100, times=[t + 125 for t in range(100)])
    path.write_bytes(first.read_bytes() + second.read_bytes())
    times, reader = shown(path)
    assert (len(times), times[-1]) == (200, pytest.approx(7.96, abs=0.05))
    assert not reader.report.truncated
    assert reader.report.lost_s < 0.2


@pytest.mark.parametrize("kind", ["vp9.webm", "vp9.mkv"])
def test_what_matroska_passes_over_in_silence_is_lost(tmp_path, kind):
    path = make(tmp_path, kind)
    begin, end = (video_packets(path)[number].pos for number in (42, 58))
    data = bytearray(path.read_bytes())
    data[begin - 8 : end] = bytes(end - begin + 8)
    path.write_bytes(data)
    times, reader = shown(path)
    assert len(times) < 90
    ((start_s, end_s),) = reader.report.lost
    gaps = [later - time for time, later in pairwise(times)]
    assert end_s - start_s == pytest.approx(max(gaps) - 0.04, abs=0.01)


@pytest.mark.parametrize("audio_s", [0.0, 7.0])
def test_a_held_picture_of_matroska_is_no_loss(tmp_path, audio_s):
    """Screen recordings hold a picture for as long as nothing moves; here up to a keyframe."""
    times = [*range(50), *range(100, 150)]
    path = make(tmp_path, "vp9.mkv", gop=50, times=times, audio_s=audio_s)
    _, reader = shown(path)
    assert reader.report.lost == []


def test_bytes_that_are_skipped_are_far_more_than_those_of_the_sound():
    skipped = SkippedBytes()
    second = Fraction(1)
    for number in range(10):  # 100 bytes of picture and 400 of sound in each
        assert not skipped.lie_before(500 * number, 100, number * second)
    assert not skipped.lie_before(4600 + 5 * 400, 100, 14 * second)  # five seconds of sound
    assert skipped.lie_before(6700 + 5 * 1000, 100, 19 * second)  # and of more than that
    assert not skipped.lie_before(11800 + 400, 100, 20 * second)


def test_a_stream_that_damage_makes_up_is_not_the_video(tmp_path):
    path = make_video(tmp_path / "a.flv", 100, gop=25)
    larger = make_video(tmp_path / "b.flv", 1, codec="flv", painter=numbered(320, 240))
    data, other = path.read_bytes(), larger.read_bytes()
    begin = video_packets(larger)[0].pos
    tag = other[begin : begin + 15 + int.from_bytes(other[begin + 1 : begin + 4], "big")]
    tag = tag[:4] + (3000).to_bytes(3, "big") + tag[7:]
    middle = video_packets(path)[75].pos  # where its tag begins
    assert data[middle] == 9
    path.write_bytes(data[:middle] + tag + data[middle:])
    with av.open(str(path)) as container:
        assert len(container.streams.video) == 2
    times, reader = shown(path)
    assert (reader.info.stream, len(times)) == (0, 100)


def test_the_sidecar_says_what_was_lost(tmp_path):
    path = make(tmp_path, "h264.mp4")
    packets = video_packets(path)
    data = bytearray(path.read_bytes())
    data[packets[40].pos : packets[60].pos] = bytes(packets[60].pos - packets[40].pos)
    path.write_bytes(data)
    facts, _ = facts_of(path)
    assert facts.lost_s == pytest.approx(0.8, abs=0.2)
    assert facts.lost[0][0] == pytest.approx(1.6, abs=0.2)
    assert facts.num_frames == 100  # the picture before is held
    assert (facts.start_s, facts.stream, facts.truncated) == (0, 0, False)


# --- a beginning that cannot be decoded ------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["h264.ts", "hevc.ts", "mpeg2.ts", "mpeg2.mpg", "raw.h264", "raw.264", "h264.mp4"]
)
def test_a_capture_that_begins_within_a_group_is_shown_from_the_next_keyframe_on(tmp_path, kind):
    path = make(tmp_path, kind, gop=50)
    cut = without_packets(path, tmp_path / f"raw-or-cut.{kind}", range(15))
    times, reader = shown(cut)
    lead_s = reader.info.start_s
    assert lead_s == pytest.approx(2.0 if kind.endswith("mp4") else 1.4, abs=0.1)
    assert len(times) == pytest.approx(50, abs=3)  # an open group may lose its first B-frames
    assert times[-1] - times[0] == pytest.approx(1.96, abs=0.1)
    (start_s, end_s), *_ = reader.report.lost
    assert (start_s, end_s) == (0, pytest.approx(lead_s))
    assert any(f"the first {lead_s:.2f} s cannot be shown" in w for w in reader.report.warnings)
    assert not reader.report.truncated


def test_a_file_without_any_keyframe_says_so(tmp_path):
    path = make(tmp_path, "h264.ts", frames=30, gop=30)
    cut = without_packets(path, tmp_path / "cut.ts", range(1))
    with pytest.raises(VideoError, match="no keyframe"):
        probe(cut)


# --- clocks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["h264.ts", "mpeg2.ts", "mpeg2.mpg"])
def test_a_reception_gap_moves_nothing(tmp_path, kind):
    path = make(tmp_path, kind, gop=25)
    data = path.read_bytes()
    packet = 188 if kind.endswith("ts") else 2048
    begin, end = (int(len(data) * share) // packet * packet for share in (0.35, 0.6))
    path.write_bytes(data[:begin] + data[end:])
    times, reader = shown(path)
    assert times == sorted(times)
    assert times[-1] == pytest.approx(3.96, abs=0.05)
    assert reader.report.duration_s == pytest.approx(4.0, abs=0.05)
    assert 0.5 < reader.report.lost_s < 2


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "mov"])
def test_a_picture_that_starts_after_the_sound_keeps_its_time(tmp_path, suffix):
    ticks = range(75, 125)
    path = make_video(tmp_path / f"a.{suffix}", 50, times=ticks, audio_s=5.0)
    times, reader = shown(path)
    # In a transport stream, the encoder's run-in of the sound comes first.
    assert reader.info.start_s == pytest.approx(3.0, abs=0.07)
    assert times[-1] == pytest.approx(4.96, abs=0.07)
    assert reader.report.lost == []
    facts, _ = facts_of(path)
    assert facts.start_s == reader.info.start_s
    assert facts.duration_s == pytest.approx(2.0, abs=0.03)


def test_an_edit_list_that_delays_and_cuts_loses_nothing(tmp_path):
    path = make_video(tmp_path / "a.mp4", 100)
    data = path.read_bytes()
    at = data.index(b"elst")
    ticks, entries = 12800, data[at + 8 : at + 12]
    assert entries == (1).to_bytes(4, "big")
    # 2 s of nothing, then the picture from 1 s on; lengths in milliseconds.
    edits = struct.pack(">IiiIiiI", 2, 2000, -1, 1 << 16, 3000, ticks, 1 << 16)
    data = data[: at + 8] + edits + data[at + 24 :]
    for box in (b"moov", b"trak", b"edts", b"elst"):
        begin = data.index(box) - 4
        size = int.from_bytes(data[begin : begin + 4], "big") + 12
        data = data[:begin] + size.to_bytes(4, "big") + data[begin + 4 :]
    path.write_bytes(data)
    times, reader = shown(path)
    assert (times[0], times[-1], len(times)) == (2.0, pytest.approx(4.96), 75)
    report = reader.report
    assert (report.lost, report.truncated, report.warnings) == ([], False, [])


def test_snippets_of_a_variable_rate_have_their_times(tmp_path):
    # Two seconds at 10 frames per second, then two at 25.
    ticks = [*range(0, 2000, 100), *range(2000, 4000, 40)]
    path = make_video(
        tmp_path / "a.mkv", 70, times=ticks, time_base=Fraction(1, 1000), options={"bf": "0"}
    )
    facts, fingerprint = facts_of(path, fps=None)
    assert facts.snippet_start_s == pytest.approx([0, 1.6, 2.48, 3.12])
    assert fingerprint.fps == "native"
    clock = Sidecar(fingerprint=fingerprint, video=facts).clock
    stride_s = float(16 / Fraction(facts.fps))
    for snippet, start_s in enumerate(facts.snippet_start_s):
        assert clock.to_file(snippet * stride_s) == pytest.approx(start_s)
        assert clock.to_snippets(start_s) == pytest.approx(snippet * stride_s)
    assert clock.to_file(70 / float(Fraction(facts.fps))) == pytest.approx(4.0)


def test_snippets_of_a_constant_rate_need_no_times(tmp_path):
    path = make_video(tmp_path / "a.mkv", 70, Fraction(30000, 1001))
    assert facts_of(path, fps=None)[0].snippet_start_s is None


# --- which stream ----------------------------------------------------------------------------


def two_streams(
    path: Path, first_frames: int = 1, default: int | None = None, first_side: int = 32
) -> Path:
    """Write a file with a small stream before the video."""
    with av.open(str(path), "w") as file:
        streams = []
        for side in (first_side, 64):
            stream = file.add_stream("libx264", rate=25)
            stream.width = stream.height = side
            stream.pix_fmt = "yuv420p"
            streams.append(stream)
        if default is not None:
            for index, stream in enumerate(streams):
                wanted = av.stream.Disposition.default if index == default else 0
                stream.disposition = av.stream.Disposition(wanted)
        for stream, frames in zip(streams, (first_frames, 50), strict=True):
            for number in range(frames):
                picture = numbered(stream.width, stream.height)(number)
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                file.mux(stream.encode(frame))
            file.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("name", "options", "side"),
    [
        ("thumbnail.mp4", {}, 64),
        ("thumbnail.mkv", {"default": 0}, 64),  # too short to be the video
        ("preview.mp4", {"first_frames": 50}, 64),
        ("angles.mkv", {"first_frames": 50, "default": 0, "first_side": 48}, 48),
    ],
)
def test_the_video_is_chosen_among_several_streams(tmp_path, name, options, side):
    path = two_streams(tmp_path / name, **options)
    info = probe(path)
    assert (info.width, info.stream) == (side, int(side == 64))
    _, reader = shown(path)
    (note,) = reader.report.warnings
    assert f"2 video streams: took {info.stream} ({side}x{side}" in note


def test_a_stream_can_be_named(tmp_path):
    path = two_streams(tmp_path / "a.mp4", first_frames=20)
    times, reader = shown(path, stream=0)
    assert (reader.info.width, len(times)) == (32, 20)
    assert reader.report.warnings == []
    facts, fingerprint = facts_of(path, stream=0)
    assert (facts.stream, fingerprint.stream) == (0, 0)
    with pytest.raises(VideoError, match=r"stream 2 is not a video stream \(there are 0, 1\)"):
        probe(path, stream=2)


# --- any damage ------------------------------------------------------------------------------

MUTATED = ("h264.mp4", "h264.mkv", "h264.ts", "mpeg2.mpg", "raw.264", "mpeg4.avi")
MUTATIONS = 200


class Placing(FrameReader):
    """Keeps the timestamp of each frame beside the time at which it is placed."""

    def _on_display(self, placed):
        self.placed = []
        for start_s, _, frame in placed:
            self.placed.append((float(start_s), frame.pts))
            yield start_s, frame


def mutate(data: bytes, packets: list[tuple[int, int]], chance: random.Random) -> bytes:
    """Tear a hole, cut a part out, or let two packets change places."""
    length = chance.randrange(1, len(data) // 6)
    begin = chance.randrange(len(data) // 50, len(data))
    match chance.choice(["hole", "cut", "swap"]):
        case "hole":
            return data[:begin] + bytes(len(data[begin : begin + length])) + data[begin + length :]
        case "cut":
            return data[:begin] + data[begin + length :]
    (a, a_size), (b, b_size) = sorted(chance.sample(packets, 2))
    return b"".join(
        (
            data[:a],
            data[b : b + b_size],
            data[a + a_size : b],
            data[a : a + a_size],
            data[b + b_size :],
        )
    )


def spans(path: Path) -> list[tuple[int, int]]:
    """Position and size of what can change places: packets, of a transport stream its own."""
    data = path.read_bytes()
    if path.suffix == ".ts":
        return [(begin, 188) for begin in range(0, len(data), 188)]
    sizes = [(packet.pos, packet.size) for packet in video_packets(path)]
    if path.suffix == ".264":
        begins = np.cumsum([0, *(size for _, size in sizes)]).tolist()
        return list(zip(begins, (size for _, size in sizes), strict=False))
    return [(begin, size) for begin, size in sizes if begin is not None]


@pytest.mark.parametrize("kind", MUTATED)
def test_no_mutation_moves_a_frame_or_ends_the_program(tmp_path, kind):
    path = make(tmp_path, kind, frames=50)
    data, packets = path.read_bytes(), spans(path)
    failed = []
    for seed in range(MUTATIONS):
        path.write_bytes(mutate(data, packets, random.Random(seed)))
        try:
            with Placing(path, fps=None, short_side=None, crop=None) as reader:
                for _ in reader:
                    pass
        except VideoError as error:
            assert "\n" not in str(error)
            failed.append(str(error))
            continue
        info, report = reader.info, reader.report
        tick_s = float(reader._source.opened.stream.time_base)
        for start_s, pts in reader.placed:
            if pts is not None and kind != "mpeg4.avi":  # FFmpeg guesses those of AVI
                own_s = pts * tick_s - info.clock_start_s
                assert info.start_s + start_s == pytest.approx(own_s, abs=0.1), seed
        assert report.duration_s < 2.5, seed
        assert all(0 <= start_s < end_s <= 2.5 for start_s, end_s in report.lost), (
            seed,
            report.lost,
        )
    # Of an MP4 the index may be hit.
    assert len(failed) < MUTATIONS * (0.5 if kind.endswith("mp4") else 0.1), failed


def test_a_frame_keeps_its_content(tmp_path):
    """The numbers in the pictures are those of their times, also behind a hole."""
    path = make_video(tmp_path / "a.mp4", 56, gop=1)
    packets = video_packets(path)
    data = bytearray(path.read_bytes())
    data[packets[10].pos : packets[30].pos] = bytes(packets[30].pos - packets[10].pos)
    path.write_bytes(data)
    with FrameReader(path, fps=None, short_side=None, crop=None) as reader:
        for time_s, picture in reader.timed():
            assert number_of(picture) == round(time_s * 25)
    assert reader.report.lost == [(0.4, 1.2)]
