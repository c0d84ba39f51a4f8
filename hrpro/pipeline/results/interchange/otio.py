"""OpenTimelineIO (``.otio``): the video as one clip, a marker with a length per action.

Markers may overlap and have a colour per class. The label is the name of the marker; the score is
in its metadata. Times are whole frames of the video. One file per video.

A marker counts in the time of the item that it is on. One on a clip is a time of its media; one on
a timeline, track, nested stack or gap marks the clips that are to be seen there, each with its
part.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from hrpro.errors import DataError
from hrpro.files import read_json
from hrpro.pipeline.results.formats import Format
from hrpro.pipeline.results.interchange.edl import MARKER_COLORS
from hrpro.pipeline.results.interchange.media import Linked, joined, path_of, relative_link
from hrpro.pipeline.results.interchange.notes import Notes
from hrpro.pipeline.results.interchange.rates import exact_rate, rate_of, to_frame
from hrpro.pipeline.results.interchange.texts import plain
from hrpro.pipeline.results.model import Detection, Results, VideoResult
from hrpro.texts import read_text
from hrpro.wording import one_line


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
    """Read the markers of all items of a timeline, in the time of the media that they show.

    Raises:
        DataError: unreadable, not a timeline, or no marker could be read.
    """
    import opentimelineio as otio

    notes = Notes()
    # Names line and column of what is no JSON, and refuses endless nesting.
    read_json(path, note=notes.say)
    try:
        timeline = otio.adapters.read_from_string(
            read_text(path, notes.say),
            "otio_json",
            media_linker_name=otio.media_linker.MediaLinkingPolicy.DoNotLinkMedia,
        )
        timelines = list(_timelines(timeline))
        found = [each for timeline in timelines for each in _videos(timeline, path, notes)]
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except Exception as error:  # its reader, in C++, raises what it likes
        reason = one_line(f"{type(error).__name__}: {error}")
        raise DataError(f"{path}: not a usable OpenTimelineIO file ({reason})") from error
    return notes.results(path, joined(found) or [VideoResult(path.stem)])


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


@dataclass(frozen=True)
class _Part:
    """What is to be seen in a span of an item: a clip, and which span of its media, in seconds."""

    start: Fraction
    end: Fraction
    clip: Any
    media_start: Fraction
    media_end: Fraction


def _timelines(value: Any) -> Iterator[Any]:
    import opentimelineio as otio

    if isinstance(value, otio.schema.Timeline):
        yield value
    elif isinstance(value, otio.schema.SerializableCollection) and len(value):
        for each in value:
            yield from _timelines(each)
    else:
        raise DataError(f"a Timeline was expected, not {type(value).__name__}")


def _videos(timeline: Any, path: Path, notes: Notes) -> Iterator[Linked]:
    """Yield every clip with its own markers, and a part of a clip per other marker."""
    import opentimelineio as otio

    for item in (
        timeline.tracks,
        *timeline.tracks.find_children(descended_from_type=otio.core.Item),
    ):
        if isinstance(item, otio.schema.Clip):
            detections = tuple(_detections(item, timeline, notes))
            yield _linked(item, path, detections)
        else:
            for marker in item.markers:
                yield from _marked(marker, item, timeline, path, notes)


def _detections(clip: Any, timeline: Any, notes: Notes) -> Iterator[Detection]:
    for marker in clip.markers:
        try:
            start, end = _span(marker.marked_range)
            yield _detection(marker, start - _media_start(clip), end - _media_start(clip))
        except DataError as error:
            notes.left_out(_name(marker), error)


def _marked(marker: Any, item: Any, timeline: Any, path: Path, notes: Notes) -> Iterator[Linked]:
    try:
        start, end = _span(marker.marked_range)
        if item is timeline.tracks:
            start, end = _since_start(timeline, start, end)
        shown = list(_shown(item, start, end)) or list(_beside(item, timeline, start, end))
        for part in shown:
            origin = _media_start(part.clip)
            found = _detection(marker, part.media_start - origin, part.media_end - origin)
            yield _linked(part.clip, path, (found,))
        if not shown:
            notes.left_out(_name(marker), "no clip is to be seen there")
    except DataError as error:
        notes.left_out(_name(marker), error)


def _since_start(timeline: Any, start: Fraction, end: Fraction) -> tuple[Fraction, Fraction]:
    """Take off the start timecode of a timeline, where a marker has it."""
    origin = timeline.global_start_time
    shift = _seconds(origin) if origin is not None else Fraction(0)
    length = _length(timeline.tracks)
    if max(length, shift) <= start < length + shift:
        return start - shift, end - shift
    return start, end


def _beside(item: Any, timeline: Any, start: Fraction, end: Fraction) -> Iterator[_Part]:
    """Yield what the other tracks show during a span of an item that itself shows nothing."""
    while (parent := item.parent()) is not None:
        shift = _seconds(item.range_in_parent().start_time) - _trim(item)[0]
        item, start, end = parent, start + shift, end + shift
    if item is timeline.tracks:
        yield from _shown(item, start, end)


def _shown(item: Any, start: Fraction, end: Fraction) -> Iterator[_Part]:
    """Yield the clips to be seen in a span of an item's own time; the topmost track hides others.

    The part in question of a marker without length is the one that begins there or before.
    """
    import opentimelineio as otio

    if isinstance(item, otio.schema.Clip):
        yield _Part(start, end, item, start, end)
    elif isinstance(item, otio.schema.Stack):
        free = [(start, end)]
        for layer in _layers(item):
            parts = [part for span in free for part in _child(layer, Fraction(0), *span)]
            yield from parts
            free = [rest for span in free for rest in _without(span, parts)]
    elif isinstance(item, otio.schema.Track):
        position = Fraction(0)
        for child in item:
            yield from _child(child, position, start, end)
            position += _length(child)


def _child(child: Any, position: Fraction, start: Fraction, end: Fraction) -> Iterator[_Part]:
    """Yield the parts of a span of an item that one of its children, at `position`, shows."""
    first, length = _trim(child) if _length(child) else (Fraction(0), Fraction(0))
    low, high = max(start, position), min(end, position + length)
    is_point = start == end and position <= start < position + length
    if not (low < high or is_point) or not getattr(child, "enabled", True):
        return
    speed = _speed(child)
    inside = [first + (time - position) * speed for time in (low, high)]
    for part in _shown(child, min(inside), max(inside)):
        if speed > 0:
            outside = [position + (time - first) / speed for time in (part.start, part.end)]
        else:
            outside = [low, high]
        yield _Part(min(outside), max(outside), part.clip, part.media_start, part.media_end)


def _without(
    span: tuple[Fraction, Fraction], parts: list[_Part]
) -> Iterator[tuple[Fraction, Fraction]]:
    """Yield what is left of a span where the parts show nothing."""
    start, end = span
    inside = [part for part in parts if start <= part.start and part.end <= end]
    if start == end:
        if not inside:
            yield span
        return
    for part in sorted(inside, key=lambda part: part.start):
        if part.start > start:
            yield start, part.start
        start = max(start, part.end)
    if start < end:
        yield start, end


def _layers(stack: Any) -> list[Any]:
    """Return what lies in a stack from top to bottom; sound only if there is nothing else."""
    layers = list(reversed(stack))
    return [each for each in layers if getattr(each, "kind", "") != "Audio"] or layers


def _length(child: Any) -> Fraction:
    """Return how long a child of a track takes there; transitions overlap their neighbours."""
    import opentimelineio as otio

    return _trim(child)[1] if isinstance(child, otio.core.Item) else Fraction(0)


def _trim(item: Any) -> tuple[Fraction, Fraction]:
    """Return where the used part of an item begins in the item's own time, and its length."""
    import opentimelineio as otio

    try:
        span = item.trimmed_range()
    except otio.exceptions.OTIOError as error:
        raise DataError("the length of a clip before or around it is unknown") from error
    return _seconds(span.start_time), _seconds(span.duration)


