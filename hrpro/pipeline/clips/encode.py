"""Encode films: each video goes by once, or in jumps, and all that needs a picture takes it."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from hrpro.errors import VideoError
from hrpro.extract.probe import VideoInfo
from hrpro.pipeline.clips.film import Cut, FilmWriter
from hrpro.pipeline.clips.plan import Film
from hrpro.pipeline.clips.reading import Heard, pictures, sound
from hrpro.pipeline.results.ranges import Range
from hrpro.wording import one_line

MOST_OPEN = 8
"""Films that are written at a time; an encoder takes some 50 MB."""


@dataclass(frozen=True)
class Encoding:
    """A film to be encoded."""

    film: Film
    target: Path
    comment: str


Told = Callable[[Film, float, str], None]
"""Takes a film that is done with: its length in seconds, 0 if there is none, and what to say."""


def encode_films(
    encodings: Sequence[Encoding], infos: Mapping[Path, VideoInfo], done: Told
) -> None:
    """Write films, as exactly as pictures and samples allow.

    Films that overlap in time are written together, so that a video is not read once for each.

    Args:
        encodings: in any order.
        infos: of all videos.
        done: is told of each film.

    Raises:
        HrproError: a file cannot be written.
    """
    places = {path: index for index, path in enumerate(infos)}
    for wave in _waves(encodings, places):
        with _open_films(wave, infos) as writers:
            _encode_together(writers, infos, done)


def _waves(encodings: Sequence[Encoding], places: Mapping[Path, int]) -> Iterator[list[Encoding]]:
    """Deal films out so that never more than `MOST_OPEN` of a wave overlap."""

    def span(encoding: Encoding) -> tuple[tuple[int, float], tuple[int, float]]:
        first, last = encoding.film.pieces[0], encoding.film.pieces[-1]
        return (places[first.path], first.start_s), (places[last.path], last.end_s)

    lanes: list[list[Encoding]] = []
    ends: list[tuple[int, float]] = []
    for encoding in sorted(encodings, key=span):
        start, end = span(encoding)
        free = next((lane for lane, until in enumerate(ends) if until <= start), None)
        if free is None:
            lanes.append([encoding])
            ends.append(end)
        else:
            lanes[free].append(encoding)
            ends[free] = end
    for first in range(0, len(lanes), MOST_OPEN):
        yield [each for lane in lanes[first : first + MOST_OPEN] for each in lane]


@contextmanager
def _open_films(
    wave: Sequence[Encoding], infos: Mapping[Path, VideoInfo]
) -> Iterator[list[FilmWriter]]:
    """The writers of films; whatever ends the block, no file is left half-written."""
    writers = [FilmWriter(each.film, each.target, infos, each.comment) for each in wave]
    try:
        yield writers
    except BaseException as error:
        with ExitStack() as stack:
            for writer in writers:
                stack.callback(writer.abort, error)
        raise


def _encode_together(
    writers: Sequence[FilmWriter], infos: Mapping[Path, VideoInfo], done: Told
) -> None:
    by_video: defaultdict[Path, list[Cut]] = defaultdict(list)
    left = {writer.film: len(writer.film.pieces) for writer in writers}
    notes: dict[Film, str] = {}
    for writer in writers:
        for piece in writer.film.pieces:
            by_video[piece.path].append(Cut(piece, writer))

    def finish(cut: Cut, note: str = "") -> None:
        cut.finish()
        writer, film = cut.writer, cut.writer.film
        left[film] -= 1
        notes[film] = note or notes.get(film, "")
        if not left[film]:
            if writer.duration_s:
                writer.finish()
            done(film, writer.duration_s, notes[film])

    for path, info in infos.items():
        cuts = sorted(by_video.pop(path, ()), key=lambda cut: cut.piece.start_s)
        try:
            _run_through(info, cuts, finish)
        except VideoError as error:
            for cut in cuts:
                if not cut.is_done:
                    finish(cut, one_line(error))


def _run_through(info: VideoInfo, cuts: Sequence[Cut], finish: Callable[[Cut, str], None]) -> None:
    """Show the pictures of a video, and its sound, to all cuts that want them."""
    if not cuts:
        return
    ranges = [(cut.piece.start_s, cut.piece.end_s) for cut in cuts]
    waiting, running = list(reversed(cuts)), list[Cut]()
    end_s = info.end_s or info.start_s
    with closing(_Listening(info, ranges)) as listening:
        for shown in pictures(info, ranges):
            end_s = shown.end_s
            while waiting and waiting[-1].piece.start_s < shown.end_s:
                running.append(waiting.pop())
            heard = listening.between(shown.start_s, shown.end_s) if running else []
            for cut in running:
                cut.show(shown, heard)
                if cut.has_all:
                    finish(cut, "")
            running = [cut for cut in running if not cut.is_done]
    for cut in [*running, *reversed(waiting)]:
        finish(cut, f"the video ends at {end_s:.2f} s, before {cut.piece.end_s:.2f} s")


class _Listening:
    """The sound of a video while its pictures go by."""

    def __init__(self, info: VideoInfo, ranges: Sequence[Range]):
        self._source = sound(info, ranges)
        self._at_hand: deque[Heard] = deque()
        self._is_over = False

    def between(self, start_s: float, end_s: float) -> list[Heard]:
        """The sound between two times, which never go back."""
        while self._at_hand and self._at_hand[0].end_s <= start_s:
            self._at_hand.popleft()
        while not self._is_over and (not self._at_hand or self._at_hand[-1].end_s < end_s):
            if (heard := next(self._source, None)) is None:
                self._is_over = True
            elif heard.end_s > start_s:
                self._at_hand.append(heard)
        return [heard for heard in self._at_hand if heard.start_s < end_s]

    def close(self) -> None:
        """Close the file."""
        self._source.close()
