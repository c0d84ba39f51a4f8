"""Decode one stream to its end, going on after damage and keeping account of it."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

import av

from hrpro.errors import VideoError
from hrpro.extract.geometry import MAX_PIXELS
from hrpro.extract.losses import DecodeReport, Losses, SkippedBytes
from hrpro.extract.packets import MAX_GAP_S, MAX_SLIP_S, PacketReader
from hrpro.extract.pyav import rational, tick_s

# Packets in a row that give no picture: 11 hours at 25 frames per second, and half a minute of
# work where they are forged. Damage itself never ends a video, however long it is.
MAX_FRUITLESS_PACKETS = 1 << 20
# Their bytes, as a share of the file's: in a sound file packets do not overlap.
FRUITLESS_SHARE = Fraction(2)
# Frames that may be held back while earlier ones are due, or may be.
_MAX_HELD = 8
# For files that state no rate, or an impossible one.
_FALLBACK_FPS = Fraction(25)
_POSSIBLE_FPS = (Fraction(1, 600), Fraction(1000))


class TimedFrame(NamedTuple):
    """A frame and when it is to be shown, in seconds by the clock of the packets."""

    frame: av.VideoFrame
    time_s: Fraction | None
    """None if the file does not say."""


class UnsteadyError(Exception):
    """Something in a file is not as in a sound one; raised where that was asked for."""


class Decoding(Iterator[TimedFrame]):
    """The frames of a stream in presentation order.

    A packet that the decoder refuses is counted and costs itself and what depends on it: decoding
    goes on with the next, up to the end of the file. It ends early only after
    `MAX_FRUITLESS_PACKETS`, or more bytes than the file has, without a single picture.

    Args:
        container: the opened file.
        stream: one of its video streams.
        report: `frames_decoded`, `corrupt_packets`, `truncated` and `warnings` are updated.
        strict: raise at the first damage instead.
        fragile: the decoder is exact with sound files alone: raise `UnsteadyError` at the first
            sign of damage, and where frames do not come in their order. What was given before is
            right.

    Attributes:
        losses: which parts were lost.
        period_s: nominal seconds per frame.

    Raises:
        VideoError: no frame at all could be decoded, or `strict` and there is damage.
        UnsteadyError: see `fragile`.
    """

    def __init__(
        self,
        container: av.container.InputContainer,
        stream: av.video.stream.VideoStream,
        report: DecodeReport,
        strict: bool = False,
        *,
        fragile: bool = False,
    ) -> None:
        self.period_s = nominal_period_s(stream)
        self.losses = Losses(self.period_s, steady=container.format.name == "mpeg")
        self._skipped = SkippedBytes() if container.format.name == "matroska,webm" else None
        self._stream = stream
        self._tick = tick_s(stream)
        self._report = report
        self._strict = strict
        self._fragile = fragile
        self._fruitless_bytes = FRUITLESS_SHARE * container.size
        self._reader = PacketReader(container, stream, report, self.period_s)
        self._packets = iter(self._reader)
        self._times = _PresentationTimes(stream, self._reader)
        self._due = _Due()
        self._frames = self._in_order()

    def __iter__(self) -> Decoding:
        return self

    def __next__(self) -> TimedFrame:
        return next(self._frames)

    @property
    def untimed(self) -> bool:
        """Whether the stream has no times at all; its frames are placed at the nominal rate."""
        return self._reader.untimed

    @property
    def by_pts(self) -> bool:
        """Whether packets and their frames have the same times."""
        return self._times.by_pts

    @property
    def clock_was_set(self) -> bool:
        """Whether the file is made of parts with clocks of their own, and its length unknown."""
        return self._reader.clock_was_set

    def _in_order(self) -> Iterator[TimedFrame]:
        """Hold back what comes too early, as frames do around a part that is missing."""
        held: list[tuple[Fraction, int, TimedFrame]] = []
        last_s: Fraction | None = None
        last_number = 0

        def leaps() -> bool:
            return last_s is not None and held[0][0] > last_s + max(MAX_SLIP_S, 3 * self.period_s)

        for number, timed in enumerate(self._decoded()):
            if timed.time_s is None:
                while held:
                    yield self._out(heapq.heappop(held)[2])
                self.losses.shown_next()
                yield timed
                continue
            heapq.heappush(held, (timed.time_s, number, timed))
            while held:
                # A few frames may have a wrong time, or lie in a wrong place; the next ones tell.
                if len(held) <= _MAX_HELD and (leaps() or self._due.before(held[0][0])):
                    if self._fragile:
                        raise UnsteadyError("frames out of order")
                    break
                last_s, last_number, timed = heapq.heappop(held)
                yield self._out(timed)
        while held:
            if leaps() and held[0][1] < last_number:
                break  # overtaken by all others: a wrong time
            last_s, last_number, timed = heapq.heappop(held)
            yield self._out(timed)

    def _out(self, timed: TimedFrame) -> TimedFrame:
        """Keep account of a frame that is next to be shown."""
        frame, start_s = timed
        assert start_s is not None
        for skipped_s in self._due.drop_until(start_s):
            if self._fragile:
                raise UnsteadyError("a packet without its picture")
            self.losses.damaged(skipped_s)
        own_s = frame.duration * self._tick if frame.duration else self.period_s
        end_s = start_s + (own_s if own_s <= MAX_GAP_S else self.period_s)
        self.losses.shown(start_s, end_s)
        return timed

    def _decoded(self) -> Iterator[TimedFrame]:
        """Yield frames as the decoder gives them."""
        report, stream = self._report, self._stream
        fruitless = fruitless_bytes = 0
        last_packet_damaged = keyframe_seen = gave_up = False
        while True:
            # None, after the last packet, makes the decoder hand out the frames it holds back.
            packet = None if gave_up else next(self._packets, None)
            damage = ""
            frames: list[av.VideoFrame] = []
            try:
                frames = stream.decode(packet)
            except av.FFmpegError as error:
                damage = error.strerror or str(error)
            if packet is not None:
                keyframe_seen |= packet.is_keyframe
                self._note(packet, refused=bool(damage))
                last_packet_damaged = packet.is_corrupt
                if packet.is_corrupt or any(frame.is_corrupt for frame in frames):
                    damage = damage or "marked as damaged"
                fruitless = 0 if frames else fruitless + 1
                fruitless_bytes = 0 if frames else fruitless_bytes + packet.size
            if self._fragile and (damage or report.corrupt_packets):
                raise UnsteadyError(damage or "the container is damaged")
            if damage:
                report.corrupt_packets += 1
                if self._strict:
                    raise VideoError(f"damaged after {report.frames_decoded} frames: {damage}")
            for frame in frames:
                report.frames_decoded += 1
                time_s = self._times.of(frame)
                if time_s is not None:
                    self._due.arrived(time_s)
                    if frame.is_corrupt:
                        self.losses.damaged(time_s)
                yield TimedFrame(frame, time_s)
            if packet is None:
                break
            if fruitless > MAX_FRUITLESS_PACKETS or fruitless_bytes > self._fruitless_bytes:
                if self._fragile:
                    raise UnsteadyError("no picture")
                gave_up = report.truncated = True
                report.warnings.append(f"gave up after {fruitless} packets without a picture")
        report.truncated |= last_packet_damaged
        # At the end of a file, threads keep the errors of their last packets to themselves.
        if self._fragile and (report.frames_decoded == 0 or self._due.outstanding):
            raise UnsteadyError("no picture")
        if report.frames_decoded == 0:
            raise VideoError(self._nothing(keyframe_seen))

    def _note(self, packet: av.Packet, refused: bool) -> None:
        time_s = self._times.of_packet(packet, refused)
        if time_s is None:
            return
        if not packet.is_discard:  # else an edit list leaves it out
            self.losses.seen(time_s)
        if self._was_skipped_before(packet):
            self.losses.damaged(time_s)
        if refused or packet.is_corrupt:
            self.losses.damaged(time_s)
        elif not packet.is_discard and self._times.by_pts:
            self._due.expect(time_s)

    def _was_skipped_before(self, packet: av.Packet) -> bool:
        """Whether the container passed over something before a packet, which itself is sound."""
        if self._skipped is None or packet.pos is None or packet.dts is None:
            return False
        return self._skipped.lie_before(packet.pos, packet.size, packet.dts * self._tick)

    def _nothing(self, keyframe_seen: bool) -> str:
        """Say why there is not a single frame."""
        context = self._stream.codec_context
        if keyframe_seen and not context.width:  # what FFmpeg leaves of a size that it refuses
            return (
                "no frame can be decoded; the file is damaged or its picture larger than "
                f"{MAX_PIXELS // 10**6} megapixels"
            )
        if not keyframe_seen:
            return (
                "no frame can be decoded; there is no keyframe in it, on which all others depend: "
                "cut or record it again from a keyframe on"
            )
        return "no frame can be decoded; the file is damaged"


class _PresentationTimes:
    """When frames are to be shown, by what the container says.

    AVI stores no presentation times, and FFmpeg's guesses are out of order when there are B-frames.
    Raw streams have no times at all, only what `PacketReader` numbers them by. In both, frames
    leave the decoder in display order, one per decoding time, and the first is a keyframe.
    """

    def __init__(self, stream: av.video.stream.VideoStream, packets: PacketReader) -> None:
        self._avi = stream.container.format.name == "avi"
        self._packets = packets
        self._tick = tick_s(stream)
        self._first_ticks: int | None = None  # of the first packet that can be decoded
        self._delay: int | None = None

    @property
    def by_pts(self) -> bool:
        """Whether packets and their frames have the same times."""
        return not self._avi and not self._packets.untimed

    def of_packet(self, packet: av.Packet, refused: bool) -> Fraction | None:
        """Return when the picture of the next packet is to be shown, as far as is known."""
        if self._first_ticks is None and packet.is_keyframe and not refused:
            self._first_ticks = packet.dts
        ticks = packet.pts if self.by_pts else packet.dts
        return None if ticks is None else ticks * self._tick

    def of(self, frame: av.VideoFrame) -> Fraction | None:
        """Return when a frame is to be shown; None if the file does not say."""
        ticks = frame.pts if self.by_pts else frame.dts
        if ticks is None:
            return None
        if self.by_pts:
            return ticks * self._tick
        if self._delay is None:  # packets that the decoder takes before it gives the first frame
            self._delay = 0 if self._first_ticks is None else max(0, ticks - self._first_ticks)
        return (ticks - self._delay) * self._tick


class _Due:
    """The times of packets that the decoder took and whose pictures it has not given yet."""

    def __init__(self) -> None:
        self._heap: list[Fraction] = []
        self._arrived: set[Fraction] = set()

    def expect(self, time_s: Fraction) -> None:
        heapq.heappush(self._heap, time_s)

    def arrived(self, time_s: Fraction) -> None:
        self._arrived.add(time_s)

    @property
    def outstanding(self) -> bool:
        """Whether pictures are due."""
        return any(due_s not in self._arrived for due_s in self._heap)

    def before(self, time_s: Fraction) -> bool:
        """Whether pictures are due that belong before a time."""
        while self._heap and self._heap[0] in self._arrived:
            self._arrived.discard(heapq.heappop(self._heap))
        return bool(self._heap) and self._heap[0] < time_s

    def drop_until(self, time_s: Fraction) -> list[Fraction]:
        """Wait no more for what belongs before a time; return those times."""
        skipped = []
        while self._heap and self._heap[0] <= time_s:
            due_s = heapq.heappop(self._heap)
            if due_s not in self._arrived and due_s < time_s:
                skipped.append(due_s)
        self._arrived = {arrived for arrived in self._arrived if arrived > time_s}
        return skipped


def stated_fps(stream: av.video.stream.VideoStream) -> Fraction | None:
    """Return the frames per second that a stream states; None if it states none.

    Raw streams have no times, and FFmpeg's average rate of them is 25 whatever they say themselves.
    """
    container = stream.container
    is_raw = isinstance(container, av.container.InputContainer) and container.start_time is None
    own = rational(stream.codec_context.framerate) if is_raw else None
    return own or rational(stream.average_rate) or rational(stream.guessed_rate)


def nominal_period_s(stream: av.video.stream.VideoStream) -> Fraction:
    """Return the nominal seconds per frame, for frames that state no time of their own."""
    for rate in (stated_fps(stream), rational(stream.guessed_rate), rational(stream.base_rate)):
        if rate and _POSSIBLE_FPS[0] <= rate <= _POSSIBLE_FPS[1]:
            return 1 / rate
    return 1 / _FALLBACK_FPS
