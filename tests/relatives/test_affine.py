"""A learned scale and shift: where the scale starts, and that a cosine's output gets the size it should."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from cosnorm.networks import convnet, mlp
from cosnorm.relatives import ScaleShift


def scales(network: nn.Sequential) -> list[ScaleShift]:
    return [module for module in network if isinstance(module, ScaleShift)]


def test_the_scale_starts_where_it_is_told() -> None:
    layer = ScaleShift(3, scale=2.5)
    assert layer.weight.tolist() == [2.5] * 3
    assert layer.bias.tolist() == [0.0] * 3
    with torch.no_grad():
        layer.weight.fill_(7)
        layer.bias.fill_(7)
    layer.reset_parameters()
    assert (layer.weight.tolist(), layer.bias.tolist()) == ([2.5] * 3, [0.0] * 3)
    assert ScaleShift(3).weight.tolist() == [1.0] * 3
    assert (repr(layer), repr(ScaleShift(3))) == ("ScaleShift(3, scale=2.5)", "ScaleShift(3)")


def test_it_scales_and_shifts_every_feature() -> None:
    layer = ScaleShift(2, scale=3.0)
    with torch.no_grad():
        layer.bias.copy_(torch.tensor([1.0, -1.0]))
    values = torch.arange(12.0).view(1, 2, 2, 3)
    expected = values * 3 + torch.tensor([1.0, -1.0]).view(1, 2, 1, 1)
    assert torch.equal(layer(values), expected)


@pytest.mark.parametrize("scale", [math.nan, math.inf, "1", True, None])
def test_a_scale_that_is_no_number_is_refused(scale: object) -> None:
    with pytest.raises(ValueError, match="ScaleShift: scale must be a finite number"):
        ScaleShift(3, scale=scale)  # pyright: ignore[reportArgumentType]


def test_after_a_cosine_it_starts_at_the_root_of_the_number_of_inputs() -> None:
    dense = scales(mlp((49, 16, 25, 10), "cosine_affine", seed=0))
    assert [float(layer.weight[0].detach()) for layer in dense] == [7.0, 4.0]
    network = convnet("cosine_affine", in_channels=4, channels=(9, 8), hidden=(6,), size=8, kernel_size=3)
    expected = [math.sqrt(4 * 9), math.sqrt(9 * 9), math.sqrt(8 * 2 * 2)]
    assert [float(layer.weight[0].detach()) for layer in scales(network)] == pytest.approx(expected)
    assert all(not layer.bias.any() for layer in scales(network))


def test_so_pre_activations_start_with_a_deviation_of_about_one() -> None:
    network = mlp((400, 300, 10), "cosine_affine", seed=0)
    inputs: Tensor = torch.randn(200, 400, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert network[:2](inputs).std().item() == pytest.approx(1, rel=0.02)
