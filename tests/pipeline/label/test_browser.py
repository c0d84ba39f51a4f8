"""`hrpro label` as a person uses it: real videos, a real browser, the keyboard."""

# ruff: noqa: RUF001 (the page uses proper dashes and multiplication signs)
from __future__ import annotations

import csv
import json
import re
import shutil
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import pytest
from browser import (
    SIZES,
    LabelPage,
    label_server,
    new_window,
    write_suggestions,
)
from videos import make_video, numbered

VIDEO = "train_outdoor_026"
CLASSES = ("HandShaking", "Pushing", "Kicking")
FRAME_S = 1 / 25
REACTION_S = 0.2


@pytest.fixture
def dataset(tmp_path, shared):
    """A dataset with one real video of half a minute."""
    folder = make_dataset(tmp_path / "own")
    shutil.copy(shared / "data" / "composed" / "videos" / f"{VIDEO}.mp4", folder / "videos")
    return folder


def make_dataset(folder: Path, classes=CLASSES) -> Path:
    (folder / "videos").mkdir(parents=True)
    (folder / "dataset.yaml").write_text(json.dumps({"classes": list(classes)}), encoding="utf-8")
    return folder


@pytest.fixture
def serve():
    """Start `hrpro label` on a dataset; the address of the page."""
    with ExitStack() as servers:
        yield lambda folder: servers.enter_context(label_server(folder))


@pytest.fixture
def open_page(serve, browser):
    """Open the page in a new window; afterwards, before the server stops, its console is clean."""
    opened: list[LabelPage] = []

    def open_it(url: str, video: str | None = VIDEO, window=None, **options) -> LabelPage:
        label = LabelPage(window or new_window(browser, **options), url, video)
        opened.append(label)
        return label

    yield open_it
    for label in opened:
        label.close()
    assert [problem for label in opened for problem in label.problems] == []


