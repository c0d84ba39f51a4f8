"""Stage 1: pseudo snippets, model, memory and losses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from hrpro.localize.methods.hrpro.pseudo_snippets import PseudoSnippets, select_pseudo_snippets
from hrpro.localize.methods.hrpro.snippet_losses import (
    contrast_loss,
    snippet_losses,
    training_losses,
)
from hrpro.localize.methods.hrpro.snippet_model import SnippetConfig, SnippetModel
from hrpro.localize.nn.pooling import topk_pool
from hrpro.localize.sampling.packing import Packing, VideoBatch


def pack(*lengths: int) -> Packing:
    return Packing(lengths, torch.device("cpu"))


# --- pseudo snippets -------------------------------------------------------------------------


def slow_pseudo_snippets(b: list[float], points: Tensor) -> tuple[Tensor, Tensor]:
    """One video, snippet by snippet, in the words of the method."""
    size = len(b)
    where = [t for t in range(size) if points[t].any()]
    action, background = points.clone(), torch.zeros(size, dtype=torch.bool)
    for left, right in zip([-1, *where], [*where, size], strict=True):
        segment = list(range(left + 1, right))
        if not where or not segment:
            continue
        hits = [t for t in segment if b[t] >= 0.95] or [max(segment, key=lambda t: (b[t], -t))]
        first = segment[0] if left == -1 else hits[0]
        last = segment[-1] if right == size else hits[-1]
        background[first : last + 1] = True
        for point, walk in ((left, segment), (right, segment[::-1])):
            if 0 <= point < size:
                for t in walk:
                    if b[t] > 0.1 or background[t]:
                        break
                    action[t] = points[point]
    return action, background


def test_golden_pseudo_snippets(golden):
    cases = np.load(golden / "pseudo_snippets.npz")
    names = [f"case{i}_" for i in range(int(cases["count"]))]
    backgrounds = [torch.from_numpy(cases[n + "background"]) for n in names]
    points = [torch.from_numpy(cases[n + "points"]).bool() for n in names]
    packing = Packing.of(backgrounds)
    found = select_pseudo_snippets(torch.cat(backgrounds), torch.cat(points), packing)
    actions, bgs = packing.split(found.action), packing.split(found.background)
    assert names
    for name, action, background in zip(names, actions, bgs, strict=True):
        np.testing.assert_array_equal(action, cases[name + "action"], err_msg=name)
        np.testing.assert_array_equal(background, cases[name + "bg"], err_msg=name)


levels = st.sampled_from([0.0, 0.05, 0.1, 0.3, 0.5, 0.9, 0.95, 1.0])
videos = st.lists(
    st.lists(st.tuples(levels, st.sampled_from([0, 0, 0, 0, 1, 2, 3])), min_size=1, max_size=25),
    min_size=1,
    max_size=4,
)


@given(videos)
@settings(deadline=None, max_examples=200)
def test_pseudo_snippets_equal_the_plain_walk(videos):
    backgrounds = [[b for b, _ in video] for video in videos]
    scores = torch.tensor([b for video in backgrounds for b in video], dtype=torch.float64)
    points = [torch.tensor([[p & 1, p & 2] for _, p in video]).bool() for video in videos]
    packing = Packing.of(points)
    found = select_pseudo_snippets(scores, torch.cat(points), packing)
    expected = [slow_pseudo_snippets(*video) for video in zip(backgrounds, points, strict=True)]
    assert torch.equal(found.action, torch.cat([action for action, _ in expected]))
    assert torch.equal(found.background, torch.cat([background for _, background in expected]))


# --- packing and pooling ---------------------------------------------------------------------


def test_packing_sums_pads_and_splits():
    packing = pack(2, 0, 3)
    rows = torch.arange(5.0)
    assert packing.sum(rows).tolist() == [1, 0, 9]
    assert packing.mean(rows.unsqueeze(1)).tolist() == [[0.5], [0], [3]]
    assert packing.pad(rows, -1).tolist() == [[0, 1, -1], [-1, -1, -1], [2, 3, 4]]
    assert packing.position.tolist() == [0, 1, 0, 1, 2]
    assert [len(video) for video in packing.split(rows)] == [2, 0, 3]


def test_topk_pool_takes_at_least_one_and_can_select_by_other_scores():
    packing = pack(3, 8)
    values = torch.tensor([[-1.0], [-2], [-3], [8], [7], [6], [5], [4], [3], [2], [1]])
    assert topk_pool(values, packing, 4).tolist() == [[-1], [7.5]]
    assert topk_pool(values, packing, 4, select_by=-values).tolist() == [[-3], [1.5]]


# --- the release's numbers -------------------------------------------------------------------


def renamed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The release's parameter names and shapes as ours."""
    state = {
        "memory.prototypes": weights["memory.proto_vectors"][:, 0],
        "classifier.weight": weights["classifier.1.weight"][:, :, 0],
        "encoder.embedding.weight": weights["encoder.feature_embedding.0.weight"],
        "encoder.embedding.bias": weights["encoder.feature_embedding.0.bias"],
    }
    names = {
        "conv_query": "query",
        "conv_key": "key",
        "self_atten.out_proj": "output_projection",
        "linear1": "feedforward.0",
        "linear2": "feedforward.3",
        "norm1": "attention_norm",
        "norm2": "feedforward_norm",
    }
    num_blocks = len({name.split(".")[2] for name in weights if name.startswith("encoder.RAB")})
    for block in range(num_blocks):
        theirs, ours = f"encoder.RAB.{block}.", f"encoder.blocks.{block}."
        for kind in ("weight", "bias"):
            for old, new in names.items():
                tensor = weights[f"{theirs}{old}.{kind}"]
                # Convolutions of width 1 are linear layers here.
                state[f"{ours}{new}.{kind}"] = tensor.squeeze(-1) if tensor.dim() == 3 else tensor
            joint = weights[f"{theirs}self_atten.in_proj_{kind}"].chunk(3)
            for name, tensor in zip(("query", "key", "value"), joint, strict=True):
                state[f"{ours}{name}_projection.{kind}"] = tensor
    return state


