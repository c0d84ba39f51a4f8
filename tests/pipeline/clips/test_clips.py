"""Clips are the parts of the video that were asked for, to a picture, with their sound."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from videos import Painter, corners, make_video, number_of, numbered, with_timecode

from hrpro.extract.decode import FrameReader, probe
from hrpro.pipeline.clips import film
from hrpro.pipeline.clips.make import Clips
from hrpro.pipeline.clips.plan import ClipOptions
from hrpro.pipeline.clips.run import ClipOutputs, clips_of
from hrpro.pipeline.results.model import Detection, Results, VideoResult


def event(start_s: float, end_s: float, label: str = "jump") -> Detection:
    return Detection(label, 0.75, start_s, end_s)


def cut(out: Path, *videos: tuple[Path, list[Detection]], **options) -> Clips:
    results = Results(
        tuple(VideoResult(path.stem, str(path), events=events) for path, events in videos)
    )
    return clips_of(results, ClipOutputs(out), ClipOptions(**options))


def numbers_in(path: Path) -> list[int]:
    with FrameReader(path, fps=None, short_side=None, crop=None) as reader:
        return [number_of(picture) for picture in reader]


def sound_in(path: Path) -> tuple[np.ndarray, int]:
    """Samples and their rate, as players play them: from 0 on."""
    with av.open(str(path)) as file:
        stream = file.streams.audio[0]
        parts = [(frame.pts, frame.to_ndarray()[0]) for frame in file.decode(stream)]
        end = max(pts + len(part) for pts, part in parts)
        samples = np.zeros(end)
        for pts, part in parts:
            first = max(0, -pts)
            samples[pts + first : pts + len(part)] = part[first:]
        return samples, stream.rate


def beeps(times_s: np.ndarray) -> np.ndarray:
    """A tone of 40 ms at every half second."""
    return np.where(times_s % 0.5 < 0.04, np.sin(2 * np.pi * 1000 * times_s), 0.0)


def flashes(number: int) -> np.ndarray:
    """A white picture at every half second of 20 frames a second."""
    return np.full((48, 64, 3), 255 if number % 10 == 0 else 0, np.uint8)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", {}),
        ("a.mp4", {"b_frames": 2}),
        ("a.mkv", {"b_frames": 2, "audio_s": 6}),
        ("a.ts", {"b_frames": 2, "audio_s": 6}),
        ("a.avi", {"codec": "mpeg4", "b_frames": 2}),
        ("a.h264", {}),
        ("a.mp4", {"codec": "mpeg4", "audio_s": 2}),
        ("a.webm", {"codec": "libvpx-vp9"}),
    ],
)
def test_clips_have_the_pictures_of_the_event(tmp_path, name, options):
    video = make_video(tmp_path / name, 150, gop=30, **options)
    spans = [(0.4, 1.2), (5.2, 5.6), (1.0, 1.6)]  # with a jump, and one that overlaps
    made = cut(tmp_path / "out", (video, [event(*span) for span in spans]))
    assert not made.failed
    assert [clip.how for clip in made.clips] == ["encoded"] * 3
    for clip, (start_s, end_s) in zip(made.clips, sorted(spans), strict=True):
        first, last = (round(25 * (time_s - probe(video).start_s)) for time_s in (start_s, end_s))
        expected = [number % 56 for number in range(first, last)]
        assert numbers_in(clip.path) == expected
        info = probe(clip.path)
        assert info.start_s == pytest.approx(0, abs=1e-3)
        assert info.duration_s == pytest.approx(end_s - start_s, abs=1e-3)
        assert clip.duration_s == pytest.approx(end_s - start_s, abs=1e-6)
        assert info.has_audio == ("audio_s" in options)


@pytest.mark.parametrize("fps", [25, Fraction(30000, 1001), 10])
@pytest.mark.parametrize(("start_s", "end_s"), [(0.013, 0.98), (0.5, 0.51), (0.777, 1.3)])
def test_durations_are_exact_to_one_picture(tmp_path, fps, start_s, end_s):
    video = make_video(tmp_path / "a.mp4", 50, fps)
    (clip,) = cut(tmp_path / "out", (video, [event(start_s, end_s)])).clips
    assert abs(probe(clip.path).duration_s - (end_s - start_s)) <= float(1 / Fraction(fps)) + 1e-3
    assert abs(numbers_in(clip.path)[0] - start_s * fps) <= 0.51


def test_a_picture_that_stays_is_cut_where_the_event_begins(tmp_path):
    ticks = [0, 100, 2100, 2200]  # the second one stays for two seconds
    video = make_video(tmp_path / "a.mp4", 4, times=ticks, time_base=Fraction(1, 1000))
    (clip,) = cut(tmp_path / "out", (video, [event(1.0, 2.18)])).clips
    assert clip.duration_s == pytest.approx(1.2, abs=0.01)
    with av.open(str(clip.path)) as file:
        times_s = [float(frame.pts * frame.time_base) for frame in file.decode(video=0)]
    assert times_s == pytest.approx([0, 1.1], abs=0.01)


def test_a_picture_that_starts_late(tmp_path):
    video = make_video(tmp_path / "a.mkv", 50, times=list(range(25, 75)), audio_s=3)
    made = cut(tmp_path / "out", (video, [event(0.2, 1.4), event(2.0, 2.4)])).clips
    assert numbers_in(made[0].path) == list(range(10))  # nothing is shown before 1 s
    assert numbers_in(made[1].path) == list(range(25, 35))


@pytest.mark.parametrize("container", ["mp4", "mkv", "ts"])
def test_sound_is_in_step_with_the_picture(tmp_path, container):
    video = make_video(
        tmp_path / f"a.{container}", 160, 20, painter=flashes, gop=20, audio_s=8, voice=beeps
    )
    made = cut(tmp_path / "out", (video, [event(0.75, 2.25), event(6.25, 7.25)]))
    for clip in made.clips:
        samples, rate = sound_in(clip.path)
        loud = np.flatnonzero(np.abs(samples) > 0.3) / rate
        onsets_s = loud[np.r_[True, np.diff(loud) > 0.1]]
        with av.open(str(clip.path)) as file:
            flashes_s = [
                float(frame.pts * frame.time_base)
                for frame in file.decode(video=0)
                if frame.to_ndarray(format="gray").mean() > 128
            ]
        assert len(flashes_s) == round((clip.duration_s or 0) * 2)
        assert onsets_s == pytest.approx(flashes_s, abs=0.004)
        assert len(samples) / rate == pytest.approx(clip.duration_s, abs=0.05)


def test_a_rotated_and_an_anamorphic_video(tmp_path):
    turned = make_video(tmp_path / "a.mp4", 25, painter=corners(), rotation=90)
    wide = make_video(tmp_path / "b.mp4", 25, painter=corners(), pixel_aspect=Fraction(2))
    span = [event(0.2, 0.6)]
    made = cut(tmp_path / "out", (turned, span), (wide, span))
    sizes = [(info.width, info.height) for info in (probe(clip.path) for clip in made.clips)]
    assert sizes == [(48, 64), (128, 48)]
    with FrameReader(made.clips[0].path, short_side=None, crop=None) as reader:
        picture = next(reader)
    assert picture[8, 8].argmax() == 1  # green: top right came to the top left


def test_events_at_and_behind_the_end(tmp_path):
    video = make_video(tmp_path / "a.mp4", 50)
    made = cut(tmp_path / "out", (video, [event(1.6, 9), event(5, 6)]))
    assert numbers_in(made.clips[0].path) == list(range(40, 50))
    assert made.clips[0].note == "the video ends at 2.00 s, before 9.00 s"
    (failure,) = made.failed
    assert failure.path == "a: jump in a at 5.00 s"
    assert failure.reason == "the video ends at 2.00 s, before 6.00 s"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a_001_jump.mp4"]


def test_the_last_moment_is_the_last_picture(tmp_path):
    video = make_video(tmp_path / "a.mp4", 50)
    (clip,) = cut(tmp_path / "out", (video, [event(1.99, 2.0)])).clips
    assert numbers_in(clip.path) == [49]


def test_sound_that_ends_early_and_a_video_without(tmp_path):
    video = make_video(tmp_path / "a.mp4", 75, audio_s=1, voice=beeps)
    (clip,) = cut(tmp_path / "out", (video, [event(0.5, 2.5)])).clips
    samples, rate = sound_in(clip.path)
    assert len(samples) / rate == pytest.approx(2, abs=0.05)  # silence to the end
    assert np.abs(samples[round(0.6 * rate) :]).max() < 0.05


def test_the_file_tells_where_it_comes_from(tmp_path):
    plain = make_video(tmp_path / "plain.mp4", 50)
    video = with_timecode(plain, tmp_path / "a.mp4", "10:00:00:00")
    (clip,) = cut(tmp_path / "out", (video, [event(0.8, 1.2)])).clips
    with av.open(str(clip.path)) as file:
        assert file.metadata["title"] == "jump in a"
        comment = json.loads(file.metadata["comment"])
    if probe(video).timecode is not None:  # PyAV 17 writes none
        assert probe(clip.path).timecode == "10:00:00:20"
    (piece,) = comment["pieces"]
    assert (piece["video"], piece["start_s"], piece["end_s"]) == ("a", 0.8, 1.2)
    assert piece["events"] == [{"label": "jump", "score": 0.75, "start_s": 0.8, "end_s": 1.2}]


def test_a_second_run_keeps_what_is_the_same(tmp_path):
    video = make_video(tmp_path / "a.mp4", 50)
    first = cut(tmp_path / "out", (video, [event(0, 1), event(1, 2)]))
    second = cut(tmp_path / "out", (video, [event(0, 1), event(1.2, 2)]))
    assert [clip.how for clip in second.clips] == ["kept", "encoded"]
    assert second.line() == "2 clips: 1 encoded again, 1 there already"
    assert len(numbers_in(first.clips[1].path)) == 20
    again = cut(tmp_path / "out", (video, [event(0, 1), event(1.2, 2)]), overwrite=True)
    assert [clip.how for clip in again.clips] == ["encoded", "encoded"]
    make_video(video, 60)  # another video of this name
    other = cut(tmp_path / "out", (video, [event(0, 1), event(1.2, 2)]))
    assert [clip.how for clip in other.clips] == ["encoded", "encoded"]


def test_a_missing_and_a_broken_video_cost_their_own_clips(tmp_path):
    good = make_video(tmp_path / "good.mp4", 25)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0\0\0\x20ftypisom" + bytes(100))
    events = [event(0, 0.4)]
    made = cut(tmp_path / "out", (tmp_path / "gone.mp4", events), (broken, events), (good, events))
    assert [clip.path.name for clip in made.clips] == ["good_001_jump.mp4"]
    reasons = [failure.reason for failure in made.failed]
    assert reasons[0].endswith("gone.mp4: no such video; name the folder it is in with --videos")
    assert "broken.mp4: " in reasons[1]


def test_videos_are_found_in_another_folder(tmp_path):
    make_video(tmp_path / "moved" / "mon" / "a.mp4", 25)
    results = Results((VideoResult("mon/a", "/away/mon/a.mp4", events=(event(0, 0.4),)),))
    made = clips_of(results, ClipOutputs(tmp_path / "out"), videos=tmp_path / "moved")
    assert [clip.path.name for clip in made.clips] == ["mon_a_001_jump.mp4"]


def test_an_interrupted_run_leaves_only_complete_files(tmp_path, monkeypatch):
    video = make_video(tmp_path / "a.mp4", 75)
    whole, shown = film.Encoder.write, []

    def write(self, picture, start_s, end_s):
        shown.append(start_s)
        if len(shown) > 40:
            raise KeyboardInterrupt
        whole(self, picture, start_s, end_s)

    monkeypatch.setattr(film.Encoder, "write", write)
    with pytest.raises(KeyboardInterrupt):
        cut(tmp_path / "out", (video, [event(0, 1), event(1, 2), event(1.2, 2.5)]))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a_001_jump.mp4"]
    assert numbers_in(tmp_path / "out" / "a_001_jump.mp4") == list(range(25))


def test_a_video_is_read_once_for_all_its_events(tmp_path, monkeypatch):
    """Many events, several at a time, and no jump in a broadcast: nothing is decoded twice."""
    video = make_video(tmp_path / "a.ts", 100)
    decoded = []
    from hrpro.pipeline.clips import reading

    class Counting(reading.Decoding):
        def __next__(self):
            timed = super().__next__()
            decoded.append(timed)
            return timed

    monkeypatch.setattr(reading, "Decoding", Counting)
    events = [event(0.1 * k, 0.1 * k + 0.5) for k in range(30)]
    made = cut(tmp_path / "out", (video, events))
    assert len(made.clips) == 30
    assert len(decoded) <= 100


# ----------------------------------------------------------------------------------- copies


@pytest.mark.parametrize(
    ("name", "b_frames"), [("a.mp4", 0), ("a.mp4", 2), ("a.mkv", 0), ("a.mkv", 2)]
)
def test_a_copy_begins_at_the_key_frame(tmp_path, name, b_frames):
    video = make_video(tmp_path / name, 150, gop=12, b_frames=b_frames, audio_s=6)
    made = cut(tmp_path / "out", (video, [event(0.6, 1.2), event(4.4, 5.0)]), copy=True)
    assert [clip.how for clip in made.clips] == ["copied", "copied"]
    for clip, first, last in zip(made.clips, (12, 108), (29, 124), strict=True):
        numbers = numbers_in(clip.path)
        assert numbers[0] == first % 56
        assert last % 56 <= numbers[-1] <= (last + 2 * b_frames) % 56  # what others are made from
        info = probe(clip.path)
        assert info.start_s == pytest.approx(0, abs=1e-3)
        assert info.has_audio
        assert len(numbers) == pytest.approx(25 * info.duration_s, abs=0.1)


def test_a_copy_keeps_the_rotation_and_the_sound_in_step(tmp_path):
    video = make_video(
        tmp_path / "a.mp4", 100, 20, painter=flashes, gop=10, rotation=90, audio_s=5, voice=beeps
    )
    (clip,) = cut(tmp_path / "out", (video, [event(1.5, 2.9)]), copy=True).clips
    assert clip.how == "copied"
    assert probe(clip.path).rotation == 90
    samples, rate = sound_in(clip.path)
    loud = np.flatnonzero(np.abs(samples) > 0.3) / rate
    onsets_s = loud[np.r_[True, np.diff(loud) > 0.1]]
    assert onsets_s == pytest.approx([0, 0.5, 1.0], abs=0.004)


@pytest.mark.parametrize(
    ("name", "options", "why"),
    [
        ("a.mp4", {"gop": 100}, "the key frame lies 1.00 s before it (--tolerance)"),
        ("a.avi", {"codec": "mpeg4"}, "the format avi is not copied from"),
        ("a.mkv", {"codec": "ffv1", "gop": 5}, "video in ffv1 is not copied into MP4"),
    ],
)
def test_what_cannot_be_copied_is_encoded_and_says_why(tmp_path, name, options, why):
    video = make_video(tmp_path / name, 75, **options)
    (clip,) = cut(tmp_path / "out", (video, [event(1, 1.4)]), copy=True).clips
    assert (clip.how, clip.note) == ("encoded", why)
    assert clip.line().endswith(f"(0.40 s, encoded again: {why})")
    assert numbers_in(clip.path) == list(range(25, 35))


# ------------------------------------------------------------------------------------ reels


def shades(grey: int, width: int = 64, height: int = 48) -> Painter:
    return lambda number: np.full((height, width, 3), grey, np.uint8)


def test_a_reel_goes_on_from_video_to_video(tmp_path):
    first = make_video(tmp_path / "a.mp4", 50, audio_s=2, voice=beeps)
    second = make_video(tmp_path / "b.mp4", 50, painter=numbered(96, 96))  # larger, no sound
    made = cut(
        tmp_path / "out",
        (first, [event(0, 0.4), event(0.2, 0.8), event(1.6, 2)]),
        (second, [event(1, 1.2), event(0.4, 0.6, "run")]),
        reel="class",
    )
    assert [clip.path.name for clip in made.clips] == ["jump.mp4", "run.mp4"]
    jump = made.clips[0]
    with FrameReader(jump.path, fps=None, short_side=None, crop=None) as reader:
        pictures = list(reader)
    assert {picture.shape for picture in pictures} == {(48, 64, 3)}
    numbers = [number_of(picture[:, 16:48]) for picture in pictures]
    assert numbers == [*range(20), *range(40, 50), *range(25, 30)]
    assert pictures[-1][:, :4].mean() < 2  # black beside the square picture
    assert jump.video_ids == ("a", "b")
    assert jump.duration_s == pytest.approx(1.4)
    samples, rate = sound_in(jump.path)
    assert len(samples) / rate == pytest.approx(1.4, abs=0.05)
