"""Read the packets of one stream to the end of the file, on one clock, whatever the damage."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import av

from hrpro.extract.losses import DecodeReport

# A smaller step back of decoding times is a muxer's slip; a larger one: the clock was set.
MAX_SLIP_S = Fraction(1)
# A still may be held for minutes (slide shows, screen recordings). A longer jump is a damaged
# timestamp or a clock that was set, and would fill the output with copies.
MAX_GAP_S = Fraction(600)
# Demuxers go on behind damaged parts; one that fails this often in a row has come to an end.
_MAX_READ_ERRORS = 100


class DecodingClock:
    """Puts the decoding times of a stream on one clock that never steps back.

    In a sound stream decoding times increase with the packets, also where pictures are shown in
    another order. So a picture that comes early or late never looks like a clock that was set.
    A step back by more than `MAX_SLIP_S` or a leap of more than `MAX_GAP_S` does: what follows is
    placed behind what came before. If the next packet fits the old clock again, it was a single
    bad value.
    """

    def __init__(self, tick_s: Fraction, period_s: Fraction) -> None:
        self.resets = 0
        self._slip = int(MAX_SLIP_S / tick_s)
        self._gap = int(MAX_GAP_S / tick_s)
        self._period = max(1, round(period_s / tick_s))
        self._last: int | None = None
        # What to add to a time; the clock in force first, then the one before it.
        self._offsets = [0, 0]

    @property
    def offset(self) -> int:
        """What to add to the times of a packet that has no decoding time, in ticks."""
        return self._offsets[0]

    def place(self, ticks: int) -> int:
        """Return what to add to the times of the next packet, given its decoding time."""
        if self._last is None:
            self._last = ticks
            return 0
        last = self._last
        times = [ticks + offset for offset in self._offsets]
        fitting = [time for time in times if last - self._slip <= time <= last + self._gap]
        if fitting:
            # The nearest: after a single bad value the clock that it made may fit as well.
            time = min(fitting, key=lambda time: abs(time - last - self._period))
            if time != times[0]:
                self._offsets.reverse()
        else:
            self.resets += 1
            time = last + self._period
            self._offsets = [time - ticks, self._offsets[0]]
        self._last = max(last, time)
        return self._offsets[0]


class PacketReader:
    """The packets of a stream, to be iterated over once, all times on one clock (`DecodingClock`).

    An error of the container is counted, and reading goes on behind it. Empty packets (frames that
    the camera dropped) are left out: to a decoder they mean the end.

    Args:
        container: the opened file.
        stream: one of its video streams.
        report: `corrupt_packets`, `truncated` and `warnings` are updated.
        period_s: nominal seconds per frame.

    Attributes:
        untimed: the stream has no times at all (raw H.264 and HEVC), known from the first packet
            on. Its packets get decoding times by their number.
        period: nominal ticks per frame.
    """

    def __init__(
        self,
        container: av.container.InputContainer,
        stream: av.video.stream.VideoStream,
        report: DecodeReport,
        period_s: Fraction,
    ) -> None:
        self.untimed = container.start_time is None
        self._packets = _demuxed(container, stream, report)
        self._clock = DecodingClock(stream.time_base, period_s)
        self.period = max(1, round(period_s / stream.time_base))

    def __iter__(self) -> Iterator[av.Packet]:
        for number, packet in enumerate(self._packets):
            if number == 0:
                self.untimed &= packet.pts is None and packet.dts is None
            if self.untimed:
                packet.dts = number * self.period
            elif packet.dts is None:
                _shift(packet, self._clock.offset)
            else:
                _shift(packet, self._clock.place(packet.dts))
            yield packet


def _shift(packet: av.Packet, ticks: int) -> None:
    if ticks and packet.pts is not None:
        packet.pts += ticks
    if ticks and packet.dts is not None:
        packet.dts += ticks


def _demuxed(
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
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
