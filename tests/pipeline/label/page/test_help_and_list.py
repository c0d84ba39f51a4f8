"""Help, hostile names, the list of videos, classes, and small screens."""

from __future__ import annotations

import json
import re

import pytest
from browser import SIZES, new_window, write_suggestions
from labelled_page import DETECTIONS, VIDEO, make_dataset, points
from videos import make_video, numbered


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
