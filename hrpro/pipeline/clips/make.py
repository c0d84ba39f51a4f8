"""``hrpro clips``: every event as a video file, or reels of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import av

from hrpro.errors import HrproError
from hrpro.extract.probe import VideoInfo, probe
from hrpro.files import check_folder, inside, remove_leftovers
from hrpro.pipeline.clips.copying import CannotCopy, copy_clip
from hrpro.pipeline.clips.encode import Encoding, encode_films
from hrpro.pipeline.clips.plan import ClipOptions, Film
from hrpro.pipeline.console.progress import Failure, Reporter
from hrpro.pipeline.results.model import Results, VideoResult
from hrpro.pipeline.video_files import VideoFiles
from hrpro.wording import count, one_line

if TYPE_CHECKING:
    import pandas as pd

How = Literal["encoded", "copied", "kept"]
_TOLD: dict[How, str] = {
    "encoded": "encoded again",
    "copied": "copied",
    "kept": "there already",
}


@dataclass(frozen=True)
class Clip:
    """A file with an event, or with several: a reel."""

    path: Path
    how: How
    """``encoded`` again, exact to a picture; ``copied`` from a key frame on; ``kept`` as it was."""
    duration_s: float | None
    """None for what was there already."""
    video_ids: tuple[str, ...]
    labels: tuple[str, ...]
    start_s: float
    """Of its first piece, in its video, as asked for."""
    end_s: float
    """Of its last piece."""
    note: str = ""

    def line(self) -> str:
        """The clip in one line."""
        length = "" if self.duration_s is None else f"{self.duration_s:.2f} s, "
        note = f": {self.note}" if self.note else ""
        return f"{self.path} ({length}{_TOLD[self.how]}{note})"


@dataclass(frozen=True)
class Clips:
    """What became of the clips that were asked for.

    Attributes:
        clips: those that are there, in the order of videos and times.
        failed: videos and events that none could be made of.
    """

    clips: tuple[Clip, ...]
    failed: tuple[Failure, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "clips": [{**asdict(clip), "path": str(clip.path)} for clip in self.clips],
            "failed": [asdict(each) for each in self.failed],
        }

    def to_dataframe(self) -> pd.DataFrame:
        """A row per clip.

        Columns: ``path``, ``how``, ``duration_s``, ``video_ids``, ``labels``, ``start_s``,
        ``end_s``, ``note``; see `Clip`.
        """
        import pandas as pd

        names = [each.name for each in fields(Clip)]
        rows = [[getattr(clip, name) for name in names] for clip in self.clips]
        return pd.DataFrame(rows, columns=names)

    def line(self) -> str:
        """All of it in one line."""
        kinds = (sum(clip.how == how for clip in self.clips) for how in _TOLD)
        parts = (
            f"{number} {_TOLD[how]}" for how, number in zip(_TOLD, kinds, strict=True) if number
        )
        text = f"{count(len(self.clips), 'clip')}: {', '.join(parts) or 'nothing to cut'}"
        return text + (f"; {len(self.failed)} failed" if self.failed else "")


@dataclass(frozen=True)
class Footage:
    """The videos of results that have events and can be opened.

    Attributes:
        videos: results with their files.
        infos: what the files are.
        failed: the other videos, and what is wrong with them.
    """

    videos: tuple[tuple[VideoResult, Path], ...]
    infos: Mapping[Path, VideoInfo]
    failed: tuple[Failure, ...]


def open_footage(results: Results, videos: Path | None, reporter: Reporter) -> Footage:
    """Find and open the videos with events; one that fails is told of.

    Args:
        results: their `spans` are the events.
        videos: folder in which they are looked for first.
        reporter: where problems go.
    """
    files = VideoFiles(videos)
    found: list[tuple[VideoResult, Path]] = []
    infos: dict[Path, VideoInfo] = {}
    failed: list[Failure] = []
    for video in results.videos:
        if not video.spans:
            continue
        try:
            path = files.get(video)
            infos[path] = probe(path)
            found.append((video, path))
        except HrproError as error:
            failed.append(Failure(video.video_id, one_line(error)))
            reporter.problem(f"failed: {one_line(error)}")
    return Footage(tuple(found), infos, tuple(failed))


def make_clips(
    footage: Footage, films: Sequence[Film], out: Path, options: ClipOptions, reporter: Reporter
) -> Clips:
    """Write films. Each appears when it is complete.

    What an earlier call has made is left as it is, if it is the same part of the same video.

    Args:
        footage: the videos.
        films: see `plan_films`.
        out: the folder for them.
        options: copying, and whether to make again what is there.
        reporter: where progress goes.

    Raises:
        HrproError: a file cannot be written.
    """
    check_folder(out)
    made: dict[Film, Clip] = {}
    failed = list(footage.failed)

    def told(film: Film, how: How, duration_s: float | None, note: str = "") -> None:
        if duration_s == 0:
            first = film.pieces[0]
            failed.append(Failure(f"{first.video_id}: {film.title} at {first.start_s:.2f} s", note))
            reporter.problem(f"failed: {failed[-1].path}: {note}")
            return
        made[film] = _clip(film, out, how, duration_s, note)
        reporter.line(made[film].line())

    to_encode: list[Encoding] = []
    reasons: dict[Film, str] = {}
    for film in films:
        target = inside(out, film.name)
        encoding = Encoding(film, target, origin(film, options))
        if not options.overwrite and is_complete(encoding):
            told(film, "kept", None)
            continue
        remove_leftovers(target)
        if options.copy:
            try:
                info = footage.infos[film.pieces[0].path]
                told(film, "copied", copy_clip(encoding, info, options.tolerance_s))
                continue
            except CannotCopy as reason:
                reasons[film] = str(reason)
        to_encode.append(encoding)

    def encoded(film: Film, duration_s: float, note: str) -> None:
        why = reasons.get(film) if duration_s else None
        told(film, "encoded", duration_s, "; ".join(filter(None, (why, note))))

    encode_films(to_encode, footage.infos, encoded)
    return Clips(tuple(made[film] for film in films if film in made), tuple(failed))


def origin(film: Film, options: ClipOptions) -> str:
    """Where a film comes from, as JSON: videos, events, original times in seconds."""
    pieces = [
        {
            "video": piece.video_id,
            "file": piece.path.name,
            "size_bytes": piece.path.stat().st_size,
            "start_s": round(piece.start_s, 6),
            "end_s": round(piece.end_s, 6),
            "events": [
                {key: value for key, value in asdict(event).items() if value not in (None, ())}
                for event in piece.events
            ],
        }
        for piece in film.pieces
    ]
    return json.dumps({"clip": 1, "copy": options.copy, "pieces": pieces}, ensure_ascii=False)


def is_complete(encoding: Encoding) -> bool:
    """Whether the file is there and of the same origin."""
    if not encoding.target.is_file():
        return False
    try:
        with av.open(f"file:{encoding.target.absolute()}") as container:
            return container.metadata.get("comment") == encoding.comment
    except (av.FFmpegError, UnicodeDecodeError):
        return False


def _clip(film: Film, out: Path, how: How, duration_s: float | None, note: str) -> Clip:
    return Clip(
        out / film.name,
        how,
        None if duration_s is None else round(duration_s, 6),
        tuple(dict.fromkeys(piece.video_id for piece in film.pieces)),
        tuple(dict.fromkeys(event.label for piece in film.pieces for event in piece.events)),
        film.pieces[0].start_s,
        film.pieces[-1].end_s,
        note,
    )
