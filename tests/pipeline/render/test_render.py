"""The preview video: its streams, its times, and what is drawn where."""

from __future__ import annotations

import logging
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import ImageColor
from videos import corners, damage_packets, make_sound, make_video, noise, numbered, truncate

from hrpro.annotations import Action
from hrpro.errors import HrproError, UsageError, VideoError
from hrpro.extract.decode import FrameReader, probe
from hrpro.pipeline.render import h264
from hrpro.pipeline.render.overlay import Overlay, ranked_classes
from hrpro.pipeline.render.palette import class_colors
from hrpro.pipeline.render.preview import render_preview
from hrpro.pipeline.results.model import Detection
from hrpro.wording import clock

pytestmark = pytest.mark.core

JUMP = Detection("jump", 0.9, 0.2, 0.6)
GREEN = ImageColor.getrgb(class_colors(["jump"])["jump"])


@pytest.fixture
def preview(tmp_path):
    """Render a video; return the path of the preview."""

    def make(video, detections=(JUMP,), name="p.mp4", **options):
        render_preview(video, detections, tmp_path / name, **options)
        return tmp_path / name

    return make


def timed_pictures(path):
    with FrameReader(path, fps=None, short_side=None, crop=None) as reader:
        return list(reader.timed())


def times(path):
    return [time_s for time_s, _ in timed_pictures(path)]


# -------------------------------------------------------------------------------- the video


def test_streams_are_what_browsers_play(tmp_path, preview):
    video = make_video(tmp_path / "v.mp4", 25, painter=numbered(320, 240), audio_s=1.0)
    path = preview(video)
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        context = stream.codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert (context.width, context.height, stream.frames) == (320, 240, 25)
        assert float(stream.duration * stream.time_base) == pytest.approx(1.0, abs=1e-3)
        assert (stream.start_time, context.has_b_frames) == (0, False)
        assert (int(context.colorspace), int(context.color_range)) == (1, 1)
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    assert times(path) == pytest.approx([k / 25 for k in range(25)], abs=1e-6)


def test_the_picture_below_the_overlay_is_kept(tmp_path, preview):
    video = make_video(tmp_path / "v.mp4", 3, painter=corners(320, 240), colorspace=5)
    (_, before), *_ = timed_pictures(video)
    (_, after), *_ = timed_pictures(preview(video))
    for place in (np.s_[60:110, 220:310], np.s_[130:190, 10:150], np.s_[130:190, 170:310]):
        assert np.abs(before[place].astype(int) - after[place]).max() <= 3


def test_variable_rate_and_late_start_are_kept(tmp_path, preview):
    ticks = [0, 40, 80, 500, 520, 1500]
    late = [1234 + tick for tick in ticks]
    video = make_video(
        tmp_path / "v.mkv", 6, times=late, time_base=Fraction(1, 1000), options={"bf": "0"}
    )
    path = preview(video)
    # In the clock of the file; the first picture is held from its begin.
    assert times(path) == pytest.approx([0, *(tick / 1000 for tick in late[1:])], abs=1e-5)
    assert probe(path).duration_s == pytest.approx(1.234 + 1.54, abs=0.01)


@pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(24000, 1001), 120, 1])
def test_camera_rates_are_kept(tmp_path, preview, rate):
    video = make_video(tmp_path / "v.mp4", 7, rate, b_frames=2)
    path = preview(video)
    assert times(path) == pytest.approx([k / rate for k in range(7)], abs=1e-5)
    assert probe(path).duration_s == pytest.approx(float(7 / rate), abs=2e-3)


@pytest.mark.parametrize("suffix", [".mp4", ".MOV", ".m4v", ".mkv"])
def test_containers(tmp_path, preview, suffix):
    video = make_video(tmp_path / "v.mp4", 5, audio_s=0.2)
    assert probe(preview(video, name=f"p{suffix}")).has_audio


def test_rotation_and_pixel_aspect_are_applied(tmp_path, preview):
    aspect = Fraction(3, 2)
    video = make_video(
        tmp_path / "v.mp4", 2, painter=corners(320, 240), rotation=90, pixel_aspect=aspect
    )
    path = preview(video, ())
    info = probe(path)
    assert (info.width, info.height, info.rotation) == (240, 480, 0)
    # Counterclockwise: the green top right corner comes to the top left.
    (_, picture), *_ = timed_pictures(path)
    red, green, blue = picture[60:160, 30:90].mean((0, 1))
    assert green > 200 > 80 > max(red, blue)


