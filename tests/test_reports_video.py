"""Recordings that people reported of other tools, rebuilt: what must come out of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from hrpro.cli import main
from hrpro.extract.decode import FrameReader
from hrpro.features import read_sidecar
from hrpro.pipeline.results.formats import read_results


class Expected(NamedTuple):
    """What is right, by FFmpeg's own reading of the file."""

    frames: int
    first_s: float
    last_s: float
    lost_s: float
    says: str = ""


CASES = {
    "01-hole-in-the-middle/damaged.mp4": Expected(470, 0, 19.96, 1.2, "1.20 s of the picture lost"),
    "02-ts-starts-mid-gop/capture.ts": Expected(250, 9.56, 19.52, 9.56, "the first 9.56 s cannot"),
    "03-ts-reception-gap/recording.ts": Expected(452, 0, 19.96, 1.92, "1.92 s of the picture lost"),
    "04-picture-starts-late/late.mp4": Expected(152, 3.0, 9.04, 0),
    "05-starts-without-keyframe/cut.mp4": Expected(
        150, 8.88, 14.84, 8.88, "the first 8.88 s cannot"
    ),
}


@pytest.fixture
def reports(shared: Path) -> Path:
    return shared / "data" / "reports"


@pytest.mark.parametrize("name", CASES)
def test_reports_keep_every_frame_at_its_time(reports, name):
    frames, first_s, last_s, lost_s, says = CASES[name]
    with FrameReader(reports / name, fps=None, short_side=None, crop=None) as reader:
        times = [reader.info.start_s + time_s for time_s, _ in reader.timed()]
    assert len(times) == frames
    assert times[0] == reader.info.start_s == pytest.approx(first_s, abs=1e-3)
    assert times[-1] == pytest.approx(last_s, abs=1e-3)
    assert reader.report.duration_s == pytest.approx(last_s + 0.04 - first_s, abs=1e-3)
    assert reader.report.lost_s == pytest.approx(lost_s, abs=0.01)
    assert not reader.report.truncated
    told = [warning for warning in reader.report.warnings if says in warning]
    assert len(told) == len(reader.report.warnings) == bool(says)


def test_reports_are_extracted_with_their_losses_in_the_sidecars(reports, rgb_weights, tmp_path):
    videos = [str(reports / name) for name in CASES]
    command = ["extract", *videos, "-o", str(tmp_path), "--short-side", "64", "--crop", "64"]
    run = CliRunner().invoke(main, command)
    assert run.exit_code == 0, run.output
    for name, expected in CASES.items():
        (path,) = tmp_path.rglob(f"{Path(name).stem}.npy")
        sidecar = read_sidecar(path)
        assert sidecar is not None
        facts = sidecar.video
        assert facts.start_s == pytest.approx(expected.first_s, abs=1e-3)
        assert facts.lost_s == pytest.approx(expected.lost_s, abs=0.01)
        assert len(facts.lost) >= bool(expected.lost_s)
        assert expected.says in run.output


def test_reports_of_a_late_picture_are_in_the_clock_of_players(reports, rgb_weights, tmp_path):
    video = reports / "04-picture-starts-late" / "late.mp4"
    outs = [tmp_path / f"r.{suffix}" for suffix in ("json", "vtt", "srt", "eaf", "csv")]
    command = ["detect", str(video), "--short-side", "64", "--crop", "64", "--min-score", "0"]
    for out in outs:
        command += ["--out", str(out)]
    run = CliRunner().invoke(main, [*command, "--report", str(tmp_path / "r.html")])
    assert run.exit_code == 0, run.output
    about = json.loads(outs[0].read_text())["videos"]["late"]
    assert about["start_s"] == pytest.approx(3.0)
    assert about["duration"] == pytest.approx(9.08)
    for out in outs:
        (found,) = read_results(out).videos
        assert found.detections, out
        assert min(each.start_s for each in found.detections) >= 3.0
        assert max(each.end_s for each in found.detections) == pytest.approx(9.08, abs=0.7)
