"""Weights that descend in the backward pass end where those of ordinary gradient descent end."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from cosnorm.networks import mlp, update_rule
from cosnorm.relatives import UpdateRule, WeightDecay
from cosnorm.training.descent import DescendingLinear, descending


def networks(norm: str = "none") -> tuple[nn.Sequential, nn.Sequential]:
    ordinary = mlp((6, 8, 7, 3), norm, std=0.7, seed=0).double()
    return ordinary, copy.deepcopy(ordinary)


def gradients(network: nn.Module, wanted: list[torch.Tensor], seed: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.rand(5, 6, generator=generator, dtype=torch.float64)
    targets = torch.randint(0, 3, (5,), generator=generator)
    return torch.autograd.grad(nn.functional.cross_entropy(network(inputs), targets), wanted)


@pytest.mark.parametrize(
    "norm", ["none", "batch", "cosine", "max_norm", "scaling", "weight", "weight_learned"]
)
def test_steps_are_those_of_gradient_descent(norm: str) -> None:
    ordinary, ours = networks(norm)
    rate, rules = 0.5, (update_rule(norm, ordinary), update_rule(norm, ours))
    anchor, themselves = descending(ours, rules[1], rate)
    assert anchor is not None
    rest = [p for p in ours.parameters() if id(p) not in themselves]
    every = list(ordinary.parameters())
    assert len(rest) < len(every)
    for step in range(4):
        given = gradients(ordinary, every, step)
        others = gradients(ours, [*rest, anchor], step)
        with torch.no_grad():
            for parameter, gradient in zip(every, given, strict=True):
                parameter -= rate * gradient
            for parameter, gradient in zip(rest, others, strict=False):
                parameter -= rate * gradient
        for rule in rules:
            rule.step()
        for a, b in zip(every, ours.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)
    assert not torch.equal(every[0], networks(norm)[0][0].weight)


def test_evaluation_changes_nothing() -> None:
    ordinary, ours = networks()
    descending(ours, UpdateRule(ours), rate=0.5)
    inputs = torch.rand(4, 6, dtype=torch.float64)
    ours.eval()
    expected = ordinary(inputs)
    torch.testing.assert_close(ours(inputs), expected, rtol=0, atol=0)
    with torch.no_grad():
        ours.train()
        torch.testing.assert_close(ours(inputs), expected, rtol=0, atol=0)
    assert all(torch.equal(a, b) for a, b in zip(ordinary.parameters(), ours.parameters(), strict=True))


def test_penalized_losses_and_other_layers_are_left_to_the_optimizer() -> None:
    decayed = mlp((6, 8, 3), "none", seed=0)
    assert descending(decayed, WeightDecay(decayed, 0.1), 0.5) == (None, set())
    assert type(decayed[0]) is nn.Linear
    cosine = mlp((6, 8, 3), "cosine", seed=0)
    descending(cosine, UpdateRule(cosine), 0.5)
    assert [type(layer) for layer in cosine if isinstance(layer, nn.Linear)][1] is DescendingLinear
    assert type(cosine[0]).__name__ == "CosineLinear"
