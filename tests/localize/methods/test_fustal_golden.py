"""FuSTAL's generator and its choice of pseudo labels against the release's numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from golden_files import Arrays, double, equal, grouped, load, rows
from torch import Tensor

from hrpro.localize.data.grid import SnippetGrid
from hrpro.localize.methods.fustal.config import (
    ContrastConfig,
    GeneratorConfig,
    GeneratorNetwork,
)
from hrpro.localize.methods.fustal.generator import GeneratorModel
from hrpro.localize.methods.fustal.inference import (
    GeneratorPrediction,
    propose,
    sampled_snippets,
    suppress,
)
from hrpro.localize.methods.fustal.losses import (
    SnippetMeans,
    generator_losses,
    same_label_pairs,
)
from hrpro.localize.methods.fustal.mining import active_snippets, boundary_rings, mine
from hrpro.localize.proposals.density import DensityConfig, density_filter, overlap_sums
from hrpro.localize.proposals.generate import Proposals, predicted_classes

EXACT = 1e-9
WEIGHT_SUM = 1e-7
OVERLAP = 1e-6


def generator(weights: Arrays) -> GeneratorModel:
    """The golden network, without dropout."""
    width, dim, kernel = weights["embed.weight"].shape
    classes = weights["classifier.weight"].shape[0]
    config = GeneratorNetwork(width=width, kernel=kernel, dropout=0)
    model = GeneratorModel(dim, classes, config).double()
    state = {name: double(values) for name, values in weights.items()}
    state["classifier.weight"] = state["classifier.weight"].view(classes, width)
    model.load_state_dict(state)
    return model


@pytest.fixture(scope="module")
def golden_generator(golden) -> dict[str, Arrays]:
    return grouped(load(golden / "fustal" / "generator.npz"))


def step_losses(model: GeneratorModel, step: Arrays) -> dict[str, Tensor]:
    output = model(double(step["features"]))
    label, multiplier = double(step["video_label"]), double(step["multiplier"])
    return generator_losses(output, label, ContrastConfig(), multiplier)


def test_golden_generator(golden_generator):
    weights = golden_generator["weights"]
    names = sorted((n for n in golden_generator if n != "weights"), key=lambda n: (len(n), n))
    steps = [golden_generator[name] for name in names]
    model, training = generator(weights), GeneratorConfig()
    optimizer = torch.optim.Adam(
        model.parameters(), lr=training.lr, weight_decay=training.weight_decay
    )
    assert steps
    for step in steps:
        check_network_and_mining(model, step)
        if "loss_total_without_earlier_steps" in step:
            untrained = step_losses(generator(weights), step)["total"]
            equal(untrained, step["loss_total_without_earlier_steps"], "untrained", EXACT)
        losses = step_losses(model, step)
        for name in ("class", "in_video", "cross_video", "total"):
            equal(losses[name], step[f"loss_{name}"], f"loss_{name}", EXACT)
        optimizer.zero_grad()
        losses["total"].backward()
        for name, parameter in model.named_parameters():
            equal(parameter.grad.norm(), step[f"grad_norm/{name}"], f"grad of {name}", EXACT)
        equal(model.classifier.weight.grad, step["grad/classifier.weight"], "grad", EXACT)
        optimizer.step()
        equal(model.classifier.weight, step["after/classifier.weight"], "after", EXACT)
        equal(model.embed.weight.sum(), step["after/embed.weight_sum"], "sum", WEIGHT_SUM)


def check_network_and_mining(model: GeneratorModel, step: Arrays) -> None:
    output = model(double(step["features"]))
    for name in ("embedding", "cas", "actionness", "video_score"):
        if name in step:
            equal(getattr(output, name), step[name], name, EXACT)
    rings = boundary_rings(active_snippets(output.actionness), ContrastConfig())
    for ring, name in zip(rings, ("inner_ring", "outer_ring"), strict=True):
        np.testing.assert_array_equal(ring, step[name], err_msg=name)
    mined = mine(output.actionness, double(step["multiplier"]), ContrastConfig())
    means = SnippetMeans.of(output.embedding, mined)
    for name in ("easy_action", "easy_background", "hard_action", "hard_background"):
        np.testing.assert_array_equal(getattr(mined, name).sort(1).values, step[name], name)
        equal(getattr(means, name), step[f"{name}_mean"], f"{name}_mean", EXACT)
    np.testing.assert_array_equal(same_label_pairs(double(step["video_label"])), step["pairs"])


def test_golden_rings(golden):
    cases = grouped(load(golden / "fustal" / "rings.npz"))
    assert cases
    for name, case in cases.items():
        active = torch.from_numpy(case["active"]).bool().unsqueeze(0)
        inner, outer = boundary_rings(active, ContrastConfig())
        np.testing.assert_array_equal(inner[0], case["inner"], err_msg=name)
        np.testing.assert_array_equal(outer[0], case["outer"], err_msg=name)


def test_golden_generator_sampling(golden):
    cases = load(golden / "fustal" / "sampling.npz")
    assert cases
    for name, expected in cases.items():
        length, num_snippets = (int(part[1:]) for part in name.split("/")[0].split("_"))
        np.testing.assert_array_equal(sampled_snippets(num_snippets, length), expected, name)


def test_golden_generator_proposals(golden):
    cases = grouped(load(golden / "fustal" / "generator_proposals.npz"))
    config, grid = GeneratorConfig(), SnippetGrid()
    assert cases
    for name, case in cases.items():
        cas, actionness, score = (double(case[k]) for k in ("cas", "actionness", "video_score"))
        prediction = GeneratorPrediction(
            cas.numpy(), actionness.numpy(), score.numpy(), int(case["length"])
        )
        predicted = predicted_classes(prediction.video_score, config.proposals.class_threshold)
        np.testing.assert_array_equal(predicted, np.flatnonzero(case["predicted"]))
        found = propose([prediction], config, stride_s=[grid.stride_s], offset_s=[grid.offset_s])
        same_rows(found, case["proposals"], name)
        same_rows(suppress(found, config.nms_threshold), case["detections"], name)


def same_rows(ours: Proposals, theirs: np.ndarray, what: str) -> None:
    """The same rows in whatever order."""
    sets = [np.round(r, 7)[:, [2, 0, 1, 3]] for r in (rows(ours), theirs)]
    order = [np.lexsort(r.T[::-1]) for r in sets]
    assert len(ours) == len(theirs), what
    equal(rows(ours)[order[0]], theirs[order[1]], what, EXACT)


def test_golden_proposal_filter(golden):
    videos = json.loads((golden / "fustal" / "proposal_filter.json").read_text())
    assert videos
    index_of: dict[str, int] = {}
    for video in videos:
        given = video["proposals"]
        bounds = np.array([p["segment"] for p in given], float).reshape(-1, 2)
        table = Proposals(
            np.zeros(len(given)),
            *bounds.T,
            np.arange(len(given)),  # the class does not count; it carries the row
            np.array([p["score"] for p in given], float),
        )
        equal(overlap_sums(table), np.array(video["overlap"]), "overlap", OVERLAP)
        kept = density_filter(table, DensityConfig())
        assert kept.label.tolist() == video["kept"]
        # The student's features have windows of 16 frames, 4 apart.
        grid = SnippetGrid(fps=video["fps"], snippet=16, stride=4)
        steps = grid.position_at(np.stack([kept.start_s, kept.end_s], axis=1))
        equal(steps, np.array(video["grid_segments"], float).reshape(-1, 2), "grid", EXACT)
        for row, label in zip(kept.label, video["label_index"], strict=True):
            assert index_of.setdefault(given[row]["label"], label) == label
    # Classes are numbered in alphabetical order, which is how a dataset numbers them.
    assert sorted(index_of, key=index_of.get) == sorted(index_of)
