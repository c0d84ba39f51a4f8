"""Where the videos of results are: at the paths that they name, or in a folder of the person."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from hrpro.errors import DataError
from hrpro.pipeline.results.model import VideoResult
from hrpro.video_ids import KnownVideos, Match
from hrpro.videos_folder import video_key, videos_below


class VideoFiles:
    """Finds the files of videos.

    Args:
        folder: is searched first, with its folders; may be None, or absent.
    """

    def __init__(self, folder: Path | None = None):
        self._files: dict[str, Path] = {}
        if folder is not None and folder.is_dir():
            self._files = {video_key(path, folder): path for path in videos_below(folder)}
        self._known = KnownVideos(self._files)

    def find(self, video: VideoResult) -> Path | None:
        """The file of a video, if it is where the person or the results say."""
        for match in self._matches(video):
            if match.video_id is not None:
                return self._files[match.video_id]
        path = Path(video.path) if video.path else None
        return path if path is not None and path.is_file() else None

    def get(self, video: VideoResult) -> Path:
        """As `find`.

        Raises:
            DataError: the file is not there, or several could be meant; names them and the remedy.
        """
        if (found := self.find(video)) is not None:
            return found
        for match in self._matches(video):
            if match.problem and match.near is None:
                raise DataError(match.problem)
        where = video.path or video.video_id
        raise DataError(f"{where}: no such video; name the folder it is in with --videos")

    def _matches(self, video: VideoResult) -> list[Match]:
        return [self._known.match(name) for name in (video.path, video.video_id) if name]


def link_to(video: Path, page: Path) -> str:
    """A relative address of a video for a file beside it, so that both can be moved together."""
    try:
        relative = os.path.relpath(video.resolve(), page.resolve().parent)
    except ValueError:  # another drive
        return video.resolve().as_uri()
    return quote(os.fsencode(Path(relative).as_posix()))
