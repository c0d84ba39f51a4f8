"""The networks of all streams on one device: upload, cut into snippets, run, bring rows back."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from hrpro.devices import full_float32
from hrpro.errors import HrproError
from hrpro.extract.compute_threads import computing_pool
from hrpro.extract.faster import Network, as_cuda_graph, compiled
from hrpro.extract.shared_batches import Part, Running
from hrpro.extract.snippet_cutting import Samples

_log = logging.getLogger(__name__)


class Arriving(NamedTuple):
    """Features and logits on their way from the device."""

    features: Tensor
    logits: Tensor
    arrived: torch.cuda.Event | None

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Wait for them: ``[B, dim]`` and ``[B, classes]``, float32."""
        if self.arrived is not None:
            self.arrived.synchronize()
        return self.features.numpy(), self.logits.numpy()

    def cancel(self) -> None:
        """Too late; the device is at work."""


class InLane(NamedTuple):
    """A batch that runs in a thread of its own."""

    future: Future[Arriving]

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Wait for features ``[B, dim]`` and logits ``[B, classes]``, float32."""
        return self.future.result().result()

    def cancel(self) -> None:
        """Do not begin with it, if it has not begun."""
        self.future.cancel()


class Networks:
    """Runs batches of snippets through the network of each stream.

    On a GPU, or if compiled, every batch has the same shape (the last snippet is repeated), as CUDA
    graphs need it. To a GPU it is copied from pinned memory, and while one batch runs the next is
    prepared. On a CPU several batches can run side by side.

    Args:
        networks: stream -> network, in the order of the features.
        device: where they are.
        length: frames per snippet.
        stride: frames from the start of one snippet to the start of the next.
        batch_size: snippets per forward pass; `shrink` halves it.
        lanes: batches side by side on a CPU; they share the threads that PyTorch has now.
        compile: compile the networks with ``torch.compile``; where that fails, at whichever call,
            they run as they are, with a warning in the log.
        graphs: on a GPU, run them as CUDA graphs; where that fails, they run as they are.
        exact: they compute in float32 that is not to be rounded to TF32.
    """

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        *,
        device: torch.device,
        length: int,
        stride: int,
        batch_size: int,
        lanes: int = 1,
        compile: bool = False,
        graphs: bool = False,
        exact: bool = False,
    ):
        self.device = device
        self.length, self.stride = length, stride
        self.batch_size = batch_size
        self._exact = exact
        self._shrunk = False
        self._pads = compile or device.type == "cuda"
        self.ahead = 1 if device.type == "cuda" else 0
        self._pool: Executor | None = None
        if lanes > 1:
            self.ahead = lanes
            cores_each = max(1, torch.get_num_threads() // lanes)
            self._pool = computing_pool(lanes, name="networks", cores_each=cores_each)
        self._networks: dict[str, Network] = dict(networks)
        if compile or graphs:
            faster = compiled if compile else as_cuda_graph
            self._networks = {name: faster(each, device) for name, each in networks.items()}

    def launch(self, parts: Sequence[Part]) -> Running:
        """Start a batch; see `hrpro.extract.shared_batches.Runner`."""
        parts = [part for part in parts if len(part)]
        if not parts:
            return Arriving(torch.empty(0, 0), torch.empty(0, 0), None)
        if self._pool is not None:
            return InLane(self._pool.submit(self._run, parts))
        return self._run(parts)

    @torch.inference_mode()
    def _run(self, parts: Sequence[Part]) -> Arriving:
        runs = zip(*(part.runs(self.length, self.stride) for part in parts), strict=True)
        with full_float32(self.device) if self._exact else nullcontext():
            outputs = [
                network(self._input(each))
                for network, each in zip(self._networks.values(), runs, strict=True)
            ]
        count = sum(map(len, parts))
        features = torch.cat([output.features for output in outputs], dim=1)[:count]
        logits = torch.stack([output.logits for output in outputs]).mean(dim=0)[:count]
        if self._shrunk:
            self._shrunk = False
            _log.warning(
                "%s: out of memory; going on with batches of %d snippets (--batch-size)",
                self.device,
                self.batch_size,
            )
        return self._download(features.float(), logits.float())

    def shrink(self) -> None:
        """Halve the batch size, after a batch did not fit on the device.

        Raises:
            HrproError: it is 1 already.
        """
        if self.batch_size == 1:
            raise HrproError(
                f"{self.device}: out of memory even with --batch-size 1; "
                "end what else runs there, or use --device cpu"
            )
        self.batch_size //= 2
        self._shrunk = True
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _input(self, runs: Sequence[Samples]) -> Tensor:
        """Samples of several runs to ``[B, C, length, H, W]``; the networks normalise them."""
        lengths = [len(run) for run in runs]
        pieces = [
            to_network_input(run, self.length, self.stride)
            for run in self._upload(runs).split(lengths)
        ]
        missing = self.batch_size - sum(map(len, pieces))
        if self._pads and missing:
            pieces.append(pieces[-1][-1:].expand(missing, -1, -1, -1, -1))
        if len(pieces) == 1 and not self._pads:
            return pieces[0]
        return torch.cat(pieces).contiguous(memory_format=torch.channels_last_3d)

    def _upload(self, runs: Sequence[Samples]) -> Tensor:
        arrays = [run for run in runs if isinstance(run, np.ndarray)]
        if len(arrays) < len(runs):  # flow that was computed there
            return torch.cat([torch.as_tensor(run, device=self.device) for run in runs])
        return self._upload_arrays(arrays)

    def _upload_arrays(self, runs: Sequence[np.ndarray]) -> Tensor:
        if self.device.type != "cuda":
            joined = runs[0] if len(runs) == 1 else np.concatenate(runs)
            return torch.from_numpy(joined).to(self.device)
        shape = (sum(map(len, runs)), *runs[0].shape[1:])
        dtype = torch.from_numpy(runs[0][:0]).dtype
        pinned = torch.empty(shape, dtype=dtype, pin_memory=True)
        np.concatenate(runs, out=pinned.numpy())
        return pinned.to(self.device, non_blocking=True)  # torch keeps the memory until then

    def _download(self, features: Tensor, logits: Tensor) -> Arriving:
        if self.device.type != "cuda":
            return Arriving(features.cpu(), logits.cpu(), None)
        pinned = [torch.empty(each.shape, pin_memory=True) for each in (features, logits)]
        for host, there in zip(pinned, (features, logits), strict=True):
            host.copy_(there, non_blocking=True)
        arrived = torch.cuda.current_stream(self.device).record_event()
        return Arriving(pinned[0], pinned[1], arrived)


def to_network_input(samples: Tensor, length: int, stride: int) -> Tensor:
    """Cut a run of samples into a batch of snippets.

    Args:
        samples: ``[(B - 1) * stride + length, H, W, C]``.
        length: frames per snippet.
        stride: frames from the start of one snippet to the next.

    Returns:
        ``[B, C, length, H, W]``, a view: snippets that overlap share memory.
    """
    return samples.unfold(0, length, stride).permute(0, 3, 4, 1, 2)
