"""Find, check and read the feature files of a dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from hrpro.errors import DataError
from hrpro.features import Sidecar, read_features, read_sidecar
from hrpro.files import walk
from hrpro.localize.data.grid import SnippetGrid
from hrpro.problems import Problems
from hrpro.video_ids import KnownVideos
from hrpro.wording import and_more

SUBSETS = ("train", "test")


@dataclass(frozen=True)
class FeatureFile:
    """One feature file: what its header and its sidecar say."""

    path: Path
    num_snippets: int
    dim: int
    num_bytes: int
    sidecar: Sidecar | None

    def grid(self, otherwise: SnippetGrid) -> SnippetGrid:
        """Where its snippets lie in time; `otherwise` is for files without a sidecar."""
        if self.sidecar is None:
            return otherwise
        print_ = self.sidecar.fingerprint
        fps = float(Fraction(self.sidecar.video.fps))
        return SnippetGrid(fps, print_.snippet, print_.stride, self.sidecar.clock)

    @property
    def decoded_end_s(self) -> float | None:
        """End of the video in its file's clock, by the sidecar, if it tells that."""
        if self.sidecar is None or not self.sidecar.video.duration_s:
            return None
        return self.sidecar.video.start_s + self.sidecar.video.duration_s

    def end_s(self, otherwise: SnippetGrid) -> float:
        """End of the video in its file's clock: by the sidecar, else what the snippets cover."""
        return self.decoded_end_s or self.grid(otherwise).covered_s(self.num_snippets)


class FeatureFolder:
    """The ``features/`` folder: ``{train,test}/NAME.npy`` or ``NAME.npy``, nested or not."""

    def __init__(self, folder: str | Path) -> None:
        """Look through the folder once; it need not exist."""
        self.folder = Path(folder)
        self._by_name: dict[str, Path] = {}
        for parent, files in walk(self.folder):
            for path in (parent / file for file in files if file.endswith(".npy")):
                name = path.relative_to(self.folder).as_posix().removesuffix(".npy")
                self._by_name[name] = path

        self._videos = KnownVideos(self._by_name)
        self._videos_of = {
            subset: KnownVideos(
                name.removeprefix(f"{subset}/")
                for name in self._by_name
                if name.startswith(f"{subset}/")
            )
            for subset in SUBSETS
        }

    def __len__(self) -> int:
        return len(self._by_name)

    def __iter__(self) -> Iterator[Path]:
        return iter(self._by_name.values())

    def any_subset(self, video_id: str) -> Path | None:
        """As `find`, for a video of either subset or of none."""
        found = (self.find(video_id, subset) for subset in SUBSETS)
        return next((path for path in found if path is not None), None)

    def find(self, video_id: str, subset: str) -> Path | None:
        """Return the feature file of a video, or None.

        First where the layout says it is, then by any other spelling anywhere below
        ``features/``; see `hrpro.video_ids`.

        Raises:
            DataError: several files could be meant.
        """
        for name in (f"{subset}/{video_id}", video_id):
            if name in self._by_name:
                return self._by_name[name]
        for below, videos in ((f"{subset}/", self._videos_of[subset]), ("", self._videos)):
            match = videos.match(video_id)
            if match.video_id is not None:
                return self._by_name[below + match.video_id]
            if match.problem and match.near is None:
                raise DataError(f"{self.folder}: {match.problem}, or keep one of these files")
        return None

    def without(self, video_ids: Iterable[str]) -> list[str]:
        """Return the videos that have no features of their own.

        A file that could be that of several, as ``a.npy`` of ``mon/a`` and ``tue/a``, is of none.

        Raises:
            DataError: several files could be those of one video.
        """
        files = {video_id: self.any_subset(video_id) for video_id in video_ids}
        uses = Counter(files.values())
        return [name for name, path in files.items() if path is None or uses[path] > 1]

    def has(self, video_id: str) -> bool:
        """Whether there are features of a video, be they of several."""
        try:
            return self.any_subset(video_id) is not None
        except DataError:
            return True


