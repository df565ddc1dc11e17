"""No instrument leaves a trace: parameters, buffers, gradients, modes, hooks and random numbers stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cosnorm import instruments
from cosnorm.relatives import LayerScaling, OnlineNorm

INSTRUMENTS: dict[str, Callable[..., Any]] = {
    "covariate_shift": lambda n, x, y: instruments.covariate_shift(n, F.cross_entropy, x, y, 0.3),
    "smoothness": lambda n, x, y: instruments.smoothness(n, F.cross_entropy, x, y, (0.1, 0.2)),
    "weight_lengths": lambda n, x, y: instruments.weight_lengths(n),
    "effective_rates": lambda n, x, y: instruments.effective_rates(n, 0.3),
    "length_growth": lambda n, x, y: instruments.length_growth(n, F.cross_entropy, x, y, 0.3),
    "statistics_gradient": lambda n, x, y: instruments.statistics_gradient(n, F.cross_entropy, x, y),
    "widths": lambda n, x, y: instruments.widths(n, x),
}


def example() -> tuple[nn.Sequential, Tensor, Tensor]:
    """Running averages, random numbers, state written in the backward pass, a frozen and a mixed mode."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Linear(6, 5),
        nn.BatchNorm1d(5),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        nn.Linear(5, 5),
        OnlineNorm(5),
        LayerScaling(),
        nn.ReLU(),
        nn.BatchNorm1d(5).eval(),
        nn.Linear(5, 3),
    )
    network[4].bias.requires_grad_(False)  # pyright: ignore
    x, y = torch.rand(8, 6), torch.tensor([0, 1, 2, 0, 1, 2, 1, 0])
    F.cross_entropy(network(x), y).backward()
    return network, x, y


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_nothing_changes(name: str) -> None:
    network, x, y = example()
    state = {key: value.clone() for key, value in network.state_dict().items()}
    gradients = [None if p.grad is None else p.grad.clone() for p in network.parameters()]
    modes = [module.training for module in network.modules()]
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules()]
    inputs, generator = x.clone(), torch.get_rng_state()
    INSTRUMENTS[name](network, x, y)
    for key, value in network.state_dict().items():
        assert torch.equal(value, state[key]), key
    for p, before in zip(network.parameters(), gradients, strict=True):
        assert (p.grad is None) == (before is None)
        assert before is None or torch.equal(p.grad, before)  # pyright: ignore
    assert [module.training for module in network.modules()] == modes
    assert [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules()] == hooks
    assert torch.equal(x, inputs)
    assert not x.requires_grad
    assert torch.equal(torch.get_rng_state(), generator)


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_the_same_question_has_the_same_answer(name: str) -> None:
    network, x, y = example()
    assert repr(INSTRUMENTS[name](network, x, y)) == repr(INSTRUMENTS[name](network, x, y))


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_no_gradient_mode_of_the_caller_matters(name: str) -> None:
    network, x, y = example()
    expected = repr(INSTRUMENTS[name](network, x, y))
    with torch.no_grad():
        assert repr(INSTRUMENTS[name](network, x, y)) == expected


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_inputs_need_not_be_contiguous(name: str) -> None:
    network, x, y = example()
    wide = torch.zeros(8, 12)
    wide[:, ::2] = x
    assert repr(INSTRUMENTS[name](network, wide[:, ::2], y)) == repr(INSTRUMENTS[name](network, x, y))
