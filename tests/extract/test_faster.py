"""Faster forms give way to the plain one where they fail, and blame nobody."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import Tensor

from hrpro.extract.faster import CudaGraph, OrPlain, as_cuda_graph, record_cuda_graph
from hrpro.extract.i3d import I3DOutput

pytestmark = pytest.mark.core


def double(x: Tensor) -> I3DOutput:
    """Stands for a network."""
    return I3DOutput(2 * x, 3 * x)


class FakeGraphs:
    """Records as CUDA does: every replay writes into the same memory."""

    def __init__(self):
        self.recorded: list[tuple[int, ...]] = []

    def __call__(self, network, x):
        self.recorded.append(tuple(x.shape))
        memory = I3DOutput(*(torch.empty_like(each) for each in network(x)))

        def replay(x):
            for place, values in zip(memory, network(x), strict=True):
                place.copy_(values)
            return memory

        return replay


def test_records_once_for_a_shape_and_gives_outputs_of_their_own():
    graphs = FakeGraphs()
    network = CudaGraph(double, graphs)
    first, second = network(torch.ones(4, 2)), network(torch.full((4, 2), 5.0))
    assert (first.features == 2).all() and (second.features == 10).all()
    assert (first.logits == 3).all() and (second.logits == 15).all()
    assert graphs.recorded == [(4, 2)]
    assert (network(torch.ones(2, 2)).features == 2).all()
    assert graphs.recorded == [(4, 2), (2, 2)]


def test_what_cannot_be_recorded_runs_as_it_is_and_says_so_once(monkeypatch, caplog):
    def refuse(network, x):
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nlong")

    monkeypatch.setattr("hrpro.extract.faster.record_cuda_graph", refuse)
    network = as_cuda_graph(double, torch.device("cuda"))
    with caplog.at_level(logging.DEBUG, "hrpro"):
        outputs = [network(torch.full((1, 2), float(k))).features[0, 0] for k in range(3)]
    assert outputs == [0, 2, 4]
    [record] = caplog.records
    assert record.levelname == "DEBUG"
    assert "not permitted when stream is capturing)" in record.message


def test_a_graph_that_breaks_later_costs_no_output():
    calls = []

    def fragile(network, x):
        def replay(x):
            calls.append(len(x))
            if len(calls) == 2:
                raise RuntimeError("broken")
            return network(x)

        return replay

    reasons: list[str] = []
    network = OrPlain(double, CudaGraph(double, fragile), reasons.append)
    assert [network(torch.full((1, 1), float(k))).features.item() for k in range(4)] == [0, 2, 4, 6]
    assert (len(calls), reasons) == (2, ["broken"])


def test_a_lack_of_memory_is_told_and_a_smaller_batch_gets_a_graph_of_its_own():
    graphs = FakeGraphs()

    def tight(network, x):
        if len(x) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return graphs(network, x)

    network = OrPlain(double, CudaGraph(double, tight), pytest.fail)
    with pytest.raises(torch.OutOfMemoryError):
        network(torch.ones(4, 1))
    assert (network(torch.ones(2, 1)).features == 2).all()
    assert graphs.recorded == [(2, 1)]


def test_a_fault_that_is_not_the_faster_forms_is_raised():
    def broken(x):
        raise ValueError("the input")

    with pytest.raises(ValueError, match="the input"):
        OrPlain(broken, lambda x: broken(x), pytest.fail)(1)


def test_other_devices_have_no_graphs():
    assert as_cuda_graph(double, torch.device("cpu")) is double


@torch.inference_mode()
def test_what_waits_for_the_gpu_cannot_be_recorded_and_harms_nothing(cuda):
    def waits(x: Tensor) -> I3DOutput:
        return I3DOutput(x * x.sum().item(), x)

    before = torch.cuda.current_stream()
    network = as_cuda_graph(waits, torch.device(cuda))
    x = torch.rand(3, 2, device=cuda)
    for _ in range(2):
        torch.testing.assert_close(network(x).features, x * x.sum())
    assert torch.cuda.current_stream() == before


@torch.inference_mode()
def test_on_a_gpu(cuda):
    network = CudaGraph(double)
    for count in (3, 3, 2):
        x = torch.rand(count, 2, device=cuda)
        torch.testing.assert_close(network(x).features, 2 * x)
    x = torch.rand(2, 2, device=cuda)
    replay = record_cuda_graph(double, x)
    first = replay(x).features
    assert replay(x + 1).features.data_ptr() == first.data_ptr()


@pytest.mark.parametrize(("offset", "results"), [(0.05, [1.05, 2.05]), (3.0, [1.0, 2.0])])
def test_the_first_results_are_compared_where_that_is_asked_for(offset, results):
    calls, reasons = [], []

    def plain(x):
        calls.append(x)
        return x

    def agree(some, others):
        return abs(some - others) < 0.1

    run = OrPlain(plain, lambda x: x + offset, reasons.append, agree)
    assert [run(1.0), run(2.0)] == pytest.approx(results)
    assert calls == ([1.0] if offset < 0.1 else [1.0, 2.0])
    assert reasons == ([] if offset < 0.1 else ["its results are wrong here"])