def test_golden_snippet_model(golden):
    data = np.load(golden / "snippet_model.npz")
    weights = {
        name.removeprefix("weights/"): torch.from_numpy(data[name])
        for name in data.files
        if name.startswith("weights/")
    }
    num_classes, dim = weights["memory.proto_vectors"][:, 0].shape
    model = SnippetModel(dim, num_classes).eval()
    model.load_state_dict(renamed(weights))
    names = [f"case{i}_" for i in range(int(data["count"]))]
    # Every case started from the same memory. The file's last memory_before is that one; the
    # others may hold what a later case left in the same tensor.
    before = torch.from_numpy(data[names[-1] + "memory_before"])[:, 0]
    model.memory.prototypes.copy_(before)

    def close(found, name):
        np.testing.assert_allclose(found.detach(), data[name], atol=1e-5, rtol=1e-5, err_msg=name)

    batch = VideoBatch.collate(
        *([torch.from_numpy(data[n + key]) for n in names] for key in ("features", "points")),
        [torch.from_numpy(data[n + "video_label"]).bool() for n in names],
    )
    together = model(batch.features, batch.packing)
    parts = batch.packing.split(together.embedded)
    for name, embedded in zip(names, parts, strict=True):
        close(embedded, name + "embedded")

    for index, name in enumerate(names):
        one = VideoBatch.collate(
            [batch.packing.split(batch.features)[index]],
            [batch.packing.split(batch.points)[index]],
            [batch.labels[index]],
        )
        output = model(one.features, one.packing)
        close(output.embedded, name + "embedded")
        close(output.class_scores, name + "class_scores")
        fused = torch.cat([output.fused, output.background.unsqueeze(1)], dim=1)
        close(fused, name + "fused_scores")
        close(output.video_scores()[0], name + "video_score_test")
        close(output.video_scores(one.labels)[0], name + "video_score_train")
        pseudo = select_pseudo_snippets(output.background, one.points, one.packing)
        np.testing.assert_array_equal(
            pseudo.action, data[name + "pseudo_action"][:, :num_classes], err_msg=name
        )
        np.testing.assert_array_equal(pseudo.background, data[name + "pseudo_bg"], err_msg=name)
        losses = snippet_losses(output, one, pseudo, model.memory.prototypes, model.config)
        for term, loss in losses.items():
            close(loss, f"{name}loss_{term}")
        memory = SnippetModel(dim, num_classes).memory
        memory.prototypes.copy_(before)
        memory.update(output.embedded, pseudo.action, one.labels, one.packing, 0.999)
        np.testing.assert_allclose(
            memory.prototypes, data[name + "memory_after"][:, 0], atol=1e-6, err_msg=name
        )


