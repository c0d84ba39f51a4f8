"""Feature files and their fingerprints: what `extract` writes and `localize` reads.

A feature file is a ``.npy`` of shape ``[T, D]``: one row per snippet, the streams side by side
(``[rgb | flow]``). Beside it lies a sidecar with the same name and the suffix ``.json``. It says
how the features were made (the fingerprint) and what the video was (the facts). Features of
different fingerprints do not live in the same space, so mixing them in training or detection is
refused.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from hrpro.clock import VideoClock
from hrpro.errors import DataError
from hrpro.files import atomic_path, read_json, write_json


class WeightsId(BaseModel):
    """Which network weights made a stream."""

    model_config = ConfigDict(frozen=True)

    sha256: str
    source: str = ""


class Fingerprint(BaseModel):
    """How features were made. Two files can be mixed only if `difference` finds nothing."""

    model_config = ConfigDict(frozen=True)

    backbone: str = "i3d"
    streams: tuple[Literal["rgb", "flow"], ...] = ("rgb",)
    fps: str = "25"
    """Frames per second after resampling as an exact fraction, or ``native``."""
    snippet: int = 16
    """Frames per snippet."""
    stride: int = 16
    """Frames from the start of one snippet to the start of the next."""
    short_side: int = 256
    crop: int = 224
    flow: dict[str, Any] | None = None
    """Algorithm and parameters of the optical flow, if a stream uses it."""
    weights: dict[str, WeightsId] = {}
    precision: str = "float32"
    """Arithmetic of the network; noted, but no reason to refuse a mixture."""
    stream: int | None = None
    """Index of the video stream that was asked for; noted likewise."""

    def difference(self, other: Fingerprint) -> list[str]:
        """List what separates two fingerprints, one line per setting; empty if they match."""
        mine, theirs = self._comparable(), other._comparable()
        return [
            f"{key}: {mine.get(key)} != {theirs.get(key)}"
            for key in sorted(mine.keys() | theirs.keys())
            if mine.get(key) != theirs.get(key)
        ]

    def changes(self, other: Fingerprint) -> list[str]:
        """As `difference`, and whether another stream was asked for: features to be made anew."""
        streams = (
            [] if self.stream == other.stream else [f"stream: {self.stream} != {other.stream}"]
        )
        return self.difference(other) + streams

    def _comparable(self) -> dict[str, Any]:
        flat = self.model_dump(exclude={"weights", "precision", "stream"})
        # Only the bytes of the weights count: the same file may come from several places.
        flat.update({f"weights of {name}": w.sha256[:16] for name, w in self.weights.items()})
        return flat


class VideoFacts(BaseModel):
    """What the video was when its features were made."""

    model_config = ConfigDict(frozen=True)

    path: str = ""
    """Relative to the folder that was extracted."""
    size_bytes: int = 0
    mtime_ns: int = 0
    duration_s: float = 0.0
    """From the first to the end of the last decoded frame, by presentation time."""
    start_s: float = 0.0
    """When the first decoded frame is to be shown, in the file's own clock."""
    stream: int | None = None
    """Index of the video stream among all streams of the file."""
    fps: str = "25"
    """Frames per second the snippets were cut at, as an exact fraction."""
    num_frames: int = 0
    """Frames after resampling."""
    num_snippets: int = 0
    corrupt_packets: int = 0
    lost_s: float = 0.0
    """Seconds of picture that cannot be shown."""
    lost: tuple[tuple[float, float], ...] = ()
    """Start and end of each such part, in the file's own clock."""
    truncated: bool = False
    """Decoding ended before the video did."""
    padded: bool = False
    """The video was shorter than one snippet and its last frame was repeated."""
    snippet_start_s: tuple[float, ...] | None = None
    """Of each snippet, in seconds from the first frame; None where they lie at equal distances."""


