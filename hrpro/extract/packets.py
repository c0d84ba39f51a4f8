"""Read the packets of one stream to the end of the file, on one clock, whatever the damage."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from itertools import count, islice

import av
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

from hrpro.extract.losses import DecodeReport
from hrpro.extract.pyav import tick_s

# A smaller step back of decoding times is a muxer's slip; a larger one: the clock was set.
MAX_SLIP_S = Fraction(1)
# A still may be held for minutes (slide shows, screen recordings). A longer jump is a damaged
# timestamp or a clock that was set, and would fill the output with copies.
MAX_GAP_S = Fraction(600)
# Packets that tell whether a clock was set.
_LOOK_AHEAD = 50
# Demuxers go on behind damaged parts; one that fails this often in a row has come to an end.
_MAX_READ_ERRORS = 100


class DecodingClock:
    """Puts the decoding times of a stream on one clock.

    In a sound stream decoding times increase with the packets, also where pictures are shown in
    another order. So a picture that comes early or late never looks like a clock that was set.
    A step back by more than `MAX_SLIP_S` or a leap of more than `MAX_GAP_S` does: what follows is
    placed behind what came before. If the stream soon returns to where it was, a few packets have
    odd times or lie in a wrong place, and the clock stays.
    """

    def __init__(self, tick_s: Fraction, period_s: Fraction) -> None:
        self.resets = 0
        self.offset = 0
        """What to add to the times of packets now, in ticks."""
        self._slip = int(MAX_SLIP_S / tick_s)
        self._gap = int(MAX_GAP_S / tick_s)
        self._period = max(1, round(period_s / tick_s))
        self._last: int | None = None
        self._before_leap: int | None = None

    def place(self, ticks: int, upcoming: Callable[[], Iterable[int]]) -> int:
        """Return what to add to the times of the next packet, in ticks.

        Args:
            ticks: its decoding time.
            upcoming: gives those of the packets behind it.
        """
        time, last = ticks + self.offset, self._last
        if last is None:
            self._last = time
        elif last + self._slip < time <= last + self._gap:
            self._before_leap, self._last = last, time
        elif last - self._slip <= time <= last + self._slip:
            self._last = max(last, time)
        elif self._before_leap is not None and abs(time - self._before_leap) <= self._slip:
            self._before_leap, self._last = None, time  # it was the leap that was odd
        elif not self._returns(ticks, upcoming(), last):
            self.resets += 1
            self._last = last + self._period
            self.offset = self._last - ticks
        return self.offset

    def _returns(self, ticks: int, upcoming: Iterable[int], last: int) -> bool:
        """Whether the stream jumps back to where it was."""
        for following in upcoming:
            jumps = abs(following - ticks) > self._slip / 3  # half of the step back, at least
            if jumps and abs(following + self.offset - last) <= self._slip:
                return True
            ticks = following
        return False


class PacketReader:
    """The packets of a stream, to be iterated over once, all times on one clock (`DecodingClock`).

    An error of the container is counted, and reading goes on behind it. Empty packets (frames that
    the camera dropped) are left out: to a decoder they mean the end.

    Args:
        container: the opened file.
        stream: one of its streams, of pictures or of sound.
        report: `corrupt_packets`, `truncated` and `warnings` are updated.
        period_s: nominal seconds per frame.

    Attributes:
        untimed: the stream has no times at all (raw H.264 and HEVC), known from the first packet
            on. Its packets get decoding times by their number.
    """

    def __init__(
        self,
        container: av.container.InputContainer,
        stream: VideoStream | AudioStream,
        report: DecodeReport,
        period_s: Fraction,
    ) -> None:
        self.untimed = container.start_time is None
        self._packets = _demuxed(container, stream, report)
        self._clock = DecodingClock(tick_s(stream), period_s)
        self._period = max(1, round(period_s / tick_s(stream)))

    @property
    def clock_was_set(self) -> bool:
        """Whether the clock of the stream was set somewhere up to now."""
        return self._clock.resets > 0

    def __iter__(self) -> Iterator[av.Packet]:
        ahead: deque[av.Packet] = deque()

        def upcoming() -> Iterator[int]:
            ahead.extend(islice(self._packets, _LOOK_AHEAD - len(ahead)))
            return (packet.dts for packet in ahead if packet.dts is not None)

        for number in count():
            packet = ahead.popleft() if ahead else next(self._packets, None)
            if packet is None:
                return
            if number == 0:
                self.untimed &= packet.pts is None and packet.dts is None
            if self.untimed:
                packet.dts = number * self._period
            elif packet.dts is None:
                _shift(packet, self._clock.offset)
            else:
                _shift(packet, self._clock.place(packet.dts, upcoming))
            yield packet


def _shift(packet: av.Packet, ticks: int) -> None:
    if ticks and packet.pts is not None:
        packet.pts += ticks
    if ticks and packet.dts is not None:
        packet.dts += ticks


def _demuxed(
    container: av.container.InputContainer,
    stream: VideoStream | AudioStream,
    report: DecodeReport,
) -> Iterator[av.Packet]:
    failures = 0
    reason = ""
    while failures < _MAX_READ_ERRORS:
        try:
            for packet in container.demux(stream):
                if packet.size:
                    failures = 0
                    yield packet
            break
        except av.FFmpegError as error:
            failures += 1
            reason = error.strerror or str(error)
            if failures == 1:
                report.corrupt_packets += 1
    if failures:  # nothing was read behind the last error
        report.truncated = True
        report.warnings.append(f"reading stopped: {reason}")
