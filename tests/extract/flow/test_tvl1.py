"""TV-L1 flow: golden values of OpenCV's, what early stopping may change, simple motions."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import av
import cv2
import numpy as np
import pytest
import torch

import hrpro.extract.flow
from hrpro.extract.flow import tvl1 as tvl1_module
from hrpro.extract.flow.algorithms import make_flow, scale_flow, to_grey
from hrpro.extract.flow.native import available, solve_natively
from hrpro.extract.flow.solvers import TvL1Settings, median5, solve_in_batches, solve_in_place
from hrpro.extract.flow.tvl1 import Solver, TvL1, _interpolate, linearize, solvers_for, tvl1_flow
from hrpro.extract.i3d import load_i3d
from hrpro.extract.snippet_cutting import with_flow
from hrpro.extract.weights.library import load_weights

PLAIN = Solver("torch", linearize, solve_in_place)
NATIVE = pytest.param(
    Solver("numba", linearize, solve_natively),
    marks=pytest.mark.skipif(not available(), reason="needs Numba"),
)
SOLVERS = [PLAIN, Solver("torch, in batches", linearize, solve_in_batches), NATIVE]
GOLDEN_FRAMES = (10, 25, 40, 60)


@pytest.fixture(scope="module", params=[PLAIN, NATIVE])
def tvl1(request):
    """On a CPU: with PyTorch alone, and with Numba."""
    return TvL1(solver=request.param)


@pytest.fixture(scope="module")
def cricket(shared) -> np.ndarray:
    """The grey frames that the golden flow was computed on."""
    with av.open(str(shared / "data" / "video" / "v_CricketShot_g04_c01_rgb.gif")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return to_grey(np.stack(frames))


@pytest.fixture(scope="module")
def pairs(golden, cricket, tvl1) -> list[tuple[np.ndarray, np.ndarray]]:
    """Golden flow and ours, ``[224, 224, 2]`` each."""
    with np.load(golden / "tvl1_golden.npz") as archive:
        return [(archive[f"frame{k}"], tvl1(cricket[k : k + 2])[0]) for k in GOLDEN_FRAMES]


def end_point_error(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.linalg.norm(one - other, axis=-1)


def texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).uniform(0, 255, (height, width)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    return cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def shifted(size: tuple[int, int], right: int, down: int) -> np.ndarray:
    """Two frames of a texture that moves as a whole."""
    margin = 12
    large = texture(size[0] + 2 * margin, size[1] + 2 * margin)
    frames = [
        large[margin - k * down :, margin - k * right :][: size[0], : size[1]] for k in (0, 1)
    ]
    return np.stack(frames)


def test_agrees_with_opencv_where_things_move(pairs):
    for golden_flow, flow in pairs:
        moving = np.linalg.norm(golden_flow, axis=-1) > 0.5
        assert moving.sum() > 2000
        error = end_point_error(flow, golden_flow)
        assert error[moving].mean() <= 0.1
        assert error.mean() <= 0.03


def test_gives_the_same_features_as_opencv(pairs, rgb_weights):
    weights = load_weights("flow", flow_weights="cross-modal", progress=False)
    network = load_i3d(weights.state_dict, device=torch.device("cpu"), dtype=torch.float32)
    clips = zip(*pairs, strict=True)
    snippets = [np.repeat(scale_flow(np.stack(fields)), 4, axis=0) for fields in clips]
    batch = torch.from_numpy(np.stack(snippets)).permute(0, 4, 1, 2, 3)
    with torch.inference_mode():
        golden_features, features = network(batch).features
    assert torch.cosine_similarity(golden_features, features, dim=0) >= 0.99


def test_many_frames_in_one_call_give_what_single_pairs_give(tvl1, cricket):
    frames = cricket[10:17, 60:150, 60:170]
    together = tvl1(frames)
    apart = np.concatenate([tvl1(frames[k : k + 2]) for k in range(6)])
    np.testing.assert_allclose(together, apart, atol=1e-4)


def test_several_threads_may_call_it(tvl1, cricket):
    frames = cricket[10:20, 60:124, 60:124]
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda k: tvl1(frames[k : k + 3]), range(8)))
    for k, result in enumerate(results):
        np.testing.assert_array_equal(result, tvl1(frames[k : k + 3]))


def test_leaves_the_threads_of_torch_alone():
    before = torch.get_num_threads()
    make_flow("tvl1")
    assert torch.get_num_threads() == before
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == before


@pytest.mark.parametrize("solver", SOLVERS[1:])
def test_all_solvers_do_the_same(cricket, solver):
    """The one for a GPU runs on a CPU too; rounding decides when they stop."""
    frames = torch.from_numpy(cricket[10:13, 60:130, 60:141]).float()
    settings = TvL1Settings()
    ours = tvl1_flow(frames, PLAIN, settings).numpy()
    theirs = tvl1_flow(frames, solver, settings).numpy()
    assert end_point_error(ours, theirs).mean() < 0.05
    exact = TvL1Settings(scales=2, warps=2, outer=1, inner=7, epsilon=0)
    ours = tvl1_flow(frames, PLAIN, exact)
    theirs = tvl1_flow(frames, solver, exact)
    torch.testing.assert_close(ours, theirs, atol=2e-3, rtol=0)


def test_early_stopping_changes_little(cricket):
    frames = torch.from_numpy(cricket[10:12, 60:130, 60:130]).float()
    early = tvl1_flow(frames, PLAIN, TvL1Settings())
    full = tvl1_flow(frames, PLAIN, TvL1Settings(epsilon=0))
    assert not torch.equal(early, full)
    assert end_point_error(early.numpy(), full.numpy()).mean() < 0.1


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_pair_that_is_done_waits_for_the_others(solver):
    """A pair without motion stops at once, whatever it shares its batch with."""
    still = np.repeat(texture(40, 40)[None], 2, axis=0)
    frames = torch.from_numpy(np.concatenate([still, texture(40, 40, seed=1)[None]])).float()
    settings = TvL1Settings(warps=1, scales=1)
    fields = tvl1_flow(frames, solver, settings)
    assert not fields[0].any()
    alone = tvl1_flow(frames[1:], solver, settings)
    torch.testing.assert_close(fields[1:], alone, atol=1e-4, rtol=0)
    assert alone.abs().max() > 0.5


@pytest.mark.parametrize(("right", "down"), [(1, 0), (0, 2), (-3, 1), (4, -2)])
def test_a_shifted_texture_gives_the_shift(tvl1, right, down):
    flow = tvl1(shifted((96, 128), right, down))[0]
    inside = flow[16:-16, 16:-16]
    assert np.abs(np.median(inside, axis=(0, 1)) - (right, down)).max() < 0.05
    assert end_point_error(inside, np.array([right, down])).mean() < 0.2


def test_every_device_finds_the_shift(device):
    found = torch.as_tensor(make_flow("tvl1", device=device)(shifted((96, 128), 2, -1)))
    assert found.device.type == device  # where the networks take it
    flow = found[0].cpu().numpy()
    assert np.abs(np.median(flow[16:-16, 16:-16], axis=(0, 1)) - (2, -1)).max() < 0.05


@pytest.mark.parametrize("size", [(16, 16), (17, 40), (33, 19), (20, 61)])
def test_small_and_odd_sizes(tvl1, size):
    flow = tvl1(shifted(size, 1, 0))[0]
    assert flow.shape == (*size, 2)
    assert abs(np.median(flow[4:-4, 4:-4, 0]) - 1) < 0.15
    assert abs(np.median(flow[4:-4, 4:-4, 1])) < 0.15


@pytest.mark.parametrize("value", [0, 255])
def test_nothing_moves_nothing_flows(tvl1, value):
    assert not tvl1(np.full((3, 32, 32), value, np.uint8)).any()
    assert not tvl1(np.repeat(texture(32, 48)[None], 2, axis=0)).any()


def test_one_frame_has_no_flow_to_a_next(tvl1):
    assert tvl1(np.zeros((1, 32, 40), np.uint8)).shape == (0, 32, 40, 2)


def test_serves_a_stream_of_frames(tvl1):
    grey = np.concatenate([shifted((32, 32), 1, 0), shifted((32, 32), 1, 0)[1:]])
    frames = [np.repeat(frame[:, :, None], 3, axis=2) for frame in grey]
    samples = list(with_flow(iter(frames), tvl1, keep_rgb=False))
    assert len(samples) == 3
    np.testing.assert_allclose(samples[0][0], scale_flow(tvl1(grey[:2])[0]), atol=1e-5)


def test_parameters_name_the_method():
    assert TvL1().parameters() == {
        "tau": 0.25, "lambda": 0.15, "theta": 0.3, "scales": 5, "scale_step": 0.8, "warps": 5,
        "epsilon": 0.01, "inner": 30, "outer": 10,
    }  # fmt: skip


def test_median_is_that_of_opencv():
    planes = torch.randn(2, 3, 13, 9, generator=torch.Generator().manual_seed(0))
    expected = [[cv2.medianBlur(plane, 5) for plane in group] for group in planes.numpy()]
    np.testing.assert_array_equal(median5(planes).numpy(), np.stack(expected))


@pytest.mark.parametrize(("old", "new", "scale"), [(23, 18, 1.25), (27, 22, 1.25), (18, 23, None)])
def test_interpolation_is_that_of_opencv(old, new, scale):
    plane = texture(old, 20).astype(np.float32)
    if scale:
        expected = cv2.resize(plane, None, fx=1, fy=1 / scale, interpolation=cv2.INTER_LINEAR)
    else:
        expected = cv2.resize(plane, (20, new), interpolation=cv2.INTER_LINEAR)
    found = _interpolate(torch.from_numpy(plane), 0, new, scale or old / new)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-2)


def does_not_build(*args):
    raise RuntimeError("Cannot find a working compiler")


def test_goes_on_with_the_next_solver_where_one_does_not_work(monkeypatch, caplog):
    broken = Solver("numba", linearize, does_not_build)
    monkeypatch.setattr(tvl1_module, "solvers_for", lambda device: [broken, PLAIN])
    frames, flow = shifted((24, 24), 1, 0), TvL1()
    expected = TvL1(solver=PLAIN)(frames)
    for _ in range(2):
        np.testing.assert_array_equal(flow(frames), expected)
    [warning] = [record.message for record in caplog.records]
    assert warning == (
        "TV-L1 flow: not with numba here, so more slowly (Cannot find a working compiler)"
    )


def test_kernels_that_give_something_else_are_left_alone(monkeypatch, caplog):
    def wrong(state, data, settings):
        solve_in_place(state, data, settings)
        state.flow.add_(1)

    frames, expected = shifted((24, 24), 1, 0), TvL1(solver=PLAIN)(shifted((24, 24), 1, 0))
    for minimize, trusted in ((solve_in_place, True), (wrong, False)):
        kernels = Solver("triton", linearize, minimize)
        monkeypatch.setattr(
            tvl1_module, "solvers_for", lambda device, first=kernels: [first, PLAIN]
        )
        np.testing.assert_array_equal(TvL1()(frames), expected)
        assert ("its results are wrong here" in caplog.text) != trusted


def test_the_last_solver_has_to_work():
    with pytest.raises(RuntimeError, match="working compiler"):
        TvL1(solver=Solver("torch", does_not_build, solve_in_place))(shifted((24, 24), 1, 0))


def test_running_out_of_memory_is_not_taken_for_a_broken_solver(monkeypatch):
    def exhausted(*args):
        raise torch.OutOfMemoryError("CUDA out of memory")

    full = Solver("triton", exhausted, solve_in_place)
    monkeypatch.setattr(tvl1_module, "solvers_for", lambda device: [full, PLAIN])
    with pytest.raises(torch.OutOfMemoryError):
        TvL1()(shifted((24, 24), 1, 0))


def test_a_gpu_without_triton_has_plain_pytorch(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "hrpro.extract.flow.kernels", None)
    monkeypatch.delattr(hrpro.extract.flow, "kernels", raising=False)  # from other tests
    [solver] = solvers_for(torch.device("cuda"))
    assert solver == Solver("torch", linearize, solve_in_batches)
    assert "TV-L1 flow: not with triton here, so more slowly" in caplog.text