@pytest.mark.parametrize(
    ("size", "max_height", "expected"),
    [
        ((321, 241), None, (320, 240)),
        ((320, 240), 120, (160, 120)),
        ((320, 240), 1080, (320, 240)),
        ((180, 320), 160, (90, 160)),
        ((64, 48), None, (212, 160)),
        ((8, 8), None, (160, 160)),
    ],
)
def test_sizes(tmp_path, preview, size, max_height, expected):
    video = make_video(tmp_path / "v.mkv", 2, painter=numbered(*size), codec="ffv1", pix_fmt="bgr0")
    info = probe(preview(video, max_height=max_height))
    assert (info.width, info.height) == expected


def test_gif(tmp_path, preview):
    video = make_video(
        tmp_path / "v.gif", 5, 10, painter=numbered(160, 160), codec="gif", pix_fmt="rgb8"
    )
    assert times(preview(video)) == pytest.approx([0, 0.1, 0.2, 0.3, 0.4], abs=1e-5)


def test_no_header_duration(tmp_path, preview):
    video = make_video(
        tmp_path / "v.mkv", 10, container_options={"live": "1"}, painter=numbered(320, 240)
    )
    assert probe(video).duration_s is None
    seen = []
    preview(video, progress=lambda done_s, duration_s: seen.append((done_s, duration_s)))
    assert len(seen) == 10
    assert seen[-1] == pytest.approx((0.4, 0.4), abs=0.002)


def test_damage_is_skipped_and_reported(tmp_path):
    video = make_video(tmp_path / "v.mp4", 30, painter=noise(), gop=5)
    damage_packets(video, [7])
    report = render_preview(video, [], tmp_path / "p.mp4")
    assert report.corrupt_packets > 0
    assert len(times(tmp_path / "p.mp4")) == report.frames_out >= 25


# -------------------------------------------------------------------------------- the sound


def tones(path, codec="aac", rate=48000, seconds=1.0, layout="stereo", container=None, frames=25):
    """Write a video with a sound that starts silent and becomes a tone at half time."""
    painter = numbered(160, 160)
    with av.open(str(path), "w", format=container) as file:
        video = file.add_stream("libx264", rate=25, options={"preset": "ultrafast", "bf": "0"})
        video.width = video.height = 160
        sound = file.add_stream(codec, rate=rate, layout=layout)
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(painter(number), format="rgb24")
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
        clock_s = np.arange(round(seconds * rate)) / rate
        wave = (np.sin(2 * np.pi * 440 * clock_s) * (clock_s >= seconds / 2) * 0.5 * 32767).astype(
            np.int16
        )
        channels = 1 if layout == "mono" else int(layout[0]) + 1 if layout == "5.1" else 2
        for start in range(0, len(wave), 1024):
            samples = np.repeat(wave[start : start + 1024], channels)[None]
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            file.mux(sound.encode(frame))
        file.mux(sound.encode(None))
    return path


def loudness(path):
    """Return codec, channels and rate, and the time when the sound becomes a tone."""
    with av.open(str(path)) as file:
        stream = file.streams.audio[0]
        first_s, levels = None, []
        for frame in file.decode(stream):
            first_s = frame.time if first_s is None else first_s
            levels.append(np.abs(frame.to_ndarray().astype(float)).max(axis=0).ravel())
        level = np.concatenate(levels)
        if stream.codec_context.format.is_packed:
            level = level.reshape(-1, stream.channels).max(axis=1)
        loud_s = first_s + np.argmax(level > 0.5 * level.max()) / stream.rate
        name = stream.codec_context.codec.canonical_name
        return (name, stream.channels, stream.rate), loud_s


@pytest.mark.parametrize(
    ("name", "codec", "rate", "layout", "expected"),
    [
        ("v.mp4", "aac", 48000, "stereo", ("aac", 2, 48000)),
        ("v.mp4", "aac", 44100, "5.1", ("aac", 6, 44100)),  # copied as it is
        ("v.mkv", "libmp3lame", 44100, "stereo", ("mp3", 2, 44100)),
        ("v.ts", "aac", 48000, "stereo", ("aac", 2, 48000)),  # ADTS, and a late start
        ("v.avi", "pcm_s16le", 22050, "mono", ("aac", 1, 22050)),
        ("v.mkv", "flac", 96000, "stereo", ("aac", 2, 48000)),
    ],
)
def test_sound_is_kept_and_in_time(tmp_path, preview, name, codec, rate, layout, expected):
    kind, loud_s = loudness(preview(tones(tmp_path / name, codec, rate, layout=layout)))
    assert kind == expected
    assert loud_s == pytest.approx(0.5, abs=0.04)


