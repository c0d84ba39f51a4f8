"""Stage 2: region features, model and losses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from hrpro.localize.methods.hrpro.instance_losses import (
    InstanceTargets,
    choose_proposals,
    instance_losses,
    segment_iou,
    training_losses,
)
from hrpro.localize.methods.hrpro.instance_model import InstanceConfig, InstanceModel, ProposalBatch
from hrpro.localize.nn.roi import align, region_features
from hrpro.localize.sampling.packing import Packing


def renamed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The release's parameter names and shapes as ours."""
    names = {
        "bcr.start_reg_conv.": "start_head.",
        "bcr.end_reg_conv.": "end_head.",
        "bcr.prop_fusion.0": "score_head.0",
        "bcr.prop_completeness.0": "score_head.3",
        "bcr.prop_completeness.2": "score_head.5",
    }
    state = {}
    for name, tensor in weights.items():
        (old,) = (old for old in names if name.startswith(old))
        state[name.replace(old, names[old])] = tensor.squeeze(-1) if tensor.dim() == 3 else tensor
    return state


def test_golden_instance_model(golden):
    data = np.load(golden / "instance_model.npz")
    weights = {
        name.removeprefix("weights/"): torch.from_numpy(data[name])
        for name in data.files
        if name.startswith("weights/")
    }
    model = InstanceModel(weights["bcr.prop_fusion.0.weight"].shape[0]).eval()
    model.load_state_dict(renamed(weights))
    names = [f"case{i}_" for i in range(int(data["count"]))]
    features, proposals, reliable = (
        [torch.from_numpy(data[name + key]) for name in names]
        for key in ("features", "proposals", "reliable")
    )

    def close(found, name):
        np.testing.assert_allclose(found.detach(), data[name], atol=1e-5, rtol=1e-5, err_msg=name)

    predictions = model.predict(features, proposals, chunk_size=7)
    for index, name in enumerate(names):
        count = torch.full((len(proposals[index]),), len(features[index]))
        close(align(features[index], proposals[index], 0 * count, count), name + "roi")
        close(segment_iou(proposals[index], reliable[index]), name + "iou")
        close(predictions[index].completeness, name + "completeness")
        close(predictions[index].refined, name + "refined")
        close(predictions[index].refined_completeness, name + "refined_completeness")
        one = ProposalBatch.collate([features[index]], [proposals[index]])
        losses = training_losses(model, one, InstanceTargets.collate([reliable[index]]))
        close(losses["regression"], name + "loss_regression")
        if name + "loss_score" in data.files:
            close(losses["score"], name + "loss_score")
        iou = segment_iou(proposals[index], reliable[index]).max(dim=1).values
        assert (iou >= model.config.positive_iou).sum() == data[name + "positives"]


boundaries = st.lists(
    st.tuples(st.floats(-4, 40, width=16), st.floats(0.0625, 60, width=16)), min_size=1, max_size=8
)


@given(boundaries, st.integers(1, 30))
@settings(deadline=None, max_examples=60)
def test_alignment_equals_torchvision_on_a_video_with_zeros_around(boundaries, length):
    features = torch.randn(length, 3, generator=torch.Generator().manual_seed(length)).double()
    proposals = torch.tensor([[s, s + w] for s, w in boundaries], dtype=torch.float64)
    margin = 100
    start, end = proposals.T
    quarter = 0.25 * (end - start)
    boxes = torch.stack(
        [0 * start, start - quarter + margin - 0.5, 0 * start + 1, end + quarter + margin - 0.5], 1
    )
    padded = torch.nn.functional.pad(features, (0, 0, margin, margin))
    expected = torchvision.ops.roi_align(padded.T[None, :, :, None], [boxes], [12, 1])
    count = torch.full((len(proposals),), length)
    found = align(features, proposals, 0 * count, count)
    torch.testing.assert_close(found, expected.squeeze(-1).transpose(1, 2))


def random_batch(seed: int = 0) -> tuple[ProposalBatch, InstanceTargets]:
    generator = torch.Generator().manual_seed(seed)
    features, proposals, reliable = [], [], []
    for length, count in ((30, 12), (5, 0), (80, 40), (9, 3)):
        features.append(torch.randn(length, 8, generator=generator))
        start = torch.rand(count, 1, generator=generator) * length
        proposals.append(torch.cat([start, start + 1 + 9 * torch.rand(count, 1)], dim=1))
        reliable.append(proposals[-1][::4] + 0.3)
    reliable[-1] = reliable[-1][:0]
    return ProposalBatch.collate(features, proposals), InstanceTargets.collate(reliable)


def test_regions_of_a_batch_are_those_of_its_videos_in_any_chunks(monkeypatch):
    batch, _ = random_batch()
    config = InstanceConfig()
    together = batch.regions(batch.proposals, config)
    monkeypatch.setattr("hrpro.localize.nn.roi.CHUNK_VALUES", 12 * 8 * 5)
    assert torch.equal(batch.regions(batch.proposals, config), together)
    alone = [
        region_features(
            features,
            proposals,
            torch.zeros(len(proposals)).long(),
            torch.tensor([len(features)]).expand(len(proposals)),
        )
        for features, proposals in zip(
            batch.snippets.split(batch.features), batch.packing.split(batch.proposals), strict=True
        )
    ]
    torch.testing.assert_close(torch.cat(alone), together, atol=1e-4, rtol=1e-4)


