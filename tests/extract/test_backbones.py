"""Backbones of pytorchvideo beside I3D; untrained networks of the right layout from a server."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from torch import nn
from videos import make_video, noise
from weight_files import serving

from hrpro.compute import ComputeOptions
from hrpro.errors import UsageError, WeightsError
from hrpro.extract.backbones import BACKBONES
from hrpro.extract.config import ExtractConfig
from hrpro.extract.extractor import Extractor
from hrpro.extract.i3d import I3DOutput
from hrpro.extract.networks import to_network_input
from hrpro.extract.snippet_network import PooledResNet, SnippetNetwork, load_snippet_network
from hrpro.extract.weights.zoo import build_network
from hrpro.features import Fingerprint
from hrpro.pipeline.detect import detect_videos
from hrpro.pipeline.detectors.base import DetectOptions
from hrpro.pipeline.detectors.kinetics import kinetics_classes
from hrpro.pipeline.outputs import OutputPlan
from hrpro.pipeline.recipe import choose_streams, make_recipe
from hrpro.pipeline.workers.work import WorkerSettings

pytestmark = pytest.mark.core

SMALL = {"short_side": 64, "crop": 64}


@pytest.fixture(scope="module")
def x3d():
    """X3D-XS and -S (they differ in the size of a pooling only), untrained."""
    torch.manual_seed(0)
    return build_network("x3d_xs", "rgb").eval()


@pytest.fixture(scope="module")
def cache(x3d, tmp_path_factory):
    """A cache into which X3D-S is fetched from a server, as a user would."""
    buffer = io.BytesIO()
    torch.save({"model_state": x3d.state_dict()}, buffer)
    folder = tmp_path_factory.mktemp("cache")
    with serving() as server, pytest.MonkeyPatch.context() as patch:
        server.files = {"X3D_S.pyth": buffer.getvalue()}
        patch.setenv("HRPRO_CACHE", str(folder))
        patch.setenv("HRPRO_WEIGHTS_MIRROR", server.url)
        patch.setenv("NO_PROXY", "127.0.0.1")
        load_snippet_network(BACKBONES["x3d_s"], "rgb", progress=False)
        assert [name for name, _ in server.requests] == ["X3D_S.pyth"]
    return folder


@pytest.fixture
def extractor(cache, monkeypatch):
    monkeypatch.setenv("HRPRO_CACHE", str(cache))
    config = ExtractConfig(backbone="x3d_s", **SMALL)
    return Extractor(config, ComputeOptions(precision="float32"), progress=False)


class Echo(nn.Module):
    """Keeps what it gets."""

    def forward(self, x: torch.Tensor) -> I3DOutput:
        self.seen = x
        return I3DOutput(x.mean(dim=(2, 3, 4)), x.mean(dim=(2, 3, 4)))


@pytest.mark.parametrize(
    ("name", "snippet", "frames"),
    [
        ("i3d", 16, list(range(16))),
        ("slow_r50", 16, list(range(0, 16, 2))),
        ("i3d_r50", 64, list(range(0, 64, 8))),
        ("x3d_xs", 16, [0, 4, 8, 12]),
        ("x3d_s", 16, [0, 1, 2, 3, 4, 6, 7, 8, 9, 11, 12, 13, 14]),
        ("x3d_m", 16, list(range(16))),
        ("x3d_l", 8, [k // 2 for k in range(16)]),
    ],
)
def test_frames_that_a_backbone_sees(name, snippet, frames):
    assert BACKBONES[name].frames_of(snippet) == frames
    echo = Echo()
    network = SnippetNetwork(echo, BACKBONES[name], torch.float32)
    numbers = torch.arange(snippet, dtype=torch.float32).view(1, 1, -1, 1, 1)
    network(numbers.expand(2, 3, -1, 4, 5))
    assert echo.seen.shape == (2, 3, len(frames), 4, 5)
    assert echo.seen[1, 2, :, 3, 4].tolist() == frames


@pytest.mark.parametrize("name", ["i3d", "slow_r50"])
@pytest.mark.parametrize("stride", [4, 16])
def test_bytes_are_normalised_and_overlaps_need_no_copy_before(name, stride):
    backbone, echo = BACKBONES[name], Echo()
    frames = torch.randint(0, 256, (24, 4, 4, 3), dtype=torch.uint8)
    snippets = to_network_input(frames, 16, stride)
    assert snippets.untyped_storage().data_ptr() == frames.untyped_storage().data_ptr()
    SnippetNetwork(echo, backbone, torch.float32)(snippets)
    assert echo.seen.is_contiguous(memory_format=torch.channels_last_3d)
    for index in range(len(snippets)):
        seen = frames[index * stride :][backbone.frames_of(16)].float().permute(3, 0, 1, 2)
        expected = (seen / 255 - backbone.mean) / backbone.std
        torch.testing.assert_close(echo.seen[index], expected)


def test_floats_are_taken_as_they_are():
    echo = Echo()
    flow = torch.rand(1, 2, 16, 4, 4) * 2 - 1
    SnippetNetwork(echo, BACKBONES["i3d"], torch.bfloat16)(flow)
    assert torch.equal(echo.seen, flow.to(torch.bfloat16))


@torch.inference_mode()
def test_x3d_gives_the_logits_of_pytorchvideo(x3d):
    x = torch.randn(1, 3, 4, 160, 160)
    head = x3d.blocks[-1]
    inputs = []
    with head.proj.register_forward_pre_hook(lambda _, args: inputs.append(args[0])):
        probabilities = x3d(x)
    output = PooledResNet(x3d)(x)
    assert output.features.shape == (1, 2048)
    torch.testing.assert_close(output.features, inputs[0].flatten(1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(output.logits.softmax(dim=1), probabilities, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["slow_r50", "i3d_r50"])
@torch.inference_mode()
def test_resnets_give_the_logits_of_pytorchvideo(name):
    torch.manual_seed(0)
    network = build_network(name, "rgb").eval()
    pooled = PooledResNet(network)
    convolutions = [each for each in pooled.modules() if isinstance(each, nn.Conv3d)]
    # pytorchvideo leaves NumPy's numbers there, at which torch.compile fails
    assert {type(number) for conv in convolutions for number in conv.stride} == {int}
    output = pooled(x := torch.randn(1, 3, 8, 64, 64))
    network.blocks[-1].pool = nn.AdaptiveAvgPool3d(1)  # its own is made for 224 x 224 alone
    assert output.features.shape == (1, 2048)
    torch.testing.assert_close(output.logits, network(x), rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_a_video_gives_the_rows_of_the_network(extractor, x3d, tmp_path):
    path = make_video(tmp_path / "a.mp4", frames=40, painter=noise())
    video = extractor.extract(path)
    assert (video.features.shape, video.logits.shape) == ((2, 2048), (2, 400))
    assert (extractor.dim, video.sidecar.dim) == (2048, 2048)
    from hrpro.extract.decode import FrameReader

    with FrameReader(path, **SMALL) as reader:
        frames = torch.from_numpy(np.stack(list(reader)))
    seen = frames[16:32][BACKBONES["x3d_s"].frames_of(16)]
    x = ((seen / 255 - 0.45) / 0.225).permute(3, 0, 1, 2)[None]
    expected = PooledResNet(x3d)(x).features
    torch.testing.assert_close(torch.from_numpy(video.features[1:]), expected, rtol=1e-3, atol=1e-4)


def test_the_fingerprint_tells_backbones_apart_and_gives_the_recipe_back(extractor, cache):
    fingerprint = extractor.fingerprint
    assert fingerprint.backbone == "x3d_s"
    assert fingerprint.weights["rgb"].source == "x3d_s-rgb-kinetics400"
    assert len(fingerprint.weights["rgb"].sha256) == 64
    assert ExtractConfig.from_fingerprint(fingerprint) == extractor.config
    other = fingerprint.model_copy(update={"backbone": "x3d_m"})
    assert other.difference(fingerprint) == ["backbone: x3d_m != x3d_s"]
    with pytest.raises(UsageError, match="features of videomae cannot be made here; there are i3d"):
        ExtractConfig.from_fingerprint(Fingerprint(backbone="videomae"))


def test_sizes_are_those_of_the_backbone_unless_given():
    sizes = {name: (each.short_side, each.crop) for name, each in BACKBONES.items()}
    for name, size in sizes.items():
        config = make_recipe({"backbone": name})
        assert (config.short_side, config.crop) == size
    assert sizes["i3d"] == sizes["x3d_m"] == (256, 224)
    assert (sizes["x3d_s"], sizes["x3d_l"]) == ((182, 160), (356, 312))
    assert make_recipe({"backbone": "x3d_l", "crop": 224}).crop == 224
    base = ExtractConfig(backbone="x3d_s", crop=128)
    assert make_recipe({"stride": 8}, base).crop == 128
    assert make_recipe({"backbone": "i3d"}, base).crop == 224


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "slow_r50", "streams": "rgb,flow"}, "--backbone slow_r50: has no flow str"),
        ({"backbone": "resnet"}, "--backbone resnet: choose one of i3d, i3d_r50"),
        ({"backbone": "x3d_s", "crop": 224}, "--crop 224: must not be larger than the short"),
    ],
)
def test_wrong_backbones_are_one_line(options, message):
    with pytest.raises(UsageError, match=message):
        make_recipe(options)


def test_streams_are_those_that_the_backbone_has(monkeypatch):
    monkeypatch.setattr("hrpro.extract.weights.library.available", lambda stream: True)
    notes: list[str] = []
    assert choose_streams({"backbone": "x3d_s"}, notes.append)["streams"] == "rgb"
    assert choose_streams({"backbone": "i3d"}, notes.append)["streams"] == "rgb,flow"
    assert notes == []


def test_missing_weights_are_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("HRPRO_CACHE", str(tmp_path))
    monkeypatch.setenv("HRPRO_WEIGHTS_MIRROR", "http://127.0.0.1:9")
    monkeypatch.setattr("hrpro.extract.weights.download.time.sleep", lambda seconds: None)
    remedy = r"hrpro weights add SLOW_8x8_R50\.pyth --network slow_r50$"
    with pytest.raises(WeightsError, match=remedy):
        load_snippet_network(BACKBONES["slow_r50"], "rgb", progress=False)


def test_classes_have_the_order_of_the_labels_that_pytorchvideo_publishes():
    """A sample of the ids in kinetics_classnames.json, which its model zoo was trained with."""
    published = {
        "abseiling": 0, "archery": 5, "bench pressing": 19, "changing wheel": 53,
        "cutting nails": 81, "deadlifting": 88, "eating ice cream": 115, "front raises": 134,
        "hurling (sport)": 161, "marching": 192, "passing American football (in game)": 208,
        "petting cat": 213, "playing cricket": 227, "ripping paper": 276,
        "sharpening knives": 290, "skiing (not slalom or crosscountry)": 308,
        "swimming breast stroke": 340, "throwing discus": 358, "using segway": 375, "zumba": 399,
    }  # fmt: skip
    classes = kinetics_classes()
    assert {name: classes.index(name) for name in published} == published
    assert list(classes) == sorted(classes)


def test_detects_kinetics_classes_with_any_backbone(cache, monkeypatch, tmp_path):
    monkeypatch.setenv("HRPRO_CACHE", str(cache))
    path = make_video(tmp_path / "a.mp4", frames=60, painter=noise())
    settings = WorkerSettings({"backbone": "x3d_s", **SMALL})
    results, summary = detect_videos(
        [str(path)], OutputPlan(), DetectOptions(min_score=0), settings=settings
    )
    assert summary.done == ["a.mp4"]
    assert len(results.videos) == 1
    features = results.model["features"]
    assert (features["backbone"], features["stride"]) == ("x3d_s", 8)
