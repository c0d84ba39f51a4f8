"""Properties of SAL's parts; the numbers themselves are in test_sal_golden.py."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hrpro.localize.methods.sal.config import SalConfig, SalLosses, SalNetwork
from hrpro.localize.methods.sal.inference import SalPrediction, predict, propose, suppress
from hrpro.localize.methods.sal.losses import (
    generalized_cross_entropy,
    label_snippets,
    mix_labels,
    training_losses,
)
from hrpro.localize.methods.sal.model import SalModel, stream_channels
from hrpro.localize.methods.sal.pseudo_labels import AdaptiveMask, pseudo_actions
from hrpro.localize.nn.bilinear import bilinear_pool
from hrpro.localize.nn.pooling import topk_mean

SMALL = SalNetwork(length=40, width=8, rgb_channels=4)
NUM_CLASSES = 3


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def test_shapes_at_full_length():
    model = SalModel(6, 20, SalNetwork(width=4, rgb_channels=3))
    output = model.training_output(torch.randn(2, 750, 6))
    videos = output.videos
    assert videos.cas.shape == videos.selection_map.shape == (2, 750, 20)
    assert videos.video_logits.shape == output.video_logits_rgb.shape == (2, 20)
    assert videos.actionness.shape == output.actionness_flow_mix.shape == (2, 750)
    pseudo, weight = label_snippets(model, AdaptiveMask(20), output, SalLosses())
    assert (pseudo.sum(dim=1) <= 110).all()
    assert weight.shape == (2, 750)


def test_number_of_parameters():
    with torch.device("meta"):
        model = SalModel(2048, 20, SalNetwork(rgb_channels=1024))
    assert sum(p.numel() for p in model.parameters()) == 145_765_418


def test_mix_up_adds_the_features_of_two_videos():
    model = SalModel(6, NUM_CLASSES, changed(SMALL, dropout=0.0)).double()
    features = torch.randn(3, 40, 6, dtype=torch.float64)
    output = model.training_output(features)
    mixed = model(features + features.roll(1, dims=0))
    torch.testing.assert_close(output.actionness_rgb_mix, mixed.actionness_rgb)
    torch.testing.assert_close(output.actionness_flow_mix, mixed.actionness_flow)


def changed(config: SalNetwork, **changes) -> SalNetwork:
    return SalNetwork(**{**config.model_dump(), **changes})


@pytest.mark.parametrize("select_by", ["map", "logits"])
def test_a_padded_video_is_read_as_if_alone(select_by):
    model = SalModel(6, NUM_CLASSES, changed(SMALL, select_by=select_by)).double().eval()
    lengths = torch.tensor([17, 40, 3])
    features = torch.randn(3, 40, 6, dtype=torch.float64)
    features[torch.arange(40) >= lengths.unsqueeze(1)] = 0
    together = model(features, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = model(features[row : row + 1, :length])
        for name in ("bilinear", "semantics", "video_logits", "top_class_logits"):
            torch.testing.assert_close(getattr(together, name)[row], getattr(alone, name)[0])
        torch.testing.assert_close(
            together.selection_map[row, :length], alone.selection_map[0], msg=name
        )


@pytest.mark.parametrize(
    ("dim", "rgb_channels", "expected"),
    [
        (2048, None, (slice(0, 2048), slice(0, 2048))),
        (64, 64, (slice(0, 64), slice(0, 64))),
        (64, 16, (slice(0, 16), slice(16, 64))),
    ],
)
def test_streams(dim, rgb_channels, expected):
    assert stream_channels(dim, rgb_channels) == expected


def test_too_few_channels():
    with pytest.raises(ValueError, match="rgb_channels is 65, but features have 64"):
        SalModel(64, NUM_CLASSES, SalNetwork(rgb_channels=65))


def test_rgb_alone_goes_to_both_heads():
    model = SalModel(6, NUM_CLASSES, changed(SMALL, rgb_channels=None))
    losses = training_losses(
        model, AdaptiveMask(NUM_CLASSES), torch.randn(2, 40, 6), torch.eye(3)[:2], SalLosses()
    )
    losses["total"].backward()
    assert all((p.grad != 0).any() for p in model.parameters())


def test_the_mask_is_one_above_the_mean_and_moves_before_it_is_used():
    mask = AdaptiveMask(NUM_CLASSES)
    cas = 3 * torch.randn(2, 50, NUM_CLASSES)
    highest = cas.softmax(dim=-1).amax(dim=-1)
    for _ in range(30):
        weight = mask(cas)
    assert mask.mean == pytest.approx(highest.mean().item(), abs=1e-3)
    assert mask.var == pytest.approx(highest.var().item(), abs=1e-3)
    assert (weight[highest >= mask.mean] == 1).all()
    assert (weight[highest < mask.mean] < 1).all()
    assert (weight > 0).all()


def test_the_moments_are_part_of_what_is_saved():
    assert set(AdaptiveMask(NUM_CLASSES).state_dict()) == {"mean", "var"}


def test_pseudo_actions_have_actionness_and_evidence():
    actionness = torch.tensor([[0.9, 0.8, 0.7, 0.1]])
    cas = torch.tensor([[[-5.0], [1.0], [2.0], [3.0]]])
    assert pseudo_actions(actionness, cas, 3, 2).tolist() == [[False, False, True, False]]
    assert pseudo_actions(actionness, cas, 3, None).tolist() == [[True, True, True, False]]
    assert pseudo_actions(actionness, cas, 9, None).all()


def test_mixed_labels():
    pseudo, weight = torch.rand(3, 9) > 0.5, torch.rand(3, 9)
    mixed, mixed_weight = mix_labels(pseudo, weight)
    assert (mixed >= pseudo).all()
    assert (mixed[0] == pseudo[0] | pseudo[2]).all()
    torch.testing.assert_close(mixed_weight[1], (weight[1] + weight[0]) / 2)
    alone, alone_weight = mix_labels(pseudo[:1], weight[:1])
    assert (alone == pseudo[:1]).all()
    torch.testing.assert_close(alone_weight, weight[:1])


def test_what_weighs_nothing_is_not_learned():
    actionness = torch.rand(2, 9)
    pseudo = torch.rand(2, 9) > 0.5
    weight = (torch.rand(2, 9) > 0.5).float()
    loss = generalized_cross_entropy(actionness, pseudo, weight, 0.5)
    other = torch.where(weight > 0, actionness, torch.rand(2, 9))
    torch.testing.assert_close(generalized_cross_entropy(other, pseudo, weight, 0.5), loss)
    right = pseudo.float()
    assert generalized_cross_entropy(right, pseudo, weight, 0.5) == pytest.approx(0, abs=1e-6)


def test_bilinear_vectors():
    embedding = torch.relu(torch.randn(2, 8, 30))
    embedding[:, 3] = 0
    pooled = bilinear_pool(embedding)
    torch.testing.assert_close(pooled.norm(dim=1), torch.ones(2))
    square = pooled.view(2, 8, 8)
    torch.testing.assert_close(square, square.transpose(1, 2))
    assert (square[:, 3] == 0).all()


@given(st.integers(1, 9), st.integers(0, 99))
def test_padding_does_not_count_in_the_best(ratio, seed):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(3, 20, 2, generator=generator)
    ranking = torch.randn(3, 20, 2, generator=generator)
    lengths = torch.tensor([20, 1, 7])
    pooled = topk_mean(values, ratio, ranking, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = topk_mean(values[row : row + 1, :length], ratio, ranking[row : row + 1, :length])
        torch.testing.assert_close(pooled[row], alone[0])


@pytest.mark.parametrize("short_videos", ["repeat", "natural"])
def test_videos_are_predicted_as_if_alone(short_videos):
    config = SalConfig(network=changed(SMALL, short_videos=short_videos))
    model = SalModel(6, NUM_CLASSES, config.network)
    features = [torch.randn(length, 6) for length in (1, 25, 40, 41, 130)]
    together = predict(model, features, config)
    assert model.training
    expected = [2, 25, 40, 40, 40] if short_videos == "natural" else [40] * 5
    assert [len(p.selection_map) for p in together] == expected
    assert [p.num_snippets for p in together] == [1, 25, 40, 41, 130]
    for video, one in zip(features, together, strict=True):
        (alone,) = predict(model, [video], config)
        np.testing.assert_allclose(alone.selection_map, one.selection_map, atol=1e-6)
        np.testing.assert_allclose(alone.class_score, one.class_score, atol=1e-6)


@pytest.mark.parametrize("num_snippets", [1, 3, 10, 25])
def test_the_map_stretches_to_the_snippets(num_snippets):
    values = np.linspace(0, 1, 10)[:, None]
    prediction = SalPrediction(values, np.ones(1), np.ones(1), num_snippets)
    stretched = prediction.of_snippets()[:, 0]
    assert len(stretched) == num_snippets
    assert stretched[0] == 0
    if num_snippets == 10:
        assert (stretched == values[:, 0]).all()
    if num_snippets == 25:
        assert stretched[5] == pytest.approx(values[2, 0])
        assert (np.diff(stretched) >= 0).all()


def test_a_constant_map_is_one_long_action_at_each_threshold():
    prediction = SalPrediction(
        selection_map=np.full((40, 2), 0.35),
        class_score=np.array([0.9, 0.1]),
        top_class_logits=np.zeros(2),
        num_snippets=130,
    )
    config = SalConfig()
    found = propose([prediction], config, stride_s=[0.64], offset_s=[2.0])
    np.testing.assert_allclose(found.start_s, [2.0] * 3)
    np.testing.assert_allclose(found.end_s, [2.0 + 0.64 * 130] * 3)
    np.testing.assert_allclose(found.score, [0.35 + 0.2 * 0.9] * 3)
    assert found.label.tolist() == [0, 0, 0]
    assert len(suppress(found, config.nms)) == 3
    hard = config.nms.model_copy(update={"keep_decayed": False})
    assert len(suppress(found, hard)) == 1


def test_an_even_kernel_is_refused():
    with pytest.raises(ValidationError, match="must be odd, not 4"):
        SalNetwork(kernel=4)


def test_training_learns_which_snippets_show_what():
    """Two classes with looks of their own, 5 of 40 snippets each; no times are given."""
    num_videos, length = 16, 40
    looks = torch.randn(3, 6)
    labels = torch.eye(2)[torch.arange(num_videos) % 2]
    features = looks[2].repeat(num_videos, length, 1)
    starts = torch.randint(0, length - 5, (num_videos,))
    for video, start in enumerate(starts.tolist()):
        features[video, start : start + 5] = looks[video % 2]
    features += 0.1 * torch.randn_like(features)
    config = SalConfig(network=SMALL, losses=SalLosses(pseudo_extra=0))
    model, mask = SalModel(6, 2, SMALL), AdaptiveMask(2)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(60):
        losses = training_losses(model, mask, features, labels, config.losses)
        optimizer.zero_grad()
        losses["total"].backward()
        optimizer.step()
    predictions = predict(model, list(features), config)
    own = [p.selection_map[:, v % 2] for v, p in enumerate(predictions)]
    inside = [own[v][s : s + 5] for v, s in enumerate(starts.tolist())]
    assert np.mean(inside) > np.mean(own) + 0.2
    assert all(p.class_score.argmax() == v % 2 for v, p in enumerate(predictions))
