"""Files that must not break a batch: damaged, mislabelled, malicious, or merely unusual."""

from __future__ import annotations

import os
import re
import socket
import struct
import threading
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from videos import (
    damage_packets,
    make_sound,
    make_video,
    noise,
    number_of,
    numbered,
    packet_spans,
    truncate,
)

from hrpro.errors import VideoError
from hrpro.extract import frames
from hrpro.extract.decode import FrameReader, prefetch, probe

pytestmark = pytest.mark.core

FAST_START = {"movflags": "faststart"}


def whole(path, fps: Fraction | int | None = None, **options):
    with FrameReader(path, fps=fps, short_side=None, crop=None, **options) as reader:
        return list(reader), reader.report


def refusal(path) -> str:
    """Return the one line with which a file is refused, by the reader and by probe alike."""
    with pytest.raises(VideoError) as caught:
        FrameReader(path)
    with pytest.raises(VideoError) as probed:
        probe(path)
    message = str(caught.value)
    assert str(probed.value) == message
    assert "\n" not in message
    assert message.count(str(path) if str(path).isprintable() else repr(str(path))) == 1
    return message


# --- no video at all ------------------------------------------------------------------------


def test_missing_empty_and_folder(tmp_path):
    (tmp_path / "empty.mp4").touch()
    assert "no such file" in refusal(tmp_path / "gone.mp4")
    assert "empty" in refusal(tmp_path / "empty.mp4")
    assert "folder" in refusal(tmp_path)


def test_text_named_as_video(tmp_path):
    path = tmp_path / "notes.mp4"
    path.write_text("These are only notes.\n" * 50, encoding="utf-8")
    assert "text file" in refusal(path)


def test_random_bytes(tmp_path):
    path = tmp_path / "noise.mp4"
    path.write_bytes(np.random.default_rng(0).bytes(50_000))
    assert refusal(path)


def test_still_picture(tmp_path):
    path = make_video(tmp_path / "a.png", 1, codec="png", pix_fmt="rgb24", container="image2pipe")
    assert "still picture" in refusal(path)


def test_sound_only_and_cover_art(tmp_path):
    assert "no video stream (sound only)" in refusal(make_sound(tmp_path / "a.m4a"))
    assert "cover art" in refusal(make_sound(tmp_path / "b.mp4", cover_art=True))


def test_cover_art_beside_a_video_is_ignored(tmp_path):
    path = make_video(tmp_path / "a.mp4", 5, cover_art=True, audio_s=0.2)
    pictures, _ = whole(path)
    assert pictures[0].shape == (48, 64, 3)
    assert [number_of(p) for p in pictures] == list(range(5))


def test_default_stream_is_chosen_among_several(tmp_path):
    path = make_video(tmp_path / "a.mkv", 10, second_video=numbered(32, 32))
    assert whole(path)[0][0].shape == (32, 32, 3)


def test_moov_is_missing(tmp_path):
    message = refusal(truncate(make_video(tmp_path / "a.mp4", 30), 0.5))
    assert "index (moov)" in message


def test_pipe_does_not_hang(tmp_path):
    path = tmp_path / "pipe.mp4"
    os.mkfifo(path)
    assert "not a regular file" in refusal(path)


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root reads everything")
def test_unreadable_file(tmp_path):
    path = make_video(tmp_path / "a.mp4", 2)
    path.chmod(0)
    assert "Permission denied" in refusal(path)


# --- damage ---------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 4])
def test_damaged_packets_are_skipped_and_counted(tmp_path, threads):
    # Key frames only, so that the damage does not spread to the neighbours.
    path = make_video(tmp_path / "a.mp4", 30, gop=1)
    damage_packets(path, [7, 8, 20])
    pictures, report = whole(path, threads=threads)
    assert [number_of(p) for p in pictures] == [n for n in range(30) if n not in (7, 8, 20)]
    assert report.corrupt_packets == 3
    assert not report.truncated
    assert report.lost == [(0.28, 0.36), (0.8, 0.84)]
    assert report.lost_s == pytest.approx(0.12)
    assert report.warnings == [
        "0.12 s of the picture lost (0.28-0.36 s, 0.80-0.84 s); 3 damaged packets skipped"
    ]
    # The others keep their time: the frame before the damage is held.
    held, report = whole(path, 25)
    assert [number_of(p) for p in held] == [*range(7), 6, 6, *range(9, 20), 19, *range(21, 30)]
    assert report.duration_s == pytest.approx(1.2)


