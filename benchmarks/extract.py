"""How fast features are extracted: the networks against a plain I3D, the whole against its parts.

    python benchmarks/extract.py                          # everything, on generated videos
    python benchmarks/extract.py --parts reading,flow,commands --repeats 1
    python benchmarks/extract.py --parts pipeline --short-videos 40 --repeats 1
    python benchmarks/extract.py --device cuda            # RGB, RGB + DIS, TV-L1 and RAFT
    python benchmarks/extract.py my_video.mp4 --flow dis,farneback

All numbers come from one run on one machine, so their ratios mean something. The plain I3D is the
same architecture with the same weights in float32, channels first, BatchNorm not folded: what a
research repository runs.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import av
import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from hrpro.compute import ComputeOptions
from hrpro.devices import choose_device, full_float32
from hrpro.extract.compute_threads import computing_pool, cores_per_device, flow_threads
from hrpro.extract.config import ExtractConfig
from hrpro.extract.convert import TensorConverter
from hrpro.extract.decode import FrameReader, probe
from hrpro.extract.extractor import Extractor
from hrpro.extract.faster import CudaGraph
from hrpro.extract.flow.algorithms import FlowAlgorithm, make_flow
from hrpro.extract.flow.tvl1 import TvL1, solvers_for
from hrpro.extract.geometry import FrameConverter, MakeConverter
from hrpro.extract.i3d import InceptionI3D, MaxPoolSame, same_padding
from hrpro.extract.jobs import Job
from hrpro.extract.read_ahead import prefetch_each
from hrpro.extract.shared_batches import run_batches
from hrpro.extract.snippet_cutting import with_flow
from hrpro.extract.snippet_network import CONVOLUTIONS
from hrpro.extract.weights.library import available, load_weights

SHORT_S = 3
SAMPLE_S = 16
"""Seconds of a long video on which its parts are measured; the frames are held in memory."""
DISTINCT_SHORT_VIDEOS = 10


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Median seconds of `work` over `repeats` runs, after one to warm up."""
    work()
    return statistics.median(measure(work)[0] for _ in range(repeats))


def measure(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of one run of `work`, by the clock and by the CPU cores together."""
    started, cpu_started = time.perf_counter(), time.process_time()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started, time.process_time() - cpu_started


class PlainPool(nn.Module):
    """Max pooling as the research repositories have it: pad with zeros, then `F.max_pool3d`."""

    def __init__(self, pool: MaxPoolSame):
        super().__init__()
        self.kernel, self.stride = pool.kernel, pool.stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pool ``[B, C, T, H, W]``."""
        sizes = zip(x.shape[2:], self.kernel, self.stride, strict=True)
        pads = [same_padding(*axis) for axis in sizes]
        padded = F.pad(x, [side for axis in reversed(pads) for side in axis])
        return F.max_pool3d(padded, self.kernel, self.stride)


def plain_i3d(device: torch.device) -> InceptionI3D:
    """Float32, channels first, BatchNorm apart, PyTorch's own pooling."""
    network = InceptionI3D(in_channels=3)
    network.load_state_dict(load_weights("rgb").state_dict, strict=False)
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, MaxPoolSame):
                setattr(module, name, PlainPool(child))
    return network.eval().to(device)


