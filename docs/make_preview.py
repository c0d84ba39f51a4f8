"""Make docs/preview.png, the picture of the README, out of a finished `hrpro demo`.

python docs/make_preview.py hrpro-demo
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

from hrpro.extract.decode import FrameReader

AT_S = 15.0
WIDTH = 900


def main(demo: Path) -> None:
    """Put a frame of the preview above the timeline."""
    with FrameReader(demo / "preview.mp4", fps=None, short_side=None, crop=None) as reader:
        frame = next(picture for time_s, picture in reader.timed() if time_s >= AT_S)
    parts = [Image.fromarray(frame), Image.open(demo / "timeline.png").convert("RGB")]
    scaled = [
        part.resize((width, part.height * width // part.width), Image.Resampling.LANCZOS)
        for part, width in zip(parts, (WIDTH * 2 // 3, WIDTH), strict=True)
    ]
    page = Image.new("RGB", (WIDTH, sum(part.height for part in scaled)), "white")
    top = 0
    for part in scaled:
        page.paste(part, ((WIDTH - part.width) // 2, top))
        top += part.height
    page.quantize(128).save(Path(__file__).with_name("preview.png"), optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