def test_however_long_the_damage_the_rest_is_shown_in_its_place(tmp_path):
    path = damage_packets(make_video(tmp_path / "a.mp4", 60, gop=1), range(10, 50))
    pictures, report = whole(path)
    assert [number_of(p) for p in pictures] == [*range(10), *(n % 56 for n in range(50, 60))]
    assert report.corrupt_packets == 40
    assert not report.truncated
    assert report.lost == [(0.4, 2.0)]
    assert report.duration_s == pytest.approx(2.4)


@pytest.mark.parametrize("limit", ["MAX_FRUITLESS_PACKETS", "bytes"])
def test_work_without_a_picture_is_bounded(tmp_path, monkeypatch, limit):
    path = damage_packets(make_video(tmp_path / "a.mp4", 60, gop=1), range(10, 50))
    if limit == "bytes":  # as if an index named the same bytes again and again
        monkeypatch.setattr(frames, "FRUITLESS_SHARE", Fraction(1, 20))
    else:
        monkeypatch.setattr(frames, limit, 20)
    pictures, report = whole(path)
    assert [number_of(p) for p in pictures] == list(range(10))
    assert report.truncated
    assert any("gave up after" in warning for warning in report.warnings)
    assert report.lost == [(0.4, 2.4)]


def test_damage_up_to_the_end_keeps_the_frames_that_the_decoder_holds_back(tmp_path):
    path = make_video(tmp_path / "a.mp4", 40, b_frames=3, gop=20)
    pictures, report = whole(damage_packets(path, range(20, 40)))
    assert [number_of(p) for p in pictures] == list(range(20))
    assert report.truncated


def test_empty_packets_do_not_end_the_video(tmp_path):
    """AVI marks frames that the camera dropped by chunks of no bytes."""
    path = make_video(tmp_path / "a.avi", 20, codec="mpeg4", gop=1)
    data = bytearray(path.read_bytes())
    movie = bytes(data[: data.index(b"idx1")])
    chunks = [m.start() for m in re.finditer(b"00dc", movie) if m.start() > movie.index(b"movi")]
    assert len(chunks) == 20
    # The tenth frame becomes an empty chunk, and a filler takes the room of its bytes.
    (size,) = struct.unpack_from("<I", data, chunks[9] + 4)
    struct.pack_into("<I4sI", data, chunks[9] + 4, 0, b"JUNK", size - 8)
    index = data.index(b"idx1") + 8
    struct.pack_into("<I", data, index + 16 * 9 + 12, 0)
    path.write_bytes(data)
    pictures, report = whole(path, 25)
    assert [number_of(p) for p in pictures] == [*range(9), 8, *range(10, 20)]
    assert report.warnings == []


def test_scattered_damage_never_ends_the_video(tmp_path):
    path = make_video(tmp_path / "a.mp4", 40, gop=1)
    pictures, report = whole(damage_packets(path, range(0, 40, 2)))
    assert len(pictures) == report.corrupt_packets == 20
    assert not report.truncated


def test_damage_among_dependent_frames_still_gives_pictures(tmp_path):
    path = make_video(tmp_path / "a.mp4", 40, painter=noise(), b_frames=2, gop=10)
    pictures, report = whole(damage_packets(path, [12, 25]), 25)
    assert report.corrupt_packets >= 2
    assert len(pictures) == 40


def test_damaged_first_packet(tmp_path):
    path = damage_packets(make_video(tmp_path / "a.mp4", 12, gop=1), [0])
    pictures, report = whole(path, 25)
    assert [number_of(p) for p in pictures] == list(range(1, 12))
    assert report.corrupt_packets == 1


def test_all_packets_damaged(tmp_path):
    path = damage_packets(make_video(tmp_path / "a.mp4", 12, gop=1), range(12))
    assert "no frame can be decoded" in refusal(path)


def test_strict_raises_at_damage(tmp_path):
    path = damage_packets(make_video(tmp_path / "a.mp4", 12, gop=1), [5])
    with pytest.raises(VideoError, match=r"a\.mp4: damaged after 5 frames"):
        whole(path, strict=True)
    with (
        FrameReader(path, strict=True) as reader,
        prefetch(reader, 3) as ahead,
        pytest.raises(VideoError, match=r"a\.mp4: damaged"),
    ):
        list(ahead)


