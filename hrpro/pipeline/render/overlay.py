"""What a preview shows on top of the video: a bar per class, a timeline, the playhead.

Everything but the playhead is drawn by Pillow when it changes, not per frame; a frame costs two
blends and a line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import cv2
import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from hrpro.pipeline.render.fonts import font_for
from hrpro.pipeline.render.palette import class_colors
from hrpro.pipeline.results.model import Detection
from hrpro.wording import clock

MAX_ROWS = 6
SMALL_PX = 360
"""On pictures with a shorter side than this, only what scores well gets a bar."""
LOW_SHARE = 0.4
"""Of the best score; a class that never scores so much is a low one."""
WHITE, BLACK, TRACK = (255, 255, 255), (0, 0, 0), (44, 44, 48)
# Pillow's drawing replaces pixels, opacity included: what is drawn last decides.
OPAQUE = 235


class Span(Protocol):
    """Anything with a label and times in seconds: a detection, or an action of the ground truth."""

    @property
    def label(self) -> str:
        """What happens."""

    @property
    def start_s(self) -> float:
        """When it begins."""

    @property
    def end_s(self) -> float:
        """When it is over."""


def ranked_classes(detections: Sequence[Detection], ground_truth: Sequence[Span] = ()) -> list[str]:
    """Return the classes of a video: those of the ground truth first, then by their best score."""
    best: dict[str, float] = {}
    for detection in detections:
        best[detection.label] = max(detection.score, best.get(detection.label, -np.inf))
    true = {action.label for action in ground_truth}
    return sorted(best.keys() | true, key=lambda c: (c not in true, -best.get(c, -np.inf), c))


def _without_low(
    classes: Sequence[str], detections: Sequence[Detection], ground_truth: Sequence[Span]
) -> list[str]:
    """Leave out the classes that never score well, unless the ground truth has them."""
    least = LOW_SHARE * max((detection.score for detection in detections), default=0.0)
    high = {detection.label for detection in detections if detection.score >= least}
    true = {action.label for action in ground_truth}
    return [label for label in classes if label in high or label in true]


class Overlay:
    """Draws detections, and the ground truth if given, onto the upright pictures of one video.

    Args:
        width: of the pictures, in pixels; all sizes follow from width and height.
        height: of the pictures, in pixels.
        duration_s: of the video, in seconds; the length of the timeline.
        detections: of this video.
        ground_truth: actions of this video, or None if it has no ground truth.
        colors: ``#rrggbb`` by class; by default as `class_colors` chooses for these.
    """

    def __init__(
        self,
        width: int,
        height: int,
        duration_s: float,
        detections: Sequence[Detection],
        ground_truth: Sequence[Span] | None = None,
        colors: Mapping[str, str] | None = None,
    ) -> None:
        self._width, self._height = width, height
        self._duration_s = max(duration_s, 1e-3)
        # 11 pixels is the least that can be read; from about 300 lines on the text grows along.
        self._text_px = max(11, round(0.036 * min(width, height)))
        self._margin = max(2, self._text_px // 3)
        self._row_px = round(1.4 * self._text_px)
        classes = ranked_classes(detections, ground_truth or ())
        if min(width, height) < SMALL_PX:
            classes = _without_low(classes, detections, ground_truth or ())
        rows = min(MAX_ROWS, max(1, int(0.42 * height / self._row_px)))
        hidden = len(classes) - rows if len(classes) > rows else 0
        self._classes = classes[:rows]
        colors = colors or class_colors(classes)
        self._colors = [ImageColor.getrgb(colors[label])[:3] for label in self._classes]
        self._names = [_one_line(label) for label in self._classes]
        self._more = f"+{hidden} more" if hidden else ""
        self._font = ImageFont.truetype(
            str(font_for([*self._names, "+0123456789 .:/"], bold=True)), self._text_px
        )
        self._scale = max([1.0, *(detection.score for detection in detections)])
        self._edges, self._scores = _score_steps(detections, self._classes)
        self._panel_width = self._measure_panel()
        self._panel: tuple[tuple[float, ...], _Layer] | None = None
        self._clock = lru_cache(maxsize=2)(self._draw_clock)
        self._strip, self._lanes = self._draw_strip(detections, ground_truth)

    def draw(self, picture: np.ndarray, time_s: float) -> None:
        """Draw onto `picture`, uint8 RGB `[height, width, 3]`, what holds at `time_s` seconds."""
        if self._classes:
            self._panel_at(time_s).blend(picture)
        self._clock(int(time_s * 10)).blend(picture)
        self._strip.blend(picture)
        self._draw_playhead(picture, time_s)

    # ---------------------------------------------------------------- the bars, top left

    def _panel_at(self, time_s: float) -> _Layer:
        scores = tuple(self._scores[np.searchsorted(self._edges, time_s, side="right")])
        if self._panel is None or self._panel[0] != scores:
            self._panel = scores, self._draw_panel(scores)
        return self._panel[1]

    def _measure_panel(self) -> int:
        labels = [self._font.getlength(label) for label in (*self._names, self._more)]
        wide = max(labels, default=0) + self._font.getlength(" -0.00") + 5 * self._margin
        share = 0.6 if self._width > self._height else 0.8
        return round(min(max(wide, 0.22 * self._width), share * self._width))

    def _draw_panel(self, scores: Sequence[float]) -> _Layer:
        width, row_px, margin = self._panel_width, self._row_px, self._margin
        rows = len(self._classes) + bool(self._more)
        image = Image.new("RGBA", (width, rows * row_px))
        draw = ImageDraw.Draw(image)
        for row, (label, score) in enumerate(zip(self._names, scores, strict=True)):
            top, bottom = row * row_px, (row + 1) * row_px - max(1, margin // 3) - 1
            active = score > -np.inf
            draw.rectangle((0, top, width, bottom), (*BLACK, 170 if active else 100))
            filled = width * max(0.0, score) / self._scale if active else 0
            draw.rectangle((0, top, max(filled, margin), bottom), (*self._colors[row], 215))
            number = f"{score:.2f}" if active else ""
            room = width - 4 * margin - self._font.getlength(number and " " + number)
            ink = (*WHITE, 255 if active else 190)
            middle = (top + bottom) / 2
            self._write(draw, (2 * margin, middle), self._fitted(label, room), ink, "lm")
            self._write(draw, (width - margin, middle), number, ink, "rm")
        if self._more:
            top = len(self._classes) * row_px
            self._write(draw, (2 * margin, top + row_px / 2), self._more, (*WHITE, 190), "lm")
        return _Layer.of(image, margin, margin)

    # ---------------------------------------------------------------- the timeline, below

    def _draw_strip(
        self, detections: Sequence[Detection], ground_truth: Sequence[Span] | None
    ) -> tuple[_Layer, tuple[int, int, int, int]]:
        """Return the strip, and left, right, top and bottom of its lanes in the picture."""
        margin, names = self._margin, ["found"]
        if ground_truth is not None:
            names.append("truth")
        lanes = max(1, len(self._classes))
        least_px = max(3, round(0.3 * self._text_px))
        block_px = max(lanes * least_px, round(1.15 * self._text_px))
        lane_px = block_px / lanes
        height = len(names) * (block_px + margin) + margin
        gutter = 2 * margin + round(max(map(self._font.getlength, names)))
        left, right = gutter, max(gutter + 1, self._width - 2 * margin)
        image = Image.new("RGBA", (self._width, height), (*BLACK, 170))
        draw = ImageDraw.Draw(image)
        # The best last, so that it is on top.
        by_score = sorted(detections, key=lambda detection: detection.score)
        for block, name in enumerate(names):
            top = margin + block * (block_px + margin)
            self._write(draw, (margin, top + block_px / 2), name, (*WHITE, 220), "lm")
            draw.rectangle((left, top, right, top + block_px - 1), (*TRACK, OPAQUE))
            spans: Sequence[Span] = by_score if name == "found" else ground_truth or ()
            for span in spans:
                if span.label not in self._classes:
                    continue
                row = self._classes.index(span.label)
                x0, x1 = (self._x(t, left, right) for t in (span.start_s, span.end_s))
                y0, y1 = round(top + row * lane_px), round(top + (row + 1) * lane_px) - 2
                draw.rectangle((x0, y0, max(x0 + 1, x1), max(y0, y1)), self._shade(span, row))
        top = self._height - height
        return _Layer.of(image, 0, top), (left, right, top, self._height)

    def _shade(self, span: Span, row: int) -> tuple[int, int, int, int]:
        """Return the colour of the class, the duller the lower the score."""
        score = getattr(span, "score", self._scale) / self._scale
        share = 0.3 + 0.7 * min(max(score, 0.0), 1.0)
        red, green, blue = (
            round(share * c + (1 - share) * t)
            for c, t in zip(self._colors[row], TRACK, strict=True)
        )
        return red, green, blue, OPAQUE

    def _draw_clock(self, tenths: int) -> _Layer:
        end = int(self._duration_s * 10)  # the last picture may be shown a little after it
        now = min(tenths, end)
        text = f"{clock(now // 10)}.{now % 10} / {clock(end // 10)}.{end % 10}"
        size = round(self._font.getlength(text)) + 2 * self._margin, self._row_px
        image = Image.new("RGBA", size, (*BLACK, 110))
        self._write(ImageDraw.Draw(image), (self._margin, size[1] / 2), text, (*WHITE, 255), "lm")
        top = self._lanes[2] - size[1]
        return _Layer.of(image, self._width - size[0], top)

    def _draw_playhead(self, picture: np.ndarray, time_s: float) -> None:
        left, right, top, bottom = self._lanes
        x = round(self._x(time_s, left, right))
        half = max(1, self._text_px // 12)
        cv2.rectangle(picture, (x - 2 * half, top), (x + 2 * half, bottom), BLACK, cv2.FILLED)
        cv2.rectangle(picture, (x - half, top), (x + half, bottom), WHITE, cv2.FILLED)

    def _x(self, time_s: float, left: int, right: int) -> float:
        return left + (right - left) * min(max(time_s / self._duration_s, 0.0), 1.0)

    # -------------------------------------------------------------------------- lettering

    def _write(
        self,
        draw: ImageDraw.ImageDraw,
        at: tuple[float, float],
        text: str,
        ink: tuple[int, int, int, int],
        anchor: str,
    ) -> None:
        """Write with a dark rim, so that the text stands out from any colour behind it."""
        rim = max(1, self._text_px // 12)
        draw.text(at, text, ink, self._font, anchor, stroke_width=rim, stroke_fill=(*BLACK, ink[3]))

    def _fitted(self, label: str, room: float) -> str:
        if self._font.getlength(label) <= room:
            return label
        while label and self._font.getlength(label + "…") > room:
            label = label[:-1].rstrip()
        return label + "…"


def _one_line(label: str) -> str:
    """Return a label as it can be drawn: no line ends or control characters, not endless."""
    return "".join(char for char in " ".join(label.split())[:120] if char.isprintable())


def _score_steps(
    detections: Sequence[Detection], classes: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the times `[E]` where scores change, and the scores `[E + 1, C]` between them.

    A score is that of the best detection that is under way, or -inf where there is none.
    """
    shown = [detection for detection in detections if detection.label in classes]
    times = {time_s for detection in shown for time_s in (detection.start_s, detection.end_s)}
    edges = np.array(sorted(times))
    scores = np.full((len(edges) + 1, len(classes)), -np.inf)
    for detection in shown:
        first, last = np.searchsorted(edges, (detection.start_s, detection.end_s), side="right")
        column = scores[first:last, classes.index(detection.label)]
        np.maximum(column, detection.score, out=column)
    return edges, scores


