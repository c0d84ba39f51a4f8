"""From the time line of snippets to the clock of the video file, and back.

Inside the program time 0 is the first picture that is shown, and snippet k begins ``k * stride /
fps`` seconds after it. Everything that is written for people, players and other tools, and
everything that is read from them, is in the file's own clock, which players show: there the first
picture may come later, because sound begins earlier or the pictures before it cannot be shown. At a
variable frame rate (``--fps native``) snippets do not lie at equal distances, either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Times = TypeVar("Times", float, npt.NDArray[np.float64])


@dataclass(frozen=True)
class VideoClock:
    """The clock of one video file.

    Args:
        start_s: when its first shown picture is to be shown, in seconds of the file's clock.
        snippet_s: times on the time line of the snippets, increasing; none if they run as the
            file does.
        shown_s: the same moments in seconds after the first picture, increasing.
    """

    start_s: float = 0.0
    snippet_s: tuple[float, ...] = ()
    shown_s: tuple[float, ...] = ()

    def to_file(self, time_s: Times) -> Times:
        """The file's time of a moment on the time line of the snippets."""
        return _mapped(time_s, self.snippet_s, self.shown_s) + self.start_s

    def to_snippets(self, file_s: Times) -> Times:
        """The moment on the time line of the snippets at a time of the file."""
        return _mapped(file_s - self.start_s, self.shown_s, self.snippet_s)


def _mapped(time_s: Times, here: tuple[float, ...], there: tuple[float, ...]) -> Times:
    """Map times piecewise linearly; before the first and behind the last moment, by shifting."""
    if len(here) < 2:
        return time_s
    inside = np.clip(time_s, here[0], here[-1])
    mapped = np.interp(inside, here, there) + (time_s - inside)
    return mapped if isinstance(time_s, np.ndarray) else float(mapped)
