"""The videos, as browsers are given them."""

from __future__ import annotations

import threading
from fractions import Fraction

import av
import pytest
from label_client import TOKEN, act, wait_for
from videos import corners, make_sound, make_video, noise, number_of, numbered

from hrpro.extract.decode import FrameReader, probe
from hrpro.pipeline.label import media as media_module
from hrpro.pipeline.label.playable import look_at
from hrpro.pipeline.label.project import Project
from hrpro.pipeline.label.proxies import make_proxy

pytestmark = pytest.mark.core


def test_parts_of_a_video_are_served(client, clip):
    data = clip.read_bytes()
    path = f"/media/a?token={TOKEN}"
    whole = client.get(path)
    assert (whole.status_code, whole.headers["content-type"]) == (200, "video/mp4")
    assert whole.content == data and whole.headers["accept-ranges"] == "bytes"
    part = client.get(path, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, data[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(data)}"
    assert client.get(path, headers={"Range": "bytes=-10"}).content == data[-10:]
    assert client.get(path, headers={"Range": f"bytes={len(data)}-"}).status_code == 416


def test_what_browsers_play_is_not_copied(tmp_path):
    for name, options in {
        "plain.mp4": {"audio_s": 1.0},
        "camera.mov": {},
        "b-frames.mp4": {"b_frames": 2},
        "turned.mp4": {"rotation": 90},
        "variable.mp4": {"times": [0, 1, 4, 5, 9], "frames": 5},
        "full-range.mp4": {"pix_fmt": "yuvj420p", "color_range": 2},
        "index-first.mp4": {"container_options": {"movflags": "faststart"}},
        "vp9.webm": {"codec": "libvpx-vp9"},
    }.items():
        facts = look_at(make_video(tmp_path / name, **{"frames": 10, **options}))
        assert (name, facts.obstacle, facts.error) == (name, None, None)


def test_what_browsers_do_not_play_says_why(tmp_path):
    millisecond = Fraction(1, 1000)
    for name, options, why in [
        ("a.avi", {"codec": "mpeg4"}, "do not open avi"),
        ("a.mkv", {}, "do not open matroska"),
        ("mpeg4.mp4", {"codec": "mpeg4"}, "do not decode mpeg4"),
        ("hevc.mp4", {"codec": "libx265"}, "do not decode hevc"),
        ("ten-bit.mp4", {"pix_fmt": "yuv420p10le"}, "do not decode yuv420p10le"),
        ("444.mp4", {"pix_fmt": "yuv444p"}, "do not decode yuv444p"),
        ("late.mp4", {"times": [500, 540, 580], "frames": 3, "time_base": millisecond}, "clock"),
        ("mirrored.mp4", {"hflip": True}, "mirrored"),
        ("two.mp4", {"second_video": numbered()}, "several pictures"),
    ]:  # fmt: skip
        facts = look_at(make_video(tmp_path / name, **{"frames": 10, **options}))
        assert why in (facts.obstacle or ""), name
    assert look_at(make_sound(tmp_path / "s.mp4")).error == "no video stream (sound only)"
    assert look_at(tmp_path / "gone.mp4").error == "no such file"


def frames(path):
    with FrameReader(path, fps=None, short_side=None, crop=None) as reader:
        return list(reader.timed())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.avi", {"codec": "mpeg4", "frames": 40}),
        ("b-frames.avi", {"codec": "mpeg4", "b_frames": 2, "frames": 20}),
        ("ntsc.mkv", {"fps": Fraction(30000, 1001), "frames": 40, "audio_s": 1.0}),
        ("variable.mkv", {"times": [0, 40, 41, 500, 1700, 1733], "frames": 6}),
        ("late.mkv", {"times": [1234, 1300, 1340, 2000], "frames": 4}),
        ("late.mp4", {"times": [1234, 1300, 1340, 2000], "frames": 4}),
        ("rotated.mkv", {"rotation": 90, "frames": 5}),
        ("wide-pixels.mkv", {"pixel_aspect": Fraction(2), "frames": 5}),
        ("hevc.mp4", {"codec": "libx265", "frames": 12}),
        ("transport.ts", {"frames": 30, "audio_s": 1.0}),
    ],
)
def test_a_proxy_shows_each_frame_at_its_time(tmp_path, name, options):
    if "times" in options:
        options = {**options, "time_base": Fraction(1, 1000), "options": {"bf": "0"}}
    video = make_video(tmp_path / name, **options)
    shares = []
    duration_s = make_proxy(video, tmp_path / "proxy.mp4", shares.append)
    before, after = frames(video), frames(tmp_path / "proxy.mp4")
    assert [number_of(picture) for _, picture in after] == [number_of(p) for _, p in before]
    start_s = probe(video).start_s
    expected = [0, *(start_s + t for t, _ in before[1:])]  # the first is shown from the begin
    assert [t for t, _ in after] == pytest.approx(expected, abs=2e-5)
    # In the transport stream, the encoder's run-in of the sound comes first.
    assert start_s == pytest.approx(1.234 if "late" in name else 0, abs=0.07)
    facts = look_at(tmp_path / "proxy.mp4")
    assert (facts.obstacle, facts.error) == (None, None)
    assert duration_s > after[-1][0]
    assert facts.duration_s == pytest.approx(duration_s, abs=0.03)  # sound may be longer
    assert after[0][1].shape == before[0][1].shape
    assert shares == sorted(shares) and 0 < shares[-1] <= 1
    with av.open(str(tmp_path / "proxy.mp4")) as file:
        assert [s.codec_context.name for s in file.streams.audio] == ["aac"] * (
            "audio_s" in options
        )


