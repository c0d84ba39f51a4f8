"""How fast features are extracted: the networks against a plain I3D, the whole against its parts.

    python benchmarks/extract.py                          # everything, on generated videos
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
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from hrpro.compute import ComputeOptions
from hrpro.devices import choose_device
from hrpro.extract.compute_threads import cores_per_device
from hrpro.extract.config import ExtractConfig
from hrpro.extract.decode import FrameReader, probe
from hrpro.extract.extractor import Extractor
from hrpro.extract.i3d import InceptionI3D, MaxPoolSame, same_padding
from hrpro.extract.jobs import Job
from hrpro.extract.read_ahead import prefetch_each
from hrpro.extract.shared_batches import run_batches
from hrpro.extract.snippet_cutting import with_flow
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
        for name in ("float32", "auto"):
            extractor = Extractor(
                ExtractConfig(), ComputeOptions(device=str(device), precision=name)
            )
            network = extractor.networks["rgb"]
            ready = x.to(extractor.dtype).contiguous(memory_format=torch.channels_last_3d)
            label = f"ours {extractor.fingerprint.precision}"
            rates[label] = batch_size / seconds(lambda n=network, r=ready: n(r), repeats)
            outputs[label] = network(ready).features
    reference = outputs["plain float32"]
    for label, rate in rates.items():
        found = outputs[label]
        error = ((found - reference).abs().max() / reference.abs().max()).item()
        cosine = torch.cosine_similarity(found, reference).min().item()
        print(
            f"  {label:16} {rate:7.2f} snippets/s  {rate / rates['plain float32']:5.2f}x  "
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


def make_video(path: Path, duration_s: int, seed: int) -> Path:
    """Write 640 x 360 pictures at 30 per second: a camera that pans, a square that runs about."""
    width, height, side, fps = 640, 360, 120, 30
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
            ),
        )
        name = f"{label} ({extractor.fingerprint.precision})"
        duration_s = probe(long).duration_s or 0
        whole_extraction(f"{name}, {duration_s:.0f} s", extractor, [long], SAMPLE_S, args.repeats)
        if short:
            whole_extraction(
                f"{name}, {len(short)} x {SHORT_S} s", extractor, short, SHORT_S, args.repeats
            )


def main() -> None:
    """Run all parts and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", nargs="?", type=Path, help="instead of the generated long video")
    parser.add_argument(
        "--parts",
        default="networks,pipeline",
        type=lambda text: text.split(","),
        help="networks, pipeline or both (%(default)s)",
    )
    parser.add_argument("--device")
    parser.add_argument("--precision")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--compile", action="store_true")
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
    if "pipeline" in args.parts:
        print("whole extraction, frames per second:")
        with tempfile.TemporaryDirectory() as folder:
            pipeline(args, device, Path(folder))


if __name__ == "__main__":
    main()
