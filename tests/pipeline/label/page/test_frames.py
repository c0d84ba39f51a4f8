"""The frames on display are those that are counted, however the video is played."""

# ruff: noqa: RUF001 (the page uses proper dashes and multiplication signs)
from __future__ import annotations

import shutil
from fractions import Fraction

import pytest
from browser import new_window
from labelled_page import VIDEO, frame_reading, make_dataset, middle, points, shown_frame
from videos import make_video, numbered


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("h264.mp4", {"b_frames": 2}),
        ("old.avi", {"codec": "mpeg4"}),
        ("film.mkv", {"codec": "mpeg2video"}),
    ],
)
def test_frames_on_display_are_those_that_are_counted(name, options, tmp_path, serve, open_page):
    """Also of the copies that are made of what browsers cannot play."""
    fps = Fraction(30000, 1001)
    folder = make_dataset(tmp_path / "own")
    path = folder / "videos" / name
    make_video(path, 50, fps, painter=numbered(160, 120), pix_fmt="yuv420p", gop=20, **options)
    url = serve(folder)
    label = open_page(url, None)
    label.wait_for_picture()
    label.wait_for(lambda: shown_frame(label) == 0, "the first frame")
    for number in range(1, 8):
        label.press("ArrowRight")
        label.wait_for(lambda number=number: shown_frame(label) == number, f"frame {number}")
        label.wait_to_be(lambda: frame_reading(label), number)
    label.press("1")
    label.press("Shift+ArrowRight")
    label.wait_for(lambda: shown_frame(label) in (36, 37), "a second later")
    label.press("ArrowLeft", "ArrowLeft", "ArrowLeft")
    label.wait_for(lambda: shown_frame(label) in (33, 34), "three frames back")
    label.wait_for(lambda: frame_reading(label) == shown_frame(label), "the reading")
    label.wait_until_saved()
    assert points(folder, path.stem) == [("HandShaking", middle(7, float(fps)))]


def test_a_video_that_is_being_copied_says_so_and_the_others_can_be_labelled(
    dataset, shared, browser, serve, open_page
):
    clip = shared / "data" / "clips" / "ucf101" / "SoccerJuggling" / "v_SoccerJuggling_g23_c01.avi"
    shutil.copy(clip, dataset / "videos" / "clip.avi")
    (dataset / "videos" / "damaged.avi").write_bytes(b"RIFF, but nothing more")
    url = serve(dataset)
    window = new_window(browser)
    progress = {"playback": "pending", "progress": 0.43}  # hold the copy back to have a look

    def hold_back(route):
        state = route.fetch().json()
        for video in state["videos"]:
            video.update(progress if video["id"] == "clip" else {})
        route.fulfill(json=state)

    def report(route):
        changes = route.fetch().json()
        route.fulfill(json={**changes, "playback": {"clip": progress}})

    window.route("**/api/state", hold_back)
    window.route("**/api/changes*", report)
    label = open_page(url, "clip", window=window)
    notice = label.page.locator("[data-part=notice]")
    notice.get_by_text("Preparing a playable copy… 43 %").wait_for()
    label.press("1")
    label.wait_for_toast("Wait until the video can be played.")
    label.page.locator(".video", has_text=VIDEO).click()
    label.wait_for_video(VIDEO)
    label.wait_for_picture()
    label.wait_for(notice.is_hidden)
    label.press("1")
    label.page.locator(".video", has_text="damaged").click()
    label.wait_for_video("damaged")
    notice.get_by_text("cannot be played").wait_for()
    label.page.locator(".video", has_text="clip").click()
    label.wait_for_video("clip")
    notice.get_by_text("Preparing").wait_for()

    label.wait_for(lambda: any((dataset / "label" / "proxies").glob("[!.]*.mp4")), "the copy")
    progress.update(playback="proxy", progress=1.0)
    label.wait_for_picture()
    label.press("2")
    label.wait_until_saved()
    label.wait_for(notice.is_hidden)
    assert [name for name, _ in points(dataset)] == ["HandShaking"]
    assert [name for name, _ in points(dataset, "clip")] == ["Pushing"]


def test_steps_and_points_follow_a_variable_rate(tmp_path, serve, open_page):
    folder = make_dataset(tmp_path / "own")
    times = [0, 40, 80, 480, 520, 560, 700, 1500, 1540, 1900]
    make_video(
        folder / "videos" / "vfr.mp4", len(times), painter=numbered(160, 120),
        times=times, time_base=Fraction(1, 1000), b_frames=2,
    )  # fmt: skip
    label = open_page(serve(folder), "vfr")
    label.wait_for_picture()
    label.seek(1.0)  # the times of the frames come after the picture
    label.wait_to_be(lambda: frame_reading(label), 6)
    label.seek(0.0)
    for frame in range(len(times) - 1):  # MP4 has no length for the last one, so it is not shown
        label.wait_for(lambda frame=frame: shown_frame(label) == frame, f"picture {frame}")
        label.wait_to_be(lambda: frame_reading(label), frame)
        label.press("ArrowRight")
    label.press("ArrowLeft")
    label.wait_for(lambda: shown_frame(label) == 7, "picture 7")
    label.press("1", "ArrowLeft", "Tab", "[")
    label.wait_for(lambda: shown_frame(label) == 6, "picture 6")
    label.wait_until_saved()
    assert points(folder, "vfr") == [("HandShaking", pytest.approx((0.7 + 1.5) / 2, abs=1e-3))]


def test_shuttle_speed_and_backwards(dataset, serve, open_page):
    url = serve(dataset)
    label = open_page(url)
    label.wait_for_picture()
    speed = label.page.locator("[data-part=speed]")
    label.seek(10.0)
    label.press("j", "j")
    label.wait_to_be(speed.inner_text, "−2×")
    label.wait_for(lambda: label.time < 9)
    label.press("l")
    label.wait_to_be(speed.inner_text, "1×")
    label.wait_for(lambda: label.playing)
    label.press("k", ".", ".")
    label.wait_to_be(speed.inner_text, "1.5×")
    label.press(",", "/")
    label.wait_to_be(speed.inner_text, "1×")
    assert not label.playing