@dataclass(frozen=True)
class _Layer:
    """A picture with transparency and its place: what to add, and how much to keep of below."""

    left: int
    top: int
    colour: np.ndarray  # uint8 [h, w, 3], already multiplied by the opacity
    keep: np.ndarray  # uint8 [h, w, 3], 255 where the layer is transparent

    @classmethod
    def of(cls, image: Image.Image, left: int, top: int) -> _Layer:
        pixels = np.asarray(image)
        opacity = np.repeat(pixels[..., 3:], 3, axis=2)
        return cls(
            left, top, cv2.multiply(pixels[..., :3].copy(), opacity, scale=1 / 255), 255 - opacity
        )

    def blend(self, picture: np.ndarray) -> None:
        """Blend into `picture`, uint8 RGB `[H, W, 3]`; what lies outside is cut off."""
        height, width = picture.shape[:2]
        top, left = max(0, self.top), max(0, self.left)
        rows = slice(top, min(height, self.top + len(self.keep)))
        columns = slice(left, min(width, self.left + self.keep.shape[1]))
        own = np.s_[
            top - self.top : rows.stop - self.top, left - self.left : columns.stop - self.left
        ]
        below = picture[rows, columns]
        if below.size:
            cv2.multiply(below, self.keep[own], dst=below, scale=1 / 255)
            cv2.add(below, self.colour[own], dst=below)
