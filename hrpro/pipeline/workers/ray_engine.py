"""Workers on a Ray cluster: ``hrpro extract|detect --engine ray [--address auto]``.

The ledger and the rules are those of every run; Ray only finds machines, starts actors there and
notices their end. All machines must see the videos and the output folder under the same paths, and
have hrpro installed. Actors are never restarted and their calls never repeated by Ray: the
supervisor replaces them and hands their videos out again, which is safe because working on a video
again gives the same file.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hrpro.errors import UsageError
from hrpro.extract.jobs import Job
from hrpro.pipeline.workers.engines import MACHINE_GONE
from hrpro.pipeline.workers.messages import Event, JobFeed, Listener, Ready, Started
from hrpro.pipeline.workers.work import Build, WorkerSettings, serve

if TYPE_CHECKING:
    from ray import ObjectRef
    from ray.actor import ActorHandle

_LISTEN_S = 2.0  # an actor answers after so long even if it has nothing to say
_AGAIN_S = 0.2  # between two tries to reach an actor that may be gone
_IDLE_S = 0.05  # between two looks while no actor can be asked
_REACH_S = 5.0  # to reach a cluster
_KILLED = "its process was killed; out of memory?"


class RayActor:
    """The worker as it runs on a machine of the cluster; one thread works, others answer calls.

    Events stay here until the supervisor says that it has them: an answer may get lost on the way.
    """

    def __init__(self, settings: WorkerSettings, build: Build):
        self._feed = JobFeed()
        self._said: deque[Event] = deque()
        self._first = 0
        """Number of the oldest event that is kept."""
        self._news = threading.Condition()
        threading.Thread(
            target=serve, args=(settings, build, self._feed, self._say), daemon=True
        ).start()

    def where(self) -> str:
        """The machine it runs on, by the cluster's id."""
        import ray

        return ray.get_runtime_context().get_node_id()

    def submit(self, job: Job) -> None:
        """Give it a video."""
        self._feed.put(job)

    def events(self, first: int, timeout_s: float) -> list[Event]:
        """The events from number `first` on; those before it have arrived and are forgotten."""
        with self._news:
            while self._first < first:
                self._said.popleft()
                self._first += 1
            self._news.wait_for(lambda: bool(self._said), timeout_s)
            return list(self._said)

    def _say(self, event: Event) -> None:
        with self._news:
            self._said.append(event)
            self._news.notify_all()


class RayWorker:
    """An actor as its supervisor sees it; see `WorkerHandle`."""

    def __init__(self, actor: ActorHandle):
        self.name = "ray"
        self._actor = actor
        self._node: str | None = None
        self._where: ObjectRef | None = actor.where.remote()
        self._heard = 0
        self._answer: ObjectRef | None = self._ask()
        self._end: str | None = None
        self._again_at = 0.0
        self._silent: dict[str, None] = {}
        """Videos it was given of which nothing has been heard yet."""

    def _ask(self) -> ObjectRef:
        return self._actor.events.remote(self._heard, _LISTEN_S)

    def submit(self, job: Job) -> None:
        """See `WorkerHandle`; the actor's working directory is another one."""
        paths = {name: getattr(job, name).absolute() for name in ("path", "root", "target")}
        self._actor.submit.remote(job._replace(**paths))
        self._silent[job.key] = None

    def poll(self, listener: Listener) -> None:
        """See `WorkerHandle`."""
        for event in self._receive():
            if isinstance(event, Ready):
                self.name = event.worker
            elif isinstance(event, Started):
                self._silent.pop(event.key, None)
            listener(event)
        if self._end == _KILLED:
            # What an actor said last dies with it: any of these videos may have been begun.
            while self._silent:
                listener(Started(self._silent.popitem()[0]))

    def _receive(self) -> Sequence[Event]:
        """The events that have arrived; finds out whether the actor has ended."""
        import ray
        from ray.exceptions import ActorUnavailableError, RayActorError

        if self._end is not None:
            return ()
        try:
            if self._where is not None and _is_there(self._where):
                self._node, self._where = ray.get(self._where), None
            if self._answer is None:
                if time.monotonic() >= self._again_at:
                    self._answer = self._ask()
                return ()
            if not _is_there(self._answer):
                return ()
            events = ray.get(self._answer)
        except ActorUnavailableError:  # out of reach; Ray will say whether for good
            self._answer, self._again_at = None, time.monotonic() + _AGAIN_S
            return ()
        except RayActorError as error:
            self._end = self._why(error)
            return ()
        self._heard += len(events)
        self._answer = self._ask()
        return events

    def _why(self, error: Exception) -> str:
        """How the actor ended, in words."""
        import ray

        alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
        if getattr(error, "preempted", False) or (self._node and self._node not in alive):
            return MACHINE_GONE
        return _KILLED

    def ended(self) -> str | None:
        """See `WorkerHandle`."""
        return self._end

    def stop(self) -> None:
        """See `WorkerHandle`; what it leaves half-written is removed by the supervisor."""
        import ray

        with suppress(Exception):  # it may be gone, and so may the cluster
            ray.kill(self._actor)

    def join(self, timeout_s: float) -> None:
        """See `WorkerHandle`."""
        self.stop()

    def signs(self) -> list[ObjectRef]:
        """What becomes ready when it has said something or has ended."""
        return [self._answer] if self._answer is not None and self._end is None else []