def network_rates(device: torch.device, batch_size: int, repeats: int) -> None:
    """Snippets per second of the networks alone, on tensors that are ready."""
    torch.manual_seed(0)
    x = torch.rand(batch_size, 3, 16, 224, 224, device=device) * 2 - 1
    rates, outputs = {}, {}
    plain = plain_i3d(device)
    with torch.inference_mode():
        rates["plain float32"] = batch_size / seconds(lambda: plain(x), repeats)
        outputs["plain float32"] = plain(x).features
        for precision, form in itertools.product(("float32", "auto"), CONVOLUTIONS):
            compute = ComputeOptions(str(device), precision, convolutions=form)
            extractor = Extractor(compute=compute)
            network = extractor.networks["rgb"]
            ready = x.to(extractor.dtype).contiguous(memory_format=torch.channels_last_3d)
            exact = full_float32(device) if precision == "float32" else nullcontext()
            label = f"ours {extractor.fingerprint.precision}, {form}"
            ways = {label: network}
            if device.type == "cuda":
                ways[f"{label}, as CUDA graph"] = CudaGraph(network)
            with exact:  # as the extraction runs it, without TF32
                for name, way in ways.items():
                    rates[name] = batch_size / seconds(partial(way, ready), repeats)
                    outputs[name] = way(ready).features
    reference = outputs["plain float32"]
    for label, rate in rates.items():
        found = outputs[label]
        error = ((found - reference).abs().max() / reference.abs().max()).item()
        cosine = torch.cosine_similarity(found, reference).min().item()
        print(
            f"  {label:32} {rate:7.2f} snippets/s  {rate / rates['plain float32']:5.2f}x  "
            f"max error {error:.1e}  min cosine {cosine:.5f}"
        )


class Cost(NamedTuple):
    """What a part of the extraction costs for a workload, alone on the machine."""

    name: str
    clock_s: float
    cpu_s: float
    """Of all cores together; nothing for what waits for a GPU."""
    gpu_s: float


def cost(name: str, work: Callable[[], object], scale: float, repeats: int, on_gpu: bool) -> Cost:
    """Measure a part on a sample; `scale` leads from the sample to the workload."""
    work()
    clock_s, cpu_s = min(measure(work) for _ in range(repeats))
    return Cost(name, clock_s * scale, 0 if on_gpu else cpu_s * scale, clock_s * scale * on_gpu)


def parts_alone(
    extractor: Extractor, videos: list[Path], sample: list[list[np.ndarray]], repeats: int
) -> list[Cost]:
    """Decoding of all videos; flow and networks on a sample of their frames, in memory."""
    on_gpu = extractor.device.type == "cuda"
    num_frames = 0

    def decode() -> None:
        nonlocal num_frames
        threads = extractor.decode_threads
        with closing(prefetch_each(videos, FrameReader, threads=threads, depth=64)) as produced:
            num_frames = sum(each.item is not None for each in produced)

    decoding = cost("decode", decode, 1.0, repeats, False)
    scale = num_frames / sum(map(len, sample))
    costs = [decoding]
    if extractor.flow:

        def flow() -> None:
            for frames in sample:
                ahead = extractor.flow_threads
                samples = with_flow(
                    frames, extractor.flow, keep_rgb=False, pool=extractor.flow_pool, ahead=ahead
                )
                for _ in samples:
                    pass

        device = torch.device(getattr(extractor.flow, "device", "cpu"))
        costs.append(cost(extractor.flow.name, flow, scale, repeats, device.type == "cuda"))
    blocks = [(None, block) for frames in sample for block in extractor.blocks(frames)]

    def networks() -> None:
        for _ in run_batches(blocks, extractor.runner):
            pass

    return [*costs, cost("networks", networks, scale, repeats, on_gpu)]


