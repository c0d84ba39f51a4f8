"""A dataset of a real video, its label page, and windows on that."""

from __future__ import annotations

import shutil
from contextlib import ExitStack

import pytest
from browser import LabelPage, label_server, new_window
from labelled_page import VIDEO, make_dataset


@pytest.fixture
def dataset(tmp_path, shared):
    """A dataset with one real video of half a minute."""
    folder = make_dataset(tmp_path / "own")
    shutil.copy(shared / "data" / "composed" / "videos" / f"{VIDEO}.mp4", folder / "videos")
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