def _speed(item: Any) -> Fraction:
    import opentimelineio as otio

    speed = Fraction(1)
    for effect in getattr(item, "effects", ()):
        if isinstance(effect, otio.schema.LinearTimeWarp):
            speed *= Fraction(effect.time_scalar).limit_denominator(100_000)
    return speed


def _linked(clip: Any, path: Path, detections: tuple[Detection, ...]) -> Linked:
    link = getattr(clip.media_reference, "target_url", None) or None
    about = clip.metadata.get("hrpro")
    stated = about.get("video") if hasattr(about, "get") else None
    stated = stated if isinstance(stated, str) and stated else None
    video = VideoResult(
        stated or clip.name or path.stem,
        path_of(link, path.parent) if link and link != stated else None,
        fps=_fps(clip),
        detections=detections,
    )
    return Linked(video, None if stated else link or clip.name or None)


def _fps(clip: Any) -> float | None:
    media = clip.media_reference
    spans = [marker.marked_range for marker in clip.markers]
    spans += [media.available_range if media is not None else None, clip.source_range]
    rate = next((span.start_time.rate for span in spans if span is not None), 0.0)
    return float(exact_rate(rate)) if 1 < rate < 1e6 else None


def _detection(marker: Any, start: Fraction, end: Fraction) -> Detection:
    about = marker.metadata.get("hrpro")
    score = about.get("score", 1.0) if hasattr(about, "get") else 1.0
    return Detection(plain(marker.name or marker.color or ""), score, float(start), float(end))


def _name(marker: Any) -> str:
    return f"marker {marker.name!r}"


def _media_start(clip: Any) -> Fraction:
    """Return where the timecode of the media starts; markers count from there."""
    media = clip.media_reference
    known = media.available_range if media is not None else None
    return _seconds(known.start_time) if known is not None else Fraction(0)


def _span(span: Any) -> tuple[Fraction, Fraction]:
    start = _seconds(span.start_time)
    return start, start + _seconds(span.duration)


def _seconds(time: Any) -> Fraction:
    if not (0 < time.rate < 1e6 and math.isfinite(time.value)):
        raise DataError(f"a time has the value {time.value:g} and the rate {time.rate:g}")
    return Fraction(time.value) / exact_rate(time.rate)


OTIO = Format(write_otio, read_otio, one_video=True, module="opentimelineio")
