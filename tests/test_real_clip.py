"""The README's first command on a real clip, in a process of its own, as a person runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hrpro.features import read_features, read_sidecar

pytestmark = pytest.mark.core


def hrpro(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "hrpro", *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "Traceback" not in run.stderr
    assert "leaked" not in run.stderr  # what Python says at exit of what was not given back


@pytest.fixture
def clip(shared) -> Path:
    return shared / "data" / "clips" / "kinetics400" / "TaiChi" / "ta_chi.mp4"


@pytest.mark.slow
def test_detect_finds_the_action(clip, rgb_weights, tmp_path):
    hrpro("detect", clip, "--out", tmp_path / "r.json", "--streams", "rgb")
    (found,) = json.loads((tmp_path / "r.json").read_text())["results"].values()
    best = max(found, key=lambda detection: detection["score"])
    assert best["label"] == "tai chi"
    start_s, end_s = best["segment"]
    assert start_s < 1 and end_s > 9


def test_extract_in_a_worker(clip, rgb_weights, tmp_path):
    hrpro("extract", clip, "-o", tmp_path, "--streams", "rgb", "--workers", "1")
    (file,) = tmp_path.glob("*.npy")
    features = read_features(file)
    assert features.shape == (15, 1024)  # of 250 frames, 16 to a snippet
    sidecar = read_sidecar(file)
    assert sidecar is not None
    assert sidecar.video.duration_s == pytest.approx(10, abs=0.1)
