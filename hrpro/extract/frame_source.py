"""The frames of a file, decoded as fast as the file allows and always as exactly as by one thread.

Decoders with several threads, and those of GPUs, give the same frames as one thread does as long as
a file is sound. Where it is damaged they lose others, or fill the holes in another way. So they run
only up to the first sign of damage; there one thread begins anew and goes on where they stopped.

A GPU's decoder is tried in up to two ways, with frames that stay in its memory and with frames that
are copied to the host's. What cannot be had, for the file, the driver or the versions, costs a file
nothing but speed, and the log a line.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import av

from hrpro.extract.frames import Decoding, TimedFrame, UnsteadyError
from hrpro.extract.losses import DecodeReport
from hrpro.extract.probe import OpenVideo, open_video
from hrpro.extract.pyav import Hardware, decodes_exactly
from hrpro.wording import one_line

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
        self._threads = threads
        self._file = ExitStack()
        self._given = 0
        self._hardware: Hardware | None = None
        self._untried = [] if hardware is None else _ways(hardware)
        self._in_vain: list[str] = []
        self._open()

    def __iter__(self) -> FrameSource:
        return self

    def __next__(self) -> TimedFrame:
        while True:
            try:
                timed = next(self.decoding)
                if not self._given:
                    self._begin_with(timed.frame)
                self._given += 1
                return timed
            except UnsteadyError as error:
                self._fall_back(error)

    def close(self) -> None:
        """Close the file; safe to call again."""
        self._file.close()

    def _open(self) -> None:
        """Open the file in the fastest way that was not tried yet and that can be had."""
        while self._untried:
            self._hardware = self._untried.pop(0)
            try:
                self._open_fast()
                return
            except Exception as error:  # whatever a driver comes up with
                self._give_up(error)
        if self._threads == 1:
            self._open_plainly()
        else:
            self._hardware = None
            self._open_fast()

    def _open_plainly(self) -> None:
        self._hardware = None
        self.opened = self._file.enter_context(open_video(self._path, self._stream))
        self._decode(fragile=False)

    def _open_fast(self) -> None:
        self.opened = self._file.enter_context(
            open_video(self._path, self._stream, hardware=self._hardware, for_threads=True)
        )
        context = self.opened.stream.codec_context
        if self._hardware is not None and not decodes_exactly(self.opened.stream):
            raise NotImplementedError(f"not for {context.codec.canonical_name}")
        self._decode(fragile=True)
        if not self.decoding.by_pts:  # their times follow from what the decoder holds back
            self._file.close()
            self._open_plainly()
        elif self._hardware is None:
            frame_bytes = max(1, context.width * context.height * 3)
            room = _BYTES_IN_DECODER // (frame_bytes * _FRAMES_PER_THREAD)
            context.thread_type = "FRAME"  # slices of a damaged frame would not be mended
            context.thread_count = max(1, min(self._threads, room, MAX_FRAME_THREADS))

    def _begin_with(self, frame: av.VideoFrame) -> None:
        """See whether the first frame is as it is to be; say in the log what was in vain."""
        if self._hardware is not None and self._hardware.keeps_frames:
            from hrpro.extract.planes import exported  # imports torch, as who wants them kept did

            try:
                exported(frame)
            except Exception as error:
                raise UnsteadyError(one_line(error)) from error
        if self._in_vain:
            way = self._hardware or "FFmpeg's decoder"
            _log.debug("%s: %s (%s)", self._path, way, "; ".join(self._in_vain))

    def _fall_back(self, error: UnsteadyError) -> None:
        """Begin anew: another way if this one gave nothing, else one thread, from where it was."""
        if self._hardware is not None and not self._given:
            self._give_up(error)
            self._open()
            return
        _log.debug("%s: one decoder thread from frame %d on (%s)", self._path, self._given, error)
        self._forget()
        self._open_plainly()
        for _ in range(self._given):
            next(self.decoding)

    def _give_up(self, error: Exception) -> None:
        self._in_vain.append(f"{self._hardware}: {one_line(error)}")
        self._forget()

    def _forget(self) -> None:
        self._file.close()
        report = self._report
        report.frames_decoded = report.corrupt_packets = 0
        report.truncated = False
        report.warnings.clear()

    def _decode(self, *, fragile: bool) -> None:
        container, stream, _ = self.opened
        self.decoding = Decoding(container, stream, self._report, self._strict, fragile=fragile)


def _ways(hardware: Hardware) -> list[Hardware]:
    """A decoder in all ways that it may be tried, the fastest first."""
    copying = replace(hardware, keeps_frames=False)
    return [hardware, copying] if hardware.keeps_frames else [copying]
