"""Start and end marks and subjects on the label page, in a real browser."""

# ruff: noqa: RUF001 (the page uses proper dashes)
from __future__ import annotations

import csv
import json
import re

import pytest
from browser import SIZES, LabelPage, label_server, new_window
from videos import make_video

FPS = 25
REACTION_S = 0.2
CLASSES = ["jump", "run", "throw"]


def marks(folder):
    """Class, start and end of what is in annotations.json."""
    content = json.loads((folder / "annotations.json").read_text(encoding="utf-8"))
    entries = content["database"].get("clip", {}).get("annotations", [])
    return [(each["label"], *each["segment"]) for each in entries]


def rows(folder):
    with (folder / "points.csv").open(encoding="utf-8", newline="") as file:
        return [list(row.values())[1:] for row in csv.DictReader(file)]


def test_a_key_that_is_held_marks_start_and_end(dataset, open_page):
    label = open_page(dataset)
    label.press(" ")
    label.wait_for(lambda: label.time > 1)
    label.tap("2")  # is a point
    before = label.time
    label.page.keyboard.down("1")
    begin = label.time
    label.wait_for(lambda: label.time > begin + 1.5)
    label.page.locator("#timeline .interval.growing").wait_for()
    label.page.keyboard.down("3")  # a second one may overlap
    label.wait_for(lambda: label.time > begin + 2.2)
    end = label.time
    label.page.keyboard.up("1")
    after = label.time
    label.wait_for_toast(re.compile("^“jump” .*–"))
    assert label.playing
    label.wait_for(lambda: label.time > begin + 3)
    label.page.keyboard.up("3")
    label.press("k")
    label.wait_until_saved()
    (jump, throw) = marks(dataset)
    assert jump[0] == "jump"
    assert before - 1 / FPS <= jump[1] + REACTION_S <= begin + 1 / FPS
    assert end - 1 / FPS <= jump[2] + REACTION_S <= after + 1 / FPS
    assert throw[0] == "throw" and throw[1] < jump[2] < throw[2]
    assert sorted(row[0] for row in rows(dataset)) == ["jump", "run", "throw"]
    label.press("z", "z")
    label.wait_for_toast("is gone")
    label.wait_until_saved()
    assert marks(dataset) == []
    assert [row[0] for row in rows(dataset)] == ["run"]


def test_frames_are_stepped_through_while_the_key_is_down(dataset, open_page):
    label = open_page(dataset)
    label.seek(2.0)
    label.page.keyboard.down("1")
    for _ in range(10):
        label.press("ArrowRight")
    label.page.keyboard.up("1")
    label.wait_until_saved()
    assert marks(dataset) == [("jump", pytest.approx(2.02), pytest.approx(2.42))]


def test_i_and_o_mark_and_correct_edges_and_keys_move_them(dataset, open_page):
    label = open_page(dataset)
    label.press("o")
    label.wait_for_toast("Press I where it starts")
    label.seek(2.0)
    label.press("i")
    label.wait_for_toast("starts at 2.02 s: O ends it as “jump”")
    label.press("Escape")
    label.wait_for_toast("never mind")
    label.press("i", "Shift+ArrowRight", "Shift+ArrowRight")
    label.press("2")  # as that class
    label.wait_for_toast("“run” 2.02–4.02 s")
    label.press("3")  # paused and selected
    label.wait_for_toast("“run” is now “throw”")
    label.wait_until_saved()
    assert marks(dataset) == [("throw", pytest.approx(2.02), pytest.approx(4.02))]
    assert rows(dataset) == [["throw", "3.02"]]

    label.press("]")  # the nearer edge, a frame on
    label.wait_for_toast("2.02–4.06 s")
    label.press("Shift+ArrowLeft", "i")
    label.wait_for_toast("3.06–4.06 s")
    label.press("[")
    label.wait_for_toast("3.02–4.06 s")

    edge = label.page.locator("#timeline .interval.selected .end_s").bounding_box()
    lanes = label.page.locator(".lanes").bounding_box()
    x, y = edge["x"] + edge["width"] / 2, edge["y"] + edge["height"] / 2
    label.page.mouse.move(x, y)
    label.page.mouse.down()
    label.page.mouse.move(x + lanes["width"] * 3 / 12, y, steps=4)
    label.page.mouse.up()
    label.wait_for_toast("“throw” is now 3.02–7")
    label.wait_until_saved()
    ((_, start_s, end_s),) = marks(dataset)
    assert start_s == pytest.approx(3.02, abs=1e-3) and end_s == pytest.approx(7.06, abs=0.15)

    label.press("Escape", "Tab")
    label.wait_for_toast("interval “throw” 3.02–")
    label.press("Delete")
    label.wait_until_saved()
    assert marks(dataset) == [] and rows(dataset) == []
    label.press("z")
    label.wait_for_toast("is back")
    label.page.reload()
    label.wait_for(lambda: len(label.marks) == 2, "the interval and its point")


