"""Points by keyboard and mouse, as a person sets them on real video."""

# ruff: noqa: RUF001 (the page uses proper dashes and multiplication signs)
from __future__ import annotations

import pytest
from labelled_page import FRAME_S, REACTION_S, VIDEO, middle, points
from videos import make_video, numbered


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
