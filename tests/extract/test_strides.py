"""Dense snippets share their frames: nothing is decoded, computed or copied once per snippet."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import pytest
import torch
from torch import nn
from videos import make_video, noise

from hrpro.compute import ComputeOptions
from hrpro.extract import decode, extractor
from hrpro.extract.config import ExtractConfig
from hrpro.extract.extractor import Extractor
from hrpro.extract.flow.algorithms import Dis
from hrpro.extract.i3d import I3DOutput
from hrpro.features import WeightsId

NUM_FRAMES = 200


class Means(nn.Module):
    """Stands for a network: the mean of each snippet."""

    def forward(self, x: torch.Tensor) -> I3DOutput:
        means = x.float().mean(dim=(1, 2, 3, 4))[:, None]
        return I3DOutput(means.expand(-1, 1024), means.expand(-1, 400))


@pytest.fixture
def counts(monkeypatch) -> Counter:
    """What is decoded, computed and copied on the way to the networks."""
    counts: Counter = Counter()
    cut_snippets, flow = extractor.cut_snippets, Dis.__call__

    class CountingSource(decode.FrameSource):
        def __next__(self):
            frame = super().__next__()
            counts["decoded"] += 1
            return frame

    def counting_flow(self, frames):
        counts["flow"] += len(frames) - 1
        return flow(self, frames)

    def counting_cut(*args, **kwargs):
        for block in cut_snippets(*args, **kwargs):
            for stream, array in zip(("rgb", "flow"), block.arrays, strict=False):
                counts[f"{stream} copied"] += len(array)
            yield block

    monkeypatch.setattr(decode, "FrameSource", CountingSource)
    monkeypatch.setattr(extractor, "cut_snippets", counting_cut)
    monkeypatch.setattr(Dis, "__call__", counting_flow)
    monkeypatch.setattr(
        extractor, "load_snippet_network", lambda *_, **__: (Means(), WeightsId(sha256="0"))
    )
    return counts


@pytest.mark.parametrize(("stride", "batch_size"), [(4, 1), (4, 32), (1, 2)])
def test_dense_native_snippets_cost_decoder_and_flow_nothing_more(
    counts, tmp_path, stride, batch_size
):
    rate = Fraction(30000, 1001)
    path = make_video(tmp_path / "a.mp4", frames=NUM_FRAMES, fps=rate, painter=noise())
    config = ExtractConfig(streams=("rgb", "flow"), fps=None, stride=stride, short_side=32, crop=32)
    dense = Extractor(
        config, ComputeOptions(device="cpu", precision="float32", batch_size=batch_size)
    )
    video = dense.extract(path)
    assert video.features.shape == ((NUM_FRAMES - 16) // stride + 1, 2048)
    assert counts["decoded"] == NUM_FRAMES
    assert counts["flow"] == NUM_FRAMES - 1
    for stream in ("rgb", "flow"):  # neighbouring blocks share 16 - stride of some 64 frames
        assert NUM_FRAMES <= counts[f"{stream} copied"] + stride <= 1.3 * NUM_FRAMES
