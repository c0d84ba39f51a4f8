"""Video to features: decoder, flow and networks joined into one stream of snippets."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from hrpro.compute import ComputeOptions
from hrpro.devices import choose_device
from hrpro.errors import UsageError
from hrpro.extract.backbones import BACKBONES
from hrpro.extract.compute_threads import (
    CoreShares,
    computing_pool,
    cpu_lanes,
    decode_threads,
    flow_threads,
)
from hrpro.extract.config import ExtractConfig
from hrpro.extract.convert import TensorConverter
from hrpro.extract.decode import FrameReader
from hrpro.extract.flow.algorithms import FlowAlgorithm, make_flow
from hrpro.extract.i3d import best_dtype
from hrpro.extract.jobs import Job
from hrpro.extract.networks import Networks
from hrpro.extract.pyav import Hardware
from hrpro.extract.read_ahead import Produced, prefetch, prefetch_each
from hrpro.extract.shared_batches import run_batches
from hrpro.extract.snippet_cutting import Sample, SnippetBlock, cut_snippets, with_flow
from hrpro.extract.snippet_network import (
    CONVOLUTIONS,
    Convolutions,
    SnippetNetwork,
    load_snippet_network,
)
from hrpro.extract.video_progress import Video, VideoFeatures
from hrpro.extract.waits import Waits
from hrpro.features import WeightsId

__all__ = ["Extractor", "SnippetOutput", "VideoFeatures", "choose_dtype"]

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

CONVERT = ("cpu", "device")
DECODE = ("auto", "cpu", "gpu")

# Snippets per forward pass. On a CPU larger batches fall out of the cache.
_BATCH_SIZE = {"cpu": 2, "cuda": 32}

# New frames in one block on its way from a decoder to the networks: few, so that little memory
# waits, and enough that neighbouring blocks repeat little where snippets overlap.
_BLOCK_FRAMES = 64


# Videos that are open at the same time; each holds blocks of frames.
_VIDEOS_AT_ONCE = 16


class SnippetOutput(NamedTuple):
    """Features and logits of a few neighbouring snippets."""

    first: int
    """Index of the first snippet in the video."""
    features: np.ndarray
    """``[B, dim]`` float32, ``[rgb | flow]``."""
    logits: np.ndarray
    """``[B, 400]`` float32, averaged over the streams."""
    num_frames: int
    """Frames of the video seen so far, at the rate of the snippets."""
    padded: bool


class Extractor:
    """Holds the networks of a recipe and turns videos into features.

    Args:
        config: the recipe.
        compute: device, precision, batch size and compilation of the networks.
        progress: show the download if the weights must be fetched first.

    Raises:
        UsageError: unknown precision, device or flow algorithm.
        WeightsError: weights are missing and cannot be fetched.
    """

    def __init__(
        self,
        config: ExtractConfig | None = None,
        compute: ComputeOptions | None = None,
        *,
        progress: bool = True,
    ):
        compute = compute or ComputeOptions()
        self.config = config or ExtractConfig()
        self.device = choose_device(compute.device)
        self.dtype = choose_dtype(compute.precision, self.device)
        self.decode_threads = decode_threads(self.device)
        self._cores = CoreShares(self.decode_threads)
        self.waits = Waits()
        self._decoding = choose_decoding(compute, self.device, self.decode_threads)
        self._decoding["waits"] = self.waits
        self.flow: FlowAlgorithm | None = None
        if "flow" in self.config.streams:
            self.flow = make_flow(self.config.flow, device=self.device, progress=progress)
            self.flow_threads = flow_threads(getattr(self.flow, "device", None))
            self.flow_pool = computing_pool(self.flow_threads, name="flow")
        self.backbone = BACKBONES[self.config.backbone]
        convolutions = choose_convolutions(compute, self.backbone.name)
        self.networks: dict[str, SnippetNetwork] = {}
        weights_ids: dict[str, WeightsId] = {}
        for stream in self.config.streams:
            self.networks[stream], weights_ids[stream] = load_snippet_network(
                self.backbone,
                stream,
                device=self.device,
                dtype=self.dtype,
                convolutions=convolutions,
                flow_weights=self.config.flow_weights,
                progress=progress,
            )
        flow = {"algorithm": self.flow.name, **self.flow.parameters()} if self.flow else None
        self.runner = Networks(
            self.networks,
            device=self.device,
            length=self.config.snippet,
            stride=self.config.stride,
            batch_size=compute.batch_size or _BATCH_SIZE.get(self.device.type, 8),
            lanes=cpu_lanes() if self.device.type == "cpu" else 1,
            compile=compute.compile,
            graphs=convolutions == "2d",
            exact=self.dtype == torch.float32,
        )
        precision_name = str(self.dtype).removeprefix("torch.")
        self.fingerprint = self.config.fingerprint(weights_ids, flow, precision_name)

    @property
    def dim(self) -> int:
        """Width of the feature vector over all streams."""
        return self.backbone.dim * len(self.config.streams)

    @property
    def batch_size(self) -> int:
        """Snippets per forward pass; smaller than at first after the device ran out of memory."""
        return self.runner.batch_size

    def stream(self, reader: FrameReader) -> Iterator[SnippetOutput]:
        """Features piece by piece, in constant memory, while the decoder works ahead.

        The last item tells the number of frames and may hold no snippet.
        """
        with closing(prefetch(self.blocks(reader), depth=2)) as blocks:
            for part, features, logits in run_batches(((None, b) for b in blocks), self.runner):
                assert part.block is not None  # there are no marks among ours
                yield SnippetOutput(
                    part.first,
                    features.reshape(len(part), self.dim),
                    logits.reshape(len(part), self.backbone.num_classes),
                    part.block.num_frames,
                    part.block.padded,
                )

    def extract(
        self,
        path: str | Path,
        *,
        root: str | Path | None = None,
        strict: bool = False,
        keep_logits: bool = True,
        progress: Callable[[float, float], None] | None = None,
    ) -> VideoFeatures:
        """Features of a whole video.

        Args:
            path: a local video file.
            root: folder that the path in the sidecar is relative to; the video's own by default.
            strict: fail on a truncated video instead of keeping what could be decoded.
            keep_logits: without, the logits are empty and need no memory.
            progress: called with the time that is done and the duration by the header (0 where it
                has none), both in seconds.

        Raises:
            VideoError: the file is not a video that can be used; one line with the reason.
        """
        job = Job(Path(path), Path(root) if root is not None else None, strict)
        report = (lambda _, done_s, duration_s: progress(done_s, duration_s)) if progress else None
        [(_, result)] = self.extract_many([job], keep_logits=keep_logits, progress=report)
        if isinstance(result, Exception):
            raise result
        return result

    def extract_many(
        self,
        jobs: Iterable[Job | None],
        *,
        keep_logits: bool = False,
        progress: Callable[[Job, float, float], None] | None = None,
        started: Callable[[Job], None] | None = None,
    ) -> Generator[tuple[Job, VideoFeatures | Exception]]:
        """Features of many videos, several of them under way at once, in constant memory.

        Decoding runs ahead in threads; batches hold the snippets of several videos. An error of
        one video is its result, and the others go on. Close the iterator to stop early.

        Args:
            jobs: taken one by one as decoding gets on. It must not block; None says that there is
                no job at hand right now: then what was decoded is finished, and `jobs` is asked
                again soon. So jobs may be handed out as results come back.
            keep_logits: without, the logits are empty and need no memory.
            progress: called with a job, the time that is done and the duration by the header (0
                where it has none), both in seconds.
            started: called with a job before its file is opened, in the thread that decodes it.

        Yields:
            A job and its features, or its error (`VideoError` where the file cannot be used), as
            soon as it is complete; not in the order of the jobs.

        Raises:
            HrproError: the device has no memory even for a single snippet.
        """

        def video_of(job: Job) -> Video:
            return Video(
                job,
                self.config,
                dim=self.dim,
                num_classes=self.backbone.num_classes,
                keep_logits=keep_logits,
            )

        videos = (None if job is None else video_of(job) for job in jobs)

        def decode(video: Video) -> Iterator[SnippetBlock]:
            if started:
                started(video.job)
            with (
                self._cores.taken() as threads,
                video.open(threads=threads, **self._decoding) as pictures,
            ):
                yield from self.blocks(pictures)

        at_once = min(self.decode_threads, _VIDEOS_AT_ONCE)
        produced = prefetch_each(videos, decode, threads=at_once, depth=2)
        with (
            closing(produced),
            closing(run_batches(map(_tagged, self.waits.pictures(produced)), self.runner)) as rows,
        ):
            for part, features, logits in self.waits.of("networks", rows):
                video = part.owner
                if part.block is None:
                    yield video.job, video.result(self.fingerprint)
                    continue
                done_s = video.add(part.block, features, logits)
                if progress:
                    progress(video.job, done_s, video.duration_s)

    def blocks(self, frames: Iterable[np.ndarray]) -> Iterator[SnippetBlock]:
        """Add flow to frames and cut them: what runs in background threads, after the decoder."""
        config = self.config
        samples: Iterator[Sample]
        if self.flow:
            samples = with_flow(
                frames,
                self.flow,
                keep_rgb="rgb" in config.streams,
                bits=config.flow_bits,
                pool=self.flow_pool,
                ahead=max(2, self.flow_threads // max(1, self._cores.num_taken)),
            )
            samples = self.waits.of("flow", samples)
        else:
            samples = ((frame,) for frame in frames)
        per_block = max(1, _BLOCK_FRAMES // config.stride)
        yield from cut_snippets(samples, config.snippet, config.stride, per_block)


def _tagged(produced: Produced | None) -> tuple[Video, SnippetBlock | None] | None:
    if produced is None:
        return None
    if produced.item is None:
        produced.job.error = produced.error
    return produced.job, produced.item


def choose_decoding(
    compute: ComputeOptions, device: torch.device, num_threads: int
) -> dict[str, Any]:
    """How frames are decoded and converted: options of `FrameReader`.

    Args:
        compute: the person's choice.
        device: where the networks are.
        num_threads: that convert pictures; without others, the one that decodes does it, too.

    Raises:
        UsageError: no such way.
    """
    convert = compute.convert or ("device" if device.type == "cuda" else "cpu")
    decode = compute.decode or "auto"
    if convert not in CONVERT:
        raise UsageError(f"--convert {convert}: choose one of {', '.join(CONVERT)}")
    if decode not in DECODE:
        raise UsageError(f"--decode {decode}: choose one of {', '.join(DECODE)}")
    decoding: dict[str, Any] = {}
    if decode == "gpu":
        kept = device.type == "cuda" and convert == "device"
        decoding["hardware"] = Hardware(device.index or 0, keeps_frames=kept)
    if convert == "device":
        decoding["converter"] = partial(TensorConverter, device=device)
    if num_threads > 1:
        decoding["pool"] = ThreadPoolExecutor(num_threads, "convert")
    return decoding


def choose_convolutions(compute: ComputeOptions, backbone: str = "i3d") -> Convolutions:
    """How I3D is computed. That of a GPU has to be asked for until it has been measured on one.

    Args:
        compute: the person's choice.
        backbone: which network it is.

    Raises:
        UsageError: no such way, or not together with another option.
    """
    given = compute.convolutions or "3d"
    chosen = next((each for each in CONVOLUTIONS if each == given), None)
    if chosen is None:
        raise UsageError(f"--convolutions {given}: choose one of {', '.join(CONVOLUTIONS)}")
    if chosen == "2d" and backbone != "i3d":
        raise UsageError(f"--convolutions 2d: only for --backbone i3d, not {backbone}")
    if chosen == "2d" and compute.compile:
        raise UsageError("--convolutions 2d runs as a CUDA graph as it is; leave out --compile")
    return chosen


def choose_dtype(precision: str | None, device: torch.device) -> torch.dtype:
    """The named precision, or the fastest that keeps the features on `device`.

    Raises:
        UsageError: no such precision.
    """
    if precision is None or precision == "auto":
        return best_dtype(device)
    if precision not in PRECISIONS:
        raise UsageError(f"--precision {precision}: choose one of auto, {', '.join(PRECISIONS)}")
    return PRECISIONS[precision]
