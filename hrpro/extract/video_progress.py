"""One video on its way through the extractor: its rows so far, and the result."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from hrpro import __version__
from hrpro.errors import HrproError, VideoError
from hrpro.extract.config import ExtractConfig
from hrpro.extract.decode import DecodeReport, FrameReader, VideoInfo
from hrpro.extract.jobs import Job
from hrpro.extract.snippet_cutting import SnippetBlock
from hrpro.features import Fingerprint, Sidecar, VideoFacts

# Coarser than the ticks of all containers.
_EVEN_S = 0.002


@dataclass(frozen=True)
class VideoFeatures:
    """Everything the networks say about one video."""

    features: np.ndarray
    """``[T, dim]`` float32, 1024 per stream of I3D."""
    logits: np.ndarray
    """``[T, 400]`` float32 Kinetics logits; ``[0, 400]`` if they were not kept."""
    sidecar: Sidecar
    info: VideoInfo
    report: DecodeReport


class Video:
    """A job under way. One thread decodes it while another adds the rows that are done.

    Args:
        job: which video.
        config: the recipe.
        dim: width of the features.
        num_classes: width of the logits.
        keep_logits: without, they are dropped.
    """

    def __init__(
        self, job: Job, config: ExtractConfig, *, dim: int, num_classes: int, keep_logits: bool
    ):
        self.job = job
        self.error: Exception | None = None
        """What ended the decoding early."""
        self._config = config
        self._features = _GrowingArray(dim)
        self._logits = _GrowingArray(num_classes)
        self._keep_logits = keep_logits
        self._reader: FrameReader | None = None
        self._rate = Fraction(0)
        self._last: SnippetBlock | None = None
        self._starts_s: list[float] = []

    @contextmanager
    def open(self, **decoding: Any) -> Iterator[Iterator[np.ndarray]]:
        """The pictures of the video.

        Args:
            decoding: `threads`, `pool`, `hardware`, `converter` and `waits` of the
                `FrameReader`.

        Raises:
            VideoError: the file is not a video that can be used; one line with the reason.
        """
        config, path = self._config, self.job.path
        with FrameReader(
            path,
            fps=config.fps,
            short_side=config.short_side,
            crop=config.crop,
            strict=self.job.strict,
            stream=config.stream,
            **decoding,
        ) as reader:
            rate = config.fps or reader.info.average_fps
            if rate is None:
                raise VideoError(f"{path}: the frame rate is unknown; give one with --fps")
            self._reader, self._rate = reader, rate
            yield reader if config.fps else self._noting_times(reader)

    def _noting_times(self, reader: FrameReader) -> Iterator[np.ndarray]:
        """The pictures; at the file's own rate the times of the snippets are not evenly spread."""
        for number, (time_s, picture) in enumerate(reader.timed()):
            if number % self._config.stride == 0:
                self._starts_s.append(time_s)
            yield picture

    def _snippet_starts(
        self, num_snippets: int, num_frames: int, duration_s: float
    ) -> tuple[float, ...] | None:
        """When the snippets begin, unless the frames lie at equal distances."""
        starts_s = self._starts_s[:num_snippets]
        period_s = float(1 / self._rate)
        stride_s = self._config.stride * period_s
        even = abs(num_frames * period_s - duration_s) < period_s
        if not starts_s or (
            even and all(abs(k * stride_s - s) <= _EVEN_S for k, s in enumerate(starts_s))
        ):
            return None
        return tuple(round(start_s, 6) for start_s in starts_s)

    @property
    def duration_s(self) -> float:
        """Duration by the header, 0 where it has none."""
        assert self._reader is not None
        return self._reader.info.duration_s or 0.0

    def add(self, block: SnippetBlock, features: np.ndarray, logits: np.ndarray) -> float:
        """Append rows of a block; return the seconds of video that are done."""
        self._last = block
        if len(features):
            self._features.append(features)
            if self._keep_logits:
                self._logits.append(logits)
        return float(block.num_frames / self._rate)

    def result(self, fingerprint: Fingerprint) -> VideoFeatures | Exception:
        """The features, or what is wrong with the video; to be called once, at the end."""
        if self.error is not None:
            return self.error
        if self._last is None or self._reader is None:
            return VideoError(f"{self.job.path}: no frame could be decoded")
        features = self._features.array()
        try:
            facts = self._facts(self._last, self._reader, len(features))
        except (OSError, HrproError) as error:  # gone in the meantime
            return error
        sidecar = Sidecar(
            fingerprint=fingerprint, video=facts, dim=features.shape[1], hrpro=__version__
        )
        reader = self._reader
        return VideoFeatures(features, self._logits.array(), sidecar, reader.info, reader.report)

    def _facts(self, last: SnippetBlock, reader: FrameReader, num_snippets: int) -> VideoFacts:
        path, root, report = self.job.path, self.job.root, reader.report
        stat = path.stat()
        shown = Path(path.name)
        if root is not None and path.resolve().is_relative_to(root.resolve()):
            shown = path.resolve().relative_to(root.resolve())
        return VideoFacts(
            path=shown.as_posix(),
            size_bytes=stat.st_size,
            mtime_ns=stat.st_mtime_ns,
            duration_s=round(report.duration_s, 6),
            start_s=round(reader.info.start_s, 6),
            stream=reader.info.stream,
            fps=str(self._rate),
            num_frames=last.num_frames,
            num_snippets=num_snippets,
            corrupt_packets=report.corrupt_packets,
            lost_s=round(report.lost_s, 6),
            lost=tuple(report.lost),
            truncated=report.truncated,
            padded=last.padded,
            snippet_start_s=self._snippet_starts(num_snippets, last.num_frames, report.duration_s),
        )


class _GrowingArray:
    """Rows of float32 that grow in place, so that hours of video are not held twice."""

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
