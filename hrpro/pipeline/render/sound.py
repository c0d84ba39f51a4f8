"""The sound of a preview: copied where that plays everywhere, else encoded again as AAC."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer

from hrpro.extract.probe import open_video
from hrpro.extract.pyav import tick_s

# Browsers and phones play these in MP4; FLAC, Opus, AC-3 or PCM only some of them.
COPIED_CODECS = {"aac", "mp3"}
HIGHEST_RATE = 48_000


class Sound:
    """Carries the first audio stream of a video over to a file that is being written.

    The input is opened a second time, because sound and picture are decoded at their own pace.
    Does nothing for a video without sound.

    Args:
        path: the video.
        start_s: the timestamp that becomes 0, in seconds: `VideoInfo.clock_start_s`.
        output: where the sound goes; its stream is added at once, before the header is written.
    """

    def __init__(self, path: Path, start_s: float, output: OutputContainer) -> None:
        self._start_s = start_s
        self._output = output
        self._ready: av.Packet | None = None
        self._packets = self._read(path)
        self._advance()  # as far as the first packet, by which time the stream is set up

    def write_until(self, time_s: float) -> None:
        """Write the packets that begin before `time_s` seconds."""
        while self._ready is not None and _begin_s(self._ready) < time_s:
            self._output.mux_one(self._ready)
            self._advance()

    def close(self) -> None:
        """Close the input."""
        self._packets.close()

    def _advance(self) -> None:
        self._ready = next(self._packets, None)

    def _read(self, path: Path) -> Generator[av.Packet]:
        with open_video(path) as (container, *_):
            source = container.streams.best("audio")
            if not isinstance(source, AudioStream) or source.codec_context is None:
                return
            if not source.rate:
                return
            shifted = self._shifted(container, source)
            if source.codec_context.codec.canonical_name in COPIED_CODECS:
                yield from self._copied(shifted, self._output.add_stream_from_template(source))
            else:
                target = self._output.add_stream("aac", rate=min(source.rate, HIGHEST_RATE))
                target.layout = "mono" if source.channels == 1 else "stereo"
                yield from _encoded(shifted, target)

    def _shifted(
        self, container: av.container.InputContainer, source: AudioStream
    ) -> Iterator[av.Packet[AudioStream]]:
        """Yield the packets on the clock of the preview, without those before its begin."""
        shift = round(self._start_s / tick_s(source))
        last_dts = None
        try:
            for packet in container.demux(source):
                if packet.pts is None or packet.dts is None:  # the end mark among them
                    continue
                packet.pts -= shift
                packet.dts -= shift
                # Damaged files step back in time, which no container takes.
                if packet.pts >= 0 and (last_dts is None or packet.dts > last_dts):
                    last_dts = packet.dts
                    yield packet
        except av.FFmpegError:
            return  # a file that is cut off: the sound ends there, as the picture does

    @staticmethod
    def _copied(
        packets: Iterator[av.Packet[AudioStream]], target: AudioStream
    ) -> Iterator[av.Packet]:
        for packet in packets:
            packet.stream = target
            yield packet


def _encoded(packets: Iterator[av.Packet[AudioStream]], target: AudioStream) -> Iterator[av.Packet]:
    for packet in packets:
        try:
            frames = packet.decode()
        except av.FFmpegError:
            continue  # a damaged packet costs its own few milliseconds
        for frame in frames:
            yield from target.encode(frame)
    yield from target.encode(None)


def _begin_s(packet: av.Packet) -> float:
    assert packet.pts is not None  # none without gets here
    return float(packet.pts * packet.time_base)