def points(folder: Path, video: str = VIDEO) -> list[tuple[str, float]]:
    """Class and time of the points that are on disk."""
    with (folder / "points.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["video_id"] == video]
    return [(row["class"], float(row["time"])) for row in rows]


def middle(frame: int, fps: float = 25) -> float:
    """Time in the middle of a frame, as the page gives it."""
    return pytest.approx((frame + 0.5) / fps, abs=6e-4)


def shown_frame(label: LabelPage) -> int:
    """The number that is painted in the picture on display, out of `videos.numbered`."""
    mean = label.page.evaluate(
        """() => {
            const canvas = document.createElement("canvas");
            [canvas.width, canvas.height] = [16, 12];
            const context = canvas.getContext("2d");
            context.drawImage(document.querySelector("#video"), 0, 0, 16, 12);
            const { data } = context.getImageData(4, 4, 8, 4);
            return data.filter((_, at) => at % 4 === 1).reduce((sum, each) => sum + each) / 32;
        }"""
    )
    return round((mean - 16) / 4)


def frame_reading(label: LabelPage) -> int:
    text = label.page.locator("[data-part=frame]").inner_text()
    return int(text.removeprefix("frame "))


# ------------------------------------------------------------------------------------- points


def test_points_by_key_while_paused_and_playing_survive_a_reload(dataset, serve, open_page):
    url = serve(dataset)
    label = open_page(url)
    label.wait_for_picture()
    label.page.locator("#selection", has_text="No points yet").wait_for()
    label.seek(3.0)
    label.press("1")
    label.wait_for_toast("point “HandShaking” at 3.02 s (Z: undo)")

    label.press(" ")
    label.wait_for(lambda: label.time > 4)
    before = label.time
    label.tap("2")
    after = label.time
    assert label.playing
    label.press(" ")
    label.wait_until_saved()

    (first, second) = points(dataset)
    assert first == ("HandShaking", middle(75))
    assert second[0] == "Pushing"
    assert before - REACTION_S - FRAME_S <= second[1] <= after - REACTION_S + FRAME_S
    marks = label.marks
    assert len(marks) == 2

    label.page.reload()
    label.wait_for(lambda: label.marks == marks, "the points")
    assert "1 video" not in label.toast
    assert len(points(dataset)) == 2


def test_the_reaction_time_is_a_setting_and_grows_with_the_speed(dataset, serve, open_page):
    url = serve(dataset)
    label = open_page(url)
    label.wait_for_picture()
    reaction = label.page.locator("[name=reaction]")
    reaction.fill("0.5")
    reaction.press("Enter")
    label.wait_for_toast("0.5 s before the key press")
    label.press("l", "l")
    label.wait_for(lambda: label.time > 4)
    before = label.time
    label.tap("3")
    after = label.time
    label.press("k")
    label.wait_to_be(label.page.locator("[data-part=speed]").inner_text, "2×")
    label.wait_until_saved()
    ((name, time_s),) = points(dataset)
    assert name == "Kicking"
    assert before - 1.0 - FRAME_S <= time_s <= after - 1.0 + FRAME_S
    assert "reaction_s: 0.5" in (dataset / "dataset.yaml").read_text(encoding="utf-8")


def test_drag_relabel_nudge_delete_undo_redo(dataset, serve, open_page):
    url = serve(dataset)
    label = open_page(url)
    label.wait_for_picture()
    label.seek(10.0)
    label.press("1")
    label.wait_until_saved()

    marker = label.page.locator("#timeline .item.point")
    lanes = label.page.locator(".lanes").bounding_box()
    box = marker.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    label.page.mouse.move(x, y)
    label.page.mouse.down()
    label.page.mouse.move(x + lanes["width"] / 4, y, steps=4)
    label.page.mouse.up()
    label.wait_for_toast("moved to")
    label.wait_until_saved()
    ((_, dragged),) = points(dataset)
    assert dragged == pytest.approx(10.02 + 27.24 / 4, abs=0.1)
    label.wait_to_be(lambda: label.time, pytest.approx(dragged, abs=1e-3))  # follows the hand

    label.press("2")  # paused, and the point is selected
    label.wait_for_toast("is now “Pushing”")
    label.press("]")
    label.wait_until_saved()
    assert points(dataset) == [("Pushing", pytest.approx(dragged + FRAME_S, abs=1e-3))]

    label.press("Delete")
    label.wait_until_saved()
    assert points(dataset) == []
    for undone in ("is back", "is at", "is “HandShaking”", "is at 10.02 s"):
        label.press("z")
        label.wait_for_toast(undone)
    assert points(dataset) == [("HandShaking", middle(250))]
    label.press("Shift+Z", "Control+y")
    label.wait_for_toast("is “Pushing”")
    assert points(dataset) == [("Pushing", pytest.approx(dragged))]
    label.wait_to_be(lambda: label.marks, [f"point Pushing at {dragged:.2f} s"])


def test_tab_walks_round_the_points_and_without_any_through_the_page(dataset, serve, open_page):
    url = serve(dataset)
    label = open_page(url)
    label.wait_for_picture()
    for seconds, key in ((5, "1"), (9, "2")):
        label.seek(seconds)
        label.press(key)
    label.seek(1)
    label.press("Tab", "Tab")
    label.wait_for_toast("point “Pushing” at 9.02 s")
    label.press("Shift+Tab")
    label.wait_for_toast("point “HandShaking” at 5.02 s")
    label.wait_for(lambda: label.time == middle(125))
    label.press("Tab", "Tab")
    label.wait_for_toast("point “HandShaking” at 5.02 s")
    on_body = "document.activeElement === document.body"
    label.wait_for(lambda: label.page.evaluate(on_body))
    label.press("Escape", "Escape")  # let go of the point; to the buttons
    label.press("Tab")
    label.wait_to_be(lambda: label.page.evaluate("document.activeElement.dataset.run"), "stepOn")
    label.press("Escape")
    label.wait_for(lambda: label.page.evaluate(on_body))
    label.press("z", "z")
    label.wait_for(lambda: label.marks == [])
    label.press("Tab")  # without points, it is the browser's
    label.wait_for(lambda: not label.page.evaluate(on_body), "the focus on a button")
    label.wait_until_saved()


def test_the_last_point_is_corrected_while_the_video_plays_on(dataset, serve, open_page):
    label = open_page(serve(dataset))
    label.wait_for_picture()
    label.press(" ")
    label.wait_for(lambda: label.time > 1)
    label.tap("1", ";", "3")
    label.wait_for_toast("“HandShaking” is now “Kicking”")
    assert label.playing
    label.tap("2")
    label.press("k")
    label.wait_until_saved()
    assert sorted(name for name, _ in points(dataset)) == ["Kicking", "Pushing"]


def test_far_places_are_a_key_away(dataset, serve, open_page):
    label = open_page(serve(dataset))
    label.wait_for_picture()
    label.press("End")
    label.wait_for(lambda: label.time == pytest.approx(27.22, abs=0.05))
    label.press("Control+ArrowLeft")
    label.wait_for(lambda: label.time == pytest.approx(17.22, abs=0.05))
    label.press("Control+Shift+ArrowLeft")
    label.wait_for(lambda: label.time < 0.05)
    label.press("Control+g")
    field = label.page.get_by_role("textbox", name="Go to")
    field.fill("0:12.5")
    field.press("Enter")
    label.wait_for(lambda: label.time == middle(312))
    label.press("Home", "1")
    label.wait_until_saved()
    assert points(dataset) == [("HandShaking", middle(0))]


def test_space_plays_even_where_a_video_of_the_list_has_the_focus(dataset, serve, open_page):
    make_video(dataset / "videos" / "other.mp4", 30, painter=numbered(160, 120))
    label = open_page(serve(dataset))
    label.wait_for_picture()
    label.page.locator(".video", has_text="other").focus()
    label.press(" ")
    label.wait_for(lambda: label.playing)
    assert label.page.locator("#title").inner_text() == VIDEO


def test_keys_after_a_click_mean_what_they_say(dataset, serve, open_page):
    url = serve(dataset)
    label = open_page(url)
    label.wait_for_picture()
    label.page.locator(".class", has_text="Kicking").click()
    label.press(" ")
    label.wait_for(lambda: label.playing)
    label.press("k")
    label.wait_until_saved()
    assert [name for name, _ in points(dataset)] == ["Kicking"]


# ------------------------------------------------------------------------------------- frames


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


# --------------------------------------------------------------------------------- detections

DETECTIONS = [
    ("HandShaking", 0.91, 1.2, 4.5),
    ("Pushing", 0.78, 7.0, 9.0),
    ("Kicking", 0.44, 11.0, 13.2),
    ("Pushing", 0.12, 20.0, 21.0),
]


def test_detections_are_accepted_rejected_and_corrected_by_key(dataset, serve, open_page):
    write_suggestions(dataset, {VIDEO: DETECTIONS})
    url = serve(dataset)
    label = open_page(url)
    label.wait_for_picture()
    label.press("n")
    label.wait_for_toast("“HandShaking” 1.20–4.50 s?")
    label.wait_for(lambda: label.playing)
    label.page.locator("[data-part=loop]").wait_for()
    label.press("Enter")
    label.wait_for_toast("accepted “HandShaking” at 1.20 s (Z: undo); 3 detections left")
    label.wait_for(lambda: 6 <= label.time <= 10, "the next detection")
    label.press("x")
    label.wait_for_toast("rejected “Pushing”")

    label.wait_for(lambda: label.playing and 10 <= label.time <= 13.3, "the third one")
    label.press("k")  # it begins a little later, and is a push
    label.wait_for(lambda: not label.playing)
    label.seek(11.5)
    label.press("i")
    label.wait_for_toast("“Kicking” is now 11.50–13.20 s")
    label.press("2")
    label.wait_for_toast("“Kicking” is now “Pushing”")
    label.press("Enter")
    label.wait_for_toast("1 detection left")
    label.press("x")
    label.wait_for_toast("that was the last one")
    label.press("m")
    label.wait_for_toast("video marked as done")
    label.wait_until_saved()
    assert not label.playing
    progress = label.page.locator("#progress-text").inner_text
    label.wait_to_be(progress, "1 of 1 videos done · 2 points")
    marks = [mark for mark in label.marks if "detection" in mark]
    assert sorted(mark.split()[0] for mark in marks) == [
        *("accepted", "accepted", "rejected", "rejected")
    ]
    assert points(dataset) == [
        ("HandShaking", pytest.approx((1.2 + 4.5) / 2)),
        ("Pushing", pytest.approx((11.5 + 13.2) / 2, abs=FRAME_S)),
    ]
    reviewed = json.loads((dataset / "label" / "reviewed.json").read_text(encoding="utf-8"))
    spans = {tuple(found["segment"]) for found in reviewed["results"][VIDEO]}
    assert len(spans) == 2


def test_a_class_key_in_the_loop_of_a_review_corrects_the_detection(dataset, serve, open_page):
    write_suggestions(dataset, {VIDEO: DETECTIONS})
    label = open_page(serve(dataset))
    label.wait_for_picture()
    label.press("n")
    label.wait_for(lambda: label.playing)
    label.press("3")
    label.wait_for_toast("“HandShaking” is now “Kicking”")
    label.wait_until_saved()
    assert points(dataset) == [("Kicking", pytest.approx((1.2 + 4.5) / 2))]


def test_marks_leave_scores_and_each_other_readable(dataset, serve, open_page):
    write_suggestions(dataset, {VIDEO: [("Pushing", 0.78, 7.0, 10.0), ("Kicking", 0.5, 2.0, 5.2)]})
    times = [15 + k / 10 for k in range(100)]
    rows = [f"{VIDEO},HandShaking,{time_s:.1f}\n" for time_s in times]
    (dataset / "points.csv").write_text("video_id,class,time\n" + "".join(rows))
    label = open_page(serve(dataset))
    label.wait_for_picture()
    label.press("n", "Enter", "k", "Escape")  # accepts the kick: a mark in its middle
    label.wait_until_saved()
    label.wait_to_be(label.page.locator("#timeline .item.point.crowded").count, 100)
    mark = label.page.locator("#timeline .item.point:not(.crowded)").bounding_box()
    accepted = label.page.locator("#timeline .item.band.accepted span")
    label.wait_to_be(accepted.inner_text, "0.50")
    score = accepted.bounding_box()
    assert score["x"] + score["width"] <= mark["x"], "the mark covers the score"
    label.wait_to_be(label.page.locator("#timeline .item.band.open span").inner_text, "0.78")


def test_detections_below_a_score_are_hidden_and_edges_can_be_dragged(dataset, serve, open_page):
    write_suggestions(dataset, {VIDEO: DETECTIONS})
    url = serve(dataset)
    label = open_page(url)
    label.wait_for_picture()
    bands = label.page.locator("#timeline .band")
    label.wait_to_be(bands.count, 4)
    label.page.locator("[name=limit]").fill("0.5")
    label.wait_to_be(bands.count, 2)
    label.page.locator("#selection", has_text="2 detections").wait_for()

    bands.nth(1).click()
    label.press("k")
    edge = label.page.locator(".band.selected .end_s").bounding_box()
    lanes = label.page.locator(".lanes").bounding_box()
    x, y = edge["x"] + edge["width"] / 2, edge["y"] + edge["height"] / 2
    label.page.mouse.move(x, y)
    label.page.mouse.down()
    label.page.mouse.move(x + lanes["width"] * 2 / 27.24, y, steps=3)
    label.page.mouse.up()
    label.wait_for_toast("accepted")
    label.wait_until_saved()
    ((name, time_s),) = points(dataset)
    assert name == "Pushing"
    assert time_s == pytest.approx((7.0 + 11.0) / 2, abs=0.1)


# ------------------------------------------------------------------------- tabs and the server


def test_two_tabs_stay_in_step_and_undo_only_their_own(dataset, browser, serve, open_page):
    url = serve(dataset)
    window = new_window(browser)
    one, two = open_page(url, window=window), open_page(url, window=window)
    for label in (one, two):
        label.wait_for_picture()
    one.seek(2)
    one.press("1")
    one.wait_until_saved()
    two.wait_for(lambda: len(two.marks) == 1, "the point of the other tab")
    two.seek(6)
    two.press("2", "z")
    two.wait_for_toast("undo: point “Pushing” at 6.02 s is gone")
    two.press("z")
    two.wait_for_toast("Nothing to undo")
    assert points(dataset) == [("HandShaking", middle(50))]

    one.page.bring_to_front()
    one.seek(1.0)
    one.press("Tab")
    one.wait_for_toast(re.compile("^point “HandShaking” at 2.02 s$"))
    one.requests_may_fail = True
    one.intercept("**/api/changes*", lambda route: route.abort())  # one does not hear of it
    one.page.locator("#banner", has_text="does not answer").wait_for()  # no poll is under way
    two.press("Shift+Tab", "Delete")
    two.wait_until_saved()
    one.press("]")
    one.wait_for_toast("not saved: this point is gone")
    one.wait_for(lambda: one.marks == [], "the truth")
    assert points(dataset) == []


def test_nothing_is_lost_while_the_server_is_away(dataset, serve, open_page):
    url = serve(dataset)
    label = open_page(url)
    label.wait_for_picture()
    label.seek(3)
    label.requests_may_fail = True
    label.page.context.set_offline(True)
    label.press("1", "ArrowRight", "2")
    banner = label.page.locator("#banner")
    banner.get_by_text("2 actions not saved yet").wait_for()
    label.wait_for(lambda: len(label.marks) == 2, "the points, which are there all the same")
    with label.page.expect_event("dialog") as asked:
        label.page.close(run_before_unload=True)
    assert asked.value.type == "beforeunload"
    asked.value.dismiss()

    label.page.context.set_offline(False)
    label.wait_until_saved()
    label.wait_for(banner.is_hidden)
    assert [name for name, _ in points(dataset)] == ["HandShaking", "Pushing"]


def test_an_answer_that_gets_lost_does_not_make_a_second_point(dataset, serve, open_page):
    url = serve(dataset)
    label = open_page(url)
    label.wait_for_picture()
    label.requests_may_fail = True
    lost: list[str] = []

    def lose(route):
        if lost:
            route.continue_()
            return
        lost.append(route.fetch().text())
        route.abort()

    label.intercept("**/actions", lose)
    label.seek(3)
    label.press("1")
    label.wait_for(lambda: bool(lost))
    label.wait_until_saved()
    label.press("Tab", "Shift+Tab")
    label.wait_for(lambda: len(label.marks) == 1)
    assert points(dataset) == [("HandShaking", middle(75))]


def test_an_undo_whose_answer_gets_lost_takes_back_one_point(dataset, serve, open_page):
    url = serve(dataset)
    label = open_page(url)
    label.wait_for_picture()
    for seconds in (3, 6):
        label.seek(seconds)
        label.press("1")
    label.wait_until_saved()
    label.requests_may_fail = True
    lost: list[str] = []

    def lose(route):
        if len(lost) == 2:
            route.continue_()
            return
        lost.append(route.fetch().text())
        route.abort()

    label.intercept("**/actions", lose)
    label.press("z")
    label.wait_for(lambda: len(lost) == 2)
    label.wait_until_saved()
    label.wait_for(lambda: len(label.marks) == 1)
    assert points(dataset) == [("HandShaking", middle(75))]


def test_an_open_tab_goes_on_after_the_server_was_stopped_and_started(
    dataset, serve, open_page, browser
):
    window = new_window(browser)
    with label_server(dataset) as url:
        label = open_page(url, window=window)
        label.wait_for_picture()
        label.seek(3)
        label.press("1")
        label.wait_until_saved()
        label.seek(6)
        label.requests_may_fail = True
    label.page.locator("#banner", has_text="this page goes on by itself").wait_for()
    label.press("2")
    assert serve(dataset) == url
    label.wait_for(label.page.locator("#banner").is_hidden)
    label.wait_until_saved()
    label.press("z", "z")
    label.wait_for(lambda: label.marks == [])
    label.wait_until_saved()
    assert points(dataset) == []


def test_unsent_actions_stay_with_their_dataset(dataset, tmp_path, browser, serve, open_page):
    window = new_window(browser)
    with label_server(dataset) as url:
        label = open_page(url, window=window)
        label.wait_for_picture()
        label.requests_may_fail = True
        label.intercept("**/actions", lambda route: route.abort())
        label.seek(3)
        label.press("1")
        label.page.locator("#banner", has_text="1 action not saved").wait_for()
    port = url.partition("127.0.0.1:")[2].partition("/")[0]
    other = shutil.copytree(dataset, tmp_path / "other")
    label.page.once("dialog", lambda dialog: dialog.accept())
    with label_server(other, "--port", port) as other_url:  # in the same tab
        label.page.goto(other_url)
        label.wait_for_video(VIDEO)
        label.wait_until_saved()
        assert label.marks == []
    label.page.unroute("**/actions")
    label.page.close()
    back = open_page(serve(dataset), window=window)  # in another tab
    back.wait_until_saved()
    back.wait_for(lambda: len(back.marks) == 1)
    assert points(dataset) == [("HandShaking", middle(75))]
    assert not (other / "points.csv").exists()


def test_unsent_actions_outlive_a_reload_of_the_page(dataset, serve, open_page):
    url = serve(dataset)
    label = open_page(url)
    label.wait_for_picture()
    label.requests_may_fail = True
    label.intercept("**/actions", lambda route: route.abort())
    label.seek(3)
    label.press("1")
    label.page.locator("#banner", has_text="1 action not saved").wait_for()
    label.page.unroute("**/actions")
    label.page.once("dialog", lambda dialog: dialog.accept())
    label.page.reload()
    label.wait_until_saved()
    label.wait_for(lambda: len(label.marks) == 1)
    assert points(dataset) == [("HandShaking", middle(75))]


def test_a_page_without_the_token_says_what_to_do(dataset, serve, open_page):
    url = serve(dataset)
    label = open_page(url)
    label.wait_for_picture()
    assert label.page.request.get(url.partition("?")[0]).status == 403
    label.requests_may_fail = True
    label.intercept("**/api/**", lambda route: route.fulfill(status=403, json={"error": "no"}))
    label.press("1")
    banner = label.page.locator("#banner", has_text="Open the address it printed in this tab")
    banner.wait_for()


# ---------------------------------------------------------------------------- the rest of it


def test_help_greets_the_first_visit_only_and_keeps_the_keys_to_itself(
    dataset, browser, serve, open_page
):
    url = serve(dataset)
    window = new_window(browser, first_visit=True)
    label = open_page(url, window=window)
    dialog = label.page.locator("#help")
    dialog.wait_for()
    label.wait_for_picture()
    label.press("1", "ArrowRight")
    dialog.get_by_text("HandShaking").wait_for()
    label.press("Enter")
    dialog.wait_for(state="hidden")
    label.press("?")
    dialog.wait_for()
    label.press("Escape")
    dialog.wait_for(state="hidden")
    label.page.reload()
    label.wait_for_picture()
    assert dialog.is_hidden()
    assert label.marks == []


HOSTILE = "<img src=x onerror=document.title='owned'>"


def test_hostile_names_stay_text(dataset, serve, open_page):
    name = '<b>a & "b"#?%20'
    (dataset / "videos" / f"{VIDEO}.mp4").rename(dataset / "videos" / f"{name}.mp4")
    settings = {"classes": [HOSTILE, "</script><script>owned()</script>"]}
    (dataset / "dataset.yaml").write_text(json.dumps(settings), encoding="utf-8")
    write_suggestions(dataset, {name: [(HOSTILE, 0.9, 2.0, 4.0)]})
    url = serve(dataset)
    label = open_page(url, name)
    label.wait_for_picture()
    label.press("1", "n")
    label.wait_for_toast(HOSTILE)
    label.press("k", "?")
    page = label.page
    assert page.locator("#title").inner_text() == name
    assert HOSTILE in page.locator(".key-tables").inner_text()
    assert page.locator(".class .name").all_inner_texts() == settings["classes"]
    assert page.locator("img, b, body script").count() == 0
    assert "owned" not in page.title()
    label.press("Escape")
    label.wait_until_saved()
    assert [label for label, _ in points(dataset, name)] == [HOSTILE]


def test_the_list_searches_filters_and_leads_from_video_to_video(tmp_path, serve, open_page):
    folder = make_dataset(tmp_path / "own")
    for name in ("cats/one", "cats/two", "dogs/one"):
        make_video(folder / "videos" / f"{name}.mp4", 30, painter=numbered(160, 120))
    (folder / "split_test.txt").write_text("cats/two\n", encoding="utf-8")
    (folder / "split_train.txt").write_text("cats/one\ndogs/one\n", encoding="utf-8")
    url = serve(folder)
    label = open_page(url, None)
    label.wait_for_picture()
    names = label.page.locator(".video .name").all_inner_texts
    label.wait_to_be(names, ["cats/one", "dogs/one", "cats/two"])
    label.page.locator(".video", has_text="two").locator(".test").wait_for()
    label.press("m", "PageDown")
    label.wait_for_video("dogs/one")
    label.press("PageDown")
    label.wait_for_video("cats/two")
    label.press("PageDown")
    label.wait_for_toast("This is the last video.")

    label.page.get_by_role("button", name=re.compile("^To do")).click()
    label.wait_to_be(names, ["dogs/one", "cats/two"])
    search = label.page.get_by_role("searchbox")
    search.fill("cat")
    label.wait_to_be(names, ["cats/two"])
    search.press("1")  # typing is not labelling
    search.fill("nothing")
    label.page.get_by_text("No video has this in its name.").wait_for()
    label.page.get_by_role("button", name=re.compile("^Done")).click()
    search.fill("")
    label.wait_to_be(names, ["cats/one"])
    assert label.marks == []


def test_a_class_can_be_added_on_the_page(tmp_path, serve, open_page):
    folder = make_dataset(tmp_path / "own", classes=())
    make_video(folder / "videos" / "one.mp4", 30, painter=numbered(160, 120))
    url = serve(folder)
    label = open_page(url, None)
    label.wait_for_picture()
    label.page.get_by_text("No classes yet").first.wait_for()
    name = label.page.get_by_role("textbox", name="New class")
    name.fill("high jump")
    name.press("Enter")
    label.wait_for_toast("class “high jump” added")
    label.press("1")
    label.wait_until_saved()
    label.requests_may_fail = True
    label.page.get_by_role("textbox", name="New class").fill("High Jump")
    label.page.get_by_role("button", name="Add").click()
    label.page.locator("#toast.error").wait_for()
    assert [name for name, _ in points(folder, "one")] == ["high jump"]
    assert "high jump" in (folder / "dataset.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("size", [(360, 640), *SIZES.values()], ids=str)
def test_everything_fits_and_works_by_touch(size, dataset, serve, open_page):
    write_suggestions(dataset, {VIDEO: DETECTIONS})
    url = serve(dataset)
    label = open_page(url, size=size, touch=True, color_scheme="dark")
    label.wait_for_picture()
    page = label.page
    label.wait_for(lambda: page.evaluate("document.documentElement.scrollWidth <= innerWidth"))
    page.locator(".class").first.tap()
    label.wait_for_toast("point “HandShaking”")
    page.get_by_role("button", name="Review", exact=True).tap()
    label.wait_for_toast("Enter: yes, X: no")
    page.get_by_role("button", name="Reject").tap()
    label.wait_for_toast("rejected")
    if page.locator("#videos-toggle").is_visible():
        page.locator("#videos-toggle").tap()
        page.locator(".video").first.tap()
        page.locator("#videos").wait_for(state="hidden")
    label.wait_until_saved()
    assert len(points(dataset)) == 1
