"""The cookbook runs from top to bottom, as it says."""

from __future__ import annotations

import re
from pathlib import Path

import fake_worker
import matplotlib
import pytest
from videos import make_video

PAGE = Path(__file__).parents[1] / "docs" / "cookbook.md"


@pytest.fixture
def kitchen(tmp_path, monkeypatch):
    """A folder with videos of two days, in whose first second something happens."""
    for name in ("mon/a", "mon/b", "tue/a"):
        make_video(tmp_path / "footage" / f"{name}.mp4", 50)
    (tmp_path / "footage" / "tue" / "broken.mp4").write_text("fail not a video")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hrpro.pipeline.detect.build_detection", fake_worker.build_detection)
    matplotlib.use("agg")
    return tmp_path


def test_all_of_it_runs(kitchen):
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(block, PAGE.name, "exec"), names)
    assert [failure.path for failure in names["found"].failed] == ["tue/broken.mp4"]
    assert names["counts"].loc["all", "jump"] == 3
    assert names["per_minute"].loc[0.0, "jump"] == pytest.approx(3.0)
    assert len(names["clips"].clips) == 3
    assert names["overall"].matched == 3
    assert names["overall"].start.median_s == pytest.approx(0.1)
    for picture in ("per_minute.png", "when.png", "sure.png"):
        assert (kitchen / picture).stat().st_size > 1000
