"""Which class a whole segment is: the student's logistic regression on mean features."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hrpro.localize.data.grid import SnippetGrid
from hrpro.localize.data.sequences import FeatureSequence
from hrpro.localize.methods.student import recognition
from hrpro.localize.methods.student.batch import Segments
from hrpro.localize.methods.student.config import RecognitionConfig, StudentConfig
from hrpro.localize.methods.student.inference import detect_in, recognised
from hrpro.localize.methods.student.model import StudentModel
from hrpro.localize.methods.student.recognition import (
    LEAST_PROBABILITY,
    SegmentClassifier,
    logistic_regression,
)
from hrpro.localize.methods.student.stage import StudentStage, TrainingVideo
from hrpro.localize.proposals.generate import Proposals

SMALL = {
    "base": "small",
    "pyramid": {"width": 16, "mlp_width": 24, "num_levels": 3, "groups": 4},
    "window": {"length": 64, "stride": 16},
    "optimiser": {"batch_videos": 2},
    "teacher": {"rule": "never"},
}


def classifier(dim: int = 2, num_classes: int = 2, **config: float) -> SegmentClassifier:
    return SegmentClassifier(dim, num_classes, RecognitionConfig(share=0.5, **config))


def two_classes(seed: int = 0) -> tuple[list[torch.Tensor], list[Segments]]:
    """Videos with a segment of class 0 and one of class 1, of other features each; noise around."""
    generator = torch.Generator().manual_seed(seed)
    features, segments = [], []
    for _ in range(4):
        values = torch.randn(30, 6, generator=generator)
        values[3:10, 0] += 6
        values[17:24, 1] += 6
        features.append(values)
        bounds = torch.tensor([[3.0, 9.0], [17.0, 23.0]])
        segments.append(Segments.of(bounds, torch.tensor([0, 1])))
    return features, segments


def test_a_segment_is_the_mean_of_the_steps_in_it():
    values = torch.tensor([[1.0, 0], [0, 1], [3, 1], [8, 8]])
    # From the middle of step 0 to that of step 2: halves of these two, and all of step 1.
    bounds = torch.tensor([[0.0, 2.0], [-9.0, 0.5], [50.0, 60.0]])
    found = classifier(border=0).inputs(values, bounds)
    expected = [[0.5 + 0 + 1.5, 0 + 1 + 0.5], [1, 0], [0, 0]]
    assert torch.allclose(found, torch.nn.functional.normalize(torch.tensor(expected), dim=1))
    # A quarter is left out at each end: from the middle of step 0 to that of step 3.
    inner = classifier(border=0.25).inputs(values, torch.tensor([[-1.5, 4.5]]))
    middle = torch.tensor([[0.5 + 0 + 3 + 4, 0 + 1 + 1 + 4.0]])
    assert torch.allclose(inner, torch.nn.functional.normalize(middle, dim=1))


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), penalty=st.floats(0.01, 10))
def test_the_regression_ends_where_its_loss_is_flat(seed, penalty):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(40, 3, generator=generator, dtype=torch.float64)
    labels = torch.randint(3, (40,), generator=generator)
    weights = torch.rand(40, generator=generator, dtype=torch.float64)
    weight, bias = logistic_regression(inputs, labels, weights, 3, penalty)
    probability = (inputs @ weight.T + bias).softmax(1)
    error = weights.unsqueeze(1) * (probability - torch.eye(3, dtype=torch.float64)[labels])
    assert torch.allclose(error.T @ inputs, -penalty * weight, atol=1e-3)
    assert torch.allclose(error.sum(0), torch.zeros(3, dtype=torch.float64), atol=1e-3)


def test_it_tells_classes_apart_that_it_has_seen():
    found = classifier(6)
    found.fit(*two_classes())
    [video, *_], _ = two_classes(seed=1)
    bounds = torch.tensor([[3.0, 9.0], [17.0, 23.0]])
    probability = found.probabilities(video, bounds)
    assert torch.allclose(probability.sum(1), torch.ones(2))
    assert (probability.diagonal() > 0.9).all()
    possible = found.probabilities(video, bounds, torch.tensor([True, False]))
    assert possible.tolist() == [[1, 0], [1, 0]]


def test_a_segment_counts_as_much_as_its_weight():
    features, segments = two_classes()
    swapped = [Segments.of(s.bounds, 1 - s.labels, torch.zeros(2)) for s in segments]
    plain, mixed = classifier(6), classifier(6)
    plain.fit(features, segments)
    mixed.fit(features * 2, segments + swapped)
    # Rows without weight change nothing but the precision at which the search ends.
    bounds = torch.tensor([[0.0, 9.0], [5.0, 20.0]])
    one, two = (c.probabilities(features[0], bounds) for c in (plain, mixed))
    assert torch.allclose(one, two, atol=0.01)


def test_without_segments_all_classes_are_alike():
    found = classifier(6, 4)
    none = Segments.of(torch.zeros(0, 2), torch.zeros(0))
    found.fit([torch.randn(9, 6)], [none])
    probability = found.probabilities(torch.randn(9, 6), torch.tensor([[1.0, 5.0]]))
    assert probability.tolist() == [[0.25] * 4]
    assert found.probabilities(torch.randn(9, 6), torch.zeros(0, 2)).shape == (0, 4)


def test_channels_that_never_change_say_nothing():
    features, segments = two_classes()
    constant = [torch.cat([values, torch.full((30, 1), 7.0)], dim=1) for values in features]
    plain, wider = classifier(6), classifier(7)
    plain.fit(features, segments)
    wider.fit(constant, segments)
    bounds = torch.tensor([[2.0, 11.0]])
    one, two = plain.probabilities(features[0], bounds), wider.probabilities(constant[0], bounds)
    assert torch.allclose(one, two, atol=1e-5)


def test_many_segments_come_in_blocks(monkeypatch):
    found = classifier(6)
    found.fit(*two_classes())
    values, bounds = torch.randn(30, 6), torch.rand(50, 1) * 20 + torch.tensor([0.0, 6.0])
    whole = found.probabilities(values, bounds)
    monkeypatch.setattr(recognition, "SEGMENTS_AT_ONCE", 7)
    assert torch.allclose(found.probabilities(values, bounds), whole)


def test_scores_follow_the_probability_of_their_class():
    found = classifier(6)
    features, segments = two_classes()
    found.fit(features, segments)
    rows = np.array([0, 0, 1])
    table = Proposals(rows, rows * 0 + 3.0, rows * 0 + 9.0, np.array([0, 1, 0]), np.full(3, 0.5))
    scores = recognised(table, found, features).score
    probability = found.probabilities(features[0], torch.tensor([[3.0, 9.0]]))[0].numpy()
    expected = 0.5 * np.maximum(probability, LEAST_PROBABILITY) ** 0.5
    assert scores[:2] == pytest.approx(expected)
    assert scores[2] > 0.45
    # Where nothing but the other class is looked for, it is that.
    only = torch.tensor([[False, True]] * 4)
    assert recognised(table, found, features, only).score[1] == pytest.approx(0.5)
    assert recognised(table[:0], found, features).score.shape == (0,)


def test_a_student_has_none_unless_it_is_asked_for():
    """So model folders from before there was any load as they are."""
    without = StudentModel(6, 2, StudentConfig.model_validate(SMALL))
    assert without.recognition is None
    asked = StudentConfig.model_validate({**SMALL, "recognition": {"share": 0.5}})
    more = StudentModel(6, 2, asked).state_dict().keys() - without.state_dict().keys()
    assert more == {f"recognition.{name}" for name in ("mean", "scale", "weight", "bias")}


def test_the_stage_fits_it_and_the_network_learns_as_without():
    features, segments = two_classes()
    label = torch.ones(2)
    videos = [
        TrainingVideo(values, SnippetGrid(), some, label)
        for values, some in zip(features, segments, strict=True)
    ]
    tested = [FeatureSequence(features[0], SnippetGrid())]
    models = {}
    for share in (0.0, 0.8):
        torch.manual_seed(3)
        config = StudentConfig.model_validate({**SMALL, "recognition": {"share": share}})
        models[share] = StudentModel(6, 2, config)
        stage = StudentStage(models[share], videos, tested)
        stage.prepare()
        losses = stage.losses([0, 1])
        assert losses is not None
        sum(losses.values()).backward()
    for (name, one), two in zip(
        models[0.0].named_parameters(), models[0.8].parameters(), strict=True
    ):
        assert torch.equal(one, two), name
        assert one.grad is None or torch.equal(one.grad, two.grad), name
    fitted = models[0.8].recognition
    assert fitted is not None
    assert (fitted.weight != 0).any()
    with_it, without = (detect_in(models[share], tested) for share in (0.8, 0.0))
    assert np.array_equal(with_it.start_s, without.start_s)
    assert (with_it.score <= without.score).all()
    assert (with_it.score < without.score).any()
