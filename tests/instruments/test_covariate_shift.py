"""Covariate shift against gradients written out in NumPy, and against differences of the loss alone."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from cosnorm.instruments import covariate_shift
from cosnorm.networks import mlp

Array = NDArray[np.float64]


def half_square(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).square().sum() / 2


def chain_gradients(weights: list[Array], x: Array, y: Array) -> list[Array]:
    """Gradients of half the squared error of a chain of matrices, one example a row of x."""
    layers = [x]
    for w in weights:
        layers.append(layers[-1] @ w.T)
    back, gradients = layers[-1] - y, []
    for w, h in zip(reversed(weights), reversed(layers[:-1]), strict=True):
        gradients.append(back.T @ h)
        back = back @ w
    return gradients[::-1]


def test_a_chain_of_matrices_against_numpy() -> None:
    draw = np.random.default_rng(0)
    weights = [draw.normal(size=shape) for shape in ((4, 3), (5, 4), (2, 5))]
    x, y, rate = draw.normal(size=(6, 3)), draw.normal(size=(6, 2)), 0.01
    network = nn.Sequential(*(nn.Linear(w.shape[1], w.shape[0], bias=False).double() for w in weights))
    with torch.no_grad():
        for layer, w in zip(network, weights, strict=True):
            layer.weight.copy_(torch.tensor(w))  # pyright: ignore
    seen = covariate_shift(network, half_square, torch.tensor(x), torch.tensor(y), rate)
    before = chain_gradients(weights, x, y)
    for i, shift in enumerate(seen):
        mixed = [w - rate * g if j < i else w for j, (w, g) in enumerate(zip(weights, before, strict=True))]
        g, after = before[i], chain_gradients(mixed, x, y)[i]
        assert shift.layer == str(i)
        assert shift.distance == pytest.approx(np.linalg.norm(after - g), rel=1e-12)
        assert shift.length == pytest.approx(np.linalg.norm(g), rel=1e-12)
        assert shift.cosine == pytest.approx(
            np.sum(g * after) / np.linalg.norm(g) / np.linalg.norm(after), rel=1e-12
        )
    assert seen[0].distance == 0
    assert seen[0].cosine == pytest.approx(1)
    assert seen[1].distance > 0.1  # so that agreement is not that of zeros
    assert seen[2].relative == seen[2].distance / seen[2].length


@pytest.mark.parametrize("norm", ["batch", "cosine"])
def test_a_deep_network_against_differences_of_its_loss(norm: str) -> None:
    """Every parameter before the last layer moves, scale and shift of batch norm included."""
    torch.manual_seed(0)
    network = mlp((5, 4, 4, 3), norm, seed=0).double()
    x, y, rate = torch.rand(7, 5, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 2, 1]), 0.3
    *_, last = covariate_shift(network, F.cross_entropy, x, y, rate)

    moved = copy.deepcopy(network)
    output: Any = moved[-1]
    earlier = [p for layer in moved[:-1] for p in layer.parameters()]
    gradients = torch.autograd.grad(F.cross_entropy(moved(x), y), earlier)
    with torch.no_grad():
        for p, g in zip(earlier, gradients, strict=True):
            p -= rate * g

    def slope(net: nn.Module, weight: Tensor) -> Tensor:
        """Central differences, one entry at a time."""
        found, step = torch.empty_like(weight), 1e-6
        with torch.no_grad():
            for i in range(weight.numel()):
                ends = []
                for side in (step, -step):
                    weight.view(-1)[i] += side
                    ends.append(F.cross_entropy(net(x), y).item())
                    weight.view(-1)[i] -= side
                found.view(-1)[i] = (ends[0] - ends[1]) / (2 * step)
        return found

    original: Any = copy.deepcopy(network)
    g, after = slope(original, original[-1].weight), slope(moved, output.weight)
    assert last.distance == pytest.approx((after - g).norm().item(), rel=1e-6)
    assert last.length == pytest.approx(g.norm().item(), rel=1e-6)
    assert last.relative > 0.01


def test_layers_are_found_in_the_order_of_their_calls() -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.second, self.first = nn.Linear(3, 2), nn.Linear(2, 3)
            self.never = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(x))

    seen = covariate_shift(Backwards(), half_square, torch.ones(2, 2), torch.ones(2, 2), 0.1)
    assert [shift.layer for shift in seen] == ["first", "second"]
    assert seen[0].distance == 0 < seen[1].distance


def test_named_layers_divide_the_parameters_among_them() -> None:
    network = mlp((5, 4, 4, 3), "none", seed=0).double()
    x, y = torch.rand(7, 5, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 2, 1])
    everything = {shift.layer: shift for shift in covariate_shift(network, F.cross_entropy, x, y, 0.5)}
    assert list(everything) == ["0", "2", "4"]
    named = covariate_shift(network, F.cross_entropy, x, y, 0.5, layers=["4"])
    assert named == [everything["4"]]  # what runs before the first one named moves as well
    (second,) = covariate_shift(network, F.cross_entropy, x, y, 0.5, layers=["2"])
    assert second == everything["2"]


def test_parameters_that_do_not_learn_stay() -> None:
    network = mlp((5, 4, 3), "none", seed=0)
    x, y = torch.rand(7, 5), torch.tensor([0, 1, 2, 0, 1, 2, 1])
    network[0].requires_grad_(False)
    seen = covariate_shift(network, F.cross_entropy, x, y, 0.5)
    assert [(shift.layer, shift.distance) for shift in seen] == [("2", 0.0)]


def test_dropout_drops_the_same_units_before_and_after() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(50, 50), nn.Dropout(0.5), nn.Linear(50, 2)).double()
    x, y = torch.rand(5, 50, dtype=torch.float64), torch.rand(5, 2, dtype=torch.float64)
    *_, last = covariate_shift(network, half_square, x, y, 1e-9)
    assert 0 < last.relative < 1e-6


def test_a_zero_gradient_has_not_moved() -> None:
    network = mlp((5, 4, 3), "none", seed=0)
    seen = covariate_shift(network, lambda o, t: 0 * o.sum(), torch.rand(2, 5), torch.zeros(2), 1.0)
    assert [(s.distance, s.cosine, s.relative) for s in seen] == [(0, 1, 0)] * 2


def test_a_gradient_out_of_nothing_is_infinitely_far() -> None:
    """The second layer's gradient is zero while its input is; the bias before it then moves its input."""
    network = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
    with torch.no_grad():
        for p, value in zip(network.parameters(), (1.0, 0.0, 1.0, 0.0), strict=True):
            p.fill_(value)
    *_, last = covariate_shift(network, half_square, torch.zeros(1, 1), torch.ones(1, 1), 0.1)
    assert last.cosine == 0
    assert last.relative == float("inf")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_low_precision_is_finite(dtype: torch.dtype) -> None:
    network = mlp((5, 4, 3), "cosine", seed=0).to(dtype)
    x, y = torch.rand(1, 5).to(dtype), torch.tensor([1])
    for shift in covariate_shift(network, F.cross_entropy, x, y, 0.1):
        assert np.isfinite([shift.distance, shift.cosine, shift.length]).all()


def test_bad_arguments_are_explained() -> None:
    network = mlp((5, 4, 3), "none", seed=0)
    x, y = torch.rand(2, 5), torch.tensor([0, 1])
    with pytest.raises(ValueError, match="choose from '0', '2'"):
        covariate_shift(network, F.cross_entropy, x, y, 0.1, layers=["1"])
    with pytest.raises(ValueError, match="rate must be a positive number"):
        covariate_shift(network, F.cross_entropy, x, y, 0.0)
    with pytest.raises(ValueError, match="one number"):
        covariate_shift(network, lambda o, t: o, x, y, 0.1)
    with pytest.raises(ValueError, match="two dimensions"):
        covariate_shift(nn.BatchNorm1d(5), lambda o, t: o.sum(), x, y, 0.1)
    with pytest.raises(ValueError, match="requires_grad"):
        covariate_shift(network.requires_grad_(False), F.cross_entropy, x, y, 0.1)
