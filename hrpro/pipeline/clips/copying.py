"""Clips without loss: the packets of a video as they are, from a key frame on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from hrpro.extract.probe import VideoInfo, naming, open_video
from hrpro.extract.pyav import rational, tick_s
from hrpro.files import atomic_path
from hrpro.pipeline.clips.encode import Encoding
from hrpro.pipeline.clips.reading import can_jump
from hrpro.pipeline.render.h264 import container_options, naming_output
from hrpro.pipeline.render.sound import COPIED_CODECS

_COPIED_VIDEO = {"h264", "hevc", "av1", "vp9", "mpeg4"}
"""Codecs that players expect in MP4."""
_NEAR_S = Fraction(1, 50)
"""A key frame that is so little late is at the begin."""
_RUN_UP_S = Fraction(1, 10)
"""So much sound goes before the begin: decoders need it, players leave it out."""


class CannotCopy(Exception):
    """Why a clip has to be encoded again."""


@dataclass(frozen=True)
class _Part:
    """What is copied of a video, by the clock of its packets."""

    video: VideoStream
    sound: AudioStream | None
    begin_s: Fraction
    end_s: Fraction

    def packets(self, container: InputContainer) -> Iterator[av.Packet]:
        """The packets, read from where the container is.

        A picture behind the end comes along only if one before the end is made from it.
        """
        streams = [stream for stream in (self.video, self.sound) if stream is not None]
        open_streams = {stream.index for stream in streams}
        behind: list[av.Packet] = []
        for packet in _with_dts(container.demux(*streams), self.video):
            assert packet.pts is not None and packet.dts is not None
            index, tick = packet.stream.index, tick_s(packet.stream)
            if packet.dts * tick >= self.end_s:
                open_streams.discard(index)
                if not open_streams:
                    return
            elif packet.pts * tick < self.begin_s - (0 if index == self.video.index else _RUN_UP_S):
                continue  # pictures that lead up to the key frame, sound before it
            elif index == self.video.index:
                behind.append(packet)
                if packet.pts * tick < self.end_s:
                    yield from behind
                    behind.clear()
            elif packet.pts * tick < self.end_s:
                yield packet


def copy_clip(encoding: Encoding, info: VideoInfo, tolerance_s: float) -> float:
    """Write a clip of one piece by copying packets; return its length in seconds.

    It begins at the key frame before the piece, and ends with the last picture that begins in it.

    Args:
        encoding: the clip.
        info: its video.
        tolerance_s: how much earlier the key frame may lie.

    Raises:
        CannotCopy: no key frame is near enough, or MP4 does not hold such streams.
        HrproError: the file cannot be written.
    """
    (piece,) = encoding.film.pieces
    clock_s = Fraction(info.clock_start_s)
    with naming(info.path), open_video(info.path, stream=info.stream) as (container, video, _):
        sound = _sound(container)
        _check_codecs(container, video, sound)
        wanted_s = Fraction(piece.start_s) + clock_s
        begin_s = _seek(container, video, wanted_s + _NEAR_S)
        if wanted_s - begin_s > tolerance_s:
            far_s = float(wanted_s - begin_s)
            raise CannotCopy(f"the key frame lies {far_s:.2f} s before it (--tolerance)")
        part = _Part(video, sound, begin_s, Fraction(piece.end_s) + clock_s)
        with (
            atomic_path(encoding.target) as temporary,
            naming_output(encoding.target),
            av.open(
                f"file:{temporary.absolute()}", "w", options=container_options(encoding.target)
            ) as output,
        ):
            output.metadata.update({"title": encoding.film.title, "comment": encoding.comment})
            copies: dict[int, Stream] = {video.index: output.add_stream_from_template(video)}
            if sound is not None:
                copies[sound.index] = output.add_stream_from_template(sound)
            end_s = begin_s
            for packet in part.packets(container):
                tick = tick_s(packet.stream)
                if packet.stream is video:
                    assert packet.pts is not None
                    end_s = max(end_s, (packet.pts + (packet.duration or 0)) * tick)
                _shift(packet, -round(begin_s / tick))
                packet.stream = copies[packet.stream.index]
                output.mux(packet)
    return float(end_s - begin_s)


def _sound(container: InputContainer) -> AudioStream | None:
    found = container.streams.best("audio")
    return found if isinstance(found, AudioStream) else None


def _check_codecs(container: InputContainer, video: VideoStream, sound: AudioStream | None) -> None:
    if not can_jump(container):
        raise CannotCopy(f"the format {container.format.name} is not copied from")
    for stream, known in ((video, _COPIED_VIDEO), (sound, COPIED_CODECS)):
        if stream is not None and (name := stream.codec_context.codec.canonical_name) not in known:
            raise CannotCopy(f"{stream.type} in {name} is not copied into MP4")


def _seek(container: InputContainer, video: VideoStream, time_s: Fraction) -> Fraction:
    """Go to the last key frame that is shown by a time; return when that is.

    Raises:
        CannotCopy: there is none.
    """
    tick = tick_s(video)
    ticks = int(time_s / tick)
    for _ in range(3):  # the index has the order of decoding, in which it may come earlier
        try:
            container.seek(ticks, stream=video)
            first = next(packet for packet in container.demux(video) if packet.pts is not None)
            container.seek(ticks, stream=video)
        except (av.FFmpegError, StopIteration):
            break
        assert first.pts is not None
        if first.is_keyframe and first.pts * tick <= time_s:
            return first.pts * tick
        ticks = (first.pts if first.dts is None else first.dts) - 1
    raise CannotCopy("there is no key frame before it")


def _with_dts(packets: Iterator[av.Packet], video: VideoStream) -> Iterator[av.Packet]:
    """Give decoding times to the first pictures behind a jump, which Matroska leaves without."""
    waiting: list[av.Packet] = []
    for packet in packets:
        if packet.pts is None:
            continue
        waiting.append(packet)
        if packet.dts is None or (packet.stream is not video and len(waiting) > 1):
            continue
        early = [each for each in waiting if each.dts is None]
        rate = rational(video.average_rate) or Fraction(25)
        step = packet.duration or round(1 / rate / tick_s(video))
        for number, each in enumerate(reversed(early), start=1):
            each.dts = packet.dts - number * step
        yield from waiting
        waiting.clear()


def _shift(packet: av.Packet, ticks: int) -> None:
    assert packet.pts is not None and packet.dts is not None
    packet.pts += ticks
    packet.dts += ticks
