"""Records, leases, shards and the status of an extraction."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner
from fake_worker import write_orders
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hrpro.cli import main
from hrpro.errors import DataError, UsageError
from hrpro.extract.sources import VideoSource, find_videos
from hrpro.pipeline.workers.leases import STALE_S, Leases, Owner
from hrpro.pipeline.workers.ledger import Ledger, Record, utc_now
from hrpro.pipeline.workers.sharding import Shard
from hrpro.pipeline.workers.status import extraction_status

ELSEWHERE = Owner(host="elsewhere", pid=1, machine="another", birth="1", token="t")


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(tmp_path)
    yield ledger
    ledger.close()


@pytest.mark.parametrize(
    "key", ["a.mp4", "sub/ä 'b'.mp4", "\\xff.avi", "n" * 250, "x" * 300 + "/y"]
)
def test_records_come_back_as_they_were(ledger, key):
    record = Record(key=key, state="failed", attempts=3, error="why", started=utc_now())
    ledger.write(record)
    assert ledger.read(key) == record
    assert list(ledger.records()) == [record]
    assert ledger.claim(key) is None
    ledger.release(key)


@pytest.mark.parametrize("key", ["../a", "/etc/a", "a/../../../b"])
def test_names_that_leave_the_ledger_are_refused(ledger, key):
    with pytest.raises(DataError):
        ledger.read(key)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
KEYS = list(Record.model_fields)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary()
    | st.dictionaries(st.sampled_from(KEYS), JSON).map(lambda value: json.dumps(value).encode())
    | st.sampled_from([b"[" * 100_000, b'{"key": "a", "attempts": ' + b"9" * 5000 + b"}"])
)
def test_a_damaged_record_is_a_warning_and_taken_for_absent(tmp_path, content):
    lines: list[str] = []
    ledger = Ledger(tmp_path, lines.append)
    path = tmp_path / ".ledger" / "a.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    record = ledger.read("a")
    assert list(ledger.records()) == ([record] if record else [])
    assert len(lines) == (0 if record else 1)
    assert all(len(line.splitlines()) == 1 and str(path) in line for line in lines)


def test_a_record_of_another_video_is_damaged(ledger, tmp_path):
    ledger.write(Record(key="a", state="done"))
    (tmp_path / ".ledger" / "a.json").rename(tmp_path / ".ledger" / "b.json")
    assert ledger.read("b") is None


def test_a_lease_has_one_owner(tmp_path):
    one, two = Ledger(tmp_path), Ledger(tmp_path)
    assert one.claim("a") is None
    assert two.claim("a") == two.holder("a") == str(Owner.this_process())
    two.release("a")  # not its own: nothing happens
    assert two.claim("a") is not None
    one.close()
    assert two.claim("a") is None
    two.close()
    assert not list(tmp_path.rglob("*.lease*"))


def test_the_lease_of_a_dead_process_is_free(ledger, tmp_path):
    script = (
        "import os, sys; from pathlib import Path\n"
        "from hrpro.pipeline.workers.ledger import Ledger\n"
        "print(Ledger(Path(sys.argv[1])).claim('a'), flush=True); os._exit(0)"
    )
    run = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True)
    assert run.stdout.strip() == "None", run.stderr
    assert (tmp_path / ".ledger" / "a.lease").exists()
    assert ledger.holder("a") is None
    assert ledger.claim("a") is None
    assert ledger.holder("a") is not None


def test_a_number_that_another_process_has_now_is_no_owner(ledger):
    me = Owner.this_process()
    lease = ledger.folder / "a.lease"
    ledger.create()
    lease.write_text(me.model_copy(update={"birth": "1"}).model_dump_json())
    assert ledger.claim("a") is None
    assert not me.is_gone()


def test_a_hidden_process_of_another_user_is_not_gone(monkeypatch):
    def refuse(pid, number):
        raise PermissionError

    nobody = Owner.this_process().model_copy(update={"pid": 2**22 + 1})  # above the limit of Linux
    assert nobody.is_gone()
    monkeypatch.setattr("hrpro.pipeline.workers.leases.os.kill", refuse)
    assert not nobody.is_gone()


@pytest.mark.parametrize("content", [ELSEWHERE.model_dump_json(), "", "{", "\0"])
def test_an_owner_elsewhere_counts_as_gone_after_a_minute_without_a_sign(ledger, content):
    lease = ledger.folder / "a.lease"
    ledger.create()
    lease.write_text(content)
    assert ledger.claim("a") == ("elsewhere:1" if content == ELSEWHERE.model_dump_json() else
                                 "another process")  # fmt: skip
    old = ledger.now() - STALE_S - 5
    os.utime(lease, (old, old))
    assert ledger.holder("a") is None
    assert ledger.claim("a") is None


def test_of_many_that_want_a_stale_lease_one_gets_it(tmp_path):
    lease = tmp_path / "a.lease"
    gone = Owner.this_process().model_copy(update={"birth": "1"}).model_dump_json()
    for _ in range(20):
        everyone = [Leases(tmp_path) for _ in range(8)]
        lease.write_text(gone)
        with ThreadPoolExecutor(8) as pool:
            claims = list(pool.map(lambda leases: leases.claim(lease), everyone))
        assert claims.count(None) == 1
        for leases in everyone:
            leases.close()
        assert list(tmp_path.iterdir()) == []


def test_a_lease_is_touched_while_its_owner_lives(tmp_path, monkeypatch):
    monkeypatch.setattr("hrpro.pipeline.workers.leases.BEAT_S", 0.01)
    leases, lease = Leases(tmp_path), tmp_path / "a.lease"
    leases.claim(lease)
    os.utime(lease, (0, 0))
    for _ in range(1000):
        if lease.stat().st_mtime > 0:
            break
        leases._closing.wait(0.01)
    assert lease.stat().st_mtime > 0
    leases.close()


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "-1/4", "1/0", "1/2/3", "", "²/3"])
def test_wrong_shards_name_the_option(text):
    with pytest.raises(UsageError, match="--shard"):
        Shard.parse(text)


def test_shard_is_refused_by_the_command_line(tmp_path):
    (tmp_path / "a.mp4").touch()
    run = CliRunner().invoke(main, ["extract", str(tmp_path), "--shard", "5/4"])
    assert run.exit_code == 2
    assert "--shard 5/4" in run.stderr


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.dictionaries(st.text(min_size=1), st.integers(0, 10**12), max_size=40),
    count=st.integers(1, 12),
    random=st.randoms(),
)
def test_shards_are_a_fair_partition_in_whatever_order(monkeypatch, sizes, count, random):
    monkeypatch.setattr(
        "hrpro.pipeline.workers.sharding.file_identity", lambda path: (sizes[path.name[1:]], 0)
    )
    sources = [VideoSource(_Named(f"v{key}"), key, Path()) for key in sizes]
    shards = [Shard(index, count).take(sources) for index in range(1, count + 1)]
    assert sorted(each.key for shard in shards for each in shard) == sorted(sizes)
    loads = [sum(sizes[each.key] for each in shard) for shard in shards]
    assert max(loads) - min(loads) <= max(sizes.values(), default=0)
    random.shuffle(sources)
    for index, shard in enumerate(shards, 1):
        assert {each.key for each in Shard(index, count).take(sources)} == {e.key for e in shard}


class _Named:
    """A path of any name, without a file."""

    def __init__(self, name):
        self.name = name


def test_status_of_what_was_not_begun_and_of_nothing(tmp_path):
    videos = write_orders(tmp_path / "v", {"a": "ok", "b": "ok"})
    status = extraction_status([str(videos)], tmp_path / "f")
    assert status.counts() == dict.fromkeys(status.counts(), 0) | {"pending": 2}
    with pytest.raises(UsageError, match="no record of an extraction"):
        extraction_status([], tmp_path / "f")


def test_status_tells_every_state(tmp_path):
    videos = write_orders(tmp_path / "v", dict.fromkeys("abcdef", "ok"))
    ledger = Ledger(tmp_path / "f")
    for source in find_videos([videos]):
        stat = source.path.stat()
        facts = {"size_bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns, "error": "why"}
        state = {"a": "failed", "b": "poisoned", "c": "running", "d": "running", "e": "done"}
        if name := state.get(source.path.stem):
            ledger.write(Record(key=source.key, state=name, worker="h:1", **facts))
    assert ledger.claim("c.mp4") is None
    run = CliRunner().invoke(
        main, ["extract", "--status", "-o", str(tmp_path / "f"), str(videos), "--json"]
    )
    assert run.exit_code == 0
    found = json.loads(run.stdout)
    assert found["counts"] == {
        "done": 0, "running": 1, "pending": 2, "interrupted": 1, "failed": 1, "poisoned": 1,
    }  # fmt: skip
    assert {each["path"]: each["state"] for each in found["videos"]} == {
        "a.mp4": "failed", "b.mp4": "poisoned", "c.mp4": "running", "d.mp4": "interrupted",
    }  # fmt: skip
    shown = CliRunner().invoke(main, ["extract", "--status", "-o", str(tmp_path / "f")])
    assert "  poisoned: b.mp4: why" in shown.stdout
    ledger.close()


def test_status_imports_no_network(tmp_path):
    (tmp_path / ".ledger").mkdir()
    script = (
        "import sys; from hrpro.cli import main\n"
        f"try: main(['extract', '--status', '-o', {str(tmp_path)!r}])\n"
        "except SystemExit: pass\n"
        "sys.exit(', '.join({'torch', 'cv2', 'av', 'pandas'} & set(sys.modules)) or 0)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("0 done")


def test_extract_without_inputs_is_a_usage_error():
    run = CliRunner().invoke(main, ["extract"])
    assert run.exit_code == 2
    assert "Missing argument" in run.stderr
