"""What decoding brought, and which parts of a video were lost to damage, in seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

# How far from the gap that it left in the picture damage may be noticed: pictures leave the decoder
# in another order than their packets come in.
_NEAR_S = Fraction(1)
# Broadcasts are cut anywhere; the few frames before the first keyframe are no loss worth a word.
_USUAL_LEAD_S = Fraction(1, 2)
# Gaps that nothing explains but a part that the container has passed over in silence are longer.
_SILENT_GAP_S = Fraction(1, 5)
# A container's own bytes: of a packet, and now and then between two.
_PACKET_HEADER_BYTES = 16
_HEADER_BYTES = 256
# Seconds after which it is known how many bytes the other streams take.
_LEARNING_S = 1
_NAMED_RANGES = 3


@dataclass
class DecodeReport:
    """What decoding a video brought; complete once its frames are exhausted."""

    frames_decoded: int = 0
    frames_out: int = 0  # after resampling
    corrupt_packets: int = 0  # damaged in the file or refused by the decoder
    truncated: bool = False  # the file ends, or was given up, before its own end
    duration_s: float = 0.0  # from the first displayed frame to the end of the last
    lost: list[tuple[float, float]] = field(default_factory=list)
    """Start and end of each part that cannot be shown, in seconds of the file's clock."""
    warnings: list[str] = field(default_factory=list)

    @property
    def lost_s(self) -> float:
        """Seconds of picture that cannot be shown."""
        return sum(end_s - start_s for start_s, end_s in self.lost)


class Losses:
    """Finds what was lost: the gaps between shown frames that have damage beside them.

    A gap without damage is no loss: screen recordings and cameras at a variable rate hold a picture
    for as long as nothing moves. All times are those of the packets, in seconds.

    Args:
        period_s: nominal seconds per frame.
        steady: the container knows no variable rate, so that every long gap is a loss.
    """

    def __init__(self, period_s: Fraction, steady: bool = False) -> None:
        self.ranges: list[tuple[Fraction, Fraction]] = []
        self.first_packet_s: Fraction | None = None
        """The earliest of the packets before the first shown frame."""
        self._period_s = period_s
        self._steady = steady
        self._end_s: Fraction | None = None
        self._damage: list[tuple[Fraction, Fraction]] = []

    def seen(self, time_s: Fraction) -> None:
        """Note a packet by the time at which its picture is to be shown."""
        if self._end_s is None:
            first_s = self.first_packet_s
            self.first_packet_s = time_s if first_s is None else min(first_s, time_s)

    def damaged(self, time_s: Fraction) -> None:
        """Note a packet that is damaged, or gave no picture."""
        if (
            self._damage
            and self._damage[-1][0] - _NEAR_S <= time_s <= self._damage[-1][1] + _NEAR_S
        ):
            first_s, last_s = self._damage[-1]
            self._damage[-1] = min(first_s, time_s), max(last_s, time_s)
        else:
            self._damage.append((time_s, time_s))

    def shown(self, start_s: Fraction, end_s: Fraction) -> None:
        """Note the next frame that is shown."""
        before_s = self.first_packet_s if self._end_s is None else self._end_s
        if before_s is not None and start_s - before_s > self._period_s / 2:
            if self._end_s is None:
                is_loss = start_s - before_s > _USUAL_LEAD_S
            else:
                is_loss = self._caused(before_s, start_s)
            if is_loss:
                self.ranges.append((before_s, start_s))
        self._end_s = end_s if self._end_s is None else max(self._end_s, end_s)
        self._damage = [span for span in self._damage if span[1] >= self._end_s - _NEAR_S]

    def shown_next(self) -> None:
        """Note a frame without a time: it follows the one before it."""
        if self._end_s is not None:
            self.shown(self._end_s, self._end_s + self._period_s)

    def finish(self, promised_s: Fraction | None, ends_early: bool) -> None:
        """Note that nothing follows.

        Args:
            promised_s: end of the picture by the header.
            ends_early: that is true, and what is missing there is lost.
        """
        if self._end_s is None:
            return
        last_s = max([self._end_s, *(last_s + self._period_s for _, last_s in self._damage)])
        if promised_s is not None:
            last_s = promised_s if ends_early else min(last_s, promised_s)
        if last_s - self._end_s > self._period_s / 2:
            self.ranges.append((self._end_s, last_s))

    def _caused(self, start_s: Fraction, end_s: Fraction) -> bool:
        if self._steady and end_s - start_s > _SILENT_GAP_S:
            return True
        return any(
            first_s <= end_s + _NEAR_S and last_s >= start_s - _NEAR_S
            for first_s, last_s in self._damage
        )


class SkippedBytes:
    """Notices damage that a container passes over in silence.

    Between two packets of a stream lie those of the others, about as many bytes in each second. If
    there are far more where pictures are missing, nobody could read them.
    """

    def __init__(self) -> None:
        self._end: int | None = None  # of the packet before, in bytes
        self._time_s = Fraction(0)
        self._others = 0  # bytes between packets
        self._elapsed_s = Fraction(0)

    def lie_before(self, position: int, size: int, time_s: Fraction) -> bool:
        """Note the next packet, and say whether bytes before it were skipped.

        Args:
            position: of the packet in the file, in bytes.
            size: of the packet, in bytes.
            time_s: its decoding time.
        """
        if self._end is None:
            between, step_s = 0, Fraction(0)
        else:
            between = max(0, position - self._end - _PACKET_HEADER_BYTES)
            step_s = max(Fraction(0), time_s - self._time_s)
        skipped = False
        if step_s > _SILENT_GAP_S and self._elapsed_s >= _LEARNING_S:
            usual = self._others / self._elapsed_s * step_s
            skipped = between > 2 * usual + _HEADER_BYTES
        if not skipped:
            self._others += between
            self._elapsed_s += step_s
        self._end, self._time_s = position + size, time_s
        return skipped


def describe_losses(report: DecodeReport, start_s: float) -> str:
    """Say in one line what was lost and where, or nothing.

    Args:
        report: with the parts that were lost.
        start_s: when the first shown frame is to be shown, in the file's clock.
    """
    parts = []
    lost = list(report.lost)
    if lost and lost[0][1] <= start_s + 1e-6:
        lead_s = lost[0][1] - lost[0][0]
        where = "" if lost[0][0] < 1e-6 else f" (from {lost[0][0]:.2f} s on)"
        parts.append(
            f"the first {lead_s:.2f} s{where} cannot be shown: the keyframe before them is missing "
            "or damaged"
        )
        lost = lost[1:]
    if lost:
        seconds = sum(end_s - begin_s for begin_s, end_s in lost)
        places = ", ".join(
            f"{begin_s:.2f}-{end_s:.2f} s" for begin_s, end_s in lost[:_NAMED_RANGES]
        )
        more = f" and {len(lost) - _NAMED_RANGES} more" if len(lost) > _NAMED_RANGES else ""
        parts.append(f"{seconds:.2f} s of the picture lost ({places}{more})")
    if report.corrupt_packets:
        packets = "packet" if report.corrupt_packets == 1 else "packets"
        parts.append(f"{report.corrupt_packets} damaged {packets} skipped")
    return "; ".join(parts)
