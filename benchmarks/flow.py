"""How fast the optical flow algorithms are, and how close TV-L1 comes to OpenCV's.

    python benchmarks/flow.py                           # on a generated video
    python benchmarks/flow.py my_video.mp4 --flows dis,tvl1,raft
    python benchmarks/flow.py my_video.mp4 --opencv-python other/venv/bin/python

OpenCV's TV-L1 is not in opencv-python but in opencv-contrib-python-headless, which cannot be
installed beside it: give the Python of another environment that has it. It runs as a process of its
own, on the same frames, with OpenCV's own threads.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from hrpro.devices import choose_device
from hrpro.extract.compute_threads import computing_pool, flow_threads
from hrpro.extract.decode import FrameReader
from hrpro.extract.flow.algorithms import ALGORITHMS, make_flow, scale_flow, to_grey
from hrpro.extract.i3d import load_i3d
from hrpro.extract.weights.library import load_weights

SNIPPET = 16

OPENCV_TVL1 = """
import sys, time, cv2, numpy as np
frames = np.load(sys.argv[1])
algorithm = cv2.optflow.DualTVL1OpticalFlow_create()
algorithm.calc(frames[0], frames[1], None)
started = time.perf_counter()
fields = [algorithm.calc(here, there, None) for here, there in zip(frames[:-1], frames[1:])]
seconds = time.perf_counter() - started
np.save(sys.argv[2], np.stack(fields))
print(seconds, cv2.__version__, cv2.getNumThreads())
"""


def read_frames(video: Path, count: int) -> np.ndarray:
    """The first frames as the flow stream sees them, ``[N, 224, 224, 3]`` uint8 RGB."""
    with FrameReader(video) as reader:
        return np.stack(list(islice(reader, count)))


def run(name: str, frames: np.ndarray, device: torch.device, repeats: int) -> float:
    """Print the rate of one algorithm, used as extraction does; return seconds per pair."""
    algorithm = make_flow(name, device=device)
    given = frames if algorithm.wants_rgb else to_grey(frames)
    num_pairs = len(frames) - 1
    chunks = [given[k : k + algorithm.chunk + 1] for k in range(0, num_pairs, algorithm.chunk)]
    algorithm(chunks[0])
    times = []
    threads = flow_threads(getattr(algorithm, "device", None))
    with computing_pool(threads, name="flow") as pool:
        for _ in range(repeats):
            started = time.perf_counter()
            list(pool.map(algorithm, chunks))  # they come back when they are done, on a GPU, too
            times.append((time.perf_counter() - started) / num_pairs)
    seconds = statistics.median(times)
    print(f"  {name:12} {1 / seconds:8.2f} frames/s  {1000 * seconds:8.2f} ms")
    return seconds


def run_opencv(python: Path, grey: np.ndarray) -> tuple[float, np.ndarray]:
    """OpenCV's TV-L1 in another interpreter: seconds per pair, and ``[N, H, W, 2]``."""
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder) / "frames.npy", Path(folder) / "flow.npy"
        np.save(given, grey)
        command = [python, "-c", OPENCV_TVL1, given, found]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        seconds, version, threads = output.split()
        per_pair = float(seconds) / (len(grey) - 1)
        label = f"OpenCV {version}'s TV-L1, {threads} threads"
        print(f"  {label:12} {1 / per_pair:8.2f} frames/s  {1000 * per_pair:8.2f} ms")
        return per_pair, np.load(found)


def compare(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Print the mean end-point error, and the cosine of the features of each snippet."""
    error = np.linalg.norm(ours - theirs, axis=-1)
    moving = np.linalg.norm(theirs, axis=-1) > 0.5
    where = f"{error[moving].mean():.4f} px" if moving.any() else "nothing"
    print(
        f"  end-point error {error.mean():.4f} px; where the flow is over 0.5 px "
        f"({moving.mean():.0%}, longest {np.linalg.norm(theirs, axis=-1).max():.0f} px): {where}"
    )
    weights = load_weights("flow", flow_weights="cross-modal")
    network = load_i3d(weights.state_dict, device=torch.device("cpu"), dtype=torch.float32)
    cosines = []
    for start in range(0, len(ours) - SNIPPET + 1, SNIPPET):
        clips = [scale_flow(flow[start : start + SNIPPET]) for flow in (ours, theirs)]
        with torch.inference_mode():
            batch = torch.from_numpy(np.stack(clips)).permute(0, 4, 1, 2, 3)
            cosines.append(torch.cosine_similarity(*network(batch).features, dim=0).item())
    if cosines:
        print(
            f"  cosine of I3D flow features (cross-modal weights), {len(cosines)} snippets: "
            f"lowest {min(cosines):.5f}"
        )


def main() -> None:
    """Run everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", nargs="?", type=Path)
    parser.add_argument("--flows", default="dis,farneback,tvl1", help="names, with commas")
    parser.add_argument("--pairs", type=int, default=32)
    parser.add_argument("--device")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--opencv-python", type=Path, metavar="PATH")
    args = parser.parse_args()
    names = args.flows.split(",")
    if unknown := set(names) - ALGORITHMS.keys():
        parser.error(f"--flows: no {', '.join(unknown)}; choose from {', '.join(ALGORITHMS)}")
    device = choose_device(args.device)
    print(f"{device}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        video = args.video
        if video is None:
            from hrpro.pipeline.demo.videos import make_short_video

            video = Path(folder) / "video.mp4"
            make_short_video(video, seed=0)
        frames = read_frames(video, args.pairs + 1)
    print(
        f"flow of {len(frames) - 1} pairs of {video.name}, {frames.shape[2]} x {frames.shape[1]}:"
    )
    seconds = {name: run(name, frames, device, args.repeats) for name in names}
    if args.opencv_python and "tvl1" in seconds:
        grey = to_grey(frames)
        opencv_seconds, opencv_flow = run_opencv(args.opencv_python, grey)
        print(f"  ours is {opencv_seconds / seconds['tvl1']:.2f}x as fast")
        ours = torch.as_tensor(make_flow("tvl1", device=device)(grey))
        compare(ours.cpu().numpy(), opencv_flow)


if __name__ == "__main__":
    main()
