"""Deal videos to training and test: by whole videos, seeded, every class in both."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

EMPTY: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Split:
    """Names of the videos to train on and to test on; none is in both."""

    train: tuple[str, ...] = ()
    test: tuple[str, ...] = ()

    def __contains__(self, video_id: object) -> bool:
        return video_id in self.train or video_id in self.test

    @property
    def test_share(self) -> float | None:
        """Share of the videos that is for testing; None if there are no videos."""
        total = len(self.train) + len(self.test)
        return len(self.test) / total if total else None


def deal(
    videos: Collection[str],
    test_share: float,
    seed: int,
    labels: Mapping[str, Collection[str]] | None = None,
    given: Split | None = None,
) -> Split:
    """Deal videos to training and test, so that both get their share of every class.

    Iterative stratification (Sechidis et al., On the Stratification of Multi-Label Data, 2011):
    the rarest class first, each of its videos to the side that lacks it most; training where both
    lack it equally, since a class that is not trained on cannot be found. A class of one or two
    videos is for training alone. The order of equal videos follows from the seed and their names,
    not from the other videos.

    Args:
        videos: names to deal.
        test_share: share of videos for testing, 0 to 1.
        seed: another seed gives another split.
        labels: video -> its classes, as far as they are known.
        given: videos that stay where they are; those to deal come on top.

    Returns:
        The new split, with `given` first.
    """
    labels, given = labels or {}, given or Split()
    classes = {video: frozenset(labels.get(video, EMPTY)) for video in videos}
    waiting = sorted(videos, key=lambda video: (_random_key(video, seed), video))
    sides = (list(given.train), list(given.test))
    shares = (1 - test_share, test_share)
    total = len(waiting) + len(sides[0]) + len(sides[1])
    # What each side still lacks: of videos, and of videos of each class.
    lacks = [share * total - len(side) for share, side in zip(shares, sides, strict=True)]
    count = Counter(label for video in waiting for label in classes[video])
    lacks_class = [{label: share * n for label, n in count.items()} for share in shares]
    while waiting:
        label = min(count, key=lambda each: (count[each], each)) if count else None
        batch = [video for video in waiting if label is None or label in classes[video]]
        for video in batch:
            wants = [(lacks_class[s][label] if label else 0.0, lacks[s]) for s in (0, 1)]
            side = 1 if _above(wants[1], wants[0]) else 0
            sides[side].append(video)
            lacks[side] -= 1
            for each in classes[video]:
                lacks_class[side][each] -= 1
        waiting = [video for video in waiting if video not in set(batch)]
        count = Counter(label for video in waiting for label in classes[video])
    return Split(tuple(sides[0]), tuple(sides[1]))


def _above(one: Sequence[float], other: Sequence[float]) -> bool:
    """Compare number by number, forgiving rounding."""
    for a, b in zip(one, other, strict=True):
        if abs(a - b) > 1e-9:
            return a > b
    return False


def _random_key(video: str, seed: int) -> bytes:
    text = f"{seed}:{video}".encode("utf-8", "surrogateescape")
    return hashlib.sha256(text).digest()