def test_a_batch_gives_the_losses_and_gradients_of_its_videos(monkeypatch):
    # All negatives, so that chance does not matter.
    monkeypatch.setattr(
        "hrpro.localize.methods.hrpro.instance_losses._draw_negatives",
        lambda positive, *_: ~positive,
    )
    torch.manual_seed(0)
    model = InstanceModel(8).eval()
    batch, targets = random_batch()
    together = training_losses(model, batch, targets)
    together["total"].backward()
    gradient = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    expected = dict.fromkeys(together, 0.0)
    for parts in zip(
        batch.snippets.split(batch.features),
        batch.packing.split(batch.proposals),
        targets.packing.split(targets.reliable),
        strict=True,
    ):
        features, proposals, reliable = ([part] for part in parts)
        losses = training_losses(
            model, ProposalBatch.collate(features, proposals), InstanceTargets.collate(reliable)
        )
        (losses["total"] / 4).backward()
        for name, loss in losses.items():
            expected[name] += loss.item() / 4
    assert {k: v.item() for k, v in together.items()} == pytest.approx(expected, rel=1e-4)
    for name, p in model.named_parameters():
        torch.testing.assert_close(gradient[name], p.grad, atol=1e-5, rtol=1e-4)


def test_matching_can_be_held_to_the_class():
    proposals = torch.tensor([[0.0, 4], [0, 4]])
    targets = InstanceTargets.collate(
        [torch.tensor([[0.0, 4]])], [torch.tensor([1, 2])], [torch.tensor([2])]
    )
    packing = Packing((2,), proposals.device)
    completeness = torch.tensor([0.0, 0.0])

    def score(**options: bool) -> float:
        losses = instance_losses(
            completeness, proposals, proposals, packing, targets, InstanceConfig(**options)
        )
        assert losses["regression"].item() == pytest.approx(0, abs=1e-6)
        return losses["score"].item()

    assert score() == pytest.approx(0.5)
    # Of class 1 and 2 the first is a negative now; it is rightly scored 0 and always drawn.
    assert score(class_aware_matching=True) == pytest.approx(0.25)
    with pytest.raises(ValueError, match="classes"):
        instance_losses(
            completeness,
            proposals,
            proposals,
            packing,
            InstanceTargets.collate([torch.tensor([[0.0, 4]])]),
            InstanceConfig(class_aware_matching=True),
        )


def test_about_as_many_negatives_as_positives_are_scored():
    proposals = torch.tensor([[0.0, 10]] * 50 + [[20.0, 30]] * 950)
    targets = InstanceTargets.collate([torch.tensor([[0.0, 10]])])
    packing = Packing((1000,), proposals.device)
    completeness = torch.cat([torch.ones(50), torch.ones(950)])
    generator = torch.Generator().manual_seed(0)
    score = instance_losses(
        completeness, proposals, proposals, packing, targets, InstanceConfig(), generator
    )["score"].item()
    # A negative scored 1 costs 0.5, a positive nothing: the loss is half the negatives' share.
    assert score == pytest.approx(0.25, abs=0.05)


def test_without_reliable_proposals_there_is_nothing_to_learn():
    model = InstanceModel(8)
    batch = ProposalBatch.collate([torch.randn(9, 8)], [torch.tensor([[1.0, 4], [2, 9]])])
    losses = training_losses(model, batch, InstanceTargets.collate([torch.empty(0, 2)]))
    assert losses["total"].item() == 0
    losses["total"].backward()


def test_refined_proposals_follow_the_sign():
    torch.manual_seed(0)
    plus, minus = InstanceModel(8), InstanceModel(8, InstanceConfig(offset_sign="minus"))
    minus.load_state_dict(plus.state_dict())
    features, proposals = [torch.randn(20, 8)], [torch.tensor([[3.0, 9.0]])]
    (up,), (down,) = plus.predict(features, proposals), minus.predict(features, proposals)
    torch.testing.assert_close(up.refined - proposals[0], proposals[0] - down.refined)
    assert not torch.equal(up.refined, down.refined)


def test_predict_handles_videos_without_proposals():
    predictions = InstanceModel(8).predict(
        [torch.randn(4, 8), torch.randn(6, 8)], [torch.empty(0, 2), torch.tensor([[1.0, 2]])]
    )
    assert [p.refined.shape for p in predictions] == [(0, 2), (1, 2)]
    assert (
        InstanceModel(8).predict([torch.randn(4, 8)], [torch.empty(0, 2)])[0].refined.numel() == 0
    )


def test_proposals_in_training_are_limited():
    assert choose_proposals(5, 10).tolist() == [0, 1, 2, 3, 4]
    chosen = choose_proposals(50, 10, torch.Generator().manual_seed(0))
    assert len(set(chosen.tolist())) == 10 and max(chosen) > 10


def test_config_rejects_what_it_does_not_know():
    with pytest.raises(ValidationError, match="extent"):
        InstanceConfig(extent=0.3)
