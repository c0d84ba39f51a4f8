"""The video reader: upright RGB pictures at a fixed rate, from any file, in constant memory.

with FrameReader("match.mp4") as reader, prefetch(reader) as frames:
    for picture in frames:  # uint8 [224, 224, 3] at 25 frames per second
        ...
print(reader.report)
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np

from hrpro.errors import VideoError
from hrpro.extract.frames import DecodeReport, decode_frames, presentation_time_s
from hrpro.extract.geometry import FrameConverter, Orientation, upright
from hrpro.extract.probe import VideoInfo, describe, naming, open_video, probe
from hrpro.extract.pyav import rational
from hrpro.extract.read_ahead import prefetch
from hrpro.extract.resample import MAX_GAP_S, Timeline, resample

__all__ = ["DecodeReport", "FrameReader", "VideoInfo", "prefetch", "probe", "upright"]

# For files that state no rate, or an impossible one.
_FALLBACK_FPS = Fraction(25)
_POSSIBLE_FPS = (Fraction(1, 600), Fraction(1000))


class FrameReader(Iterator[np.ndarray]):
    """Iterator over the pictures of a video, and context manager that closes the file.

    Yields uint8 RGB arrays `[crop, crop, 3]` (`[H, W, 3]` without a crop), upright and with
    square pixels. The defaults are the preprocessing of kinetics-i3d: 25 fps, short side 256
    (bilinear, aspect kept), central 224 x 224.

    Picture k is the one on display at k / fps seconds after the first displayed frame (see
    `resample`); a frame that is on display for several k is the same array again, so do not write
    into it. `fps=None` yields every frame once. `timed()` gives the times with the pictures.

    Damaged packets are skipped and counted, an early end is noted: see `report`, which is complete
    when the pictures are exhausted. Threads may share a reader; each picture goes to one of them.

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
    ) -> None:
        """Open a video and decode its first frame.

        Args:
            path: a local file.
            fps: output frames per second; `None` for the file's own frames.
            short_side: resize so that the shorter side has this many pixels; `None` keeps the size.
            crop: side of the central square to cut out; `None` for whole pictures, which all have
                the size of the first.
            strict: raise at damage or an early end instead of going on.
            threads: decoder threads; 1 leaves the other cores to the network, 0 takes all. With
                more than one, that many frames may be lost where a file becomes unreadable.

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
        self._exit = ExitStack()
        try:
            with naming(path):
                container, stream = self._exit.enter_context(open_video(path, threads))
                frames = decode_frames(container, stream, self.report, strict)
                first = next(frames)
                self.info = describe(path, container, stream, first)
                self._convert = FrameConverter(
                    Orientation(self.info.rotation, self.info.mirrored),
                    rational(stream.sample_aspect_ratio),
                    short_side,
                    crop,
                )
        except BaseException:
            self._exit.close()
            raise
        self._stream = stream
        self._pictures = self._run(chain([first], frames))

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
            self._exit.close()

    def __enter__(self) -> FrameReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _advance(self) -> tuple[Fraction, np.ndarray]:
        with self._lock, naming(self._path):
            return next(self._pictures)

    def _run(self, frames: Iterator[av.VideoFrame]) -> Iterator[tuple[Fraction, np.ndarray]]:
        shown: av.VideoFrame | None = None
        picture: np.ndarray | None = None
        for time_s, frame in self._on_display(self._placed(frames)):
            if frame is not shown:
                shown, picture = frame, self._convert(frame)
            self.report.frames_out += 1
            assert picture is not None
            yield time_s, picture

    def _on_display(
        self, placed: Iterator[tuple[Fraction, Fraction, av.VideoFrame]]
    ) -> Iterator[tuple[Fraction, av.VideoFrame]]:
        if self._fps is None:
            return ((start, frame) for start, _, frame in placed)
        return ((k / self._fps, frame) for k, frame in enumerate(resample(placed, self._fps)))

    def _placed(
        self, frames: Iterator[av.VideoFrame]
    ) -> Iterator[tuple[Fraction, Fraction, av.VideoFrame]]:
        """Yield each frame with its start and end in seconds; complete the report at the end."""
        period_s = _nominal_period(self._stream)
        tick = self._stream.time_base
        timeline = Timeline(period_s)
        for frame in frames:
            start = timeline.place(presentation_time_s(frame, self._stream))
            own = frame.duration * tick if frame.duration else period_s
            end = start + (own if own <= MAX_GAP_S else period_s)
            self.report.duration_s = float(end)
            yield start, end, frame
        self._complete_report(timeline, period_s)

    def _complete_report(self, timeline: Timeline, period_s: Fraction) -> None:
        report = self.report
        if timeline.missing and self._stream.container.format.name != "avi":  # AVI never states any
            report.warnings.append(
                f"{timeline.missing} frames without a presentation time, "
                f"placed at {float(1 / period_s):g} frames per second"
            )
        if timeline.disordered:
            report.warnings.append(f"{timeline.disordered} presentation times out of order; mended")
        if self._ends_early(period_s):
            report.truncated = True
            report.warnings.append(
                f"decoded {report.duration_s:.2f} s of {self.info.duration_s or 0:.2f} s"
            )
        if report.corrupt_packets:
            report.warnings.append(f"{report.corrupt_packets} damaged packets skipped")
        if report.truncated and self._strict:
            raise VideoError("truncated: " + "; ".join(report.warnings))

    def _ends_early(self, period_s: Fraction) -> bool:
        """Whether the index points behind the end of the file, or the header promises more."""
        index = self._stream.index_entries
        if len(index) and index[-1].pos + index[-1].size > self._path.stat().st_size:
            return True
        promised = self.info.duration_s
        if promised is None or (self.info.has_audio and not self._stream.duration):
            return False  # no promise about the picture
        reached = self.report.duration_s + max(0.0, self.info.start_s)
        return reached < promised - max(3 * period_s, 0.05 * promised)


def _nominal_period(stream: av.video.stream.VideoStream) -> Fraction:
    """Return the nominal seconds per frame, for frames that state no time of their own."""
    for stated in (stream.average_rate, stream.guessed_rate, stream.base_rate):
        rate = rational(stated)
        if rate and _POSSIBLE_FPS[0] <= rate <= _POSSIBLE_FPS[1]:
            return 1 / rate
    return 1 / _FALLBACK_FPS
