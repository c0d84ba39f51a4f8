"""FuSTAL's generator: contrast, mining, proposals and the density filter on easy data."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hrpro.localize.methods.fustal.config import (
    ContrastConfig,
    GeneratorConfig,
    GeneratorNetwork,
)
from hrpro.localize.methods.fustal.generator import GeneratorModel
from hrpro.localize.methods.fustal.inference import normalised, predict, propose, suppress
from hrpro.localize.methods.fustal.losses import (
    SnippetMeans,
    contrast_matrix,
    cross_video_loss,
    generator_losses,
)
from hrpro.localize.methods.fustal.mining import (
    active_snippets,
    boundary_rings,
    draw_multiplier,
    mine,
)
from hrpro.localize.proposals.density import DensityConfig, density_filter
from hrpro.localize.proposals.generate import Proposals

TINY = GeneratorNetwork(length=40, dropout=0.2)


def outputs(labels: torch.Tensor, seed: int = 0):
    torch.manual_seed(seed)
    model = GeneratorModel(8, labels.shape[1], TINY).eval()
    return model(torch.rand(len(labels), 40, 8))


def test_no_pair_no_cross_video_loss():
    labels = torch.tensor([[1.0, 0, 0], [0, 1, 0], [1, 1, 0]])
    losses = generator_losses(outputs(labels), labels, ContrastConfig())
    assert losses["cross_video"] == 0
    assert losses["in_video"] > 0


def test_a_pair_counts_alike_in_either_order():
    labels = torch.tensor([[1.0, 0], [0, 1], [1, 0]])
    output = outputs(labels)
    mined = mine(output.actionness, torch.ones(3, 40), ContrastConfig())
    contrast = contrast_matrix(SnippetMeans.of(output.embedding, mined), 0.07)
    expected = (contrast[0, 2] + contrast[2, 0]) / 2
    assert torch.isclose(cross_video_loss(contrast, labels), expected)
    flipped = cross_video_loss(contrast.flip(0, 1), labels.flip(0))
    assert torch.isclose(flipped, expected)


@given(st.lists(st.booleans(), min_size=1, max_size=40))
@settings(deadline=None)
def test_rings_equal_windows_one_by_one(active):
    def at(t: int) -> bool:
        return 0 <= t < len(active) and active[t]

    inner, outer = boundary_rings(torch.tensor([active]), ContrastConfig())
    for t in range(len(active)):
        erode3 = all(at(t + k) for k in (-1, 0, 1))
        erode6 = all(at(t + k) for k in range(-3, 3))
        dilate3 = any(at(t + k) for k in (-1, 0, 1))
        dilate6 = any(at(t + k) for k in range(-2, 4))
        assert bool(inner[0, t]) == (erode3 and not erode6)
        assert bool(outer[0, t]) == (dilate6 and not dilate3)


def test_the_median_of_an_even_number_is_between_the_middle_two():
    assert active_snippets(torch.tensor([[1.0, 2.0, 3.0, 4.0]])).tolist() == [
        [False, False, True, True]
    ]


def test_multipliers_keep_the_mean():
    torch.manual_seed(0)
    multiplier = draw_multiplier(torch.zeros(50, 200), 0.6)
    assert set(multiplier.unique().tolist()) == {0.0, 2.5}
    assert abs(multiplier.mean().item() - 1) < 0.05


def test_the_density_filter_drops_what_stands_alone():
    table = Proposals(
        np.zeros(3), np.array([0.0, 1, 50]), np.array([10.0, 10, 60]), np.zeros(3), np.full(3, 0.5)
    )
    assert density_filter(table, DensityConfig()).start_s.tolist() == [0, 1]
    assert len(density_filter(table, DensityConfig(min_score=0.5))) == 0
    apart = table.replace(video=np.arange(3))
    assert len(density_filter(apart, DensityConfig())) == 0
    assert len(density_filter(Proposals.empty(), DensityConfig())) == 0


def test_the_density_filter_can_keep_the_best_of_every_class():
    table = Proposals(
        video=np.array([0, 0, 0, 1, 1]),
        start_s=np.array([0, 10, 20, 0, 30]),
        end_s=np.array([5, 15, 25, 5, 35]),
        label=np.array([0, 0, 1, 0, 0]),
        score=np.array([0.1, 0.3, 0.2, 0.9, 0.5]),
    )
    assert len(density_filter(table, DensityConfig())) == 0
    kept = density_filter(table, DensityConfig(keep_best=True))
    assert kept.score.tolist() == [0.3, 0.2, 0.9]
    assert len(density_filter(Proposals.empty(), DensityConfig(keep_best=True))) == 0


def test_flat_activations_stay_finite():
    assert normalised(np.zeros((4, 2))).tolist() == [[0, 0]] * 4
    assert normalised(np.full(3, 2.0)).tolist() == [0, 0, 0]
    assert normalised(np.array([1.0, 3.0, 2.0])).tolist() == [0, 1, 0.5]


def test_equal_overlap_is_suppressed():
    # With one second more, [0, 2] and [0, 5] overlap by exactly 3 of 6.
    table = Proposals(
        np.zeros(2), np.zeros(2), np.array([2.0, 5.0]), np.zeros(2), np.array([0.9, 0.8])
    )
    assert len(suppress(table, 0.5)) == 1
    assert len(suppress(table, 0.51)) == 2


def test_learns_from_video_labels_where_actions_are():
    rng = np.random.default_rng(0)
    looks = 2 * rng.random((3, 8))
    features, labels, where = [], [], []
    for video in range(12):
        label = video % 2
        values = np.tile(looks[2], (60, 1))
        first = int(rng.integers(5, 35))
        values[first : first + 12] = looks[label]
        features.append(torch.from_numpy(values + rng.normal(0, 0.1, values.shape)).float())
        labels.append(np.eye(2)[label])
        where.append((first, first + 12))
    torch.manual_seed(0)
    config = GeneratorConfig(network=GeneratorNetwork(length=60, width=32))
    model = GeneratorModel(8, 2, config.network)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    batch, video_label = torch.stack(features), torch.from_numpy(np.stack(labels)).float()
    for _ in range(100):
        losses = generator_losses(model(batch), video_label, config.contrast)
        optimizer.zero_grad()
        losses["total"].backward()
        optimizer.step()
    predictions = predict(model, features)
    count = len(features)
    found = propose(predictions, config, stride_s=[1.0] * count, offset_s=[0.0] * count)
    found = suppress(found, config.nms_threshold)
    for video, (first, stop) in enumerate(where):
        best = found[found.video == video].by_score()[:1]
        assert best.label[0] == video % 2
        both = min(best.end_s[0], stop) - max(best.start_s[0], first)
        assert both / (max(best.end_s[0], stop) - min(best.start_s[0], first)) > 0.6
