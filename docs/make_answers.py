"""Ask the questions of docs/answers.md with real commands, and take its pictures.

    python docs/make_answers.py WORK_FOLDER

The videos and the model are those of ``hrpro demo``, which draws its footage itself. What every
answer took, in seconds, is printed at the end as the table of the page.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import time
from pathlib import Path

from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "tests"))

from browser import SIZES, LabelPage, chromium, label_server, new_window  # noqa: E402

PICTURES = REPOSITORY / "docs" / "pictures"
DATASET, MODEL, RESULT = "hrpro-demo/dataset", "hrpro-demo/model", "result.json"
QUESTIONS = {
    "What happens when?": f"detect {DATASET}/videos/test_0*.mp4 --model {MODEL} -o {RESULT}",
    "How many, and for how long?": f"stats {RESULT}",
    "How much, and when?": f"stats {RESULT} --bin 10 -o budget.csv --plot answers-budget.png",
    "Show me all of them": f"clips {RESULT} -o clips/ --sheet answers-sheet.png",
    "On one page?": f"report {RESULT} --dataset {DATASET} -o report.html",
    "How sure is it?": f"eval --model {MODEL} --dataset {DATASET}",
}


def run(command: str) -> float:
    """Run a command as it stands in the manual, show what it says; return the seconds."""
    print(f"$ hrpro {command}", flush=True)
    words = [
        str(found)
        for word in command.split()
        for found in (sorted(Path().glob(word)) if "*" in word else [word])
    ]
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "hrpro", *words], check=True)
    return time.monotonic() - began


def save(picture: bytes, name: str) -> None:
    """Keep a picture for the manual."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image.thumbnail((1600, 1600))
    image.save(PICTURES / f"{name}.webp", quality=90, method=6)


def picture_report() -> None:
    """Take a picture of the begin of the report, which says how sure the model is."""
    with chromium() as browser:
        window = new_window(browser, size=SIZES["laptop"], color_scheme="light")
        page = window.new_page()
        page.goto(Path("report.html").resolve().as_uri())
        page.locator(".timeline").first.wait_for()
        page.wait_for_timeout(800)
        save(page.screenshot(animations="disabled"), "answers-report")


def picture_label_page() -> float:
    """Let the model look at the training videos; return the seconds until the page shows it."""
    began = time.monotonic()
    with label_server(Path(DATASET), "--model", MODEL) as url, chromium() as browser:
        seconds = time.monotonic() - began
        label = LabelPage(new_window(browser), url)
        label.wait_for_picture()
        label.press("n")
        label.page.wait_for_timeout(800)
        save(label.page.screenshot(animations="disabled"), "answers-label")
    return seconds


def main() -> None:
    """Ask all questions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)  # so that commands and pictures show short paths
    PICTURES.mkdir(exist_ok=True)
    if not Path(MODEL).is_dir():
        run("demo")
    rows = {question: (command, run(command)) for question, command in QUESTIONS.items()}
    for name in ("answers-budget", "answers-sheet"):
        save(Path(f"{name}.png").read_bytes(), name)
    picture_report()
    next_command = f"label {DATASET} --model {MODEL}"
    rows["What should I label next?"] = (next_command, picture_label_page())
    print("| question | command | seconds |\n|---|---|---|")
    for question, (command, seconds) in rows.items():
        print(f"| {question} | `hrpro {command}` | {seconds:.1f} |")


if __name__ == "__main__":
    main()
