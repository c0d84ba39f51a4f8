"""Which video is meant: the one place that turns names of videos into video ids.

The id of a video is its path below the folder that was searched, with forward slashes, in Unicode
form NFC, without the suffix: ``mon/GX010001``. People, tools and file systems spell it otherwise:
with a suffix (``a.mp4``), with more folders or fewer, in upper case, as macOS takes letters apart
(NFD), with the ``v_`` that ActivityNet puts before names of files.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath

_CONTAINERS = (
    "3g2 3gp 3gp2 3gpp 3gpp2 amv asf avi divx dvr-ms evo f4v flv gxf ismv m4v mj2 mk3d mkv mov mp4 "
    "mp4v mpe mpeg mpeg2 mpeg4 mpg mpg2 mpv2 mxf nsv nut ogm ogv qt rm rmvb vob vro webm wm wmv wtv"
)
# Of cameras, recorders and broadcasts: JVC, AVCHD, HDV, Dahua, Insta360, GoPro MAX.
_CAMERAS = "360 dav insv m2p m2t m2ts mod mp2t mts tod tp trp ts"
_BARE_STREAMS = (
    "264 265 266 av1 avc dv h261 h263 h264 h265 h266 h64 hevc ivf m1v m2v mjpeg mjpg mpv obu vvc "
    "y4m"
)
_PICTURES = "apng gif"
VIDEO_SUFFIXES = frozenset(
    f".{name}"
    for names in (_CONTAINERS, _CAMERAS, _BARE_STREAMS, _PICTURES)
    for name in names.split()
)
"""What files that hold a video end in, in lower case."""
PREVIEW_SUFFIXES = frozenset({".lrf", ".lrv"})
"""Small copies that cameras put beside each video (DJI, GoPro): the same video once more."""

_ACTIVITYNET_PREFIX = re.compile("^(v_)+")  # names on YouTube may begin so, too
_WORDS = re.compile(r"[^\W\d_]+|\d+")
_SEPARATOR = re.compile(r"\\(?!x[0-9a-f]{2})")  # ``\xff`` spells a byte that is not UTF-8
_SHORTEST_WORD = 4  # in which a slip is told from another name: cam_a and cam_b are two


@dataclass(frozen=True)
class Match:
    """Which known video a name means."""

    video_id: str | None = None
    """The known id; None if no known video is meant, or there is no telling which."""
    problem: str = ""
    """Why there is no telling: several videos fit, or the name is a near miss of one."""
    near: str | None = None
    """The known id that the name misses narrowly."""


def video_suffix(name: str) -> str:
    """The suffix of the name of a video as it is written, or nothing: ``v1.2`` has none."""
    suffix = PurePosixPath(name).suffix
    return suffix if suffix.lower() in VIDEO_SUFFIXES | PREVIEW_SUFFIXES else ""


def names_video(name: str) -> bool:
    """Whether a name or path ends like that of a video, small copies not counted."""
    return PurePosixPath(name).suffix.lower() in VIDEO_SUFFIXES


def video_id_of(path: str) -> str:
    """Return the id of the video at a path below the folder of the videos.

    Folders stay, as the ids of two videos of one name in two folders must differ. Those of an
    absolute path, and of one that leads out of the folder with ``..``, say nothing and go.
    """
    parts = [part for part in _SEPARATOR.sub("/", path).split("/") if part not in ("", ".")]
    if ".." in parts or path.startswith(("/", "\\")) or PureWindowsPath(path).drive:
        parts = parts[-1:]
    name = "/".join(parts) or path
    return unicodedata.normalize("NFC", name.removesuffix(video_suffix(name)) or name)


def distinct_ids(paths: Iterable[str]) -> dict[str, str]:
    """Return the ids of several videos, of which no two are equal.

    Two videos that differ only in their suffix keep it: ``a.avi`` and ``a.mp4``. Two of which
    only absolute paths are known get the folders below the one that holds all of equal name.

    Args:
        paths: of the videos below their folder, or absolute; each counts once.

    Returns:
        path -> id.
    """
    spellings = {path: list(_spellings(path)) for path in dict.fromkeys(paths)}
    chosen = dict.fromkeys(spellings, 0)
    while True:
        ids = {path: spellings[path][index] for path, index in chosen.items()}
        uses = Counter(ids.values())
        vague = [
            path
            for path, index in chosen.items()
            if uses[ids[path]] > 1 and index + 1 < len(spellings[path])
        ]
        if not vague:
            return ids
        for path in vague:
            chosen[path] += 1


def match(name: str, known: Iterable[str]) -> Match:
    """Find the known video that `name` means; `KnownVideos` is faster for many names."""
    return KnownVideos(known).match(name)


class KnownVideos:
    """Known video ids, and which of them is meant by names that others gave."""

    def __init__(self, known: Iterable[str]) -> None:
        self._names: dict[str, _Name] = {}
        self._by_base: defaultdict[str, list[str]] = defaultdict(list)
        self._by_slip: dict[str, str] | None = None
        self._add(known)

    def _add(self, video_ids: Iterable[str]) -> None:
        for video_id in video_ids:
            if video_id not in self._names:
                self._names[video_id] = name = _Name.of(video_id)
                self._by_base[name.base.casefold()].append(video_id)
        self._by_slip = None

    def match(self, name: str) -> Match:
        """Find the known video that `name` means.

        The name itself goes first; then what differs in the suffix, in upper and lower case, in
        the ``v_`` of ActivityNet, and in folders that only one of the two has, in this order. Two
        that fit equally well are ambiguous; two different suffixes or folders never fit.
        """
        if name in self._names:
            return Match(name)
        mine = _Name.of(name)
        costs = {
            video_id: cost
            for video_id in self._by_base.get(mine.base.casefold(), ())
            if (cost := mine.distance(self._names[video_id])) is not None
        }
        if costs:
            least = min(costs.values())
            fitting = sorted(video_id for video_id, cost in costs.items() if cost == least)
            if least[0] and not self._names[fitting[0]].folders:
                # mon/a is hardly a, if there is a tue/a, too
                fitting = sorted(self._by_base[mine.base.casefold()])
            if len(fitting) == 1:
                return Match(fitting[0])
            several = " or ".join(map(repr, fitting[:3]))
            return Match(problem=f"{name!r} can be {several}: name the folder and the suffix, too")
        near = self._near(mine)
        if near is None:
            return Match()
        return Match(problem=f"there is no video {name!r}; did you mean {near!r}?", near=near)

    def match_all(self, names: Iterable[str]) -> dict[str, Match]:
        """Find the known video of every name; two videos never become one.

        Names from two folders (``mon/a`` and ``tue/a``) that would both be the one known ``a``
        are ambiguous, likewise ``a.avi`` and ``a.mp4``. Where ``a`` itself is among the names,
        ``mon/a`` is another video.
        """
        matches = {name: self.match(name) for name in names}
        rivals: defaultdict[str, list[str]] = defaultdict(list)
        for name, found in matches.items():
            if found.video_id is not None:
                rivals[found.video_id].append(name)
        for video_id, same in rivals.items():
            if video_id in matches:
                others = [name for name in same if not self._is(name, video_id)]
                matches.update(dict.fromkeys(others, Match()))
                same = [name for name in same if name not in others and name != video_id]
            if not _one_video([_Name.of(name) for name in same], self._names[video_id]):
                several = " and ".join(map(repr, sorted(same)[:3]))
                problem = f"{several} could all be {video_id!r}: name them as the videos are named"
                matches.update(dict.fromkeys(same, Match(problem=problem)))
        return matches

    def _is(self, name: str, video_id: str) -> bool:
        """Whether a name that fits a known video can be one where that is named itself, too."""
        known = self._names[video_id]
        return _one_video([_Name.of(name), known], known)

    def adopt(self, names: Iterable[str]) -> dict[str, Match]:
        """As `match_all`, but names that mean no known video make more of them known.

        Their ids are those of `video_id_of`, with the suffix where names differ in it.
        """
        matches = self.match_all(names)
        new: defaultdict[str, list[str]] = defaultdict(list)
        for name, found in matches.items():
            if found.video_id is None and (found.near or not found.problem):
                new[video_id_of(name)].append(name)
        for video_id, same in new.items():
            suffixes = {video_suffix(name).lower() for name in same} - {""}
            for name in same:
                full = video_id + video_suffix(name)
                matches[name] = Match(full if len(suffixes) > 1 else video_id)
        self._add(found.video_id for found in matches.values() if found.video_id is not None)
        return matches

    def _near(self, name: _Name) -> str | None:
        if self._by_slip is None:
            self._by_slip = {
                slip: video_id for video_id, known in self._names.items() for slip in known.slips()
            }
        return next((self._by_slip[slip] for slip in name.slips() if slip in self._by_slip), None)


@dataclass(frozen=True)
class _Name:
    """The name of a video, taken apart."""

    folders: tuple[str, ...]
    prefix: str
    base: str
    suffix: str

    @classmethod
    def of(cls, name: str) -> _Name:
        plain = unicodedata.normalize("NFC", _SEPARATOR.sub("/", name.strip()))
        *folders, last = [part for part in plain.split("/") if part not in ("", ".")] or [plain]
        suffix = video_suffix(last)
        last = last.removesuffix(suffix) or last
        base = _ACTIVITYNET_PREFIX.sub("", last) or last
        return cls(tuple(folders), last.removesuffix(base), base, suffix.lower())

    def distance(self, known: _Name) -> tuple[int, bool, bool, bool] | None:
        """How far this name is from a known one of the same base; None if it is another video."""
        if self.suffix and known.suffix and self.suffix != known.suffix:
            return None
        shared = min(len(self.folders), len(known.folders))
        mine, theirs = (each.folders[len(each.folders) - shared :] for each in (self, known))
        if _folded(mine) != _folded(theirs):
            return None
        more, fewer = (len(each.folders) - shared for each in (self, known))
        return (
            max(more, min(fewer, 1)),  # however many of its folders are not named
            self.prefix != known.prefix,
            (mine, self.base) != (theirs, known.base),
            self.suffix != known.suffix,
        )

    def slips(self) -> Iterator[str]:
        """Keys that this name shares with those it misses by one letter or by separators.

        Of two names that are a letter apart, one left out of each makes them equal. Numbers tell
        videos apart and must be equal, but for leading zeros.
        """
        path = "/".join((*self.folders, self.base)).casefold()
        words = [
            f"#{word.lstrip('0')}" if word.isdecimal() else word for word in _WORDS.findall(path)
        ]
        yield "".join(words)
        for index, word in enumerate(words):
            if word.isalpha() and len(word) >= _SHORTEST_WORD:
                before, after = "".join(words[:index]), "".join(words[index + 1 :])
                for at in range(len(word)):
                    yield f"{before}{word[:at]}{word[at + 1 :]}{after}"


def _one_video(names: Sequence[_Name], known: _Name) -> bool:
    """Whether names that all fit a known video can be spellings of one, not names of several."""
    beyond = {
        (_folded(name.folders[: max(0, len(name.folders) - len(known.folders))]), name.prefix)
        for name in names
    }
    suffixes = {name.suffix for name in names} - {""}
    return len(beyond) <= 1 and len(suffixes) <= 1


def _spellings(path: str) -> Iterator[str]:
    """Ids of a video, each longer and more certain to be its own than the one before."""
    plain = _SEPARATOR.sub("/", path)
    parts = [part for part in plain.split("/") if part not in ("", ".", "..")]
    first = video_id_of(path)
    yield first
    for depth in range(first.count("/") + 2, len(parts) + 1):
        yield video_id_of("/".join(parts[-depth:]))
    full = "/".join(parts) or path
    yield unicodedata.normalize("NFC", full)
    yield full
    yield path


def _folded(parts: Iterable[str]) -> tuple[str, ...]:
    return tuple(part.casefold() for part in parts)
