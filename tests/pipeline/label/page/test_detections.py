"""Detections are reviewed by key."""

# ruff: noqa: RUF001 (the page uses proper dashes and multiplication signs)
from __future__ import annotations

import json

import pytest
from browser import write_suggestions
from labelled_page import DETECTIONS, FRAME_S, VIDEO, points


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
