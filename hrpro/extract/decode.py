"""The video reader: upright RGB pictures at a fixed rate, from any file, in constant memory.

with FrameReader("match.mp4") as reader, prefetch(reader) as frames:
    for picture in frames:  # uint8 [224, 224, 3] at 25 frames per second
        ...
print(reader.report)
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from concurrent.futures import Executor
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path

import av
import numpy as np

from hrpro.errors import VideoError
from hrpro.extract.frame_source import FrameSource
from hrpro.extract.frames import TimedFrame
from hrpro.extract.geometry import FrameConverter, MakeConverter, Orientation, upright
from hrpro.extract.losses import DecodeReport, describe_losses
from hrpro.extract.packets import MAX_GAP_S
from hrpro.extract.probe import VideoInfo, describe, naming, probe
from hrpro.extract.pyav import Hardware, rational, tick_s
from hrpro.extract.read_ahead import map_ahead, prefetch
from hrpro.extract.resample import Timeline, resample
from hrpro.extract.waits import Waits

__all__ = ["DecodeReport", "FrameReader", "VideoInfo", "prefetch", "probe", "upright"]


# Sound and picture of one recording begin within this time.
_AT_ONCE_S = 1.0
# Decoded frames that wait for their conversion, or are in it.
_FRAMES_AHEAD = 16
_BYTES_AHEAD = 48 << 20


class FrameReader(Iterator[np.ndarray]):
    """Iterator over the pictures of a video, and context manager that closes the file.

    Yields uint8 RGB arrays `[crop, crop, 3]` (`[H, W, 3]` without a crop), upright and with
    square pixels. The defaults are the preprocessing of kinetics-i3d: 25 fps, short side 256
    (bilinear, aspect kept), central 224 x 224.

    Picture k is the one on display at k / fps seconds after the first displayed frame (see
    `resample`); a frame that is on display for several k is the same array again, so do not write
    into it. `fps=None` yields every frame once. `timed()` gives the times with the pictures.

    Damaged packets are skipped and counted, what was lost is told in seconds, an early end is
    noted: see `report`, which is complete when the pictures are exhausted. Threads may share a
    reader; each picture goes to one of them.

    Attributes:
        info: what the file says about itself (`VideoInfo`).
        report: what decoding brought (`DecodeReport`).
    """

    def __init__(
        self,
        path: str | Path,
        fps: Fraction | int | None = Fraction(25),
        short_side: int | None = 256,
        crop: int | None = 224,
        *,
        strict: bool = False,
        threads: int = 1,
        pool: Executor | None = None,
        hardware: Hardware | None = None,
        converter: MakeConverter = FrameConverter,
        waits: Waits | None = None,
        stream: int | None = None,
    ) -> None:
        """Open a video and decode its first frame.

        Args:
            path: a local file.
            fps: output frames per second; `None` for the file's own frames.
            short_side: resize so that the shorter side has this many pixels; `None` keeps the size.
            crop: side of the central square to cut out; `None` for whole pictures, which all have
                the size of the first.
            strict: raise at damage or an early end instead of going on.
            threads: frames that are decoded at the same time. The pictures are those of one thread:
                where a file is damaged, only one goes on.
            pool: converts and resizes pictures ahead of the consumer.
            hardware: a decoder to try first; `frame_source` says how far it is trusted.
            converter: makes what converts and resizes pictures; swscale by default.
            waits: where to book how long decoding and conversion took.
            stream: which of several video streams; see `hrpro.extract.streams.choose_stream`.

        Raises:
            VideoError: not a usable video; one line that names the file and the remedy.
        """
        if fps is not None and fps <= 0:
            raise ValueError(f"fps must be positive, not {fps}")
        self.report = DecodeReport()
        self._path = Path(path)
        self._fps = None if fps is None else Fraction(fps)
        self._strict = strict
        # Closing a container while another thread decodes from it would crash the process.
        self._lock = threading.RLock()
        self._pool = pool
        self._waits = waits or Waits()
        with naming(path):
            self._source = FrameSource(
                path, self.report, threads=threads, hardware=hardware, stream=stream, strict=strict
            )
        try:
            with naming(path):
                first = next(self._source)
                self.info = describe(path, self._source.opened, self._source.decoding, first)
                self._convert = converter(
                    Orientation(self.info.rotation, self.info.mirrored),
                    rational(self._source.opened.stream.sample_aspect_ratio),
                    short_side,
                    crop,
                )
        except BaseException:
            self._source.close()
            raise
        frame_bytes = sum(plane.buffer_size for plane in first.frame.planes)
        most = max(1, _BYTES_AHEAD // max(1, frame_bytes))
        self._at_once = min(self._convert.at_once, most)
        self._ahead = max(1, min(_FRAMES_AHEAD, most) // self._at_once)
        self._pictures = self._run(self._waits.of("decoding", chain([first], self._source)))

    def __iter__(self) -> FrameReader:
        return self

    def __next__(self) -> np.ndarray:
        return self._advance()[1]

    def timed(self) -> Iterator[tuple[float, np.ndarray]]:
        """Yield `(time_s, picture)`; times count from the first displayed frame."""
        while True:
            try:
                time_s, picture = self._advance()
            except StopIteration:
                return
            yield float(time_s), picture

    def close(self) -> None:
        """Close the file; further pictures are not to be had. Safe to call again."""
        with self._lock:
            self._pictures = iter(())
            self._source.close()

    def __enter__(self) -> FrameReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _advance(self) -> tuple[Fraction, np.ndarray]:
        with self._lock, naming(self._path):
            return next(self._pictures)

    def _run(self, frames: Iterator[TimedFrame]) -> Iterator[tuple[Fraction, np.ndarray]]:
        picture: np.ndarray | None = None
        shown = self._each_once(self._on_display(self._placed(frames)))
        parts = iter(lambda: list(islice(shown, self._at_once)), [])
        converted = map_ahead(self._converted, parts, self._pool, self._ahead)
        for part, pictures in self._waits.of("conversion", converted):
            new = iter(pictures)
            for time_s, frame in part:
                picture = picture if frame is None else next(new)
                self.report.frames_out += 1
                assert picture is not None
                yield time_s, picture

    def _each_once(
        self, displayed: Iterator[tuple[Fraction, av.VideoFrame]]
    ) -> Iterator[tuple[Fraction, av.VideoFrame | None]]:
        """Say None for a frame that is on display again."""
        shown: av.VideoFrame | None = None
        for time_s, frame in displayed:
            yield time_s, None if frame is shown else frame
            shown = frame

    def _converted(self, part: list[tuple[Fraction, av.VideoFrame | None]]) -> list[np.ndarray]:
        return self._convert([frame for _, frame in part if frame is not None])

    def _on_display(
        self, placed: Iterator[tuple[Fraction, Fraction, av.VideoFrame]]
    ) -> Iterator[tuple[Fraction, av.VideoFrame]]:
        if self._fps is None:
            return ((start, frame) for start, _, frame in placed)
        return ((k / self._fps, frame) for k, frame in enumerate(resample(placed, self._fps)))

    def _placed(
        self, frames: Iterator[TimedFrame]
    ) -> Iterator[tuple[Fraction, Fraction, av.VideoFrame]]:
        """Yield each frame with its start and end in seconds; complete the report at the end."""
        period_s = self._source.decoding.period_s
        tick = tick_s(self._source.opened.stream)
        timeline = Timeline(period_s)
        for frame, time_s in frames:
            if (start := timeline.place(time_s)) is None:
                continue
            own = frame.duration * tick if frame.duration else period_s
            end = start + (own if own <= MAX_GAP_S else period_s)
            self.report.duration_s = float(end)
            yield start, end, frame
        self._complete_report(timeline, period_s)

    def _complete_report(self, timeline: Timeline, period_s: Fraction) -> None:
        report, info = self.report, self.info
        decoding, container = self._source.decoding, self._source.opened.container
        if info.note:
            report.warnings.insert(0, info.note)
        missing = report.frames_decoded if decoding.untimed else timeline.missing
        if missing and container.format.name != "avi":  # AVI never states any
            report.warnings.append(
                f"{missing} frames without a presentation time, "
                f"placed at {float(1 / period_s):g} frames per second"
            )
        if timeline.left_out:
            report.warnings.append(f"{timeline.left_out} frames at impossible times left out")
        ends_early = self._ends_early(period_s)
        if ends_early:
            report.truncated = True
            promised = info.duration_s or 0.0  # of an AVI without its index a guess
            whole = f" of {promised:.2f} s" if promised > report.duration_s else ", then it ends"
            report.warnings.append(f"decoded {report.duration_s:.2f} s{whole}")
        self._tell_losses(ends_early)
        if report.truncated and self._strict:
            raise VideoError("truncated: " + "; ".join(report.warnings))

    def _tell_losses(self, ends_early: bool) -> None:
        """Put into the report what was lost, in the file's clock."""
        report, info, losses = self.report, self.info, self._source.decoding.losses
        end_s = info.end_s
        losses.finish(None if end_s is None else Fraction(end_s + info.clock_start_s), ends_early)
        ranges = (
            (max(0.0, float(start) - info.clock_start_s), float(end) - info.clock_start_s)
            for start, end in losses.ranges
        )
        report.lost = [(round(start, 6), round(end, 6)) for start, end in ranges if start < end]
        if report.lost and report.lost[0][1] <= info.start_s and report.lost[0][0] < _AT_ONCE_S:
            report.lost[0] = 0.0, report.lost[0][1]  # players show nothing until then
        if text := describe_losses(report, info.start_s):
            report.warnings.append(text)

    def _ends_early(self, period_s: Fraction) -> bool:
        """Whether the index points behind the end of the file, or the header promises more."""
        stream = self._source.opened.stream
        index = stream.index_entries
        if len(index) and index[-1].pos + index[-1].size > self._path.stat().st_size:
            return True
        promised = self.info.duration_s
        if promised is None or (self.info.has_audio and not stream.duration):
            return False  # no promise about the picture
        if self._source.decoding.clock_was_set:
            return False  # the header has the difference of two clocks
        if self.report.duration_s >= promised - max(3 * float(period_s), 0.05 * promised):
            return False
        # An MP4 lists its frames. FFmpeg's length counts those that an edit list leaves out, too,
        # where the picture starts late.
        shown_to_s = self.info.clock_start_s + self.info.start_s + self.report.duration_s
        is_listed = self._source.opened.container.format.name.startswith("mov") and stream.frames
        return not is_listed or _last_listed_s(stream) > shown_to_s


def _last_listed_s(stream: av.video.stream.VideoStream) -> float:
    """Return the decoding time of the last frame in the index that is to be shown."""
    index = stream.index_entries
    for number in reversed(range(len(index))):
        if not index[number].is_discard:
            return float(index[number].timestamp * tick_s(stream))
    return math.inf
