"""RAFT: batches, padding, its weights from a server; untrained networks of the right layout."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from torchvision.models.optical_flow import raft_small
from weight_files import serving

from hrpro.errors import WeightsError
from hrpro.extract.flow.algorithms import make_flow
from hrpro.extract.flow.raft import Raft, RaftSmall, pad
from hrpro.extract.snippet_cutting import with_flow
from hrpro.extract.weights import library as weights
from hrpro.extract.weights.download import Digest
from hrpro.extract.weights.registry import REGISTRY


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return raft_small().eval()


@pytest.fixture(scope="module")
def cache(network, tmp_path_factory):
    """A cache into which RAFT small was fetched from a server, as its user would."""
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    data = buffer.getvalue()
    [entry] = [entry for entry in REGISTRY if entry.name == "raft-small"]
    digest = Digest("sha256-prefix", hashlib.sha256(data).hexdigest()[:8])
    folder = tmp_path_factory.mktemp("cache")
    with serving() as server, pytest.MonkeyPatch.context() as patch:
        server.files = {entry.file: data}
        patch.setenv("HRPRO_CACHE", str(folder))
        patch.setenv("HRPRO_WEIGHTS_MIRROR", server.url)
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.setattr(weights, "REGISTRY", (replace(entry, digest=digest),))
        make_flow("raft-small", progress=False)
        assert [name for name, _ in server.requests] == [entry.file]
    return folder


@pytest.fixture
def flow(cache, monkeypatch):
    monkeypatch.setenv("HRPRO_CACHE", str(cache))
    return make_flow("raft-small", progress=False)


def pictures(count: int, height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 255, (height, width + 8 * count, 3), dtype=np.uint8)
    return np.stack([picture[:, 2 * k : 2 * k + width] for k in range(count)])


@torch.inference_mode()
def test_gives_what_torchvision_gives(flow, network):
    frames = pictures(3, 128, 136)
    scaled = torch.from_numpy(frames).permute(0, 3, 1, 2).float() * 2 / 255 - 1
    expected = network(scaled[:-1], scaled[1:])[-1].permute(0, 2, 3, 1).numpy()
    found = flow(frames)
    assert (found.shape, found.dtype) == ((2, 128, 136, 2), np.float32)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    # and a pair alone gives what it gives in a batch
    np.testing.assert_allclose(flow(frames[1:]), expected[1:], rtol=1e-3, atol=1e-3)


def test_any_size_is_padded_by_its_border_and_cut_back(flow):
    frames = pictures(2, 50, 131)
    padded = np.pad(frames, ((0, 0), (39, 39), (2, 3), (0, 0)), mode="edge")
    assert padded.shape == (2, 128, 136, 3)
    np.testing.assert_allclose(flow(frames), flow(padded)[:, 39:89, 2:133], atol=1e-4)


@pytest.mark.parametrize(
    ("size", "padded"), [((224, 224), (224, 224)), ((32, 225), (128, 232)), ((1, 130), (128, 136))]
)
def test_padded_sizes_suit_the_network(size, padded):
    larger, top, left = pad(torch.ones(1, 3, *size))
    assert tuple(larger.shape) == (1, 3, *padded)
    assert (top, left) == ((padded[0] - size[0]) // 2, (padded[1] - size[1]) // 2)
    assert bool((larger == 1).all())


def test_a_single_frame_has_no_flow(flow):
    assert flow(pictures(1, 40, 50)).shape == (0, 40, 50, 2)


def test_gets_its_frames_in_colour(flow):
    frames = pictures(2, 40, 40)
    samples = list(with_flow(iter(frames), flow, keep_rgb=True))
    assert len(samples) == 2
    np.testing.assert_allclose(samples[0][1], np.clip(flow(frames)[0] / 20, -1, 1), atol=1e-5)
    np.testing.assert_array_equal(samples[1][1], samples[0][1])


def test_the_fingerprint_names_the_weights(flow, cache):
    data = (cache / "weights" / "raft-small.safetensors").read_bytes()
    assert flow.parameters() == {"updates": 12, "weights": hashlib.sha256(data).hexdigest()}
    assert (Raft.name, RaftSmall.name) == ("raft", "raft-small")


def test_without_weights_the_error_says_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setenv("HRPRO_CACHE", str(tmp_path))
    monkeypatch.setenv("HRPRO_WEIGHTS_MIRROR", "http://127.0.0.1:9")
    monkeypatch.setattr("hrpro.extract.weights.download.time.sleep", lambda seconds: None)
    with pytest.raises(WeightsError, match=r"weights add raft_large_C_T_SKHT_V2-ff5fadd5\.pth$"):
        make_flow("raft", progress=False)
