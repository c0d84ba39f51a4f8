"""The whole loop, small: videos in, a trained model and detections out."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from hrpro.cli import main


def hrpro(*arguments) -> object:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.slow
def test_demo_and_what_comes_after_it(rgb_weights, tmp_path):
    """`hrpro demo` on a third of its videos; then eval, detect and render what it left."""
    folder = tmp_path / "demo"
    run = hrpro("demo", "-o", folder, "--videos", 8, "--set", "localize.updates=25", "--json", "-q")
    assert run.exit_code == 0, run.output
    outcome = json.loads(run.stdout)
    stages = outcome["training"]["stages"]
    assert [stage["stage"] for stage in stages] == [1, 2]
    assert stages[-1]["last"]["average"] > 0.5
    for name in ("result", "table", "timeline", "preview", "report", "model", "video"):
        assert (tmp_path / outcome["files"][name]).exists(), name

    measured = hrpro("eval", "--model", folder / "model", "--dataset", folder / "dataset", "--json")
    assert measured.exit_code == 0, measured.output
    assert abs(json.loads(measured.stdout)["average"] - stages[-1]["last"]["average"]) < 1e-9

    found = hrpro(
        "detect", folder / "unseen.mp4", "--model", folder / "model", "--json", "-q",
        "--ground-truth", folder / "unseen_gt.json", "--plot", tmp_path / "t.svg",
    )  # fmt: skip
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["results"]["unseen"]
    assert (tmp_path / "t.svg").stat().st_size > 1000

    refused = hrpro("detect", folder / "unseen.mp4", "--model", folder / "model", "--crop", "96")
    assert refused.exit_code == 2
    assert "crop: 112 != 96" in refused.stderr


def test_demo_does_not_touch_a_folder_of_others(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    run = hrpro("demo", "-o", tmp_path)
    assert run.exit_code == 2
    assert "not empty" in run.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
