"""One film under way: pictures and sound of its pieces, one after the other, in one file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from PIL import Image

from hrpro.extract.probe import VideoInfo
from hrpro.files import atomic_path
from hrpro.pipeline.clips.plan import Film, Piece
from hrpro.pipeline.clips.reading import SOUND_LAYOUT, SOUND_RATE, Heard, Shown
from hrpro.pipeline.render.h264 import Encoder, container_options, even, naming_output
from hrpro.pipeline.results.interchange.timecode import timecode_after

CRF = 18
"""x264's constant rate factor: no difference is seen."""
_SNAP_S = 0.05
"""A cut is moved to the edge of a picture by so much at most, and by half of the picture."""
_SOUND_GAP_S = 0.02
"""Smaller gaps in the sound are rounding of its times."""


class FilmWriter:
    """Writes the file of a film; it appears when it is complete.

    Nothing is opened before the first picture, and nothing held behind the last one.

    Args:
        film: the pieces.
        target: the file.
        infos: of the videos of the pieces, by their paths.
        comment: is put into the file.
    """

    def __init__(self, film: Film, target: Path, infos: Mapping[Path, VideoInfo], comment: str):
        self.film = film
        self.target = target
        self._infos = [infos[piece.path] for piece in film.pieces]
        self._comment = comment
        self._output: _Output | None = None
        self._written_s = 0.0
        self._begin_s = 0.0
        """Of the piece under way, in the clock of its video."""

    @property
    def duration_s(self) -> float:
        """Length of the pieces that are finished."""
        return self._written_s

    def begin(self, start_s: float) -> None:
        """Begin with the next piece, at a time of its video."""
        if self._output is None:
            self._output = self._open()
        self._begin_s = start_s
        if self._output.sound is not None:
            self._output.sound.begin(start_s)

    def show(self, picture: np.ndarray, start_s: float, end_s: float) -> None:
        """Write a picture of the piece; times are those of its video."""
        output, offset_s = self._output, self._written_s - self._begin_s
        assert output is not None
        if output.sound is not None:
            output.sound.write_until(start_s)
        picture = _fitted(even(picture), output.size)
        output.encoder.write(picture, start_s + offset_s, end_s + offset_s)

    def hear(self, heard: Heard) -> None:
        """Take sound of the piece, and what comes before and after it."""
        if self._output is not None and self._output.sound is not None:
            self._output.sound.take(heard)

    def end(self, end_s: float) -> None:
        """End the piece at a time of its video."""
        if self._output is not None and self._output.sound is not None:
            self._output.sound.write_until(end_s, fill=True)
        self._written_s += end_s - self._begin_s

    def finish(self) -> None:
        """Complete the file.

        Raises:
            HrproError: it cannot be written.
        """
        assert self._output is not None
        with self._output.exit.pop_all():
            self._output.encoder.finish()
            if self._output.sound is not None:
                self._output.sound.finish()
        self._output = None

    def abort(self, error: BaseException) -> None:
        """Leave no file behind."""
        if self._output is not None:
            self._output.exit.pop_all().__exit__(type(error), error, error.__traceback__)
            self._output = None

    def _open(self) -> _Output:
        first = self._infos[0]
        exit_stack = ExitStack()
        temporary = exit_stack.enter_context(atomic_path(self.target))
        exit_stack.enter_context(naming_output(self.target))
        output = exit_stack.enter_context(
            av.open(f"file:{temporary.absolute()}", "w", options=container_options(self.target))
        )
        size = first.width // 2 * 2, first.height // 2 * 2
        encoder = Encoder(output, *size, first.average_fps, CRF)
        with_sound = any(info.has_audio for info in self._infos)
        sound = FilmSound(output) if with_sound else None
        output.metadata.update({"title": self.film.title, "comment": self._comment})
        start_s = self.film.pieces[0].start_s
        if timecode := timecode_after(first.timecode, start_s, first.average_fps):
            output.metadata["timecode"] = timecode
        return _Output(exit_stack, size, encoder, sound)


@dataclass(frozen=True)
class _Output:
    """The file of a film while it is open."""

    exit: ExitStack
    size: tuple[int, int]
    encoder: Encoder
    sound: FilmSound | None


