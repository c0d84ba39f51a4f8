"""Links to video files: how other tools name a video, and which video that is here.

Ids are those that ``hrpro init`` and ``hrpro extract`` give: the path below the folder that holds
all videos of the file, without the suffix. So two videos of one name in two folders stay two.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from hrpro.errors import DataError
from hrpro.pipeline.results.model import VideoResult
from hrpro.video_ids import distinct_ids

_UPLOAD = "/data/upload/"  # of Label Studio: a number for the project, and no folders
_UPLOAD_PREFIX = re.compile(r"[0-9a-f]{8}-")  # it puts that before the names of uploaded files
_DRIVE = re.compile(r"/?([A-Za-z]):/")


@dataclass(frozen=True)
class Linked:
    """A video with marks, and the link by which a file names it."""

    video: VideoResult
    """Its id counts only if there is no link."""
    link: str | None = None


def ids_of(links: Iterable[str]) -> dict[str, str]:
    """Return the video ids that the links of one file stand for: link -> id.

    Raises:
        DataError: two videos cannot be told apart; names both.
    """
    places = {link: _Place.of(link) for link in dict.fromkeys(links)}
    roots: defaultdict[str, list[_Place]] = defaultdict(list)
    for place in dict.fromkeys(places.values()):
        roots[place.root].append(place)
    ids: dict[_Place, str] = {}
    for same_root in roots.values():
        short = _short_names(same_root)
        chosen = distinct_ids(short.values())
        ids.update((place, chosen[name]) for place, name in short.items())
    owners: dict[str, _Place] = {}
    for place, video_id in ids.items():
        owner = owners.setdefault(video_id, place)
        if owner != place:
            raise DataError(
                f"{owner} and {place} are two videos of the name {video_id!r}, and nothing that "
                "they have in common tells them apart; rename one of them"
            )
    return {link: ids[place] for link, place in places.items()}


def id_of(link: str) -> str:
    """Return the id of the video at a link if it is the only one: its name without suffix."""
    return ids_of([link])[link]


def joined(found: Iterable[Linked]) -> list[VideoResult]:
    """Give videos their ids; what was found in one video, in several places, is one entry.

    Raises:
        DataError: two videos cannot be told apart; names both.
    """
    found = list(found)
    ids = ids_of(each.link for each in found if each.link is not None)
    by_id: dict[str, list[VideoResult]] = {}
    for each in found:
        video_id = each.video.video_id if each.link is None else ids[each.link]
        by_id.setdefault(video_id, []).append(each.video)
    return [
        replace(
            same[0],
            video_id=video_id,
            detections=tuple(each for video in same for each in video.detections),
        )
        for video_id, same in by_id.items()
    ]


def relative_link(video: str, folder: Path) -> str:
    """Return the path of a video as seen from `folder`, with forward slashes."""
    try:
        return Path(os.path.relpath(video, folder)).as_posix()
    except ValueError:  # another drive, or NUL in the name
        return Path(video).as_posix()


def path_of(link: str, folder: Path) -> str:
    """Return the path of a video that a file in `folder` links to; URLs stay as they are."""
    scheme, _, rest = link.partition("://")
    if scheme == "file":
        return unquote("/" + rest.lstrip("/"))
    return link if rest else os.path.normpath(folder / link)


@dataclass(frozen=True)
class _Place:
    """A link, taken apart: what it counts from (a drive, a server, nothing), folders and name."""

    root: str
    parts: tuple[str, ...]

    @classmethod
    def of(cls, link: str) -> _Place:
        root, path = _opened(link)
        path = path.replace("\\", "/")
        if drive := _DRIVE.match(path):
            root, path = f"{drive[1].lower()}:/", path[drive.end() :]
        elif path.startswith("/"):
            root, path = root + "/", path.lstrip("/")
        if f"/{path}".startswith(_UPLOAD):
            root, path = root + _UPLOAD, path.rpartition("/")[2]
        path = posixpath.normpath(path) if path else link
        return cls(root, tuple(path.split("/")))

    def __str__(self) -> str:
        return self.root + "/".join(self.parts)


def _opened(link: str) -> tuple[str, str]:
    """Return what a URL counts from, and the path in it; a path is only itself."""
    try:
        url = urlsplit(link)
    except ValueError:
        return "", link
    if len(url.scheme) <= 1 and not link.startswith("/data/"):  # one letter is a drive
        return "", link
    root = "" if url.scheme in ("", "file") else f"{url.scheme}://{url.netloc}"
    named = parse_qs(url.query).get("d")  # Label Studio's link to a local file
    return (f"{root}?d=", named[0]) if named else (root, unquote(url.path))


def _short_names(places: list[_Place]) -> Mapping[_Place, str]:
    """Name places below the folder that holds them all."""
    if places[0].root.endswith(_UPLOAD):
        names = {place: _UPLOAD_PREFIX.sub("", place.parts[0], count=1) for place in places}
        uses = Counter(names.values())  # two uploads of one name are two videos
        return {place: name if uses[name] == 1 else place.parts[0]
                for place, name in names.items()}  # fmt: skip
    levels = zip(*(place.parts[:-1] for place in places), strict=False)
    shared = sum(1 for _ in takewhile(lambda names: len(set(names)) == 1, levels))
    return {place: "/".join(place.parts[shared:]) or str(place) for place in places}