def _is_there(answer: ObjectRef) -> bool:
    import ray

    return bool(ray.wait([answer], timeout=0)[0])


class RayEngine:
    """Actors of a Ray cluster as workers; see `Engine` and `ray_cluster`.

    Args:
        settings: of the run.
        build: makes the workshop in an actor.
        num_workers: actors; by default one per GPU of the cluster, or one per machine.
    """

    def __init__(self, settings: WorkerSettings, build: Build, num_workers: int | None = None):
        import ray

        self._settings, self._num_workers, self._build = settings, num_workers, build
        # A copy of the class, so that importing this module does not import Ray.
        self._actor = ray.remote(RayActor)

    def start(self, device: str | None, num_workers: int) -> RayWorker:
        """See `Engine`; waits in the cluster's queue if nothing is free."""
        needs: dict[str, Any] = {"num_cpus": 1, "num_gpus": 1}  # Ray shows each actor its own GPU
        settings = self._settings
        if not self._on_gpus():
            cores = self._cores()
            needs = {"num_cpus": cores}
            settings = replace(settings, num_threads=cores)
        actor = self._actor.options(
            **needs,
            max_concurrency=4,
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy="SPREAD",
        ).remote(settings, self._build)
        return RayWorker(actor)  # type: ignore[arg-type]  # Ray's types add "or the class"

    def wait(self, workers: Sequence[RayWorker], timeout_s: float) -> None:
        """See `Engine`."""
        import ray

        signs = [sign for worker in workers for sign in worker.signs()]
        if signs:
            ray.wait(signs, num_returns=1, timeout=timeout_s)
        else:
            time.sleep(min(timeout_s, _IDLE_S))

    def num_workers(self, ready: Ready) -> int:
        """See `Engine`."""
        import ray

        if self._num_workers:
            return self._num_workers
        if self._on_gpus():
            return int(ray.cluster_resources()["GPU"])
        return len(_node_cores())

    def _on_gpus(self) -> bool:
        import ray

        return self._settings.compute.device != "cpu" and ray.cluster_resources().get("GPU", 0) >= 1

    def _cores(self) -> int:
        """Cores of one worker: a machine each, or a fair share of the cluster."""
        of_nodes = _node_cores()
        share = sum(of_nodes) // self._num_workers if self._num_workers else min(of_nodes)
        return max(1, min(share, *of_nodes))


def _node_cores() -> list[int]:
    """Cores of every machine of the cluster that has any to give."""
    import ray

    cores = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    return [each for each in cores if each] or [1]


@contextmanager
def ray_cluster(address: str | None) -> Iterator[None]:
    """Be connected to a Ray cluster for the length of the block.

    Args:
        address: ``HOST:PORT`` of the cluster, or ``auto`` for the one this machine is part of; None
            starts a small one of this machine alone, which ends with the block.

    Raises:
        UsageError: Ray is not installed, or there is no cluster.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing leaves the cluster
    try:
        import ray
        from ray.exceptions import RayError
    except ImportError as error:
        raise UsageError('--engine ray needs Ray: python -m pip install "hrpro[ray]"') from error
    options: dict[str, Any] = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    if address is not None:
        options = {"address": address}
    try:
        _check_reachable(address)
        with _kept_signals():
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
    except (OSError, ValueError, RuntimeError, RayError) as error:
        raise UsageError(
            f"--address {address}: no Ray cluster there; start one with `ray start --head`"
        ) from error
    try:
        with redirect_stdout(sys.stderr):  # Ray tells of dead actors on standard output
            yield
    finally:
        ray.shutdown()


def _check_reachable(address: str | None) -> None:
    """Fail soon where nothing listens; Ray itself would try for minutes."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if colon:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH_S).close()


@contextmanager
def _kept_signals() -> Iterator[None]:
    """Keep this program's own way to end; Ray would put one in its place."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            if threading.current_thread() is threading.main_thread():
                signal.signal(number, handler)
