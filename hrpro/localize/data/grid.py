"""Where snippets lie in time."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from hrpro.clock import Times, VideoClock


@dataclass(frozen=True)
class SnippetGrid:
    """The grid of a feature sequence; the published features are 25 fps, 16 frames, stride 16.

    Snippet t covers ``[t * stride, t * stride + snippet)`` frames. With ``stride == snippet`` the
    snippets tile the video. With a smaller stride they overlap, and each answers for the `stride`
    frames in its middle, so everything is shifted by `offset_s`.
    """

    fps: float = 25.0
    """Frames per second after resampling."""
    snippet: int = 16
    """Frames a snippet covers."""
    stride: int = 16
    """Frames from one snippet to the next."""
    clock: VideoClock = field(default_factory=VideoClock)
    """From these times, which count from the first picture, to those of the video file."""

    @property
    def stride_s(self) -> float:
        """Seconds from one snippet to the next."""
        return self.stride / self.fps

    def thinning_factor(self, stride: int | None) -> int:
        """Of every how many snippets one stays where they are thinned; see `thinned`."""
        return 1 if stride is None else max(stride // self.stride, 1)

    def thinned(self, stride: int | None) -> SnippetGrid:
        """The grid of every n-th snippet, `stride` frames apart, or the nearest below.

        A grid that is as coarse stays as it is; any does without a stride.
        """
        return replace(self, stride=self.stride * self.thinning_factor(stride))

    @property
    def offset_s(self) -> float:
        """Time at which snippet 0 begins to answer for the video; 0 for tiling snippets."""
        return (self.snippet - self.stride) / (2 * self.fps)

    def covered_s(self, num_snippets: int) -> float:
        """Seconds of video that so many snippets cover."""
        return ((num_snippets - 1) * self.stride + self.snippet) / self.fps

    def index_at(self, time_s: float) -> int:
        """Snippet at a time, not clamped to the video (HR-Pro release, point labels)."""
        frame = time_s * self.fps - (self.snippet - self.stride) / 2
        return int(np.floor(frame / self.stride))

    def index_at_frame(self, frame: float, video_fps: float) -> int:
        """Snippet at a frame counted at the video's own rate, not clamped.

        One division, ``int(frame * 25 / (fps * 16))``: going through seconds rounds some points
        that lie on the edge of a snippet to the other side.
        """
        if self.snippet != self.stride:
            return self.index_at(frame / video_fps)
        return int(frame * self.fps / (video_fps * self.stride))

    def start_s(self, snippet: Times) -> Times:
        """Time at which a snippet (or a fraction of one) begins to answer for the video."""
        return snippet * self.stride_s + self.offset_s

    def centre_s(self, snippet: Times) -> Times:
        """Time of the middle of a snippet, or between those of two."""
        return (snippet * self.stride + self.snippet / 2) / self.fps

    def position_at(self, time_s: Times) -> Times:
        """The snippet, or the fraction of one, whose middle is at a time."""
        return (time_s * self.fps - self.snippet / 2) / self.stride
