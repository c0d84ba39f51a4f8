"""Video to features: decoder, flow and networks joined into one stream of snippets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hrpro import __version__
from hrpro.devices import choose_device
from hrpro.errors import UsageError, VideoError
from hrpro.extract.config import ExtractConfig
from hrpro.extract.decode import DecodeReport, FrameReader, VideoInfo
from hrpro.extract.flow import make_flow
from hrpro.extract.i3d import NUM_KINETICS_CLASSES, InceptionI3D, best_dtype, load_i3d
from hrpro.extract.prefetch import prefetch
from hrpro.extract.snippets import Sample, SnippetBlock, cut_snippets, with_flow
from hrpro.extract.weights import load_weights
from hrpro.features import Sidecar, VideoFacts, WeightsId

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

# Snippets per forward pass. On a CPU larger batches fall out of the cache.
_BATCH_SIZE = {"cpu": 2, "cuda": 32}


class SnippetOutput(NamedTuple):
    """Features and logits of a few neighbouring snippets."""

    first: int
    """Index of the first snippet in the video."""
    features: np.ndarray
    """``[B, 1024 * streams]`` float32, ``[rgb | flow]``."""
    logits: np.ndarray
    """``[B, 400]`` float32, averaged over the streams."""
    num_frames: int
    """Frames of the video seen so far, at the rate of the snippets."""
    padded: bool


@dataclass(frozen=True)
class VideoFeatures:
    """Everything the networks say about one video."""

    features: np.ndarray
    """``[T, 1024 * streams]`` float32."""
    logits: np.ndarray
    """``[T, 400]`` float32 Kinetics logits; ``[0, 400]`` if they were not kept."""
    sidecar: Sidecar
    info: VideoInfo
    report: DecodeReport


class Extractor:
    """Holds the networks of a recipe and turns videos into features, one after the other.

    Args:
        config: the recipe.
        device: ``cpu``, ``cuda``, ``cuda:1``, ...; by default a GPU if there is one.
        precision: ``float32``, ``bfloat16`` or ``float16``; by default the fastest that keeps the
            features.
        batch_size: snippets per forward pass.
        progress: show the download if the weights must be fetched first.

    Raises:
        UsageError: unknown precision, device or flow algorithm.
        WeightsError: weights are missing and cannot be fetched.
    """

    def __init__(
        self,
        config: ExtractConfig | None = None,
        *,
        device: str | None = None,
        precision: str | None = None,
        batch_size: int | None = None,
        progress: bool = True,
    ):
        self.config = config or ExtractConfig()
        self.device = choose_device(device)
        self.dtype = choose_dtype(precision, self.device)
        self.batch_size = batch_size or _BATCH_SIZE.get(self.device.type, 8)
        self.flow = make_flow(self.config.flow) if "flow" in self.config.streams else None
        self.networks: dict[str, InceptionI3D] = {}
        weights_ids = {}
        for stream in self.config.streams:
            weights = load_weights(stream, flow_weights=self.config.flow_weights, progress=progress)
            self.networks[stream] = load_i3d(
                weights.state_dict, device=self.device, dtype=self.dtype
            )
            weights_ids[stream] = WeightsId(sha256=weights.sha256, source=weights.source)
        flow = {"algorithm": self.flow.name, **self.flow.parameters()} if self.flow else None
        precision_name = str(self.dtype).removeprefix("torch.")
        self.fingerprint = self.config.fingerprint(weights_ids, flow, precision_name)

    @property
    def dim(self) -> int:
        """Width of the feature vector over all streams."""
        return 1024 * len(self.config.streams)

    def stream(self, reader: FrameReader) -> Iterator[SnippetOutput]:
        """Features block by block, in constant memory, while the decoder works ahead.

        The last item tells the number of frames and may hold no snippet.
        """
        config = self.config
        with closing(prefetch(self._blocks(reader), depth=2)) as blocks:
            for block in blocks:
                outputs = [
                    self._run(name, block, array, config.snippet, config.stride)
                    for name, array in zip(config.streams, block.arrays, strict=False)
                ]
                features = [features for features, _ in outputs] or [np.zeros((0, self.dim))]
                logits = [logits for _, logits in outputs] or [np.zeros((0, 400))]
                yield SnippetOutput(
                    block.first,
                    np.concatenate(features, axis=1).astype(np.float32),
                    np.mean(logits, axis=0).astype(np.float32),
                    block.num_frames,
                    block.padded,
                )

    def _blocks(self, reader: FrameReader) -> Iterator[SnippetBlock]:
        """Decode, add flow, cut: the part that runs in the background thread."""
        config = self.config
        samples: Iterator[Sample]
        if self.flow:
            samples = with_flow(reader, self.flow, keep_rgb="rgb" in config.streams)
        else:
            samples = ((frame,) for frame in reader)
        yield from cut_snippets(samples, config.snippet, config.stride, self.batch_size)

    @torch.inference_mode()
    def _run(
        self, name: str, block: SnippetBlock, array: np.ndarray, length: int, stride: int
    ) -> tuple[np.ndarray, np.ndarray]:
        samples = torch.from_numpy(array).to(self.device, non_blocking=True).float()
        if name == "rgb":
            samples = samples.mul_(2 / 255).sub_(1)
        output = self.networks[name](to_network_input(samples.to(self.dtype), length, stride))
        return output.features.cpu().numpy(), output.logits.cpu().numpy()

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
        path = Path(path)
        config = self.config
        features, logits = _Rows(self.dim), _Rows(NUM_KINETICS_CLASSES)
        output = None
        reader = FrameReader(
            path, fps=config.fps, short_side=config.short_side, crop=config.crop, strict=strict
        )
        with reader:
            rate = config.fps or reader.info.average_fps
            if rate is None:
                raise VideoError(f"{path}: the frame rate is unknown; give one with --fps")
            for output in self.stream(reader):
                features.append(output.features)
                if keep_logits:
                    logits.append(output.logits)
                if progress:
                    progress(float(output.num_frames / rate), reader.info.duration_s or 0.0)
        if output is None:
            raise VideoError(f"{path}: no frame could be decoded")
        report = reader.report
        joined = features.array()
        facts = self._facts(path, root, rate, output, report, len(joined))
        sidecar = Sidecar(
            fingerprint=self.fingerprint, video=facts, dim=self.dim, hrpro=__version__
        )
        return VideoFeatures(joined, logits.array(), sidecar, reader.info, report)

    @staticmethod
    def _facts(
        path: Path,
        root: str | Path | None,
        rate: Fraction,
        output: SnippetOutput,
        report: DecodeReport,
        num_snippets: int,
    ) -> VideoFacts:
        stat = path.stat()
        inside = root is not None and path.resolve().is_relative_to(Path(root).resolve())
        shown = path.resolve().relative_to(Path(root).resolve()) if inside else Path(path.name)
        return VideoFacts(
            path=shown.as_posix(),
            size_bytes=stat.st_size,
            mtime_ns=stat.st_mtime_ns,
            duration_s=round(report.duration_s, 6),
            fps=str(rate),
            num_frames=output.num_frames,
            num_snippets=num_snippets,
            corrupt_packets=report.corrupt_packets,
            truncated=report.truncated,
            padded=output.padded,
        )


class _Rows:
    """Rows of a float32 array that grows in place, so that hours of video are not held twice."""

    def __init__(self, width: int):
        self._rows = np.empty((64, width), np.float32)
        self._used = 0

    def append(self, block: np.ndarray) -> None:
        needed = self._used + len(block)
        if needed > len(self._rows):
            capacity = max(needed, len(self._rows) * 5 // 4)
            self._rows.resize((capacity, self._rows.shape[1]), refcheck=False)
        self._rows[self._used : needed] = block
        self._used = needed

    def array(self) -> np.ndarray:
        """All rows so far; nothing may be appended any more."""
        self._rows.resize((self._used, self._rows.shape[1]), refcheck=False)
        return self._rows


def to_network_input(samples: Tensor, length: int, stride: int) -> Tensor:
    """Cut a run of samples into a batch of snippets.

    Args:
        samples: ``[(B - 1) * stride + length, H, W, C]``.
        length: frames per snippet.
        stride: frames from the start of one snippet to the next.

    Returns:
        ``[B, C, length, H, W]``, channels-last in memory; no copy where snippets do not overlap.
    """
    snippets = samples.unfold(0, length, stride)  # [B, H, W, C, length]
    return snippets.permute(0, 3, 4, 1, 2).contiguous(memory_format=torch.channels_last_3d)


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
