"""Max norm: the nearest point of the ball, exactly idempotent, and nothing done inside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import optimize
from torch import nn

from cosnorm import CosineConv2d
from cosnorm.relatives.rules import MaxNorm

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
LAYERS: dict[str, nn.Module] = {
    "linear": nn.Linear(30, 50),
    "wide": nn.Linear(5000, 20),
    "conv1d": nn.Conv1d(3, 40, 5),
    "conv2d": nn.Conv2d(4, 40, 3, groups=2),
    "conv3d": nn.Conv3d(2, 40, 2),
    "cosine": CosineConv2d(3, 40, 3),
}


def fill(layer: Any, dtype: torch.dtype, longest: float) -> Any:
    """Weight vectors with lengths spread from 0 to ``longest``."""
    generator = torch.Generator().manual_seed(0)
    layer = layer.to(dtype)
    rows = torch.randn(layer.weight.flatten(1).shape, generator=generator, dtype=torch.float64)
    wanted = torch.linspace(0, longest, len(rows), dtype=torch.float64)[:, None]
    with torch.no_grad():
        layer.weight.copy_((rows / rows.norm(dim=1, keepdim=True) * wanted).view(layer.weight.shape))
    return layer


def lengths(weight: torch.Tensor) -> np.ndarray:
    return np.sqrt(np.square(weight.detach().double().flatten(1).numpy()).sum(1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LAYERS)
def test_projection(name: str, dtype: torch.dtype) -> None:
    layer = fill(LAYERS[name], dtype, longest=5.0)
    before = layer.weight.detach().clone()
    bias = None if layer.bias is None else layer.bias.detach().clone()
    rule = MaxNorm(layer, radius=2.0)
    rule.step()
    after = layer.weight.detach()
    outside = lengths(before) > 2.0
    assert 5 <= outside.sum() < len(outside)

    inside = torch.from_numpy(~outside)
    assert torch.equal(after[inside], before[inside])
    assert (lengths(after) <= 2.0).all()
    exact = before.double().flatten(1).numpy() * (2.0 / np.maximum(lengths(before), 2.0))[:, None]
    eps = torch.finfo(dtype).eps + exact.shape[1] * np.finfo(np.float64).eps
    np.testing.assert_allclose(after.double().flatten(1).numpy(), exact, rtol=3 * eps, atol=2 * eps)
    if bias is not None:
        assert torch.equal(layer.bias, bias)

    once = after.clone()
    rule.step()
    assert torch.equal(layer.weight, once)


def test_the_projection_is_the_nearest_point_of_the_ball() -> None:
    """Against a general minimizer that knows the constraint only."""
    w = np.array([1.5, -2.0, 0.5, 1.0])
    found = optimize.minimize(
        lambda v: np.square(v - w).sum(),
        np.zeros(4),
        constraints=[{"type": "ineq", "fun": lambda v: 1.5**2 - v @ v}],
        tol=1e-12,
    )
    layer = nn.Linear(4, 1, dtype=torch.float64)
    with torch.no_grad():
        layer.weight[0] = torch.tensor(w)
    MaxNorm(layer, radius=1.5).step()
    np.testing.assert_allclose(layer.weight[0].detach().numpy(), found.x, atol=1e-6)


def test_every_layer_is_projected_the_output_layer_too() -> None:
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 5), nn.ReLU(), nn.Linear(5, 3)
    )
    for index in (0, 3, 5):
        nn.init.constant_(net[index].weight, 3.0)
    MaxNorm(net).step()
    for index in (0, 3, 5):
        np.testing.assert_allclose(lengths(net[index].weight), 2.0, rtol=1e-6)


def test_zero_and_nan_rows_stay_as_they_are() -> None:
    layer = nn.Linear(3, 2)
    with torch.no_grad():
        layer.weight[0] = 0
        layer.weight[1] = torch.tensor([float("nan"), 100.0, 1.0])
    MaxNorm(layer).step()
    assert (layer.weight[0] == 0).all()
    assert layer.weight[1].isnan().tolist() == [True, False, False]


def test_lengths_beyond_the_range_of_their_squares() -> None:
    layer = nn.Linear(2, 1)
    nn.init.constant_(layer.weight, 1e30)
    MaxNorm(layer).step()
    np.testing.assert_allclose(layer.weight.detach().numpy(), 2**0.5, rtol=1e-6)


@pytest.mark.parametrize("radius", [0.0, -1.0, float("nan"), float("inf"), True, None])
def test_a_wrong_radius_is_refused(radius: Any) -> None:
    with pytest.raises(ValueError, match="radius must be a finite number above 0"):
        MaxNorm(nn.Linear(3, 2), radius)


def test_the_default_is_the_papers() -> None:
    assert MaxNorm(nn.Linear(3, 2)).radius == MaxNorm.RADIUS == 2.0
