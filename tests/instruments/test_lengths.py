"""Lengths of weights against NumPy, and what a step adds to them against the step itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cosnorm.instruments import effective_rates, length_growth, weight_lengths
from cosnorm.networks import convnet, mlp


def test_lengths_of_rows_and_filters() -> None:
    network = convnet("batch", in_channels=1, size=8, channels=(3,), hidden=(4,), kernel_size=3, seed=0)
    lengths = weight_lengths(network)
    parameters = dict(network.named_parameters())
    assert list(lengths) == ["0.weight", "5.weight", "8.weight"]  # no scale, shift or bias
    for name, seen in lengths.items():
        rows = parameters[name].detach().numpy().reshape(len(seen), -1)
        np.testing.assert_allclose(seen.numpy(), np.sqrt(np.sum(rows**2, axis=1)), rtol=1e-6)
        np.testing.assert_allclose(
            effective_rates(network, 0.7)[name].numpy(), 0.7 / np.sum(rows**2, axis=1), rtol=1e-6
        )


def test_half_precision_lengths_are_float32() -> None:
    layer = nn.Linear(3, 1).half()
    with torch.no_grad():
        layer.weight.fill_(300.0)  # their squares are beyond what half precision can hold
    (length,) = weight_lengths(layer)["weight"].tolist()
    assert length == pytest.approx(300 * 3**0.5)


def test_a_zero_row_has_an_infinite_rate() -> None:
    layer = nn.Linear(3, 2)
    with torch.no_grad():
        layer.weight[0] = 0.0
    first, second = effective_rates(layer, 1.0)["weight"].tolist()
    assert first == float("inf")
    assert 0 < second < float("inf")


@pytest.mark.parametrize("norm", ["none", "batch", "cosine", "weight"])
def test_growth_is_what_a_step_adds(norm: str) -> None:
    network = mlp((6, 5, 3), norm, constant=0.0, seed=0).double()
    if norm == "batch":
        network[1].eps = 1e-30  # pyright: ignore  (an epsilon leaves a trace of the length in the loss)
    x, y = torch.rand(8, 6, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 2, 1, 0])
    growth = length_growth(network, F.cross_entropy, x, y, rate=0.8)
    before = weight_lengths(network)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.8)
    F.cross_entropy(network(x), y).backward()
    optimizer.step()
    after = weight_lengths(network)
    assert [g.weight for g in growth] == list(before)
    for g in growth:
        added = after[g.weight].square() - before[g.weight].square()
        torch.testing.assert_close(g.total, added, rtol=1e-9, atol=1e-12)
        assert (g.square >= 0).all()
    radial, square = growth[0].radial.abs().max(), growth[0].square.max()
    assert radial > 1e-2 * square if norm == "none" else radial < 1e-12 * square


def test_bad_rates_are_explained() -> None:
    network = mlp((6, 5, 3), "none")
    with pytest.raises(ValueError, match="positive number"):
        effective_rates(network, 0)
    with pytest.raises(ValueError, match="positive number"):
        length_growth(network, F.cross_entropy, torch.rand(1, 6), torch.tensor([0]), -0.1)
