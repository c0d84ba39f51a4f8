"""Report pages: what is in them, that nothing in them can run, and how they behave in a browser."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from browser import SIZES, new_window
from click.testing import CliRunner
from videos import make_video

from hrpro.annotations import Action, VideoAnnotation, write_ground_truth
from hrpro.cli import main
from hrpro.errors import UsageError
from hrpro.pipeline.evaluate import Truth
from hrpro.pipeline.report.content import MOST_DETECTIONS, run_content
from hrpro.pipeline.report.write import report
from hrpro.pipeline.results.events import EventOptions
from hrpro.pipeline.results.model import Curves, Detection, Results, VideoResult, write_results_json

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


def some_results(folder: Path) -> Results:
    """Two videos, one of which is there; the second has curves and a hostile label."""
    jump, fall = Detection("jump", 0.9, 0.2, 0.8), Detection("fall", 0.4, 1.0, 1.5)
    again = Detection("jump", 0.2, 0.3, 0.9)
    curves = Curves(0.32, 0.64, {"jump": [0.1, 0.9, 0.2], HOSTILE: [0.3, 0.2, 0.8]})
    video = make_video(folder / "videos" / "a b#1.mp4", 50)
    return Results(
        (
            VideoResult("a b#1", str(video), 2.0, 25.0, (jump, fall, again)),
            VideoResult(
                "gone", "/no/where.mp4", 3.0, 25.0, (Detection(HOSTILE, 0.7, 0, 1),), curves
            ),
        ),
        {"name": "hrpro", "folder": "runs/x"},
    )


def some_truth(folder: Path) -> Path:
    path = folder / "gt.json"
    videos = [
        VideoAnnotation("a b#1", "test", 2.0, 25.0, (Action("jump", 0.2, 0.8),)),
        VideoAnnotation("gone", "test", 3.0, 25.0, (Action("fall", 1.0, 2.0),)),
    ]
    write_ground_truth(path, videos)
    return path


def data_of(page: Path) -> dict:
    return json.loads(re.search(r'id="data">(.*?)</script>', page.read_text("utf-8"), re.S)[1])


@pytest.fixture
def written(tmp_path) -> Path:
    """A result file; its report and ground truth go beside it."""
    path = tmp_path / "result.json"
    write_results_json(some_results(tmp_path), path)
    return path


def test_page_holds_the_run(written, tmp_path):
    page = tmp_path / "pages" / "report.html"
    (tmp_path / "pages").mkdir()
    assert report([written], page, ground_truth=some_truth(tmp_path), embed_bytes=0) == [page]
    data = data_of(page)
    assert data["classes"] == ["fall", "jump", HOSTILE]
    first, second = data["videos"]
    assert first["detections"][0] == [1, 0.9, 0.2, 0.8]
    assert first["truth"] == [[1, 0.2, 0.8]]
    assert (page.parent / unquote(first["link"])).is_file()
    assert "link" not in second and "embedded" not in second
    assert second["curves"]["classes"] == {"1": [0.1, 0.9, 0.2], "2": [0.3, 0.2, 0.8]}
    assert data["evaluation"]["map"] == [0.5] * 7  # jump found, fall not
    assert (first["quality"], second["quality"]) == (1.0, 0.0)
    assert data["threshold"] == 0.7  # two actions, so the two best detections


def test_events_and_accuracy_in_plain_words(written, tmp_path):
    page = tmp_path / "report.html"
    asked = EventOptions(threshold=("0.3",))
    report([written], page, ground_truth=some_truth(tmp_path), events=asked)
    data = data_of(page)
    assert data["has_events"]
    assert [len(video["events"]) for video in data["videos"]] == [2, 1]
    assert len(data["videos"][0]["detections"]) == 3
    words = data["evaluation"]["words"]
    assert words["headline"] == "found 1 of 2 actions, 2 false alarms"
    assert ["jump", 1, 1, 0, "starts on time, ends on time"] in words["classes"]
    assert words["advice"][0] == "mark more of what is found least: fall (0 of 1)"
    assert sum(data["evaluation"]["mistakes"]["counts"].values()) == 3  # the events
    report([written], page, events=EventOptions())
    assert not data_of(page)["has_events"]


def test_nothing_from_the_data_becomes_markup(written, tmp_path):
    page = tmp_path / "report.html"
    report([written], page)
    text = page.read_text("utf-8")
    assert "alert(1)</script>" not in text
    assert text.count("<script") == 3  # data, one video, the program
    assert "script-src 'sha256-" in text
    assert not re.search(r"https?://(?!www\.w3\.org/)", text)  # the name of SVG is no request


def test_small_videos_go_into_the_page_and_the_budget_holds(tmp_path):
    results = some_results(tmp_path)
    size = Path(results.videos[0].path).stat().st_size
    whole = run_content("x", results, tmp_path / "r.html", embed_bytes=size)
    assert list(whole.media) == ["media-0"]
    assert "link" not in whole.data["videos"][0]
    assert not run_content("x", results, tmp_path / "r.html", embed_bytes=size - 1).media


def test_videos_are_found_in_a_folder_that_was_named(tmp_path):
    make_video(tmp_path / "elsewhere" / "where.mp4", 5)
    content = run_content(
        "x", some_results(tmp_path), tmp_path / "r.html", None, tmp_path / "elsewhere", 0
    )
    assert content.data["videos"][1]["link"] == "elsewhere/where.mp4"


def test_hundreds_of_detections_are_cut_and_it_says_so(tmp_path):
    many = [Detection("a", score / 1000, 0, 1) for score in range(1000)]
    content = run_content("x", Results((VideoResult("v", detections=many),)), tmp_path / "r.html")
    (video,) = content.data["videos"]
    assert len(video["detections"]) == MOST_DETECTIONS
    assert video["detections"][0][1] == 0.999
    assert video["left_out"] == 1000 - MOST_DETECTIONS


def test_empty_results_and_foreign_ground_truth(tmp_path):
    content = run_content("x", Results(), tmp_path / "r.html")
    assert content.data["videos"] == []
    other = Truth({"other": VideoAnnotation("other", actions=(Action("jump", 0, 1),))})
    content = run_content("x", some_results(tmp_path), tmp_path / "r.html", other)
    assert content.data["evaluation"] is None


def test_several_runs_get_an_index(written, tmp_path):
    second = tmp_path / "other.json"
    write_results_json(some_results(tmp_path), second)
    index, *pages = report(
        [written, second], tmp_path / "all.html", ground_truth=some_truth(tmp_path)
    )
    assert [page.name for page in pages] == ["all.result.html", "all.other.html"]
    runs = data_of(index)["runs"]
    assert [run["page"] for run in runs] == ["all.result.html", "all.other.html"]
    assert runs[0]["num_detections"] == 4
    assert runs[0]["evaluation"]["map"] == [0.5] * 7


def test_wrong_options(written, tmp_path):
    with pytest.raises(UsageError, match=r"ends in \.html"):
        report([written], tmp_path / "report.pdf")
    with pytest.raises(UsageError, match="give one"):
        report([written], tmp_path / "r.html", dataset="x", ground_truth=tmp_path / "gt.json")
    with pytest.raises(UsageError, match="given twice"):
        report([written, written], tmp_path / "r.html")


def test_command(written, tmp_path):
    page = tmp_path / "r.html"
    done = CliRunner().invoke(main, ["report", str(written), "-o", str(page)])
    assert done.exit_code == 0
    assert f"wrote {page}" in done.stderr
    done = CliRunner().invoke(main, ["report", str(tmp_path / "no.json"), "-o", str(page)])
    assert done.exit_code == 2
    assert "no.json" in done.stderr


def test_detect_writes_a_report_with_curves(rgb_weights, tmp_path):
    video = make_video(tmp_path / "a.mp4", 60)
    page, result = tmp_path / "r.html", tmp_path / "r.json"
    options = ["--streams", "rgb", "--short-side", "64", "--crop", "64", "--min-score", "0"]
    arguments = ["detect", video, "--report", page, "-o", result, *options]
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.stderr
    (shown,) = data_of(page)["videos"]
    labels = {str(label) for label, *_ in shown["detections"]}
    assert set(shown["curves"]["classes"]) == labels
    value = json.loads(result.read_text())
    assert "curves" in value
    threshold = value["model"]["event_rules"]["threshold"]
    assert len(shown["events"]) == len(value["events"]["a"])
    assert all(event["score"] >= threshold for event in value["events"]["a"])


# --- in a browser ---------------------------------------------------------------------------


@pytest.fixture
def opened(browser, written, tmp_path):
    """The page of a run, its video inside, in a window; fails on any error it reports."""
    page = tmp_path / "report.html"
    report([written], page, ground_truth=some_truth(tmp_path))
    window = new_window(browser)
    tab = window.new_page()
    problems: list[str] = []
    tab.on("console", lambda said: said.type == "error" and problems.append(said.text))
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.on("dialog", lambda dialog: problems.append(dialog.message))
    tab.goto(page.as_uri())
    tab.locator(".timeline").wait_for()
    yield tab
    assert problems == []
    window.close()


def show_everything(tab) -> None:
    tab.locator("input[type=range]").evaluate(
        "slider => { slider.value = 0; slider.dispatchEvent(new Event('input')); }"
    )


def open_video(tab, name: str) -> None:
    tab.locator(".video-row", has_text=name).click()
    tab.locator("section.video h2", has_text=name).wait_for()


def test_worst_video_comes_first_and_hostile_labels_stay_text(opened):
    names = opened.locator(".video-name").all_inner_texts()
    assert names == ["gone", "a b#1"]
    assert opened.locator(".note").is_visible()  # its file is not there
    assert opened.locator(".chip", has_text=HOSTILE).count() == 1
    assert opened.locator("main img").count() == 0
    assert opened.locator(".curve").count() == 1  # fall is shown too, but has no curve


def test_a_click_on_a_detection_or_the_timeline_seeks(opened):
    open_video(opened, "a b#1")
    where = "document.querySelector('video').currentTime"
    opened.wait_for_function("document.querySelector('video').readyState >= 2")
    opened.evaluate("document.querySelector('video').playbackRate = 1 / 16")  # the test is slow
    opened.locator("button.detection").first.click()
    playing = "!document.querySelector('video').paused"
    opened.wait_for_function(playing)
    assert 0.2 <= opened.evaluate(where) < 1.5
    opened.keyboard.press(" ")
    assert not opened.evaluate(playing)
    track = opened.locator(".timeline-row:not(.axis) .track").first
    box = track.bounding_box()
    track.click(position={"x": box["width"] * 0.75, "y": 3})
    assert opened.evaluate(where) == pytest.approx(1.5, abs=0.02)
    playhead = opened.locator(".playhead").first
    assert float(playhead.evaluate("p => parseFloat(p.style.left)")) == pytest.approx(75, abs=1)
    opened.locator(".viewer .found tbody tr").first.click()
    opened.wait_for_function(playing)
    assert 0.2 <= opened.evaluate(where) < 1.5


def test_keys_of_the_player(opened):
    open_video(opened, "a b#1")
    show_everything(opened)
    opened.wait_for_function("document.querySelector('video').readyState >= 2")
    where = "document.querySelector('video').currentTime"
    for key, time_s in (("ArrowRight", 1.0), ("Shift+ArrowLeft", 0.0)):
        opened.keyboard.press(key)
        assert opened.evaluate(where) == pytest.approx(time_s, abs=0.01)
    opened.evaluate("document.querySelector('video').playbackRate = 0")  # the test is slow
    for key, time_s in (("j", 0.2), ("j", 0.3), ("j", 1.0)):
        opened.keyboard.press(key)
        assert opened.evaluate(where) == pytest.approx(time_s, abs=0.01)
        assert not opened.evaluate("document.querySelector('video').paused")
    opened.evaluate("document.querySelector('video').currentTime = 1.4")
    opened.keyboard.press("k")
    assert opened.evaluate(where) == pytest.approx(0.3, abs=0.01)


def test_events_are_shown_first_and_all_detections_on_request(browser, written, tmp_path):
    page = tmp_path / "report.html"
    report([written], page, ground_truth=some_truth(tmp_path), events=EventOptions(events=True))
    window = new_window(browser)
    tab = window.new_page()
    tab.goto(page.as_uri())
    open_video(tab, "a b#1")
    assert tab.locator(".headline").inner_text().startswith("found 1 of 2 actions")
    assert tab.locator("[role=status]").inner_text() == "2 of 2 events"
    assert tab.locator(".strip .found-here").count() == 3
    tab.locator(".kind", has_text="all detections").click()
    show_everything(tab)
    assert tab.locator("[role=status]").inner_text() == "3 of 3 detections"
    assert tab.locator(".strip .found-here").count() == 4
    tab.locator(".kind", has_text="events").click()
    assert tab.locator("[role=status]").inner_text() == "2 of 2 events"
    window.close()


def test_a_video_without_events_says_where_the_rest_is(browser, written, tmp_path):
    page = tmp_path / "report.html"
    report([written], page, events=EventOptions(threshold=("5",)))
    window = new_window(browser)
    tab = window.new_page()
    tab.goto(page.as_uri())
    assert tab.get_by_text("No events; “all detections” shows what scores lower.").count()
    assert tab.locator("input[type=range]").is_disabled()
    tab.locator(".kind", has_text="all detections").click()
    assert tab.locator("input[type=range]").is_enabled()
    assert tab.locator(".timeline .row-label").count()
    window.close()


def test_strips_follow_the_filters(opened):
    def found() -> int:
        return opened.locator(".strip .found-here").count()

    assert found() == 2
    show_everything(opened)
    assert found() == 4
    opened.locator(".chip", has_text="jump").click()
    assert found() == 2
    assert opened.locator(".strip .true").count() == 1


def test_everything_is_saved_as_one_csv_in_order_of_time(opened, tmp_path):
    show_everything(opened)
    with opened.expect_download() as download:
        opened.get_by_role("button", name="All videos as CSV").click()
    download.value.save_as(tmp_path / "all.csv")
    with (tmp_path / "all.csv").open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    assert [(row[0], float(row[2])) for row in rows] == [
        ("a b#1", 0.2), ("a b#1", 0.3), ("a b#1", 1.0), ("gone", 0.0),
    ]  # fmt: skip


def test_paper_has_every_video_with_its_picture(opened):
    opened.emulate_media(media="print")
    opened.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    names = opened.locator(".printed h2").all_inner_texts()
    assert [name.rpartition(" ")[0] for name in names] == ["a b#1", "gone"]
    picture = opened.locator(".printed img")
    assert picture.count() == 1  # the file of the other one is not there
    opened.wait_for_function("document.querySelector('.printed img').naturalHeight === 180")
    assert opened.locator(".printed .timeline").count() == 2
    assert opened.locator(".viewer").is_hidden()
    opened.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert opened.locator(".printed h2").count() == 0


def test_slider_and_classes_filter_live(opened):
    open_video(opened, "a b#1")

    def shown() -> list[str]:
        return opened.locator(".found tbody tr td:nth-child(3)").all_inner_texts()

    assert shown() == ["jump"]
    show_everything(opened)
    assert shown() == ["jump", "jump", "fall"]
    assert opened.locator("button.detection").count() == 3
    opened.locator(".chip", has_text="jump").click()
    assert shown() == ["fall"]
    opened.locator(".sort[data-key=score]").click()
    opened.locator(".chip", has_text="jump").click()
    assert shown() == ["jump", "fall", "jump"]  # by score


def test_table_is_saved_as_csv(opened, tmp_path):
    open_video(opened, "a b#1")
    with opened.expect_download() as download:
        opened.locator(".video .download").click()
    download.value.save_as(tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["video", "label", "start", "end", "score"],
        ["a b#1", "jump", "0.2", "0.8", "0.9"],
    ]


@pytest.mark.parametrize("size", SIZES)
def test_nothing_is_wider_than_the_window(browser, written, tmp_path, size):
    page = tmp_path / "report.html"
    report([written], page, ground_truth=some_truth(tmp_path))
    window = new_window(browser, size=SIZES[size], color_scheme="dark")
    tab = window.new_page()
    tab.goto(page.as_uri())
    tab.locator(".timeline").wait_for()
    assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    window.close()
