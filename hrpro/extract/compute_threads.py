"""How many threads compute side by side."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch


def computing_pool(num_threads: int, *, name: str, cores_each: int = 1) -> ThreadPoolExecutor:
    """A pool of threads in each of which PyTorch spreads an operation over `cores_each` threads.

    Several small computations side by side keep a CPU busier than one after the other on all
    cores, which wait for each other after every operation.
    """
    everyone = threading.Barrier(num_threads)

    def start(_: int) -> None:
        everyone.wait()  # so that each thread of the pool comes here once
        torch.get_num_threads()  # a thread takes over the common number when it first asks
        torch.set_num_threads(cores_each)

    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(num_threads, thread_name_prefix=name)
    list(pool.map(start, range(num_threads)))
    # The number holds for the thread that set it, and for threads that are started later.
    torch.set_num_threads(before)
    return pool


def decode_threads(device: torch.device) -> int:
    """How many cores decoding may take so that the networks on `device` do not wait.

    A GPU leaves it all of them. On a CPU the networks need the cores themselves: decoding costs
    about an eighth of what I3D does.
    """
    return max(1, cores_per_device() // (1 if device.type == "cuda" else 8))


class CoreShares:
    """Splits cores between the videos that are being decoded.

    A video that is decoded alone gets all of them, for frames side by side; one of many gets one.
    """

    def __init__(self, num_cores: int):
        self._num_cores = num_cores
        self._num_taken = 0
        self._lock = threading.Lock()

    @property
    def num_taken(self) -> int:
        """Videos that are being decoded."""
        return self._num_taken

    @contextmanager
    def taken(self) -> Iterator[int]:
        """The threads of a video, from its begin to its end."""
        with self._lock:
            self._num_taken += 1
            share = max(1, self._num_cores // self._num_taken)
        try:
            yield share
        finally:
            with self._lock:
                self._num_taken -= 1


def flow_threads(device: torch.device | None) -> int:
    """How many chunks of frames to give to a flow algorithm at once.

    Args:
        device: where it computes; OpenCV's have none. On a CPU it gets as many as PyTorch has
            threads there; on a GPU the second is prepared while the first is computed.
    """
    if device is not None and device.type == "cuda":
        return 2
    return min(torch.get_num_threads(), cores_per_device())


def cpu_lanes() -> int:
    """How many batches to run side by side on a CPU: one for each thread that PyTorch may use."""
    return min(8, torch.get_num_threads())


def cores_per_device() -> int:
    """CPU cores that this process may use, by the number of GPUs (or one)."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, (usable or 1) // max(1, torch.cuda.device_count()))
