"""The label page in a real browser: for the tests, and for the screenshots of the manual.

`python tests/browser.py DATASET FOLDER` takes screenshots of a dataset at three sizes.
"""

from __future__ import annotations

import json
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from playwright.sync_api import Browser, BrowserContext, Route, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
SIZES = {"phone": (390, 844), "laptop": (1366, 768), "large": (2560, 1440)}
START_S, PATIENCE_S = 60.0, 30.0

Value = TypeVar("Value")
Suggested = tuple[str, float, float, float]  # label, score, start_s, end_s


@contextmanager
def label_server(dataset: Path, *options: str) -> Iterator[str]:
    """Run `hrpro label` and yield the address of its page."""
    command = [sys.executable, "-m", "hrpro", "label", str(dataset), "--no-browser", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield _first_line(process)
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def _first_line(process: subprocess.Popen) -> str:
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=lambda: lines.put(process.stdout.readline()), daemon=True).start()
    try:
        line = lines.get(timeout=START_S).split()
    except queue.Empty:
        line = []
    if not line:
        raise RuntimeError("hrpro label has not started")
    return next(word for word in line if word.startswith("http://"))


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run Debian's Chromium without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--mute-audio", "--disable-dev-shm-usage"],
        )
        try:
            yield browser
        finally:
            browser.close()


def write_suggestions(
    dataset: Path, detections: Mapping[str, Sequence[Suggested]], uncertainty: float = 0.5
) -> None:
    """Write what a model would suggest for the videos of a dataset."""
    names = ("label", "score", "start_s", "end_s")
    videos = {
        video_id: {
            "uncertainty": uncertainty,
            "detections": [dict(zip(names, each, strict=True)) for each in found],
        }
        for video_id, found in detections.items()
    }
    (dataset / "label").mkdir(exist_ok=True)
    path = dataset / "label" / "suggestions.json"
    path.write_text(json.dumps({"model": "runs/first", "videos": videos}), encoding="utf-8")


def new_window(
    browser: Browser,
    *,
    size: tuple[int, int] = SIZES["laptop"],
    color_scheme: str = "light",
    touch: bool = False,
    first_visit: bool = False,
) -> BrowserContext:
    """Open a browser window with a memory of its own.

    Args:
        browser: out of `chromium`.
        size: width and height in pixels.
        color_scheme: "light" or "dark".
        touch: like a phone: fingers instead of a mouse.
        first_visit: whether the help greets the person.
    """
    window = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme=color_scheme,
        has_touch=touch,
        is_mobile=touch,
    )
    window.set_default_timeout(1000 * PATIENCE_S)
    if not first_visit:
        window.add_init_script("localStorage.setItem('hrpro.label.help-seen', 'yes')")
    return window