def whole_extraction(
    label: str, extractor: Extractor, videos: list[Path], sample_s: float, repeats: int
) -> None:
    """Print what the parts need alone, what bounds them together, and what the whole needs."""
    sample = []
    for video in videos[:DISTINCT_SHORT_VIDEOS]:
        with FrameReader(video) as reader:
            sample.append(list(itertools.islice(reader, round(sample_s * 25))))
    costs = parts_alone(extractor, videos, sample, repeats)
    num_frames = 0

    def whole() -> None:
        nonlocal num_frames
        results = [result for _, result in extractor.extract_many(map(Job, videos))]
        num_frames = sum(result.sidecar.video.num_frames for result in results)

    clock_s, used_s = min(measure(whole) for _ in range(repeats))
    slowest = max(costs, key=lambda part: part.clock_s)
    num_cores = cores_per_device()
    cpu_s = sum(part.cpu_s for part in costs) / num_cores
    floors = {
        slowest.name: slowest.clock_s,
        f"{num_cores} CPU cores": cpu_s,
        "the GPU": sum(part.gpu_s for part in costs),
    }
    bound = max(floors, key=lambda name: floors[name])
    rates = "  ".join(f"{part.name} {num_frames / part.clock_s:5.0f}" for part in costs)
    print(
        f"  {label:32} whole {num_frames / clock_s:5.0f} frames/s on "
        f"{used_s / clock_s:.2f} cores | alone: {rates} | "
        f"{clock_s / slowest.clock_s:.2f}x the slowest part alone, "
        f"{clock_s / floors[bound]:.2f}x the floor (bound by {bound})"
    )


def make_video(path: Path, duration_s: int, seed: int, size: tuple[int, int] = (640, 360)) -> Path:
    """Write pictures at 30 per second: a camera that pans, a square that runs about."""
    (width, height), side, fps = size, 120, 30
    rng = np.random.default_rng(seed)

    def texture(rows: int, columns: int) -> np.ndarray:
        blurred = cv2.GaussianBlur(rng.random((rows, columns, 3), np.float32), (0, 0), 3)
        return cv2.normalize(blurred, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)

    ground, square = texture(height + 200, width + 400), texture(side, side)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=fps, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(duration_s * fps):
            left, top = 200 + 150 * np.sin(number / 40), 100 + 80 * np.cos(number / 55)
            picture = ground[round(top) :, round(left) :][:height, :width].copy()
            x = round((width - side) * (0.5 + 0.45 * np.sin(number / 20)))
            y = round((height - side) * (0.5 + 0.45 * np.sin(number / 13)))
            picture[y : y + side, x : x + side] = square
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode())
    return path


def make_short_videos(folder: Path, count: int) -> list[Path]:
    """Write `count` videos of a few seconds; a few distinct ones, the others copies."""
    distinct = [
        make_video(folder / f"{number:04}.mp4", SHORT_S, number)
        for number in range(min(count, DISTINCT_SHORT_VIDEOS))
    ]
    copies = [
        shutil.copy(distinct[number % len(distinct)], folder / f"{number:04}.mp4")
        for number in range(len(distinct), count)
    ]
    return distinct + [Path(copy) for copy in copies]


def pipeline(args: argparse.Namespace, device: torch.device, folder: Path) -> None:
    """Whole extractions of one long video and of many short ones, for each recipe."""
    long = args.video or make_video(folder / "long.mp4", args.long_seconds, 1000)
    short = make_short_videos(folder, args.short_videos)
    flow_weights = "kinetics400" if available("flow") else "cross-modal"
    recipes = {"RGB": ExtractConfig()}
    for flow in args.flow or (["dis", "tvl1", "raft"] if device.type == "cuda" else ["dis"]):
        recipes[f"RGB + {flow}"] = ExtractConfig(
            streams=("rgb", "flow"), flow=flow, flow_weights=flow_weights
        )
    for label, config in recipes.items():
        extractor = Extractor(
            config,
            ComputeOptions(
                device=str(device),
                precision=args.precision,
                batch_size=args.batch_size,
                compile=args.compile,
                convolutions=args.convolutions,
            ),
        )
        name = f"{label} ({extractor.fingerprint.precision})"
        duration_s = probe(long).duration_s or 0
        whole_extraction(f"{name}, {duration_s:.0f} s", extractor, [long], SAMPLE_S, args.repeats)
        if short:
            whole_extraction(
                f"{name}, {len(short)} x {SHORT_S} s", extractor, short, SHORT_S, args.repeats
            )


def thread_counts() -> list[int]:
    """1, 2, 4, ... up to the cores there are."""
    return [count for count in (2**k for k in range(8)) if count <= cores_per_device()]


