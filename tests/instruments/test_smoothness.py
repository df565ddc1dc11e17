"""Smoothness where it is known: quadratics, and the scale law before a division by the weights' length."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cosnorm.instruments import smoothness
from cosnorm.networks import mlp

RATES = (0.01, 0.05, 0.2)


def half_square(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).square().sum() / 2


def test_a_quadratic_against_its_hessian() -> None:
    draw = np.random.default_rng(1)
    x, w, y = draw.normal(size=(9, 4)), draw.normal(size=4), draw.normal(size=9)
    network = nn.Linear(4, 1, bias=False).double()
    with torch.no_grad():
        network.weight.copy_(torch.tensor(w[None]))
    seen = smoothness(network, half_square, torch.tensor(x), torch.tensor(y[:, None]), RATES)
    hessian, g = x.T @ x, x.T @ (x @ w - y)
    assert seen.rates == RATES
    assert seen.loss == pytest.approx(np.sum((x @ w - y) ** 2) / 2)
    assert seen.length == pytest.approx(np.linalg.norm(g))
    for rate, loss, change, distance in zip(RATES, seen.losses, seen.changes, seen.distances, strict=True):
        assert loss == pytest.approx(np.sum((x @ (w - rate * g) - y) ** 2) / 2)
        assert change == pytest.approx(rate * np.linalg.norm(hessian @ g))
        assert distance == pytest.approx(rate * np.linalg.norm(g))
    assert seen.beta == pytest.approx(np.linalg.norm(hessian @ g) / np.linalg.norm(g))
    curvatures = np.linalg.eigvalsh(hessian)
    assert curvatures[0] <= seen.beta <= curvatures[-1]


def test_beta_is_the_largest_ratio_not_that_of_the_longest_step() -> None:
    """With L = cos(w) the gradient -sin(w) comes back after a period, so a long step changes it little."""
    network = nn.Linear(1, 1, bias=False).double()
    with torch.no_grad():
        network.weight.fill_(1.0)
    one = torch.ones(1, 1, dtype=torch.float64)
    rates = (0.5, 2 * np.pi / np.sin(1.0))
    seen = smoothness(network, lambda o, t: o.cos().sum(), one, one, rates)
    ends = [1.0 + rate * np.sin(1.0) for rate in rates]
    ratios = [abs(np.sin(end) - np.sin(1.0)) / (end - 1.0) for end in ends]
    assert ratios[1] < 1e-12 < ratios[0]
    assert seen.beta == pytest.approx(ratios[0])
    assert seen.change_range == (pytest.approx(0, abs=1e-12), pytest.approx(ratios[0] * (ends[0] - 1)))
    assert seen.loss_range == (pytest.approx(min(np.cos(ends))), pytest.approx(max(np.cos(ends))))


@pytest.mark.parametrize("norm", ["cosine", "batch"])
def test_longer_weights_are_smoother_by_the_square(norm: str) -> None:
    """The docstring's warning: the function is the same, beta is divided by alpha squared."""
    torch.manual_seed(0)
    network = mlp((6, 5, 3), norm, constant=0.0, seed=0).double()
    for name, p in network.named_parameters():
        p.requires_grad_(name == "0.weight")
    if norm == "batch":
        network[1].eps = 1e-30  # pyright: ignore
    x, y = torch.rand(8, 6, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 2, 1, 0])
    short = smoothness(network, F.cross_entropy, x, y, RATES)
    with torch.no_grad():
        network[0].weight *= 3.0  # pyright: ignore
    long = smoothness(network, F.cross_entropy, x, y, [9 * rate for rate in RATES])
    assert long.loss == pytest.approx(short.loss, rel=1e-12)
    assert long.losses == pytest.approx(short.losses, rel=1e-9)
    assert long.length == pytest.approx(short.length / 3, rel=1e-9)
    assert long.beta == pytest.approx(short.beta / 9, rel=1e-9)


def test_a_flat_loss_has_smoothness_zero() -> None:
    network = mlp((5, 4, 3), "none", seed=0)
    seen = smoothness(network, lambda o, t: 0 * o.sum(), torch.rand(2, 5), torch.zeros(2), RATES)
    assert seen.beta == 0
    assert seen.changes == (0, 0, 0)


def test_low_precision_is_finite() -> None:
    network = mlp((5, 4, 3), "cosine", seed=0).to(torch.bfloat16)
    x = torch.rand(1, 5).to(torch.bfloat16)
    seen = smoothness(network, F.cross_entropy, x, torch.tensor([1]), RATES)
    assert np.isfinite([*seen.losses, *seen.changes, seen.beta]).all()


def test_bad_arguments_are_explained() -> None:
    network, x, y = mlp((5, 4, 3), "none", seed=0), torch.rand(2, 5), torch.tensor([0, 1])
    with pytest.raises(ValueError, match="at least one"):
        smoothness(network, F.cross_entropy, x, y, ())
    for rate in (0.0, -1.0, float("nan"), float("inf"), True):
        with pytest.raises(ValueError, match="positive number"):
            smoothness(network, F.cross_entropy, x, y, (0.1, rate))