def test_copied_sound_is_the_same_data(tmp_path, preview):
    video = tones(tmp_path / "v.mp4")

    def packets(path):
        with av.open(str(path)) as file:
            return [bytes(p) for p in file.demux(audio=0) if p.size and p.pts >= 0]

    assert packets(preview(video)) == packets(video)


def test_sound_that_outlasts_the_picture_is_kept(tmp_path, preview):
    path = preview(tones(tmp_path / "v.mp4", seconds=2.0))
    with av.open(str(path)) as file:
        sound = file.streams.audio[0]
        assert float(sound.duration * sound.time_base) == pytest.approx(2.0, abs=0.05)


def test_a_cut_file_gives_what_there_is(tmp_path, preview):
    video = truncate(tones(tmp_path / "v.mkv", "flac", seconds=2.0, frames=50), 0.6)
    path = preview(video)
    assert 0 < len(times(path)) <= 50
    assert loudness(path)[0][0] == "aac"


# -------------------------------------------------------------------------------- refusals


def test_bad_requests_are_refused(tmp_path):
    video = make_video(tmp_path / "v.mp4", 2)
    before = video.read_bytes()
    with pytest.raises(UsageError, match=r"p\.gif: a preview must be one of \.mp4"):
        render_preview(video, [], tmp_path / "p.gif")
    with pytest.raises(UsageError, match="would replace an input"):
        render_preview(video, [], video)
    with pytest.raises(VideoError, match=r"no\.mp4: no such file"):
        render_preview(tmp_path / "no.mp4", [], tmp_path / "p.mp4")
    with pytest.raises(VideoError, match="no video stream"):
        render_preview(make_sound(tmp_path / "s.mp4"), [], tmp_path / "p.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.mp4", "v.mp4"]
    assert video.read_bytes() == before