@pytest.mark.parametrize(
    "suffix, codec, options",
    [
        ("mp4", "libx264", FAST_START),
        ("mkv", "libx264", {}),
        ("webm", "libvpx-vp9", {}),
        ("avi", "mpeg4", {}),
    ],
)
def test_truncated_file_gives_what_is_there(tmp_path, suffix, codec, options):
    path = make_video(
        tmp_path / f"a.{suffix}", 50, painter=noise(), codec=codec, container_options=options
    )
    complete, _ = whole(path)
    pictures, report = whole(truncate(path, 0.6), 25)
    assert 20 <= len(pictures) <= 40
    assert report.truncated
    assert report.warnings
    np.testing.assert_array_equal(pictures[10], complete[10])
    with pytest.raises(VideoError, match=r"truncated|damaged"):
        whole(path, strict=True)


@pytest.mark.parametrize("kept", [20, 29])
def test_cut_exactly_between_two_packets(tmp_path, kept):
    path = make_video(tmp_path / "a.mp4", 30, container_options=FAST_START)
    position, _ = packet_spans(path)[kept]
    path.write_bytes(path.read_bytes()[:position])
    pictures, report = whole(path)
    assert len(pictures) == kept
    assert report.truncated


@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.3, 0.9, 0.999])
@pytest.mark.parametrize(
    "suffix, codec", [("mkv", "libx264"), ("avi", "mpeg4"), ("gif", "gif"), ("ts", "libx264")]
)
def test_any_cut_gives_pictures_or_one_line(tmp_path, suffix, codec, share):
    pix_fmt = "gray" if codec == "gif" else "yuv420p"
    path = make_video(tmp_path / f"a.{suffix}", 20, painter=noise(), codec=codec, pix_fmt=pix_fmt)
    truncate(path, share)
    try:
        pictures, report = whole(path, 25)
    except VideoError as error:
        assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
    else:
        assert 1 <= len(pictures) <= 21
        assert report.frames_out == len(pictures)


def test_any_flipped_bytes_give_pictures_or_one_line(tmp_path):
    data = make_video(
        tmp_path / "a.mp4", 20, painter=noise(), b_frames=2, container_options=FAST_START
    ).read_bytes()
    path = tmp_path / "b.mp4"
    for seed in range(40):
        rng = np.random.default_rng(seed)
        damaged = np.frombuffer(data, np.uint8).copy()
        # The first third of the rounds hits the headers, the others anything.
        where = rng.integers(0, 1500 if seed % 3 == 0 else len(data), 25)
        damaged[where] = rng.integers(0, 256, 25)
        path.write_bytes(damaged.tobytes())
        try:
            with FrameReader(path) as reader:
                for count, _ in enumerate(reader):
                    if count > 200:  # a forged time may hold a frame for minutes
                        break
        except VideoError as error:
            assert str(error).startswith(f"{path}: ") and "\n" not in str(error)


def test_header_that_lies_about_the_number_of_frames(tmp_path):
    path = make_video(tmp_path / "a.avi", 20, codec="mpeg4")
    data = bytearray(path.read_bytes())
    header = data.index(b"avih") + 8
    assert struct.unpack_from("<I", data, header + 16) == (20,)
    struct.pack_into("<I", data, header + 16, 9999)
    stream = data.index(b"strh") + 8
    struct.pack_into("<I", data, stream + 32, 9999)
    path.write_bytes(data)
    pictures, report = whole(path, 25)
    assert [number_of(p) for p in pictures] == list(range(20))
    assert report.duration_s == pytest.approx(0.8)


# --- forged sizes ---------------------------------------------------------------------------


@pytest.mark.parametrize("side", [10_000, 65_535])
@pytest.mark.parametrize(
    "suffix, codec, pix_fmt, mark, offset, layout",
    [
        ("avi", "rawvideo", "uyvy422", b"strf", 12, "<II"),
        ("gif", "gif", "gray", b"GIF8", 6, "<HH"),
    ],
)
def test_absurd_resolution(tmp_path, side, suffix, codec, pix_fmt, mark, offset, layout):
    path = make_video(tmp_path / f"a.{suffix}", 3, codec=codec, pix_fmt=pix_fmt)
    data = bytearray(path.read_bytes())
    struct.pack_into(layout, data, data.index(mark) + offset, side, side)
    path.write_bytes(data)
    started = time.monotonic()
    assert "larger than 67 megapixels" in refusal(path)
    assert time.monotonic() - started < 5


def test_elongated_picture(tmp_path):
    path = make_video(tmp_path / "a.mkv", 2, painter=numbered(800, 2), codec="ffv1", pix_fmt="gray")
    assert "too elongated (800x2" in refusal(path)


def test_forged_pixel_aspect_is_ignored(tmp_path):
    path = make_video(tmp_path / "a.mp4", 2, pixel_aspect=Fraction(4000, 1))
    assert whole(path)[0][0].shape == (48, 64, 3)


