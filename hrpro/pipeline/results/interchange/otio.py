"""OpenTimelineIO (``.otio``): the video as one clip, a marker with a length per action.

Markers may overlap and have a colour per class. The label is the name of the marker; the score is
in its metadata. Times are whole frames of the video. One file per video.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from hrpro.errors import DataError
from hrpro.files import read_json
from hrpro.pipeline.results.formats import Format
from hrpro.pipeline.results.interchange.edl import MARKER_COLORS
from hrpro.pipeline.results.interchange.media import joined, path_of, relative_link, video_id_of
from hrpro.pipeline.results.interchange.rates import exact_rate, rate_of, to_frame
from hrpro.pipeline.results.interchange.texts import plain, read_text
from hrpro.pipeline.results.model import Detection, Results, VideoResult


def write_otio(results: Results, path: Path) -> None:
    """Write a timeline with one video in it.

    Raises:
        UsageError: its frame rate is unknown.
    """
    import opentimelineio as otio

    timeline = otio.schema.Timeline(name="hrpro")
    track = otio.schema.Track(name="V1", kind=otio.schema.TrackKind.Video)
    timeline.tracks.append(track)
    for video in results.videos:
        timeline.name = plain(video.video_id)
        track.append(_clip(video, path.parent))
    path.write_text(otio.adapters.write_to_string(timeline, "otio_json") + "\n", encoding="utf-8")


def read_otio(path: Path) -> Results:
    """Read the markers of clips, in the time of their media, and of tracks and timelines.

    Raises:
        DataError: unreadable, or not a timeline.
    """
    import opentimelineio as otio

    read_json(path)  # names line and column of what is no JSON, and refuses endless nesting
    try:
        timeline = otio.adapters.read_from_string(
            read_text(path),
            "otio_json",
            media_linker_name=otio.media_linker.MediaLinkingPolicy.DoNotLinkMedia,
        )
        if not isinstance(timeline, otio.schema.Timeline):
            raise DataError(f"a Timeline was expected, not {type(timeline).__name__}")
        videos = list(_videos(timeline, path))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except Exception as error:  # its reader, in C++, raises what it likes
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise DataError(f"{path}: not a usable OpenTimelineIO file ({reason})") from error
    return joined(videos or [VideoResult(path.stem)])


def _clip(video: VideoResult, folder: Path) -> Any:
    import opentimelineio as otio

    rate = rate_of(video)

    def span(start_s: float, end_s: float) -> Any:
        start, end = to_frame(start_s, rate), to_frame(end_s, rate)
        time = otio.opentime.RationalTime
        return otio.opentime.TimeRange(
            time(start, float(rate)), time(max(0, end - start), float(rate))
        )

    ends = [found.end_s for found in video.detections]
    whole = span(0.0, max([video.duration_s or 0.0, *ends]))
    link = relative_link(plain(video.path), folder) if video.path else plain(video.video_id)
    clip = otio.schema.Clip(
        name=plain(video.video_id),
        media_reference=otio.schema.ExternalReference(target_url=link, available_range=whole),
        source_range=whole,
        metadata={"hrpro": {"video": plain(video.video_id)}},
    )
    labels = sorted({found.label for found in video.detections})
    for found in sorted(video.detections, key=lambda each: (each.start_s, each.end_s)):
        color = MARKER_COLORS[labels.index(found.label) % len(MARKER_COLORS)]
        clip.markers.append(
            otio.schema.Marker(
                name=plain(found.label),
                marked_range=span(found.start_s, found.end_s),
                color=color,
                metadata={"hrpro": {"score": found.score}},
            )
        )
    return clip


def _videos(timeline: Any, path: Path) -> Iterator[VideoResult]:
    """Yield the markers of every clip; those of the whole belong to the first clip's video."""
    clips = list(timeline.find_clips())
    for clip in clips:
        yield _video(clip, path, _media_start_s(clip), clip.markers)
    whole = [marker for item in (timeline.tracks, *timeline.tracks) for marker in item.markers]
    if whole:
        yield _video(clips[0] if clips else timeline, path, 0.0, whole)


def _video(item: Any, path: Path, start_s: float, markers: Any) -> VideoResult:
    link = getattr(getattr(item, "media_reference", None), "target_url", None) or None
    about = item.metadata.get("hrpro")
    stated = about.get("video") if hasattr(about, "get") else None
    stated = stated if isinstance(stated, str) else None
    video_id = stated or (video_id_of(link) if link else item.name or path.stem)
    rates = [marker.marked_range.start_time.rate for marker in markers]
    return VideoResult(
        video_id,
        path_of(link, path.parent) if link and link != video_id else None,
        fps=float(exact_rate(rates[0])) if rates and rates[0] > 1 else None,
        detections=tuple(_detection(marker, start_s) for marker in markers),
    )


def _detection(marker: Any, media_start_s: float) -> Detection:
    about = marker.metadata.get("hrpro")
    score = about.get("score", 1.0) if hasattr(about, "get") else 1.0
    start_s = _seconds(marker.marked_range.start_time) - media_start_s
    length_s = _seconds(marker.marked_range.duration)
    return Detection(plain(marker.name or marker.color or ""), score, start_s, start_s + length_s)


def _media_start_s(clip: Any) -> float:
    """Return where the timecode of the media starts; markers count from there."""
    media = clip.media_reference
    known = media.available_range if media is not None else None
    return _seconds(known.start_time) if known is not None else 0.0


def _seconds(time: Any) -> float:
    if not 0 < time.rate < 1e6:
        raise DataError(f"a time has the rate {time.rate:g}")
    return float(Fraction(time.value) / exact_rate(time.rate))


OTIO = Format(write_otio, read_otio, one_video=True, module="opentimelineio")
