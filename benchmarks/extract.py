"""How fast features are extracted, against a plain I3D and against the bare network.

    python benchmarks/extract.py                 # on a generated one-minute video
    python benchmarks/extract.py my_video.mp4

All numbers come from one run on one machine, so their ratios mean something. The plain I3D is the
same architecture with the same weights in float32, channels first, BatchNorm not folded: what a
research repository runs.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from hrpro.devices import choose_device
from hrpro.extract.config import ExtractConfig
from hrpro.extract.decode import FrameReader
from hrpro.extract.extractor import Extractor
from hrpro.extract.i3d import InceptionI3D, MaxPoolSame, same_padding
from hrpro.extract.prefetch import prefetch
from hrpro.extract.snippets import cut_snippets
from hrpro.extract.weights import load_weights


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Median seconds of `work` over `repeats` runs, after one to warm up."""
    work()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


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


def network_rates(device: torch.device, batch_size: int, repeats: int) -> dict[str, float]:
    """Snippets per second of the networks alone, on tensors that are ready."""
    torch.manual_seed(0)
    x = torch.rand(batch_size, 3, 16, 224, 224, device=device) * 2 - 1
    rates, outputs = {}, {}
    plain = plain_i3d(device)
    with torch.inference_mode():
        rates["plain float32"] = batch_size / seconds(lambda: plain(x), repeats)
        outputs["plain float32"] = plain(x).features
        for name in ("float32", "auto"):
            extractor = Extractor(ExtractConfig(), device=str(device), precision=name)
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
    return rates


def whole_extraction(video: Path, device: torch.device, precision: str, repeats: int) -> None:
    """Video to features, against the bare network on the same snippets in memory."""
    extractor = Extractor(ExtractConfig(), device=str(device), precision=precision)

    def blocks() -> list:
        config = extractor.config
        with FrameReader(video) as reader:
            samples = ((frame,) for frame in reader)
            return list(cut_snippets(samples, config.snippet, config.stride, extractor.batch_size))

    def decode_only() -> None:
        with FrameReader(video) as reader, closing(prefetch(reader)) as frames:
            for _ in frames:
                pass

    ready = blocks()
    num_snippets = sum(block.num_snippets for block in ready)

    def network_only() -> None:
        for block in ready:
            for name, array in zip(("rgb",), block.arrays, strict=False):
                extractor._run(name, block, array, 16, 16)

    decoding = seconds(decode_only, repeats)
    # Bare and whole in turns, so that both see the same machine.
    bare = seconds(network_only, repeats)
    whole = seconds(lambda: extractor.extract(video), repeats)
    bare = min(bare, seconds(network_only, repeats))
    label = extractor.fingerprint.precision
    print(
        f"  {label:9} network {num_snippets / bare:6.2f} snippets/s, "
        f"extraction {num_snippets / whole:6.2f} snippets/s: {whole / bare:.3f}x its time "
        f"(decoding alone: {decoding / bare:.2f}x)"
    )


def main() -> None:
    """Run all parts and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", nargs="?", type=Path)
    parser.add_argument("--device")
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    device = choose_device(args.device)
    print(f"{device}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print("network alone, 16 frames of 224 x 224:")
    network_rates(device, args.batch_size, args.repeats)
    with tempfile.TemporaryDirectory() as folder:
        video = args.video
        if video is None:
            from hrpro.pipeline.demo_videos import make_short_video

            video = Path(folder) / "video.mp4"
            make_short_video(video, seed=0)
        print(f"whole extraction of {video.name}:")
        for precision in dict.fromkeys(("auto", "float32")):
            whole_extraction(video, device, precision, args.repeats)


if __name__ == "__main__":
    main()
