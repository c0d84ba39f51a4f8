"""Walk through docs/own-footage.md with real commands and a real browser, and take its pictures.

    python docs/make_own_footage.py VIDEOS GROUND_TRUTH.json WORK_FOLDER
    python docs/make_own_footage.py VIDEOS GROUND_TRUTH.json WORK_FOLDER --names

With `--names`, after a run without it: the same videos once more, with the names of their actions
alone; the features are those of the first run.

A script plays the person. It knows the ground truth, presses the keys of the label page while the
video runs, and judges the detections of the model; so nobody sees its labels but what a person
with a clear view of the action would have pressed. The pictures show the footage blurred. What was
measured is printed at the end.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "tests"))

from browser import SIZES, LabelPage, chromium, label_server, new_window  # noqa: E402

from hrpro.annotations import (  # noqa: E402
    Action,
    VideoAnnotation,
    read_ground_truth,
    write_ground_truth,
)

PICTURES = REPOSITORY / "docs" / "pictures"
FIRST_ROUND = REVIEWED = 12
"""Videos labelled before the first model, and reviewed with it."""
SPEED = 2.0
"""The first round is watched at this speed."""
LOOK_S, MISSED_S = 1.2, 2.5
"""Seconds the person looks at a detection, and takes to go to an action that has none."""
BLUR = "document.querySelectorAll('video').forEach((v) => { v.style.filter = 'blur(12px)'; })"


class Walk:
    """The afternoon: a folder, the truth that the person sees in the videos, and a diary."""

    def __init__(self, videos: Path, truth: Path) -> None:
        self.videos = videos
        self.truth = read_ground_truth(truth)
        self.classes = sorted({a.label for v in self._footage() for a in v.actions})
        self.dataset = Path("own")
        self.diary: dict[str, object] = {}
        self.reviewing_pictured = False
        self.rng = random.Random(0)

    def _footage(self) -> Iterator[VideoAnnotation]:
        for path in sorted(self.videos.iterdir()):
            if path.stem in self.truth:
                yield self.truth[path.stem]

    def run(self, *arguments: str | Path) -> str:
        """Run a command as it stands in the manual; return what it says."""
        command = ["hrpro", *map(str, arguments)]
        print("$", *command, flush=True)
        command = [sys.executable, "-m", *command]
        began = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True)
        print(done.stdout[-3000:], done.stderr[-1500:], flush=True)
        if done.returncode not in (0, 1):
            sys.exit(f"exit code {done.returncode}")
        self.diary[" ".join(map(str, arguments))[:60]] = round(time.monotonic() - began, 1)
        return done.stdout

    @contextmanager
    def page(self, *options: str) -> Iterator[LabelPage]:
        """The label page in a laptop's window."""
        with label_server(self.dataset, *options) as url, chromium() as browser:
            window = new_window(browser)
            yield LabelPage(window, url)
            window.close()

    def picture(self, page, name: str) -> None:
        """Take a picture of a page, with the footage blurred."""
        page.evaluate(BLUR)
        page.wait_for_timeout(300)
        taken = Image.open(io.BytesIO(page.screenshot(animations="disabled")))
        taken.convert("RGB").save(PICTURES / f"{name}.webp", quality=90, method=6)

    def start_over(self, name: str) -> None:
        """A new folder of the same videos, with the features and test marks of the present one."""
        before, self.dataset = self.dataset, Path(name)
        self.run("init", name, "--videos", self.videos, "--classes", ",".join(self.classes))
        shutil.copytree(before / "features", self.dataset / "features")
        shutil.copy(before / "annotations.json", self.dataset)

    def tick_names(self) -> None:
        """Play the training videos at twice the speed; tick each action when it is first seen."""
        with self.page() as label:
            keys = self._class_keys(label)
            names = self._split("train")
            began, ticks = time.monotonic(), 0
            label.press("Shift+Enter")
            for name in names:
                self._open(label, name)
                label.press("l", "l")
                firsts: dict[str, float] = {}
                for action in sorted(self.truth[name].actions, key=lambda action: action.start_s):
                    firsts.setdefault(action.label, action.end_s)
                for action_name, seen_s in sorted(firsts.items(), key=lambda first: first[1]):
                    while label.time < seen_s and label.playing:
                        label.page.wait_for_timeout(15)
                    label.press(keys[action_name])
                while label.playing:
                    label.page.wait_for_timeout(50)
                label.press("Enter")
                ticks += len(firsts)
            label.wait_until_saved()
            minutes = round((time.monotonic() - began) / 60, 1)
            self.diary["names"] = {"videos": len(names), "minutes": minutes, "ticks": ticks}

    def _split(self, name: str) -> list[str]:
        return (self.dataset / f"split_{name}.txt").read_text().splitlines()

    def mark_test_videos(self) -> None:
        """Give the test videos, and only those, their start and end marks."""
        marked = [self.truth[name] for name in self._split("test")]
        write_ground_truth(self.dataset / "annotations.json", marked)

    def label_first_videos(self) -> None:
        """Play some videos at twice the speed and press a key at every action."""
        with self.page() as label:
            label.press("?")
            self.picture(label.page, "label-help")
            label.press("Escape")
            keys = self._class_keys(label)
            began, watched_s, clicks = time.monotonic(), 0.0, 0
            for number, name in enumerate(self._split("train")[:FIRST_ROUND]):
                self._open(label, name)
                clicks += self._play_and_click(label, self.truth[name].actions, keys, number == 2)
                watched_s += self.truth[name].duration_s or 0
                label.press("m")
            label.wait_until_saved()
            self.diary["first round"] = {
                "videos": FIRST_ROUND,
                "minutes": round((time.monotonic() - began) / 60, 1),
                "minutes of footage": round(watched_s / 60, 1),
                "clicks": clicks,
            }

    def _class_keys(self, label: LabelPage) -> dict[str, str]:
        items = label.page.locator("#classes li").all_inner_texts()
        words = [item.split() for item in items]
        return {each[1]: each[0].lower() for each in words}

    def _open(self, label: LabelPage, name: str) -> None:
        label.page.locator("#videos li", has_text=name).first.click()
        label.page.locator("#title", has_text=name).wait_for()
        label.wait_for_picture()

    def _play_and_click(
        self, label: LabelPage, actions: tuple[Action, ...], keys: dict[str, str], picture: bool
    ) -> int:
        reaction_s = 0.2 * SPEED  # the page takes that off again
        moments = sorted(
            (self.rng.uniform(0.7 * a.start_s + 0.3 * a.end_s, 0.3 * a.start_s + 0.7 * a.end_s), a)
            for a in actions
        )
        label.press("l", "l")
        for index, (moment_s, action) in enumerate(moments):
            while label.time < moment_s + reaction_s and label.playing:
                label.page.wait_for_timeout(15)
            label.tap(keys[action.label])
            if picture and index == len(moments) - 1:
                label.press("k")
                self.picture(label.page, "label-points")
                label.press("l", "l")
        while label.playing:
            label.page.wait_for_timeout(50)
        return len(moments)

    def review(self, run: str) -> None:
        """Judge what the model suggests, in the order of the page, and add what it missed."""
        with self.page("--model", run) as label:
            keys = self._class_keys(label)
            done = set(self._split("train")[:FIRST_ROUND])
            test = set(self._split("test"))
            order = [
                text.split("\n")[0] for text in label.page.locator("#videos li").all_inner_texts()
            ]
            names = [name for name in order if name not in done | test][:REVIEWED]
            began, counts = time.monotonic(), {"accepted": 0, "rejected": 0, "added": 0}
            for name in names:
                self._open(label, name)
                self._review_video(label, name, keys, counts)
                label.press("m")
            label.wait_until_saved()
            minutes = round((time.monotonic() - began) / 60, 1)
            self.diary["review"] = {"videos": len(names), "minutes": minutes, **counts}

    def _review_video(
        self, label: LabelPage, name: str, keys: dict[str, str], counts: dict[str, int]
    ) -> None:
        missed = list(self.truth[name].actions)
        label.press("n")
        label.page.wait_for_timeout(200)
        while (shown := self._selected(label)) is not None:
            text, start_s, end_s = shown
            label.page.wait_for_timeout(int(1000 * LOOK_S))
            if counts["accepted"] and not self.reviewing_pictured:
                self.reviewing_pictured = True
                self.picture(label.page, "label-review")
            middle_s = (start_s + end_s) / 2
            right = [a for a in missed if a.label == text and a.start_s <= middle_s <= a.end_s]
            label.press("Enter" if right else "x")  # goes on to the next one
            counts["accepted" if right else "rejected"] += 1
            missed = [action for action in missed if action not in right]
            label.wait_for(lambda shown=shown: self._selected(label) != shown)
        label.press("Escape")
        for action in missed:
            label.page.wait_for_timeout(int(1000 * MISSED_S))
            label.seek((action.start_s + action.end_s) / 2)
            label.press(keys[action.label])
            label.press("Escape")
            counts["added"] += 1

    def _selected(self, label: LabelPage) -> tuple[str, float, float] | None:
        """Class, start and end of the open detection that the page shows, if it shows one."""
        bar = label.page.locator("#selection")
        text = bar.locator(".what").inner_text().replace("\u2013", "-")
        found = re.match(r"\d+ % · ([\d.]+)-([\d.]+) s", text)  # else it says "accepted" first
        if not found:
            return None
        return bar.locator("select").input_value(), float(found[1]), float(found[2])

    def report(self) -> None:
        """Take pictures of the report."""
        with chromium() as browser:
            for name in ("laptop", "phone"):
                window = new_window(browser, size=SIZES[name], color_scheme="light")
                tab = window.new_page()
                tab.goto(Path("report.html").resolve().as_uri())
                tab.locator(".timeline").wait_for()
                tab.wait_for_timeout(800)
                self.picture(tab, f"report-{name}")
                tab.locator("section.video").scroll_into_view_if_needed()
                tab.evaluate("document.querySelector('.controls').scrollIntoView()")
                self.picture(tab, f"report-video-{name}")
                window.close()

    def map_of(self, run: str) -> float:
        """Average mAP of a model on the test videos, in percent."""
        text = self.run("eval", "--model", run, "--dataset", self.dataset, "--json")
        return round(100 * json.loads(text)["averages"]["0.1:0.7"], 1)


