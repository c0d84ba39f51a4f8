"""How often an update looks at numbers that a GPU would have to be waited for."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from hrpro.localize.methods.hrpro import snippet_losses
from hrpro.localize.methods.hrpro.snippet_model import SnippetConfig, SnippetModel
from hrpro.localize.methods.sal import losses as sal_losses
from hrpro.localize.methods.sal.config import SalLosses, SalNetwork
from hrpro.localize.methods.sal.model import SalModel
from hrpro.localize.methods.sal.pseudo_labels import AdaptiveMask
from hrpro.localize.nn.dropout import Dropout
from hrpro.localize.sampling.packing import VideoBatch


class Looks(TorchDispatchMode):
    """Notes the operations whose result has a shape or a number that Python has to know."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.__name__
        is_mask = name.startswith("index") and any(
            isinstance(each, Tensor) and each.dtype == torch.bool
            for each in (args[1] if isinstance(args[1], (list, tuple)) else ())
        )
        unknown = name == "repeat_interleave.Tensor" and "output_size" not in (kwargs or {})
        if is_mask or unknown or name.split(".")[0] in ("nonzero", "_local_scalar_dense"):
            self.found.append(name.split(".")[0])
        return function(*args, **(kwargs or {}))


def looks(monkeypatch, losses) -> list[str]:
    """Of an update with the dropout that a GPU has."""
    monkeypatch.setattr(Dropout, "forward", nn.Dropout.forward)
    with Looks() as found:
        losses()["total"].backward()
    return found.found


def test_the_checks_see_what_there_is_to_see():
    values = torch.arange(3.0)
    with Looks() as found:
        values[values > 1]
        values.nonzero()
        values.sum().item()
        values.repeat_interleave(torch.tensor([1, 0, 2]))
    assert found.found == ["index", "nonzero", "_local_scalar_dense", "repeat_interleave"]


def test_hrpro_looks_only_for_the_snippets_of_its_losses(monkeypatch):
    torch.manual_seed(0)
    model = SnippetModel(16, 3, SnippetConfig(attention_dropout=0))
    points = [torch.rand(length, 3) > 0.8 for length in (7, 20, 11)]
    batch = VideoBatch.collate([torch.rand(len(p), 16) for p in points], points)
    found = looks(monkeypatch, lambda: snippet_losses.training_losses(model, batch))
    assert found == 5 * ["nonzero"]


def test_sal_never_looks(monkeypatch):
    torch.manual_seed(0)
    model, mask = SalModel(16, 3, SalNetwork(width=8)), AdaptiveMask(3)
    features, labels = torch.rand(4, 30, 16), torch.eye(4)[:, :3]
    losses = SalLosses()
    found = looks(
        monkeypatch, lambda: sal_losses.training_losses(model, mask, features, labels, losses)
    )
    assert found == []
