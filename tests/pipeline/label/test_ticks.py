"""Ticking which actions a video shows: what it means, labels.csv, and the page."""

from __future__ import annotations

import json
from contextlib import ExitStack

import pytest
from browser import LabelPage, label_server, new_window
from hypothesis import given, settings
from hypothesis import strategies as st
from labeller import Labeller
from videos import make_video

from hrpro.localize.data.video_labels import read_video_labels
from hrpro.pipeline.label.actions import ConflictError


@pytest.fixture
def labeller(tmp_path):
    return Labeller(tmp_path)


def tick(labeller, label, shown=True, **options):
    return labeller.act(type="tick", label=label, shown=shown, **options)


def listed(folder):
    return [(row.video_id, row.label) for row in read_video_labels(folder / "labels.csv")]


def test_ticks_are_lines_of_the_file(labeller, tmp_path):
    tick(labeller, "run")
    tick(labeller, "jump")
    tick(labeller, "jump", video="w")
    assert listed(tmp_path) == [("v", "jump"), ("v", "run"), ("w", "jump")]
    tick(labeller, "run", shown=False)
    assert listed(tmp_path) == [("v", "jump"), ("w", "jump")]
    assert labeller.rows() == []  # they are no points


def test_a_video_without_a_tick_is_listed_as_background(labeller, tmp_path):
    labeller.act(type="listed")
    assert listed(tmp_path) == [("v", "")]
    assert labeller.store.labels.video("v").done
    tick(labeller, "run")
    assert listed(tmp_path) == [("v", "run")]
    tick(labeller, "run", shown=False)
    assert listed(tmp_path) == [("v", "")]


def test_the_first_tick_comes_on_top_of_the_points(labeller, tmp_path):
    """A point says, too, that its action is shown."""
    labeller.add(label="jump")
    assert not (tmp_path / "labels.csv").exists()
    tick(labeller, "run")
    assert listed(tmp_path) == [("v", "jump"), ("v", "run")]
    labeller.add(2.0, label="throw")  # what is listed is what somebody has listed
    assert listed(tmp_path) == [("v", "jump"), ("v", "run")]


def test_undo_takes_a_list_back_as_a_whole(labeller, tmp_path):
    labeller.add(label="jump")
    labeller.act(type="listed")
    assert listed(tmp_path) == [("v", "jump")]
    labeller.act(type="undo")
    video = labeller.store.labels.video("v")
    assert (video.shown, video.done) == (None, False)
    assert listed(tmp_path) == []
    labeller.act(type="redo")
    assert (video.shown, video.done) == ({"jump"}, True)


def test_what_changes_nothing_leaves_nothing_to_undo(labeller):
    tick(labeller, "run")
    number = labeller.store.labels.number
    tick(labeller, "run")
    assert labeller.store.labels.number == number


def test_what_a_person_writes_into_the_file_counts(labeller, tmp_path):
    tick(labeller, "run")
    (tmp_path / "labels.csv").write_text("class;video_id;seen by\njump;v;me\n;w;\n")
    assert labeller.store.take_over_edits() == {"v", "w"}
    assert labeller.store.labels.video("v").shown == {"jump"}
    assert labeller.store.labels.video("w").shown == frozenset()
    tick(labeller, "run", video="w")
    assert listed(tmp_path) == [("v", "jump"), ("w", "run")]
    (copy,) = (tmp_path / "label/imported").glob("labels-*.csv")
    assert "seen by" in copy.read_text()
    (tmp_path / "labels.csv").write_text("video,label\nv,run\n")
    with pytest.raises(ConflictError, match="no column video_id, class"):
        labeller.store.take_over_edits()


def test_labels_that_are_there_already_are_taken_up(tmp_path):
    (tmp_path / "labels.csv").write_text("video_id,class\nv,run\nw,\n")
    labeller = Labeller(tmp_path)
    assert labeller.store.labels.video("v").shown == {"run"}
    assert labeller.store.labels.video("w").shown == frozenset()
    assert listed(tmp_path) == [("v", "run"), ("w", "")]


def test_a_file_that_is_gone_or_late_is_written_again(labeller, tmp_path):
    tick(labeller, "run")
    before = (tmp_path / "labels.csv").read_text()
    tick(labeller, "jump")
    after = (tmp_path / "labels.csv").read_text()
    (tmp_path / "labels.csv").unlink()
    labeller = labeller.again()
    assert (tmp_path / "labels.csv").read_text() == after
    (tmp_path / "labels.csv").write_text(before)  # killed between the journal and the file
    labeller.again(was_killed=True)
    assert (tmp_path / "labels.csv").read_text() == after


