"""The temporal pyramid: levels, padding, and weights that never move."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hrpro.localize.nn.pyramid import ConvStack, Levels, Pyramid, PyramidConfig

CPU = torch.device("cpu")
TINY = PyramidConfig(
    width=16, mlp_width=24, num_levels=3, groups=4, init_std=0.3, drop_path=0.0, padding="masked"
)


def test_levels_halve_the_steps():
    levels = Levels.of(8, 3)
    assert levels.lengths == (8, 4, 2)
    assert levels.position.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 0, 2, 4, 6, 0, 4]
    assert levels.stride.tolist() == [1] * 8 + [2] * 4 + [4] * 2
    assert levels.first.tolist() == [0] * 8 + [8] * 4 + [12] * 2
    assert levels.last.tolist() == [7] * 8 + [11] * 4 + [13] * 2
    with pytest.raises(ValueError, match="10 is not a multiple of 4"):
        Levels.of(10, 3)


def test_released_size_has_the_released_levels():
    levels = Levels.of(2304, PyramidConfig().num_levels)
    assert levels.lengths == (2304, 1152, 576, 288, 144, 72)
    assert PyramidConfig().long_kernel == 11


def test_all_levels_at_once_equal_each_alone():
    torch.manual_seed(0)
    levels, stack = Levels.of(12, 3), ConvStack([5, 7, 7], 3).double()
    for norm in stack.norms:  # else a gap would be zero anyway
        torch.nn.init.normal_(norm.bias)
    points = torch.randn(2, levels.num_points, 5, dtype=torch.float64)
    inside = levels.spread(torch.ones(1, levels.num_points, 1, dtype=torch.float64), 1)
    together = stack(levels.spread(points, 1), inside, inside)[:, levels.gapped(1)]
    for level in points.split(levels.lengths, 1):
        alone = stack(level, torch.ones_like(level[..., :1]))
        ours, together = together[:, : level.shape[1]], together[:, level.shape[1] :]
        torch.testing.assert_close(ours, alone, rtol=0, atol=1e-12)


@given(st.integers(1, 12), st.integers(0, 3), st.booleans())
@settings(deadline=None, max_examples=25)
def test_masked_padding_changes_nothing(length, extra, branch_only):
    torch.manual_seed(length)
    config = TINY.model_copy(update={"num_stem": 0 if branch_only else 2})
    pyramid = Pyramid(6, config).double().eval()
    for parameter in pyramid.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    features = torch.randn(1, length, 6, dtype=torch.float64)
    outputs = []
    for padded in (12, 12 + 4 * extra):
        values = torch.zeros(1, padded, 6, dtype=torch.float64)
        values[:, :length] = features
        valid = torch.arange(padded).unsqueeze(0) < length
        points, levels = pyramid(values, valid)
        outputs.append(points[levels.valid(valid)])
    torch.testing.assert_close(outputs[0], outputs[1], rtol=0, atol=1e-9)


def test_released_start_of_depthwise_weights_never_moves():
    torch.manual_seed(0)
    with_weights = Pyramid(6, TINY)
    without = Pyramid(6, TINY.model_copy(update={"init_std": 0.0}))
    depthwise = {n: p for n, p in with_weights.named_parameters() if ".granularity." in n}
    assert depthwise
    for parameter in depthwise.values():
        torch.nn.init.zeros_(parameter)
    without.load_state_dict(
        {n: p for n, p in with_weights.state_dict().items() if n not in depthwise}
    )
    features, valid = torch.randn(2, 16, 6), torch.arange(16) < torch.tensor([[16], [9]])
    points, _ = with_weights(features, valid)
    torch.testing.assert_close(points, without(features, valid)[0])
    points.square().sum().backward()
    assert all(not parameter.grad.any() for parameter in depthwise.values())


def test_width_must_go_with_the_groups():
    with pytest.raises(ValueError, match="width 24 is not a multiple of 16 groups"):
        Pyramid(6, PyramidConfig(width=24))
