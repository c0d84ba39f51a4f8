"""Extraction on a small Ray cluster: two machines in one, of which one is killed half-way."""

from __future__ import annotations

import os
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import missing
from fake_worker import FakeExtractor, write_orders

from hrpro.errors import UsageError
from hrpro.extract.sources import find_videos
from hrpro.features import read_features
from hrpro.pipeline.console.progress import Reporter
from hrpro.pipeline.extract import extract_features, supervise
from hrpro.pipeline.workers.engines import MACHINE_GONE
from hrpro.pipeline.workers.launch import WorkerOptions
from hrpro.pipeline.workers.ledger import Ledger
from hrpro.pipeline.workers.ray_engine import RayEngine, ray_cluster
from hrpro.pipeline.workers.work import FeatureFiles, WorkerSettings, Workshop

pytestmark = pytest.mark.usefixtures("ray")


@pytest.fixture(scope="module")
def ray():
    """Ray, which is an extra."""
    if find_spec("ray") is None:
        missing("needs Ray: pip install hrpro[ray]")


def fake_extraction(settings, note):
    return Workshop(FakeExtractor(), FeatureFiles())


@pytest.fixture
def cluster(monkeypatch):
    """A head without cores and two machines with one core each; the second is `cluster.victim`."""
    from ray.cluster_utils import Cluster

    # Actors import the build function above.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[2]), *sys.path]))
    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": 80_000_000}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    memory = {"num_cpus": 1, "object_store_memory": 80_000_000}
    cluster.add_node(**memory)
    cluster.victim = cluster.add_node(**memory)
    cluster.wait_for_nodes()
    yield cluster
    cluster.shutdown()


def run(cluster, orders: dict[str, str], folder: Path, **options):
    """Extract text files with orders (see fake_worker) on the cluster."""
    videos = write_orders(folder / "videos", orders)
    with ray_cluster(cluster.address):
        engine = RayEngine(WorkerSettings(), build=fake_extraction)
        return supervise(
            engine,
            find_videos([str(videos)]),
            folder / "out",
            reporter=Reporter(quiet=True),
            **options,
        )


@pytest.mark.slow
def test_two_machines_share_the_work_and_one_bad_video_costs_itself(cluster, tmp_path):
    orders = {f"v{k}": "sleep 1" for k in range(6)}
    orders |= {"bad": "fail no moov", "z": "signal 9"}
    summary = run(cluster, orders, tmp_path)
    assert sorted(summary.done) == [f"v{k}.mp4" for k in range(6)]
    assert [(each.path, each.reason) for each in summary.failed] == [("bad.mp4", "no moov")]
    (poisoned,) = summary.poisoned
    assert poisoned.path == "z.mp4"
    assert "crashed the worker twice" in poisoned.reason
    ledger = Ledger(tmp_path / "out", print)
    assert len({ledger.read(f"v{k}.mp4").worker for k in range(6)}) >= 2
    again = run(cluster, {}, tmp_path)
    assert (again.done, len(again.skipped)) == ([], 6)
    assert [each.path for each in again.poisoned] == ["z.mp4"]


@pytest.mark.slow
def test_a_machine_that_is_lost_half_way_costs_nothing(cluster, tmp_path):
    """Its videos are done by the other one, and are blamed for nothing."""
    orders = {f"v{k}": "sleep 1" for k in range(8)}
    ledger = Ledger(tmp_path / "out", print)

    def kill_when_busy() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            records = [ledger.read(f"{name}.mp4") for name in orders]
            running = [record for record in records if record and record.state == "running"]
            if len({record.worker for record in running}) == 2:
                break
            time.sleep(0.02)
        cluster.remove_node(cluster.victim, allow_graceful=False)

    killer = threading.Thread(target=kill_when_busy)
    killer.start()
    summary = run(cluster, orders, tmp_path)
    killer.join()
    assert sorted(summary.done) == sorted(f"{name}.mp4" for name in orders)
    assert not summary.failed and not summary.poisoned
    records = [ledger.read(f"{name}.mp4") for name in orders]
    assert max(record.attempts for record in records) == 2  # those of the lost machine
    assert {record.crashes for record in records} == {0}
    for name in orders:
        assert read_features(tmp_path / "out" / f"{name}.npy").shape[1] > 0
    leftovers = [path for path in (tmp_path / "out").rglob("*") if ".part" in path.name]
    assert leftovers == []


@pytest.mark.slow
def test_real_features_on_a_cluster_of_this_machine_alone(rgb_weights, tmp_path, monkeypatch):
    from videos import make_video

    monkeypatch.chdir(tmp_path)
    make_video(Path("videos", "a.mp4"), 40)  # a relative path: actors have another folder
    settings = WorkerSettings({"streams": "rgb", "short_side": 64, "crop": 64})
    workers = WorkerOptions(workers=1, engine="ray")
    summary = extract_features(["videos"], out=Path("features"), settings=settings, workers=workers)
    assert summary.done == ["a.mp4"]
    assert read_features(tmp_path / "features" / "a.npy").shape == (2, 1024)


def test_no_cluster_and_no_ray_are_one_line(tmp_path, monkeypatch):
    (tmp_path / "a.mp4").touch()

    def extract(workers):
        extract_features([str(tmp_path)], out=tmp_path / "f", workers=workers)

    with pytest.raises(UsageError, match="no Ray cluster there"):
        extract(WorkerOptions(engine="ray", address="127.0.0.1:1"))
    with pytest.raises(UsageError, match="goes with --engine ray"):
        extract(WorkerOptions(address="auto"))
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"hrpro\[ray\]"):
        extract(WorkerOptions(engine="ray"))


def test_a_lost_machine_is_not_the_fault_of_a_video():
    from hrpro.pipeline.workers.engines import NOT_ITS_FAULT

    assert MACHINE_GONE in NOT_ITS_FAULT
