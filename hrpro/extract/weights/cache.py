"""The cache of converted weights.

It lies in the folder that the environment variable ``HRPRO_CACHE`` names, else in the user's cache
folder::

    <cache>/weights/i3d-rgb-kinetics400.safetensors    the weights, by the names of the network
    <cache>/weights/i3d-rgb-kinetics400.json           where they came from, their sha256

The safetensors file holds nothing but the weights, so that its sha256 is the same on every
machine: it goes into the fingerprint of every feature file.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import platformdirs
import safetensors.torch

from hrpro.errors import DataError, WeightsError
from hrpro.extract.backbones import Stream
from hrpro.extract.weights.checkpoints import Checkpoint
from hrpro.extract.weights.download import file_digest
from hrpro.files import atomic_path, read_json, write_json


@dataclass(frozen=True)
class CachedWeights:
    """Converted weights in the cache, as the record beside them describes them."""

    name: str
    stream: Stream | None
    """None for optical flow networks."""
    source: str
    """The published or added file they were converted from."""
    source_sha256: str
    layout: str
    """The layout that file had."""
    sha256: str
    """Of the converted safetensors file; what fingerprints quote."""
    size_bytes: int
    network: str = "i3d"

    @property
    def path(self) -> Path:
        """The safetensors file."""
        return weights_path(self.name)


def cache_dir() -> Path:
    """The cache folder: ``HRPRO_CACHE``, else the user's cache folder of the platform."""
    chosen = os.environ.get("HRPRO_CACHE")
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("hrpro"))


def weights_folder() -> Path:
    """Where the weights lie within the cache."""
    return cache_dir() / "weights"


def weights_path(name: str) -> Path:
    """The safetensors file of the weights of this name, which need not exist."""
    return weights_folder() / f"{name}.safetensors"


def cached_names() -> list[str]:
    """Names of all weights in the cache, with and without a record."""
    return sorted(path.stem for path in weights_folder().glob("*.safetensors"))


def read_record(name: str, *, even_without_weights: bool = False) -> CachedWeights | None:
    """The record of cached weights, or None where weights or record are missing or unusable.

    Args:
        name: of the weights.
        even_without_weights: the record alone will do.
    """
    try:
        record = CachedWeights(**read_json(_record_path(name)))
    except (DataError, TypeError):
        return None
    return record if even_without_weights or record.path.is_file() else None


def store(checkpoint: Checkpoint, name: str, source: Path) -> CachedWeights:
    """Write converted weights and their record; the record last, since it makes them count.

    Args:
        checkpoint: the weights.
        name: their name in the cache.
        source: the file they were read from.
    """
    data = safetensors.torch.save(checkpoint.state_dict)
    record = CachedWeights(
        name=name,
        network=checkpoint.network,
        stream=checkpoint.stream,
        source=source.name,
        source_sha256=file_digest(source).hex,
        layout=checkpoint.layout,
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
    )
    weights_folder().mkdir(parents=True, exist_ok=True)
    _record_path(name).unlink(missing_ok=True)
    with atomic_path(record.path) as temporary:
        temporary.write_bytes(data)
    write_json(_record_path(name), asdict(record))
    return record


def read_checked(record: CachedWeights) -> bytes:
    """The bytes of cached weights.

    Raises:
        WeightsError: they are not those that were written.
    """
    try:
        data = record.path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{record.path}: cannot read: {error.strerror or error}") from error
    if hashlib.sha256(data).hexdigest() != record.sha256:
        raise WeightsError(f"{record.path}: damaged in the cache")
    return data


def damage_of(record: CachedWeights) -> WeightsError | None:
    """What is wrong with cached weights, or None."""
    try:
        read_checked(record)
    except WeightsError as error:
        return error
    return None


def _record_path(name: str) -> Path:
    return weights_folder() / f"{name}.json"
