"""Workers that obey orders instead of looking at videos, and the command line with such workers.

The "videos" are text files with an order each: ``ok``, ``fail WHY``, ``sleep SECONDS``, ``raise``,
``device`` (a fault of a GPU), ``break`` (a fault while decoding), ``exit CODE``, ``signal NUMBER``,
``fill`` (the disk, so to speak); true videos are ``ok``. As a script, this is ``hrpro``::

    python fake_worker.py extract VIDEOS -o OUT
    python fake_worker.py detect VIDEOS -o OUT

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
from hrpro.extract.waits import Waits
from hrpro.features import Fingerprint, Sidecar, VideoFacts
from hrpro.pipeline.detectors.worker import DetectionParts
from hrpro.pipeline.results.model import Curves, Detection
from hrpro.pipeline.workers.work import FeatureFiles, Workshop


def write_orders(folder: Path, orders: dict[str, str]) -> Path:
    for name, order in orders.items():
        path = folder / f"{name}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(order)
    return folder


class FakeExtractor:
    device = SimpleNamespace(type="cpu", index=None)
    fingerprint = Fingerprint()

    def __init__(self):
        self.waits = Waits()

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
    content = job.path.read_bytes()
    order, _, argument = ("ok" if b"ftyp" in content else content.decode()).partition(" ")
    if order == "fail":
        return VideoError(f"{job.path}: {argument}")
    if order == "sleep":
        time.sleep(float(argument))
    if order == "raise":
        raise TypeError("not what was expected")
    if order == "device":
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
    if order == "break":
        return RuntimeError("CUDA error: unspecified launch failure")
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
        info=SimpleNamespace(average_fps=25),
    )


def log(key: str) -> None:
    if "FAKE_LOG" in os.environ:
        with Path(os.environ["FAKE_LOG"]).open("a") as file:
            file.write(f"{key}\n")


def build(settings, note):
    return Workshop(FakeExtractor(), FeatureFiles(settings.dtype))


class FakeDetector:
    """Finds one action in every video."""

    classes = ("jump", "run")
    needs_logits = False

    def describe(self):
        return {"name": "fake"}

    def version(self):
        return ""

    def detect(self, video, classes=None):
        return [Detection("jump", 0.9, 0.0, video.sidecar.video.duration_s)]

    def curves(self, video, labels):
        return Curves(0.0, 0.5, {label: [0.1, 0.9] for label in labels})


def build_detection(options, settings, note):
    output = DetectionParts(FakeDetector(), options, FakeExtractor.fingerprint)
    return Workshop(FakeExtractor(), output)


def build_without_weights(settings, note):
    raise WeightsError("no weights here")


def build_and_die(settings, note):
    os._exit(7)


if __name__ == "__main__":
    import fake_worker

    import hrpro.pipeline.detect
    import hrpro.pipeline.extract
    from hrpro.cli import main

    hrpro.pipeline.extract.build_extraction = fake_worker.build
    hrpro.pipeline.detect.build_detection = fake_worker.build_detection
    main()