class Cut:
    """One piece of a film while its video goes by."""

    def __init__(self, piece: Piece, writer: FilmWriter):
        self.piece = piece
        self.writer = writer
        self.has_all = False
        """Whether nothing more of the video is wanted."""
        self.is_done = False
        self._shown_until_s: float | None = None
        self._heard_s = -math.inf

    def show(self, shown: Shown, heard: Sequence[Heard]) -> None:
        """Take the next picture of the video, and the sound to it."""
        if self.has_all or shown.end_s <= self.piece.start_s:
            return
        start_s, end_s = shown.start_s, _snapped(self.piece.end_s, shown)
        if self._shown_until_s is None:
            start_s = _snapped(self.piece.start_s, shown)
            if start_s >= shown.end_s:
                if self.piece.end_s > shown.end_s:
                    return  # the next picture is nearer
                start_s = shown.start_s  # there may be no next one
            self.writer.begin(start_s)
            end_s = end_s if end_s > start_s else shown.end_s  # one picture, at least
        if end_s > start_s:
            self.writer.show(shown.picture, start_s, end_s)
            self._shown_until_s = end_s
        for each in heard:
            if each.start_s > self._heard_s:
                self._heard_s = each.start_s
                self.writer.hear(each)
        self.has_all = shown.end_s >= self.piece.end_s

    def finish(self) -> None:
        """Nothing more of the video is needed, or to be had."""
        if self._shown_until_s is not None:
            self.writer.end(self._shown_until_s)
        self.is_done = True


class FilmSound:
    """The sound of a film, in step with its pictures to a sample.

    Args:
        output: gets a stream for it, which must be added before anything is written.
    """

    def __init__(self, output: OutputContainer):
        stream = output.add_stream("aac", rate=SOUND_RATE)
        assert isinstance(stream, AudioStream)
        stream.layout = SOUND_LAYOUT
        self._output, self._stream = output, stream
        self._fifo = av.AudioFifo()
        self._buffer: list[np.ndarray] = []
        self._buffered = 0
        self._written = 0
        self._begin_s = 0.0
        self._begin = 0

    def begin(self, start_s: float) -> None:
        """A piece begins, at a time of its video."""
        self._buffer, self._buffered = [], 0
        self._begin_s, self._begin = start_s, self._written

    def take(self, heard: Heard) -> None:
        """Put sound where it belongs; silence fills gaps."""
        samples = heard.samples
        gap = self._at(heard.start_s) - self._written - self._buffered
        if gap < 0 and (-gap > _SOUND_GAP_S * SOUND_RATE or not self._has_begun):
            samples = samples[:, -gap:]
        elif gap > (_SOUND_GAP_S * SOUND_RATE if self._has_begun else 0):
            self._append(np.zeros((2, gap), np.float32))
        self._append(samples)

    def write_until(self, end_s: float, fill: bool = False) -> None:
        """Write what comes before a time of the video, with silence to its end if `fill`."""
        wanted = self._at(end_s) - self._written
        if fill and wanted > self._buffered:
            self._append(np.zeros((2, wanted - self._buffered), np.float32))
        wanted = min(wanted, self._buffered)
        if wanted <= 0:
            return
        samples = np.concatenate(self._buffer, axis=1)
        self._buffer, self._buffered = [samples[:, wanted:]], samples.shape[1] - wanted
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples[:, :wanted]), format="fltp", layout=SOUND_LAYOUT
        )
        frame.sample_rate, frame.pts = SOUND_RATE, self._written
        frame.time_base = Fraction(1, SOUND_RATE)
        self._written += wanted
        self._fifo.write(frame)
        for full in self._fifo.read_many(self._stream.codec_context.frame_size or 1024):
            self._output.mux(self._stream.encode(full))

    def finish(self) -> None:
        """Write what is left."""
        if (rest := self._fifo.read(0, partial=True)) is not None:
            self._output.mux(self._stream.encode(rest))
        self._output.mux(self._stream.encode(None))

    @property
    def _has_begun(self) -> bool:
        return bool(self._buffered) or self._written > self._begin

    def _at(self, time_s: float) -> int:
        """The sample of the film at a time of the video."""
        return self._begin + round((time_s - self._begin_s) * SOUND_RATE)

    def _append(self, samples: np.ndarray) -> None:
        self._buffer.append(samples)
        self._buffered += samples.shape[1]


def _snapped(time_s: float, shown: Shown) -> float:
    """Where to cut within a picture: at its edges if they are near, else exactly there."""
    near_s = min((shown.end_s - shown.start_s) / 2, _SNAP_S)
    if time_s <= shown.start_s + near_s:
        return shown.start_s
    if time_s >= shown.end_s - near_s:
        return shown.end_s
    return time_s


def _fitted(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Make a picture as large as the film, with black beside or above it if need be."""
    height, width = picture.shape[:2]
    if (width, height) == size:
        return picture
    scale = min(size[0] / width, size[1] / height)
    small = Image.fromarray(picture).resize(
        (max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.BILINEAR
    )
    whole = Image.new("RGB", size)
    whole.paste(small, ((size[0] - small.width) // 2, (size[1] - small.height) // 2))
    return np.asarray(whole)
