"""Several tabs, and a server that is away for a while."""

from __future__ import annotations

import re
import shutil

from browser import LabelPage, label_server, new_window
from labelled_page import VIDEO, middle, points


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


def lose_answers(label: LabelPage, count: int) -> list[str]:
    """Let the server act on the next actions, but not the page know; the answers, as they come."""
    lost: list[str] = []

    def lose(route):
        if len(lost) == count:
            route.continue_()
            return
        lost.append(route.fetch().text())
        route.abort()

    label.intercept("**/actions", lose)
    return lost


def test_an_answer_that_gets_lost_does_not_make_a_second_point(dataset, serve, open_page):
    url = serve(dataset)
    label = open_page(url)
    label.wait_for_picture()
    label.requests_may_fail = True
    lost = lose_answers(label, 1)
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
    lost = lose_answers(label, 2)
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