def test_a_proxy_is_small_upright_and_quick_to_seek(tmp_path):
    video = make_video(tmp_path / "v.mkv", 60, painter=corners(2560, 96), rotation=180, gop=1000)
    proxy = tmp_path / "proxy.mp4"
    make_proxy(video, proxy, lambda share: None)
    with av.open(str(proxy)) as file:
        stream = file.streams.video[0]
        assert (stream.width, stream.height) == (1280, 48)
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        keys = [float(p.pts * p.time_base) for p in file.demux(stream) if p.is_keyframe and p.size]
    assert keys == pytest.approx([0.0, 0.52, 1.04, 1.56, 2.08], abs=1e-4)
    data = proxy.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    _, picture = frames(proxy)[0]
    assert picture[5, 5].min() > 200  # white was bottom right


def test_copies_are_made_in_the_background_and_kept(tmp_path, serve):
    videos = tmp_path / "videos"
    make_video(videos / "good.avi", 20, codec="mpeg4")
    late = {"times": range(1000, 1800, 40), "time_base": Fraction(1, 1000)}
    make_video(videos / "late.mkv", 20, **late, options={"bf": "0"})
    (videos / "bad.avi").write_bytes(b"RIFF0000AVI LIST" + bytes(range(200)))
    client = serve(tmp_path, background=True)

    def playback():
        return {v["id"]: v["playback"] for v in client.get("/api/state").json()["videos"]}

    wait_for(lambda: playback() == {"bad": "failed", "good": "proxy", "late": "proxy"})
    [bad] = [v for v in client.get("/api/state").json()["videos"] if v["id"] == "bad"]
    assert bad["error"] and "\n" not in bad["error"] and str(tmp_path) not in bad["error"]
    assert client.get(f"/media/bad?token={TOKEN}").status_code == 404
    answer = client.get(f"/media/good?token={TOKEN}", headers={"Range": "bytes=4-7"})
    assert (answer.status_code, answer.content) == (206, b"ftyp")
    seen = client.get("/api/changes?since=0").json()["playback"]
    assert seen["good"]["playback"] == "proxy" and seen["good"]["progress"] == 1.0
    assert client.get("/api/videos/late").json()["duration_s"] == pytest.approx(1.8)
    assert act(client, "bad", type="done", done=True).status_code == 200


def test_copies_of_an_earlier_session_are_used_and_old_ones_go(tmp_path):
    video = make_video(tmp_path / "videos" / "v.avi", 10, codec="mpeg4")
    proxies = tmp_path / "label" / "proxies"

    def session():
        project = Project(tmp_path)
        project.media.start()
        wait_for(lambda: project.media.state("v")["playback"] == "proxy")
        project.close()
        return {path.name: path.stat().st_mtime_ns for path in proxies.iterdir()}

    first = session()
    (proxies / ".x.part.mp4").touch()  # what a killed process leaves
    assert session() == first and len(first) == 1
    make_video(video, 20, codec="mpeg4")
    second = session()
    assert len(second) == 1 and second != first
    (tmp_path / "label" / "media.json").write_text("{")
    assert session() == second


def test_the_video_that_is_asked_for_goes_first(tmp_path, monkeypatch):
    for name in "abcd":
        (tmp_path / "videos").mkdir(exist_ok=True)
        make_video(tmp_path / "videos" / f"{name}.avi", 5, codec="mpeg4")
    made, started, asked = [], threading.Event(), threading.Event()

    def slow(video, proxy, progress, stream):
        if not asked.is_set():
            started.set()
            assert asked.wait(10)
        progress(0.5)
        made.append(video.stem)
        proxy.parent.mkdir(exist_ok=True)
        proxy.touch()
        return 1.0

    monkeypatch.setattr(media_module, "make_proxy", slow)
    project = Project(tmp_path)
    project.media.start()
    assert started.wait(10)
    wait_for(lambda: all(project.media.state(name)["duration_s"] for name in "abcd"))
    project.video("d")
    asked.set()
    wait_for(lambda: len(made) == 4)
    project.close()
    assert made[0] == "d"


def test_stopping_leaves_no_half_copies(tmp_path, monkeypatch):
    make_video(tmp_path / "videos" / "v.avi", 400, codec="mpeg4", painter=noise(320, 240))
    project = Project(tmp_path)
    project.media.start()
    wait_for(lambda: project.media.state("v")["progress"] > 0)
    project.close()
    assert list((tmp_path / "label" / "proxies").iterdir()) == []
