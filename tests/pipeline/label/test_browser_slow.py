"""The label page while answers come late, or in another order than they were asked for."""

from __future__ import annotations

import csv
import json
import shutil
import urllib.request
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

import pytest


class HeldBack:
    """Answers that the server has given and the page does not have yet."""

    def __init__(self, label, pattern):
        self._label, self._pattern = label, pattern
        self._answers = []
        self._holds = True

    def hold(self, route):
        """Let the server answer, but not the page know."""
        answer = route.fetch()
        if self._holds:
            self._answers.append((route, answer))
        else:
            route.fulfill(response=answer)

    def wait_for(self, number):
        """Wait until so many answers are held back."""
        self._label.wait_to_be(lambda: len(self._answers), number)

    def let_go(self):
        """Let the first one through, and wait until the page has heard of it."""
        route, answer = self._answers.pop(0)
        with self._label.page.expect_response(self._pattern):
            route.fulfill(response=answer)
        give_time(self._label)

    def stop(self):
        """Let all through from now on."""
        self._holds = False
        while self._answers:
            self.let_go()


@contextmanager
def holding_back(label, pattern):
    """Hold back all answers to the requests of a page that match a pattern."""
    held = HeldBack(label, pattern)
    label.intercept(pattern, held.hold)
    yield held
    held.stop()


def give_time(label):
    """Let the page do what an answer that has come leads to."""
    label.page.evaluate("new Promise((done) => setTimeout(done, 20))")


def post(label, path, body):
    """What another tab does."""
    page = urlsplit(label.page.url)
    headers = {"X-Hrpro-Token": parse_qs(page.query)["token"][0]}
    address = f"{page.scheme}://{page.netloc}{path}"
    request = urllib.request.Request(address, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200


def add_elsewhere(label, time_s, video="clip"):
    """A point by another tab."""
    action = {"type": "add", "label": "run", "time_s": time_s}
    post(label, f"/api/videos/{video}/actions", {"client": "other", "action": action})


def points(folder):
    with (folder / "points.csv").open(encoding="utf-8", newline="") as file:
        return [(row["video_id"], row["class"], float(row["time"])) for row in csv.DictReader(file)]


def class_names(label):
    return label.page.locator(".class .name").all_inner_texts()


def test_a_late_state_does_not_take_back_a_class_that_was_added_since(dataset, open_page):
    label = open_page(dataset)
    with holding_back(label, "**/api/state") as held:
        add_elsewhere(label, 2.0)
        held.wait_for(1)  # the state without the class
        name = label.page.get_by_role("textbox", name="New class")
        name.fill("swim")
        name.press("Enter")
        label.wait_to_be(lambda: class_names(label), ["jump", "run", "throw", "swim"])
        held.let_go()
        assert class_names(label) == ["jump", "run", "throw", "swim"]
    label.press("4")
    label.wait_until_saved()
    assert points(dataset)[0] == ("clip", "swim", 0.02)


def test_what_another_tab_does_between_two_answers_is_not_missed(dataset, open_page):
    label = open_page(dataset)
    done = []

    def meanwhile(route):
        if not done:
            add_elsewhere(label, 2.0)
            done.append(True)
        route.continue_()

    label.intercept("**/api/state", meanwhile)
    post(label, "/api/classes", {"name": "swim"})
    label.wait_to_be(lambda: label.marks, ["point run at 2.00 s"])


def test_a_late_answer_neither_doubles_points_nor_hides_those_of_others(dataset, open_page):
    label = open_page(dataset)
    with holding_back(label, "**/actions") as held:
        label.press("1")
        held.wait_for(1)  # it is done, and the page does not know
        with label.page.expect_response("**/api/videos/clip?*"):
            add_elsewhere(label, 2.0)
        give_time(label)
        assert label.marks == ["point jump at 0.02 s"]
    label.wait_to_be(lambda: sorted(label.marks), ["point jump at 0.02 s", "point run at 2.00 s"])


def test_what_has_no_name_yet_can_be_dragged(dataset, open_page):
    label = open_page(dataset)
    label.seek(3.0)
    with holding_back(label, "**/actions") as held:
        label.press("1")
        held.wait_for(1)
        box = label.page.locator("#timeline .point").bounding_box()
        second = label.page.locator(".lanes").bounding_box()["width"] / 12
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        label.page.mouse.move(x, y)
        label.page.mouse.down()
        label.page.mouse.move(x + second, y, steps=2)
        held.let_go()
        label.page.mouse.move(x + 2 * second, y, steps=2)
        assert label.marks == [f"point jump at {label.time:.2f} s"], "it follows the hand"
        label.page.mouse.up()
    label.wait_until_saved()
    assert points(dataset) == [("clip", "jump", pytest.approx(5.02, abs=0.1))]


def test_keys_are_for_the_video_that_was_chosen(dataset, open_page):
    for name in ("d", "e"):
        shutil.copy(dataset / "videos" / "clip.mp4", dataset / "videos" / f"{name}.mp4")
    label = open_page(dataset)
    with holding_back(label, "**/api/videos/e?*") as held:
        label.press("PageDown", "PageDown")
        held.wait_for(1)
        label.press("1")
        label.wait_for_toast("“e” is being opened: press that again.")
    label.wait_for_video("e")
    label.wait_for_picture()
    label.press("1")
    label.wait_until_saved()
    assert [video for video, *_ in points(dataset)] == ["e"]


def test_what_is_being_typed_outlives_late_answers(dataset, open_page):
    label = open_page(dataset)
    page = label.page
    with holding_back(label, "**/api/classes") as held:
        name = page.get_by_role("textbox", name="New class")
        name.fill("swim")
        name.press("Enter")
        name.type("fl")
        held.wait_for(1)
        held.let_go()
        name.type("y")
        assert name.input_value() == "fly"
    with holding_back(label, "**/api/classes/edits") as held:
        page.get_by_role("button", name="Edit", exact=True).click()
        page.get_by_label("Name of jump").fill("leap")
        page.get_by_label("Name of jump").press("Enter")
        description = page.get_by_label("Description of jump")
        description.type("over")
        held.wait_for(1)
        held.let_go()
        description = page.get_by_label("Description of leap")
        assert description.input_value() == "over"
        page.keyboard.type(" it")  # into what has the focus
        page.keyboard.press("Tab")
        held.wait_for(1)
    label.wait_to_be(description.input_value, "over it")
    page.get_by_role("button", name="Move throw up").press("Enter")
    label.wait_to_be(lambda: class_names(label), ["leap", "throw", "run", "swim"])
    focused = "document.activeElement.getAttribute('aria-label')"
    label.wait_to_be(lambda: page.evaluate(focused), "Move throw up")
    assert '"over it"' in (dataset / "dataset.yaml").read_text(encoding="utf-8")


def test_late_news_does_not_wipe_what_was_said_since(dataset, open_page):
    label = open_page(dataset)
    label.press("1")
    label.wait_until_saved()
    with holding_back(label, "**/actions") as held:
        label.press("z")
        held.wait_for(1)
        label.press("2")
        label.wait_for_toast("point “run” at 0.02 s")
        held.let_go()
        assert label.toast == "point “run” at 0.02 s (Z: undo)"
    label.wait_until_saved()
    assert [name for _, name, _ in points(dataset)] == ["run"]
