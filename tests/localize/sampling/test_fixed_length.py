from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hrpro.localize.sampling.fixed_length import (
    pad_videos,
    perturbed_indices,
    resampled_indices,
    take,
    uniform_indices,
)

LENGTHS = st.integers(1, 60)
VIDEOS = st.lists(st.integers(1, 200), min_size=1, max_size=4)


@given(LENGTHS, st.integers(1, 500))
def test_anchors_are_spread_evenly(length, num_snippets):
    indices = uniform_indices(num_snippets, length)
    assert len(indices) == length
    assert indices[0] == 0
    assert indices[-1] < num_snippets
    steps = indices.diff()
    assert ((steps == num_snippets // length) | (steps == num_snippets // length + 1)).all()


@pytest.mark.parametrize(("num_snippets", "kept"), [(0, 0), (1, 2), (2, 2), (49, 49), (51, 50)])
def test_short_videos_can_stay_as_they_are(num_snippets, kept):
    indices = uniform_indices(num_snippets, 50, keep_short=True)
    assert len(indices) == kept
    if 1 < num_snippets <= 50:
        assert indices.tolist() == list(range(num_snippets))


@given(LENGTHS, VIDEOS, st.integers(0, 99))
def test_random_snippets_lie_between_their_anchors(length, videos, seed):
    random = torch.rand(len(videos), length, generator=torch.Generator().manual_seed(seed))
    drawn = perturbed_indices(torch.tensor(videos), random)
    for num_snippets, row in zip(videos, drawn, strict=True):
        anchors = uniform_indices(num_snippets, length)
        assert (row >= anchors).all()
        assert (row.diff() >= 0).all()
        assert (row[:-1] <= anchors[1:]).all()
        assert row[-1] < num_snippets
        if num_snippets == length:
            assert (row == anchors).all()


def test_the_highest_random_number_chooses_the_last_snippet():
    almost_one = torch.full((1, 3), 1 - 2**-24)
    assert perturbed_indices(torch.tensor([1 << 26]), almost_one)[0, -1] == (1 << 26) - 1 - 1
    assert perturbed_indices(torch.tensor([9]), almost_one).tolist() == [[3, 6, 8]]


@given(st.integers(2, 60), VIDEOS, st.integers(0, 99))
def test_resampling(length, videos, seed):
    random = torch.rand(len(videos), length, generator=torch.Generator().manual_seed(seed))
    drawn = resampled_indices(torch.tensor(videos), random)
    perturbed = perturbed_indices(torch.tensor(videos), random)
    for num_snippets, row, other in zip(videos, drawn, perturbed, strict=True):
        assert (row.diff() >= 0).all()
        assert row[0] >= 0
        assert row[-1] < num_snippets
        if num_snippets >= length:
            assert (row[:-1] == other[:-1]).all()


def test_short_videos_are_drawn_with_replacement():
    random = torch.tensor([[0.9, 0.0, 0.5, 0.99]])
    assert resampled_indices(torch.tensor([3]), random).tolist() == [[0, 1, 2, 2]]


def test_the_last_of_a_resampled_long_video_follows_the_one_before():
    random = torch.tensor([[0.0, 0.0, 0.0, 0.0]])
    assert resampled_indices(torch.tensor([40]), random).tolist() == [[0, 10, 20, 20]]
    assert perturbed_indices(torch.tensor([40]), random).tolist() == [[0, 10, 20, 30]]


def test_what_is_shorter_is_padded():
    videos = [torch.arange(4.0).view(2, 2), torch.arange(6.0).view(3, 2)]
    batch, lengths = pad_videos(videos)
    assert lengths is not None
    assert lengths.tolist() == [2, 3]
    assert batch.tolist() == [[[0, 1], [2, 3], [0, 0]], [[0, 1], [2, 3], [4, 5]]]
    batch, lengths = take(videos[::-1], [torch.tensor([0, 2]), torch.tensor([1, 1])])
    assert batch.tolist() == [[[0, 1], [4, 5]], [[2, 3], [2, 3]]]
    assert lengths is None