# --- a batch is the sum of its videos --------------------------------------------------------


def random_batch(lengths: list[int], dim: int, num_classes: int, seed: int = 0) -> VideoBatch:
    generator = torch.Generator().manual_seed(seed)
    features = [torch.randn(t, dim, generator=generator) for t in lengths]
    points = [torch.rand(t, num_classes, generator=generator) < 1.5 / t for t in lengths]
    for p in points:
        p[len(p) // 2, 0] = True
    return VideoBatch.collate(features, points)


def single_videos(batch: VideoBatch) -> list[VideoBatch]:
    parts = zip(
        batch.packing.split(batch.features),
        batch.packing.split(batch.points),
        batch.labels,
        strict=True,
    )
    return [VideoBatch.collate([f], [p], [label]) for f, p, label in parts]


def gradients(model: SnippetModel, batches: list[VideoBatch]) -> tuple[dict, dict]:
    model.zero_grad()
    terms: dict[str, float] = {}
    for batch in batches:
        losses = training_losses(model, batch)
        (losses["total"] / len(batches)).backward()
        for name, loss in losses.items():
            terms[name] = terms.get(name, 0.0) + loss.item() / len(batches)
    return terms, {name: p.grad.clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("targets", ["points", "pseudo"])
def test_a_batch_gives_the_losses_and_gradients_of_its_videos(dtype, targets):
    torch.manual_seed(0)
    config = SnippetConfig(action_targets=targets, memory_momentum=1.0, video_weight=0.3)
    model = SnippetModel(16, 5, config).eval().to(dtype)
    model.memory.prototypes.copy_(torch.randn(5, 16))
    batch = random_batch([1, 40, 3, 111, 64], 16, 5)
    batch = VideoBatch(batch.features.to(dtype), batch.points, batch.labels, batch.packing)
    singles = [
        VideoBatch(b.features.to(dtype), b.points, b.labels, b.packing)
        for b in single_videos(batch)
    ]
    losses, together = gradients(model, [batch])
    expected, one_by_one = gradients(model, singles)
    assert losses == pytest.approx(expected, rel=1e-5)
    for name, gradient in one_by_one.items():
        torch.testing.assert_close(together[name], gradient, atol=1e-5, rtol=1e-5, msg=name)
    assert all(
        gradient.abs().sum() > 0 for name, gradient in together.items() if "bias" not in name
    )


def test_training_learns_the_points():
    torch.manual_seed(0)
    model = SnippetModel(16, 3)
    batch = random_batch([30, 60, 20], 16, 3)
    model.initialise_memory([batch])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    history = []
    for _ in range(60):
        losses = training_losses(model, batch)
        optimizer.zero_grad()
        losses["total"].backward()
        optimizer.step()
        history.append(losses["total"].item())
    assert sum(history[-5:]) < 0.7 * sum(history[:5])


def test_the_same_seed_trains_the_same():
    def train() -> Tensor:
        torch.manual_seed(3)
        model = SnippetModel(16, 3)
        training_losses(model, random_batch([30, 60], 16, 3))["total"].backward()
        return model.encoder.embedding.weight.grad

    assert torch.equal(train(), train())


# --- memory ----------------------------------------------------------------------------------


def test_memory_update_equals_one_video_after_the_other():
    batch = random_batch([20, 9, 33, 5], 8, 4)
    model = SnippetModel(8, 4)
    start = torch.randn(4, 8)
    expected = start.clone()
    for video in single_videos(batch):
        for c in video.labels[0].nonzero().flatten():
            mean = video.features[video.points[:, c]].mean(0)
            expected[c] = 0.9 * expected[c] + 0.1 * mean
    model.memory.prototypes.copy_(start)
    model.memory.update(batch.features, batch.points, batch.labels, batch.packing, 0.9)
    torch.testing.assert_close(model.memory.prototypes, expected)


def test_memory_starts_from_class_means():
    batch = random_batch([20, 30], 8, 4)
    batch.points[:, 3] = False
    model = SnippetModel(8, 4).train()
    model.initialise_memory(iter(single_videos(batch)))
    assert model.training
    prototypes = model.memory.prototypes.clone()
    assert prototypes[3].abs().sum() == 0
    model.memory.prototypes.zero_()
    embedded = model.eval()(batch.features, batch.packing).embedded
    torch.testing.assert_close(prototypes[0], embedded[batch.points[:, 0]].mean(0))
    assert "memory.prototypes" in model.state_dict()


def test_memory_tokens_are_prototypes_or_the_releases_reshape():
    release = SnippetModel(8, 3)
    paper = SnippetModel(8, 3, SnippetConfig(memory_tokens="prototypes"))
    for model in (release, paper):
        model.memory.prototypes.copy_(torch.arange(24.0).view(3, 8))
    assert torch.equal(paper.memory_tokens(), torch.arange(24.0).view(3, 8))
    assert release.memory_tokens()[1].tolist() == [1, 4, 7, 10, 13, 16, 19, 22]


# --- single pieces ---------------------------------------------------------------------------


def test_contrast_loss_by_hand_and_what_it_leaves_out():
    embedded = torch.tensor([[1.0, 0], [0, 1], [0, 1], [1, 0]])
    pseudo = PseudoSnippets(
        action=torch.tensor([[1, 0], [0, 0], [0, 0], [0, 1]]).bool(),
        background=torch.tensor([0, 1, 0, 0]).bool(),
    )
    labels = torch.tensor([[True, True]])
    prototypes = torch.eye(2)
    packing = pack(4)
    e = np.exp(1.0)
    first = 0.5 * np.log((e + 1) / e) + 0.5 * np.log((e + 1) / e)
    second = 0.5 * np.log(e + 1) + 0.5 * np.log(1 + e)
    loss = contrast_loss(embedded, prototypes, pseudo, labels, packing, temperature=1.0)
    assert loss.item() == pytest.approx((first + second) / 2)
    # In the release's runs, the last snippet is missing: so is all of class 1.
    batch = VideoBatch(embedded, pseudo.action, labels, packing)
    output = SnippetModel(2, 2, SnippetConfig(num_heads=1)).eval()(embedded, packing)
    output = type(output)(embedded, output.class_scores, output.background, packing, 8)
    for snippets, expected in (("runs", first / 2), ("all", (first + second) / 2)):
        config = SnippetConfig(contrast_snippets=snippets, temperature=1.0)
        found = snippet_losses(output, batch, pseudo, prototypes, config)["contrast"]
        assert found.item() == pytest.approx(expected)
    nothing = PseudoSnippets(pseudo.action, torch.zeros(4, dtype=torch.bool))
    assert contrast_loss(embedded, prototypes, nothing, labels, packing).item() == 0


def test_predict_gives_one_entry_per_video_and_keeps_the_mode():
    model = SnippetModel(16, 4).train()
    features = [torch.randn(t, 16) for t in (7, 1, 30)]
    together = model.predict(features)
    assert model.training
    assert [len(video.fused) for video in together] == [7, 1, 30]
    for video, alone in zip(together, (model.predict([f])[0] for f in features), strict=True):
        torch.testing.assert_close(video.class_scores, alone.class_scores)
        torch.testing.assert_close(video.video_score, alone.video_score)
        assert torch.equal(video.fused, video.class_scores * video.attention[:, None])


def test_config_rejects_what_it_does_not_know():
    with pytest.raises(ValidationError, match="num_head"):
        SnippetConfig(num_head=4)
    with pytest.raises(ValueError, match="does not divide"):
        SnippetModel(12, 3)
    assert SnippetModel(16, 3, SnippetConfig(activation="gelu")).encoder.blocks[0].feedforward
