"""Demux and decode one stream, going on after damage and keeping account of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

import av

from hrpro.errors import VideoError
from hrpro.extract.geometry import MAX_PIXELS

# PySceneDetect gives up at the same number; damage that long rarely ends before the file does.
MAX_FAILURES_IN_A_ROW = 8


@dataclass
class DecodeReport:
    """What decoding a video brought; complete once its frames are exhausted."""

    frames_decoded: int = 0
    frames_out: int = 0  # after resampling
    corrupt_packets: int = 0  # damaged in the file or refused by the decoder
    truncated: bool = False  # the file ends, or was given up, before its own end
    duration_s: float = 0.0  # from the first displayed frame to the end of the last
    warnings: list[str] = field(default_factory=list)


def decode_frames(
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
    report: DecodeReport,
    strict: bool = False,
) -> Iterator[av.VideoFrame]:
    """Yield the frames of a stream in presentation order.

    A packet that cannot be decoded is skipped and counted; after `MAX_FAILURES_IN_A_ROW` of them
    the rest of the file is given up.

    Args:
        container: the opened file.
        stream: one of its video streams.
        report: `frames_decoded`, `corrupt_packets`, `truncated` and `warnings` are updated.
        strict: raise at the first damage instead.

    Raises:
        VideoError: no frame at all could be decoded, or `strict` and there is damage.
    """
    packets = _packets(container, stream, report)
    failures = 0
    last_packet_damaged = False
    while True:
        # None, after the last packet, makes the decoder hand out the frames that it holds back.
        packet = next(packets, None) if failures < MAX_FAILURES_IN_A_ROW else None
        damage = ""
        frames: list[av.VideoFrame] = []
        try:
            frames = stream.decode(packet)
        except av.FFmpegError as error:
            failures += 1
            damage = error.strerror or str(error)
        if frames:
            failures = 0
        if packet is not None:
            last_packet_damaged = packet.is_corrupt
            if last_packet_damaged or any(frame.is_corrupt for frame in frames):
                damage = damage or "marked as damaged"
        if damage:
            report.corrupt_packets += 1
            if strict:
                raise VideoError(f"damaged after {report.frames_decoded} frames: {damage}")
        for frame in frames:
            report.frames_decoded += 1
            yield frame
        if packet is None:
            break
        if failures == MAX_FAILURES_IN_A_ROW:
            report.truncated = True
            report.warnings.append(
                f"gave up after {failures} undecodable packets in a row, "
                f"{report.frames_decoded} frames decoded"
            )
    report.truncated |= last_packet_damaged
    if report.frames_decoded == 0:
        cause = "the file is damaged"
        if not stream.codec_context.width:  # what FFmpeg leaves of a size that it refuses
            cause += f" or its picture larger than {MAX_PIXELS // 10**6} megapixels"
        raise VideoError(f"no frame can be decoded; {cause}")


def presentation_time_s(
    frame: av.VideoFrame, stream: av.video.stream.VideoStream
) -> Fraction | None:
    """Return when a frame is to be shown, by the file's own clock; `None` if it does not say."""
    ticks = frame.pts
    if stream.container.format.name == "avi":
        # AVI stores no presentation times. FFmpeg's guesses are out of order when there are
        # B-frames, but frames leave the decoder in display order, one per decoding time.
        ticks = frame.dts
    return None if ticks is None else ticks * stream.time_base


def _packets(
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
    report: DecodeReport,
) -> Iterator[av.Packet]:
    """Demux; an error of the container ends it like the end of the file, and is noted.

    Empty packets (frames that the camera dropped) are left out: to a decoder they mean the end.
    """
    try:
        yield from (packet for packet in container.demux(stream) if packet.size)
    except av.FFmpegError as error:
        report.truncated = True
        report.warnings.append(f"reading stopped: {error.strerror or error}")