class Sidecar(BaseModel):
    """The JSON file beside a feature file."""

    model_config = ConfigDict(frozen=True)

    fingerprint: Fingerprint
    video: VideoFacts = VideoFacts()
    dim: int | None = None
    dtype: str = "float32"
    hrpro: str = ""
    """Version of hrpro that wrote the file."""

    @property
    def snippet_stride_s(self) -> float:
        """Seconds from one snippet to the next."""
        return float(self.fingerprint.stride / Fraction(self.video.fps))

    @property
    def snippet_length_s(self) -> float:
        """Seconds one snippet covers."""
        return float(self.fingerprint.snippet / Fraction(self.video.fps))

    @property
    def clock(self) -> VideoClock:
        """From the time line of the snippets to the clock of the file."""
        video = self.video
        starts_s = video.snippet_start_s
        if not starts_s:
            return VideoClock(video.start_s)
        snippet_s = [k * self.snippet_stride_s for k in range(len(starts_s))]
        end_s = float(video.num_frames / Fraction(video.fps))
        if snippet_s[-1] < end_s and starts_s[-1] < video.duration_s:
            snippet_s, starts_s = [*snippet_s, end_s], (*starts_s, video.duration_s)
        return VideoClock(video.start_s, tuple(snippet_s), starts_s)


def sidecar_path(feature_path: str | Path) -> Path:
    """Where the sidecar of a feature file lies: ``a/b.npy`` -> ``a/b.json``."""
    path = Path(feature_path)
    return path.with_name(path.name.removesuffix(".npy") + ".json")


def write_features(path: str | Path, features: np.ndarray, sidecar: Sidecar) -> None:
    """Write a feature file and its sidecar, each atomically.

    The sidecar is written last: a feature file with a sidecar is complete.

    Args:
        path: target, ending in ``.npy``.
        features: ``[T, D]`` float32 or float16.
        sidecar: how they were made.
    """
    path = Path(path)
    with atomic_path(path) as temporary:
        # Given a plain file, NumPy writes past Python, and a disk that fills up goes unnoticed.
        with temporary.open("w+b") as file:
            np.save(file, features, allow_pickle=False)
        sidecar_path(path).unlink(missing_ok=True)  # an old one would describe other features
    write_json(sidecar_path(path), sidecar.model_dump(mode="json"))


def read_features(path: str | Path) -> np.ndarray:
    """Map a feature file into memory, read-only, ``[T, D]``.

    Raises:
        DataError: the file is missing, truncated, pickled, or not a two-dimensional float array.
    """
    path = Path(path)
    try:
        with np.errstate(over="ignore"):  # of the product of a forged shape, which then fails
            features = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such feature file") from error
    except OSError as error:
        raise DataError(f"{path}: cannot read: {error.strerror or error}") from error
    except Exception as error:  # a damaged header trips NumPy's parser in a dozen ways
        if "pickle" in str(error).lower() or "object" in str(error).lower():
            raise DataError(
                f"{path}: holds pickled objects, which can run code when loaded; "
                "save it again as a plain float array [snippets, channels]"
            ) from error
        raise DataError(
            f"{path}: truncated or not a .npy file; extract or download it again"
        ) from error
    if not isinstance(features, np.ndarray):
        features.close()  # an .npz archive under another name
        raise DataError(f"{path}: is an .npz archive; save the array itself with numpy.save")
    if features.ndim != 2 or features.dtype.kind != "f" or 0 in features.shape:
        raise DataError(
            f"{path}: expected floats of shape [snippets, channels], "
            f"found {features.dtype} {list(features.shape)}"
        )
    return features


def read_sidecar(feature_path: str | Path) -> Sidecar | None:
    """Read the sidecar of a feature file, or None if it has none (features made elsewhere).

    Raises:
        DataError: there is one, but it is damaged.
    """
    path = sidecar_path(feature_path)
    if not path.is_file():
        return None
    try:
        sidecar = Sidecar.model_validate(read_json(path))
        if Fraction(sidecar.video.fps) <= 0:
            raise ValueError("fps must be positive")
        starts_s = sidecar.video.snippet_start_s or ()
        if any(a >= b for a, b in pairwise(starts_s)):
            raise ValueError("snippet_start_s must increase")
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise DataError(f"{path}: damaged sidecar: {key}: {first['msg']}; extract again") from error
    except (ValueError, ZeroDivisionError) as error:
        raise DataError(f"{path}: damaged sidecar: {error}; extract again") from error
    return sidecar
