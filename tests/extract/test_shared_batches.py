"""Batches across the borders of videos, and jobs that are worked on ahead in threads."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hrpro.errors import HrproError
from hrpro.extract.compute_threads import computing_pool
from hrpro.extract.i3d import I3DOutput
from hrpro.extract.networks import Networks
from hrpro.extract.read_ahead import map_ahead, prefetch_each
from hrpro.extract.shared_batches import run_batches
from hrpro.extract.snippet_cutting import SnippetBlock, cut_snippets


class Mean(nn.Module):
    """Stands for a network: features are first and mean sample of a snippet, logits their sum."""

    def __init__(self, most: int = 1000):
        super().__init__()
        self.sizes: list[int] = []
        self.most = most

    def forward(self, x: torch.Tensor) -> I3DOutput:
        if len(x) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 7 GiB")
        self.sizes.append(len(x))
        frames = x.float().mean(dim=(1, 3, 4))  # [B, T]
        features = torch.stack([frames[:, 0], frames.mean(dim=1)], dim=1)
        return I3DOutput(features, features.sum(dim=1, keepdim=True))


def make_runner(network: nn.Module, batch_size: int, length: int, stride: int, **options):
    return Networks(
        {"flow": network},  # not scaled on the way
        device=torch.device("cpu"),
        length=length,
        stride=stride,
        batch_size=batch_size,
        **options,
    )


def numbered(count: int, start: int = 0):
    """Samples of 2 x 2 pixels that hold their number."""
    return ((np.full((2, 2, 2), start + k, np.float32),) for k in range(count))


def expected(count: int, length: int, stride: int, start: int) -> list[list[float]]:
    numbers = np.pad(np.arange(start, start + count), (0, max(0, length - count)), "edge")
    starts = range(0, len(numbers) - length + 1, stride)
    return [[numbers[s], numbers[s : s + length].mean()] for s in starts]


@settings(deadline=None)
@given(
    counts=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    length=st.integers(1, 8),
    stride=st.integers(1, 10),
    per_block=st.integers(1, 4),
    batch_size=st.integers(1, 7),
    ahead=st.integers(0, 2),
)
def test_every_video_gets_its_own_rows_in_order(
    counts, length, stride, per_block, batch_size, ahead
):
    network = Mean()
    runner = make_runner(network, batch_size, length, stride)
    runner.ahead = ahead

    def blocks():
        for video, count in enumerate(counts):
            samples = numbered(count, 100 * video)
            for block in cut_snippets(samples, length, stride, per_block):
                yield video, block
            yield video, None

    found: dict[int, list] = {video: [] for video in range(len(counts))}
    ended = []
    for part, features, logits in run_batches(blocks(), runner):
        assert part.owner not in ended
        if part.block is None:
            ended.append(part.owner)
            continue
        assert part.first == len(found[part.owner])
        assert len(features) == len(logits) == len(part)
        found[part.owner] += features.tolist()
    assert ended == sorted(found)
    for video, count in enumerate(counts):
        np.testing.assert_allclose(found[video], expected(count, length, stride, 100 * video))
    assert all(size == batch_size for size in network.sizes[:-1]), "only the last is not full"


def one_snippet(number: int) -> SnippetBlock:
    return next(cut_snippets(numbered(4, number), 4, 4, 1))


def test_what_is_there_is_run_when_nothing_follows_soon():
    network = Mean()
    asked = []

    def blocks():
        yield "a", one_snippet(0)
        yield "a", None
        asked.append(list(network.sizes))
        yield None
        asked.append(list(network.sizes))
        yield "b", one_snippet(10)

    rows = list(run_batches(blocks(), make_runner(network, 8, 4, 4)))
    assert asked == [[], [1]]
    assert [row.part.owner for row in rows] == ["a", "a", "b"]


@pytest.mark.parametrize("ahead", [0, 1])
def test_out_of_memory_halves_the_batch_once_and_loses_nothing(ahead, caplog):
    network = Mean(most=3)
    runner = make_runner(network, 16, 4, 4)
    runner.ahead = ahead
    blocks = [(number, one_snippet(100 * number)) for number in range(21)]
    with caplog.at_level(logging.WARNING):
        rows = list(run_batches(blocks, runner))
    assert [row.part.owner for row in rows] == list(range(21))
    assert [row.features[0, 0] for row in rows] == [100 * number for number in range(21)]
    assert network.sizes == [2] * 10 + [1]
    assert runner.batch_size == 2
    [record] = caplog.records
    assert "going on with batches of 2 snippets (--batch-size)" in record.message


def test_no_memory_for_a_single_snippet_is_one_clear_error():
    runner = make_runner(Mean(most=0), 4, 4, 4)
    with pytest.raises(HrproError, match="--batch-size 1"):
        list(run_batches([(0, one_snippet(0))], runner))


def test_what_cannot_be_compiled_runs_as_it_is_and_says_so_once(monkeypatch, caplog):
    def refuse(network, mode):
        def call(x):
            raise RuntimeError("no compiler\nlong story")

        return call

    monkeypatch.setattr(torch, "compile", refuse)
    network = Mean()
    rows = list(
        run_batches(
            [(0, one_snippet(0)), (1, one_snippet(5))],
            make_runner(network, 1, 4, 4, compile=True),
        )
    )
    assert [row.features[0, 0] for row in rows] == [0, 5]
    [record] = caplog.records
    assert record.message == "--compile: not possible here, going on without (no compiler)"


def test_what_fails_later_goes_on_as_it_is(monkeypatch, caplog):
    """A compiled network may break at any call: another shape, graphs that get into each other."""
    calls = []

    def fragile(network, mode):
        def call(x):
            calls.append(len(x))
            if len(calls) == 2:
                raise RuntimeError("output of CUDAGraphs that has been overwritten")
            return network(x)

        return call

    monkeypatch.setattr(torch, "compile", fragile)
    blocks = [(number, one_snippet(number)) for number in range(5)]
    rows = list(run_batches(blocks, make_runner(Mean(), 1, 4, 4, compile=True)))
    assert [row.features[0, 0] for row in rows] == [0, 1, 2, 3, 4]
    assert len(calls) == 2
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_graphs_that_share_their_memory_do_not_overwrite_what_came_before(monkeypatch):
    memory = torch.zeros(1, 3)  # as the pool of CUDA graphs: every run writes into it

    def graph(network, mode):
        def call(x):
            features, logits = network(x)
            memory[:, :2], memory[:, 2:] = features, logits
            return I3DOutput(memory[:, :2], memory[:, 2:])

        return call

    monkeypatch.setattr(torch, "compile", graph)
    options = {"device": torch.device("cpu"), "length": 4, "stride": 4, "batch_size": 1}
    runner = Networks({"rgb": Mean(), "flow": Mean()}, compile=True, **options)
    samples = (
        (*first, *second) for first, second in zip(numbered(4), numbered(4, 50), strict=True)
    )
    block = next(cut_snippets(samples, 4, 4, 1))
    [row] = run_batches([(0, block)], runner)
    assert row.features.tolist() == [[0, 1.5, 50, 51.5]]


@pytest.mark.parametrize("compile", [False, True])  # the second fills batches up
def test_samples_may_be_on_the_device_already(monkeypatch, compile):
    monkeypatch.setattr(torch, "compile", lambda network, **options: network)
    runner = make_runner(Mean(), 4, 3, 1, compile=compile)
    there = [(torch.from_numpy(sample),) for (sample,) in numbered(5, 50)]
    blocks = [next(cut_snippets(each, 3, 1, 9)) for each in (numbered(5), there, numbered(1))]
    rows = list(run_batches(enumerate(blocks), runner))
    found = np.concatenate([row.features for row in rows]).tolist()
    assert found == expected(5, 3, 1, 0) + expected(5, 3, 1, 50) + expected(1, 3, 1, 0)


def prefetch_threads() -> int:
    return sum(thread.name == "prefetch" for thread in threading.enumerate())


@pytest.mark.parametrize("threads", [1, 3])
def test_jobs_are_all_done_each_in_its_order(threads):
    with closing(prefetch_each(range(20), range, threads=threads, depth=3)) as produced:
        found: dict[int, list] = {}
        for job, item, error in produced:
            assert error is None
            found.setdefault(job, []).append(item)
    assert found == {job: [*range(job), None] for job in range(20)}
    assert prefetch_threads() == 0


def test_an_error_ends_its_job_alone():
    def work(job):
        yield job
        if job % 2:
            raise ValueError(f"job {job}")

    produced = list(prefetch_each(range(4), work, threads=2))
    assert sorted(each.job for each in produced if each.item is not None) == [0, 1, 2, 3]
    ends = {each.job: str(each.error or "") for each in produced if each.item is None}
    assert ends == {0: "", 1: "job 1", 2: "", 3: "job 3"}


def test_an_error_of_the_jobs_themselves_is_raised():
    def jobs():
        yield 1
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        list(prefetch_each(jobs(), range, threads=2))
    assert prefetch_threads() == 0


@pytest.mark.parametrize("threads", [1, 3])
def test_jobs_may_wait_for_results(threads):
    """Each job is handed out only when the one before has come back."""
    returned: list[int] = []

    def jobs():
        for number in range(5):
            while len(returned) < number:
                yield None
            yield number

    idle = 0
    for produced in prefetch_each(jobs(), lambda job: [job], threads=threads):
        if produced is None:
            idle += 1
        elif produced.item is None:
            returned.append(produced.job)
    assert returned == [0, 1, 2, 3, 4]


def test_jobs_are_taken_only_as_the_consumer_gets_on():
    taken = []
    jobs = (taken.append(job) or job for job in range(100))
    with closing(prefetch_each(jobs, lambda job: [job], threads=2, depth=2)) as produced:
        next(produced)
        time.sleep(0.2)
        # Two threads with an item in hand, two items in the queue, one handed out.
        assert len(taken) <= 6


def test_leaving_early_closes_what_is_open_and_ends_the_threads():
    closed = []

    def endless(job):
        try:
            while True:
                yield job
        finally:
            closed.append(job)

    produced = prefetch_each("abcdef", endless, threads=3)
    next(produced)
    produced.close()
    assert sorted(closed) == ["a", "b", "c"]
    assert prefetch_threads() == 0


@pytest.mark.parametrize("lanes", [2, 3])
def test_batches_side_by_side_come_back_in_order(lanes):
    class Slow(Mean):
        def forward(self, x):
            time.sleep(0.02 * (int(x.mean()) % 2))  # the later one of two would overtake
            return super().forward(x)

    before = torch.get_num_threads()
    runner = make_runner(Slow(), 1, 4, 4, lanes=lanes)
    assert torch.get_num_threads() == before
    blocks = [(number, one_snippet(11 * number)) for number in range(8)]
    found = [(row.part.owner, row.features[0, 0]) for row in run_batches(blocks, runner)]
    assert found == [(number, 11 * number) for number in range(8)]


def test_leaving_early_begins_no_further_batch():
    release = threading.Event()

    class Held(Mean):
        def forward(self, x):
            release.wait(10)
            return super().forward(x)

    network = Held()
    runner = make_runner(network, 1, 4, 4, lanes=2)
    runner.ahead = 10

    def blocks():
        yield from ((number, one_snippet(number)) for number in range(7))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(run_batches(blocks(), runner))
    release.set()
    time.sleep(0.2)
    assert len(network.sizes) <= 2, "those that were under way"


def test_threads_of_a_computing_pool_do_not_share_their_work_and_others_still_do():
    torch_threads = torch.get_num_threads
    before = torch_threads()
    with computing_pool(2, name="test") as pool:
        assert pool.submit(torch_threads).result() == 1
        assert torch_threads() == before
    with ThreadPoolExecutor(1) as other:
        assert other.submit(torch_threads).result() == before


@pytest.mark.parametrize("pooled", [False, True])
def test_work_ahead_keeps_the_order_and_its_distance(pooled):
    taken = []
    items = (taken.append(item) or item for item in range(20))
    with ThreadPoolExecutor(3) as pool:
        results = map_ahead(lambda item: 2 * item, items, pool if pooled else None, 4)
        assert next(results) == (0, 0)
        assert len(taken) == (5 if pooled else 1)
        assert list(results) == [(item, 2 * item) for item in range(1, 20)]