steps = st.lists(
    st.one_of(
        st.tuples(st.just("tick"), st.sampled_from("ab"), st.booleans()),
        st.tuples(st.sampled_from(["listed", "undo", "redo", "point", "again"])),
    ),
    max_size=12,
)


@settings(max_examples=25)
@given(steps)
def test_the_file_always_says_what_is_listed(tmp_path_factory, steps):
    folder = tmp_path_factory.mktemp("data")
    labeller = Labeller(folder)
    for number, (kind, *rest) in enumerate(steps):
        if kind == "tick":
            tick(labeller, rest[0], rest[1])
        elif kind == "point":
            labeller.add(float(number))
        elif kind == "again":
            labeller = labeller.again()
        else:
            labeller.act(type=kind)
        shown = labeller.store.labels.video("v").shown
        expected = [] if shown is None else [("v", label) for label in sorted(shown) or [""]]
        assert (listed(folder) if (folder / "labels.csv").exists() else []) == expected
    labeller.store.close()


# The page

CLASSES = ("run", "jump", "throw")


@pytest.fixture
def page(browser, tmp_path):
    """The page of three short videos; afterwards its console is clean."""
    folder = tmp_path / "own"
    (folder / "videos").mkdir(parents=True)
    (folder / "dataset.yaml").write_text(json.dumps({"classes": list(CLASSES)}))
    for name in "abc":
        make_video(folder / "videos" / f"{name}.mp4", frames=20)
    with ExitStack() as stack:
        url = stack.enter_context(label_server(folder))
        label = LabelPage(new_window(browser), url)
        label.folder = folder
        label.wait_for_picture()
        yield label
        label.close()
    assert label.problems == []


def boxes(label) -> dict[str, bool]:
    found = label.page.locator("#ticks [role=checkbox]")
    return dict(
        found.evaluate_all(
            "nodes => nodes.map((node) => "
            "[node.querySelector('.name').textContent, node.ariaChecked === 'true'])"
        )
    )


def on_disk(label, rows):
    path = label.folder / "labels.csv"
    label.wait_for(lambda: path.exists() and listed(label.folder) == rows, f"{rows} in labels.csv")


def test_a_folder_of_names_without_a_mouse(page):
    assert not page.page.locator("#ticks").is_visible()
    page.press("Shift+Enter")
    page.wait_to_be(lambda: boxes(page), {"run": False, "jump": False, "throw": False})
    page.press("1", "3", "2", "2")
    page.wait_to_be(lambda: boxes(page), {"run": True, "jump": False, "throw": True})
    page.press("Enter")
    page.wait_for_video("b")
    on_disk(page, [("a", "run"), ("a", "throw")])
    page.press("Enter")  # none of them
    page.wait_for_video("c")
    page.press("2", "z", "Enter")
    on_disk(page, [("a", "run"), ("a", "throw"), ("b", ""), ("c", "")])
    page.wait_for(lambda: "3 of 3 videos done" in page.page.locator(".work").inner_text())
    assert not (page.folder / "points.csv").read_text().splitlines()[1:]


def test_points_are_ticked_and_other_keys_keep_their_meaning(page):
    page.press("2", "Shift+Enter")
    page.wait_to_be(lambda: boxes(page), {"run": False, "jump": True, "throw": False})
    page.press("Space")
    page.wait_for(lambda: page.playing or page.time > 0.2, "the video to play")
    page.page.locator("#ticks").get_by_role("checkbox", name="throw").click()
    page.press("Enter")  # the click did not leave the focus on the box
    page.wait_for_video("b")
    on_disk(page, [("a", "jump"), ("a", "throw")])
    page.page.reload()  # the page remembers how it was used
    page.page.locator("#ticks").wait_for()
    page.page.get_by_role("button", name="Done, next video").click()
    page.wait_for_video("c")
    on_disk(page, [("a", "jump"), ("a", "throw"), ("b", "")])
    page.press("Escape")
    page.page.locator("#ticks").wait_for(state="hidden")
    page.wait_for_picture()
    page.press("1")
    page.wait_for(lambda: "run" in (page.folder / "points.csv").read_text(), "a point")
