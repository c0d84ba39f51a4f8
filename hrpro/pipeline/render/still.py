"""One picture out of a video, for paper and lists."""

from __future__ import annotations

import base64
import io
from itertools import islice
from pathlib import Path

import av
from PIL import Image

from hrpro.errors import VideoError
from hrpro.extract.geometry import FrameConverter, Orientation
from hrpro.extract.probe import naming, open_video
from hrpro.extract.pyav import rational

_MOST_FRAMES = 250  # decoded on the way from the key frame before
_JPEG_QUALITY = 70


def still(video: Path, time_s: float, short_side: int = 180) -> str | None:
    """Return the picture at a time, or near it, as a ``data:`` address; None if there is none.

    Args:
        video: the file.
        time_s: seconds on the clock of players.
        short_side: of the picture, in pixels.
    """
    try:
        with naming(video), open_video(video) as (container, stream, _):
            start = container.start_time or 0
            container.seek(start + round(time_s * av.time_base))
            wanted_s = start / av.time_base + time_s
            frame = None
            for frame in islice(container.decode(stream), _MOST_FRAMES):
                if frame.time is not None and frame.time >= wanted_s:
                    break
            if frame is None:
                return None
            aspect = rational(stream.sample_aspect_ratio)
            converter = FrameConverter(Orientation.of(frame), aspect, short_side, None)
            [picture] = converter([frame])
    except (VideoError, av.FFmpegError):
        return None
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=_JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
