"""Faster forms of a network, and the way back where they do not work."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Generic, ParamSpec, TypeVar

import torch
from torch import Tensor

from hrpro.extract.i3d import I3DOutput

_log = logging.getLogger(__name__)

Network = Callable[[Tensor], I3DOutput]

P = ParamSpec("P")
R = TypeVar("R")


class OrPlain(Generic[P, R]):
    """A faster form of a function as long as it works, and the function as it is from then on.

    A lack of memory is no failure of the faster form: it is raised, and a smaller input may fit.

    Args:
        plain: the function as it is. If the fault is not the faster form's, it fails, too.
        faster: gives the same, and may break at any call. The first call is made alone, not by
            several threads at once, as it may have to compile something.
        failed: told the reason once, in one line.
        agree: whether a result of the faster form is as good as the plain one. The first call
            makes both and asks it; by default nothing is compared.
    """

    def __init__(
        self,
        plain: Callable[P, R],
        faster: Callable[P, R],
        failed: Callable[[str], None],
        agree: Callable[[R, R], bool] | None = None,
    ):
        self._plain = plain
        self._function = faster
        self._failed = failed
        self._agree = agree
        self._proven = False
        self._proving = threading.Lock()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call what works."""
        if not self._proven:
            with self._proving:
                if not self._proven:  # nor by another thread meanwhile
                    output = self._checked(*args, **kwargs)
                    self._proven = True
                    return output
        return self._run(*args, **kwargs)

    def _checked(self, *args: P.args, **kwargs: P.kwargs) -> R:
        output = self._run(*args, **kwargs)
        if self._agree is None or self._function is self._plain:
            return output
        expected = self._plain(*args, **kwargs)
        if self._agree(output, expected):
            return output
        self._give_up("its results are wrong here")
        return expected

    def _run(self, *args: P.args, **kwargs: P.kwargs) -> R:
        function = self._function
        if function is self._plain:
            return function(*args, **kwargs)
        try:
            return function(*args, **kwargs)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            output = self._plain(*args, **kwargs)
            self._give_up(next(iter(str(error).splitlines()), "") or type(error).__name__)
            return output

    def _give_up(self, reason: str) -> None:
        self._failed(reason)
        self._function = self._plain


def compiled(network: Network, device: torch.device) -> Network:
    """A network in the hands of ``torch.compile``; on a GPU it runs as a CUDA graph."""
    # CUDA graphs take the launches of some hundred small kernels off the CPU.
    mode = "reduce-overhead" if device.type == "cuda" else "default"
    faster: Network = torch.compile(network, mode=mode)
    note = "--compile: not possible here, going on without (%s)"
    return OrPlain(network, lambda x: _copied(faster(x)), lambda why: _log.warning(note, why))


def as_cuda_graph(network: Network, device: torch.device) -> Network:
    """A network whose kernels a GPU launches by itself; on another device, as it is."""
    if device.type != "cuda":
        return network
    note = "no CUDA graph, kernels are launched one by one (%s)"
    return OrPlain(network, CudaGraph(network), lambda why: _log.debug(note, why))


class CudaGraph:
    """Runs a network as a CUDA graph for the shape that its input has.

    There is one graph at a time, since it keeps the memory of all its layers. Another shape, which
    comes after a lack of memory, gets a new one.

    Args:
        network: what is recorded; it must not wait for the GPU.
        record: takes the network and an input, and returns what runs it with inputs of that shape,
            always into the same outputs.
    """

    def __init__(
        self, network: Network, record: Callable[[Network, Tensor], Network] | None = None
    ):
        self._network = network
        self._record = record or record_cuda_graph
        self._shape: tuple[torch.Size, torch.dtype] | None = None
        self._graph: Network | None = None

    def __call__(self, x: Tensor) -> I3DOutput:
        """Run the network; the first call with a shape records."""
        shape = (x.shape, x.dtype)
        if self._graph is None or self._shape != shape:
            self._graph = None  # gives its memory back
            self._graph, self._shape = self._record(self._network, x), shape
        return _copied(self._graph(x))


def record_cuda_graph(network: Network, x: Tensor) -> Network:
    """Record what a GPU does for a network and an input like `x`; the outputs stay in place."""
    stream = torch.cuda.Stream(x.device)
    seen = x.clone()
    stream.wait_stream(torch.cuda.current_stream(x.device))
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.stream(stream):  # which is left even where recording ends in an error
        network(seen)  # kernels are compiled and libraries set up, which cannot be recorded
        # Other threads decode, convert and compute flow on the same GPU meanwhile.
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            output = network(seen)
    torch.cuda.current_stream(x.device).wait_stream(stream)

    def replay(x: Tensor) -> I3DOutput:
        seen.copy_(x)
        graph.replay()
        return output

    return replay


def _copied(output: I3DOutput) -> I3DOutput:
    """Out of the memory of a CUDA graph, which the next graph overwrites, another stream's, too."""
    return I3DOutput(*(each.clone() for each in output))