def inspect_features(path: str | Path) -> FeatureFile:
    """Read the header and the sidecar of a feature file.

    Raises:
        DataError: the file or its sidecar is missing or damaged, or they do not belong together.
    """
    path = Path(path)
    features = read_features(path)
    sidecar = read_sidecar(path)
    if sidecar and sidecar.dim is not None and sidecar.dim != features.shape[1]:
        raise DataError(
            f"{path}: {features.shape[1]} channels, but its sidecar says {sidecar.dim}; "
            "extract it again"
        )
    num_snippets, dim = features.shape
    return FeatureFile(path, num_snippets, dim, features.nbytes, sidecar)


def check_finite(path: Path, features: np.ndarray) -> None:
    """Refuse NaN and infinity, which would spread through the whole model.

    Raises:
        DataError: names the file and the first bad snippet.
    """
    good = np.isfinite(features).all(axis=1)
    if not good.all():
        bad = np.flatnonzero(~good)
        raise DataError(
            f"{path}: NaN or infinity in {len(bad)} of {len(good)} snippets (first: {bad[0]}); "
            "extract it again"
        )


def check_alike(
    files: Sequence[FeatureFile], problems: Problems, allow_mixed: bool = False
) -> None:
    """Refuse features that do not live in one space: other widths, other fingerprints.

    The most frequent kind counts as right; every other kind is one problem, with its difference.

    Args:
        files: the files that would be used together.
        problems: where to put what is wrong.
        allow_mixed: make different fingerprints a warning. Different widths stay an error.
    """
    for usual, odd in _odd_groups(files, lambda one, other: one.dim == other.dim):
        problems.error(
            _and_more(odd),
            f"{odd[0].dim} channels, where {len(usual)} files such as {usual[0].path.name} have "
            f"{usual[0].dim}",
            "extract them again with the same settings",
        )
    report, remedy = problems.error, "extract again with one setting, or pass --allow-mixed"
    if allow_mixed:
        report, remedy = problems.warning, "mixed on request"
    for usual, odd in _odd_groups(files, lambda one, other: not _difference(one, other)):
        difference = _difference(odd[0], usual[0])
        report(_and_more(odd), f"not made as {usual[0].path.name} was: {difference}", remedy)


def _odd_groups(
    files: Sequence[FeatureFile], same: Callable[[FeatureFile, FeatureFile], bool]
) -> list[tuple[list[FeatureFile], list[FeatureFile]]]:
    """Pairs of the largest group of like files and each other group."""
    groups: list[list[FeatureFile]] = []
    for file in files:
        group = next((group for group in groups if same(file, group[0])), None)
        if group is None:
            groups.append(group := [])
        group.append(file)
    groups.sort(key=len, reverse=True)
    return [(groups[0], odd) for odd in groups[1:]]


def _difference(odd: FeatureFile, usual: FeatureFile) -> str:
    if odd.sidecar is None and usual.sidecar is None:
        return ""
    if odd.sidecar is None:
        return "it has no sidecar (.json) that says how it was made"
    if usual.sidecar is None:
        return "those have no sidecar (.json) that says how they were made"
    return ", ".join(odd.sidecar.fingerprint.difference(usual.sidecar.fingerprint))


def _and_more(files: list[FeatureFile]) -> str:
    return f"{files[0].path}{and_more(len(files) - 1)}"


class FeatureStore:
    """Reads features: from memory if all of them fit, else mapped from disk."""

    def __init__(self, files: Sequence[FeatureFile], cache_gb: float) -> None:
        """Decide whether to cache; nothing is read yet."""
        self._keep = sum(file.num_bytes for file in files) <= cache_gb * 2**30
        self._arrays: dict[Path, np.ndarray] = {}
        self._checked: set[Path] = set()

    def read(self, path: Path) -> np.ndarray:
        """Return float32 features ``[T, D]``; not to be written to.

        Raises:
            DataError: the file is damaged, or holds NaN or infinity.
        """
        if path in self._arrays:
            return self._arrays[path]
        features = read_features(path)
        if path not in self._checked:
            check_finite(path, features)
            self._checked.add(path)
        if self._keep or features.dtype != np.float32:
            features = np.array(features, dtype=np.float32)
            features.setflags(write=False)
        if self._keep:
            self._arrays[path] = features
        return features
