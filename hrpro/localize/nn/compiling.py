"""Functions that ``torch.compile`` may have while networks are trained.

An update of networks as small as these is many hundred little kernels, and a GPU waits for the
next one to be launched. Compiled, those between two matrix products become one; where shapes are
always the same, a whole function becomes a CUDA graph, launched at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import nn

P = ParamSpec("P")
R = TypeVar("R")


def compilable(*, dynamic: bool) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a `Compiler` that is at work have a function of tensors, or a method of a network.

    Such a function never looks at the numbers in a tensor, nor calls another that is marked so. A
    network in eval mode, as that of a teacher, is left as it is.

    Args:
        dynamic: its inputs have other shapes in every update.
    """

    def mark(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            compiler = _AT_WORK.get()
            looks_only = args and isinstance(args[0], nn.Module) and not args[0].training
            if compiler is None or looks_only:
                return function(*args, **kwargs)
            return compiler.compiled(function, dynamic)(*args, **kwargs)

        return call

    return mark


class Compiler:
    """Compiles what is marked `compilable` and called in its presence.

    Args:
        device: of the networks.
    """

    def __init__(self, device: torch.device) -> None:
        self._has_graphs = device.type == "cuda"
        self._compiled: dict[Callable[..., Any], Callable[..., Any]] = {}

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Context of one update."""
        if self._has_graphs:
            torch.compiler.cudagraph_mark_step_begin()  # what the last update gave is not needed
        log = logging.getLogger("torch._functorch")
        level, token = log.level, _AT_WORK.set(self)
        log.setLevel(logging.ERROR)  # what it has to say is raised, too, if it matters
        try:
            yield
        finally:
            log.setLevel(level)
            _AT_WORK.reset(token)

    def compiled(self, function: Callable[P, R], dynamic: bool) -> Callable[P, R]:
        """The function in the hands of ``torch.compile``, which begins at the first call."""
        if function not in self._compiled:
            options: dict[str, str | int | bool | Callable[..., Any]] = {
                "fallback_random": True,  # the random numbers of the function as it is
                "triton.cudagraphs": self._has_graphs and not dynamic,  # a graph has one shape
            }
            self._compiled[function] = torch.compile(
                function, fullgraph=True, dynamic=dynamic, options=options
            )
        return self._compiled[function]


_AT_WORK: ContextVar[Compiler | None] = ContextVar("compiler", default=None)
