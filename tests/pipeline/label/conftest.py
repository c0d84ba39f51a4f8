"""A dataset of one clip, and its label page in a browser."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from videos import make_video, numbered

if TYPE_CHECKING:
    from browser import LabelPage

FPS = 25
CLASSES = ["jump", "run", "throw"]


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """Twelve seconds of numbered pictures."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return make_video(path, 12 * FPS, FPS, painter=numbered(160, 120), pix_fmt="yuv420p")


@pytest.fixture
def dataset(tmp_path, clip):
    folder = tmp_path / "own"
    (folder / "videos").mkdir(parents=True)
    (folder / "videos" / "clip.mp4").write_bytes(clip.read_bytes())
    (folder / "dataset.yaml").write_text(json.dumps({"classes": CLASSES}), encoding="utf-8")
    return folder


@pytest.fixture
def open_page(browser):
    """Serve a dataset and open its page in a new window; afterwards its console is clean."""
    from browser import LabelPage, label_server, new_window  # not there for core tests

    with ExitStack() as servers:
        opened: list[LabelPage] = []

        def open_it(folder, video="clip", **options) -> LabelPage:
            url = servers.enter_context(label_server(folder))
            label = LabelPage(new_window(browser, **options), url, video)
            opened.append(label)
            label.wait_for_picture()
            return label

        yield open_it
        for label in opened:
            label.close()
        assert [problem for label in opened for problem in label.problems] == []