def test_a_whole_interval_is_moved_and_keeps_its_length(dataset, open_page):
    label = open_page(dataset)
    label.seek(2.0)
    label.press("i", "Shift+ArrowRight", "Shift+ArrowRight", "o")
    label.wait_for_toast("“jump” 2.02–4.02 s")

    def drag(seconds):
        """Drag the interval beside its point by so many seconds."""
        box = label.page.locator("#timeline .item.interval").bounding_box()
        second = label.page.locator(".lanes").bounding_box()["width"] / 12
        x, y = box["x"] + box["width"] / 4, box["y"] + box["height"] / 2
        label.page.mouse.move(x, y)
        label.page.mouse.down()
        label.page.mouse.move(x + seconds * second, y, steps=4)
        label.page.mouse.up()

    def lies(start_s):
        """The interval begins there and is as long as it was, and its point is in its middle."""
        label.wait_until_saved()
        assert marks(dataset) == [("jump", pytest.approx(start_s), pytest.approx(start_s + 2))]
        assert rows(dataset) == [["jump", f"{start_s + 1:g}"]]

    label.press("}")
    label.wait_for_toast("“jump” is now 2.06–4.06 s")
    label.press("{", "{")
    label.wait_for_toast("“jump” is now 1.98–3.98 s")
    lies(1.98)
    drag(3)
    label.wait_for_toast(re.compile("“jump” is now (4.9|5.0)"))
    label.wait_until_saved()
    ((_, start_s, _),) = marks(dataset)
    assert start_s == pytest.approx(4.98, abs=0.1)
    lies(start_s)
    label.wait_to_be(lambda: label.time, pytest.approx(start_s))  # the picture follows the hand
    drag(20)
    label.wait_for_toast("“jump” is now 9.98–11.98 s")  # the middle of the last frame
    lies(9.98)
    drag(-20)
    label.wait_for_toast("“jump” is now 0.02–2.02 s")
    lies(0.02)
    label.press("{")
    label.wait_for_toast("It cannot be moved any farther.")
    label.press("z")
    label.wait_for_toast("undo: interval “jump” has its old times")
    lies(9.98)


def test_a_finger_moves_an_interval(dataset, open_page):
    label = open_page(dataset, size=SIZES["phone"], touch=True)
    label.press("i", *["Shift+ArrowRight"] * 6, "o")
    label.wait_until_saved()
    interval = label.page.locator("#timeline .item.interval")
    interval.scroll_into_view_if_needed()
    box = interval.bounding_box()
    second = label.page.locator(".lanes").bounding_box()["width"] / 12
    x, y = box["x"] + 0.7 * box["width"], box["y"] + box["height"] / 2
    fingers = label.page.context.new_cdp_session(label.page)

    def touch(kind, *points):
        where = [{"x": x, "y": y} for x, y in points]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": where})

    touch("touchStart", (x, y))
    for step in (0.25, 0.5, 0.75, 1):
        touch("touchMove", (x + 4 * step * second, y + 10 * step))
    touch("touchEnd")
    label.wait_for_toast("“jump” is now")
    label.wait_until_saved()
    ((_, start_s, end_s),) = marks(dataset)
    assert start_s == pytest.approx(4.02, abs=0.2)
    assert end_s - start_s == pytest.approx(6)


def test_one_more_key_says_who(dataset, open_page):
    settings = {"classes": CLASSES, "subjects": ["Ann", "Ben"]}
    (dataset / "dataset.yaml").write_text(json.dumps(settings), encoding="utf-8")
    label = open_page(dataset)
    label.seek(1.0)
    label.press("1")
    label.page.locator("#selection", has_text="Who did it?").wait_for()
    label.press("2")
    label.wait_for_toast("“jump” at 1.02 s: Ben")
    label.seek(3.0)
    label.press("2", "Escape")
    label.seek(5.0)
    label.press("i", "Shift+ArrowRight", "o", "1")
    label.wait_for_toast("Ann")
    label.press("Escape", "Tab", "Tab", "#")
    label.page.locator("#selection .subject", has_text="Ben").click()
    label.wait_for_toast("“run” at 3.02 s: Ben")
    label.wait_until_saved()
    assert rows(dataset) == [
        ["jump", "1.02", "Ben", ""], ["run", "3.02", "Ben", ""], ["run", "5.52", "Ann", ""],
    ]  # fmt: skip
    content = json.loads((dataset / "annotations.json").read_text(encoding="utf-8"))
    (annotation,) = content["database"]["clip"]["annotations"]
    assert (annotation["label"], annotation["subject"]) == ("run", "Ann")
    label.wait_for(lambda: "point jump at 1.02 s (Ben)" in label.marks)


