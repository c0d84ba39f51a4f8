"""The student as a localizer, alone and with a generator."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_student import tiny_config

from hrpro.localize.data.grid import SnippetGrid
from hrpro.localize.data.sequences import FeatureSequence
from hrpro.localize.methods.student.fusion import LEAST_CONTRAST
from hrpro.localize.methods.student.localizer import StudentLocalizer
from hrpro.localize.methods.student.model import StudentModel
from hrpro.localize.proposals.generate import Proposals


class Generator(torch.nn.Module):
    """Sees class 1 in the first second of every video."""

    def localize(self, videos, classes=None):
        count = len(videos)
        return Proposals(np.arange(count), *np.tile([[0.0], [1], [1], [0.5]], count))

    def video_scores(self, videos):
        return [np.array([0.0, 1.0, 0.5])] * len(videos)

    def activations(self, videos):
        return [np.tile([0.0, 0.5, 0.5], (len(video.features), 1)) for video in videos]


def test_the_localizer_tells_what_it_sees_and_listens_to_the_generator():
    torch.manual_seed(0)
    fusion = {"gate": 1.0, "generator_segments": 1.0}
    model = StudentModel(6, 3, tiny_config(window={"stride": 4}, fusion=fusion))
    videos = [FeatureSequence(torch.randn(n, 6), SnippetGrid()) for n in (20, 9)]
    alone, both = StudentLocalizer(model), StudentLocalizer(model, Generator())
    activations = alone.activations(videos)
    assert [a.shape for a in activations] == [(20, 3), (9, 3)]
    assert np.allclose(alone.video_scores(videos)[1], activations[1].max(0))
    found = alone.localize(videos)
    assert set(found.video) == {0, 1}
    assert (found.start_s >= 0).all()
    assert (found.end_s <= np.array([20, 9])[found.video] * 0.64 + 0.64).all()
    assert set(alone.localize(videos, [2]).label) == {2}
    fused = both.localize(videos)
    assert 0 not in fused.label[fused.score > 0]
    best = fused[fused.video == 0][:1]
    assert (best.start_s[0], best.end_s[0], best.label[0], best.score[0]) == (0, 1, 1, 1)


def test_the_localizer_asks_the_generator_where_activations_stand_out():
    torch.manual_seed(0)
    model = StudentModel(6, 3, tiny_config(window={"stride": 4}, fusion={"contrast": 1.0}))
    videos = [FeatureSequence(torch.randn(n, 6), SnippetGrid()) for n in (20, 9)]
    found = StudentLocalizer(model, Generator()).candidates(videos)
    assert found.score[found.label == 0] == pytest.approx(LEAST_CONTRAST)