def test_picture_smaller_than_the_crop_is_named(tmp_path):
    path = make_video(tmp_path / "a.mp4", 2)
    with (
        pytest.raises(VideoError, match=r"a\.mp4: the picture \(64x48\) is smaller"),
        FrameReader(path, short_side=None, crop=224) as reader,
    ):
        next(reader)


# --- files that name other files ------------------------------------------------------------


@pytest.fixture
def listener():
    """A local web server that only counts who knocks."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.02)
    knocks: list[object] = []
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            try:
                connection, address = server.accept()
            except TimeoutError:
                continue
            knocks.append(address)
            connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    yield server.getsockname()[1], knocks
    stop.set()
    thread.join()
    server.close()


def playlists(target: Path, port: int) -> dict[str, str]:
    url = f"http://127.0.0.1:{port}/a.ts"
    hls = "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n"
    return {
        "hls_file": hls.format(target.as_uri()),
        "hls_name": hls.format(target.name),
        "hls_http": hls.format(url),
        "hls_concat": hls.format(f"concat:{target}|{target}"),
        "ffconcat": f"ffconcat version 1.0\nfile '{target.name}'\n",
        "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static">'
        f"<Period><AdaptationSet><Representation><BaseURL>{url}</BaseURL></Representation>"
        "</AdaptationSet></Period></MPD>",
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
        "m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    }


@pytest.mark.parametrize(
    "kind", ["hls_file", "hls_name", "hls_http", "hls_concat", "ffconcat", "dash", "sdp"]
)
@pytest.mark.parametrize("suffix", ["mp4", "m3u8", "mpd", "ts"])
def test_playlists_are_refused_under_any_name(tmp_path, listener, kind, suffix):
    port, knocks = listener
    target = make_video(tmp_path / "a.ts", 3)
    path = tmp_path / f"list.{suffix}"
    path.write_text(playlists(target, port)[kind])
    assert "playlist" in refusal(path)
    assert knocks == []


def test_image_sequence_pattern_is_one_name(tmp_path):
    for number in range(3):
        make_video(
            tmp_path / f"x{number}.png", 1, codec="png", pix_fmt="rgb24", container="image2pipe"
        )
    assert "no such file" in refusal(tmp_path / "x%d.png")


@pytest.mark.parametrize(
    "name",
    [
        "https://example.org/a.mp4",
        "rtsp://camera/1",
        "file:///etc/hostname",
        "concat:a.mp4|b.mp4",
        "data:video/mp4;base64,AAAA",
        "lavfi:testsrc",
        "pipe:0",
        "a\0b.mp4",
    ],
)
def test_urls_are_not_opened(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert refusal(name)


# --- names ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "a b.mp4",
        'it\'s "x".mp4',
        "ünïcödé 滑雪 🎿.mp4",
        "-x.mp4",
        "http:a.mp4",
        "concat:a|b.mp4",
        "%03d.mp4",
        "[x]*?.mp4",
        "$(touch x);`id`.mp4",
        "no_suffix",
        "wrong.txt",
        "n" * 200 + ".mp4",
        "line\nbreak.mp4",
    ],
)
def test_odd_names_open(tmp_path, monkeypatch, name):
    make_video(tmp_path / "a.mp4", 3).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for path in (Path(name), tmp_path / name):
        assert len(whole(path)[0]) == 3


def test_name_with_a_line_break_keeps_the_message_on_one_line(tmp_path):
    path = tmp_path / "a\nb.mp4"
    path.touch()
    assert "empty" in refusal(path)


def test_name_that_is_not_utf8(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.mp4")
    try:
        make_video(tmp_path / "a.mp4", 3).rename(path)
    except OSError:
        pytest.skip("the file system takes UTF-8 names only")
    assert len(whole(path)[0]) == 3


# --- and quietly ----------------------------------------------------------------------------


def test_ffmpeg_writes_nothing_to_the_terminal(tmp_path, capfd):
    path = damage_packets(make_video(tmp_path / "a.mp4", 20, painter=noise(), b_frames=2), [5, 6])
    capfd.readouterr()  # the encoder's own chatter
    whole(path)
    assert capfd.readouterr() == ("", "")


def test_no_file_stays_open_after_an_error(tmp_path):
    open_files = Path("/proc/self/fd")
    if not open_files.exists():
        pytest.skip("needs /proc")
    path = damage_packets(make_video(tmp_path / "a.mp4", 12, gop=1), range(12))
    before = len(list(open_files.iterdir()))
    for _ in range(5):
        refusal(path)
    assert len(list(open_files.iterdir())) == before
