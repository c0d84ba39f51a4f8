"""Functions in the hands of torch.compile: when, how, and with the same numbers."""

from __future__ import annotations

import logging
import shutil

import pytest
import torch
from torch import Tensor, nn

from hrpro.localize.nn.compiling import Compiler, compilable


@compilable(dynamic=True)
def double(values: Tensor) -> Tensor:
    """What doubles."""
    return 2 * values


class Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 4))
        self.register_buffer("seen", torch.zeros(()))

    @compilable(dynamic=False)
    def forward(self, values: Tensor) -> Tensor:
        self.seen.add_(1)
        return self.layers(values)


def test_only_a_compiler_at_work_compiles_and_once(monkeypatch):
    asked = []

    def note(function, **options):
        asked.append((function.__name__, options))
        return lambda values: function(values) + 1

    monkeypatch.setattr(torch, "compile", note)
    one = torch.ones(())
    compiler = Compiler(torch.device("cpu"))
    assert double(one) == 2
    with compiler.at_work():
        assert double(one) == double(one) == 3
    assert double(one) == 2
    assert double.__doc__ == "What doubles."
    assert [name for name, _ in asked] == ["double"]


@pytest.mark.parametrize(
    ("device", "dynamic", "as_graph"),
    [("cpu", False, False), ("cpu", True, False), ("cuda", True, False), ("cuda", False, True)],
)
def test_what_has_one_shape_is_a_graph_on_a_gpu(monkeypatch, device, dynamic, as_graph):
    monkeypatch.setattr(torch, "compile", lambda function, **options: options)
    options = Compiler(torch.device(device)).compiled(double, dynamic)
    assert options["dynamic"] == dynamic
    assert options["options"]["triton.cudagraphs"] == as_graph


def test_a_compiler_leaves_nothing_behind_where_work_fails():
    log = logging.getLogger("torch._functorch")
    level = log.level
    with pytest.raises(RuntimeError, match="of the work"), Compiler(torch.device("cpu")).at_work():
        raise RuntimeError("of the work")
    assert log.level == level
    assert double(torch.ones(())) == 2


def test_compiled_numbers_are_the_plain_ones_dropout_included(device):
    if device == "cpu" and shutil.which("g++") is None:
        pytest.skip("needs a C++ compiler")
    torch.manual_seed(0)
    layers, compiler = Layers().to(device), Compiler(torch.device(device))
    names = layers.state_dict().keys()
    for seed in range(4):  # a graph is recorded at the second call, and replayed from the third
        found = []
        values = torch.randn(5, 8, device=device)
        for compiled in (False, True):
            torch.manual_seed(seed)
            layers.zero_grad()
            if compiled:
                with compiler.at_work():
                    output = layers(values)
            else:
                output = layers(values)
            output.square().sum().backward()
            gradients = [p.grad.clone() for p in layers.parameters()]
            found.append([output.detach().clone(), *gradients])
        for plain, fast in zip(*found, strict=True):
            torch.testing.assert_close(fast, plain)
    assert layers.seen == 8
    assert layers.state_dict().keys() == names
