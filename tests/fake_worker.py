"""Workers that obey orders instead of looking at videos, and the command line with such workers.

The "videos" are text files with an order each: ``ok``, ``fail WHY``, ``sleep SECONDS``, ``raise``,
``exit CODE``, ``signal NUMBER``, ``fill`` (the disk, so to speak). As a script, this is ``hrpro``::

    python fake_worker.py extract VIDEOS -o OUT

With FAKE_LOG set, a line with the name of the video is added to that file whenever one is begun.
"""

from __future__ import annotations

import os
import resource
import time
from collections import deque
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from hrpro.errors import VideoError, WeightsError
from hrpro.features import Fingerprint, Sidecar, VideoFacts


def write_orders(folder: Path, orders: dict[str, str]) -> Path:
    for name, order in orders.items():
        path = folder / f"{name}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(order)
    return folder


class FakeExtractor:
    device = SimpleNamespace(type="cpu", index=None)
    fingerprint = Fingerprint()

    def extract_many(self, jobs, *, progress, started, keep_logits=False):
        under_way = deque()
        for job in jobs:
            if job is not None:
                log(job.key)
                started(job)
                under_way.append(job)
            if under_way and (job is None or len(under_way) == 2):
                job = under_way.popleft()
                progress(job, 0.5, 1.0)
                yield job, obey(job)
            elif job is None:
                time.sleep(0.01)


def obey(job):
    order, _, argument = job.path.read_text().partition(" ")
    if order == "fail":
        return VideoError(f"{job.path}: {argument}")
    if order == "sleep":
        time.sleep(float(argument))
    if order == "raise":
        raise TypeError("not what was expected")
    if order == "exit":
        os._exit(int(argument))
    if order == "signal":
        os.kill(os.getpid(), int(argument))
    if order == "fill":
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    stat = job.path.stat()
    facts = VideoFacts(size_bytes=stat.st_size, mtime_ns=stat.st_mtime_ns, duration_s=1.0)
    return SimpleNamespace(
        features=np.ones((100, 4), np.float32),
        sidecar=Sidecar(fingerprint=FakeExtractor.fingerprint, video=facts, dim=4),
        report=SimpleNamespace(warnings=()),
    )


def log(key: str) -> None:
    if "FAKE_LOG" in os.environ:
        with Path(os.environ["FAKE_LOG"]).open("a") as file:
            file.write(f"{key}\n")


def build(settings, note):
    return FakeExtractor()


def build_without_weights(settings, note):
    raise WeightsError("no weights here")


def build_and_die(settings, note):
    os._exit(7)


if __name__ == "__main__":
    from functools import partial

    import fake_worker

    import hrpro.pipeline.extract as extract
    from hrpro.cli import main

    extract.LocalEngine = partial(extract.LocalEngine, build=fake_worker.build)
    main()
