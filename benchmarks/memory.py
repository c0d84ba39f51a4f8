"""Peak memory of extraction, for a short and a long video.

    python benchmarks/memory.py                       # 1 minute against 60 minutes
    python benchmarks/memory.py --minutes 1 120 --crop 112

Each video is extracted by `hrpro extract` in a process of its own, whose peak resident memory the
operating system reports.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

FPS = 25
SIZE = (320, 240)


def write_video(path: Path, minutes: float) -> None:
    """Write a drifting texture; its content does not matter, its length does."""
    width, height = SIZE
    texture = np.random.default_rng(0).integers(0, 255, (height, 4 * width, 3), dtype=np.uint8)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "crf": "40"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(round(minutes * 60 * FPS)):
            shift = number % (3 * width)
            picture = np.ascontiguousarray(texture[:, shift : shift + width])
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())


def peak_mib(video: Path, out: Path, crop: int) -> float:
    """Peak resident memory of one extraction in MiB."""
    command = [sys.executable, "-m", "hrpro", "extract", str(video), "-o", str(out), "-q"]
    command += ["--streams", "rgb", "--crop", str(crop), "--short-side", str(max(crop, 128))]
    # The children's maximum is over all of them, so each measurement needs its own parent.
    script = (
        "import resource, subprocess, sys\n"
        "code = subprocess.run(sys.argv[1:]).returncode\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
        "sys.exit(code)"
    )
    run = subprocess.run([sys.executable, "-c", script, *command], stdout=subprocess.PIPE)
    if run.returncode:
        sys.exit("the extraction failed")
    return int(run.stdout) / (1024 if sys.platform != "darwin" else 1024**2)


def main() -> None:
    """Measure each length and print the ratio to the first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 60])
    parser.add_argument("--crop", type=int, default=224)
    args = parser.parse_args()
    first = None
    with tempfile.TemporaryDirectory() as folder:
        for minutes in args.minutes:
            video = Path(folder) / f"{minutes:g}min.mp4"
            write_video(video, minutes)
            started = time.perf_counter()
            peak = peak_mib(video, Path(folder) / "features", args.crop)
            first = first or peak
            print(
                f"{minutes:6g} min: peak {peak:7.1f} MiB ({peak / first:.3f} of the first), "
                f"{time.perf_counter() - started:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