def test_interruption_leaves_nothing(tmp_path):
    video = make_video(tmp_path / "v.mp4", 30, audio_s=1.0)

    def interrupt(done_s, duration_s):
        if done_s > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render_preview(video, [JUMP], tmp_path / "p.mp4", progress=interrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["v.mp4"]


def test_write_errors_name_the_preview(tmp_path, monkeypatch):
    video = make_video(tmp_path / "v.mp4", 3)

    def full(self, picture, start_s, end_s):
        raise av.error.InvalidDataError(28, "No space left on device")

    monkeypatch.setattr(h264.Encoder, "write", full)
    with pytest.raises(HrproError, match=r"p\.mp4: cannot write the video: No space left"):
        render_preview(video, [], tmp_path / "p.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["v.mp4"]


def test_without_an_h264_encoder_it_says_so(tmp_path, monkeypatch, preview, caplog):
    monkeypatch.setattr(h264.av, "codecs_available", {"mpeg4"})
    with caplog.at_level(logging.WARNING):
        path = preview(make_video(tmp_path / "v.mp4", 5))
    assert probe(path).codec == "mpeg4"
    assert "no H.264 encoder" in caplog.text


# ----------------------------------------------------------------------------- the drawing

GREY = 90


def drawn(detections, time_s, size=(320, 240), duration_s=10.0, truth=None):
    width, height = size
    picture = np.full((height, width, 3), GREY, np.uint8)
    Overlay(width, height, duration_s, detections, truth).draw(picture, time_s)
    return picture


def like(picture, colour):
    """Where the picture has (nearly) a colour."""
    return np.abs(picture.astype(int) - np.array(colour)).max(axis=-1) < 45


@pytest.mark.parametrize("size", [(320, 240), (1280, 720), (720, 1280), (3840, 2160)])
def test_bar_is_as_long_as_the_score(size):
    lengths = []
    for score in (0.25, 0.5, 1.0):
        top = drawn([Detection("jump", score, 2, 4)], 3, size)[: size[1] // 10]
        lengths.append(np.flatnonzero(like(top, GREEN).any(axis=0))[[0, -1]])
    assert len({start for start, _ in lengths}) == 1
    ends = [end - start + 1 for start, end in lengths]
    assert ends[0] / ends[2] == pytest.approx(0.25, abs=0.03)
    assert ends[1] / ends[2] == pytest.approx(0.5, abs=0.03)


def test_bar_is_there_only_while_the_action_lasts():
    jump = [Detection("jump", 0.9, 2, 4)]
    areas = [like(drawn(jump, t)[:30], GREEN).sum() for t in (1.99, 2.0, 3.99, 4.0)]
    assert areas[0] == areas[3] < 0.2 * areas[1]
    assert areas[1] == areas[2]


def test_best_of_overlapping_detections_counts():
    nested = [Detection("a", 0.3, 0, 9), Detection("a", 0.8, 3, 5), Detection("a", 0.5, 4, 7)]
    overlay = Overlay(320, 240, 10, nested)
    shown = [overlay._scores[np.searchsorted(overlay._edges, t, "right")][0] for t in range(10)]
    assert shown == [0.3, 0.3, 0.3, 0.8, 0.8, 0.5, 0.5, 0.3, 0.3, -np.inf]


def test_timeline_and_playhead():
    jump, truth = [Detection("jump", 1.0, 5, 7.5)], [Action("jump", 0.0, 2.5)]
    picture = drawn(jump, 2.5, truth=truth)
    rows = slice(240 - 40, 240)
    green = like(picture[rows], GREEN)
    columns = np.flatnonzero(green.any(axis=0))
    found = columns[columns > 130]
    left = columns[0]  # the truth begins at time 0
    scale = (found[0] - left) / 5  # pixels a second
    assert (found[-1] - left) / scale == pytest.approx(7.5, abs=0.15)
    assert green[:, found].any(axis=1).argmax() < green[:, left].argmax()  # the truth lies beneath
    white = like(picture[-20:], (255, 255, 255)).all(axis=0)
    assert (np.flatnonzero(white).mean() - left) / scale == pytest.approx(2.5, abs=0.15)


def test_classes_of_the_truth_come_first_then_by_score():
    found = [Detection(label, score, 0, 1) for label, score in (("a", 0.2), ("b", 0.9), ("c", 0.5))]
    assert ranked_classes(found) == ["b", "c", "a"]
    assert ranked_classes(found, [Action("d", 0, 1), Action("c", 0, 1)]) == ["c", "d", "b", "a"]


@pytest.mark.parametrize("size", [(160, 160), (240, 320), (320, 240), (1280, 40), (40, 1280)])
@pytest.mark.parametrize("label", ["x", "a very long label " * 20, "跳跃 прыжок ¡salto!", "a\nb"])
def test_any_label_fits_any_size(size, label):
    found = [Detection(f"{label}{k}", 0.9 + k, -1, 20) for k in range(9)]
    assert np.any(drawn(found, 0.5, size, truth=[Action(label, 0, 99)]) != GREY)


def test_nothing_found_still_shows_the_time():
    early, late = drawn([], 0.0), drawn([], 9.0)
    assert np.any(early != late)
    assert not np.any(early[:100] != GREY)


def test_low_scores_do_not_clutter_small_pictures():
    found = [Detection("jump", 0.9, 0, 5), Detection("run", 0.2, 0, 5), Detection("sit", 0.5, 0, 5)]
    truth = [Detection("run", 1, 0, 5)]

    def classes(width, height, true=None):
        return Overlay(width, height, 10, found, true)._classes

    assert classes(320, 240) == ["jump", "sit"]
    assert classes(320, 240, truth) == ["run", "jump", "sit"]
    assert classes(1280, 720) == ["jump", "sit", "run"]


def test_the_clock_ends_where_the_video_ends(monkeypatch):
    written = []
    monkeypatch.setattr(Overlay, "_write", lambda self, draw, at, text, *_: written.append(text))
    overlay = Overlay(320, 240, 10.44, [])
    for time_s in (0.0, 9.96, 10.4, 10.52):
        overlay.draw(np.zeros((240, 320, 3), np.uint8), time_s)
    assert [text for text in written if "/" in text] == [
        "0:00.0 / 0:10.4", "0:09.9 / 0:10.4", "0:10.4 / 0:10.4", "0:10.4 / 0:10.4",
    ]  # fmt: skip


def test_clock():
    assert [clock(t) for t in (0, 59.9, 65, 3600, 36061)] == [
        "0:00", "0:59", "1:05", "1:00:00", "10:01:01",
    ]  # fmt: skip


def test_preview_shows_the_bar_at_the_right_frames(tmp_path, preview):
    video = make_video(
        tmp_path / "v.mp4", 25, painter=lambda _: np.full((240, 320, 3), GREY, np.uint8)
    )
    path = preview(video, [Detection("jump", 1.0, 0.2, 0.6)])
    lit = [
        time_s for time_s, picture in timed_pictures(path) if like(picture[3:18], GREEN).sum() > 300
    ]
    assert lit == pytest.approx([k / 25 for k in range(5, 15)], abs=1e-5)
