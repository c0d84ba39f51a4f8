"""``labels.csv``: which actions each video shows, as far as somebody has said so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from hrpro.localize.data.video_labels import read_video_labels, video_labels_csv
from hrpro.pipeline.label.label_file import LabelFile, by_video, write_durably
from hrpro.pipeline.label.state import LISTED, SHOWS, Labels, Value, Values
from hrpro.video_ids import KnownVideos


class VideoLabelsFile(LabelFile):
    """The CSV file of the video labels.

    Args:
        path: of the file.
        videos: those of the dataset; labels keep the name of a video that is none of them.
    """

    def __init__(self, path: Path, videos: KnownVideos) -> None:
        super().__init__(path)
        self.videos = videos

    def holds(self, values: Mapping[str, Value | None]) -> bool:
        """See `LabelFile`."""
        return any(name == LISTED or name.startswith(SHOWS) for name in values)

    def difference(self, labels: Labels, source: Path | None = None) -> dict[str, Values]:
        """See `LabelFile`.

        Raises:
            DataError: the file is wrong, or names a video in a way that several are named.
        """
        path = source or self.path
        wanted: dict[str, set[str]] = {}
        for row in by_video(path, read_video_labels(path), self.videos):
            wanted.setdefault(row.video_id, set()).update([row.label] if row.label else [])
        changes: dict[str, Values] = {}
        for video_id in {*wanted, *labels.videos}:
            before, after = labels.video(video_id).shown, wanted.get(video_id)
            if before != after:
                changes[video_id] = listing(after, before)
        return changes

    def _write(self, labels: Labels, video_ids: Iterable[str] | None) -> None:
        shown = {video_id: video.shown for video_id, video in labels.videos.items()}
        listed = {video_id: names for video_id, names in shown.items() if names is not None}
        write_durably(self.path, video_labels_csv(listed))


def listing(shown: Iterable[str] | None, before: Iterable[str] | None) -> Values:
    """Return the values by which a video shows these classes, and no others.

    Args:
        shown: the classes; None if nothing is said of the video any more.
        before: the classes that it showed so far.
    """
    values: Values = {f"{SHOWS}{label}": None for label in before or ()}
    values |= {f"{SHOWS}{label}": True for label in shown or ()}
    return {LISTED: None if shown is None else True, **values}