def with_clicks(walk: Walk) -> None:
    """A key press per action, a model, a round of review, and another model."""
    walk.run("init", "own", "--videos", walk.videos, "--classes", ",".join(walk.classes))
    walk.mark_test_videos()
    walk.run("dataset", "check", "own")
    walk.label_first_videos()
    walk.run("train", "--dataset", "own", "--run-dir", "runs/own-1")
    walk.diary["mAP before"] = walk.map_of("runs/own-1")
    walk.run("extract", "own")
    walk.review("runs/own-1")
    walk.run("train", "--dataset", "own", "--run-dir", "runs/own-2")
    walk.diary["mAP after"] = walk.map_of("runs/own-2")
    walk.run("eval", "--model", "runs/own-2", "--dataset", "own", "-o", "results.json", "--curves")
    walk.run("report", "results.json", "--dataset", "own", "-o", "report.html")
    walk.report()


def with_names(walk: Walk) -> None:
    """Only which actions each training video shows."""
    walk.start_over("names")
    walk.tick_names()
    walk.run("dataset", "check", "names")
    for method in ("sal", "fustal"):
        run = f"runs/names-{method}"
        walk.run("train", "--dataset", "names", "--method", method, "--run-dir", run)
        walk.diary[f"mAP of {method}"] = walk.map_of(run)


def main() -> None:
    """Walk through the afternoon."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("videos", type=Path)
    parser.add_argument("truth", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--names", action="store_true", help="with names instead of clicks")
    options = parser.parse_args()
    videos, truth = options.videos.resolve(), options.truth.resolve()
    options.folder.mkdir(parents=True, exist_ok=True)
    os.chdir(options.folder)  # so that commands and pictures show short paths
    PICTURES.mkdir(exist_ok=True)
    walk = Walk(videos, truth)

    (with_names if options.names else with_clicks)(walk)
    print(json.dumps(walk.diary, indent=1))


if __name__ == "__main__":
    main()