class LabelPage:
    """The label page in a tab.

    Args:
        window: out of `new_window`.
        url: out of `label_server`.
        video: id of the video to open; by default the page chooses.
    """

    def __init__(self, window: BrowserContext, url: str, video: str | None = None) -> None:
        self.problems: list[str] = []
        """What should not be: errors in the console, requests to other places."""
        self.requests_may_fail = False
        """Whether the browser's own lines about failed requests are to be expected."""
        self._origin = url.partition("/?")[0] + "/"
        self.page = window.new_page()
        self.page.on("console", lambda message: self._note(message.type, message.text))
        self.page.on("pageerror", lambda error: self._note("error", str(error)))
        self.page.on("request", lambda request: self._check_origin(request.url))
        self.page.goto(url + (f"#{quote(video, safe='')}" if video else ""))
        self.page.locator("#title", has_text=re.compile(".")).wait_for()

    def _note(self, kind: str, text: str) -> None:
        expected = self.requests_may_fail and text.startswith("Failed to load resource")
        if kind in ("error", "warning") and not expected:
            self.problems.append(f"{kind}: {text}")

    def _check_origin(self, address: str) -> None:
        if not address.startswith(self._origin):
            self.problems.append(f"request to {address}")

    def intercept(self, pattern: str, handler: Callable[[Route], object]) -> None:
        """Give a handler all requests to some addresses from now on.

        Chromium lets some through for a moment after it was told to.
        """
        probe = re.compile(r"/icon\.svg\?probe$")
        caught: list[Route] = []

        def catch(route: Route) -> None:
            caught.append(route)
            route.fulfill(body="")

        self.page.route(pattern, handler)
        self.page.route(probe, catch)
        ask = "fetch('/static/icon.svg?probe').then(() => true)"
        self.wait_for(lambda: self.page.evaluate(ask) and bool(caught), "the interception")
        self.page.unroute(probe)

    def wait_for_picture(self) -> None:
        """Wait until the video can be played."""
        ready = "document.querySelector('#video').readyState >= 2"
        self.wait_for(lambda: self.page.evaluate(ready), "the picture")
        # Chromium drops keys that come before it has painted a page for the first time.
        self._wait_for_paint()

    def _wait_for_paint(self) -> None:
        painted = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        self.page.evaluate(painted)

    def wait_for_video(self, video: str) -> None:
        """Wait until a video is open: keys are for the one before until then."""
        self.wait_to_be(self.page.locator("#title").inner_text, video)

    def wait_for(self, condition: Callable[[], bool], what: str = "") -> None:
        """Wait until something is so. (The page's security policy forbids Playwright's own way.)"""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what or 'it'} has not come; the page says {self.toast!r}")
            self.page.wait_for_timeout(20)

    def wait_to_be(self, read: Callable[[], Value], wanted: Value) -> None:
        """Wait until something is as wanted; where it never is, say what it was last."""
        found: list[Value] = []

        def is_so() -> bool:
            found[:] = [read()]
            return found == [wanted]

        try:
            self.wait_for(is_so)
        except TimeoutError as error:
            raise AssertionError(f"{found[0]!r} has not become {wanted!r}") from error

    def press(self, *keys: str) -> None:
        """Press keys one after the other."""
        for key in keys:
            self.page.keyboard.press(key)

    def tap(self, *keys: str) -> None:
        """Press class keys while the video plays, each for no time at all.

        On a busy machine `press` may take so long that the key counts as held.
        """
        self.page.evaluate(
            """keys => {
                for (const key of keys)
                    for (const type of ['keydown', 'keyup'])
                        document.activeElement.dispatchEvent(
                            new KeyboardEvent(type, {key, bubbles: true, cancelable: true}));
            }""",
            keys,
        )

    def seek(self, seconds: float) -> None:
        """Go to a time and wait for its picture."""
        self._wait_for_seek()
        self.page.evaluate(
            "seconds => { document.querySelector('#video').currentTime = seconds; }", seconds
        )
        self._wait_for_seek()

    def _wait_for_seek(self) -> None:
        seeking = "document.querySelector('#video').seeking"
        self.wait_for(lambda: not self.page.evaluate(seeking), "the picture")
        self._wait_for_paint()  # the page has heard of it by then

    @property
    def time(self) -> float:
        """Where the video is, in seconds."""
        return self.page.evaluate("document.querySelector('#video').currentTime")

    @property
    def playing(self) -> bool:
        """Whether the video plays forwards."""
        return not self.page.evaluate("document.querySelector('#video').paused")

    @property
    def marks(self) -> list[str]:
        """Points and detections in the visible part of the timeline, as screen readers say them."""
        items = self.page.locator("#timeline .item")
        return items.evaluate_all("nodes => nodes.map((node) => node.ariaLabel)")

    @property
    def toast(self) -> str:
        """What the page said last."""
        return self.page.locator("#toast").inner_text()

    def wait_for_toast(self, text: str | re.Pattern[str]) -> None:
        """Wait until the page says something with this in it."""
        self.page.locator("#toast", has_text=text).wait_for()

    def wait_until_saved(self) -> None:
        """Wait until the server has everything."""
        self.page.locator("#saved", has_text="all saved").wait_for()

    def close(self) -> None:
        """Close the window, after requests that a test answers itself have been answered."""
        if self.page.is_closed():  # with the window, or by the test
            return
        window = self.page.context
        for each in (*window.pages, window):
            each.unroute_all(behavior="wait")
        window.close()

    def screenshot(self, path: Path) -> None:
        """Take a picture of what is visible, with animations at their end."""
        self.page.mouse.move(0, 0)
        self.page.screenshot(path=path, animations="disabled")


def main(dataset: Path, folder: Path, video: str | None = None, seconds: float = 0) -> None:
    """Take screenshots of a dataset at three sizes, light and dark, and of the help."""
    with label_server(dataset) as url, chromium() as browser:
        for name, size in SIZES.items():
            for scheme in ("light", "dark"):
                window = new_window(browser, size=size, color_scheme=scheme, touch=name == "phone")
                label = LabelPage(window, url, video)
                label.wait_for_picture()
                label.seek(seconds)
                label.screenshot(folder / f"label-{name}-{scheme}.png")
                label.press("?")
                label.screenshot(folder / f"help-{name}-{scheme}.png")
                window.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:4], *map(float, sys.argv[4:]))