def reading(args: argparse.Namespace, device: torch.device, folder: Path) -> None:
    """Decode, convert and resize one 1280 x 720 video; FFmpeg's decoding alone is the limit."""
    video = make_video(folder / "720p.mp4", 10, 2000, (1280, 720))
    converters: dict[str, MakeConverter] = {
        "cpu": FrameConverter,
        f"tensors on {device}": partial(TensorConverter, device=device),
    }
    for threads in thread_counts():
        limit = decoding_rate(video, threads)
        with ThreadPoolExecutor(threads) as executor:
            for name, converter in converters.items():
                pool = executor if threads > 1 else None

                options = {"threads": threads, "pool": pool, "converter": converter}
                rate = 250 / seconds(partial(read_all, video, options), args.repeats)
                print(
                    f"  {threads:2} threads, convert {name:16} {rate:6.0f} frames/s at 25 a second"
                    f" | FFmpeg alone {limit:6.0f} frames/s of the file"
                )


def read_all(video: Path, options: dict[str, Any]) -> None:
    """Take all pictures of a video."""
    with FrameReader(video, **options) as reader:
        for _ in reader:
            pass


def decoding_rate(video: Path, threads: int) -> float:
    """Frames a second that FFmpeg decodes with so many threads, and nothing else."""
    num_frames = 0

    def decode() -> None:
        nonlocal num_frames
        with av.open(str(video)) as file:
            file.streams.video[0].thread_type = "FRAME"
            file.streams.video[0].codec_context.thread_count = threads
            num_frames = sum(1 for _ in file.decode(video=0))

    fastest_s = min(measure(decode)[0] for _ in range(3))
    return num_frames / fastest_s


def flows(args: argparse.Namespace, device: torch.device, folder: Path) -> None:
    """Pairs a second of the flow algorithms, by threads; what one thread gives is the measure."""
    with FrameReader(make_video(folder / "flow.mp4", 12, 3000)) as reader:
        frames = list(reader)
    before = torch.get_num_threads()
    for name, make in flow_makers(args.flow or ["dis", "farneback", "tvl1"], device).items():
        first = 0.0
        for threads in thread_counts():
            torch.set_num_threads(threads)
            algorithm = make()
            own = getattr(algorithm, "device", None)
            on_gpu = own is not None and own.type == "cuda"
            if on_gpu:
                threads = flow_threads(own)
            num_pairs = min(2 * algorithm.chunk if on_gpu else 64, len(frames) - 1)
            with computing_pool(threads, name="flow") as pool:
                run = partial(all_flow, frames[: num_pairs + 1], algorithm, pool, 2 * threads)
                started, _ = measure(run)
                rate = num_pairs / seconds(run, args.repeats)
            first = first or rate
            print(
                f"  {name:16} {threads:2} threads {rate:7.1f} pairs/s, {rate / first:5.2f}x the "
                f"first row, first call {started:.1f} s"
            )
            if on_gpu:
                break
    torch.set_num_threads(before)


def flow_makers(names: list[str], device: torch.device) -> dict[str, Callable[[], FlowAlgorithm]]:
    """What makes the algorithms; TV-L1 with each of its solvers."""
    makers: dict[str, Callable[[], FlowAlgorithm]] = {}
    for name in names:
        if name == "tvl1":
            for solver in solvers_for(device):
                makers[f"tvl1 ({solver.name})"] = partial(TvL1, device, solver=solver)
        else:
            makers[name] = partial(make_flow, name, device=device)
    return makers


def all_flow(
    frames: list[np.ndarray], algorithm: FlowAlgorithm, pool: Executor, ahead: int
) -> None:
    """Take the flow of all frames."""
    for _ in with_flow(frames, algorithm, keep_rgb=False, pool=pool, ahead=ahead):
        pass