def test_an_open_tab_goes_on_with_intervals_after_the_server_was_stopped(dataset, browser):
    window = new_window(browser)
    with label_server(dataset) as url:
        label = LabelPage(window, url, "clip")
        label.wait_for_picture()
        label.press("i", "Shift+ArrowRight", "o")
        label.wait_until_saved()
    label.page.locator("#banner", has_text="this page goes on by itself").wait_for()
    label.press("Escape", "Shift+ArrowRight", "i", "Shift+ArrowRight", "2")
    with label_server(dataset) as again:
        assert again == url
        label.wait_for(label.page.locator("#banner").is_hidden)
        label.wait_until_saved()
        assert [each[0] for each in marks(dataset)] == ["jump", "run"]
        label.press("Escape", "z", "z")
        label.wait_for(lambda: label.marks == [])
        label.wait_until_saved()
        assert marks(dataset) == [] and rows(dataset) == []
        window.close()


def test_from_end_to_start_of_two_hours_in_three_keys(tmp_path, open_page):
    folder = tmp_path / "long"
    (folder / "videos").mkdir(parents=True)
    (folder / "dataset.yaml").write_text(json.dumps({"classes": CLASSES}), encoding="utf-8")
    make_video(folder / "videos" / "clip.mp4", 7200, 1, gop=60)
    label = open_page(folder)
    label.press("End")
    label.wait_for(lambda: label.time == pytest.approx(7199.5, abs=1))
    label.press("1", "Home")
    label.wait_for(lambda: label.time < 1)
    label.press("i", "End", "o")
    label.wait_until_saved()
    assert marks(folder) == [("jump", pytest.approx(0.5), pytest.approx(7199.5, abs=1))]
    ticks = label.page.locator(".ticks span").count
    label.wait_for(lambda: 2 <= ticks() <= 30, "the ruler")


def test_published_ground_truth_is_left_alone(dataset, open_page):
    truth = {"database": {"clip": {"annotations": [{"label": "jump", "segment": [1, 2]}]}}}
    (dataset / "gt_full.json").write_text(json.dumps(truth), encoding="utf-8")
    label = open_page(dataset)
    label.press("i")
    label.wait_for_toast("gt_full.json is the ground truth as it was published")
    label.press("1")
    label.wait_until_saved()
    assert json.loads((dataset / "gt_full.json").read_text(encoding="utf-8")) == truth
    assert not (dataset / "annotations.json").exists()


def test_classes_are_edited_on_the_page_and_labels_follow(dataset, open_page):
    label = open_page(dataset)
    label.seek(1.0)
    label.press("1")
    label.seek(3.0)
    label.press("2")
    label.wait_until_saved()
    page = label.page
    page.get_by_role("button", name="Edit", exact=True).click()
    name = page.get_by_label("Name of jump")
    name.fill("high jump")
    name.press("Enter")
    page.get_by_label("Colour of high jump").wait_for()
    page.get_by_label("Colour of high jump").fill("#123456")
    page.get_by_label("Description of high jump").fill("over the bar")
    page.get_by_label("Description of high jump").press("Tab")
    page.get_by_label("Key of throw").select_option("w")
    page.get_by_role("button", name="Move throw up").click()
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_label("Merge of run").select_option("high jump")
    label.wait_for(lambda: page.locator("#class-editor li").count() == 2, "the merge")
    label.requests_may_fail = True
    page.get_by_label("Name of throw").fill("High Jump")
    page.get_by_label("Name of throw").press("Enter")
    page.get_by_text("there is a class 'high jump' already").wait_for()
    page.get_by_role("button", name="Done", exact=True).last.click()
    label.wait_for(lambda: sum("high jump" in mark for mark in label.marks) == 2)
    label.wait_to_be(page.locator(".class .name").all_inner_texts, ["high jump", "throw"])
    label.wait_to_be(lambda: page.locator(".class").first.get_attribute("title"), "over the bar")
    label.seek(5.0)
    label.press("w")
    label.wait_until_saved()
    assert [row[0] for row in rows(dataset)] == ["high jump", "high jump", "throw"]
    text = (dataset / "dataset.yaml").read_text(encoding="utf-8")
    assert "#123456" in text and "over the bar" in text


def test_verified_events_are_downloaded(dataset, open_page):
    label = open_page(dataset)
    label.press("1")
    label.seek(2.0)
    label.press("i", "Shift+ArrowRight", "o")
    label.wait_until_saved()
    for suffix in ("csv", "eaf"):
        with label.page.expect_download() as download:
            label.page.locator(f"[data-download={suffix}]").click()
        assert download.value.suggested_filename == f"own.{suffix}"
        text = download.value.path().read_text(encoding="utf-8")
        assert "jump" in text
    label.wait_for_toast("saved own.eaf")
