"""The timeline plot: that what is drawn is where it should be, for any label and length."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from hrpro.annotations import Action
from hrpro.errors import UsageError
from hrpro.pipeline.render import plot
from hrpro.pipeline.render.fonts import font_for
from hrpro.pipeline.render.plot import TRUTH_COLOUR, plot_timeline
from hrpro.pipeline.results.model import Detection, VideoResult

FOUND = [Detection("jump", 0.9, 2, 4), Detection("run", 0.3, 5, 9)]


def picture(path):
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def near(pixels, colour):
    return np.abs(pixels - np.array(colour)).max(axis=-1) < 12


@pytest.fixture
def axes_of(monkeypatch, tmp_path):
    """Plot, and return the axes that were drawn."""

    def draw(*arguments, **options):
        figures = []
        make = plot.Figure
        monkeypatch.setattr(
            plot, "Figure", lambda **kwargs: figures.append(make(**kwargs)) or figures[-1]
        )
        plot_timeline(arguments[0], tmp_path / "p.png", *arguments[1:], **options)
        monkeypatch.setattr(plot, "Figure", make)
        return figures[0].axes[0]

    return draw


def test_truth_is_drawn_where_it_is(tmp_path):
    result = VideoResult("v", duration_s=10.0, detections=FOUND)
    path = tmp_path / "p.png"
    plot_timeline(result, path, [Action("jump", 0.0, 2.5), Action("jump", 7.5, 10.0)])
    orange = near(picture(path), (0xD5, 0x5E, 0x00))
    row = orange[orange.sum(axis=1).argmax()]
    columns = np.flatnonzero(row)
    gap = np.flatnonzero(np.diff(columns) > 5)
    width = columns[-1] - columns[0]
    assert (columns[gap[0]] - columns[0]) / width == pytest.approx(0.25, abs=0.01)
    assert (columns[gap[0] + 1] - columns[0]) / width == pytest.approx(0.75, abs=0.01)
    plot_timeline(result, path)
    assert not near(picture(path), (0xD5, 0x5E, 0x00)).any()
    assert TRUTH_COLOUR == "#d55e00"


def test_higher_scores_are_darker(axes_of):
    axes = axes_of(VideoResult("v", duration_s=10.0, detections=FOUND))
    jump, _, run, _ = (collection.get_facecolor() for collection in axes.collections[:4])
    assert jump[0, :3].sum() < run[0, :3].sum()
    assert axes.get_xlim() == (0, 10)


def test_labels_are_shown_as_they_are(axes_of):
    labels = ["cost $5 or $6", "x_1^2", "50 % {a}", "\\frac", "прыжок", "a\nb"]
    found = [Detection(label, 1 - k / 10, 0, 1) for k, label in enumerate(labels)]
    axes = axes_of(VideoResult("clip $x$", detections=found))
    assert [text.get_text() for text in axes.get_yticklabels()] == [*labels[:-1], "a b"]
    assert axes.get_title(loc="left") == "clip $x$"


def test_long_lists_and_labels_stay_readable(axes_of):
    found = [
        Detection(f"class {k:02d} " + "word " * 30, k / 100, 36 * k, 36 * k + 1) for k in range(100)
    ]
    axes = axes_of(VideoResult("hour", duration_s=3600.0, detections=found))
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert len(names) == plot.MAX_ROWS and names[0].startswith("class 99")
    assert all(name.count("\n") <= 1 and max(map(len, name.split("\n"))) <= 32 for name in names)
    assert "best 40 of 100 classes" in axes.get_title(loc="left")
    ticks = [text.get_text() for text in axes.get_xticklabels()]
    assert "10:00" in ticks and "1:00:00" in ticks and len(ticks) < 16
    heights = [text.get_window_extent() for text in axes.get_yticklabels()]
    assert all(above.y0 >= below.y1 for above, below in pairwise(heights))


@pytest.mark.parametrize("truth", [None, [], [Action("jump", 0, 1)]])
def test_nothing_found(tmp_path, truth):
    plot_timeline(VideoResult("v"), tmp_path / "p.png", truth)
    assert picture(tmp_path / "p.png").size


def test_other_formats_and_unknown_ones(tmp_path):
    result = VideoResult("v", detections=FOUND)
    plot_timeline(result, tmp_path / "p.svg")
    plot_timeline(result, tmp_path / "p.PDF")
    assert "<svg" in (tmp_path / "p.svg").read_text() and "%PDF" in (
        tmp_path / "p.PDF"
    ).read_bytes()[:8].decode("latin-1")
    with pytest.raises(UsageError, match=r"p\.xyz: a plot must be one of \.png, \.pdf, \.svg"):
        plot_timeline(result, tmp_path / "p.xyz")


def test_the_shipped_font_serves_what_it_covers():
    assert font_for(["größe", "прыжок"]).name == "DejaVuSans.ttf"
    assert font_for(["jump"], bold=True).name == "DejaVuSans-Bold.ttf"
    assert font_for(["\U0010fffd"]).is_file()  # a character no font has
