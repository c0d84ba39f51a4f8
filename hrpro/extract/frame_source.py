"""The frames of a file, decoded as fast as the file allows and always as exactly as by one thread.

Decoders with several threads, and those of GPUs, give the same frames as one thread does as long as
a file is sound. Where it is damaged they lose others, or fill the holes in another way. So they run
only up to the first sign of damage; there one thread begins anew and goes on where they stopped.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from hrpro.extract.frames import Decoding, TimedFrame, UnsteadyError
from hrpro.extract.losses import DecodeReport
from hrpro.extract.probe import OpenVideo, open_video
from hrpro.extract.pyav import Hardware

_log = logging.getLogger(__name__)

MAX_FRAME_THREADS = 16
_BYTES_IN_DECODER = 256 << 20
"""Every frame thread holds a few frames, whatever their size."""
_FRAMES_PER_THREAD = 2


class FrameSource(Iterator[TimedFrame]):
    """The frames of a video stream in presentation order, from an open file.

    Args:
        path: a local file.
        report: see `Decoding`.
        threads: frames that are decoded at the same time, at most.
        hardware: a decoder to try first.
        stream: see `hrpro.extract.streams.choose_stream`.
        strict: see `Decoding`.

    Attributes:
        opened: the file.
        decoding: what gives the frames now.

    Raises:
        VideoError: without the file name, see `hrpro.extract.probe.naming`.
    """

    opened: OpenVideo
    decoding: Decoding

    def __init__(
        self,
        path: str | Path,
        report: DecodeReport,
        *,
        threads: int = 1,
        hardware: Hardware | None = None,
        stream: int | None = None,
        strict: bool = False,
    ) -> None:
        self._path, self._stream = path, stream
        self._report, self._strict = report, strict
        self._file = ExitStack()
        self._given = 0
        if threads == 1 and hardware is None:
            self._open_plainly()
        else:
            self._open_fast(threads, hardware)

    def __iter__(self) -> FrameSource:
        return self

    def __next__(self) -> TimedFrame:
        try:
            timed = next(self.decoding)
        except UnsteadyError as error:
            _log.debug(
                "%s: one decoder thread from frame %d on (%s)", self._path, self._given, error
            )
            self._begin_anew()
            timed = next(self.decoding)
        self._given += 1
        return timed

    def close(self) -> None:
        """Close the file; safe to call again."""
        self._file.close()

    def _open_plainly(self) -> None:
        self.opened = self._file.enter_context(open_video(self._path, self._stream))
        self._decode(fragile=False)

    def _open_fast(self, threads: int, hardware: Hardware | None) -> None:
        try:
            self.opened = self._file.enter_context(
                open_video(self._path, self._stream, hardware=hardware, for_threads=True)
            )
        except Exception as error:
            if hardware is None:
                raise
            _log.debug("%s: no %s decoder (%s)", self._path, hardware, error)
            self._open_fast(threads, None)
            return
        self._decode(fragile=True)
        if not self.decoding.by_pts:  # their times follow from what the decoder holds back
            self._file.close()
            self._open_plainly()
        elif hardware is None:
            context = self.opened.stream.codec_context
            frame_bytes = max(1, context.width * context.height * 3)
            room = _BYTES_IN_DECODER // (frame_bytes * _FRAMES_PER_THREAD)
            context.thread_type = "FRAME"  # slices of a damaged frame would not be mended
            context.thread_count = max(1, min(threads, room, MAX_FRAME_THREADS))

    def _begin_anew(self) -> None:
        self._file.close()
        report = self._report
        report.frames_decoded = report.corrupt_packets = 0
        report.truncated = False
        report.warnings.clear()
        self._open_plainly()
        for _ in range(self._given):
            next(self.decoding)

    def _decode(self, *, fragile: bool) -> None:
        container, stream, _ = self.opened
        self.decoding = Decoding(container, stream, self._report, self._strict, fragile=fragile)
