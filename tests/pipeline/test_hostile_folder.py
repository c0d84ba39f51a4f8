"""`hrpro extract` on a folder that mixes everything that can go wrong with good videos."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hostile import BAD, GOOD, make_hostile_folder
from videos import make_video, numbered

from hrpro.extract.sources import find_videos
from hrpro.features import read_features, read_sidecar
from hrpro.pipeline.workers.targets import FeatureTargets


def run_extract(*arguments: str | Path) -> tuple[int, dict, list[str]]:
    """Run the real command; return exit code, JSON summary and the lines it said."""
    options = ["--streams", "rgb", "--short-side", "64", "--crop", "64", "--json"]
    command = [sys.executable, "-m", "hrpro", "extract", *map(str, arguments), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    return done.returncode, json.loads(done.stdout), done.stderr.splitlines()


@pytest.fixture(scope="module")
def hostile(rgb_weights, tmp_path_factory):
    """The folder, and what one run of the command over it said."""
    folder = make_hostile_folder(tmp_path_factory.mktemp("hostile") / "videos")
    out = folder.parent / "features"
    return folder, out, run_extract(folder, "-o", out)


def test_every_good_video_completes_and_every_bad_one_says_why(hostile):
    folder, out, (code, summary, lines) = hostile
    assert code == 1
    assert sorted(summary["done"]) == sorted(GOOD)
    reasons = {failure["path"]: failure["reason"] for failure in summary["failed"]}
    assert sorted(reasons) == sorted(BAD)
    for name, (_, why) in BAD.items():
        assert why in reasons[name]
        assert "\n" not in reasons[name]
        assert any(name in line and why in line for line in lines), name
    assert not any("Traceback" in line for line in lines)

    targets = FeatureTargets(find_videos([str(folder)]), out)
    for name, good in GOOD.items():
        sidecar = read_sidecar(targets.path(name))
        facts = sidecar.video
        assert (name, facts.num_snippets) == (name, good.num_snippets)
        assert (name, facts.padded, facts.truncated) == (name, good.padded, good.truncated)
        assert read_features(targets.path(name)).shape == (good.num_snippets, 1024)
        about = [warning for warning in summary["warnings"] if warning.startswith(f"{name}: ")]
        assert bool(about) == bool(good.warning), about
        assert any(good.warning in warning for warning in about) or not good.warning
    written = set(out.rglob("*.npy"))
    assert written == {targets.path(name) for name in GOOD}


def test_a_rerun_touches_only_what_is_missing(hostile):
    folder, out, _ = hostile
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*.npy")}
    mended = folder / "bad" / "empty.mp4"
    make_video(mended, 20)
    code, summary, _ = run_extract(folder, "-o", out)
    assert code == 1
    assert summary["done"] == ["bad/empty.mp4"]
    assert sorted(summary["skipped"]) == sorted(GOOD)
    assert len(summary["failed"]) == len(BAD) - 1
    assert {path: path.stat().st_mtime_ns for path in times} == times


LEAK_TEST = """
import gc, json, os, sys
from pathlib import Path
import psutil
from hrpro.pipeline.extract import extract_features
from hrpro.pipeline.workers.work import WorkerSettings

videos, out = map(Path, sys.argv[1:])
settings = WorkerSettings({"streams": "rgb", "short_side": 32, "crop": 32})
process = psutil.Process(os.getpid())

def extract(first, last):
    names = [str(videos / f"{number:03}.mp4") for number in range(first, last)]
    summary = extract_features(names, out=out, settings=settings)
    assert len(summary.done) + len(summary.failed) == last - first
    gc.collect()
    return process.memory_info().rss, process.num_fds()

extract(0, 200)  # warms up caches and allocators
print(json.dumps([extract(200, 250), extract(250, 500)]))
"""


@pytest.mark.slow
def test_five_hundred_videos_leak_neither_memory_nor_files(rgb_weights, tmp_path):
    """One frame a video that stays alive would show (115 MB in the end), one open file as well.

    Allocators grow by single steps of up to 45 MB now and then.
    """
    videos = tmp_path / "videos"
    sound = make_video(videos / "sound.mp4", 16, painter=numbered(640, 480))
    broken = videos / "broken.mp4"
    broken.write_bytes(sound.read_bytes()[:-900])
    for number in range(500):
        shutil.copyfile(broken if number % 10 == 9 else sound, videos / f"{number:03}.mp4")
    command = [sys.executable, "-c", LEAK_TEST, str(videos), str(tmp_path / "features")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-1000:]
    (memory, files), (later_memory, later_files) = json.loads(done.stdout)
    assert later_files == files
    assert later_memory - memory < 60e6