def commands(args: argparse.Namespace, device: torch.device, folder: Path) -> None:
    """`hrpro detect` and `hrpro extract` with the same snippets; the second is the limit."""
    videos = folder / "many"
    videos.mkdir()
    make_short_videos(videos, min(args.short_videos, 20))
    common = [sys.executable, "-m", "hrpro"], ["--streams", "rgb", "--device", str(device), "-q"]
    extract = ["extract", str(videos), "--stride", "8", "-o", str(folder / "features")]
    detect = ["detect", str(videos), "--out", str(folder / "result.json")]
    taken = {}
    for words in (extract, detect):
        started = time.perf_counter()
        subprocess.run([*common[0], *words, *common[1]], check=True, stdout=subprocess.DEVNULL)
        taken[words[0]] = time.perf_counter() - started
    print(
        f"  {len(list(videos.iterdir()))} videos of {SHORT_S} s: detect {taken['detect']:.1f} s, "
        f"extract {taken['extract']:.1f} s, {taken['detect'] / taken['extract']:.2f}x"
    )


def other_way(args: argparse.Namespace, device: torch.device, folder: Path) -> None:
    """As video_features does it: FFmpeg writes the video anew at 25 frames a second, then I3D."""
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        print("  not measured: there is no ffmpeg on the path")
        return
    video = make_video(folder / "other.mp4", 20, 4000)
    plain, ours = plain_i3d(device), Extractor(compute=ComputeOptions(str(device)))

    def theirs() -> None:
        again = folder / "again.mp4"
        command = [ffmpeg, "-y", "-loglevel", "error", "-i", str(video), "-filter:v", "fps=25"]
        subprocess.run([*command, str(again)], check=True)
        with FrameReader(again, fps=None) as reader, torch.inference_mode():
            for _, snippet in itertools.groupby(enumerate(reader), lambda each: each[0] // 16):
                frames = torch.from_numpy(np.stack([frame for _, frame in snippet])).to(device)
                if len(frames) == 16:
                    plain(frames.permute(3, 0, 1, 2)[None].float() * (2 / 255) - 1)

    rates = [500 / seconds(work, args.repeats) for work in (theirs, lambda: ours.extract(video))]
    print(
        f"  20 s: re-encoded, plain I3D {rates[0]:.0f} frames/s; hrpro {rates[1]:.0f} frames/s, "
        f"{rates[1] / rates[0]:.1f}x"
    )


PARTS = {
    "reading": ("reading a video, frames per second:", reading),
    "flow": ("flow alone, 224 x 224:", flows),
    "commands": ("detection against extraction:", commands),
    "other": ("against FFmpeg's re-encoding and a plain I3D:", other_way),
    "pipeline": ("whole extraction, frames per second:", pipeline),
}


def main() -> None:
    """Run all parts and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", nargs="?", type=Path, help="instead of the generated long video")
    parser.add_argument(
        "--parts",
        default=",".join(["networks", *PARTS]),
        type=lambda text: text.split(","),
        help="which, separated by commas (%(default)s)",
    )
    parser.add_argument("--device")
    parser.add_argument("--precision")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--convolutions", choices=CONVOLUTIONS, help="of the whole extraction")
    parser.add_argument(
        "--flow", type=lambda text: text.split(","), help="algorithms (CPU dis; GPU dis,tvl1,raft)"
    )
    parser.add_argument("--short-videos", type=int, default=200, help="how many (%(default)s)")
    parser.add_argument(
        "--long-seconds", type=int, default=60, help="of the generated long video (%(default)s)"
    )
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    device = choose_device(args.device)
    print(f"{device}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    if "networks" in args.parts:
        print("networks alone, 16 frames of 224 x 224, against a plain I3D:")
        network_rates(device, args.batch_size or (32 if device.type == "cuda" else 2), args.repeats)
    for name, (title, part) in PARTS.items():
        if name in args.parts:
            print(title, flush=True)
            with tempfile.TemporaryDirectory() as folder:
                part(args, device, Path(folder))


if __name__ == "__main__":
    main()
